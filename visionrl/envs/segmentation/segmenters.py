"""Methods that make a mask of an image and a few labelled pixels, which a task or a person places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from visionrl.banks.masks import MaskBank
from visionrl.banks.patches import shared
from visionrl.ops import Array, xp_of
from visionrl.ops.channels import rgb_last
from visionrl.ops.grabcut import grabcut
from visionrl.ops.random_walk import GreenColumns

ROUNDS = 1  # of GrabCut
SEED_RADIUS = 1  # pixels, of a seed's disc where a method needs colours

Segment = Callable[[Array, Array, Array], Array]
"""``(item (B,), cells (B, K), signs (B, K)) -> (B, S, S) bool``; cells of -1 are no seeds."""


def cell_pixels(side: int, grid: int) -> np.ndarray:
    """(grid * grid,) int64, number of the pixel in the middle of each cell of a square of ``side`` pixels."""
    line = ((np.arange(grid) + 0.5) * side / grid).astype(int)
    return (line[:, None] * side + line).ravel()


@dataclass(frozen=True)
class RandomWalker:
    """Grady's random walker (2006); seeds of one kind alone fill everything with it.

    Attributes:
        bank: squares.
        columns: of the inverse Laplacians of their pictures.
    """

    bank: MaskBank
    columns: GreenColumns

    def __call__(self, item: Array, cells: Array, signs: Array) -> Array:
        """See ``Segment``."""
        side = self.bank.side
        fields = self.columns.fields(self.bank.square.rows(item), cells, signs)
        return (xp_of(fields).reshape(fields, (-1, side, side)) > 0) & self.bank.known(item)


def random_walker(bank: MaskBank, grid: int, beta: float) -> Segment:
    """The random walker; segmenters of one bank share its columns, and are pickled without them."""
    return RandomWalker(bank, _shared_columns(bank, grid, beta))


def _shared_columns(bank: MaskBank, grid: int, beta: float) -> GreenColumns:
    """The columns of a bank, one object for all tasks on it."""
    columns: GreenColumns = shared(_columns, [bank.images.array, bank.valid.array], bank, grid, beta)
    columns.recipe = _shared_columns, (bank, grid, beta)
    return columns


def _columns(bank: MaskBank, grid: int, beta: float) -> GreenColumns:
    """The columns of the cells of all pictures of a bank."""
    return GreenColumns(bank.images.array, bank.valid.array, cell_pixels(bank.side, grid), beta)


def grabcut_of_marks(image: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """GrabCut (Rother, Kolmogorov & Blake, 2004) from seeds; at first a pixel is what the nearest seed is.

    Args:
        image: (C, S, S) uint8.
        marks: (S, S) int, 1 on the object, -1 beside it.

    Returns:
        (S, S) bool.
    """
    far = [cv2.distanceTransform((marks != sign).astype(np.uint8), cv2.DIST_L2, 5) for sign in (1, -1)]
    guess = np.where(far[0] < far[1], cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    labels = np.select([marks > 0, marks < 0], [cv2.GC_FGD, cv2.GC_BGD], guess).astype(np.uint8)
    return grabcut(image, labels, ROUNDS)


def watershed(image: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Watershed of the gradient from markers (Meyer, 1991); arguments as of ``grabcut_of_marks``."""
    markers = np.select([marks > 0, marks < 0], [2, 1], 0).astype(np.int32)
    basins = cv2.watershed(rgb_last(image), markers)
    near = cv2.dilate((basins == 2).astype(np.uint8), np.ones((3, 3), np.uint8))
    return (basins == 2) | ((basins == -1) & (near > 0))  # the line between basins goes to the object


@dataclass(frozen=True)
class EachImage:
    """A segmenter of a batch, on NumPy, that takes its images one by one.

    Attributes:
        bank: squares.
        pixels: (G,) number of each cell's pixel.
        one: takes an image, (C, S, S) uint8, and its marks, (S, S) int, to a mask.
    """

    bank: MaskBank
    pixels: np.ndarray
    one: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def __call__(self, item: np.ndarray, cells: np.ndarray, signs: np.ndarray) -> np.ndarray:
        """See ``Segment``."""
        bank = self.bank
        found = np.zeros((len(item), bank.side, bank.side), bool)
        for row, image in enumerate(bank.image(item)):
            used = cells[row] >= 0
            if not (signs[row][used] > 0).any():
                continue  # nothing says what the object is
            if not (signs[row][used] < 0).any():
                found[row] = True
                continue
            marks = np.zeros(bank.side**2, np.int32)
            marks[self.pixels[cells[row][used]]] = signs[row][used]
            marks = _discs(marks.reshape(bank.side, bank.side))
            found[row] = self.one(image, marks)
        return found & bank.known(item)


def _discs(marks: np.ndarray) -> np.ndarray:
    """Marks grown to 3 x 3 pixels where no other mark is."""
    kernel = np.ones((2 * SEED_RADIUS + 1,) * 2, np.uint8)
    plus, minus = (cv2.dilate((marks == sign).astype(np.uint8), kernel) for sign in (1, -1))
    grown = np.where(plus > minus, 1, 0) - np.where(minus > plus, 1, 0)
    return np.where(marks, marks, grown)


SEGMENTERS: dict[str, Callable[[MaskBank, int, float], Segment]] = {
    "random_walker": random_walker,
    "grabcut": lambda bank, grid, beta: EachImage(bank, cell_pixels(bank.side, grid), grabcut_of_marks),
    "watershed": lambda bank, grid, beta: EachImage(bank, cell_pixels(bank.side, grid), watershed),
}
