"""A control of a contour: the points of a closed spline that move, as pictures or as moves that are described."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from gymnasium import spaces

from visionrl import ops
from visionrl.banks.outlines import OutlineBank
from visionrl.core.observables import Image, Observable, Vector
from visionrl.envs.segmentation.contour_controls import Contour, ContourT, begun, spent
from visionrl.envs.segmentation.mask_features import likelihood
from visionrl.ops import Array, const, one_hot, xp_of
from visionrl.ops.polygons import closed_spline, polygon_mask

WAYS = ((1, 0), (-1, 0), (0, 1), (0, -1))  # right, left, down, up
PIECES = 5  # straight ones from each point of a spline to the next
# of the expert's moves: how much nearer to its place a point comes, pixels of a window of 56
SMALLEST_GAIN = 0.25
PROFILE = (-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0)  # places along a move, pixels of a window of 56
NUMBERS = 2 * len(PROFILE) + 8


class SplineControl:
    """Each action moves a point of a closed spline, or stops.

    Args:
        points: of the spline.
        side: of the window, pixels.
        most: actions of an episode.
        candidates: show a description of each move, see ``describe_moves``, in place of pictures.
    """

    def __init__(self, points: int, side: int, most: int, candidates: bool = False) -> None:
        self.points, self.side, self.most = points, side, most
        self.candidates, unit = candidates, side / 56
        self.moves = tuple((x * far * unit, y * far * unit) for far in (1, 2) for x, y in WAYS)
        self.space = spaces.Discrete(points * len(self.moves) + 1)
        self.shown: dict[str, Observable] = {
            "drawn": Image(1, side),
            "points": Vector(points * 2),
            "step": Vector(1, 0.0, 1.0),
        }
        if candidates:
            offered = Vector((int(self.space.n), NUMBERS))
            self.shown = {"candidates": offered, "step": self.shown["step"]}

    def start(self, points: np.ndarray) -> Contour:
        """The spline through the points."""
        return begun(points.copy(), self.points, self.filled(points))

    def filled(self, points: Array) -> Array:
        """(..., S, S) bool, what the spline through some points, (..., n, 2), holds."""
        return polygon_mask(closed_spline(points, PIECES), self.side, self.side)

    def step(self, now: ContourT, action: Array, bank: OutlineBank, item: Array) -> ContourT:
        """Move one point; the whole mask is drawn again."""
        xp, kinds = xp_of(now.vertices), len(self.moves)
        stops = (action == self.points * kinds) | now.finished
        shift = xp.take(const(self.moves, now.vertices), action % kinds, axis=0)
        chosen = one_hot(action // kinds, self.points) > 0
        moved = now.vertices + xp.where((chosen & ~stops[:, None])[..., None], shift[:, None, :], 0.0)
        vertices, actions = xp.clip(moved, 0.0, float(self.side)), now.actions + 1
        return replace(
            now,
            vertices=vertices,
            mask=self.filled(vertices),
            actions=actions,
            finished=stops | (actions >= self.most),
        )

    def seen(self, now: Contour, bank: OutlineBank, item: Array) -> dict[str, Array]:
        """Observe the filled pixels, the points in [-1, 1], or the candidates; the share of actions taken."""
        xp = xp_of(now.vertices)
        share = spent(now, self.most)
        if self.candidates:
            windows, boxes = bank.windows.rows(item), bank.boxes.rows(item)
            return {"candidates": describe_moves(windows, now.mask, now.vertices, boxes), "step": share}
        return {
            "drawn": xp.astype(now.mask, xp.uint8) * 255,
            "points": 2 * now.vertices / self.side - 1,
            "step": share,
        }

    def allowed(self, now: Contour) -> Array:
        """All actions."""
        xp, shape = xp_of(now.actions), (now.actions.shape[0], int(self.space.n))
        return xp.ones(shape, dtype=xp.bool, device=now.actions.device)

    def gains(self, now: Contour, bank: OutlineBank, item: Array) -> Array:
        """(B, points * moves) by how much each move brings its point nearer to its place, pixels."""
        xp = xp_of(now.vertices)
        gap = bank.knots.rows(item) - now.vertices
        after = gap[:, :, None, :] - const(self.moves, gap)[None, None, :, :]
        return xp.reshape(ops.norm(gap)[:, :, None] - ops.norm(after), (gap.shape[0], -1))

    def best(self, now: Contour, bank: OutlineBank, item: Array) -> Array:
        """The move that brings a point nearest to its place; to stop where none brings enough."""
        xp, gains = xp_of(now.vertices), self.gains(now, bank, item)
        enough = xp.max(gains, axis=-1) > SMALLEST_GAIN * self.side / 56
        return xp.where(enough, xp.argmax(gains, axis=-1), len(self.moves) * self.points)

    def polygon(self, now: Contour) -> np.ndarray:
        """Vertices along the spline."""
        return closed_spline(now.vertices, PIECES)


def describe_moves(windows: Array, mask: Array, vertices: Array, boxes: Array) -> Array:
    """(B, points * 8 + 1, NUMBERS) float32 in [-1, 1], a row a move in the order of the actions, the last to stop.

    Of each move there are: along its direction, how much more the colours resemble the inside of the contour than the
    outside (Chan & Vese, 2001, with a Gaussian each) and the grey levels; how far it goes; whether it goes outward;
    how it bends the contour; the distance to the box on that side and on the other; whether it is the end.

    Args:
        windows: (B, C, S, S) uint8.
        mask: (B, S, S) bool, inside the contour.
        vertices: (B, points, 2) float64, pixels.
        boxes: (B, 4) float64, pixels.
    """
    xp, side, count = xp_of(vertices), mask.shape[-1], vertices.shape[1]
    unit, rows = side / 56, mask.shape[0]
    image = xp.astype(windows, xp.float32) / 255
    maps = xp.stack([likelihood(image, mask), xp.mean(image, axis=1)], axis=1)
    directions = const(tuple((float(x), float(y)) for x, y in WAYS), vertices)
    far = const(tuple(unit * one for one in PROFILE), vertices)
    places = vertices[:, :, None, None, :] + far[:, None] * directions[:, None, :]
    seen = sample_maps(maps, xp.reshape(places, (rows, -1, 2)))
    seen = xp.reshape(seen, (rows, 2, count, len(WAYS), len(PROFILE)))
    grey = seen[:, 1, ...] - seen[:, 1, :, :, 3:4]
    shape = shape_numbers(vertices, boxes, directions, side)
    each = xp.concat([seen[:, 0, ...], grey, xp.astype(shape, xp.float32)], axis=-1)
    blank = xp.zeros_like(each[..., :1])
    both = [xp.concat([each, blank + flag, blank], axis=-1) for flag in (-1.0, 1.0)]
    moves = xp.reshape(xp.concat(both, axis=2), (rows, -1, NUMBERS))
    stop = xp.concat([xp.zeros_like(moves[:, :1, :-1]), xp.ones_like(moves[:, :1, :1])], axis=-1)
    return xp.clip(xp.concat([moves, stop], axis=1), -1.0, 1.0)


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
