"""Metrics of multi-object tracking: HOTA, CLEAR MOT and identity scores, of boxes by IoU.

Everything is counted as the public evaluation kit TrackEval counts it (Luiten & Hoffhues, 2020), ties and empty
cases included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from visionrl import ops

ALPHAS = tuple(np.arange(0.05, 0.99, 0.05).tolist())
"""The 19 overlaps over which HOTA is averaged."""

MATCH = 0.5
"""Overlap from which the CLEAR MOT and identity scores count a box as found."""

_EPS = float(np.finfo(float).eps)
Boxes = Sequence[tuple[np.ndarray, np.ndarray]]  # per frame: (N,) identities and (N, 4) boxes


@dataclass(frozen=True)
class Overlaps:
    """A video's true and found boxes, identities counted from 0; T frames.

    Attributes:
        truth: T arrays (N,) of identities.
        found: T arrays (M,) of identities.
        iou: T arrays (N, M).
        objects: number of true identities.
        tracks: number of found identities.
    """

    truth: list[np.ndarray]
    found: list[np.ndarray]
    iou: list[np.ndarray]
    objects: int
    tracks: int

    @property
    def empty(self) -> bool:
        """True if there is no true box, or none was found."""
        return not self.objects or not self.tracks


def mot_scores(truth: Boxes, found: Boxes) -> dict[str, float]:
    """All scores of one video.

    ``hota``, ``det_a``, ``ass_a``, ``loc_a``, ``mota``, ``motp`` and ``idf1`` are at most 1, the best;
    ``id_switches`` and ``fragmentations`` are counts. Without a true box, or without a found one, all are 0,
    but ``loc_a`` is 1.

    Args:
        truth: per frame the (N,) identities and the (N, 4) boxes (x0, y0, x1, y1).
        found: likewise; any numbers may serve as identities, none twice in a frame.

    Raises:
        ValueError: the two differ in their number of frames, or an identity is twice in a frame.
    """
    seen = overlaps(truth, found)
    return {**hota(seen), **clear_mot(seen), **identity(seen)}


def overlaps(truth: Boxes, found: Boxes) -> Overlaps:
    """The boxes of a video compared frame by frame; see ``mot_scores``."""
    if len(truth) != len(found):
        raise ValueError(
            f"found must have as many frames as truth, got {len(found)} frames for {len(truth)} of truth"
        )
    pairs = [ops.iou(_rows(a)[:, None], _rows(b)[None]) for (_, a), (_, b) in zip(truth, found, strict=True)]
    (true, objects), (got, tracks) = _counted(truth, "truth"), _counted(found, "found")
    return Overlaps(true, got, pairs, objects, tracks)


def hota(seen: Overlaps) -> dict[str, float]:
    """``hota``, its parts ``det_a`` and ``ass_a``, and ``loc_a``: means over the 19 overlaps.

    Source: Luiten et al. (2021), "HOTA: a higher order metric for evaluating multi-object tracking".
    """
    if seen.empty:
        return {"hota": 0.0, "det_a": 0.0, "ass_a": 0.0, "loc_a": 1.0}
    true, got = _lengths(seen)
    aligned = _alignment(seen, true, got)
    matches = np.zeros((len(ALPHAS), seen.objects, seen.tracks))
    located = np.zeros(len(ALPHAS))
    for a, b, iou in zip(seen.truth, seen.found, seen.iou, strict=True):
        rows, columns = assign(aligned[a[:, None], b] * iou)
        overlap = iou[rows, columns]
        hit = overlap >= np.array(ALPHAS)[:, None] - _EPS
        matches[:, a[rows], b[columns]] += hit
        located += (hit * overlap).sum(axis=1)
    hits = matches.sum(axis=(1, 2))
    det = hits / np.maximum(1, true.sum() + got.sum() - hits)
    union = np.maximum(1, true[:, None] + got - matches)
    ass = (matches * matches / union).sum(axis=(1, 2)) / np.maximum(1, hits)
    loc = np.maximum(1e-10, located) / np.maximum(1e-10, hits)
    found = {"hota": np.sqrt(det * ass), "det_a": det, "ass_a": ass, "loc_a": loc}
    return {name: float(value.mean()) for name, value in found.items()}


def clear_mot(seen: Overlaps) -> dict[str, float]:
    """``mota``, ``motp``, ``id_switches`` and ``fragmentations``.

    A pair of the frame before is kept where it still overlaps enough; the others are paired by overlap.

    Source: Bernardin & Stiefelhagen (2008), "Evaluating multiple object tracking performance: the CLEAR MOT
    metrics".
    """
    if seen.empty:
        return dict.fromkeys(("mota", "motp", "id_switches", "fragmentations"), 0.0)
    last, before = np.full(seen.objects, -1), np.full(seen.objects, -1)  # ever, and in the frame before
    begun = np.zeros(seen.objects)
    hits = switches = 0
    overlap = 0.0
    for a, b, iou in zip(seen.truth, seen.found, seen.iou, strict=True):
        if not len(a) or not len(b):
            continue
        rows, columns = _pairs(iou, b == before[a[:, None]])
        objects, tracks = a[rows], b[columns]
        switches += int(((last[objects] >= 0) & (last[objects] != tracks)).sum())
        fresh = before < 0
        before = np.full(seen.objects, -1)
        last[objects] = before[objects] = tracks
        begun += fresh & (before >= 0)
        hits += len(rows)
        overlap += iou[rows, columns].sum()
    true, got = (sum(map(len, ids)) for ids in (seen.truth, seen.found))
    return {
        "mota": float((hits - (got - hits) - switches) / max(1, true)),
        "motp": float(overlap / max(1, hits)),
        "id_switches": float(switches),
        "fragmentations": float((begun[begun > 0] - 1).sum()),
    }


def _pairs(iou: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pairs of a frame: as many of those of the frame before as still overlap, then others."""
    score = np.where(iou >= MATCH - _EPS, 1000 * before + iou, 0)
    rows, columns = assign(score)
    kept = score[rows, columns] > _EPS
    return rows[kept], columns[kept]


