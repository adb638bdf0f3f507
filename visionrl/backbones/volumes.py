"""3D twins of the backbones, for volumes (B, C, D, H, W): every square becomes a cube.

Weights are inflated ("Quo vadis, action recognition?", Carreira & Zisserman, 2017): a filter is repeated
along depth and divided by the number of copies, so that a volume that repeats an image gives that image's
activations, but for the borders in depth.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from visionrl.backbones._backbone import Parts
from visionrl.backbones._surgery import slots


def to_volumes(parts: Parts) -> Parts:
    """The 3D twin of a network's parts, made in place; ``make_backbone(dims=3)`` calls it.

    The grid of `pool`^3 cells has by default about as many cells as the 2D one; a linear neck (`nature`, `impala`)
    starts anew. An axis shorter than the trunk's smallest input is stretched to it.

    Raises:
        ValueError: the network has layers without a 3D twin (those built by timm, Inception-v3).
    """
    inflate(parts.stages)
    return _cubic(parts)


def inflate(module: nn.Module) -> nn.Module:
    """Turns every 2D layer below the module into its 3D twin, in place; returns the module.

    Raises:
        ValueError: a 2D layer without a twin.
    """
    for parent, name, child in slots(module):
        if type(child) in _TWINS:
            setattr(parent, name, _TWINS[type(child)](child))
        elif isinstance(child, (*_TWINS, nn.AdaptiveAvgPool2d)):
            raise ValueError(f"layers must have a 3D twin, got {type(child).__name__} at {name!r}")
    return module


def _conv(old: nn.Conv2d) -> nn.Conv3d:
    kernel, stride, padding, dilation = (
        _cube(v) for v in (old.kernel_size, old.stride, old.padding, old.dilation)
    )
    bias = old.bias is not None
    new = nn.Conv3d(old.in_channels, old.out_channels, kernel, stride, padding, dilation, old.groups, bias)
    with torch.no_grad():
        new.weight.copy_(old.weight[:, :, None].expand_as(new.weight) / kernel[0])
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    return new


def _norm(old: nn.BatchNorm2d) -> nn.BatchNorm3d:
    new = nn.BatchNorm3d(old.num_features, old.eps, old.momentum, old.affine, old.track_running_stats)
    new.load_state_dict(old.state_dict())
    return new


def _max_pool(old: Any) -> nn.MaxPool3d:
    return nn.MaxPool3d(old.kernel_size, old.stride, old.padding, old.dilation, ceil_mode=old.ceil_mode)


def _avg_pool(old: Any) -> nn.AvgPool3d:
    return nn.AvgPool3d(old.kernel_size, old.stride, old.padding, old.ceil_mode, old.count_include_pad)


_TWINS: dict[type[nn.Module], Any] = {
    nn.Conv2d: _conv,
    nn.BatchNorm2d: _norm,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
}


def _cube(pair: Any) -> tuple[int, int, int]:
    """(depth, height, width) from (height, width): depth takes the smaller (1x7 filters stay flat)."""
    return (min(pair), *pair)


def _cubic(parts: Parts) -> Parts:
    """The parts with a grid of about as many cells, and a neck that fits it."""
    pool = round(parts.pool ** (2 / 3))
    if parts.neck is None:
        return replace(parts, pool=pool)
    neck = nn.Sequential(nn.Linear(parts.channels * pool**3, parts.neck_features), nn.ReLU())
    return replace(parts, pool=pool, neck=neck)
