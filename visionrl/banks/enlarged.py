"""Small pictures enlarged by several tools, cut into patches; what describes each patch, and how wrong each tool is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from visionrl.banks.patches import shared
from visionrl.datasets.samples import ImageSample
from visionrl.ops import DeviceTable, Recalled
from visionrl.ops.upscale import (
    Layer,
    back_project,
    bicubic,
    correct,
    luma,
    read_layers,
    sharpen,
    shuffle,
)

WEIGHTS = Path(__file__).parent / "upscalers"
TOOLS = ("bicubic", "sharpen", "back-projection", "espcn", "deep")
COSTS = (0.0, 0.005, 0.05, 0.1, 1.0)  # of a patch by each tool, in calls of the last
DEEP = TOOLS.index("deep")
STRIP = 64  # rows of the small picture that a network works on at once
SMALLEST = 8  # pixels, of a side of a small picture
NUMBERS = 14  # that describe a patch
FLOOR = 1e-4  # of a deviation, in shares of the range


@lru_cache(maxsize=8)
def network(name: str, scale: int) -> list[Layer]:
    """The layers of a network, "espcn" or "deep", for a scale; ``scripts/train_upscalers.py`` trains them."""
    return read_layers(WEIGHTS / f"{name}-x{scale}.npz")


class Enlargement:
    """One small picture and what is made of it; planes are (H, W) float32 in [0, 1], made when they are needed.

    Args:
        image: (C, h, w) uint8, the small picture.
        scale: of the enlargement.

    Attributes:
        low: (h, w), its luma.
        shape: (H, W).
    """

    def __init__(self, image: np.ndarray, scale: int) -> None:
        self.image, self.scale, self.low = image, scale, luma(image)
        self.shape = self.low.shape[0] * scale, self.low.shape[1] * scale
        self._planes: dict[str, np.ndarray] = {}

    def plane(self, tool: str) -> np.ndarray:
        """The whole luma by a tool."""
        if tool not in self._planes:
            self._planes[tool] = self._made(tool).clip(0, 1)
        return self._planes[tool]

    def _made(self, tool: str) -> np.ndarray:
        if tool == "bicubic":
            return bicubic(self.low, *self.shape)
        if tool == "sharpen":
            return sharpen(self.plane("bicubic"))
        if tool == "back-projection":
            return back_project(self.low, self.plane("bicubic"))
        high, wide = self.low.shape
        tops = range(0, high, STRIP)
        return np.concatenate(
            [self._by_network(tool, slice(y, min(y + STRIP, high)), slice(0, wide)) for y in tops]
        )

    def part(self, tool: str, rows: slice, columns: slice) -> np.ndarray:
        """The luma of a part by a tool; the deep network works on that part alone.

        Args:
            tool: its name.
            rows: of the enlargement, from and to multiples of ``scale``.
            columns: likewise.
        """
        if tool != TOOLS[DEEP] or tool in self._planes:
            return self.plane(tool)[rows, columns]
        small = (slice(part.start // self.scale, part.stop // self.scale) for part in (rows, columns))
        return self._by_network(tool, *small).clip(0, 1)

    def _by_network(self, tool: str, rows: slice, columns: slice) -> np.ndarray:
        """A part by a network, equal to that part of the whole; in pixels of the small picture."""
        more = shuffle(correct(self.low, network(tool, self.scale), rows, columns), self.scale)
        y, x = (slice(part.start * self.scale, part.stop * self.scale) for part in (rows, columns))
        return self.plane("bicubic")[y, x] + more

    @cached_property
    def colours(self) -> np.ndarray:
        """(C, H, W) float32, bicubic enlargements of the channels, less the luma's; what no tool changes."""
        luminance = self.plane("bicubic") * self._per_luma
        return np.stack(
            [bicubic(one.astype(np.float32) / 255, *self.shape) - luminance for one in self.image]
        )

    @property
    def _per_luma(self) -> float:
        """Growth of a channel with the luma, where the colour stays."""
        return 1.0 if len(self.image) == 1 else 255 / 219

    def coloured(self, tool: str, rows: slice, columns: slice) -> np.ndarray:
        """A part by a tool, (C, h, w) uint8, in its colours."""
        part = self.part(tool, rows, columns) * self._per_luma
        return as_bytes(self.colours[:, rows, columns] + part)