def identity(seen: Overlaps) -> dict[str, float]:
    """``idf1``: F1 of boxes under the best one-to-one pairing of whole tracks with objects.

    Source: Ristani et al. (2016), "Performance measures and a data set for multi-target, multi-camera tracking".
    """
    if seen.empty:
        return {"idf1": 0.0}
    together = np.zeros((seen.objects, seen.tracks))
    for a, b, iou in zip(seen.truth, seen.found, seen.iou, strict=True):
        together[a[:, None], b] += iou >= MATCH
    hits = together[assign(together)].sum()
    true, got = _lengths(seen)
    return {"idf1": float(hits / max(1, (true.sum() + got.sum()) / 2))}


def assign(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the one-to-one pairs whose scores add up to the most (Kuhn, 1955): (N, M) -> 2 x (P,)."""
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(-score)


def _rows(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) float64, also of none."""
    return np.asarray(boxes, float).reshape(-1, 4)


def _counted(frames: Boxes, name: str) -> tuple[list[np.ndarray], int]:
    """The identities of every frame, numbered from 0 in order of their values, and how many there are."""
    ids = [np.asarray(one).reshape(-1) for one, _ in frames]
    for t, (one, (_, boxes)) in enumerate(zip(ids, frames, strict=True)):
        if len(np.unique(one)) < len(one) or len(one) != len(_rows(boxes)):
            raise ValueError(
                f"{name} must have one identity a box and none twice in a frame, got {one.tolist()} for "
                f"{len(_rows(boxes))} boxes in frame {t}"
            )
    known, places = np.unique(np.concatenate([*ids, np.zeros(0, int)]), return_inverse=True)
    return np.split(places, np.cumsum([len(one) for one in ids])[:-1]) if ids else [], len(known)


def _lengths(seen: Overlaps) -> tuple[np.ndarray, np.ndarray]:
    """In how many frames each object is, and each track: (objects,), (tracks,) float64."""
    counts = [np.bincount(np.concatenate(ids), minlength=1) for ids in (seen.truth, seen.found)]
    return counts[0].astype(float), counts[1].astype(float)


def _alignment(seen: Overlaps, true: np.ndarray, got: np.ndarray) -> np.ndarray:
    """Similarity of each track to each object over the whole video, in [0, 1]: (objects, tracks)."""
    shared = np.zeros((seen.objects, seen.tracks))
    for a, b, iou in zip(seen.truth, seen.found, seen.iou, strict=True):
        either = iou.sum(axis=0) + iou.sum(axis=1)[:, None] - iou
        shared[a[:, None], b] += np.divide(iou, either, out=np.zeros_like(iou), where=either > _EPS)
    return shared / (true[:, None] + got - shared)


def boxes_per_frame(boxes: np.ndarray) -> Boxes:
    """Identities and boxes of every frame of tracks (T, K, 4), NaN where one is not in a frame."""
    there = [np.flatnonzero(~np.isnan(rows[:, 0])) for rows in boxes]
    return [(ids, rows[ids]) for ids, rows in zip(there, boxes, strict=True)]
