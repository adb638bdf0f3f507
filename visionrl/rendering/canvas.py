"""A picture to draw on: an image, enlarged if it is small, and marks whose colours mean the same in every task."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from visionrl.ops.channels import rgb_last

PALETTE = {
    "truth": (46, 204, 113),  # green: what is right
    "agent": (255, 159, 28),  # orange: what the agent did
    "look": (80, 180, 255),  # blue: what the agent sees
    "text": (255, 255, 255),
}
SIZE = 0.45  # of letters, in those of OpenCV
SHORTEST = 320  # smaller images are enlarged, by a whole factor, to at least this shorter side


class Canvas:
    """An image and marks on it; marks are given in the image's own pixels.

    Points and edges are continuous: pixel ``j`` spans ``j`` to ``j + 1``.

    Args:
        image: (C, H, W) uint8, C = 1 or 3.
        zoom: H' / H; None is ``usual_zoom``.

    Attributes:
        pixels: (H', W', 3) uint8 RGB, the picture.
        zoom: H' / H.
    """

    def __init__(self, image: np.ndarray, zoom: float | None = None) -> None:
        self.zoom = usual_zoom(image.shape[1:]) if zoom is None else zoom
        height, width = (max(round(side * self.zoom), 1) for side in image.shape[1:])
        self.pixels = cv2.resize(rgb_last(image), (width, height), interpolation=cv2.INTER_AREA)

    def box(self, edges: Sequence[float] | np.ndarray, meaning: str, width: int = 2) -> None:
        """The outline of (x0, y0, x1, y1), by lines of a width in the picture's pixels; nothing for NaN."""
        if np.isnan(np.asarray(edges, float)).any():
            return
        x0, y0, x1, y1 = np.rint(np.asarray(edges, float) * self.zoom).astype(int).tolist()
        cv2.rectangle(self.pixels, (x0, y0), (x1 - 1, y1 - 1), PALETTE[meaning], width)

    def cross(self, point: Sequence[float] | np.ndarray, meaning: str) -> None:
        """A cross at (x, y); nothing for NaN."""
        if np.isnan(np.asarray(point, float)).any():
            return
        x, y = (np.asarray(point, float) * self.zoom).astype(int).tolist()
        cv2.drawMarker(self.pixels, (x, y), PALETTE[meaning], cv2.MARKER_CROSS, int(6 * max(self.zoom, 2)), 2)

    def dot(self, point: Sequence[float] | np.ndarray, meaning: str) -> None:
        """A filled disc at (x, y)."""
        x, y = (np.asarray(point, float) * self.zoom).astype(int).tolist()
        cv2.circle(self.pixels, (x, y), 3, PALETTE[meaning], cv2.FILLED, cv2.LINE_AA)

    def path(self, points: np.ndarray, meaning: str) -> None:
        """A line through (N, 2) points (x, y)."""
        line = (np.asarray(points, float) * self.zoom).astype(np.int32)[:, None]
        cv2.polylines(self.pixels, [line], False, PALETTE[meaning], 1, cv2.LINE_AA)

    def outline(self, mask: np.ndarray, meaning: str, width: int = 2) -> None:
        """The border of an (H, W) bool mask, of a width in the picture's pixels."""
        large = cv2.resize(mask.astype(np.uint8), self.pixels.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        lines, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(self.pixels, lines, -1, PALETTE[meaning], width)

    def text(self, words: str, at: Sequence[float] | np.ndarray | None = None) -> None:
        """A line of words on black at the top left, or above (x, y); nothing for NaN."""
        if at is not None and np.isnan(np.asarray(at, float)).any():
            return
        x, y = (6, 16) if at is None else (np.asarray(at, float) * self.zoom).astype(int).tolist()
        (wide, high), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, SIZE, 1)
        place = (
            min(max(x, 0), max(self.pixels.shape[1] - wide - 2, 0)),
            max(y - (at is not None) * 4, high + 2),
        )
        corners = (place[0] - 2, place[1] - high - 3), (place[0] + wide + 1, place[1] + 4)
        cv2.rectangle(self.pixels, *corners, (0, 0, 0), cv2.FILLED)
        font, colour = cv2.FONT_HERSHEY_SIMPLEX, PALETTE["text"]
        cv2.putText(self.pixels, words, place, font, SIZE, colour, 1, cv2.LINE_AA)


def hues(count: int) -> np.ndarray:
    """(count, 3) uint8 RGB: colours that are easy to tell apart, for maps of a few kinds."""
    colours = np.array([[[180 * k // max(count, 1), 200, 230] for k in range(count)]], np.uint8)
    return cv2.cvtColor(colours, cv2.COLOR_HSV2RGB)[0] if count else np.zeros((0, 3), np.uint8)


def usual_zoom(shape: Sequence[int]) -> int:
    """The whole factor that enlarges (height, width) to ``SHORTEST``."""
    return max(-(-SHORTEST // min(shape)), 1)