class EnlargedBank(Recalled):
    """The patches of all pictures, numbered picture by picture, row by row; N patches, T tools.

    A picture is cut into as many rows and columns of patches as fit, which so are ``side`` pixels wide or more; a
    smaller one is one. The last row of each table, number N, stands for no patch: all its numbers are 0.

    Args:
        samples: pictures, the true ones where ``labelled``, whose last rows and columns are left out where a side is
            no multiple of ``scale``; else small ones.
        scale: 2, 3 or 4.
        side: of a patch, pixels of the small picture.
        labelled: whether the small pictures are made of the true ones, by bicubic shrinking.

    Attributes:
        shapes: (M, 2) int64, rows and columns of patches of each picture.
        first: (M,) int64, number of each picture's first patch.
        boxes: (N, 4) int64, (x0, y0, x1, y1) edges in pixels of the enlargement.
        pixels: (N + 1,) float64, pixels that count: those less than ``scale`` from the border do not.
        errors: (N + 1, T) float64, sums of squared errors by each tool, grey levels; zeros without labels.
        about: (N + 1, NUMBERS) float32, see ``describe``.

    Raises:
        ValueError: a small picture is smaller than 8 pixels.
    """

    def __init__(self, samples: Sequence[ImageSample], scale: int, side: int, labelled: bool) -> None:
        self.scale, self.labelled = scale, labelled
        self.small: list[np.ndarray] = []
        self._last: tuple[int, Enlargement] | None = None
        shapes, boxes, pixels, errors, about = [], [], [], [], []
        for sample in samples:
            truth = whole(sample.image, scale) if labelled else None
            small = sample.image if truth is None else shrunk(truth, scale)
            if min(small.shape[1:]) < SMALLEST:
                large = SMALLEST * (scale if labelled else 1)
                raise ValueError(
                    f"image {sample.name!r} must have sides >= {large}, got {sample.image.shape[1:]}"
                )
            self.small.append(small)
            one = Enlargement(small, scale)
            rows, columns = (scale * edges(length, side) for length in small.shape[1:])
            shapes.append((len(rows) - 1, len(columns) - 1))
            boxes += [(a, b, c, d) for b, d in pairwise(rows.tolist()) for a, c in pairwise(columns.tolist())]
            cut = border(one.shape, scale)
            pixels.append(sums(cut, rows, columns))
            about.append(describe(one, rows, columns))
            errors.append(
                np.zeros((len(about[-1]), len(TOOLS)))
                if truth is None
                else np.stack([sums(cut * gaps(one.plane(t), truth), rows, columns) for t in TOOLS], axis=1)
            )
        self.shapes, self.boxes = np.array(shapes), np.array(boxes)
        self.first = np.concatenate([[0], np.cumsum(self.shapes.prod(axis=1))[:-1]])
        self.pixels, self.errors, self.about = (
            DeviceTable(np.concatenate([*some, np.zeros_like(some[0][:1])]))
            for some in (pixels, errors, about)
        )

    def enlargement(self, image: int) -> Enlargement:
        """One picture's; that of the picture that was asked for last is kept."""
        if self._last is None or self._last[0] != image:
            self._last = image, Enlargement(self.small[image], self.scale)
        return self._last[1]


def enlarged_bank(samples: Sequence[ImageSample], scale: int, side: int, labelled: bool) -> EnlargedBank:
    """The bank of some pictures; environments over the same arrays share it."""
    return shared(EnlargedBank, [sample.image for sample in samples], samples, scale, side, labelled)


