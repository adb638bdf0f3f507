"""The protocols of single-object tracking: scores of a box in one frame (array-API code), and where episodes start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from visionrl import ops
from visionrl.metrics import success_score, within
from visionrl.ops import Array, const, xp_of

GOOD_IOU = 0.7  # overlap that earns the reward of a clip, a frame, or an update

SCORES = ("success_auc", "precision_20px", "norm_precision", "ao", "sr_50", "sr_75")
RADII = tuple(k / 100 for k in range(51))
RATES = (0.5, 0.75)
SKIPS_FIRST = (False, False, False, True, True, True)  # scores that leave the first frame out


@dataclass(frozen=True)
class BoxScores:
    """Scores of boxes that follow an object, now and over the frames that are done in which it is seen; B episodes.

    Attributes:
        frames: (B,) float64, these frames.
        scores: (B, 6) float64, sums of ``SCORES`` over them.
        seen: (B,) float64, 1 if the object is seen in the present frame, else 0.
        iou: (B,) float64, the box's overlap with the object in the present frame.
        center_error: (B,) float64, pixels between their centres.
        reached_iou: (B,) float64, the overlap after the last move, in the frame in which it was made.
    """

    frames: Array
    scores: Array
    seen: Array
    iou: Array
    center_error: Array
    reached_iou: Array


def start_scores(box: np.ndarray, truth: np.ndarray) -> BoxScores:
    """The scores of one episode that begins with a box (4,) where the object is seen (4,)."""
    error, iou = np.float64(ops.norm(ops.center(box) - ops.center(truth))), np.float64(ops.iou(box, truth))
    return BoxScores(np.float64(0), np.zeros(len(SCORES)), np.float64(1), iou, error, iou)


def update_scores(before: BoxScores, box: Array, truth: Array, over: Array, seen: Array) -> BoxScores:
    """The scores once boxes are placed.

    Args:
        before: the scores so far.
        box: (B, 4) edges in pixels.
        truth: (2, B, 4) the object's in the frame in which the boxes are placed, and in the one that is then present.
        over: (B,) bool, the first of them is done.
        seen: (B,) bool, the object is seen in the second.
    """
    xp, counts = xp_of(box), xp_of(box).astype(over, box.dtype) * before.seen
    scores, iou, error = score_boxes(box, truth, before.frames == 0)
    return BoxScores(
        frames=before.frames + counts,
        scores=before.scores + counts[:, None] * scores,
        seen=xp.astype(seen, box.dtype),
        iou=iou[1, :],
        center_error=error[1, :],
        reached_iou=iou[0, :],
    )


def tracking_metrics(known: BoxScores) -> dict[str, Array]:
    """``iou`` and ``center_error_px`` in the present frame, and the mean of each of ``SCORES``; (B,) new arrays."""
    xp = xp_of(known.iou)
    now = {"iou": known.iou, "center_error_px": known.center_error}
    copies = {name: xp.asarray(value, copy=True) for name, value in now.items()}
    return copies | mean_scores(known.scores, known.frames)


def score_boxes(box: Array, truth: Array, first: Array) -> tuple[Array, Array, Array]:
    """Boxes against the truth of the frame in which they are, and of the next.

    Args:
        box: (B, 4) edges in pixels.
        truth: (2, B, 4) the object's in both frames.
        first: (B,) bool, it is the first frame, which GOT-10k (Huang, Zhao & Huang, 2021) leaves out.

    Returns:
        (B, 6) what the frame adds to the sum of each of ``SCORES``, (2, B) overlaps, (2, B) center errors in pixels.
    """
    xp = xp_of(box)
    overlap, apart = ops.iou(box[None, ...], truth), ops.center(box)[None, ...] - ops.center(truth)
    error, iou, sides = ops.norm(apart), overlap[0, :], ops.size(truth[0, ...])
    above = xp.astype(iou[:, None] > const(RATES, iou), iou.dtype)
    columns = (success_score(iou), within(error[0, :], 20.0), norm_precision(apart[0, ...] / sides), iou)
    scores = xp.concat([*(column[:, None] for column in columns), above], axis=1)
    return xp.where(first[:, None] & const(SKIPS_FIRST, first), 0.0, scores), overlap, error


def mean_scores(scores: Array, frames: Array) -> dict[str, Array]:
    """The mean of each of ``SCORES``, (B,), of (B, 6) sums over so many (B,) frames; 0 where none counted."""
    counts = xp_of(scores).maximum(frames[:, None] - const(SKIPS_FIRST, frames), 1.0)
    return dict(zip(SCORES, ops.columns(scores / counts), strict=True))


def norm_precision(apart: Array) -> Array:
    """Share of the 51 radii 0, 0.01, ..., 0.5 within which a midpoint lies, in sides of the object: (..., 2) -> (...).

    Its mean over frames is the area under the curve of normalised precision (Müller et al., 2018, TrackingNet).
    """
    xp, gap = xp_of(apart), ops.norm(apart)
    return xp.sum(xp.astype(gap[..., None] <= const(RADII, gap), gap.dtype), axis=-1) / len(RADII)


# -- robustness evaluation: where episodes start (Wu, Lim & Yang, 2013) ------------------------------------------------
SEGMENTS = 20  # of temporal robustness evaluation (TRE)
MIN_SEGMENT = 20  # frames of a segment, where the video has as many
# changes of the box in spatial robustness evaluation (SRE): (dx, dy) in its sides, and a factor of its size
PERTURBATIONS = (
    *((-0.1, 0, 1), (0.1, 0, 1), (0, -0.1, 1), (0, 0.1, 1)),
    *((-0.1, -0.1, 1), (0.1, -0.1, 1), (-0.1, 0.1, 1), (0.1, 0.1, 1)),
    *((0, 0, 0.8), (0, 0, 0.9), (0, 0, 1.1), (0, 0, 1.2)),
)
STARTS = {"first": 1, "temporal": SEGMENTS, "spatial": len(PERTURBATIONS)}
"""Episodes that one video makes."""


def episode_span(
    rng: np.random.Generator, seen: np.ndarray, clip: int | None, start: str, part: int
) -> tuple[int, int]:
    """First and last frame of an episode; the object is seen in the first.

    Args:
        rng: draws the clip, from all that begin where the object is seen.
        seen: (T,) bool, in which frames that is.
        clip: frames; None for all to the end.
        start: a key of ``STARTS``.
        part: number of the video's episode.
    """
    length = min(clip or len(seen), len(seen))
    if start == "temporal":
        first = segment_start(seen, part)
        return first, min(first + length, len(seen)) - 1
    places = np.flatnonzero(seen[: len(seen) - length + 1])
    first = int(places[rng.integers(len(places))])
    return first, first + length - 1


def segment_start(seen: np.ndarray, part: int) -> int:
    """The frame with which a segment begins.

    The first begins with the video, the last 20 frames before its end, the others at equal steps between, by the
    rule of the benchmark's own program: only frames count in which the object is seen.
    """
    places = np.flatnonzero(seen[: max(len(seen) - MIN_SEGMENT + 1, 1)])
    return int(places[min(part * len(places) // (SEGMENTS - 1), len(places) - 1)])


def perturb_box(box: np.ndarray, part: int) -> np.ndarray:
    """(4,) edges of a box that is shifted by a tenth of its sides, or scaled; see ``PERTURBATIONS``."""
    dx, dy, factor = PERTURBATIONS[part]
    size = box[2:] - box[:2]
    center, half = (box[:2] + box[2:]) / 2 + size * [dx, dy], size * factor / 2
    return np.concatenate([center - half, center + half])


def verdict(iou: Array) -> Array:
    """1.0 where an overlap exceeds ``GOOD_IOU``, else -1.0: (B,) -> (B,)."""
    return 2 * xp_of(iou).astype(iou > GOOD_IOU, iou.dtype) - 1
