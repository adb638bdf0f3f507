"""Brushes: how the actions of a painter become strokes, and which of many strokes takes away most of the error."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np
from gymnasium import Space, spaces

from visionrl.banks.patches import colored
from visionrl.ops import Array, DeviceTable, Recalled, xp_of
from visionrl.ops.strokes import GEOMETRY, stroke_coverage, stroke_gains, stroke_lines

GRID, ANGLES = 12, 8  # of the strokes of a discrete brush
SIZES = ((1.0, 0.3), (0.4, 0.11), (0.15, 0.045))  # length and radius, shares of the side
WIDEST, THINNEST = 0.3, 0.01  # radius of a continuous brush, shares of the side
WORK = 32  # side of the pictures on which strokes are compared
PALETTE, PIXELS = 16, 20_000  # colours of a style, and pixels of it that are looked at, about


class Colors:
    """The colours that a brush has: all, or the 16 that are typical of a style picture.

    Args:
        style: (C, H, W) uint8, or None.
        channels: of the canvas.

    Attributes:
        pixels: (N, C) float32, some 20,000 pixels of the style, grey levels; none without one.
    """

    def __init__(self, style: np.ndarray | None, channels: int) -> None:
        self.table: DeviceTable | None = None
        self.pixels = np.zeros((0, channels), np.float32)
        if style is not None:
            every = colored(style, channels).reshape(channels, -1).T
            self.pixels = every[:: max(1, len(every) // PIXELS)].astype(np.float32)
            end = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 40, 0.1)
            cv2.setRNGSeed(0)
            count = min(PALETTE, len(self.pixels))
            found = cv2.kmeans(self.pixels, count, None, end, 3, cv2.KMEANS_PP_CENTERS)[2]  # type: ignore[call-overload]
            self.table = DeviceTable(found)

    def nearest(self, color: Array) -> Array:
        """The colours (..., C) in grey levels that the brush has, nearest to others."""
        xp = xp_of(color)
        if self.table is None:
            return xp.clip(color, 0.0, 255.0)
        table = xp.astype(self.table.on(color), color.dtype)  # (16, C)
        flat = xp.reshape(color, (-1, table.shape[1]))
        gaps = xp.sum(table * table, axis=1)[None, :] - 2 * xp.matmul(flat, xp.permute_dims(table, (1, 0)))
        return xp.reshape(xp.take(table, xp.argmin(gaps, axis=1), axis=0), color.shape)


class Candidates(Recalled):
    """The strokes of a discrete brush: straight, at 12 x 12 places, in 8 directions and 3 sizes.

    Attributes:
        strokes: of (K, 10) float64, see ``stroke_lines``; size after size, direction after direction, row by row.
    """

    def __init__(self) -> None:
        centers = (np.arange(GRID) + 0.5) / GRID
        angles = np.pi * np.arange(ANGLES) / ANGLES
        size, angle, y, x = np.meshgrid(np.arange(len(SIZES)), angles, centers, centers, indexing="ij")
        length, radius = np.array(SIZES)[size].reshape(-1, 2).T
        middle = np.stack([x.ravel(), y.ravel()], 1)
        half = np.stack([np.cos(angle), np.sin(angle)], -1).reshape(-1, 2) * length[:, None] / 2
        ones = np.ones(len(middle))
        self.strokes = DeviceTable(
            np.column_stack([middle - half, middle, middle + half, radius, radius, ones, ones])
        )
        covers = stroke_coverage(*stroke_lines(self.strokes.array, WORK, 1), (WORK, WORK))
        flat = np.ascontiguousarray(covers.reshape(len(middle), -1).T, np.float64)
        self.covers, self.squares = DeviceTable(flat), DeviceTable(flat**2)
        self.recipe = candidate_strokes, ()

    def gains(self, target: Array, canvas: Array, colors: Colors) -> Array:
        """The squared error that each stroke takes away, (B, K) float64, in pixels of the canvas; of small pictures.

        Args:
            target: (B, C, S, S) float32, S a multiple of 32.
            canvas: likewise.
            colors: that the brush has.
        """
        factor = canvas.shape[-1] // WORK
        xp = xp_of(canvas)
        parts = [xp.astype(reduced(pictures, factor), xp.float64) for pictures in (target, canvas)]
        tables = self.covers.on(canvas), self.squares.on(canvas)
        return factor**2 * stroke_gains(parts[0], parts[1], *tables, colors.nearest)


@lru_cache(maxsize=1)
def candidate_strokes() -> Candidates:
    """The strokes of a discrete brush, made once."""
    return Candidates()


def reduced(pictures: Array, factor: int) -> Array:
    """Pictures (B, C, S, S) averaged over squares of factor x factor pixels."""
    if factor == 1:
        return pictures
    xp, (count, channels, side) = xp_of(pictures), pictures.shape[:3]
    small = side // factor
    return xp.mean(xp.reshape(pictures, (count, channels, small, factor, small, factor)), axis=(3, 5))


class Brush(Protocol):
    """A brush turns actions into strokes.

    Attributes:
        space: of actions.
        segments: of the polyline of a stroke.
    """

    space: Space
    segments: int

    def strokes(self, action: Array, channels: int) -> Array:
        """(B, n, 10 + C) float64, the strokes of actions; colours in [0, 1], 0 where they are fitted."""

    def action(self, strokes: Array, index: Array) -> Array:
        """The actions that paint strokes (B, n, 10 + C), of which the last are candidates by number, (B,)."""


class DiscreteBrush:
    """One of the candidates a step, in the colour that fits best."""

    segments = 1

    def __init__(self, candidates: Candidates) -> None:
        self.candidates = candidates
        self.space: Space = spaces.Discrete(len(candidates.strokes.array))

    def strokes(self, action: Array, channels: int) -> Array:
        """See ``Brush``."""
        xp, rows = xp_of(action), self.candidates.strokes.rows(action)
        return xp.concat([rows, xp.zeros_like(rows[:, :channels])], axis=1)[:, None, :]

    def action(self, strokes: Array, index: Array) -> Array:
        """See ``Brush``."""
        return index


class ContinuousBrush:
    """Strokes by numbers in [-1, 1].

    Args:
        bezier: strokes are curves whose ends differ in radius and opacity; else straight and even.
        count: strokes of a step.
        colors: channels of the colours that are chosen; 0 where they are fitted.
    """

    def __init__(self, bezier: bool, count: int, colors: int) -> None:
        self.bezier, self.count, self.colors = bezier, count, colors
        self.segments = 8 if bezier else 1
        self.numbers = (10 if bezier else 6) + colors
        self.space: Space = spaces.Box(-1.0, 1.0, (count * self.numbers,), np.float32)

    def strokes(self, action: Array, channels: int) -> Array:
        """See ``Brush``."""
        xp = xp_of(action)
        shares = (xp.astype(xp.reshape(action, (-1, self.count, self.numbers)), xp.float64) + 1) / 2
        if self.bezier:
            places, radii, opacities = shares[..., :6], shares[..., 6:8], shares[..., 8:10]
        else:
            ends = shares[..., :2], shares[..., 2:4]
            places = xp.concat([ends[0], (ends[0] + ends[1]) / 2, ends[1]], axis=-1)
            radii, opacities = (xp.concat([shares[..., k : k + 1]] * 2, axis=-1) for k in (4, 5))
        radii = THINNEST + (WIDEST - THINNEST) * radii
        own = shares[..., self.numbers - self.colors :]
        color = own if self.colors else xp.zeros_like(shares[..., :channels])
        return xp.concat([places, radii, opacities, color], axis=-1)

    def action(self, strokes: Array, index: Array) -> Array:
        """See ``Brush``."""
        xp = xp_of(strokes)
        radii = (strokes[..., 6:8] - THINNEST) / (WIDEST - THINNEST)
        if self.bezier:
            parts = [strokes[..., :6], radii, strokes[..., 8:10]]
        else:
            parts = [strokes[..., :2], strokes[..., 4:6], radii[..., :1], strokes[..., 8:9]]
        if self.colors:
            parts.append(strokes[..., GEOMETRY:])
        shares = xp.clip(xp.concat(parts, axis=-1), 0.0, 1.0)
        return xp.astype(xp.reshape(2 * shares - 1, (strokes.shape[0], -1)), xp.float32)
