"""Boxes and points of B episodes at once, in array-API code.

Convention
    Points (..., 2) are (x, y). Boxes (..., 4) are edges (x0, y0, x1, y1). Both in pixels, float64; pixel ``j``
    of a row spans ``j`` to ``j + 1`` for boxes.
"""

from __future__ import annotations

from functools import reduce
from operator import add, and_

from visionrl.ops.xp import Array, xp_of


def norm(vector: Array) -> Array:
    """Euclidean length over the last axis: (..., n) -> (...)."""
    return xp_of(vector).sqrt(reduce(add, columns(vector * vector)))


def same(a: Array, b: Array) -> Array:
    """True where points or boxes are equal: (..., n), (..., n) -> (...) bool."""
    return reduce(and_, (x == y for x, y in zip(columns(a), columns(b), strict=True)))


def every(flags: Array) -> Array:
    """True where all values over a short last axis are: (..., n) bool -> (...)."""
    return reduce(and_, columns(flags))


def columns(rows: Array) -> list[Array]:
    """The components of points or boxes: (..., n) -> n of (...); faster to combine than a short axis is to reduce."""
    return [rows[..., k] for k in range(rows.shape[-1])]


def center(box: Array) -> Array:
    """Midpoints of boxes: (..., 4) -> (..., 2), (x, y)."""
    return (box[..., :2] + box[..., 2:]) / 2


def size(box: Array) -> Array:
    """Widths and heights of boxes: (..., 4) -> (..., 2)."""
    return box[..., 2:] - box[..., :2]


def box_around(center: Array, size: Array) -> Array:
    """Boxes with these midpoints and (width, height): (..., 2), (..., 2) -> (..., 4)."""
    half = size / 2
    return xp_of(center).concat([center - half, center + half], axis=-1)


def area(box: Array) -> Array:
    """Areas of boxes, 0 where an edge is out of order: (..., 4) -> (...)."""
    return _area(box[..., :2], box[..., 2:])


def iou(a: Array, b: Array) -> Array:
    """Intersection over union of boxes (Jaccard): (..., 4), (..., 4) -> (...), in [0, 1].

    Two boxes that both have no area overlap by 0.
    """
    xp = xp_of(a)
    shared = _area(xp.maximum(a[..., :2], b[..., :2]), xp.minimum(a[..., 2:], b[..., 2:]))
    union = area(a) + area(b) - shared
    return shared / xp.where(union > 0, union, 1.0)  # where the union is 0, so is what they share


def giou(a: Array, b: Array) -> Array:
    """Generalised intersection over union (Rezatofighi et al., 2019): (..., 4), (..., 4) -> (...), in (-1, 1].

    The IoU less the share of the box around both that neither covers, so that it grows as boxes that do not overlap
    draw near.
    """
    xp = xp_of(a)
    hull = area(xp.concat([xp.minimum(a[..., :2], b[..., :2]), xp.maximum(a[..., 2:], b[..., 2:])], axis=-1))
    overlap = iou(a, b)
    union = (area(a) + area(b)) / (1 + overlap)
    return overlap - (hull - union) / xp.where(hull > 0, hull, 1.0)


def _area(low: Array, high: Array) -> Array:
    """Area of boxes between two corners: (..., 2), (..., 2) -> (...)."""
    sides = xp_of(low).maximum(high - low, 0.0)
    return sides[..., 0] * sides[..., 1]
