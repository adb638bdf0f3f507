"""Random views of images: crops, flips, turns, brightness, contrast, colours; all on tensors, a batch at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from visionrl.models.pretext._base import random_floats

GREY = (0.299, 0.587, 0.114)  # of red, green and blue, as in ITU-R BT.601
RATIO = math.log(4 / 3)  # most of a crop's log aspect


def crops(
    images: Tensor, generator: torch.Generator, least: float = 0.3, turn: float = 0.0, flip: bool = True
) -> Tensor:
    """A part of each image, enlarged to its size.

    Args:
        images: (B, C, H, W) in [0, 1].
        generator: on the CPU.
        least: smallest share of the area.
        turn: largest turn to either side in degrees.
        flip: mirror half of them.
    """
    count = len(images)
    area, log_ratio = (random_floats(generator, images, count, *r) for r in ((least, 1), (-RATIO, RATIO)))
    wide, high = ((area * (sign * log_ratio).exp()).sqrt().clamp(max=1) for sign in (1, -1))
    x, y = ((1 - side) * random_floats(generator, images, count, -1, 1) for side in (wide, high))
    angle = random_floats(generator, images, count, -turn, turn) * math.pi / 180
    mirror = torch.where(random_floats(generator, images, count) < 0.5 * flip, -1.0, 1.0)
    cos, sin = angle.cos(), angle.sin()
    rows = [torch.stack([wide * cos * mirror, -high * sin, x], 1)]
    rows += [torch.stack([wide * sin * mirror, high * cos, y], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def recolored(images: Tensor, generator: torch.Generator, colour: bool, strength: float = 0.4) -> Tensor:
    """Images (B, C, H, W) in [0, 1] of another brightness and contrast, and of other colours where they have some.

    Args:
        images: see above.
        generator: on the CPU.
        colour: the channels are red, green and blue; their gains then differ, and a fifth of the images turn grey.
        strength: how far factors lie from 1.
    """
    count = len(images)
    bright, contrast = (
        random_floats(generator, images, (count, 1, 1, 1), 1 - strength, 1 + strength) for _ in range(2)
    )
    images = images * bright
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * contrast
    if colour:
        images = images * random_floats(
            generator, images, (count, 3, 1, 1), 1 - strength / 2, 1 + strength / 2
        )
        plain = (images * images.new_tensor(GREY).view(1, 3, 1, 1)).sum(1, keepdim=True).expand_as(images)
        images = torch.where(random_floats(generator, images, (count, 1, 1, 1)) < 0.2, plain, images)
    return images.clamp(0, 1)


def view(images: Tensor, generator: torch.Generator, colour: bool) -> Tensor:
    """A crop of 30 % or more of each image, flipped or not, recolored (after Chen et al., 2020)."""
    return recolored(crops(images, generator), generator, colour)
