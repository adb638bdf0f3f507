"""Whole pictures of one split, of which any square may be cut and resized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from visionrl.banks.patches import colored, shared
from visionrl.banks.squares import squeezed
from visionrl.ops import Recalled


class PictureBank(Recalled):
    """Pictures of any sizes, as they are.

    Args:
        samples: each with an ``image``.
        channels: 1 holds all grey, 3 all in RGB.

    Attributes:
        images: (C, H, W) uint8 each.
    """

    def __init__(self, samples: Sequence[Any], channels: int) -> None:
        self.images = [colored(sample.image, channels) for sample in samples]

    def whole(self, number: int, side: int) -> np.ndarray:
        """(C, side, side) uint8, a picture squeezed to a square."""
        return squeezed(self.images[number], side)

    def part(self, number: int, corner: tuple[int, int], length: int, side: int) -> np.ndarray:
        """(C, side, side) uint8, the square of a length, pixels, whose first column and row are ``corner``."""
        x, y = corner
        return squeezed(self.images[number][:, y : y + length, x : x + length], side)


def picture_bank(samples: Sequence[Any], channels: int) -> PictureBank:
    """The bank of some pictures; environments over the same arrays share it."""
    return shared(PictureBank, [sample.image for sample in samples], samples, channels)
