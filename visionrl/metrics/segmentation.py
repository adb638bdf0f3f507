"""Metrics of segmentation: overlap, boundaries, clicks; empty masks have a value everywhere.

Both masks empty is a perfect answer: IoU, Dice and boundary F are 1, distances 0. One empty is the worst: 0, and
distances are the diagonal of the picture, so that means exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from visionrl.ops import Array, xp_of
from visionrl.ops.masks import boundary

NEVER = 20  # clicks, where a score is never reached
LEVELS = (0.85, 0.9)


def mean_iou_of(confusion: Array) -> Array:
    """Mean over classes of the intersection over union: (..., K, K) numbers of pixels -> (...) in [0, 1].

    The last two axes are a confusion matrix, predicted classes by actual ones. Classes that are absent from the truth
    are left out; pixels that are wrongly said to be theirs still count in the classes that they belong to. NaN where
    there are no pixels. Array-API code.

    Source: Everingham et al. (2010), the segmentation score of PASCAL VOC.
    """
    xp = xp_of(confusion)
    right = xp.linalg.diagonal(confusion)
    actual = xp.sum(confusion, axis=-2)
    union, there = xp.sum(confusion, axis=-1) + actual - right, actual > 0
    each = xp.where(there, right / xp.where(there, union, xp.ones_like(union)), xp.zeros_like(union))
    return xp.sum(each, axis=-1) / xp.sum(xp.astype(there, each.dtype), axis=-1)


def surface_distances(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Distances from each outline pixel of a mask to the other's outline, pixels, both ways; None if one is empty.

    Args:
        first: (H, W) bool.
        second: (H, W) bool.
    """
    if not (first.any() and second.any()):
        return None
    lines = boundary(first[None])[0], boundary(second[None])[0]
    to_first, to_second = (
        cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for line in lines
    )
    return to_second[lines[0]], to_first[lines[1]]


def distance_scores(first: np.ndarray, second: np.ndarray, tolerance: float = 2.0) -> dict[str, float]:
    """Scores of a mask against the true one that need distances between outlines.

    Args:
        first: (H, W) bool.
        second: (H, W) bool.
        tolerance: pixels, of ``boundary_f``.

    Returns:
        ``boundary_f``: harmonic mean of the shares of either outline within ``tolerance`` of the other (Csurka et al.,
            2013; Perazzi et al., 2016).
        ``hd95_px``: 95th percentile of the distances, the larger of both directions.
        ``assd_px``: average symmetric surface distance, the mean over the pixels of both outlines.
    """
    distances = surface_distances(first, second)
    if distances is None:
        right = not (first.any() or second.any())
        far = 0.0 if right else float(np.hypot(*first.shape))
        return {"boundary_f": float(right), "hd95_px": far, "assd_px": far}
    near = [float((some <= tolerance).mean()) for some in distances]
    f = 2 * near[0] * near[1] / (near[0] + near[1]) if any(near) else 0.0
    worst = max(float(np.percentile(some, 95)) for some in distances)
    return {"boundary_f": f, "hd95_px": worst, "assd_px": float(np.concatenate(distances).mean())}


def clicks_to(scores: np.ndarray, level: float, first: int = 0, never: int = NEVER) -> np.ndarray:
    """Clicks after which a score first reaches a level, NoC: (N, K) -> (N,) float64; ``never`` where it does not.

    Args:
        scores: (N, K) after ``first``, ``first + 1``, ... clicks; NaN after the end.
        level: of the score.
        first: clicks before the first score.
        never: clicks that stand for never (Xu et al., 2016: 20).
    """
    reached = np.nan_to_num(scores, nan=-1.0) >= level
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + first, never).astype(float)


class OutlineScores:
    """``boundary_f``, ``hd95_px`` and ``assd_px`` of the last states, means over episodes; a ``DatasetMetric``.

    Args:
        masks: (states of N rows) -> N masks and N true masks, each (H, W) bool.
        tolerance: pixels, of ``boundary_f``; of pictures of differing sizes a part of the diagonal, below 1.
    """

    def __init__(
        self,
        masks: Callable[[Any], tuple[Sequence[np.ndarray], Sequence[np.ndarray]]],
        tolerance: float = 2.0,
    ) -> None:
        self.masks, self.tolerance = masks, tolerance

    def record(self, ends: Any) -> dict[str, np.ndarray]:
        """(N,) float64 each."""
        rows = []
        for mask, truth in zip(*self.masks(ends), strict=True):
            unit = float(np.hypot(*truth.shape)) if self.tolerance < 1 else 1.0
            rows.append(distance_scores(mask, truth, self.tolerance * unit))
        return {key: np.array([row[key] for row in rows]) for key in rows[0]}

    def compute(self, records: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Means."""
        return {key: float(records[key].mean()) for key in ("boundary_f", "hd95_px", "assd_px")}


class Clicks:
    """``noc85`` and ``noc90``, mean numbers of clicks to an IoU of .85 and .90; a ``DatasetMetric``.

    Args:
        scores: (states of N rows) -> (N, K) IoU after each click, NaN after the end.
        first: clicks before the first of these scores.
        levels: of the IoU.
    """

    def __init__(
        self, scores: Callable[[Any], np.ndarray], first: int = 0, levels: Sequence[float] = LEVELS
    ) -> None:
        self.scores, self.first = scores, first
        self.levels = {f"noc{round(100 * level)}": level for level in levels}

    def record(self, ends: Any) -> dict[str, np.ndarray]:
        """(N,) float64 each."""
        return {key: clicks_to(self.scores(ends), level, self.first) for key, level in self.levels.items()}

    def compute(self, records: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Means."""
        return {key: float(records[key].mean()) for key in self.levels}


class RoundScores:
    """``NAME_1``, ``NAME_2``, ...: mean scores after each round of an episode; a ``DatasetMetric``.

    An episode that ends early keeps its last score.

    Args:
        scores: (states of N rows) -> (N, R + 1) at the start and after each round, NaN after the end.
        name: of the score.
    """

    def __init__(self, scores: Callable[[Any], np.ndarray], name: str) -> None:
        self.scores, self.name = scores, name

    def record(self, ends: Any) -> dict[str, np.ndarray]:
        """(N,) float64 each, the start as round 0."""
        scores = np.array(self.scores(ends), float)
        for number in range(1, scores.shape[1]):
            late = np.isnan(scores[:, number])
            scores[late, number] = scores[late, number - 1]
        return {f"{self.name}_{number}": column for number, column in enumerate(scores.T)}

    def compute(self, records: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Means."""
        start = f"{self.name}_"
        return {key: float(some.mean()) for key, some in records.items() if key.startswith(start)}
