"""Masks of polygons by the even-odd rule: exact, edge by edge, in functions of the Python array API.

A pixel is inside if a ray from its centre to the right crosses an odd number of edges. So the mask of a polygon is the
exclusive or of one mask an edge, and a vertex that joins it at the end changes the mask of three edges: a triangle.
Each edge is looked at from its lower end, whichever way it is run through, so that edges that two polygons share
cancel to the last pixel.

Convention
    Vertices are (x, y) in pixels, edges of the image at 0 and at its width: pixel ``j`` spans ``j`` to ``j + 1``.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from visionrl.ops.xp import Array, const, xp_of

AT_ONCE = 16  # edges whose masks are held at a time


def edge_mask(start: Array, end: Array, height: int, width: int) -> Array:
    """(..., height, width) bool, the pixels whose ray to the right crosses an edge.

    Args:
        start: (..., 2) float64, (x, y) of one end.
        end: (..., 2) float64, of the other; swapped ends give the same mask.
        height: rows.
        width: columns.
    """
    xp = xp_of(start)
    rows = const(centres(height), start)
    swap = (start[..., 1] > end[..., 1])[..., None]
    low, high = xp.where(swap, end, start), xp.where(swap, start, end)
    span = high - low
    beside = (low[..., 1, None] <= rows) & (rows < high[..., 1, None])
    rise = xp.where(span[..., 1] > 0, span[..., 1], xp.ones_like(span[..., 1]))
    at = low[..., 0, None] + (rows - low[..., 1, None]) * (span[..., 0] / rise)[..., None]
    left = xp.where(beside, xp.clip(xp.ceil(at - 0.5), 0.0, float(width)), xp.zeros_like(at))
    count = xp.astype(left, xp.int16)[..., None]  # centres to the left of the edge in each row
    return const(numbers(width), count) < count


@lru_cache
def centres(count: int) -> tuple[float, ...]:
    """Centres of so many pixels."""
    return tuple(k + 0.5 for k in range(count))


@lru_cache
def numbers(count: int) -> tuple[int, ...]:
    """Whole numbers from 0."""
    return tuple(range(count))


def triangle_mask(first: Array, before: Array, new: Array, height: int, width: int) -> Array:
    """(..., height, width) bool, what changes in a polygon's mask when a vertex joins it.

    Args:
        first: (..., 2) float64, the polygon's first vertex.
        before: (..., 2) float64, its last one so far.
        new: (..., 2) float64, the one that joins it.
        height: rows.
        width: columns.
    """
    sides = ((first, before), (before, new), (new, first))
    one, two, three = (edge_mask(start, end, height, width) for start, end in sides)
    return one ^ two ^ three


def polygon_mask(vertices: Array, height: int, width: int) -> Array:
    """(..., height, width) bool of polygons of n vertices each; vertices that repeat change nothing.

    Args:
        vertices: (..., n, 2) float64.
        height: rows.
        width: columns.
    """
    xp, count = xp_of(vertices), vertices.shape[-2]
    ends, found = xp.roll(vertices, -1, axis=-2), None
    for k in range(0, count, AT_ONCE):
        some = slice(k, min(k + AT_ONCE, count))
        edges = edge_mask(vertices[..., some, :], ends[..., some, :], height, width)
        odd = xp.sum(xp.astype(edges, xp.uint8), axis=-3, dtype=xp.uint8) % 2 == 1
        found = odd if found is None else found ^ odd
    return found


def crosses(start: Array, end: Array, starts: Array, ends: Array) -> Array:
    """(..., n) bool, whether a segment properly crosses each of n others; sharing an end is no crossing.

    Args:
        start: (..., 2) float64, one end.
        end: (..., 2) float64, the other.
        starts: (..., n, 2) float64.
        ends: (..., n, 2) float64.
    """
    a, b = start[..., None, :], end[..., None, :]
    return (side(a, b, starts) * side(a, b, ends) < 0) & (side(starts, ends, a) * side(starts, ends, b) < 0)


def side(start: Array, end: Array, point: Array) -> Array:
    """(...) twice the signed area of a triangle: on which side of a line a point lies, 0 on it."""
    along, toward = end - start, point - start
    return along[..., 0] * toward[..., 1] - along[..., 1] * toward[..., 0]


def closed_spline(points: Array, pieces: int = 8) -> Array:
    """(..., n * pieces, 2) vertices along a closed curve through n points (Catmull and Rom, 1974).

    Args:
        points: (..., n, 2) float64.
        pieces: vertices from each point to the next.
    """
    xp, n = xp_of(points), points.shape[-2]
    before, after = xp.roll(points, 1, axis=-2), xp.roll(points, -1, axis=-2)
    behind = xp.roll(points, -2, axis=-2)
    share = const(tuple(k / pieces for k in range(pieces)), points)[:, None]
    a, b, c, d = (part[..., None, :] for part in (before, points, after, behind))
    slope, bend, turn = c - a, 2 * a - 5 * b + 4 * c - d, d - a + 3 * (b - c)
    curve = b + 0.5 * share * (slope + share * (bend + share * turn))
    return xp.reshape(curve, (*points.shape[:-2], n * pieces, 2))


def signed_area(vertices: np.ndarray) -> float:
    """Area of an (n, 2) polygon, positive where it is clockwise as seen, with y down."""
    x, y = vertices.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)
