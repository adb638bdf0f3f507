"""Slow reference of strokes: loops over pixels and segments, for tests."""

from __future__ import annotations

from math import hypot

import numpy as np


def stroke_coverage(
    points: np.ndarray, radii: np.ndarray, opacities: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """See ``visionrl.ops.strokes.stroke_coverage``, for one stroke: points (P, 2), (P,), (P,)."""
    found = np.zeros(size)
    for y in range(size[0]):
        for x in range(size[1]):
            for k in range(len(points) - 1):
                (x0, y0), (x1, y1) = points[k], points[k + 1]
                length = (x1 - x0) ** 2 + (y1 - y0) ** 2
                t = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length if length > 0 else 0.0
                t = min(max(t, 0.0), 1.0)
                far = hypot(x - x0 - t * (x1 - x0), y - y0 - t * (y1 - y0))
                inside = radii[k] + t * (radii[k + 1] - radii[k]) + 0.5 - far
                opacity = opacities[k] + t * (opacities[k + 1] - opacities[k])
                found[y, x] = max(found[y, x], min(max(inside, 0.0), 1.0) * opacity)
    return found
