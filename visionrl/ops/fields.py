"""Displacement fields of B episodes on lattices of nodes, in 2D and 3D alike; array-API code.

Convention
    Fields are (B, n, ..., n, d), displacements in pixels, in the order (x, y) or (x, y, z); their lattice axes are in
    the order of arrays, (y, x) or (z, y, x). Nodes lie evenly from an image's first pixel to its last; in between a
    field is linear along each axis. Images are (N,) uint8, one after the other, each side^d pixels; outside they are 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrl.ops import Array, columns, const, xp_of


def linear_basis(places: Array, nodes: int, step: float) -> Array:
    """Weights of the nodes at positions along one axis, piecewise linear: (..., w) pixels -> (..., w, nodes)."""
    xp = xp_of(places)
    line = const(tuple(float(k) for k in range(nodes)), places)
    at = xp.clip(places / step, 0.0, float(nodes - 1))
    return xp.maximum(1 - xp.abs(at[..., None] - line), xp.zeros_like(at)[..., None])


def at_grid(field: Array, weights: Sequence[Array]) -> Array:
    """Evaluates a field (B, n, ..., n, d) on a grid by weights (B, w, n) along each array axis: (B, w, ..., w, d)."""
    xp = xp_of(field)
    for axis, weight in enumerate(weights, start=1):
        order = (0, axis, *(k for k in range(1, field.ndim) if k != axis))
        turned = xp.permute_dims(field, order)
        flat = xp.matmul(weight, xp.reshape(turned, (*turned.shape[:2], -1)))
        back = tuple(order.index(k) for k in range(field.ndim))
        field = xp.permute_dims(xp.reshape(flat, (*flat.shape[:2], *turned.shape[2:])), back)
    return field


def at_points(field: Array, points: Array, step: float) -> Array:
    """A field (B, n, ..., n, d) at any places: (B, P, d) pixels -> (B, P, d)."""
    xp, axes = xp_of(field), points.shape[-1]
    found = xp.reshape(field, (field.shape[0], 1, -1))
    for k in reversed(range(axes)):  # z, y, x
        weight = linear_basis(points[..., k], field.shape[1], step)
        flat = xp.reshape(found, (*found.shape[:2], weight.shape[-1], -1))
        if k == axes - 1:  # one field for all points: no copy for each of them
            found = xp.matmul(weight, flat[:, 0, ...])
        else:
            found = xp.matmul(weight[:, :, None, :], flat)[:, :, 0, :]
    return found


def gradient(values: Array, axis: int) -> Array:
    """Central differences along an axis, counted from behind; one-sided at both ends, as in ``numpy.gradient``."""
    xp = xp_of(values)
    index = [slice(None)] * values.ndim

    def part(start: int | None, stop: int | None) -> Array:
        index[axis] = slice(start, stop)
        return values[tuple(index)]

    ends = part(1, 2) - part(0, 1), part(-1, None) - part(-2, -1)
    return xp.concat([ends[0], (part(2, None) - part(None, -2)) / 2, ends[1]], axis=axis)


def mesh(places: Sequence[Array]) -> Array:
    """(B, w, ..., w, d) positions from those (B, w) along x, y (and z)."""
    xp, axes, (rows, wide) = xp_of(places[0]), len(places), places[0].shape
    parts = []
    for k, line in enumerate(places):
        shape = [rows, *[1] * axes]
        shape[axes - k] = wide
        parts.append(xp.broadcast_to(xp.reshape(line, tuple(shape)), (rows, *[wide] * axes)))
    return xp.stack(parts, axis=-1)


def sample_linear(images: Array, first: Array, places: Array, side: int) -> Array:
    """Values of images at positions, linearly: (B, ..., d) float64 -> (B, ...) uint8; outside is 0.

    Args:
        images: (N,) uint8.
        first: (B,) int64, number of each image's first pixel.
        places: in pixels.
        side: of the images.
    """
    xp, axes = xp_of(places), places.shape[-1]
    low = xp.floor(xp.clip(places, -2.0, side + 1.0))
    share = xp.astype(places - low, xp.float32)
    whole = xp.astype(low, xp.int64)
    start = xp.reshape(first, (-1, *[1] * (places.ndim - 2)))
    ends = []  # of each axis: what the lower and the upper neighbour add to the pixel's number, and their weights
    for k, (low, part) in enumerate(zip(columns(whole), columns(share), strict=True)):
        both = []
        for place, weight in ((low, 1 - part), (low + 1, part)):
            inside = xp.astype((place >= 0) & (place <= side - 1), xp.float32)
            both.append((xp.clip(place, 0, side - 1) * side**k, weight * inside))
        ends.append(both)
    total = xp.zeros_like(share[..., 0])
    for corner in np.ndindex(*[2] * axes):
        number, weight = start, 1.0
        for both, up in zip(ends, corner, strict=True):
            number, weight = number + both[up][0], weight * both[up][1]
        value = xp.take(images, xp.reshape(number, (-1,)), axis=0)
        total = total + weight * xp.astype(xp.reshape(value, number.shape), xp.float32)
    return xp.astype(xp.round(xp.clip(total, 0.0, 255.0)), xp.uint8)


def sample_nearest(images: Array, image: Array, places: list[Array], side: int) -> Array:
    """Labels of images at the pixels nearest to positions, (B, ...) along x, y (and z): (B, ...) uint8.

    Args:
        images: (N,) uint8, each with a border of one pixel of 0, (side + 2)^d in all.
        image: (B,) int64, number of each row's image.
        places: float64, in pixels, from the first pixel that is not of the border.
        side: of the images, without the border.
    """
    xp, wide = xp_of(image), side + 2
    number = xp.reshape(xp.astype(image, places[0].dtype), (-1, *[1] * (places[0].ndim - 1)))
    for place in reversed(places):  # z, y, x
        number = number * wide + (xp.round(xp.clip(place, -1.0, float(side))) + 1)
    value = xp.take(images, xp.reshape(xp.astype(number, xp.int64), (-1,)), axis=0)
    return xp.reshape(value, number.shape)


def cubic_bspline(distance: Array) -> Array:
    """A cubic B-spline at distances >= 0 in widths from its middle, where it is 1; 0 from 2 widths on."""
    xp = xp_of(distance)
    near = 1 - 1.5 * distance**2 + 0.75 * distance**3
    far = 0.25 * xp.clip(2 - distance, 0.0, 2.0) ** 3
    return xp.where(distance < 1, near, far)
