"""Metrics of segments of time: temporal IoU, and mean average precision at thresholds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from visionrl.metrics import detection

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)  # of temporal IoU


def temporal_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, M) intersection over union of segments (N, 2) and (M, 2), (start, end) each; 0 for empty ones."""
    return detection.pairwise_iou(as_boxes(first), as_boxes(second))


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
    none = np.zeros(0)
    hits = [
        detection.match_detections(as_boxes(segments), scores, as_boxes(rows), threshold, "coco")
        for (segments, scores), rows in zip(found, truth, strict=True)
    ]
    scores = [scores for _, scores in found]
    return detection.average_precision(
        np.concatenate([none, *scores]), np.concatenate([none, *hits]), sum(map(len, truth))
    )


def mean_average_precision(
    found: Sequence[Mapping[str, tuple[np.ndarray, np.ndarray]]],
    truth: Sequence[Mapping[str, np.ndarray]],
    thresholds: Sequence[float] = THRESHOLDS,
) -> dict[float, float]:
    """Mean over classes of the average precision at each threshold; classes that no video has are left out.

    Args:
        found: of each video, class -> segments (N, 2) and scores (N,).
        truth: of each video, class -> segments (M, 2).
        thresholds: of temporal IoU.

    Returns:
        threshold -> value in [0, 1]; NaN where no video has a segment.
    """
    none = np.zeros((0, 2)), np.zeros(0)
    classes = sorted({name for one in truth for name, rows in one.items() if len(rows)})
    pairs = [
        ([one.get(name, none) for one in found], [one.get(name, none[0]) for one in truth])
        for name in classes
    ]
    return {
        threshold: float(np.mean([average_precision(*pair, threshold) for pair in pairs] or [np.nan]))
        for threshold in thresholds
    }


def as_boxes(segments: np.ndarray) -> np.ndarray:
    """(N, 4) boxes of height 1 that overlap as segments (N, 2) do."""
    start, end = np.asarray(segments, float).reshape(-1, 2).T
    return np.stack([start, np.zeros_like(start), end, np.ones_like(start)], axis=1)
