"""Boxes and points of B episodes at once, in array-API code.

Convention
    Points (..., 2) are (x, y). Boxes (..., 4) are edges (x0, y0, x1, y1). Both in pixels, float64; pixel ``j``
    of a row spans ``j`` to ``j + 1`` for boxes.
"""

from __future__ import annotations

from visionrl.ops.xp import Array, xp_of


def norm(vector: Array) -> Array:
    """Euclidean length over the last axis: (..., n) -> (...)."""
    xp = xp_of(vector)
    return xp.sqrt(xp.sum(vector * vector, axis=-1))


def center(box: Array) -> Array:
    """Midpoints of boxes: (..., 4) -> (..., 2), (x, y)."""
    return (box[..., :2] + box[..., 2:]) / 2


def size(box: Array) -> Array:
    """Widths and heights of boxes: (..., 4) -> (..., 2)."""
    return box[..., 2:] - box[..., :2]


def box_around(center: Array, size: Array) -> Array:
    """Boxes with these midpoints and (width, height): (..., 2), (..., 2) -> (..., 4)."""
    return xp_of(center).concat([center - size / 2, center + size / 2], axis=-1)


def area(box: Array) -> Array:
    """Areas of boxes, 0 where an edge is out of order: (..., 4) -> (...)."""
    xp = xp_of(box)
    width = xp.clip(box[..., 2] - box[..., 0], 0, None)
    return width * xp.clip(box[..., 3] - box[..., 1], 0, None)


def iou(a: Array, b: Array) -> Array:
    """Intersection over union of boxes (Jaccard): (..., 4), (..., 4) -> (...), in [0, 1].

    Two boxes that both have no area overlap by 0.
    """
    xp = xp_of(a)
    low, high = xp.maximum(a[..., :2], b[..., :2]), xp.minimum(a[..., 2:], b[..., 2:])
    shared = area(xp.concat([low, high], axis=-1))
    union = area(a) + area(b) - shared
    return xp.where(union > 0, shared / xp.where(union > 0, union, xp.ones_like(union)), xp.zeros_like(union))
