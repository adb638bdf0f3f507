"""Boxes that are carried from frame to frame by their velocities until the next detection; array API."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from visionrl import ops
from visionrl.metrics.matching import mutual_pairs, pairwise_overlap
from visionrl.ops import Array, xp_of

CONTINUED = 0.1  # least IoU of a detection with the predicted box that it continues
PER_BOX, SUMMARY = 12, 8  # numbers about each box, and about all of them
INSIDE = 0.25  # least part of a box that lies in the frame; others are dropped


@dataclass(frozen=True, kw_only=True)
class Carried:
    """The boxes of a frame; B episodes of M boxes, by falling score, NaN for none.

    Attributes:
        boxes: (B, M, 4) float64, edges in pixels, which may lie outside.
        scores: (B, M) float64, of their detections.
        velocity: (B, M, 2) float64, pixels a frame; 0 for none.
        anchor: (B, M, 2) float64, the centres when the detector ran.
        hits: (B, M) float64, detections in a row that show what the box shows.
        since: (B,) int64, frames since the detector ran.
        tally: (B, 3) float64, how many boxes it continued, lost and found new when it ran.
    """

    boxes: Array
    scores: Array
    velocity: Array
    anchor: Array
    hits: Array
    since: Array
    tally: Array

    @staticmethod
    def begin(found: np.ndarray) -> Carried:
        """The boxes (M, 5) of the first frame, all of them new, without the axis B."""
        there = ~np.isnan(found[:, 4])
        return Carried(
            boxes=found[:, :4].copy(),
            scores=found[:, 4].copy(),
            velocity=np.zeros((len(found), 2)),
            anchor=ops.center(found[:, :4]),
            hits=there.astype(float),
            since=np.int64(0),
            tally=np.array([0.0, 0.0, there.sum()]),
        )


def carried_of(state: Carried) -> Carried:
    """The boxes alone of a state that has more."""
    return Carried(**{name: getattr(state, name) for name in Carried.__dataclass_fields__})


def moved(state: Carried, velocity: Array, sides: Array) -> Carried:
    """The boxes one frame on; those that leave the frame, (B, 1, 2) pixels, are dropped."""
    xp = xp_of(velocity)
    boxes = state.boxes + xp.concat([velocity, velocity], axis=-1)
    whole = ops.area(boxes)
    out = ~(ops.area(clipped(boxes, sides)) >= INSIDE * whole)
    nan = xp.full_like(whole, xp.nan)
    return replace(
        carried_of(state),
        boxes=xp.where(out[..., None], nan[..., None], boxes),
        scores=xp.where(out, nan, state.scores),
        velocity=xp.where(out[..., None], xp.zeros_like(velocity), velocity),
        since=state.since + 1,
    )


def detect(state: Carried, found: Array, runs: Array) -> Carried:
    """The boxes of rows where the detector runs, (B,) bool, replaced by what it finds, (B, M, 5); ``state`` is moved."""
    xp = xp_of(found)
    boxes, there, known = found[..., :4], ~xp.isnan(found[..., 4]), ~xp.isnan(state.scores)
    pairs = xp.astype(mutual_pairs(pairwise_overlap(boxes, state.boxes), CONTINUED), found.dtype)
    continued = xp.sum(pairs, axis=2)
    zero = xp.zeros_like(state.velocity)
    anchor = xp.matmul(pairs, xp.where(known[..., None], state.anchor, zero))
    since = xp.astype(state.since, found.dtype)[:, None, None]
    center = ops.center(boxes)
    velocity = xp.where(continued[..., None] > 0, (center - anchor) / since, zero)
    count = xp.sum(continued, axis=1)
    usual = xp.sum(velocity, axis=1) / xp.where(count > 0, count, xp.ones_like(count))[:, None]
    velocity = xp.where((there & (continued == 0))[..., None], usual[:, None, :] + zero, velocity)
    old, new = (xp.sum(xp.astype(rows, found.dtype), axis=1) for rows in (known, there))
    fresh = Carried(
        boxes=boxes,
        scores=found[..., 4],
        velocity=velocity,
        anchor=center,
        hits=xp.matmul(pairs, xp.where(known, state.hits, xp.zeros_like(state.hits))[..., None])[..., 0]
        + xp.astype(there, found.dtype),
        since=xp.zeros_like(state.since),
        tally=xp.stack([count, old - count, new - count], axis=1),
    )

    def chosen(name: str) -> Array:
        one, other = getattr(fresh, name), getattr(state, name)
        return xp.where(xp.reshape(runs, (-1,) + (1,) * (one.ndim - 1)), one, other)

    return Carried(**{name: chosen(name) for name in Carried.__dataclass_fields__})


def describe(
    state: Carried, share: Array, sides: Array, inside: Array, now: Array, ahead: Array
) -> tuple[Array, list[Array]]:
    """Numbers about each box, (B, M, 12) in [-1, 1], 0 for none, and about all of them, eight of (B,).

    Args:
        state: the boxes.
        share: (B, M, 4) the same in sides of the frame.
        sides: (B, 1, 2) of the frame, pixels.
        inside: (B, M) change of the picture in each.
        now: (B, M) drift of each.
        ahead: (B, M) drift if it goes on with its velocity.
    """
    xp, there = xp_of(inside), ~xp_of(inside).isnan(state.scores)
    speed = state.velocity / ops.size(state.boxes)
    pairs = pairwise_overlap(state.boxes, state.boxes)
    same = xp.eye(pairs.shape[1], dtype=pairs.dtype, device=pairs.device)
    crowd = xp.max(pairs * (1 - same), axis=2)
    rest = xp.stack([state.scores, state.hits / 5, 4 * inside, crowd, now, ahead], axis=-1)
    each = xp.concat([2 * ops.center(share) - 1, ops.size(share), 4 * speed, rest], axis=-1)
    each = xp.clip(xp.where(there[..., None], each, xp.zeros_like(each)), -1, 1)
    count = xp.sum(xp.astype(there, inside.dtype), axis=1)
    full = xp.where(count > 0, count, xp.ones_like(count))

    def mean(values: Array) -> Array:
        return xp.sum(xp.where(there, values, xp.zeros_like(values)), axis=1) / full

    tally = state.tally / (full + 1)[:, None]
    means = [mean(values) for values in (4 * ops.norm(speed), state.scores, now, ahead)]
    return each, [count / 20, *(tally[:, k] for k in range(3)), *means]


def clipped(boxes: Array, sides: Array) -> Array:
    """Boxes (..., M, 4) without what lies outside the frame, (..., 1, 2) or (2,) pixels."""
    xp = xp_of(boxes)
    zero = xp.zeros_like(sides)
    return ops.clip_boxes(boxes, xp.concat([zero, sides], axis=-1))


def boxes_inside(boxes: Array, scores: Array, sides: Array) -> Array:
    """(..., M, 5) what is shown of boxes and their scores: the part in the frame."""
    return xp_of(boxes).concat([clipped(boxes, sides), scores[..., None]], axis=-1)
