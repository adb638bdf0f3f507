"""Images and their classes as tensors, and the random warps of a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visionrl.datasets import ImageSample, load
from visionrl.datasets.classes import class_names, image_class

FITTED = 64  # side of the square that images of different sizes are fitted into
LIGHT = (10.0, (0.9, 1.1), 0.1)  # degrees, scales, shift in halves of the side
AFFINE = (45.0, (0.7, 1.2), 0.4)  # the "RTS" digits of Jaderberg et al. (2015), on a canvas of 42 pixels


@dataclass(frozen=True)
class Images:
    """One split.

    Attributes:
        pixels: (N, C, H, W) uint8.
        labels: (N,) int64, place in ``names``.
        names: the classes.
    """

    pixels: Tensor
    labels: Tensor
    names: tuple[str, ...]

    def to(self, device: str) -> Images:
        """The same on a device."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))

    def about(self) -> dict[str, Any]:
        """What a network must know of them, as plain values."""
        return {
            "in_channels": self.pixels.shape[1],
            "side": self.pixels.shape[-1],
            "classes": list(self.names),
        }


def load_images(data: Any, split: str, canvas: int | None = None) -> Images:
    """A split in memory; grey images become RGB where both kinds occur.

    Args:
        data: as for ``visionrl.datasets.load``; each sample has one label.
        split: "train", "val" or "test".
        canvas: side of a square in whose middle every image lies; larger ones are shrunk to fit. None keeps
            the images as they are, if they are squares of one size, else it is 64.

    Raises:
        ValueError: a sample has no class or several, or the canvas is less than 1.
    """
    if canvas is not None and canvas < 1:
        raise ValueError(f"canvas must be >= 1, got {canvas}")
    names = class_names(data)
    samples: Sequence[ImageSample] = load(data, kind=ImageSample, split=split)
    shapes = {sample.image.shape[1:] for sample in samples}
    alike = len(shapes) == 1 and len(set(*shapes)) == 1
    side = canvas or (next(iter(shapes))[0] if alike else FITTED)
    channels = max(sample.image.shape[0] for sample in samples)
    pixels = np.zeros((len(samples), channels, side, side), np.uint8)
    for sample, place in zip(samples, pixels, strict=True):
        lay(sample.image, place)
    labels = [names.index(image_class(sample, index)) for index, sample in enumerate(samples)]
    return Images(torch.from_numpy(pixels), torch.tensor(labels), names)


def lay(image: np.ndarray, place: np.ndarray) -> None:
    """Lay an image (C, H, W) in the middle of a square (C', S, S), in place; a larger one is shrunk to fit."""
    side, longest = place.shape[-1], max(image.shape[1:])
    if longest > side:
        width, height = (max(round(n * side / longest), 1) for n in image.shape[:0:-1])
        image = np.stack([cv2.resize(c, (width, height), interpolation=cv2.INTER_AREA) for c in image])
    top, left = ((side - n) // 2 for n in image.shape[1:])
    place[:, top : top + image.shape[1], left : left + image.shape[2]] = image


def warped(pixels: Tensor, how: str, chance: torch.Generator) -> Tensor:
    """Images (B, C, H, W) uint8, each turned, scaled and shifted at random; "none" leaves them alone.

    Args:
        pixels: the images; 0 comes in from outside.
        how: "none", "light" or "affine".
        chance: what the angles, scales and shifts are drawn from, on the CPU.
    """
    if how == "none":
        return pixels
    degrees, (low, high), shift = LIGHT if how == "light" else AFFINE
    draw = torch.rand(4, len(pixels), generator=chance)
    angle = torch.deg2rad((2 * draw[0] - 1) * degrees)
    scale = low + draw[1] * (high - low)
    move = (2 * draw[2:] - 1) * shift
    cos, sin = angle.cos() / scale, angle.sin() / scale
    x, y = -cos * move[0] - sin * move[1], sin * move[0] - cos * move[1]
    matrix = torch.stack([torch.stack([cos, sin, x], 1), torch.stack([-sin, cos, y], 1)], 1).to(pixels.device)
    grid = F.affine_grid(matrix, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels.float(), grid, align_corners=False).round().to(torch.uint8)
