"""The picture of a stream of images and of what an agent said of each."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from visionrl.ops.channels import rgb_last
from visionrl.rendering.canvas import PALETTE, hues

CELL, BAR, COLUMNS = 56, 10, 10  # pixels of an image and of the bar below it; images in a row
FUTURE = 0.35  # brightness of images that are not shown yet, to people alone


def stream_picture(
    images: Sequence[np.ndarray], taken: np.ndarray, slot: np.ndarray, step: int, ways: int
) -> np.ndarray:
    """The images of a stream in rows, each above two bars: what it is, and what the agent said.

    The colour of a bar is that of a slot; the lower one is white where the agent paid for the label, with a red frame
    around the image where it was wrong. The image now has a blue frame; those to come are dark.

    Args:
        images: (C, h, w) uint8 each, of any size.
        taken: (T,) actions, -1 beyond the last.
        slot: (T,) the truth, -1 where it is unknown.
        step: actions taken.
        ways: number of slots.

    Returns:
        (H, W, 3) uint8.
    """
    colours, high = hues(ways), CELL + 2 * BAR + 4
    rows = -(-len(images) // COLUMNS)
    picture = np.zeros((rows * high + 4, min(len(images), COLUMNS) * (CELL + 4) + 4, 3), np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, COLUMNS)
        top, left = 4 + row * high, 4 + column * (CELL + 4)
        cell = cv2.resize(rgb_last(image), (CELL, CELL), interpolation=cv2.INTER_AREA)
        cell = cell if number <= step else (cell * FUTURE).astype(np.uint8)
        picture[top : top + CELL, left : left + CELL] = cell
        said, truth = int(taken[number]), int(slot[number])
        bars = {0: truth, 1: said} if number < step else {}
        for line, value in bars.items():
            colour = (255, 255, 255) if value == ways else colours[value] if value >= 0 else (0, 0, 0)
            begin = top + CELL + line * BAR + 1
            picture[begin : begin + BAR - 2, left : left + CELL] = colour
        wrong = number < step and 0 <= said < ways and said != truth and truth >= 0
        frame = (230, 60, 60) if wrong else PALETTE["look"] if number == step else None
        if frame:
            cv2.rectangle(picture, (left - 1, top - 1), (left + CELL, top + CELL), frame, 2)
    return picture
