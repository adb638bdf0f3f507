"""Deconvnet, Grad-CAM and occlusion against what they must equal."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from visionrl.backbones import as_backbone, make_backbone, make_classifier
from visionrl.explain.deconv import deconvolve
from visionrl.explain.saliency import grad_cam, occlusion_map, overlay


class RectifiedBackward(torch.autograd.Function):
    """A rectifier whose backward pass rectifies the gradient instead of gating it."""

    @staticmethod
    def forward(ctx, x):
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.clamp_min(0)


def by_autograd(backbone, images, projection, depth):
    """The deconvnet as Springenberg et al. (2015) put it: backpropagation with another rule for ReLU."""
    x = start = backbone.normalize(images).requires_grad_()
    for stage in list(backbone.stages)[:depth]:
        for layer in stage if isinstance(stage, nn.Sequential) else [stage]:
            x = RectifiedBackward.apply(x) if isinstance(layer, nn.ReLU) else layer(x)
    rows = torch.arange(len(x))
    chosen = x[rows, projection.channel, projection.position[:, 0], projection.position[:, 1]]
    return torch.autograd.grad((chosen * chosen.detach()).sum(), start)[0]


@pytest.mark.parametrize(("name", "stage", "depth"), [
    ("zfnet", "conv2", 3),
    ("zfnet", "pool5", 8),
    ("alexnet2012", "conv4", 4),
    ("vgg11_bn", "conv3", 3),
])  # fmt: skip
@pytest.mark.slow
def test_deconvolution_is_backpropagation_with_rectified_gradients(name, stage, depth):
    torch.manual_seed(0)
    options = {} if name.startswith("vgg") else {"lrn": False}
    backbone = make_backbone(name, **options).eval()
    images = torch.rand(2, 3, 75, 70)
    projection = deconvolve(backbone, images, stage)
    wanted = by_autograd(backbone, images, projection, depth)
    assert projection.pixels.shape == images.shape and projection.pixels.abs().max() > 0
    assert torch.allclose(projection.pixels, wanted, atol=1e-5 * float(wanted.abs().max()))


def test_projection_stays_in_the_receptive_field():
    backbone = make_backbone("zfnet").eval()
    image = torch.zeros(1, 3, 96, 96)
    image[0, :, 60:70, 60:70] = torch.rand(3, 10, 10)
    projection = deconvolve(backbone, image, "pool1", channel=5)
    assert projection.channel.item() == 5
    rows, columns = projection.pixels[0].abs().sum(0).nonzero().T
    assert max(rows.max() - rows.min(), columns.max() - columns.min()) < 7
    row, column = (projection.position[0] * 4).tolist()
    assert abs(rows.float().mean() - row) < 8 and abs(columns.float().mean() - column) < 8


def test_deconvolution_refuses_what_it_cannot_undo():
    with pytest.raises(ValueError, match="stage must be one of"):
        deconvolve(make_backbone("zfnet"), torch.rand(1, 3, 64, 64), "conv9")
    with pytest.raises(ValueError, match=r"must be a chain .* got BasicBlock$"):
        deconvolve(make_backbone("resnet18"), torch.rand(1, 3, 64, 64), "conv2")


class Bright(nn.Module):
    """Two channels: the red and the blue of 4x4 blocks."""

    def forward(self, x):
        return F.avg_pool2d(x[:, ::2], 4)


def red_against_blue():
    """A model whose first score is the red in the image and whose second is the blue; and its map's layer."""
    backbone = as_backbone(Bright(), image_size=16)
    return nn.Sequential(backbone), backbone.stages


def red_left_blue_right() -> torch.Tensor:
    image = torch.zeros(1, 3, 32, 32)
    image[0, 0, 8:16, 4:12] = 1.0
    image[0, 2, 8:16, 20:28] = 0.5
    return image


@pytest.mark.parametrize(("target", "columns"), [(0, slice(4, 12)), (1, slice(20, 28)), (None, slice(4, 12))])
def test_grad_cam_finds_what_raises_the_score(target, columns):
    model, layer = red_against_blue()
    heat = grad_cam(model, red_left_blue_right(), layer, target)
    assert heat.shape == (1, 32, 32) and heat.max() == 1 and heat.min() == 0
    assert heat[0, 8:16, columns].mean() > 0.7
    heat[0, 5:19, columns.start - 3 : columns.stop + 3] = 0
    assert heat.max() == 0


def test_grad_cam_is_the_formula_on_a_network():
    torch.manual_seed(0)
    model = make_classifier("resnet18", 5, stem="small").eval()
    x = torch.rand(2, 3, 32, 32)
    heat = grad_cam(model, x, model.backbone.stages, target=3)
    weight = (
        model.head[-1].weight[3].view(1, -1, 1, 1)
    )  # mean-pooled map: the gradient is the weight / (h * w)
    wanted = F.relu((weight * model.backbone.forward_features(x)).sum(1, keepdim=True))
    wanted = F.interpolate(wanted, (32, 32), mode="bilinear")[:, 0]
    assert torch.allclose(heat, wanted / wanted.amax((1, 2), keepdim=True), atol=1e-4)


@pytest.mark.parametrize("name", ["small", "googlenet", "mobilenet_v2", "densenet121"])
def test_grad_cam_takes_every_family_frozen_too(name):
    model = make_classifier(name, 4, stem="small").eval()
    model.backbone.freeze()
    x = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert grad_cam(model, x, model.backbone.stages).shape == (2, 32, 32)
    assert not model.backbone.stages._forward_hooks


@pytest.mark.parametrize("target", [0, 1])
def test_occlusion_finds_what_the_score_needs(target):
    model, _ = red_against_blue()
    fall = occlusion_map(model, red_left_blue_right(), target, size=8, stride=4, fill=0.0, batch=5)
    assert fall.shape == (1, 32, 32)
    row, column = divmod(int(fall.argmax()), 32)
    assert 8 <= row < 16 and (4 <= column < 12 if target == 0 else 20 <= column < 28)
    assert (
        fall[0, :, slice(16, 32) if target == 0 else slice(0, 16)].abs().max() == 0
    )  # no square reaches over
    one = torch.tensor(1.0 if target == 0 else 0.5) * 64 / 1024  # what one full square takes from the mean
    assert fall.max() <= one + 1e-6


def test_occlusion_checks_its_squares():
    model, _ = red_against_blue()
    with pytest.raises(ValueError, match="stride and size"):
        occlusion_map(model, red_left_blue_right(), size=4, stride=8)


def test_overlay_shows_heat_only_where_it_is():
    image = torch.full((1, 1, 4, 4), 100, dtype=torch.uint8)
    heat = torch.zeros(1, 4, 4)
    heat[0, 0, 0] = 1
    shown = overlay(image, heat)
    assert shown.dtype == torch.uint8 and shown.shape == (1, 3, 4, 4)
    assert (shown[0, :, 1:] == 100).all()
    assert shown[0, 0, 0, 0] > 100 > shown[0, 2, 0, 0]


def test_grad_cam_needs_a_map():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    with pytest.raises(ValueError, match=r"layer must give a map \(B, C, h, w\), got \(2, 3\)"):
        grad_cam(net, torch.rand(2, 3, 2, 2), net[1])
