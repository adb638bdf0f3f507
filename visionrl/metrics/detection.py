"""Metrics of detection: average precision and recall, of boxes by IoU.

A box is (x0, y0, x1, y1), edges in pixels; the area of a box is (x1 - x0) (y1 - y0), without VOC's extra pixel.
Everything is per class: the boxes and truths of one class go in together. Where there is no truth at all, average
precision and recall are NaN; a class of which that holds is left out of a mean over classes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from visionrl import ops

INTERPOLATIONS = ("all", "11", "101")
RULES = ("voc", "coco")
VOC_IOU = 0.5  # IoU of a detection that counts, VOC's
COCO_IOUS = tuple(np.arange(50, 100, 5) / 100)  # the IoUs over which COCO averages
NMS_IOU = 0.3  # visited boxes that overlap a better one more than this are dropped (Girshick et al., 2014)
PROPOSALS = (10, 50, 200)  # numbers of visited boxes at which recall is reported

_STATS = ("ap", "ap_50", "ap_75", "ap_small", "ap_medium", "ap_large", "ar_1", "ar_10", "ar_100")


def match_detections(
    boxes: np.ndarray, scores: np.ndarray, truths: np.ndarray, threshold: float = 0.5, rule: str = "voc"
) -> np.ndarray:
    """Marks the true positives among detections of one image and class: (N,) bool, in the order given.

    Detections are judged from the highest score down; equal scores in the order given. By the rule of Pascal VOC
    (Everingham et al., 2010) a detection belongs to the truth that it overlaps most, and is right if that overlap is
    ``threshold`` or more and no detection before it was right about the same truth. By the rule of COCO (Lin et al.,
    2014) it belongs to the one that it overlaps most of those not found yet, so it may be right about its second
    best. Crowds and objects marked difficult are truths like any others.

    Args:
        boxes: (N, 4).
        scores: (N,), any finite numbers.
        truths: (M, 4).
        threshold: least IoU, in (0, 1].
        rule: "voc" or "coco".

    Raises:
        ValueError: the arguments do not fit together, or a score is not finite.
    """
    boxes, truths = np.reshape(boxes, (-1, 4)).astype(float), np.reshape(truths, (-1, 4)).astype(float)
    scores = _scores(scores, len(boxes))
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {threshold}")
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    hits, free = np.zeros(len(boxes), bool), np.ones(len(truths), bool)
    if not len(truths):
        return hits
    overlaps = ops.iou(boxes[:, None], truths[None])
    for number in np.argsort(-scores, kind="stable"):
        overlap = overlaps[number] if rule == "voc" else np.where(free, overlaps[number], -1.0)
        best = int(np.argmax(overlap))
        if overlap[best] >= threshold and free[best]:
            hits[number], free[best] = True, False
    return hits


def precision_recall(scores: np.ndarray, hits: np.ndarray, positives: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall, each (N,), of the 1, 2, ..., N best detections of all images.

    Args:
        scores: (N,); equal ones stay in the order given.
        hits: (N,) bool, as ``match_detections`` tells.
        positives: number of truths in all images, at least the number of hits; recall is NaN where it is 0.

    Raises:
        ValueError: the arguments do not fit together.
    """
    hits = np.asarray(hits, bool).reshape(-1)
    order = np.argsort(-_scores(scores, len(hits)), kind="stable")
    if positives < hits.sum():
        raise ValueError(f"positives must be >= the number of hits, {hits.sum()}, got {positives}")
    right = np.cumsum(hits[order])
    recall = right / positives if positives else np.full(len(hits), np.nan)
    return right / np.arange(1, len(hits) + 1), recall


