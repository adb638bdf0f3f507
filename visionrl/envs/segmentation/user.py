"""The clicks of a user before an agent begins: where one would click, or where one has."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from visionrl.banks.masks import MaskBank
from visionrl.datasets import ImageSample
from visionrl.ops.masks import depth

Click = tuple[int, int]
"""A cell and a sign, 1 on the object, -1 beside it."""


def first_clicks(bank: MaskBank, item: int, pixels: np.ndarray) -> list[Click]:
    """The deepest cell of an object, and the cell of the image that is farthest from it.

    Args:
        bank: squares with masks.
        item: of the bank.
        pixels: (G,) number of each cell's pixel in the square.
    """
    truth, valid = bank.truth.array[item], bank.known(np.array([item]))[0]
    deep = depth(truth[None])[0].ravel()[pixels]
    away = cv2.distanceTransform((~truth).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    far = np.where(valid, away, -1).ravel()[pixels]
    on = int(deep.argmax()) if deep.any() else int(far.argmin())
    return [(on, 1), (int(far.argmax()), -1)]


def given_clicks(
    bank: MaskBank, samples: Sequence[ImageSample], item: int, grid: int, first: int
) -> list[Click]:
    """The clicks that a sample without labels has: its points whose names begin with "+" and "-".

    Where it has none, and an agent expects clicks, they are in the middle of its first box, or of the image, and in
    the corner farthest from there.

    Args:
        bank: squares without masks.
        samples: of the bank.
        item: of the bank.
        grid: cells along each side.
        first: how many clicks the agent expects.

    Raises:
        ValueError: two clicks of different kinds lie in one cell.
    """
    sample, factor = samples[bank.items[item][0]], bank.factor(item)
    places = signed_points(sample) or _guessed(sample)[:first]
    found: dict[int, int] = {}
    for at, sign in places:
        column, row = np.clip((at / factor * grid / bank.side).astype(int), 0, grid - 1)
        if found.setdefault(int(row * grid + column), sign) != sign:
            raise ValueError(
                f"points must lie in different cells of the grid, {grid} x {grid}, where one is on the object and one "
                f"beside it, got two in one near {np.round(at - 0.5, 1).tolist()}"
            )
    return list(found.items())


def signed_points(sample: ImageSample) -> list[tuple[np.ndarray, int]]:
    """The points of a sample whose names begin with "+" or "-": places (x, y) in pixels from the corner, and 1 or -1."""
    return [
        (np.asarray(at, float) + 0.5, 1 if name[0] == "+" else -1)
        for name, at in sample.points.items()
        if name[:1] in ("+", "-")
    ]


def _guessed(sample: ImageSample) -> list[tuple[np.ndarray, int]]:
    """The middle of a box, or of the image, and the corner farthest from it."""
    size = np.array(sample.image.shape[:0:-1], float)
    box = np.array([0, 0, *size]) if sample.boxes is None or not len(sample.boxes) else sample.boxes[0]
    middle = (box[:2] + box[2:]) / 2
    corner = np.where(middle > size / 2, 0.5, size - 0.5)
    return [(middle, 1), (corner, -1)]
