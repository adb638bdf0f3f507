"""Volumes of which only a part is shown, so that a landmark may be absent."""

from __future__ import annotations

import numpy as np

from visionrl.banks.volumes import VolumeBank
from visionrl.ops import Array, const, xp_of

REMAINS = 0.4  # share of a side that is kept, at least, where a volume is cut


def cut_off(
    rng: np.random.Generator, landmark: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest (x, y, z), each (3,), of a part of a volume without the landmark.

    One plane cuts, a voxel and 3 to 10 % of the side from the landmark; 40 % of the side remain, or as much as can.
    """
    gap, low, high = 1 + rng.uniform(0.03, 0.1) * size, np.zeros(3), size - 1
    kept = np.concatenate([landmark - gap, high - landmark - gap]) / np.tile(size, 2)
    side = rng.choice(np.flatnonzero(kept >= min(REMAINS, kept.max())))
    axis = side % 3
    if side < 3:
        high[axis] = np.floor(landmark[axis] - gap[axis])
    else:
        low[axis] = np.ceil(landmark[axis] + gap[axis])
    return low, high


def visible(bank: VolumeBank, places: Array, levels: Array, low: Array, high: Array) -> Array:
    """Where windows show the part of the volume that is left.

    Args:
        bank: what the windows are cut from.
        places: (B, F, 1, 3) float64, (x, y, z), their centres.
        levels: (B or 1, 1, V) int64, their scales.
        low: (B, 3) float64, least (x, y, z) of the part.
        high: (B, 3) float64, largest.

    Returns:
        (B, F, V, w, w, w) uint8, 1 in the part, 0 outside.
    """
    xp = xp_of(places)
    cell, scale = bank.cells(places, levels)
    line = const(tuple(k - bank.size // 2 for k in range(bank.size)), places)
    at = (xp.astype(cell, places.dtype)[..., None] + line + 0.5) * scale[..., None] - 0.5
    first, last = (edge[:, None, None, :, None] for edge in (low - 0.5, high + 0.5))
    x, y, z = (xp.astype(((at >= first) & (at <= last))[..., k, :], xp.uint8) for k in range(3))
    return z[..., :, None, None] * (y[..., None, :, None] * x[..., None, None, :])