def average_precision(
    scores: np.ndarray, hits: np.ndarray, positives: int, interpolation: str = "all"
) -> float:
    """Area under the precision-recall curve of one class, in [0, 1].

    The precision at a recall is the best at that recall or beyond. "all" is the area under that curve (VOC from 2010
    on), "11" its mean at the recalls 0, 0.1, ..., 1 (VOC 2007, Everingham et al., 2010), "101" its mean at 0, 0.01,
    ..., 1 (COCO, Lin et al., 2014). Without detections it is 0; without truths NaN.

    Args:
        scores: (N,) of all detections in all images.
        hits: (N,) bool, as ``match_detections`` tells.
        positives: number of truths in all images.
        interpolation: "all", "11" or "101".

    Raises:
        ValueError: the arguments do not fit together.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, got {interpolation!r}")
    precision, recall = precision_recall(scores, hits, positives)
    if positives == 0:
        return float("nan")
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    if interpolation == "all":
        return float((np.diff(recall, prepend=0.0) * best[:-1]).sum())
    points = np.linspace(0, 1, int(interpolation))
    return float(best[np.searchsorted(recall, points, side="left")].mean())


def recall_at(
    proposals: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    counts: Sequence[int],
    threshold: float = 0.5,
) -> np.ndarray:
    """Share of the truths that the first n proposals of their image cover, for each n: (len(counts),), in [0, 1].

    A truth is covered where one of the proposals has an IoU of ``threshold`` or more with it; one proposal may cover
    several (Hosang et al., 2016). Without truths NaN.

    Args:
        proposals: per image (N, 4), best first.
        truths: per image (M, 4).
        counts: numbers of proposals an image, each >= 0.
        threshold: least IoU, in (0, 1].

    Raises:
        ValueError: the arguments do not fit together.
    """
    if len(proposals) != len(truths):
        raise ValueError(
            f"proposals and truths must be one array an image each, got {len(proposals)} and {len(truths)}"
        )
    if not 0 < threshold <= 1 or min(counts, default=0) < 0:
        raise ValueError(f"threshold must be in (0, 1] and counts >= 0, got {threshold} and {counts}")
    first = np.concatenate(
        [np.zeros(0), *(_first_cover(*pair, threshold) for pair in zip(proposals, truths, strict=True))]
    )
    if not len(first):
        return np.full(len(counts), np.nan)
    return (first[None] < np.asarray(counts)[:, None]).mean(axis=1)


def _first_cover(boxes: np.ndarray, truths: np.ndarray, threshold: float) -> np.ndarray:
    """(M,) number of the first box that covers each truth; infinity where none does."""
    boxes, truths = np.reshape(boxes, (-1, 4)), np.reshape(truths, (-1, 4))
    if not len(boxes):
        return np.full(len(truths), np.inf)
    covers = ops.iou(boxes[:, None].astype(float), truths[None].astype(float)) >= threshold
    return np.where(covers.any(axis=0), covers.argmax(axis=0), np.inf)


def suppress(boxes: np.ndarray, scores: np.ndarray, threshold: float, most: int) -> np.ndarray:
    """Numbers of up to ``most`` boxes that no better one overlaps by more, best first (non-maximum suppression)."""
    order: np.ndarray = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < most:
        kept.append(int(order[0]))
        order = order[1:][pairwise_iou(boxes[order[:1]], boxes[order[1:]])[0] <= threshold]
    return np.array(kept, int)


def pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of every box of one set with every box of another: (A, 4), (B, 4) -> (A, B)."""
    return ops.iou(a[:, None, :], b[None, :, :])


def report_records(boxes: np.ndarray, scores: np.ndarray, truths: np.ndarray) -> dict[str, np.ndarray]:
    """Records of one image's detections of one class for ``report_metrics``.

    Args:
        boxes: (K, 4); NaN where there is none, at the end.
        scores: (K,), likewise.
        truths: (M, 4).

    Returns:
        "score" (K,); "hit" (K,): 1.0 for a right detection, 0.0 for a wrong one, NaN for none; "coco_hit" (10, K):
        the same at each of ``COCO_IOUS``, by COCO's rule.
    """
    coco = [_hits(boxes, scores, truths, threshold, "coco") for threshold in COCO_IOUS]
    return {"score": scores, "hit": _hits(boxes, scores, truths), "coco_hit": np.array(coco)}


