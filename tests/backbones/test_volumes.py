"""The 3D twins."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from visionrl.backbones import inflate, list_backbones, make_backbone

LIGHT = ["small", "nature", "impala", "resnet18", "googlenet", "mobilenet_v2"]
TIMM = {"inception_v4", "inception_resnet_v2", "efficientnet_lite0"}
HEAVY = ["zfnet", "alexnet", "alexnet2012", "vgg11_bn", "densenet121", "resnet50"]


@pytest.mark.parametrize("name", [*LIGHT, *(pytest.param(name, marks=pytest.mark.slow) for name in HEAVY)])
@torch.no_grad()
def test_volumes_become_vectors_and_maps(name):
    backbone = make_backbone(name, 1, dims=3).eval()
    x = torch.randint(0, 256, (2, 1, 24, 32, 40), dtype=torch.uint8)
    features, grid = backbone(x), backbone.forward_features(x)
    assert features.shape == (2, backbone.num_features)
    assert grid.shape[:2] == (2, backbone.num_channels) and grid.ndim == 5
    assert torch.allclose(features, backbone(x / 255), atol=1e-5)
    assert not any(
        "2d" in type(layer).__name__.lower() for layer in backbone.modules() if not [*layer.children()]
    )


def test_a_repeated_image_gives_the_images_activations():
    torch.manual_seed(0)
    flat = make_backbone("resnet18", 1).eval()
    deep = make_backbone("resnet18", 1, weights=flat.state_dict(), dims=3).eval()
    image = torch.rand(1, 1, 32, 32)
    volume = image[:, :, None].expand(-1, -1, 200, -1, -1)
    with torch.no_grad():
        wanted, out = flat.stages[:4](flat.normalize(image)), deep.stages[:4](deep.normalize(volume))
    middle = out[:, :, out.shape[2] // 2]
    assert torch.allclose(middle, wanted, atol=1e-3 * float(wanted.abs().max()))
    assert not torch.allclose(out[:, :, 0], wanted, atol=1e-2 * float(wanted.abs().max()))
    assert deep.pretrained


def test_frozen_twins_keep_their_statistics():
    backbone = make_backbone("resnet18", 1, frozen=True, dims=3).train()
    before = backbone.stages.conv1[1].running_mean.clone()
    backbone(torch.rand(2, 1, 32, 32, 32))
    assert torch.equal(before, backbone.stages.conv1[1].running_mean)


def test_flat_volumes_are_stretched_in_depth_only():
    backbone = make_backbone("small", 1, dims=3)
    assert backbone.normalize(torch.rand(1, 1, 5, 30, 40)).shape == (1, 1, 24, 30, 40)


def test_flat_filters_stay_flat():
    conv = inflate(nn.Sequential(nn.Conv2d(2, 3, (1, 7), padding=(0, 3))))[0]
    assert conv.kernel_size == (1, 1, 7) and conv.padding == (0, 0, 3)


@pytest.mark.parametrize("name", ["inception_v3", "efficientnet_lite0"])
def test_networks_without_a_twin_are_named(name):
    if name in TIMM:
        pytest.importorskip("timm")
    assert name in list_backbones()
    with pytest.raises(ValueError, match="3D twin"):
        make_backbone(name, 1, dims=3)