def whole(image: np.ndarray, scale: int) -> np.ndarray:
    """An image without the last rows and columns that no whole pixel of the small one covers."""
    high, wide = (length - length % scale for length in image.shape[1:])
    return image[:, :high, :wide]


def shrunk(image: np.ndarray, scale: int) -> np.ndarray:
    """An image (C, H, W) uint8 shrunk by a cubic kernel that is ``scale`` times as wide, which keeps aliases out."""
    high, wide = (length // scale for length in image.shape[1:])
    return np.stack([as_bytes(bicubic(one.astype(np.float32) / 255, high, wide)) for one in image])


def as_bytes(plane: np.ndarray) -> np.ndarray:
    """A plane in [0, 1] as grey levels, uint8."""
    return np.rint(np.clip(plane, 0, 1) * 255).astype(np.uint8)


def gaps(plane: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(H, W) float64, squared differences of a plane's whole grey levels from those of the true image's luma."""
    return (as_bytes(plane).astype(np.float64) - as_bytes(luma(truth))) ** 2


def border(shape: tuple[int, ...], scale: int) -> np.ndarray:
    """(H, W) float64, 0 within ``scale`` pixels of the border, else 1."""
    inside = np.zeros(shape)
    inside[scale:-scale, scale:-scale] = 1
    return inside


def edges(length: int, side: int) -> np.ndarray:
    """Edges of the parts of a side, whole pixels."""
    return np.linspace(0, length, max(length // side, 1) + 1).round().astype(int)


def sums(plane: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(N,) sums of a plane over each patch, row by row."""
    return np.add.reduceat(np.add.reduceat(plane, rows[:-1], axis=0), columns[:-1], axis=1).ravel()


def describe(one: Enlargement, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(N, NUMBERS) float32 in about [-1, 1], what is known of each patch before the deep network has seen it.

    Logarithms of the root mean squares of: the gradient, the Laplacian and the deviation from the mean of the shallow
    network's result; its differences from the bicubic result, from back-projection and from sharpening, and
    back-projection's from the bicubic one; how far it is from the small picture when it shrinks; the gradient and the
    network's correction in the patches around. Then the mean intensity, the direction's coherence, how peaked the
    gradient is, and a constant.
    """
    plain, sharp, projected, made = (one.plane(tool) for tool in TOOLS[:DEEP])
    size = np.diff(rows)[:, None] * np.diff(columns)[None]
    count = size.ravel().astype(np.float64)

    def mean(plane: np.ndarray) -> np.ndarray:
        return sums(plane.astype(np.float64), rows, columns) / count

    down, across = np.gradient(made)
    slope, grey = down**2 + across**2, mean(made)
    again = one.low - bicubic(made, *one.low.shape)
    off = np.repeat(np.repeat(again, one.scale, axis=0), one.scale, axis=1)
    powers = [
        slope,
        cv2.Laplacian(made, cv2.CV_32F, borderType=cv2.BORDER_REPLICATE) ** 2,
        (made - plain) ** 2,
        (made - projected) ** 2,
        (made - sharp) ** 2,
        (projected - plain) ** 2,
        off**2,
    ]
    means = [mean(power) for power in powers]
    means.append(np.maximum(mean(made**2) - grey**2, 0))
    around = [cv2.blur(some.reshape(size.shape), (3, 3)).ravel() for some in (means[0], means[2])]
    xx, yy, xy = mean(across**2), mean(down**2), mean(across * down)
    coherence = np.hypot(xx - yy, 2 * xy) / (xx + yy + FLOOR**2)
    peaked = np.log10((mean(slope**2) + FLOOR**4) / (means[0] ** 2 + FLOOR**4)) / 2
    logarithms = [np.log10(np.sqrt(some) + FLOOR) / 2 + 1 for some in (*means, *around)]
    return np.stack([*logarithms, 2 * grey - 1, coherence, peaked, np.ones_like(grey)], axis=1).astype(
        np.float32
    )
