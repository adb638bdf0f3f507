"""Control points of free-form deformations: where they lie, and what least squares propose for one.

Fields are those of ``ops.fields``; a row of a batch moves one control point at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrl import ops
from visionrl.envs.registration.controls import (
    ContinuousControl,
    Control,
    GaussNewtonControl,
    StepsControl,
    clip_proposals,
    proposal_quality,
)
from visionrl.ops import Array, DeviceTable, columns, fields, xp_of
from visionrl.ops.deform import interpolate, lattice
from visionrl.ops.least_squares import NUM_SCORES, motions

MAX_STEP = 0.1  # share of the side, the largest move along each axis
STEPS = (0.002, 0.005, 0.015, 0.04, MAX_STEP)  # shares of the side
CLOSE = 0.005  # share of the side, an error within which the expert trusts proposals


class ControlPoints:
    """Grids of control points, coarse to fine: each stage divides an image into cells, whose middles they are.

    A control point takes its surroundings along by a cubic B-spline that is 1 there and as wide as a cell.
    Source: Rueckert et al. (1999).

    Args:
        counts: points along each axis, one number a stage.
        axes: 2 or 3.
        side: pixels along each axis.
        nodes: of fields, along each axis.

    Attributes:
        positions: (V, d) float64, (x, y) or (x, y, z) in pixels.
        widths: (V,) float64, pixels.
        stages: (V,) int64.
        gap: pixels from node to node.
    """

    def __init__(self, counts: Sequence[int], axes: int, side: int, nodes: int) -> None:
        self.axes, self.side, self.nodes = axes, side, nodes
        self.gap = (side - 1) / (nodes - 1)
        grids = [(lattice(n, axes).reshape(-1, axes) * (n - 1) + 0.5) * side / n - 0.5 for n in counts]
        sizes = [len(grid) for grid in grids]
        self.positions = DeviceTable(np.concatenate(grids))
        self.widths = DeviceTable(np.repeat([side / n for n in counts], sizes))
        self.stages = DeviceTable(np.repeat(np.arange(len(counts)), sizes))

    def __len__(self) -> int:
        return len(self.widths.array)

    def plan(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """Plan of the visits of an episode: the points within half a width of a body, and all points of the first stage.

        Args:
            mask: (side, ..., side) bool, where the body is.

        Returns:
            (nodes^d,) float64, weights of the nodes: equal in the body, 0 elsewhere, 1 together; (V,) int64, numbers of
            the points, the last one repeated; and how many they are.
        """
        places = lattice(self.nodes, self.axes) * (self.side - 1)
        body = (interpolate(mask[..., None].astype(float), places[..., ::-1])[..., 0] > 0.5).ravel()
        there = places.reshape(-1, self.axes)[body]
        gaps = np.abs(self.positions.array[:, None] - there).max(axis=-1)
        near = (gaps <= self.widths.array[:, None] / 2).any(axis=1)
        order = np.flatnonzero(near | (self.stages.array == 0))
        weight = body / body.sum() if body.any() else np.full(body.shape, 1 / body.size)
        return weight, np.pad(order, (0, len(self) - len(order)), mode="edge"), len(order)

    def at(self, number: Array) -> Array:
        """(B, d) positions of points (B,)."""
        return self.positions.rows(number)

    def width(self, number: Array) -> Array:
        """(B,) widths of points (B,)."""
        return self.widths.rows(number)

    def values(self, number: Array, field: Array) -> Array:
        """Fields (B, n, ..., n, d) at points (B,): (B, d)."""
        point = self.at(number)
        weights = [
            fields.linear_basis(point[:, k, None], self.nodes, self.gap) for k in reversed(range(self.axes))
        ]
        return xp_of(field).reshape(fields.at_grid(field, weights), point.shape)

    def bspline_update(self, number: Array, motion: Array) -> Array:
        """The displacement of all nodes, (B, n, ..., n, d), when points (B,) move by (B, d) pixels."""
        xp = xp_of(motion)
        nodes = ops.const(tuple(self.gap * k for k in range(self.nodes)), motion)
        point, width, total = self.at(number), self.width(number), motion
        for axis in range(self.axes):  # x, then y, then z in front
            weight = fields.cubic_bspline(xp.abs(nodes[None, :] - point[:, axis, None]) / width[:, None])
            total = xp.reshape(weight, (*weight.shape, *[1] * (total.ndim - 1))) * total[:, None, ...]
        return total


class BSplineProposals:
    """Moves of control points after which windows of the moving image would look like those of the fixed one.

    A Gauss-Newton step at each scale of the windows, for the move of one control point alone: what a pixel moves with it
    is its B-spline there. Pixels count that lie in the fixed image; beyond the moving one's border they are black.

    Source: Lucas & Kanade (1981); Rueckert et al. (1999) for the splines.

    Args:
        scales: of the windows.
        window: side of the windows.
        axes: 2 or 3.
        side: of the images.
        multimodal: (M,) bool, images of two modalities; None where none are.

    Attributes:
        count: F, how many moves are proposed.
        size: how many numbers the agent is told.
        largest: no move is longer along an axis, pixels.
    """

    def __init__(
        self,
        scales: Sequence[int],
        window: int,
        axes: int,
        side: int,
        multimodal: DeviceTable | None,
    ) -> None:
        self.count, self.axes, self.side, self.largest = len(scales), axes, side, MAX_STEP * side
        self.size, self.multimodal = self.count * (axes + NUM_SCORES), multimodal
        line = np.arange(window) - (window - 1) / 2
        offsets = np.stack(np.meshgrid(*[line] * axes, indexing="ij")[::-1], axis=-1).reshape(-1, axes)
        self.pixels = DeviceTable(np.array(scales, float))
        self.offsets = DeviceTable(np.array(scales)[:, None, None] * offsets)

    def propose(self, image: Array, windows: Array, point: Array, width: Array) -> Array:
        """The moves, pixels, and the shares of the variance explained without and with them, (B, F, d + 2) float64.

        Args:
            image: (B,) index.
            windows: (B, 2 F, w, ..., w) uint8, at each of F scales the fixed image, then the moving one.
            point: (B, d) the control point, pixels.
            width: (B,) of its spline, pixels.
        """
        xp, rows = xp_of(point), point.shape[0]
        grey = xp.astype(windows, xp.float64) / 255 - 0.5
        fixed, moving = grey[:, ::2, ...], grey[:, 1::2, ...]
        pixel = xp.reshape(self.pixels.on(point), (1, self.count, *[1] * self.axes))
        slopes = [
            xp.reshape(fields.gradient(fixed, -1 - k) / pixel, (rows, self.count, -1))
            for k in range(self.axes)
        ]
        reach, inside = 1.0, True
        for k, gap in enumerate(columns(self.offsets.on(point))):
            at, rim = point[:, k, None, None] + gap, self.pixels.on(point)[:, None]
            inside = inside & (at >= rim) & (at <= self.side - 1 - rim)
            reach = reach * fields.cubic_bspline(xp.abs(gap) / width[:, None, None])
        weight = xp.astype(inside & (reach > 0), xp.float64)
        descent = xp.stack([part * reach for part in slopes], axis=-1)
        fixed, moving = (xp.reshape(part, (rows, self.count, -1)) for part in (fixed, moving))
        multimodal = None if self.multimodal is None else self.multimodal.rows(image)
        return clip_proposals(motions(descent, fixed, moving, weight, multimodal), self.largest)

    def quality(self, proposals: Array, missing: Array) -> Array:
        """Quality of each proposal, see ``proposal_quality``, where motions (B, d) pixels are missing."""
        ends = missing[:, None, :] - proposals[..., : self.axes]
        return proposal_quality(ops.norm(missing), ops.norm(ends), CLOSE * self.side)


def make_control(control: str, proposer: BSplineProposals) -> Control:
    """The control of a name: motions of control points, along each axis of the proposer's images."""
    if control == "steps":
        return StepsControl((float(proposer.side),) * proposer.axes, STEPS)
    units = (proposer.largest,) * proposer.axes
    return GaussNewtonControl(units, proposer) if control == "gauss_newton" else ContinuousControl(units)
