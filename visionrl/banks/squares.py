"""Images of one split, all of one square size, held once for all episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from visionrl.banks.patches import colored, filled_block, shared
from visionrl.ops import Array, DeviceTable, Recalled


class SquareBank(Recalled):
    """Images squeezed to squares.

    Args:
        samples: each with an ``image``.
        side: of the squares, pixels.
        channels: 1 holds all grey, 3 all in RGB; None is RGB if an image is.

    Attributes:
        channels: 1 or 3.
    """

    def __init__(self, samples: Sequence[Any], side: int, channels: int | None = None) -> None:
        self.side, self.channels = side, channels or max(sample.image.shape[0] for sample in samples)

        def fill(block: np.ndarray) -> None:
            for sample, square in zip(samples, block, strict=True):
                square[:] = squeezed(colored(sample.image, self.channels), side)

        self.pixels = DeviceTable(filled_block((len(samples), self.channels, side, side), fill))

    def rows(self, image: Array) -> Array:
        """(B, C, side, side) uint8, images by number."""
        return self.pixels.rows(image)


def square_bank(samples: Sequence[Any], side: int, channels: int | None = None) -> SquareBank:
    """The bank of some images; environments over the same arrays share it."""
    return shared(SquareBank, [sample.image for sample in samples], samples, side, channels)


def squeezed(image: np.ndarray, side: int) -> np.ndarray:
    """(C, H, W) uint8 -> (C, side, side), averaged where it shrinks."""
    if image.shape[1:] == (side, side):
        return image
    shrinks = side < max(image.shape[1:])
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(plane, (side, side), interpolation=way) for plane in image])
