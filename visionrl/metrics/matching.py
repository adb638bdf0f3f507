"""One-to-one pairs of boxes of B episodes at once, and how well the boxes of a frame fit its objects; array API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from visionrl import ops
from visionrl.metrics.detection import average_precision, match_detections
from visionrl.ops import Array, DeviceTable, xp_of


def pairwise_overlap(first: Array, second: Array) -> Array:
    """IoU of every box with every box: (B, M, 4), (B, N, 4) -> (B, M, N); 0 where one is NaN."""
    overlap = ops.iou(first[:, :, None, :], second[:, None, :, :])
    return xp_of(overlap).where(overlap > 0, overlap, xp_of(overlap).zeros_like(overlap))


def mutual_pairs(overlap: Array, least: float) -> Array:
    """Pairs of which each is the other's best, with an overlap of at least ``least`` > 0: (B, M, N) -> (B, M, N) bool.

    No row and no column has two; of equal overlaps the first counts.
    """
    xp, device = xp_of(overlap), overlap.device
    rows, columns = (xp.arange(n, device=device) for n in overlap.shape[1:])
    best_column = xp.argmax(overlap, axis=2)[:, :, None] == columns
    best_row = xp.argmax(overlap, axis=1)[:, None, :] == rows[:, None]
    return best_column & best_row & (overlap >= least)


def frame_quality(boxes: Array, truth: Array, least: float = 0.5) -> Array:
    """Fit of boxes (B, M, 4) to objects (B, N, 4), rows of NaN for none: (B,) in [0, 1].

    The IoUs of the pairs from ``least`` on, over half the number of boxes and objects: missed objects and false boxes
    cost half an object each (the panoptic quality of one class, Kirillov et al., 2019). 1 where there is neither.
    """
    xp = xp_of(boxes)
    overlap = pairwise_overlap(boxes, truth)
    fit = xp.sum(xp.where(mutual_pairs(overlap, least), overlap, xp.zeros_like(overlap)), axis=(1, 2))
    there = [xp.sum(xp.astype(~xp.isnan(rows[..., 0]), boxes.dtype), axis=1) for rows in (boxes, truth)]
    count = (there[0] + there[1]) / 2
    return xp.where(count > 0, fit / xp.where(count > 0, count, xp.ones_like(count)), xp.ones_like(count))


@dataclass(frozen=True)
class FrameAP:
    """Average precision at an IoU of 0.5 of the boxes of all frames of all videos together.

    Args:
        first: (V,) number of each video's first frame.
        truth: (F, N, 4) objects of all frames, rows of NaN for none.
    """

    first: DeviceTable
    truth: DeviceTable

    def record(self, ends: Any) -> dict[str, np.ndarray]:
        """Scores and hits of every box, (N, T, M), and how many objects there are, (N,).

        Args:
            ends: N last states: ``item``, ``start``, ``length`` (N,); ``found`` (N, T, M, 5), boxes and scores.
        """
        scores, total = ends.found[..., 4], np.zeros(len(ends.found))
        hits = np.full(scores.shape, np.nan)
        for row, (item, start, length) in enumerate(zip(ends.item, ends.start, ends.length, strict=True)):
            for time in range(int(length)):
                truth = self.truth.array[self.first.array[item] + start + time]
                truth = truth[~np.isnan(truth[:, 0])]
                there = ~np.isnan(scores[row, time])
                boxes = ends.found[row, time, there]
                hits[row, time, there] = match_detections(boxes[:, :4], boxes[:, 4], truth)
                total[row] += len(truth)
        return {"box_score": scores, "box_hit": hits, "objects": total}

    def compute(self, records: Mapping[str, np.ndarray]) -> dict[str, float]:
        """``ap_50``, NaN where there is no object."""
        there = ~np.isnan(records["box_hit"])
        scores, hits = records["box_score"][there], records["box_hit"][there] == 1
        return {"ap_50": average_precision(scores, hits, int(records["objects"].sum()))}
