"""Reference kernels: those of ``ops.resample`` written plainly with loops; tests hold the fast ones against them."""

from __future__ import annotations

import numpy as np


def patch(store: np.ndarray, index: int, start: tuple[int, ...], size: int) -> np.ndarray:
    """One window of a padded (M, C, ...) store: (C, size, ...) uint8."""
    image = store[index]
    for axis, first in enumerate(start, start=1):
        image = image.take(range(first, first + size), axis)
    return image


def resize(image: np.ndarray, box: tuple[int, int, int, int], size: int) -> np.ndarray:
    """A box with whole edges of an (H, W, C) image, scaled to a square: (C, size, size) uint8."""
    x0, y0, x1, y1 = box
    out = np.empty((image.shape[2], size, size), np.uint8)
    for row in range(size):
        for column in range(size):
            x = np.clip(x0 - 0.5 + (column + 0.5) * (x1 - x0) / size, x0, x1 - 1)
            y = np.clip(y0 - 0.5 + (row + 0.5) * (y1 - y0) / size, y0, y1 - 1)
            out[:, row, column] = np.rint(bilinear(image, x, y))
    return out


def warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """An (H, W, C) image seen through a 2x3 map from window to image: (C, size, size) uint8."""
    out = np.empty((image.shape[2], size, size), np.uint8)
    for row in range(size):
        for column in range(size):
            x, y = matrix @ (column, row, 1.0)
            out[:, row, column] = np.rint(bilinear(image, x, y))
    return out


def bilinear(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """The (C,) float value of an (H, W, C) image between its pixel centres; pixels outside count as 0."""
    column, row = int(np.floor(x)), int(np.floor(y))
    value = np.zeros(image.shape[2])
    for i, j in ((row, column), (row, column + 1), (row + 1, column), (row + 1, column + 1)):
        if 0 <= i < image.shape[0] and 0 <= j < image.shape[1]:
            value += image[i, j] * (1 - abs(y - i)) * (1 - abs(x - j))
    return value


def render(
    volume: np.ndarray, spacing_mm: np.ndarray, beam: tuple[np.ndarray, ...], size: int, axis: int
) -> np.ndarray:
    """Line integrals of a (D, H, W) volume, see ``ops.radiograph``; slices lie across ``axis`` of (x, y, z)."""
    source, corner, right, down = beam
    middle = (np.array(volume.shape[::-1]) - 1) / 2
    out = np.zeros((size, size))
    for row, column in np.ndindex(size, size):
        ray = corner + column * right + row * down - source
        for number in range(volume.shape[2 - axis]):
            ahead = ((number - middle[axis]) * spacing_mm[axis] - source[axis]) / ray[axis]
            place = (source + ahead * ray) / spacing_mm + middle
            out[row, column] += trilinear(volume, *place)
        out[row, column] *= spacing_mm[axis] * np.linalg.norm(ray) / abs(ray[axis])
    return out


def trilinear(volume: np.ndarray, x: float, y: float, z: float) -> float:
    """The value of a (D, H, W) volume between its voxel centres; voxels outside count as 0."""
    low, total = np.floor([x, y, z]).astype(int), 0.0
    for corner in np.ndindex(2, 2, 2):
        i, j, k = low + corner
        if 0 <= i < volume.shape[2] and 0 <= j < volume.shape[1] and 0 <= k < volume.shape[0]:
            total += float(volume[k, j, i]) * (1 - abs(x - i)) * (1 - abs(y - j)) * (1 - abs(z - k))
    return total


def triangulate(cameras: np.ndarray, places: np.ndarray, weights: np.ndarray, scale: float) -> np.ndarray:
    """Points (J, 3) of one body by ``ops.triangulation.triangulate``: V cameras, places (V, J, 2), weights (V, J)."""
    body, agreed_by, unsure, near = 0.25, 0.8, 1e-3, 1e-3
    now, middle, strength = weights, np.zeros(3), 1.0
    points = np.zeros((places.shape[1], 3))
    for turn in range(5):
        for j in range(len(points)):
            rows = [
                np.sqrt(now[v, j]) * row
                for v in range(len(cameras))
                for row in _rays(cameras[v], places[v, j])
            ]
            pull = strength * np.c_[np.eye(3), -middle]
            system = np.concatenate([np.array(rows) / scale, pull])
            last = np.linalg.svd(system)[2][-1]
            points[j] = np.clip(last[:3] / last[3], -3, 3)
        if turn == 4:
            break
        now = weights.copy()
        for v, j in np.ndindex(weights.shape):
            x, y, depth = cameras[v] @ [*points[j], 1.0]
            gap = np.hypot(*(np.array([x, y]) / depth - places[v, j])) / scale if depth > near else 1e3
            now[v, j] /= 1 + gap**2
        agreed = np.maximum(now.sum(axis=0) - agreed_by, unsure)
        middle, strength = agreed @ points / agreed.sum(), 1 / body
    return points


def _rays(camera: np.ndarray, place: np.ndarray) -> list[np.ndarray]:
    """Two planes through a camera's centre that hold all that it sees at a place."""
    return [place[k] * camera[2] - camera[k] for k in (0, 1)]
