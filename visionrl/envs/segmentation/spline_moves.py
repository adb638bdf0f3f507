"""Moves of a spline's points as candidates: each is described by what lies along it; array-API code."""

from __future__ import annotations

from collections.abc import Sequence

from visionrl.ops import Array, const, xp_of

PROFILE = (-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0)  # places along a move, pixels of a window of 56
NUMBERS = 2 * len(PROFILE) + 8
FLOOR = 0.003  # of a variance of colours in [0, 1]
LARGEST = 4.0  # of a logarithm of a ratio


def describe_moves(
    windows: Array, mask: Array, vertices: Array, boxes: Array, ways: Sequence[tuple[int, int]]
) -> Array:
    """(B, points * 2 * ways + 1, NUMBERS) float32 in [-1, 1], a row a move in the order of the actions, the last to stop.

    Of each move there are: along its direction, how much more the colours resemble the inside of the contour than the
    outside (Chan & Vese, 2001, with a Gaussian each) and the grey levels; how far it goes; whether it goes outward;
    how it bends the contour; the distance to the box on that side and on the other; whether it is the end.

    Args:
        windows: (B, C, S, S) uint8.
        mask: (B, S, S) bool, inside the contour.
        vertices: (B, points, 2) float64, pixels.
        boxes: (B, 4) float64, pixels.
        ways: directions (x, y) of length 1.
    """
    xp, side, count = xp_of(vertices), mask.shape[-1], vertices.shape[1]
    unit, rows = side / 56, mask.shape[0]
    image = xp.astype(windows, xp.float32) / 255
    maps = xp.stack([likelihood(image, mask), xp.mean(image, axis=1)], axis=1)
    directions = const(tuple((float(x), float(y)) for x, y in ways), vertices)
    far = const(tuple(unit * one for one in PROFILE), vertices)
    places = vertices[:, :, None, None, :] + far[:, None] * directions[:, None, :]
    seen = sample_maps(maps, xp.reshape(places, (rows, -1, 2)))
    seen = xp.reshape(seen, (rows, 2, count, len(ways), len(PROFILE)))
    grey = seen[:, 1, ...] - seen[:, 1, :, :, 3:4]
    shape = shape_numbers(vertices, boxes, directions, side)
    each = xp.concat([seen[:, 0, ...], grey, xp.astype(shape, xp.float32)], axis=-1)
    blank = xp.zeros_like(each[..., :1])
    both = [xp.concat([each, blank + flag, blank], axis=-1) for flag in (-1.0, 1.0)]
    moves = xp.reshape(xp.concat(both, axis=2), (rows, -1, NUMBERS))
    stop = xp.concat([xp.zeros_like(moves[:, :1, :-1]), xp.ones_like(moves[:, :1, :1])], axis=-1)
    return xp.clip(xp.concat([moves, stop], axis=1), -1.0, 1.0)


def likelihood(image: Array, mask: Array) -> Array:
    """(B, S, S) float32 in [-1, 1], how much likelier a colour is inside than outside, as a logarithm.

    Args:
        image: (B, C, S, S) float32 in [0, 1].
        mask: (B, S, S) bool.
    """
    xp = xp_of(image)
    found = xp.zeros_like(image[:, 0, ...])
    for sign, part in ((1.0, mask), (-1.0, ~mask)):
        weight = xp.astype(part, xp.float32)[:, None, :, :]
        total = xp.sum(weight, axis=(2, 3), keepdims=True) + 1.0
        mean = xp.sum(image * weight, axis=(2, 3), keepdims=True) / total
        spread = xp.sum((image - mean) ** 2 * weight, axis=(2, 3), keepdims=True) / total + FLOOR
        fit = -0.5 * ((image - mean) ** 2 / spread + xp.log(spread))
        found = found + sign * xp.mean(fit, axis=1)
    return xp.clip(found, -LARGEST, LARGEST) / LARGEST


def sample_maps(maps: Array, places: Array) -> Array:
    """(B, K, N) values of (B, K, S, S) maps at (B, N, 2) places, the nearest pixel; the border's beyond it."""
    xp, (rows, kinds, side, _) = xp_of(maps), maps.shape
    cell = xp.clip(xp.astype(xp.floor(places), xp.int64), 0, side - 1)
    inner = cell[..., 1] * side + cell[..., 0]
    start = const(tuple(range(0, rows * kinds * side * side, side * side)), inner)
    index = inner[:, None, :] + xp.reshape(start, (rows, kinds, 1))
    flat = xp.take(xp.reshape(maps, (-1,)), xp.reshape(index, (-1,)))
    return xp.reshape(flat, (rows, kinds, places.shape[1]))


def shape_numbers(vertices: Array, boxes: Array, directions: Array, side: int) -> Array:
    """(B, points, ways, 6) float64: outward, bend, towards either neighbour, to the box ahead and behind."""
    xp = xp_of(vertices)
    before, after = xp.roll(vertices, 1, axis=1), xp.roll(vertices, -1, axis=1)
    along = after - before
    length = xp.sqrt(xp.sum(along**2, axis=-1, keepdims=True)) + 1e-6
    outward = xp.stack([along[..., 1], -along[..., 0]], axis=-1) / length
    bend, back, on = (before + after) / 2 - vertices, before - vertices, after - vertices
    turned = [xp.sum(one[:, :, None, :] * directions, axis=-1) for one in (outward, bend, back, on)]
    low, high = vertices - boxes[:, None, :2], boxes[:, None, 2:] - vertices
    ahead, behind = (
        xp.sum(
            xp.where(directions > 0, first[:, :, None, :], second[:, :, None, :]) * xp.abs(directions),
            axis=-1,
        )
        for first, second in ((high, low), (low, high))
    )
    scaled = [turned[0], *(4 * one / side for one in turned[1:]), 4 * ahead / side, 4 * behind / side]
    return xp.stack(scaled, axis=-1)
