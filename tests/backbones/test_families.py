"""Every published classifier: parameters, stage shapes and errors as in the papers' tables."""

from __future__ import annotations

import re
import sys

import pytest
import torch

from visionrl.backbones import list_backbones, make_backbone, make_classifier
from visionrl.backbones._registry import _BUILDERS

PARAMETERS = {
    "alexnet": 61_100_840,
    "alexnet2012": 60_965_224,
    "zfnet": 62_357_608,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840,
    "vgg13_bn": 133_053_736,
    "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248,
    "googlenet": 6_624_904,
    "inception_v3": 27_161_264,
    "inception_v4": 42_679_816,
    "inception_resnet_v2": 55_843_464,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "densenet121": 7_978_856,
    "densenet161": 28_681_000,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "mobilenet_v2": 3_504_872,
    "efficientnet_lite0": 4_652_008,
}
NEEDS_TIMM = {"inception_v4", "inception_resnet_v2", "efficientnet_lite0"}
VGG = [(64, 112), (128, 56), (256, 28), (512, 14), (512, 7)]
BOTTLENECKS = [(64, 112), (256, 56), (512, 28), (1024, 14), (2048, 7)]
STAGES = {  # image size; (channels, side) of the map after each stage
    "alexnet": (224, [(64, 55), (192, 27), (384, 13), (256, 13), (256, 13), (256, 6)]),
    "alexnet2012": (227, [(96, 55), (256, 27), (384, 13), (384, 13), (256, 13), (256, 6)]),
    "zfnet": (224, [(96, 110), (96, 55), (256, 26), (256, 13), (384, 13), (384, 13), (256, 13), (256, 6)]),
    **dict.fromkeys([f"vgg{n}{bn}" for n in (11, 13, 16, 19) for bn in ("", "_bn")], (224, VGG)),
    "googlenet": (224, [(64, 112), (192, 56), (480, 28), (512, 14), (528, 14), (832, 14), (1024, 7)]),
    "inception_v3": (299, [(32, 149), (64, 147), (192, 71), (288, 35), (768, 17), (2048, 8)]),
    "inception_v4": (299, [(32, 149), (64, 147), (160, 73), (192, 71), (384, 35), (1024, 17), (1536, 8)]),
    "inception_resnet_v2": (299, [(32, 149), (64, 147), (192, 71), (320, 35), (1088, 17), (1536, 8)]),
    **dict.fromkeys(["resnet18", "resnet34"], (224, [(64, 112), (64, 56), (128, 28), (256, 14), (512, 7)])),
    **dict.fromkeys(["resnet50", "resnet101", "resnet152"], (224, BOTTLENECKS)),
    "densenet121": (224, [(64, 112), (256, 56), (512, 28), (1024, 14), (1024, 7)]),
    "densenet161": (224, [(96, 112), (384, 56), (768, 28), (2112, 14), (2208, 7)]),
    "densenet169": (224, [(64, 112), (256, 56), (512, 28), (1280, 14), (1664, 7)]),
    "densenet201": (224, [(64, 112), (256, 56), (512, 28), (1792, 14), (1920, 7)]),
    "mobilenet_v2": (
        224,
        [(32, 112), (16, 112), (24, 56), (32, 28), (64, 14), (96, 14), (160, 7), (320, 7), (1280, 7)],
    ),
    "efficientnet_lite0": (
        224,
        [(32, 112), (16, 112), (24, 56), (40, 28), (80, 14), (112, 14), (192, 7), (320, 7), (1280, 7)],
    ),
}


