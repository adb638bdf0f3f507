"""Metrics of segments of time: temporal IoU, and mean average precision at thresholds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from visionrl.metrics import detection
from visionrl.ops import Array, xp_of

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)  # of temporal IoU


def temporal_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, M) intersection over union of segments (N, 2) and (M, 2), (start, end) each; 0 for empty ones."""
    return detection.pairwise_iou(as_boxes(first), as_boxes(second))


def interval_iou(first: Array, second: Array) -> Array:
    """(...) temporal IoU of segments (..., 2), pair by pair, of any array library; 0 for empty ones and NaN."""
    xp = xp_of(first)
    both = xp.minimum(first[..., 1], second[..., 1]) - xp.maximum(first[..., 0], second[..., 0])
    either = first[..., 1] - first[..., 0] + second[..., 1] - second[..., 0] - both
    known = (both > 0) & (either > 0)
    ones = xp.ones_like(either)
    return xp.where(known, both, 0 * ones) / xp.where(known, either, ones)


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


def segment_records(
    segments: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    truth: np.ndarray,
    kinds: np.ndarray,
    classes: int,
) -> dict[str, np.ndarray]:
    """Records of one video's segments for ``segment_metrics``; C classes.

    Args:
        segments: (K, 2); NaN where there is none.
        scores: (K,), likewise.
        labels: (K,) int64, number of the class of each; -1 for none.
        truth: (M, 2).
        kinds: (M,) int64.
        classes: C.

    Returns:
        "score" (K,), "label" (K,), "hit" (5, K): whether each is right at each of ``THRESHOLDS``; "positives" (C,).
    """
    hit = np.zeros((len(THRESHOLDS), len(scores)), bool)
    for number in np.unique(labels[labels >= 0]):
        own, boxes = labels == number, as_boxes(truth[kinds == number])
        for row, threshold in zip(hit, THRESHOLDS, strict=True):
            row[own] = detection.match_detections(
                as_boxes(segments[own]), scores[own], boxes, threshold, "coco"
            )
    positives = np.bincount(kinds, minlength=classes)[:classes]
    return {"score": scores, "label": labels, "hit": hit, "positives": positives}


def segment_metrics(records: Mapping[str, np.ndarray]) -> dict[str, float]:
    """``map_10`` to ``map_50``, the mean average precision at each of ``THRESHOLDS``, and ``map``, their mean.

    NaN where no video has a segment.
    """
    positives, labels = records["positives"].sum(axis=0), records["label"].ravel()
    found = {}
    for row, threshold in enumerate(THRESHOLDS):
        hits, values = records["hit"][:, row].ravel(), []
        for number in np.flatnonzero(positives):
            own = labels == number
            scores = records["score"].ravel()[own]
            values.append(detection.average_precision(scores, hits[own], int(positives[number])))
        found[f"map_{round(100 * threshold)}"] = float(np.mean(values)) if values else np.nan
    return {**found, "map": float(np.mean(list(found.values())))}


def as_boxes(segments: np.ndarray) -> np.ndarray:
    """(N, 4) boxes of height 1 that overlap as segments (N, 2) do."""
    start, end = np.asarray(segments, float).reshape(-1, 2).T
    return np.stack([start, np.zeros_like(start), end, np.ones_like(start)], axis=1)
