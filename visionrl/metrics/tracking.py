"""How well a box lies on the object in one frame, as the benchmarks of tracking count it; array-API code."""

from __future__ import annotations

from visionrl import ops
from visionrl.metrics import success_score, within
from visionrl.ops import Array, const, xp_of

SCORES = ("success_auc", "precision_20px", "norm_precision", "ao", "sr_50", "sr_75")
RADII = tuple(k / 100 for k in range(51))
RATES = (0.5, 0.75)
LATER = (False, False, False, True, True, True)  # which of the scores leave the first frame out


def frame_scores(apart: Array, sides: Array, iou: Array, gap: Array, first: Array) -> Array:
    """(B, 6): what a frame adds to the sum of each of ``SCORES``.

    Args:
        apart: (B, 2) from the object's midpoint to the box's, pixels.
        sides: (B, 2) width and height of the object.
        iou: (B,) overlap of the two.
        gap: (B,) length of ``apart``.
        first: (B,) bool, it is the first frame, which GOT-10k (Huang, Zhao & Huang, 2021) leaves out.
    """
    xp = xp_of(iou)
    above = xp.astype(iou[:, None] > const(RATES, iou), iou.dtype)
    columns = (success_score(iou), within(gap, 20.0), norm_precision(apart / sides), iou)
    scores = xp.concat([*(column[:, None] for column in columns), above], axis=1)
    return xp.where(first[:, None] & const(LATER, first), 0.0, scores)


def means(scores: Array, frames: Array) -> dict[str, Array]:
    """The mean of each of ``SCORES``, (B,), of (B, 6) sums over so many (B,) frames; 0 where none counted."""
    xp = xp_of(scores)
    counts = [xp.maximum(frames, 1.0)] * 3 + [xp.maximum(frames - 1, 1.0)] * 3
    return {name: scores[:, k] / count for k, (name, count) in enumerate(zip(SCORES, counts, strict=True))}


def norm_precision(apart: Array) -> Array:
    """Share of the 51 radii 0, 0.01, ..., 0.5 within which a midpoint lies, in sides of the object: (..., 2) -> (...).

    Its mean over frames is the area under the curve of normalised precision (Müller et al., 2018, TrackingNet).
    """
    xp, gap = xp_of(apart), ops.norm(apart)
    return xp.sum(xp.astype(gap[..., None] <= const(RADII, gap), gap.dtype), axis=-1) / len(RADII)
