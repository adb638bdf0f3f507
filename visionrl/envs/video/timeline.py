"""The picture of an agent that goes through a clip: the frame now, what it kept, and curves over time."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from visionrl.ops.channels import rgb_last
from visionrl.rendering.canvas import PALETTE, Canvas

WIDTH, HIGH, STRIP = 480, 90, 60  # pixels of the picture, of the curves, of the small pictures
MOST = 8  # small pictures


def timeline(
    frame: np.ndarray,
    kept: list[np.ndarray],
    curves: Mapping[str, np.ndarray],
    marks: np.ndarray,
    now: float,
    words: str,
) -> np.ndarray:
    """Draw the frame now above small pictures of what was kept and curves over time.

    Args:
        frame: (C, H, W) uint8.
        kept: (C, h, w) uint8 each, of one size; at most eight are shown.
        curves: (N,) in [0, 1] each, by the colour of ``PALETTE``.
        marks: (N,) bool, what was kept or seen: a bar below.
        now: share of the time that is over.
        words: a line of text.

    Returns:
        (H, 480, 3) uint8.
    """
    canvas = Canvas(frame, WIDTH / frame.shape[2])
    canvas.text(words)
    strip = np.zeros((STRIP, WIDTH, 3), np.uint8)
    if kept:
        chosen = np.unique(np.linspace(0, len(kept) - 1, min(len(kept), MOST)).round().astype(int))
        wide = WIDTH // MOST
        for place, number in enumerate(chosen.tolist()):
            size = wide - 4, STRIP - 8
            small = cv2.resize(rgb_last(kept[number]), size, interpolation=cv2.INTER_AREA)
            strip[4:-4, place * wide + 2 : (place + 1) * wide - 2] = small
    return np.concatenate([canvas.pixels, strip, plot(curves, marks, now)])


def plot(curves: Mapping[str, np.ndarray], marks: np.ndarray, now: float) -> np.ndarray:
    """(90, 480, 3) uint8 curves over time, a bar of marks below them and a line at the time now."""
    picture = np.full((HIGH, WIDTH, 3), 24, np.uint8)
    room = HIGH - 20
    for name, values in curves.items():
        x = (np.arange(len(values)) + 0.5) * WIDTH / len(values)
        y = 4 + (room - 4) * (1 - np.clip(values, 0, 1))
        line = np.stack([x, y], axis=1).round().astype(np.int32)[:, None]
        cv2.polylines(picture, [line], False, PALETTE[name], 1, cv2.LINE_AA)
    edges = np.arange(len(marks) + 1) * WIDTH / len(marks)
    for number in np.flatnonzero(marks).tolist():
        left, right = int(edges[number]), max(int(edges[number + 1]) - 1, int(edges[number]))
        cv2.rectangle(picture, (left, HIGH - 14), (right, HIGH - 4), PALETTE["agent"], cv2.FILLED)
    place = min(int(now * WIDTH), WIDTH - 1)
    cv2.line(picture, (place, 0), (place, HIGH - 1), PALETTE["look"], 1)
    return picture
