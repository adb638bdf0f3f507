"""Networks of timm and torchvision by name are backbones like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DQN, PPO, SAC

from visionrl.agents import TrainConfig, VisionExtractor, make_vec_env
from visionrl.agents.policies.recurrent import RecurrentPolicy
from visionrl.agents.training.models import check_backbone
from visionrl.backbones import Backbone, make_backbone, make_classifier
from visionrl.backbones._libraries import VitTrunk

LANDMARK, GLIMPSE = "visionrl/LandmarkLocalization-v0", "visionrl/GlimpseClassification-v0"
LIGHT = ("torchvision:shufflenet_v2_x0_5", "torchvision:mnasnet0_5", "torchvision:regnet_y_400mf")
TIMM = ("timm:vit_tiny_patch16_224", "timm:convnext_atto", "timm:efficientnet_b0", "timm:mixer_s32_224")
SLOW = (
    "torchvision:convnext_tiny",
    "torchvision:swin_t",
    "torchvision:vit_b_16",
    "torchvision:efficientnet_b0",
)
SLOW += ("torchvision:maxvit_t", "torchvision:inception_v3")


def library(name: str) -> Any:
    """timm, or a skipped test without it."""
    return pytest.importorskip("timm") if name.startswith("timm") else None


def check(net: Backbone, channels: int, sides: tuple[int, int]) -> None:
    """A network keeps the contract for images (B, C, H, W) of other sides."""
    images = torch.randint(0, 256, (2, channels, *sides), dtype=torch.uint8)
    net.eval()
    with torch.no_grad():
        vector, features = net(images), net.forward_features(images)
        again = net(images.float() / 255)
    assert vector.shape == (2, net.num_features) and features.shape[:2] == (2, net.num_channels)
    torch.testing.assert_close(vector, again, rtol=1e-4, atol=1e-4)
    assert not torch.equal(vector[0], vector[1])


@pytest.mark.parametrize(
    "name", [*LIGHT, *TIMM, *(pytest.param(one, marks=pytest.mark.slow) for one in SLOW)]
)
@pytest.mark.parametrize("channels", [1, 5])
def test_a_network_takes_windows_of_any_size_and_channels(name: str, channels: int) -> None:
    library(name)
    net = make_backbone(name, channels, image_size=24)
    check(net, channels, (24, 40))
    check(net, channels, (33, 48))
    frozen = make_backbone(name, channels, image_size=24, frozen=True).train()
    assert not any(p.requires_grad for p in frozen.parameters()) and not frozen.stages.training


def test_position_embeddings_are_interpolated_and_those_of_training_stay() -> None:
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    size: dict[str, Any] = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2}
    net = VisionTransformer(**size, hidden_dim=16, mlp_dim=32).eval()
    images, seen = torch.rand(2, 3, 32, 32), []
    net.encoder.register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad():
        net(images)
        found = VitTrunk(net)(images)
        assert VitTrunk(net)(images[:, :, :20]).shape == (2, 16, 3, 4)
    torch.testing.assert_close(found, seen[0][:, 1:].mT.unflatten(2, (4, 4)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["timm:vit_tiny_patch16_224", "timm:resnet18", "torchvision:shufflenet_v2_x0_5"]
)
def test_weights_are_those_of_the_library(name: str, tmp_path: Path) -> None:
    timm = library(name)
    torch.manual_seed(0)
    own = name.partition(":")[2]
    if timm:
        theirs = timm.create_model(own, pretrained=False, num_classes=1000).eval()
        images = torch.rand(2, 3, 224, 224)
    else:
        from torchvision.models import get_model

        theirs, images = get_model(own, weights=None).eval(), torch.rand(2, 3, 64, 64)
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    net = make_backbone(name, 3, weights=str(tmp_path / "w.pt")).eval()
    assert net.pretrained
    with torch.no_grad():
        normal = (images - net.mean) / net.std
        if timm:
            last = theirs.forward_intermediates(normal, indices=1, norm=True, intermediates_only=True)[-1]
        else:
            last = theirs.conv5(
                theirs.stage4(theirs.stage3(theirs.stage2(theirs.maxpool(theirs.conv1(normal)))))
            )
        torch.testing.assert_close(net.forward_features(images), last, rtol=1e-3, atol=1e-4)
        one = make_backbone(name, 1, weights=str(tmp_path / "w.pt")).eval()
        grey = images[:, :1].expand(-1, 3, -1, -1)
        mean, std = net.mean.mean(), net.std.mean()
        net.mean.fill_(mean), net.std.fill_(std)
        torch.testing.assert_close(one(images[:, :1]), net(grey), rtol=1e-2, atol=1e-2)


def test_published_weights_are_looked_for_under_the_name(tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("timm")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    asked: list[str] = []

    def refuse(url: str, *_: Any, **__: Any) -> None:
        asked.append(url)
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    for name, file in (
        ("timm:resnet18", "timm-resnet18.safetensors"),
        ("torchvision:mnasnet0_5", "mnasnet0.5"),
    ):
        with pytest.raises(FileNotFoundError, match="cannot be downloaded") as error:
            make_backbone(name, pretrained=True)
        assert file in str(error.value) and str(tmp_path) in str(error.value)
    assert asked[0].startswith("https://huggingface.co/timm/resnet18") and "pytorch.org" in asked[1]
    with pytest.raises(ValueError, match="whose name says the weights, got 'V2'"):
        make_backbone("timm:resnet18", pretrained="V2")


def test_a_wrong_name_is_one_error(monkeypatch: Any) -> None:
    with pytest.raises(
        ValueError, match="classification network of torchvision, got 'torchvision:convnext'; did"
    ):
        make_backbone("torchvision:convnext")
    with pytest.raises(ValueError, match="backbone must be a classification network of torchvision"):
        check_backbone("backbone", "torchvision:fasterrcnn_resnet50_fpn")
    with pytest.raises(ValueError, match="timm:NAME or torchvision:NAME, got 'resnet'"):
        check_backbone("backbone", "resnet")
    with pytest.raises(ValueError, match="3D twin"):
        make_backbone(LIGHT[0], dims=3)
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ValueError, match=r'backbone needs timm: pip install "visionrl\[timm\]", got'):
        check_backbone("backbone", "timm:resnet18")


def test_a_network_that_takes_no_such_image_is_one_error(monkeypatch: Any) -> None:
    from torchvision import models

    def narrow(**_: Any) -> Any:
        net = torch.nn.Module()
        net.features = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(7, 2))
        return net

    monkeypatch.setattr(models, "get_model", lambda name, **options: narrow())
    with pytest.raises(
        ValueError, match=r"network for images of 24 px, 'torchvision:vgg11' takes none: mat1"
    ):
        make_backbone("torchvision:vgg11", image_size=24)


def test_a_classifier_over_it(tmp_path: Path) -> None:
    net = make_classifier(LIGHT[0], num_classes=4, in_channels=1)
    assert net(torch.rand(3, 1, 40, 40)).shape == (3, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", [LIGHT[0], TIMM[0], TIMM[1]])
@pytest.mark.parametrize("algo", [DQN, PPO, SAC, RecurrentPPO])
def test_agents_learn_through_it(algo: Any, name: str) -> None:
    library(name)
    if algo is SAC:
        env = make_vec_env(GLIMPSE, 2, seed=0, control="continuous")
    else:
        env = make_vec_env(LANDMARK, 2, seed=0, window=24)
    sees = {"features_extractor_class": VisionExtractor, "net_arch": [8]}
    kwargs: dict[str, Any] = {"backbone": name, "features_dim": 8}
    args: dict[str, Any] = {"n_steps": 8, "batch_size": 8, "n_epochs": 1}
    if algo in (DQN, SAC):
        args = {"learning_starts": 8, "batch_size": 8, "buffer_size": 32}
    policy = RecurrentPolicy if algo is RecurrentPPO else "MultiInputPolicy"
    own = {**sees, "features_extractor_kwargs": kwargs}
    model = algo(policy, env, policy_kwargs=own, seed=0, device="cpu", **args)
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    model.learn(24)
    moved = [k for k, x in model.policy.state_dict().items() if ".stages." in k and (x != before[k]).any()]
    assert moved
    assert np.isfinite(model.policy.state_dict()[moved[0]].numpy()).all()


def test_a_config_names_it() -> None:
    assert TrainConfig(backbone=LIGHT[0]).backbone == LIGHT[0]
