"""Tiles of a picture: cut, joined, and drawn with what lies right."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from visionrl.ops.channels import rgb_last
from visionrl.rendering.canvas import PALETTE, SHORTEST

LINE = 4  # pixels between tiles of the drawing


def cells_of(image: np.ndarray, grid: int) -> list[np.ndarray]:
    """The grid * grid equal parts of (C, H, W), in reading order; what does not divide is cut off right and below."""
    high, wide = (side // grid for side in image.shape[1:])
    return [
        image[:, row * high : (row + 1) * high, column * wide : (column + 1) * wide]
        for row in range(grid)
        for column in range(grid)
    ]


def joined_cells(cells: Sequence[np.ndarray], grid: int) -> np.ndarray:
    """(C, grid * h, grid * w) of parts (C, h, w) in reading order."""
    rows = [np.concatenate(cells[row * grid : (row + 1) * grid], axis=2) for row in range(grid)]
    return np.concatenate(rows, axis=1)


def puzzle_picture(
    image: np.ndarray, grid: int, right: np.ndarray, swapped: Sequence[int] | np.ndarray
) -> np.ndarray:
    """The tiles as they lie, apart from each other: green frames where they belong, orange ones for the last swap.

    Args:
        image: (C, grid * t, grid * t) uint8.
        grid: tiles along a side.
        right: (grid * grid,) bool, places that hold their tile.
        swapped: places of the last swap.

    Returns:
        (H, W, 3) uint8, square.
    """
    side = -(-SHORTEST // grid)
    picture = np.zeros((grid * (side + LINE) + LINE,) * 2 + (3,), np.uint8)
    for place, cell in enumerate(cells_of(image, grid)):
        top, left = (LINE + part * (side + LINE) for part in divmod(place, grid))
        large = cv2.resize(rgb_last(cell), (side, side), interpolation=cv2.INTER_CUBIC)
        picture[top : top + side, left : left + side] = large
        meaning = "agent" if place in swapped else "truth" if right[place] else None
        if meaning:
            corners = (left - 2, top - 2), (left + side + 1, top + side + 1)
            cv2.rectangle(picture, *corners, PALETTE[meaning], 3)
        if place in swapped and right[place]:
            cv2.circle(picture, (left + 10, top + 10), 5, PALETTE["truth"], cv2.FILLED, cv2.LINE_AA)
    return picture
