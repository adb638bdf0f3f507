"""Saliency maps: Grad-CAM and occlusion sensitivity, for classifiers and agents alike.

A *model* here is any function from images to scores (B, n): a `Classifier`, or
`lambda window: model.policy.q_net({"window": window})`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Model = Callable[[Tensor], Tensor]


def grad_cam(model: Model, images: Tensor, layer: nn.Module, target: int | None = None) -> Tensor:
    """Grad-CAM (Selvaraju et al., 2017): how much each place of a layer's map raises a score.

    Args:
        model: images to scores (B, n). It must not switch gradients off between `layer` and the scores.
        images: (B, C, H, W), or (B, C, D, H, W).
        layer: the module whose output (B, C', h, w) is looked at, such as `classifier.backbone.stages`.
        target: index of the score; None takes each image's largest.

    Returns:
        heat: (B, H, W) or (B, D, H, W) float32 in [0, 1]; the largest is 1, or 0 where nothing raises the
            score.

    Raises:
        ValueError: the layer gives no map.
    """
    seen: list[Tensor] = []

    def record(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        if output.ndim < 4:
            raise ValueError(f"layer must give a map (B, C, h, w), got {tuple(output.shape)}")
        seen.append(output if output.requires_grad else output.detach().requires_grad_())
        return seen[-1].clone()

    handle = layer.register_forward_hook(record)
    try:
        with torch.enable_grad():
            scores = _pick(model(images), target)
            (gradient,) = torch.autograd.grad(scores.sum(), seen[0])
    finally:
        handle.remove()
    weight = gradient.flatten(2).mean(2).view(*gradient.shape[:2], *(1,) * (gradient.ndim - 2))
    heat = F.relu((weight * seen[0].detach()).sum(1, keepdim=True)).float()
    heat = F.interpolate(heat, images.shape[2:], mode="trilinear" if images.ndim == 5 else "bilinear")[:, 0]
    return heat / heat.flatten(1).amax(1).clamp_min(1e-12).view(-1, *(1,) * (heat.ndim - 1))


@torch.no_grad()
def occlusion_map(
    model: Model,
    images: Tensor,
    target: int | None = None,
    size: int = 16,
    stride: int = 8,
    fill: float | None = None,
    batch: int = 64,
) -> Tensor:
    """Occlusion sensitivity (Zeiler & Fergus, 2014): how far a score falls when a square hides a place.

    Args:
        model: images to scores (B, n).
        images: (B, C, H, W).
        target: index of the score; None takes each image's largest.
        size: side of the square in pixels.
        stride: pixels between squares.
        fill: value of the square; None takes each image's mean.
        batch: images per call of the model.

    Returns:
        fall: (B, H, W) float32, the mean fall of the score over the squares that hide the pixel (negative: a
            rise).

    Raises:
        ValueError: a square larger than the image, or squares that leave gaps.
    """
    height, width = images.shape[2:]
    if not 1 <= stride <= size <= min(height, width):
        raise ValueError(
            f"stride and size must be 1 <= stride <= size <= image, got {stride}, {size}, {height, width}"
        )
    scores = model(images)
    chosen = scores.argmax(1) if target is None else torch.full_like(scores[:, 0], target, dtype=torch.int64)
    base = scores.gather(1, chosen[:, None])
    places = list(product(_starts(height, size, stride), _starts(width, size, stride)))
    out = [
        _falls(model, image, int(c), float(b), places, size, fill, batch)
        for image, c, b in zip(images, chosen, base, strict=True)
    ]
    return torch.stack(out)


def overlay(images: Tensor, heat: Tensor, strength: float = 0.5) -> Tensor:
    """Images with a heat map in [0, 1] laid over them, blue to red; (B, 3, H, W) uint8.

    Args:
        images: (B, C, H, W) uint8, or float in [0, 1]; if not three channels, shown as their grey mean.
        heat: (B, H, W) float in [0, 1].
        strength: share of the heat where it is 1; nothing is laid over where it is 0.
    """
    picture = images.float() / 255 if images.dtype == torch.uint8 else images.float()
    if picture.shape[1] != 3:
        picture = picture.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    peaks = torch.tensor([0.75, 0.5, 0.25], device=heat.device).view(1, 3, 1, 1)
    colour = (1.5 - 4 * (heat[:, None] - peaks).abs()).clamp(0, 1)
    share = strength * heat[:, None]
    return (255 * (picture * (1 - share) + colour * share)).round().clamp(0, 255).to(torch.uint8)


def _pick(scores: Tensor, target: int | None) -> Tensor:
    return scores.amax(1) if target is None else scores[:, target]


def _starts(length: int, size: int, stride: int) -> list[int]:
    """Left edges of the squares, the last one at the border."""
    return sorted({*range(0, length - size + 1, stride), length - size})


def _falls(
    model: Model,
    image: Tensor,
    target: int,
    base: float,
    places: list[tuple[int, int]],
    size: int,
    fill: float | None,
    batch: int,
) -> Tensor:
    """(H, W) mean fall of one image's score."""
    value = image.float().mean().to(image.dtype) if fill is None else fill
    total, count = torch.zeros(2, *image.shape[1:], device=image.device)
    for first in range(0, len(places), batch):
        some = places[first : first + batch]
        hidden = image.repeat(len(some), 1, 1, 1)
        for copy, (y, x) in zip(hidden, some, strict=True):
            copy[:, y : y + size, x : x + size] = value
        for score, (y, x) in zip(model(hidden)[:, target], some, strict=True):
            total[y : y + size, x : x + size] += base - score
            count[y : y + size, x : x + size] += 1
    return total / count
