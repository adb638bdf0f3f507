"""Deconvnet: "Visualizing and understanding convolutional networks" (Zeiler & Fergus, 2014).

It carries one activation of a convolutional layer back to the pixels that caused it: max-pooling is undone
with the recorded positions of the maxima (switches), rectification is applied again, filters are transposed.
It fits networks that are one chain of such layers: AlexNet, ZFNet, VGG.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

from visionrl.backbones._backbone import Backbone

Undo = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Projection:
    """One activation per image and what caused it.

    Attributes:
        pixels: (B, C, H, W) float, in the normalised units of the trunk's input and of the image's size (that
            of the enlarged image, where it was enlarged).
        channel: (B,) int64, the channel of the activation.
        position: (B, 2) int64, (row, column) of the activation in its map.
        activation: (B,) float, its value.
    """

    pixels: Tensor
    channel: Tensor
    position: Tensor
    activation: Tensor


@torch.no_grad()
def deconvolve(backbone: Backbone, images: Tensor, stage: str, channel: int | None = None) -> Projection:
    """The strongest activation after a stage, projected back to the pixels.

    Args:
        backbone: a chain of convolution, rectifier, max-pooling, normalisation (AlexNet, ZFNet, VGG).
        images: (B, C, H, W) uint8, or float in [0, 1].
        stage: name of the stage, one of `backbone.stages`.
        channel: channel of the map; None takes, for each image, the one with the strongest activation.

    Raises:
        ValueError: an unknown stage, or a network that is no such chain.
    """
    names = [name for name, _ in backbone.stages.named_children()]
    if stage not in names:
        raise ValueError(f"stage must be one of {names}, got {stage!r}")
    x, undo = backbone.normalize(images), []
    for layer in _chain(backbone.stages[: names.index(stage) + 1]):
        x, back = _step(layer, x)
        undo.append(back)
    kept, found = _strongest(x, channel)
    for back in reversed(undo):
        kept = back(kept)
    return Projection(kept, *found)


def _chain(module: nn.Module) -> list[nn.Module]:
    """The layers of nested sequences, in order."""
    if isinstance(module, nn.Sequential):
        return [layer for child in module for layer in _chain(child)]
    return [module]


def _step(layer: nn.Module, x: Tensor) -> tuple[Tensor, Undo]:
    """The layer's output, and the function that carries a signal back through it."""
    if isinstance(layer, nn.MaxPool2d):
        out, switches = F.max_pool2d(
            x,
            layer.kernel_size,
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.ceil_mode,
            return_indices=True,
        )
        return out, lambda y: _unpool(y, switches, x.shape)
    if isinstance(layer, nn.ReLU):
        return F.relu(x), F.relu
    if isinstance(layer, nn.Conv2d):
        return layer(x), lambda y: _transpose(layer, y, x.shape)
    if isinstance(layer, nn.BatchNorm2d):
        return _batch_norm(
            layer, x
        ), lambda y: _batch_norm(layer, y) - _batch_norm(layer, torch.zeros_like(y))
    if isinstance(layer, (nn.LocalResponseNorm, nn.Identity)):
        return layer(x), lambda y: y
    kind = type(layer).__name__
    raise ValueError(f"the network must be a chain of convolutions, rectifiers and max-poolings, got {kind}")


def _batch_norm(layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """The layer with its running statistics, whatever its mode."""
    return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=layer.eps)


def _unpool(y: Tensor, switches: Tensor, shape: torch.Size) -> Tensor:
    """Each value back at the position of its maximum; values that share a position are added."""
    empty = y.new_zeros(shape).flatten(2)
    return empty.scatter_add_(2, switches.flatten(2), y.flatten(2)).view(shape)


def _transpose(conv: nn.Conv2d, y: Tensor, shape: torch.Size) -> Tensor:
    """The convolution with its filters transposed, to an output of the given shape."""
    return conv2d_input(shape, conv.weight, y, conv.stride, conv.padding, conv.dilation, conv.groups)


def _strongest(x: Tensor, channel: int | None) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """The map with all but one activation per image at zero; that one's channel, position and value."""
    if channel is not None and not 0 <= channel < x.shape[1]:
        raise ValueError(f"channel must be in [0, {x.shape[1]}), got {channel}")
    chosen = x if channel is None else x[:, channel : channel + 1]
    value, index = chosen.flatten(1).max(1)
    height, width = x.shape[2:]
    where = index // (height * width) if channel is None else torch.full_like(index, channel)
    row, column = index % (height * width) // width, index % width
    kept, batch = torch.zeros_like(x), torch.arange(len(x), device=x.device)
    kept[batch, where, row, column] = value
    return kept, (where, torch.stack([row, column], 1), value)
