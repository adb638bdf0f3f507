"""By how much a control point would have to move, by least squares on what is seen about it; array-API code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrl.envs.registration.controls import clip_proposals
from visionrl.ops import Array, DeviceTable, columns, fields, xp_of
from visionrl.ops.least_squares import NUM_SCORES, motions


class LocalFits:
    """Moves of control points after which windows of the moving image would look like those of the fixed one.

    A Gauss-Newton step as in ``proposals.GaussNewton``, at each scale of the windows, for the move of one control point alone: what
    a pixel moves with it is its B-spline there. Pixels count that lie in the fixed
    image; beyond the moving one's border they are black.

    Source: Lucas & Kanade (1981); Rueckert et al. (1999) for the splines.

    Args:
        scales: of the windows.
        size: of the windows along each axis.
        axes: 2 or 3.
        side: of the images.
        largest: no move is longer along an axis, pixels.
        differ: (M,) bool, images of two modalities; None where none are.

    Attributes:
        size: how many numbers the agent is told.
    """

    def __init__(
        self,
        scales: Sequence[int],
        size: int,
        axes: int,
        side: int,
        largest: float,
        differ: DeviceTable | None,
    ) -> None:
        self.scales, self.axes, self.side, self.differ = tuple(scales), axes, side, differ
        self.largest, self.size = largest, len(scales) * (axes + NUM_SCORES)
        line = np.arange(size) - (size - 1) / 2
        ways = np.stack(np.meshgrid(*[line] * axes, indexing="ij")[::-1], axis=-1).reshape(-1, axes)
        self.pixels = DeviceTable(np.array(scales, float))
        self.gaps = DeviceTable(np.array(scales)[:, None, None] * ways)

    def made(self, image: Array, windows: Array, point: Array, width: Array) -> Array:
        """The moves, pixels, and the shares explained without and with them, (B, scales, d + 2) float64.

        Args:
            image: (B,) index.
            windows: (B, 2 * scales, w, ..., w) uint8, at each scale the fixed image, then the moving one.
            point: (B, d) the control point, pixels.
            width: (B,) of its spline, pixels.
        """
        xp, rows, count = xp_of(point), point.shape[0], len(self.scales)
        grey = xp.astype(windows, xp.float64) / 255 - 0.5
        fixed, moving = grey[:, ::2, ...], grey[:, 1::2, ...]
        pixel = xp.reshape(self.pixels.on(point), (1, count, *[1] * self.axes))
        slopes = [xp.reshape(slope(fixed, -1 - k) / pixel, (rows, count, -1)) for k in range(self.axes)]
        gaps = self.gaps.on(point)
        reach, inside = 1.0, True
        for k, gap in enumerate(columns(gaps)):
            at, rim = point[:, k, None, None] + gap, self.pixels.on(point)[:, None]
            inside = inside & (at >= rim) & (at <= self.side - 1 - rim)
            reach = reach * fields.spline(xp.abs(gap) / width[:, None, None])
        weight = xp.astype(inside & (reach > 0), xp.float64)
        descent = xp.stack([part * reach for part in slopes], axis=-1)
        fixed, moving = (xp.reshape(part, (rows, count, -1)) for part in (fixed, moving))
        differ = None if self.differ is None else xp.take(self.differ.on(image), image, axis=0)
        return clip_proposals(motions(descent, fixed, moving, weight, differ), self.largest)


def slope(values: Array, axis: int) -> Array:
    """Differences along an axis, counted from behind, between the neighbours on both sides; at the ends to the one there is."""
    xp = xp_of(values)
    index = [slice(None)] * values.ndim

    def part(start: int | None, stop: int | None) -> Array:
        index[axis] = slice(start, stop)
        return values[tuple(index)]

    ends = part(1, 2) - part(0, 1), part(-1, None) - part(-2, -1)
    return xp.concat([ends[0], (part(2, None) - part(None, -2)) / 2, ends[1]], axis=axis)
