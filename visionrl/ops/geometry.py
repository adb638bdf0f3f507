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


def unit(vector: Array) -> Array:
    """Vectors (B, n) scaled to length 1."""
    return vector / norm(vector)[:, None]


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


def size4(box: Array) -> Array:
    """Width, height, width and height of boxes, one for each edge: (..., 4) -> (..., 4)."""
    sides = size(box)
    return xp_of(box).concat([sides, sides], axis=-1)


def clip_boxes(box: Array, region: Array) -> Array:
    """Boxes without what lies outside other boxes: (..., 4), (..., 4) -> (..., 4)."""
    xp = xp_of(box)
    low, high = region[..., :2], region[..., 2:]
    return xp.minimum(xp.maximum(box, xp.concat([low, low], axis=-1)), xp.concat([high, high], axis=-1))


def from_relative(box: Array, region: Array) -> Array:
    """Boxes given in sides of other boxes, from (0, 0) to (1, 1), in pixels: (..., 4), (..., 4) -> (..., 4)."""
    low = region[..., :2]
    return xp_of(region).concat([low, low], axis=-1) + box * size4(region)


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


def iou_or_distance(a: Array, b: Array) -> Array:
    """IoU of boxes, and where it is 0, -1e-6 times the pixels between their centers: (..., 4), (..., 4) -> (...)."""
    overlap = iou(a, b)
    return xp_of(a).where(overlap > 0, overlap, -1e-6 * norm(center(a) - center(b)))


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


CROSS_BAR = (
    1 - (2 / 3) ** 0.5
)  # width of a cross's bars, in sides of the box, so that it covers a third of the box


def box_mask(boxes: Array, region: Array, side: int, cross: bool = False) -> Array:
    """Mask of the pixels of a square crop that lie in boxes: (B, K, 4), (B, 4) -> (B, side, side) bool.

    Args:
        boxes: edges in pixels of the image; NaN where there is none.
        region: edges of the crop, likewise.
        side: width and height of the crop, in its own pixels.
        cross: not the whole boxes, but two bars across each that cover a third of it (Caicedo & Lazebnik, 2015).
    """
    xp = xp_of(boxes)
    middles = (xp.arange(side, dtype=boxes.dtype, device=boxes.device) + 0.5) / side
    inside = []
    for axis in (0, 1):
        low, high = region[:, axis, None], region[:, axis + 2, None]
        at = (low + middles[None, :] * (high - low))[:, None, :]  # (B, 1, side), pixels of the image
        first, last = boxes[:, :, axis, None], boxes[:, :, axis + 2, None]
        length, middle = last - first, (first + last) / 2
        whole = (at >= first) & (at < last)
        bar = (at - middle >= -CROSS_BAR * length / 2) & (at - middle < CROSS_BAR * length / 2)
        inside.append([xp.astype(part, xp.float32) for part in (whole, bar)])
    (columns_in, columns_bar), (rows_in, rows_bar) = inside
    if not cross:
        return xp.matmul(xp.matrix_transpose(rows_in), columns_in) > 0
    rows = xp.concat([rows_in, rows_bar], axis=1)
    return xp.matmul(xp.matrix_transpose(rows), xp.concat([columns_bar, columns_in], axis=1)) > 0
