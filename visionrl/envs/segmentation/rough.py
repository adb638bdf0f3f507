"""Rough masks: what a quick hand or a poor segmenter makes of an object, as probabilities."""

from __future__ import annotations

import cv2
import numpy as np

SOFTNESS = 2.0  # pixels of 64, over which a probability rises from 1/2 to 3/4
WAVES = 6  # knots of the outline's noise along a side
SHIFT, BIAS, NOISE = 0.3, 0.15, (0.15, 0.5)  # radii of the object


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """(S, S) float32, distance of pixels to the outline of a mask, > 0 inside; -S everywhere of an empty one."""
    if not mask.any():
        return np.full(mask.shape, -float(len(mask)), np.float32)
    inside, outside = (
        cv2.distanceTransform(some.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for some in (mask, ~mask)
    )
    return np.where(mask, np.minimum(inside, len(mask)) - 0.5, 0.5 - outside).astype(np.float32)


def soft(distance: np.ndarray) -> np.ndarray:
    """Probabilities (S, S) float64 of signed distances, 1/2 at the outline."""
    return 1 / (1 + np.exp(-np.clip(distance / (SOFTNESS * len(distance) / 64), -6, 6).astype(np.float64)))


def roughened(distance: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Probabilities of an object whose outline is shifted, too large or too small, and wavy, (S, S) float64.

    In radii of a disc as large as the object, for a strength of 1, the signed distance is moved by up to 0.3 along x
    and y, gets a bias of up to 0.15, and a smooth noise of a standard deviation of 0.15 to 0.5.

    Args:
        distance: (S, S), of ``signed_distance``.
        strength: factor of all three.
        rng: source of chance.
    """
    side, radius = len(distance), strength * np.sqrt((distance > 0).sum() / np.pi)
    shift = rng.uniform(-SHIFT, SHIFT, 2) * radius
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
    moved = cv2.warpAffine(distance, move, (side, side), borderMode=cv2.BORDER_REPLICATE)
    knots = rng.normal(0, rng.uniform(*NOISE) * radius, (WAVES, WAVES)).astype(np.float32)
    waves = cv2.resize(knots, (side, side), interpolation=cv2.INTER_CUBIC)
    return soft(moved + rng.uniform(-BIAS, BIAS) * radius + waves)
