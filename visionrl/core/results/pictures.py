"""Pictures that were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from visionrl.ops.strokes import GEOMETRY, paint, stroke_coverage, stroke_lines

FINEST, OF_FILM = 1024, 512  # sides of the squares on which strokes are painted, pixels; at most


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


@dataclass(frozen=True)
class StrokePainting:
    """A picture painted by strokes, which can be drawn at any size.

    Attributes:
        size: (width, height) of the picture, pixels.
        strokes: (N, 10 + C) float64, see ``visionrl.ops.strokes.stroke_lines``, in shares of the width and the height,
            then the colour, grey or red, green and blue in [0, 1].
        segments: of the polyline of a stroke; 1 where all are straight and even.
        canvas: (C, S, S) uint8, the painting of a method without strokes, stretched to a square; else None.
    """

    size: tuple[int, int]
    strokes: np.ndarray
    segments: int = 1
    canvas: np.ndarray | None = None

    @cached_property
    def image(self) -> np.ndarray:
        """(C, H, W) uint8, the painting at the size of the picture."""
        if self.canvas is not None:
            return stretched(self.canvas.astype(np.float32), self.size)
        return stretched(self.stages(max(len(self.strokes), 1), FINEST)[-1].astype(np.float32), self.size)

    def film(self) -> list[np.ndarray]:
        """The painting after about each fortieth of the strokes, (C, h, w) uint8, at most 512 pixels wide and high."""
        share = min(1.0, OF_FILM / max(self.size))
        size = max(round(share * self.size[0]), 1), max(round(share * self.size[1]), 1)
        every = max(1, len(self.strokes) // 40)
        return [stretched(stage.astype(np.float32), size) for stage in self.stages(every, OF_FILM)]

    def stages(self, every: int, finest: int) -> list[np.ndarray]:
        """The square canvas after each ``every`` strokes and at the end, (C, S, S) uint8 each, S at most ``finest``."""
        side = min(max(self.size), finest)
        canvas = np.zeros((1, self.strokes.shape[1] - GEOMETRY, side, side), np.float32)
        found = []
        for number, stroke in enumerate(self.strokes, 1):
            cover = stroke_coverage(*stroke_lines(stroke[None], side, self.segments), (side, side))
            canvas = paint(canvas, cover, 255 * stroke[None, GEOMETRY:].astype(np.float32))
            if number % every == 0 or number == len(self.strokes):
                found.append(np.rint(canvas[0]).astype(np.uint8))
        return found or [canvas[0].astype(np.uint8)]

    def svg(self) -> str:
        """The strokes as a drawing: SVG 1.1. The opacity of a curve is the mean of its ends."""
        width, height = self.size
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 1 1" '
            'preserveAspectRatio="none">',
            '<rect width="1" height="1" fill="#000"/>',
        ]
        for stroke in self.strokes:
            color = np.broadcast_to(np.rint(255 * stroke[GEOMETRY:].clip(0, 1)).astype(int), 3)
            points, radii, _ = (x[0] for x in stroke_lines(stroke[None], 1, self.segments))
            points = points + 0.5
            parts = [
                f'<line x1="{a[0]:.4f}" y1="{a[1]:.4f}" x2="{b[0]:.4f}" y2="{b[1]:.4f}" stroke-width="{r + s:.4f}"/>'
                for a, b, r, s in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True)
            ]
            shade = "#{:02x}{:02x}{:02x}".format(*color)
            lines.append(
                f'<g stroke="{shade}" stroke-linecap="round" opacity="{stroke[8:10].mean():.3f}">{"".join(parts)}</g>'
            )
        return "\n".join([*lines, "</svg>", ""])

    def joined(self, others: Sequence[StrokePainting]) -> StrokePainting:
        """The painting with the strokes of others after its own."""
        return replace(self, strokes=np.concatenate([one.strokes for one in (self, *others)]))

    def to_json(self) -> dict[str, Any]:
        """Plain values: size, and the strokes by their numbers."""
        return {
            "width": self.size[0],
            "height": self.size[1],
            "strokes": [[round(float(x), 5) for x in stroke] for stroke in self.strokes],
        }


def stretched(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(C, H, W) uint8 of a size (width, height), of an image (C, h, w) float32 in grey levels."""
    shrinks = size[0] < image.shape[2]
    found = cv2.resize(
        image.transpose(1, 2, 0), size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    return np.atleast_3d(np.rint(found).clip(0, 255).astype(np.uint8)).transpose(2, 0, 1)
