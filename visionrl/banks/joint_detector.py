"""A simulated detector of joints, of a body whose true places are known.

Small errors are everywhere; gross ones are more frequent where another part of the body hides the joint, and some take
it for the joint of the other side. Scores are lower on average where an error is gross.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LIMB_MM = 60.0  # half the width of a limb, and of the trunk along each of its lines
STEPS = np.linspace(0.0, 1.0, 6)  # places along a bone that can hide a joint
BEHIND_MM = 120.0  # a joint is hidden by what is so much nearer to the camera
NOISE, GROSS = 0.5, 6.0  # standard deviations of small and gross errors, in usual errors (12 pixels of 1920)
GROSS_SHARE = 0.03, 0.25  # of joints in view and of hidden ones that are found grossly wrong
SWAPPED = 0.4  # of gross errors: left and right are exchanged, where a joint has another side


def hidden(points: np.ndarray, centres: np.ndarray, links: np.ndarray) -> np.ndarray:
    """Tell which joints lie behind a limb, as cameras see them: (V, J) bool.

    Args:
        points: (J, 3), millimetres; NaN where unknown.
        centres: (V, 3), of the cameras, millimetres.
        links: (n, 2) numbers of joints that a bone joins.
    """
    first, second = points[links[:, 0]], points[links[:, 1]]
    along = first[:, None] + STEPS[:, None] * (second - first)[:, None]  # (n, S, 3)
    ray = points[None] - centres[:, None]  # (V, J, 3)
    far = np.linalg.norm(ray, axis=-1)
    ray = ray / far[..., None]
    ways = along[None] - centres[:, None, None]  # (V, n, S, 3)
    depth = np.einsum("vjk,vnsk->vjns", ray, ways)
    aside = np.sqrt(np.maximum((ways**2).sum(axis=-1)[:, None] - depth**2, 0))
    cover = (aside < LIMB_MM) & (depth < far[..., None, None] - BEHIND_MM)
    own = (links[None] == np.arange(len(points))[:, None, None]).any(
        axis=-1
    )  # a joint's bones do not hide it
    return np.asarray((cover & ~own[None, :, :, None]).any(axis=(2, 3)))


def other_sides(names: Sequence[str]) -> np.ndarray:
    """(J,) int64, number of the joint of the other side, by "left" and "right" in its name; else its own."""
    known = {name: number for number, name in enumerate(names)}
    swap = [
        name.replace("left", "right") if "left" in name else name.replace("right", "left") for name in names
    ]
    return np.array([known.get(one, number) for number, one in enumerate(swap)])


def detect(
    rng: np.random.Generator,
    seen: np.ndarray,
    inside: np.ndarray,
    covered: np.ndarray,
    others: np.ndarray,
    scale: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw detections (V, J, 2), pixels, and their scores (V, J), 0 where a joint is not in the picture.

    Args:
        rng: all chance.
        seen: (V, J, 2), true places of the joints in the pictures, pixels.
        inside: (V, J) bool, whether that is in the picture.
        covered: (V, J) bool, whether the joint is hidden.
        others: (J,), see ``other_sides``.
        scale: the usual error, pixels.
    """
    small = rng.normal(size=seen.shape) * NOISE * scale
    large = rng.normal(size=seen.shape) * GROSS * scale
    chance, swap, sure = rng.random((3, *seen.shape[:2]))
    gross = chance < np.where(covered, GROSS_SHARE[1], GROSS_SHARE[0])
    swapped = gross & (swap < SWAPPED) & (others != np.arange(len(others))) & inside[:, others]
    wrong = np.where(swapped[..., None], seen[:, others], seen + large)
    found = np.where(gross[..., None], wrong, seen) + small
    score = np.where(gross, 0.2 + 0.7 * sure, np.where(covered, 0.4 + 0.5 * sure, 0.6 + 0.4 * sure))
    return found, np.where(inside, score, 0.0)
