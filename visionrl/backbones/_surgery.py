"""Small operations on networks: another number of input channels, a small stem, GroupNorm for BatchNorm."""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd

import torch
from torch import Tensor, nn

from visionrl.backbones._backbone import Parts


def slots(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """(parent, name, child) of every module below, in order of definition, listed before any change."""
    yield from [(m, name, child) for m in module.modules() for name, child in m.named_children()]


def first_conv(module: nn.Module) -> nn.Conv2d | None:
    """The first 2D convolution in order of definition, or None."""
    return next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)


def adapt_weight(weight: Tensor, in_channels: int) -> Tensor:
    """Filters (out, C, kh, kw) for another number of channels, with the response to a grey image kept.

    The channels repeat in turn (R, G, B, R, ...) and are scaled by C / in_channels; for one channel this is
    their sum.
    """
    old = weight.shape[1]
    if in_channels == 1:
        return weight.sum(1, keepdim=True)
    return weight[:, torch.arange(in_channels, device=weight.device) % old] * (old / in_channels)


def adapt_channels(stages: nn.Module, in_channels: int, keep: bool) -> None:
    """Changes the first convolution, in place, to `in_channels`; adapts its weights or draws new ones."""
    conv = first_conv(stages)
    if conv is None or conv.in_channels == in_channels:
        return
    if conv.groups != 1:
        raise ValueError(
            f"the first convolution must have one group to change its channels, got {conv.groups}"
        )
    conv.in_channels = in_channels
    shape = (conv.out_channels, in_channels, *conv.kernel_size)
    weight = adapt_weight(conv.weight.detach(), in_channels) if keep else conv.weight.new_empty(shape)
    conv.weight = nn.Parameter(weight)
    if not keep:
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")


def small_stem(parts: Parts) -> None:
    """Halves the stride of the first convolution and drops the first max-pooling, in place.

    He et al. (2016, section 4.2) do so for images of 32 px. The kernels keep their shapes, so the same
    weights fit both stems.
    """
    conv = first_conv(parts.stages)
    if conv is not None:
        conv.stride = tuple(max(1, s // 2) for s in conv.stride)
        conv.padding = tuple(k // 2 for k in conv.kernel_size)
    pools = [(parent, name) for parent, name, child in slots(parts.stages) if isinstance(child, nn.MaxPool2d)]
    for parent, name in pools[: int(parts.stem_pool)]:
        setattr(parent, name, nn.Identity())
    parts.min_size = parts.min_size_small


def group_norm(module: nn.Module) -> None:
    """GroupNorm (Wu & He, 2018) with at most 32 groups in the place of every BatchNorm2d below.

    Raises:
        ValueError: a BatchNorm that does more than that (those of timm, which rectify too).
    """
    for parent, name, old in slots(module):
        if isinstance(old, nn.BatchNorm2d):
            if type(old) is not nn.BatchNorm2d:
                raise ValueError(f"norm must be 'batch' for layers such as {type(old).__name__}, got 'group'")
            new = nn.GroupNorm(gcd(32, old.num_features), old.num_features, eps=old.eps, affine=old.affine)
            new.load_state_dict(dict(old.named_parameters()))
            setattr(parent, name, new)


def replace_last_linear(head: nn.Module, num_classes: int) -> None:
    """A new output layer for `num_classes` in the place of the head's last linear layer."""
    parent, name, old = [(p, n, c) for p, n, c in slots(head) if isinstance(c, nn.Linear)][-1]
    setattr(parent, name, nn.Linear(old.in_features, num_classes, bias=old.bias is not None))
