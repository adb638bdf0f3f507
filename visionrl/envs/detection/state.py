"""The state of a search for objects, and the metric of many episodes together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from visionrl.metrics.detection import report_metrics, report_records, visit_metrics, visit_records
from visionrl.ops import Array


@dataclass(frozen=True)
class State:
    """Present box and reports so far; B episodes, at most N objects an image, K reports.

    Attributes:
        image: (B,) int64, index into the bank.
        category: (B,) int64, number of the class that is sought.
        search_region: (B, 4) float64, the part of the image that is searched: all of it, but for augmented training.
        box: (B, 4) float64, (x0, y0, x1, y1) edges in pixels.
        sought: (B, N) bool, the objects of the class that are not found yet.
        present: (B,) float64, objects of the class in the image; NaN where there are no labels.
        found: (B,) float64, how many of them were reported; likewise.
        reports: (B,) int64, reports so far.
        reported_boxes: (B, K, 4) float64, the boxes reported, in order; NaN where there is none yet.
        scores: (B, K) float64, the confidence of each.
        steps_to_report: (B, K) float64, boxes visited for each, those since the report before it.
        steps_since_restart: (B,) int64, steps since the search restarted.
        steps_since_report: (B,) int64, steps since the last report.
        next_restart: (B,) int64, number of the box from which it begins next.
        actions: (B, H) int64, newest last, -1 before the start; (B, H, 5) float64 with continuous control.
        confidence: (B,) float64, the policy's confidence in the present box.
        visited_boxes: (B, P, 5) float64, every box and its confidence; NaN where there is none; P = 0 if not kept.
        steps: (B,) int64, steps so far.
    """

    image: Array
    category: Array
    search_region: Array
    box: Array
    sought: Array
    present: Array
    found: Array
    reports: Array
    reported_boxes: Array
    scores: Array
    steps_to_report: Array
    steps_since_restart: Array
    steps_since_report: Array
    next_restart: Array
    actions: Array
    confidence: Array
    visited_boxes: Array
    steps: Array


@dataclass(frozen=True)
class AveragePrecision:
    """VOC's and COCO's average precision of the reports, recall of the visited boxes, and what the search cost.

    Args:
        boxes: (M, N, 4) objects of every image, edges in pixels.
        labels: (M, N) numbers of their classes.
    """

    boxes: np.ndarray
    labels: np.ndarray

    def record(self, ends: State) -> dict[str, np.ndarray]:
        """Records of B last states: see ``report_records`` and ``visit_records``."""
        rows: list[dict[str, object]] = []
        for row, (image, category) in enumerate(zip(ends.image, ends.category, strict=True)):
            truths = self.boxes[image][self.labels[image] == category]
            visited = ends.visited_boxes[row]
            one = {"category": category, "present": len(truths), "steps_to_report": ends.steps_to_report[row]}
            one |= report_records(ends.reported_boxes[row], ends.scores[row], truths)
            rows.append(one | visit_records(visited[:, :4], visited[:, 4], truths))
        return {key: np.array([one[key] for one in rows]) for key in rows[0]}

    def compute(self, records: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The metrics of some records: see ``report_metrics`` and ``visit_metrics``."""
        return report_metrics(records) | visit_metrics(records)
