"""What a correlation filter compares: edges by direction and soft histograms of colour, cell by cell; array-API code."""

from __future__ import annotations

from math import cos, pi, sin

from visionrl.ops import Array, const, xp_of

CELL = 2  # pixels of a cell's side
DIRECTIONS = 6  # of edges, over half a turn
TONES = 4  # bins of a colour
FLOOR = 0.02  # edges weaker than this stay weak, in grey levels of 1
TURNS = tuple((cos(pi * k / DIRECTIONS), sin(pi * k / DIRECTIONS)) for k in range(DIRECTIONS))
NARROW = cos(pi / DIRECTIONS)


def described(window: Array) -> Array:
    """(B, D, n, n) float32 of windows (B, C, 2n, 2n) uint8; D is 10 for one channel and 18 for three.

    The first 6 are edges by direction, in each cell relative to the edges around it (after Dalal & Triggs, 2005, with
    projections in the place of angles); then 4 bins of brightness, and of red against green and of blue against yellow.
    """
    xp = xp_of(window)
    pixels = xp.astype(window, xp.float32) / 255
    return xp.concat([edges(xp.mean(pixels, axis=1)), tones(pooled(pixels))], axis=1)


def edges(grey: Array) -> Array:
    """(B, 6, n, n) of brightness (B, 2n, 2n): how strong edges of each direction are, in [0, 1]."""
    xp = xp_of(grey)
    row, column = xp.zeros_like(grey[:, :1, :]), xp.zeros_like(grey[:, :, :1])
    dx = xp.concat([column, grey[:, :, 2:] - grey[:, :, :-2], column], axis=2)
    dy = xp.concat([row, grey[:, 2:, :] - grey[:, :-2, :], row], axis=1)
    turns, length = const(TURNS, grey), xp.sqrt(dx * dx + dy * dy)
    along = dx[:, None, ...] * turns[:, 0][:, None, None] + dy[:, None, ...] * turns[:, 1][:, None, None]
    strength = pooled(xp.maximum(xp.abs(along) - NARROW * length[:, None, ...], 0.0) / (1 - NARROW))
    return xp.minimum(strength / (around(strength) + FLOOR), 1.0)


def around(strength: Array) -> Array:
    """(B, 1, n, n) length of (B, D, n, n) vectors, the mean of 3 x 3 cells; at the border cells repeat."""
    xp = xp_of(strength)
    for axis in (2, 3):
        strength = xp.moveaxis(strength, axis, 0)
        strength = xp.concat([strength[:1, ...], strength, strength[-1:, ...]], axis=0)
        strength = xp.moveaxis(strength, 0, axis)
    length = xp.sqrt(xp.sum(strength * strength, axis=1, keepdims=True))
    rows = length[:, :, :-2, :] + length[:, :, 1:-1, :] + length[:, :, 2:, :]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9


def tones(pixels: Array) -> Array:
    """(B, 4, n, n) of grey cells (B, 1, n, n), or (B, 12, n, n) of RGB cells, values in [0, 1]; of mean 0."""
    xp = xp_of(pixels)
    axes = pixels[:, :1, ...]
    if pixels.shape[1] == 3:
        red, green, blue = (pixels[:, k : k + 1, ...] for k in range(3))
        opposed = [(red - green) * 1.5 + 0.5, ((red + green) / 2 - blue) * 1.5 + 0.5]
        axes = xp.concat([(red + green + blue) / 3, *opposed], axis=1)
    places = xp.clip(axes, 0.0, 1.0)[:, :, None, ...] * (TONES - 1)
    bins = xp.maximum(1 - xp.abs(places - const(tuple(range(TONES)), pixels)[:, None, None]), 0.0)
    flat = xp.reshape(bins, (bins.shape[0], -1, *bins.shape[3:]))
    return flat - xp.mean(flat, axis=(2, 3), keepdims=True)


def pooled(pixels: Array) -> Array:
    """(..., n, n) means of the cells of (..., 2n, 2n)."""
    parts = [pixels[..., y::CELL, x::CELL] for y in range(CELL) for x in range(CELL)]
    return sum(parts[1:], parts[0]) / CELL**2
