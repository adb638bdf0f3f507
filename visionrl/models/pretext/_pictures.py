"""Sheets of small images with a word below each: what a pretext sees and predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from torch import Tensor

from visionrl.models.pretext._base import to_unit

CELL, STRIP, GAP = 112, 18, 6  # pixels: side of a cell, height of its words, space between cells
RIGHT, WRONG, PLAIN = (20, 120, 40), (190, 30, 30), (40, 40, 40)


class Cell(NamedTuple):
    """An image with words below.

    Attributes:
        image: (C, H, W), uint8 or in [0, 1]; of other than 3 channels the first is shown.
        words: one line.
        right: whether they are right, by which they are green or red; None is neither.
    """

    image: Tensor
    words: str = ""
    right: bool | None = None


def sheet(rows: Sequence[Sequence[Cell]], colour: bool = True) -> np.ndarray:
    """(H, W, 3) uint8, the cells of some rows side by side on white.

    Args:
        rows: of cells.
        colour: whether three channels are red, green and blue; if not, the first is shown.
    """
    columns = max(map(len, rows))
    height, width = len(rows) * (CELL + STRIP + GAP) + GAP, columns * (CELL + GAP) + GAP
    canvas = np.full((height, width, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            top, left = GAP + i * (CELL + STRIP + GAP), GAP + j * (CELL + GAP)
            canvas[top : top + CELL, left : left + CELL] = shown(cell.image if colour else cell.image[:1])
            color = PLAIN if cell.right is None else RIGHT if cell.right else WRONG
            place = left + 2, top + CELL + STRIP - 5
            cv2.putText(canvas, cell.words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, color, 1, cv2.LINE_AA)
    return canvas


def shown(image: Tensor) -> np.ndarray:
    """(CELL, CELL, 3) uint8 of an image (C, H, W), uint8 or in [0, 1]."""
    plain = (to_unit(image.detach().cpu()).clamp(0, 1) * 255).round().byte().numpy().transpose(1, 2, 0)
    plain = plain if plain.shape[2] == 3 else np.repeat(plain[:, :, :1], 3, axis=2)
    return cv2.resize(np.ascontiguousarray(plain), (CELL, CELL), interpolation=cv2.INTER_NEAREST)
