"""Features of the cells of an image, by their scores from afar and by what was seen of the cells beside them."""

from __future__ import annotations

import numpy as np

from visionrl.banks.anomalies import HIGHEST, LOWEST
from visionrl.ops import Array, xp_of

CELL_FEATURES = 12


def adjacency(grid: int) -> np.ndarray:
    """(G * G, G * G) float32, 1 where two different cells touch, at a corner too."""
    row, column = np.divmod(np.arange(grid**2), grid)
    far = np.maximum(abs(row[:, None] - row), abs(column[:, None] - column))
    return (far == 1).astype(np.float32)


def describe_cells(far: Array, near: Array, seen: Array, free: Array, beside: Array) -> Array:
    """Features of N cells and, in two more rows, of the verdicts "normal" and "defect": (B, N + 2, CELL_FEATURES).

    Args:
        far: (B, N) float32, scores from afar.
        near: (B, N) float32, scores of a look, used where ``seen`` only.
        seen: (B, N) bool.
        free: (B, N) bool, whether the cell may be looked at.
        beside: (N, N) float32, see ``adjacency``.
    """
    xp, count = xp_of(far), far.shape[1]
    flag, may = xp.astype(seen, far.dtype), xp.astype(free, far.dtype)
    beside_seen = (beside[None, :, :] > 0) & seen[:, None, :]
    lowest = xp.full_like(far, LOWEST)
    around = xp.max(xp.where(beside_seen, near[:, None, :], lowest[:, None, :]), axis=-1)
    best = xp.max(xp.where(seen, lowest, far), axis=1)[:, None]
    degree = xp.sum(beside, axis=0)[None, :]
    place = xp.astype(xp.arange(count, dtype=xp.int64, device=far.device), far.dtype)[None, :] + 0 * far
    side = round(count**0.5)
    row = xp.floor(place / side)
    rows = [
        may,
        xp.zeros_like(far),
        far / HIGHEST,
        (far - best) / HIGHEST,
        xp.matmul(far, beside) / degree / HIGHEST,
        flag,
        flag * near / HIGHEST,
        xp.matmul(flag, beside) / degree,
        around / HIGHEST,
        2 * row / (side - 1) - 1,
        2 * (place - row * side) / (side - 1) - 1,
        xp.zeros_like(far),
    ]
    cells = xp.stack(rows, axis=-1)
    zeros, one = xp.zeros_like(cells[:, :1, :-1]), xp.ones_like(cells[:, :1, :1])
    normal = xp.concat([zeros, one], axis=-1)
    defect = xp.concat([zeros[:, :, :1], one, zeros[:, :, :-1]], axis=-1)
    return xp.clip(xp.concat([cells, normal, defect], axis=1), -2.0, 2.0)
