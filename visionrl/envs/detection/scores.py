"""What the reports and the attended boxes of many images are worth: average precision, recall, steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from visionrl.metrics.detection import average_precision, match_detections, recall_at
from visionrl.ops import iou

OVERLAP = 0.5  # IoU of a detection that counts, VOC's
NMS = 0.3  # attended boxes that overlap a better one more than this are dropped (Girshick et al., 2014)
COCO = tuple(np.arange(50, 100, 5) / 100)  # the overlaps over which COCO averages
PROPOSALS = (10, 50, 200)


@dataclass(frozen=True)
class AveragePrecision:
    """VOC's and COCO's average precision of an episode's reports, and what the search cost.

    Args:
        boxes: (M, K, 4) of the bank.
        labels: (M, K) numbers of their classes.
    """

    boxes: np.ndarray
    labels: np.ndarray

    def record(self, ends: Any) -> dict[str, np.ndarray]:
        """See ``tally``."""
        return tally(ends, self.boxes, self.labels)

    def compute(self, records: Mapping[str, np.ndarray]) -> dict[str, float]:
        """See ``pooled``."""
        return pooled(records)


def tally(ends: Any, boxes: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Of every episode: its reports' scores, and which of them are right; likewise of all attended boxes.

    Args:
        ends: N last states.
        boxes: (M, K, 4) of the bank.
        labels: (M, K) numbers of their classes.
    """
    found: dict[str, list[Any]] = {}
    for row in range(len(ends.image)):
        truths = boxes[ends.image[row]][labels[ends.image[row]] == ends.category[row]]
        path = ends.attended[row][~np.isnan(ends.attended[row, :, 0])]
        kept = suppress(path[:, :4], path[:, 4], NMS, len(path))
        one = {
            "category": ends.category[row],
            "present": len(truths),
            "score": ends.scores[row],
            "hit": judged(ends.marks[row], ends.scores[row], truths),
            "coco_hit": [judged(ends.marks[row], ends.scores[row], truths, least, "coco") for least in COCO],
            "spent": ends.spent[row],
            "attended_score": padded(path[kept, 4], ends.attended.shape[1]),
            "attended_hit": judged(padded(path[kept, :4], ends.attended.shape[1]), path[kept, 4], truths),
        }
        recalls = (
            recall_at([path[:, :4]], [truths], PROPOSALS, OVERLAP) if len(truths) else 0 * np.array(PROPOSALS)
        )
        one |= {f"covered_{n}": share * len(truths) for n, share in zip(PROPOSALS, recalls, strict=True)}
        for key, value in one.items():
            found.setdefault(key, []).append(value)
    return {key: np.array(values) for key, values in found.items()}


def pooled(tally: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Mean over the classes of VOC's average precision at IoU 0.5, and what the search cost.

    ``ap_50`` ranks the reported boxes, over all recalls; ``ap_50_11pt`` at 11 recalls, as VOC 2007; ``ap_coco`` at
    101, the mean over overlaps of 0.5 to 0.95, each image's reports matched as COCO does; ``ap_50_attended`` ranks
    every attended box after non-maximum suppression; ``recall_at_N`` is the share of objects that the first N
    attended boxes of an image cover; ``steps_per_detection`` is the median number of boxes attended for a right
    report, from the report before it on (1 for a classical method, which attends to none). NaN where there is
    nothing to count.
    """
    present, hits, coco = tally["present"], tally["hit"] == 1, np.moveaxis(tally["coco_hit"], 1, 0)
    found = {
        "ap_50": mean_ap(tally, "score", "hit", "all"),
        "ap_50_11pt": mean_ap(tally, "score", "hit", "11"),
        "ap_coco": float(np.mean([mean_ap({**tally, "hit": h}, "score", "hit", "101") for h in coco])),
        "recall_50": ratio(hits.sum(), present.sum()),
        "precision_50": ratio(hits.sum(), (~np.isnan(tally["hit"])).sum()),
        "steps_per_detection": float(np.median(tally["spent"][hits])) if hits.any() else float("nan"),
    }
    if not tally["attended_hit"].shape[1]:  # the boxes were not kept
        return found
    found["ap_50_attended"] = mean_ap(tally, "attended_score", "attended_hit", "all")
    return found | {f"recall_at_{n}": ratio(tally[f"covered_{n}"].sum(), present.sum()) for n in PROPOSALS}


def mean_ap(tally: Mapping[str, np.ndarray], score: str, hit: str, interpolation: str) -> float:
    """Mean of the average precision over the classes that have an object, in [0, 1]; NaN if none has."""
    values = []
    for category in np.unique(tally["category"]):
        rows = tally["category"] == category
        positives, hits = int(tally["present"][rows].sum()), tally[hit][rows]
        told = ~np.isnan(hits)
        if positives:
            values.append(
                average_precision(tally[score][rows][told], hits[told] == 1, positives, interpolation)
            )
    return float(np.mean(values)) if values else float("nan")


def judged(
    boxes: np.ndarray, scores: np.ndarray, truths: np.ndarray, overlap: float = OVERLAP, rule: str = "voc"
) -> np.ndarray:
    """(K,) 1.0 for a right detection, 0.0 for a wrong one, NaN for none (a box of NaN)."""
    told = ~np.isnan(boxes[:, 0])
    verdict = np.full(len(boxes), np.nan)
    verdict[told] = match_detections(boxes[told], scores[: told.sum()], truths, overlap, rule)
    return verdict


def suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float, most: int) -> np.ndarray:
    """Numbers of up to ``most`` boxes that no better one overlaps by more, best first (non-maximum suppression)."""
    order: np.ndarray = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < most:
        kept.append(int(order[0]))
        order = order[1:][ious(boxes[order[:1]], boxes[order[1:]])[0] <= overlap]
    return np.array(kept, int)


def ious(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(A, 4), (B, 4) -> (A, B)."""
    return iou(a[:, None, :], b[None, :, :])


def padded(rows: np.ndarray, length: int) -> np.ndarray:
    """Rows up to a length, NaN beyond them."""
    whole = np.full((length, *rows.shape[1:]), np.nan)
    whole[: len(rows)] = rows
    return whole


def ratio(part: float, whole: float) -> float:
    """A share; NaN of nothing."""
    return float(part / whole) if whole else float("nan")