def visit_records(boxes: np.ndarray, scores: np.ndarray, truths: np.ndarray) -> dict[str, np.ndarray]:
    """Records of the boxes that a search visited in one image, for ``visit_metrics``.

    Args:
        boxes: (P, 4), in order; NaN where there is none, at the end.
        scores: (P,), likewise.
        truths: (M, 4).

    Returns:
        "visited_score", "visited_hit" (P,): of the boxes that are left by non-maximum suppression, as in
        ``report_records``; "covered_N" (): how many truths the first N boxes cover.
    """
    length, there = len(boxes), ~np.isnan(boxes[:, 0])
    boxes, scores = boxes[there], scores[there]
    kept = suppress(boxes, scores, NMS_IOU, len(boxes))
    hits = _hits(_padded(boxes[kept], length), scores[kept], truths)
    shares = recall_at([boxes], [truths], PROPOSALS, VOC_IOU) if len(truths) else np.zeros(len(PROPOSALS))
    covered = {f"covered_{n}": share * len(truths) for n, share in zip(PROPOSALS, shares, strict=True)}
    return {"visited_score": _padded(scores[kept], length), "visited_hit": hits, **covered}


def report_metrics(records: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Mean over the classes of the average precision of the reports, and what the search cost.

    ``ap_50`` ranks the reported boxes, over all recalls; ``ap_50_11pt`` at 11 recalls, as VOC 2007; ``ap_coco`` at
    101, the mean over IoUs of 0.5 to 0.95, each image's reports matched as COCO does; ``steps_per_detection`` is the
    median number of boxes visited for a right report, from the report before it on (1 for a classical method, which
    visits none). NaN where there is nothing to count.
    """
    present, hits = records["present"], records["hit"] == 1
    coco = np.moveaxis(records["coco_hit"], 1, 0)
    return {
        "ap_50": mean_ap(records, "score", "hit", "all"),
        "ap_50_11pt": mean_ap(records, "score", "hit", "11"),
        "ap_coco": float(np.mean([mean_ap({**records, "hit": h}, "score", "hit", "101") for h in coco])),
        "recall_50": _ratio(hits.sum(), present.sum()),
        "precision_50": _ratio(hits.sum(), (~np.isnan(records["hit"])).sum()),
        "steps_per_detection": float(np.median(records["steps_to_report"][hits])) if hits.any() else np.nan,
    }


def visit_metrics(records: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Average precision and recall of all visited boxes; empty where they were not kept.

    ``ap_50_visited`` ranks the boxes that are left by non-maximum suppression; ``recall_at_N`` is the share of the
    objects that the first N boxes of an image cover. NaN where there is nothing to count.
    """
    if not records["visited_hit"].shape[1]:
        return {}
    total = records["present"].sum()
    recalls = {f"recall_at_{n}": _ratio(records[f"covered_{n}"].sum(), total) for n in PROPOSALS}
    return {"ap_50_visited": mean_ap(records, "visited_score", "visited_hit", "all"), **recalls}


def mean_ap(records: Mapping[str, np.ndarray], score: str, hit: str, interpolation: str) -> float:
    """Mean of the average precision over the classes that have an object, in [0, 1]; NaN if none has."""
    values = []
    for category in np.unique(records["category"]):
        rows = records["category"] == category
        positives, hits = int(records["present"][rows].sum()), records[hit][rows]
        there = ~np.isnan(hits)
        if positives:
            scores = records[score][rows][there]
            values.append(average_precision(scores, hits[there] == 1, positives, interpolation))
    return float(np.mean(values)) if values else float("nan")


def _hits(
    boxes: np.ndarray, scores: np.ndarray, truths: np.ndarray, threshold: float = VOC_IOU, rule: str = "voc"
) -> np.ndarray:
    """(K,) 1.0 for a right detection, 0.0 for a wrong one, NaN for none (a box of NaN, at the end)."""
    there = ~np.isnan(boxes[:, 0])
    hits = np.full(len(boxes), np.nan)
    hits[there] = match_detections(boxes[there], scores[: there.sum()], truths, threshold, rule)
    return hits


def _padded(rows: np.ndarray, length: int) -> np.ndarray:
    """Rows up to a length, NaN beyond them."""
    whole = np.full((length, *rows.shape[1:]), np.nan)
    whole[: len(rows)] = rows
    return whole


def _ratio(part: float, whole: float) -> float:
    """A share; NaN of nothing."""
    return float(part / whole) if whole else float("nan")


def coco_ap(
    detections: Sequence[tuple[np.ndarray, np.ndarray, Sequence[Hashable]]],
    truths: Sequence[tuple[np.ndarray, Sequence[Hashable]]],
) -> dict[str, float]:
    """COCO's figures for all classes (Lin et al., 2014), by the library faster-coco-eval.

    ``ap`` is the mean over the IoU thresholds 0.50, 0.55, ..., 0.95 and over the classes that have a truth; ``ap_50``
    and ``ap_75`` are at one threshold; ``ap_small``, ``ap_medium``, ``ap_large`` of truths with an area below 32 x 32
    pixels, up to 96 x 96, and above; ``ar_1``, ``ar_10``, ``ar_100`` the mean recall with so many detections an image
    and class. NaN where there is no truth to count.

    Args:
        detections: per image (N, 4) boxes, (N,) scores and N class names; the best 100 of a class count.
        truths: per image (M, 4) boxes and M class names.

    Raises:
        ValueError: the arguments do not fit together.
        ModuleNotFoundError: faster-coco-eval is not installed.
    """
    if len(detections) != len(truths):
        raise ValueError(
            f"detections and truths must be one entry an image, got {len(detections)} and {len(truths)}"
        )
    coco, evaluation = _library()
    told = [_rows(boxes, labels, scores) for boxes, scores, labels in detections]
    real = [_rows(boxes, labels) for boxes, labels in truths]
    names = list(dict.fromkeys(row["label"] for rows in (*real, *told) for row in rows))
    if not any(real):
        return dict.fromkeys(_STATS, float("nan"))
    ids = {name: number for number, name in enumerate(names, 1)}
    truth = coco(
        {
            "images": [{"id": image} for image in range(len(truths))],
            "categories": [{"id": number, "name": str(name)} for name, number in ids.items()],
            "annotations": [
                row | {"id": number, "iscrowd": 0} for number, row in enumerate(_flat(real, ids), 1)
            ],
        }
    )
    run = evaluation(truth, truth.loadRes(_flat(told, ids)), "bbox", print_function=_silent)
    run.evaluate()
    run.accumulate()
    run.summarize()
    return {name: float(v) if v >= 0 else float("nan") for name, v in zip(_STATS, run.stats, strict=False)}


def _library() -> tuple[Any, Any]:
    """The library's two classes."""
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'COCO\'s average precision needs faster-coco-eval: pip install "visionrl[detection]"'
        ) from error
    return COCO, COCOeval_faster


