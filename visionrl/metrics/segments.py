"""Metrics of segments of time: temporal IoU, and mean average precision at thresholds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def temporal_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, M) intersection over union of segments (N, 2) and (M, 2), (start, end) each; 0 for empty ones."""
    one, two = np.asarray(first, float).reshape(-1, 1, 2), np.asarray(second, float).reshape(1, -1, 2)
    shared = np.minimum(one[..., 1], two[..., 1]) - np.maximum(one[..., 0], two[..., 0])
    shared = np.maximum(shared, 0)
    union = (one[..., 1] - one[..., 0]) + (two[..., 1] - two[..., 0]) - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0.0)


def average_precision(
    found: Sequence[tuple[np.ndarray, np.ndarray]], truth: Sequence[np.ndarray], threshold: float
) -> float:
    """Average precision of one class over some videos, by ActivityNet's rule: the area under the interpolated curve.

    Segments are taken by falling score; each is right if its IoU with the segment that it overlaps most, among those
    not found yet, is at least the threshold.

    Args:
        found: of each video, segments (N, 2) and scores (N,).
        truth: of each video, segments (M, 2).
        threshold: least temporal IoU of a right one.

    Returns:
        In [0, 1]; NaN where no video has a segment.
    """
    total = sum(len(rows) for rows in truth)
    if not total:
        return float("nan")
    order = [(-float(s), v, k) for v, (_, scores) in enumerate(found) for k, s in enumerate(scores)]
    used = [np.zeros(len(rows), bool) for rows in truth]
    right = np.zeros(len(order))
    for rank, (_, video, number) in enumerate(sorted(order)):
        overlap = temporal_iou(found[video][0][number : number + 1], truth[video])[0]
        overlap = np.where(used[video], -1.0, overlap)
        if len(overlap) and overlap.max() >= threshold:
            used[video][int(overlap.argmax())] = True
            right[rank] = 1
    hits = np.cumsum(right)
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / total
    precision = np.maximum.accumulate(np.concatenate([precision, [0.0]])[::-1])[::-1][:-1]
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def mean_average_precision(
    found: Sequence[Mapping[str, tuple[np.ndarray, np.ndarray]]],
    truth: Sequence[Mapping[str, np.ndarray]],
    thresholds: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5),
) -> dict[float, float]:
    """Mean over classes of the average precision at each threshold; classes that no video has are left out.

    Args:
        found: of each video, class -> segments (N, 2) and scores (N,).
        truth: of each video, class -> segments (M, 2).
        thresholds: of temporal IoU.
    """
    classes = sorted({name for one in truth for name, rows in one.items() if len(rows)})
    none = np.zeros((0, 2)), np.zeros(0)
    return {
        threshold: float(
            np.mean(
                [
                    average_precision(
                        [one.get(name, none) for one in found],
                        [one.get(name, none[0]) for one in truth],
                        threshold,
                    )
                    for name in classes
                ]
            )
        )
        if classes
        else float("nan")
        for threshold in thresholds
    }
