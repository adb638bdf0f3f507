"""Volumes as pictures: the three planes through a point, side by side, with marks."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from visionrl.rendering.canvas import Canvas

PLANES = ((0, 1), (0, 2), (1, 2))  # (right, down) axes of the axial, coronal and sagittal plane
GAP = 2


class PlaneCanvas:
    """The axial, coronal and sagittal plane through a point; marks show in all three.

    Planes are scaled to square millimetres. The axial one has the front up, the others the head; the patient's left
    is on the viewer's right.

    Args:
        volume: (1, D, H, W) uint8.
        spacing_mm: (x, y, z).
        point: (x, y, z) in voxels.

    Attributes:
        canvas: the picture.
    """

    def __init__(self, volume: np.ndarray, spacing_mm: Sequence[float], point: np.ndarray) -> None:
        spacing = np.asarray(spacing_mm, float)
        self.scale = spacing / spacing.min()
        self.sizes = np.array(volume.shape[:0:-1])
        x, y, z = np.clip(np.rint(point), 0, self.sizes - 1).astype(int)
        cuts = (volume[0, z], volume[0, ::-1, y], volume[0, ::-1, :, x])
        shown = [self._scaled(cut, plane) for cut, plane in zip(cuts, PLANES, strict=True)]
        height = max(cut.shape[0] for cut in shown)
        self.lefts = np.cumsum([0, *(cut.shape[1] + GAP for cut in shown[:-1])])
        picture = np.zeros((1, height, self.lefts[-1] + shown[-1].shape[1]), np.uint8)
        for left, cut in zip(self.lefts, shown, strict=True):
            picture[0, : cut.shape[0], left : left + cut.shape[1]] = cut
        self.canvas = Canvas(picture)

    def cross(self, point: np.ndarray, meaning: str) -> None:
        """A cross at (x, y, z)."""
        for plane in range(3):
            self.canvas.cross(self._on(plane, point), meaning)

    def path(self, points: np.ndarray, meaning: str) -> None:
        """A line through (N, 3) points."""
        for plane in range(3):
            self.canvas.path(self._on(plane, points), meaning)

    def text(self, words: str, point: np.ndarray) -> None:
        """A line of words above (x, y, z)."""
        for plane in range(3):
            self.canvas.text(words, self._on(plane, point))

    def box(self, centre: np.ndarray, half: np.ndarray, meaning: str) -> None:
        """The outline of a box around (x, y, z), half as large as the box along each axis."""
        for plane in range(3):
            ends = np.sort([self._on(plane, centre - half), self._on(plane, centre + half)], axis=0)
            self.canvas.box(ends.ravel(), meaning)

    def _on(self, plane: int, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in voxels as (..., 2) in the picture's pixels, edges counted from 0."""
        edges = np.where([False, False, plane > 0], self.sizes - 0.5 - points, points + 0.5) * self.scale
        return edges[..., list(PLANES[plane])] + [self.lefts[plane], 0]

    def _scaled(self, cut: np.ndarray, plane: tuple[int, int]) -> np.ndarray:
        wide, high = (max(round(self.sizes[axis] * self.scale[axis]), 1) for axis in plane)
        return cv2.resize(cut, (wide, high), interpolation=cv2.INTER_NEAREST)