def _rows(boxes: np.ndarray, labels: Sequence[Hashable], scores: Any = None) -> list[dict[str, Any]]:
    """The boxes of an image as the library wants them, with x, y, width and height."""
    boxes = np.reshape(boxes, (-1, 4)).astype(float)
    if len(labels) != len(boxes):
        raise ValueError(f"labels must be one a box, got {len(labels)} for {len(boxes)} boxes")
    extra = (
        [{}] * len(boxes) if scores is None else [{"score": float(s)} for s in _scores(scores, len(boxes))]
    )
    return [
        {"label": label, "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), **more}
        for (x0, y0, x1, y1), label, more in zip(boxes.tolist(), labels, extra, strict=True)
    ]


def _flat(images: list[list[dict[str, Any]]], ids: dict[Hashable, int]) -> list[dict[str, Any]]:
    """The rows of all images, with the numbers of their image and class."""
    return [
        {key: value for key, value in row.items() if key != "label"}
        | {"image_id": image, "category_id": ids[row["label"]]}
        for image, rows in enumerate(images)
        for row in rows
    ]


def _scores(scores: Any, count: int) -> np.ndarray:
    """(count,) finite scores."""
    found = np.asarray(scores, float).reshape(-1)
    if len(found) != count or not np.isfinite(found).all():
        raise ValueError(f"scores must be {count} finite numbers, one a detection, got {found.tolist()}")
    return found


def _silent(*_: Any, **__: Any) -> None:
    """Prints nothing."""
