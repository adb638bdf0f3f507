"""An image of what glimpses have shown so far: a memory for agents that have none; array-API code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from visionrl.banks.patches import block_mean, colored, filled_block, shared
from visionrl.datasets import ImageSample
from visionrl.ops import Array, DeviceTable, Recalled, const, xp_of
from visionrl.ops.pyramid import shrink


class Mosaic(Recalled):
    """Images at several scales, all at full size, uncovered where a retina has been; an observable.

    Args:
        samples: the images.
        retina: side of the retina, pixels.
        scales: pixels of the image per pixel of the retina, finest first.
        max_side: images with a longer side are shrunk to it first; None never.
        channels: 1 shows all images grey, 3 in RGB.
        side: of the square; smaller images are padded with 0 at the right and below.

    Attributes:
        shape: (channels + 1, side, side).
    """

    def __init__(
        self,
        samples: Sequence[ImageSample],
        retina: int,
        scales: tuple[int, ...],
        max_side: int | None,
        channels: int,
        side: int,
    ) -> None:
        self.retina, self.scales = retina, scales
        images = [colored(shrink(sample.image, max_side)[0], channels) for sample in samples]
        shape = (len(images), len(scales), channels, side, side)

        def fill(planes: np.ndarray) -> None:
            for image, plane in zip(images, planes, strict=True):
                for scale, level in zip(scales, plane, strict=True):
                    full = block_mean(image, scale).repeat(scale, axis=1).repeat(scale, axis=2)
                    level[:, : full.shape[1], : full.shape[2]] = full

        planes = filled_block(shape, fill)
        self.planes, self.shape = DeviceTable(planes), (channels + 1, side, side)

    @classmethod
    def of(cls, samples: Sequence[ImageSample], *args: Any) -> Mosaic:
        """The mosaic of some images; environments over the same arrays share it."""
        return shared(cls, [sample.image for sample in samples], samples, *args)

    @property
    def space(self) -> spaces.Box:
        """(C + 1, H, W) uint8."""
        return spaces.Box(0, 255, self.shape, np.uint8)

    @property
    def shown(self) -> bool:
        """Always."""
        return True

    def encode(self, value: tuple[Array, Array]) -> Array:
        """Every pixel as sharp as it was seen, and a last channel for how sharp: 255 // scale, 0 for unseen.

        Args:
            value: (B,) int64, the image; (B, T, 2) float64, (x, y) of the glimpses in pixels, NaN for none.

        Returns:
            (B, C + 1, H, W) uint8.
        """
        index, trail = value
        xp = xp_of(trail)
        shown = self.planes.rows(index)
        picture = xp.zeros_like(shown[:, 0, ...])
        sharp = xp.zeros_like(picture[:, :1, ...])
        for level, scale in reversed(list(enumerate(self.scales))):
            covered = self.covered(trail, scale)
            picture = xp.where(covered, shown[:, level, ...], picture)
            sharp = xp.where(covered, xp.full_like(sharp, 255 // scale), sharp)
        return xp.concat([picture, sharp], axis=1)

    def covered(self, trail: Array, scale: int) -> Array:
        """The pixels that some window of a ``PatchBank`` has shown at a scale: (B, 1, H, W) bool."""
        xp = xp_of(trail)
        taken = ~xp.isnan(trail)
        cell = xp.round((xp.where(taken, trail, 0.0) + 0.5) / scale - 0.5) - self.retina // 2
        spans = []
        for axis, length in ((1, self.shape[1]), (0, self.shape[2])):
            pixel = const(tuple(range(length)), trail) // scale - cell[:, :, axis, None]
            inside = (pixel >= 0) & (pixel < self.retina) & taken[:, :, axis, None]
            spans.append(xp.astype(inside, xp.float32))
        return xp.matmul(xp.matrix_transpose(spans[0]), spans[1])[:, None, :, :] > 0
