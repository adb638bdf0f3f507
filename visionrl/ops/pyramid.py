"""Images made smaller by averaging: once, or by halves (a mip pyramid), held once in one block of memory."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from visionrl.ops.geometry import columns
from visionrl.ops.geometry import size as box_size
from visionrl.ops.xp import Array, DeviceTable, Recalled, xp_of


class Pyramid(Recalled):
    """M images of one size and their halvings, channel-last uint8 (OpenCV scales 3 channels faster so).

    Level ``k`` is 2^k times smaller, made by averaging, so a window out of it is not aliased
    (Williams, 1983). All levels lie one behind the other in ``pixels``, which may be a memory map.

    Args:
        pixels: (N,) uint8, N = ``Pyramid.bytes_needed(...)``; ``fill`` writes it.
        shape: (M, H, W, C) of the finest level.
        depth: number of levels.
    """

    def __init__(self, pixels: np.ndarray, shape: tuple[int, int, int, int], depth: int) -> None:
        self.shapes = level_shapes(shape, depth)
        self.channels = shape[3]
        self.pixels = DeviceTable(pixels)

    @cached_property
    def levels(self) -> tuple[np.ndarray, ...]:
        """One (M, H_k, W_k, C) view a level."""
        ends = np.cumsum([int(np.prod(s)) for s in self.shapes])
        return tuple(
            part.reshape(s)
            for part, s in zip(np.split(self.pixels.array, ends[:-1]), self.shapes, strict=True)
        )

    def fill(self, item: int, image: np.ndarray) -> None:
        """Store image ``item``, (C, h, w) uint8 with h <= H and w <= W, at the top left of every level."""
        image = np.ascontiguousarray(image.transpose(1, 2, 0))
        for level in self.levels:
            height, width = (image.shape[0] // 2, image.shape[1] // 2)
            level[item, : image.shape[0], : image.shape[1]] = image
            if not height or not width:
                return
            even = image[: 2 * height, : 2 * width]  # so that every level is exactly half of the one before
            image = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width, -1)

    def locate(self, box: Array, size: int) -> tuple[Array, Array]:
        """Level and whole-pixel edges of boxes: (B, 4) float64 -> (B,) int64, (B, 4) int64.

        The level is the coarsest whose shorter box side is still at least ``size``; a box is at least one pixel wide.
        """
        xp = xp_of(box)
        level = xp.zeros_like(box[:, 0], dtype=xp.int64)
        if len(self.shapes) > 1:
            shorter, factor = xp.minimum(*columns(box_size(box))), xp.ones_like(box[:, 0])
            for k in range(1, len(self.shapes)):
                coarser = shorter >= size * 2**k
                level, factor = level + xp.astype(coarser, xp.int64), xp.where(coarser, 2.0**k, factor)
            box = box / factor[:, None]
        edges = xp.astype(xp.round(box), xp.int64)
        low = edges[:, :2]
        return level, xp.concat([low, xp.maximum(edges[:, 2:], low + 1)], axis=-1)

    def __getstate__(self) -> dict:
        state = dict(self.__dict__)
        state.pop("levels", None)  # views: made again from the pixels, not copied beside them
        return state


def level_shapes(shape: tuple[int, int, int, int], depth: int) -> tuple[tuple[int, int, int, int], ...]:
    """(M, H, W, C) of each of ``depth`` levels."""
    items, height, width, channels = shape
    return tuple((items, max(height >> k, 1), max(width >> k, 1), channels) for k in range(depth))


def shrink(image: np.ndarray, longest: int | None) -> tuple[np.ndarray, float]:
    """An image whose longer side is at most ``longest``, and how many times smaller it became (1.0: untouched)."""
    factor = max(image.shape[1:]) / longest if longest else 1.0
    if factor <= 1:
        return image, 1.0
    size = (max(round(image.shape[2] / factor), 1), max(round(image.shape[1] / factor), 1))
    return np.stack([cv2.resize(c, size, interpolation=cv2.INTER_AREA) for c in image]), factor