def on_meta(name: str):
    """The classifier without memory for its weights."""
    if name in NEEDS_TIMM:
        pytest.importorskip("timm")
    with torch.device("meta"):
        return make_classifier(name).eval()


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_every_published_name_is_registered():
    assert set(PARAMETERS) == set(STAGES) <= set(list_backbones())
    assert {"small", "nature", "impala"} <= set(list_backbones())


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_published_ones(name):
    model = on_meta(name)
    without = count(model.auxiliary) if name == "googlenet" else 0
    assert count(model) - without == PARAMETERS[name]
    assert f"{PARAMETERS[name]:,} parameters" in _BUILDERS[name].__doc__


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_stages_have_the_published_shapes(name):
    model = on_meta(name)
    size, published = STAGES[name]
    x = model.backbone.normalize(torch.empty(2, 3, size, size, device="meta"))
    for stage, (channels, side) in zip(model.backbone.stages, published, strict=True):
        x = stage(x)
        assert x.shape == (2, channels, side, side)
    assert model.backbone.num_channels == model.backbone.num_features == published[-1][0]
    assert model.classify(x).shape == (2, 1000)


@pytest.mark.parametrize("name", sorted(set(PARAMETERS) - NEEDS_TIMM - {"alexnet2012", "zfnet"}))
def test_stated_error_is_torchvisions(name):
    models = pytest.importorskip("torchvision.models")
    meta = models.get_model_weights(name)["IMAGENET1K_V1"].meta
    stated = float(re.search(r"top-5 error\s+([\d.]+) %", _BUILDERS[name].__doc__)[1])
    assert stated == pytest.approx(100 - meta["_metrics"]["ImageNet-1K"]["acc@5"], abs=0.006)


@pytest.mark.parametrize(
    "name",
    [
        "alexnet",
        pytest.param("vgg11", marks=pytest.mark.slow),
        "googlenet",
        "resnet18",
        "densenet121",
        "mobilenet_v2",
    ],
)
def test_our_cut_computes_what_torchvision_computes(name):
    models = pytest.importorskip("torchvision.models")
    extra = {"init_weights": False, "aux_logits": True} if name == "googlenet" else {}
    torch.manual_seed(0)
    theirs = models.get_model(name, **extra).eval()
    ours = make_classifier(name, weights=theirs.state_dict()).eval()
    x = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs(ours.backbone.normalize(x)), atol=1e-4)


def test_normalisation_of_2012_is_the_papers_formula():
    conv1 = make_backbone("alexnet2012").stages.conv1
    a = torch.rand(1, 96, 2, 2) * 50
    squares = torch.stack([a[:, max(0, i - 2) : i + 3].square().sum(1) for i in range(96)], 1)
    assert torch.allclose(conv1[2](a), a / (2 + 1e-4 * squares) ** 0.75, atol=1e-4)
    assert isinstance(make_backbone("alexnet2012", lrn=False).stages.conv1[2], torch.nn.Identity)


def test_towers_of_2012_do_not_see_each_other():
    conv = make_backbone("alexnet2012").stages.conv4[0]
    x = torch.zeros(1, 384, 5, 5)
    x[:, :192] = 1
    change = (conv(x) - conv(torch.zeros_like(x))).abs().sum((0, 2, 3))
    assert change[:192].min() > 0 and change[192:].max() == 0


@pytest.mark.parametrize(("name", "channels", "size", "parameters"), [
    ("nature", 4, 84, 1_684_128),
    ("impala", 3, 64, 622_144),
    ("small", 3, 32, 20_064),
    ("mlp", 1, 8, 8_320),
    ("unet", 3, 64, 112_764),
    ("pyramid", 3, 64, 417_312),
    ("conv4", 3, 64, 112_832),
    ("vit_tiny8", 3, 64, 554_880),
])  # fmt: skip
def test_small_networks(name, channels, size, parameters):
    backbone = make_backbone(name, channels)
    assert count(backbone) == parameters
    assert f"{parameters:,}" in _BUILDERS[name].__doc__
    side = backbone.forward_features(torch.rand(1, channels, size, size)).shape[-1]
    sides = {
        "nature": 7,
        "impala": 8,
        "small": 4,
        "mlp": 8,
        "unet": 32,
        "pyramid": 4,
        "conv4": 4,
        "vit_tiny8": 8,
    }
    assert side == sides[name]


def test_timm_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r'pip install "visionrl\[timm\]"'):
        make_backbone("inception_v4")
