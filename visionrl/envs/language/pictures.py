"""Pictures with lines of words below them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from visionrl.rendering.canvas import PALETTE

SIZE, LINE = 0.42, 18  # of letters in those of OpenCV, and from line to line in pixels
LETTER = 8  # pixels of a letter, about


def with_lines(picture: np.ndarray, lines: Sequence[tuple[str, str]], reserved: int) -> np.ndarray:
    """A picture with lines of words below it, on black.

    Args:
        picture: (H, W, 3) uint8.
        lines: each with what its colour means, see ``PALETTE``; a long one goes on in the next line.
        reserved: letters that the agent may say; their rows are there from the start, so that pictures of an episode are
            of one size.

    Returns:
        (H', W, 3) uint8; H' depends on the words.
    """
    room = max(picture.shape[1] // LETTER, 8)
    rows = []
    for text, meaning in lines:
        parts = _wrapped(text, room)
        blank = (-(-reserved // room) - len(parts)) * [""] if meaning == "agent" else []
        rows += [(part, meaning) for part in (*parts, *blank)]
    below = np.zeros((LINE * len(rows) + 8, picture.shape[1], 3), np.uint8)
    for number, (text, meaning) in enumerate(rows, 1):
        place = (4, LINE * number - 3)
        cv2.putText(below, text, place, cv2.FONT_HERSHEY_SIMPLEX, SIZE, PALETTE[meaning], 1, cv2.LINE_AA)
    return np.concatenate([picture, below])


def _wrapped(text: str, room: int) -> list[str]:
    """A text in lines of at most so many letters, but one word at least."""
    rows = [""]
    for word in text.split():
        if rows[-1] and len(rows[-1]) + 1 + len(word) > room:
            rows.append("")
        rows[-1] = f"{rows[-1]} {word}".strip()
    return rows
