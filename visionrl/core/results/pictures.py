"""Pictures that were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Tile:
    """A part of a picture that was worked on by itself.

    Attributes:
        image: (C, h, w) uint8, the part as it became.
        corner: (x, y) of its top left pixel in the picture.
        operators: names of what was applied to it, in order; where each pixel chose, of all that it could choose.
        chosen: (steps, h, w) whole numbers, the operator of each pixel in each step; None where all had one.
        stages: the part at first and after each operator, as ``image``; empty where they are not kept.
    """

    image: np.ndarray
    corner: tuple[int, int]
    operators: tuple[str, ...]
    chosen: np.ndarray | None = None
    stages: tuple[np.ndarray, ...] = ()

    def shares(self) -> list[Any]:
        """Operators of each step: a name, or names with the shares of the pixels that chose them."""
        if self.chosen is None:
            return list(self.operators)
        found = [np.bincount(step.ravel(), minlength=len(self.operators)) / step.size for step in self.chosen]
        return [
            {name: round(float(share), 4) for name, share in zip(self.operators, step, strict=True) if share}
            for step in found
        ]


@dataclass(frozen=True)
class Picture:
    """A picture that was restored or enlarged, or put together from shuffled tiles.

    Attributes:
        size: (width, height), pixels.
        tiles: what it is put together from; together they cover it.
        kind: "restored", "enlarged" or "solved".
    """

    size: tuple[int, int]
    tiles: tuple[Tile, ...]
    kind: str = "restored"

    @cached_property
    def image(self) -> np.ndarray:
        """(C, H, W) uint8; where tiles overlap, their mean, weighted by the distance to their edges."""
        return self.blended([tile.image for tile in self.tiles])

    def film(self) -> list[np.ndarray]:
        """The picture at first and after each step, (C, H, W) uint8 each; tiles that stopped stay as they are.

        Empty where no steps are kept, or none was made.
        """
        steps = max(len(tile.stages) for tile in self.tiles)
        if steps < 2 or not all(tile.stages for tile in self.tiles):
            return []
        return [
            self.blended([tile.stages[min(step, len(tile.stages) - 1)] for tile in self.tiles])
            for step in range(steps)
        ]

    def blended(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """See ``image``, given an image for each tile."""
        width, height = self.size
        total = np.zeros((images[0].shape[0], height, width), np.float32)
        weights = np.zeros((height, width), np.float32)
        for tile, image in zip(self.tiles, images, strict=True):
            (x, y), (high, wide) = tile.corner, tile.image.shape[1:]
            rows, columns = (np.minimum(np.arange(n) + 1, n - np.arange(n)) for n in (high, wide))
            weight = np.outer(rows, columns).astype(np.float32)
            total[:, y : y + high, x : x + wide] += weight * image
            weights[y : y + high, x : x + wide] += weight
        return np.rint(total / weights).astype(np.uint8)

    def joined(self, others: Sequence[Picture]) -> Picture:
        """The picture of the tiles of this result and of the others."""
        return replace(self, tiles=tuple(tile for one in (self, *others) for tile in one.tiles))

    def to_json(self) -> dict[str, Any]:
        """Plain values: size, and what was done to each tile; the pixels are written to a file."""
        tiles = [
            {"bbox": [*tile.corner, *tile.image.shape[:0:-1]], "operators": tile.shares()}
            for tile in self.tiles
        ]
        return {"width": self.size[0], "height": self.size[1], "tiles": tiles}
