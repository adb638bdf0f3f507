"""What every backbone promises, whatever its family."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from visionrl.backbones import (
    Parts,
    _registry,
    as_backbone,
    list_backbones,
    make_backbone,
    make_classifier,
    named,
    register_backbone,
)

LIGHT = ["small", "nature", "impala", "resnet18", "densenet121", "googlenet", "mobilenet_v2"]
HEAVY = sorted(set(list_backbones()) - set(LIGHT))
NEEDS_TIMM = {"inception_v4", "inception_resnet_v2", "efficientnet_lite0"}
ALL = [*LIGHT, *(pytest.param(name, marks=pytest.mark.slow) for name in HEAVY)]


@pytest.fixture
def registry(monkeypatch):
    """A copy of the registry that a test may add to."""
    monkeypatch.setattr(_registry, "_BUILDERS", dict(_registry._BUILDERS))


def bytes_of(n: int, channels: int, *size: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, channels, *size), dtype=torch.uint8, generator=torch.manual_seed(0))


@pytest.mark.parametrize("stem", ["imagenet", "small"])
@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_forward_and_map_from_32_pixels(name, stem):
    if name in NEEDS_TIMM:
        pytest.importorskip("timm")
    backbone = make_backbone(name, in_channels=2, stem=stem).eval()
    x = bytes_of(2, 2, 32, 40)
    features, grid = backbone(x), backbone.forward_features(x)
    assert features.shape == (2, backbone.num_features)
    assert grid.shape[:2] == (2, backbone.num_channels) and grid.ndim == 4
    assert torch.allclose(features, backbone.pool_features(grid), atol=1e-5)
    assert torch.allclose(features, backbone(x.float() / 255), atol=1e-5)
    assert features.isfinite().all() and not torch.equal(features[0], features[1])


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_normalisation(channels):
    backbone = make_backbone("small", channels)
    out = backbone.normalize(torch.full((1, channels, 24, 24), 255, dtype=torch.uint8))[0, :, 0, 0]
    colour = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    grey = torch.tensor([(1 - 0.449) / 0.226])
    wanted = colour.repeat(channels // 3) if channels % 3 == 0 else grey.repeat(channels)
    assert torch.allclose(out, wanted, atol=1e-5)
    assert not any("mean" in key or "std" in key for key in backbone.state_dict())


@pytest.mark.parametrize("x", [
    torch.zeros(3, 32, 32),
    torch.zeros(1, 4, 32, 32),
    torch.zeros(1, 3, 32, 32, dtype=torch.int64),
])  # fmt: skip
def test_wrong_images_are_named(x):
    with pytest.raises(ValueError, match="images must be"):
        make_backbone("small")(x)


@pytest.mark.parametrize("arguments", [
    {"name": "resnet19"},
    {"name": "small", "in_channels": 0},
    {"name": "small", "stem": "tiny"},
    {"name": "small", "norm": "layer"},
    {"name": "small", "pool": 0},
    {"name": "nature", "pool": 3},
    {"name": "small", "pretrained": True},
    {"name": "resnet18", "pretrained": True, "norm": "group"},
    {"name": "resnet18", "pretrained": "IMAGENET1K_V9"},
])  # fmt: skip
def test_wrong_arguments_are_named(arguments):
    with pytest.raises(ValueError, match=r"must"):
        make_backbone(**arguments)


def test_small_images_are_enlarged_to_the_smallest_that_fits():
    backbone = make_backbone("nature")
    assert backbone.normalize(torch.rand(1, 3, 18, 27)).shape == (1, 3, 36, 54)
    assert backbone.normalize(torch.rand(1, 3, 36, 40)).shape == (1, 3, 36, 40)


@pytest.mark.parametrize(("image_size", "side"), [(None, 1), (32, 4), (64, 1)])
def test_auto_stem_follows_the_image_size(image_size, side):
    backbone = make_backbone("resnet18", image_size=image_size).eval()
    assert backbone.forward_features(torch.rand(1, 3, 32, 32)).shape[-1] == side


def test_stems_share_their_weights():
    big, little = (make_backbone("resnet18", stem=stem) for stem in ("imagenet", "small"))
    little.load_state_dict(big.state_dict())


@pytest.mark.parametrize("pool", [1, 2, 7])
def test_pool_keeps_positions(pool):
    backbone = make_backbone("resnet18", stem="small", pool=pool).eval()
    assert backbone.num_features == 512 * pool**2
    assert backbone(torch.rand(1, 3, 32, 32)).shape == (1, backbone.num_features)


def statistics(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers() if "running" in name}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_frozen_survives_train_and_eval():
    free, frozen = (
        make_backbone("resnet18", stem="small"),
        make_backbone("resnet18", stem="small", frozen=True),
    )
    for backbone in (free, frozen):
        before = statistics(backbone)
        holder = nn.Sequential(backbone)
        holder.eval()
        holder.train()
        holder(torch.rand(4, 3, 32, 32))
        assert same(before, statistics(backbone)) == (backbone is frozen)
    assert not any(p.requires_grad for p in frozen.parameters())
    clone = copy.deepcopy(frozen).train()
    assert not any(m.training for m in clone.stages.modules())


def test_unfreeze_last_trains_weights_but_no_statistics():
    backbone = make_backbone("resnet18", stem="small").unfreeze_last(2).train()
    trainable = {name.split(".")[1] for name, p in backbone.named_parameters() if p.requires_grad}
    assert trainable == {"conv4", "conv5"}
    before = statistics(backbone)
    backbone(torch.rand(4, 3, 32, 32)).sum().backward()
    assert same(before, statistics(backbone))
    assert (
        backbone.stages.conv5[0].conv1.weight.grad is not None
        and backbone.stages.conv3[0].conv1.weight.grad is None
    )
    assert not any(p.requires_grad for p in backbone.unfreeze_last(0).parameters())
    assert all(p.requires_grad for p in backbone.unfreeze_last(5).parameters())
    with pytest.raises(ValueError, match="n must be in"):
        backbone.unfreeze_last(6)


def test_group_norm_takes_the_place_of_every_batch_norm():
    backbone = make_backbone("resnet18", stem="small", norm="group")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())
    x = torch.rand(4, 3, 32, 32)
    assert torch.allclose(backbone.train()(x)[:1], backbone.eval()(x[:1]), atol=1e-5)
    reloaded = make_backbone("resnet18", stem="small", norm="group", weights=backbone.state_dict()).eval()
    assert torch.equal(reloaded(x), backbone(x))


def test_group_norm_refuses_layers_that_also_rectify():
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match="norm must be 'batch'"):
        make_backbone("efficientnet_lite0", norm="group")


def overwrite(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.orthogonal_(module.weight)


@pytest.mark.parametrize("pretrained", [False, True])
def test_apply_leaves_pretrained_weights_alone(pretrained):
    weights = make_backbone("small").state_dict() if pretrained else None
    backbone = make_backbone("small", weights=weights)
    before = copy.deepcopy(backbone.state_dict())
    nn.Sequential(nn.Flatten(0, 0), backbone).apply(overwrite)
    assert same(before, backbone.state_dict()) == pretrained
    assert backbone.apply(overwrite) is backbone


class Mine(nn.Module):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 5, 3, 2)

    def forward(self, x):
        self.seen = x
        return self.conv(x)


def test_own_module_in_one_line(registry):
    register_backbone(Mine)
    register_backbone(
        lambda: nn.Sequential(nn.Conv2d(3, 7, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "flat"
    )
    assert {"Mine", "flat"} <= set(list_backbones())
    backbone = make_backbone("Mine", in_channels=4)
    assert backbone.num_features == 5
    x = bytes_of(2, 4, 20, 20)
    assert backbone.forward_features(x).shape == (2, 5, 9, 9)
    assert torch.allclose(backbone.stages.trunk.seen, x / 255)
    assert make_backbone("flat", in_channels=1).forward_features(x[:, :1]).shape == (2, 7, 1, 1)
    register_backbone(
        lambda in_channels: nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 400, 3)), "fixed"
    )
    assert make_backbone("fixed", 4, image_size=20)(x).shape == (2, 3)
    with pytest.raises(ValueError, match="registered already"):
        register_backbone(Mine)


def test_a_bare_module_becomes_a_backbone():
    backbone = as_backbone(Mine(3), image_size=16)
    assert backbone(bytes_of(1, 3, 30, 30)).shape == (1, backbone.num_features) == (1, 5)
    assert as_backbone(backbone) is backbone and backbone.stages.trunk.training
    assert as_backbone(Mine(3), pool=2).num_features == 20
    kept = as_backbone(Mine(3), pretrained=True)
    before = copy.deepcopy(kept.state_dict())
    assert same(before, kept.apply(overwrite).state_dict())


def test_parts_can_be_registered_too(registry):
    @register_backbone
    def tiny(in_channels=3, width=4):
        return Parts(named(conv=nn.Conv2d(in_channels, width, 3)), width)

    assert make_backbone("tiny", width=9).num_features == 9
    assert make_classifier("tiny", 2, width=9)(torch.rand(1, 3, 32, 32)).shape == (1, 2)


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_classifier_for_other_classes_learns(name):
    torch.manual_seed(0)
    model = make_classifier(name, num_classes=2, stem="small").train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, labels = torch.rand(8, 3, 32, 32), torch.tensor([0, 1] * 4)
    x[1::2] *= 0.2
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        losses.append(model.loss(x, labels))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]


def test_auxiliary_classifiers_join_the_loss():
    torch.manual_seed(0)
    model = make_classifier("googlenet", num_classes=3, stem="small").eval()
    x, labels = torch.rand(2, 3, 32, 32), torch.tensor([0, 2])
    logits = model.forward_all(x)
    assert [tuple(each.shape) for each in logits] == [(2, 3)] * 3
    assert torch.allclose(logits[0], model(x))
    main, one, two = (nn.functional.cross_entropy(each, labels) for each in logits)
    assert torch.allclose(model.loss(x, labels), main + 0.3 * (one + two))


@pytest.mark.parametrize("name", ["small", "resnet18", "densenet121"])
@torch.no_grad()
def test_bfloat16_and_channels_last(name):
    backbone = make_backbone(name, stem="small").eval()
    x = bytes_of(2, 3, 32, 32)
    wanted = backbone(x)
    last = backbone.to(memory_format=torch.channels_last)
    assert torch.allclose(last(x.to(memory_format=torch.channels_last)), wanted, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert backbone(x).shape == wanted.shape
    half = backbone.to(torch.bfloat16)(x)
    assert half.dtype == torch.bfloat16
    assert nn.functional.cosine_similarity(half.float(), wanted).min() > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_compiled_backbone_computes_the_same(name):
    backbone = make_backbone(name, stem="small", frozen=True)
    x = bytes_of(2, 3, 32, 32)
    compiled = torch.compile(backbone, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x), backbone(x), atol=1e-4)
