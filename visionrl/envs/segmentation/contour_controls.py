"""A contour as it is drawn, what its controls have in common, and one of them: a polygon, vertex by vertex."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
from gymnasium import spaces

from visionrl import ops
from visionrl.banks.outlines import OutlineBank
from visionrl.core.observables import Image, Observable, Vector
from visionrl.ops import Array, const, one_hot, xp_of
from visionrl.ops.polygons import crosses, triangle_mask

AHEAD = 4  # vertices of the outline among which the expert looks for the one that was just drawn


@dataclass(frozen=True)
class Contour:
    """A contour as it is drawn; B episodes.

    Attributes:
        vertices: (B, n, 2) float64, (x, y) in pixels of the window; 0 beyond ``count``.
        count: (B,) int64, vertices drawn; all points of a spline.
        mask: (B, S, S) bool, what the contour holds, closed at once.
        actions: (B,) int64, how many there were.
        crossings: (B,) float64, edges that crossed an earlier one.
        finished: (B,) bool.
        progress: (B,) int64, vertices of the true outline that are passed.
    """

    vertices: Array
    count: Array
    mask: Array
    actions: Array
    crossings: Array
    finished: Array
    progress: Array


ContourT = TypeVar("ContourT", bound=Contour)


def begun(vertices: np.ndarray, count: int, mask: np.ndarray) -> Contour:
    """The contour at the start of an episode, without the axis B."""
    return Contour(
        vertices=vertices,
        count=np.int64(count),
        mask=mask,
        actions=np.int64(0),
        crossings=np.float64(0),
        finished=np.False_,
        progress=np.int64(0),
    )


def spent(now: Contour, most: int) -> Array:
    """(B,) float64 in [0, 1], the share of an episode's actions that are taken."""
    xp = xp_of(now.actions)
    return xp.clip(xp.astype(now.actions, xp.float64) / most, 0.0, 1.0)


class ContourControl(Protocol):
    """A control of a contour: its actions, observables and expert.

    Attributes:
        space: the action space.
        shown: the observables of the contour.
    """

    space: spaces.Discrete
    shown: dict[str, Observable]

    def start(self, points: np.ndarray) -> Contour:
        """The first contour of one episode, without the axis B, given where the points of a spline begin, (n, 2)."""

    def step(self, now: ContourT, action: Array, bank: OutlineBank, item: Array) -> ContourT:
        """The contour after an action, (B,)."""

    def seen(self, now: Contour, bank: OutlineBank, item: Array) -> dict[str, Array]:
        """Values of the observables."""

    def allowed(self, now: Contour) -> Array:
        """(B, n) bool, actions that may be taken."""

    def best(self, now: Contour, bank: OutlineBank, item: Array) -> Array:
        """(B,) the action of the expert, who knows the true outline."""

    def polygon(self, now: Contour) -> np.ndarray:
        """(N, 2) vertices of one row, in pixels of the window."""


class PolygonControl:
    """Each action sets a vertex in the middle of a cell of a grid, or closes the polygon.

    Args:
        grid: cells along each side.
        side: of the window, pixels.
        most: actions of an episode, and vertices.
    """

    def __init__(self, grid: int, side: int, most: int) -> None:
        self.grid, self.side, self.most, self.cell = grid, side, most, side / grid
        self.space = spaces.Discrete(grid * grid + 1)
        self.shown: dict[str, Observable] = {"drawn": Image(4, side), "step": Vector(1, 0.0, 1.0)}

    def start(self, points: np.ndarray) -> Contour:
        """No vertex."""
        return begun(np.zeros((self.most, 2)), 0, np.zeros((self.side, self.side), bool))

    def step(self, now: ContourT, action: Array, bank: OutlineBank, item: Array) -> ContourT:
        """Set a vertex, which toggles a triangle of the mask; to close, or to set the first one again, ends it."""
        xp = xp_of(now.vertices)
        new = self.middle(action, now.vertices)
        last, first = self.row_at(now.vertices, now.count - 1), now.vertices[:, 0, :]
        back = (now.count > 0) & ops.every(new == first)
        adds = ~((action == self.grid**2) | back | now.finished)
        first = xp.where((now.count > 0)[:, None], first, new)
        toggled = triangle_mask(
            first, xp.where((now.count > 0)[:, None], last, new), new, self.side, self.side
        )
        place = one_hot(now.count, self.most) > 0
        count = now.count + xp.astype(adds, xp.int64)
        passed = self.passed(now.progress, new, bank, item)
        return replace(
            now,
            vertices=xp.where((place & adds[:, None])[..., None], new[:, None, :], now.vertices),
            count=count,
            mask=now.mask ^ (toggled & adds[:, None, None]),
            actions=now.actions + 1,
            crossings=now.crossings + xp.astype(adds & self.tangled(now, last, new), xp.float64),
            finished=now.finished | ~adds | (count >= self.most),
            progress=xp.where(adds, passed, now.progress),
        )

    def tangled(self, now: Contour, last: Array, new: Array) -> Array:
        """(B,) bool, whether the edge from the last vertex to a new one crosses an earlier edge."""
        xp = xp_of(now.vertices)
        order = const(tuple(range(1, self.most)), now.count)
        there = order[None, :] < now.count[:, None]
        starts, ends = now.vertices[:, :-1, :], now.vertices[:, 1:, :]
        return (now.count > 0) & xp.any(crosses(last, new, starts, ends) & there, axis=-1)

    def passed(self, progress: Array, new: Array, bank: OutlineBank, item: Array) -> Array:
        """(B,) int64, how many vertices of the true outline are passed once ``new`` is drawn."""
        xp = xp_of(new)
        corners = (xp.astype(bank.corners.rows(item), xp.float64) + 0.5) * self.cell
        number = const(tuple(range(self.most)), progress)[None, :]
        near = (number >= progress[:, None] - 1) & (number < progress[:, None] + AHEAD)
        near = near & (number < bank.lengths.rows(item)[:, None])
        gaps = ops.norm(corners - new[:, None, :])
        return xp.argmin(xp.where(near, gaps, xp.full_like(gaps, 1e9)), axis=-1) + 1

    def middle(self, action: Array, like: Array) -> Array:
        """(B, 2) float64, the middle of an action's cell, pixels of the window; of the last cell where it closes."""
        xp = xp_of(like)
        cell = xp.minimum(action, self.grid**2 - 1)
        return (
            xp.astype(xp.stack([cell % self.grid, cell // self.grid], axis=-1), xp.float64) + 0.5
        ) * self.cell

    def row_at(self, vertices: Array, index: Array) -> Array:
        """(B, 2) the vertex of an index in each row; 0 where the index is -1."""
        xp = xp_of(vertices)
        return xp.sum(vertices * xp.astype(one_hot(index, self.most), xp.float64)[..., None], axis=1)

    def cells(self, now: Contour) -> Array:
        """(B, most) int64, number of each vertex's cell; -1 beyond the last."""
        xp = xp_of(now.vertices)
        cells = xp.astype(xp.floor(now.vertices / self.cell), xp.int64)
        there = const(tuple(range(self.most)), now.count)[None, :] < now.count[:, None]
        return xp.where(there, cells[..., 1] * self.grid + cells[..., 0], -1)

    def seen(self, now: Contour, bank: OutlineBank, item: Array) -> dict[str, Array]:
        """Observe the filled pixels, the cells of all vertices, of the last and of the first; the share of actions taken."""
        xp, cells, g, wide = xp_of(now.vertices), self.cells(now), self.grid, self.side // self.grid
        places = one_hot(cells, g * g)
        last = one_hot(self.last_cell(now, cells), g * g)
        maps = xp.stack([xp.max(places, axis=1), last, places[:, 0, :]], axis=1) > 0
        small = xp.reshape(maps, (maps.shape[0], 3, g, 1, g, 1))
        large = xp.broadcast_to(small, (maps.shape[0], 3, g, wide, g, wide))
        drawn = xp.concat(
            [now.mask[:, None, ...], xp.reshape(large, (maps.shape[0], 3, *now.mask.shape[1:]))], axis=1
        )
        return {"drawn": xp.astype(drawn, xp.uint8) * 255, "step": spent(now, self.most)}

    def last_cell(self, now: Contour, cells: Array) -> Array:
        """(B,) int64, number of the last vertex's cell; -1 where there is none."""
        xp = xp_of(cells)
        place = xp.maximum(now.count - 1, xp.zeros_like(now.count))
        return xp.take_along_axis(cells, place[:, None], axis=1)[:, 0]

    def allowed(self, now: Contour) -> Array:
        """Any cell but that of the last vertex; the first one, and closing, only from three vertices on."""
        xp, cells = xp_of(now.vertices), self.cells(now)
        last = self.last_cell(now, cells)
        early = xp.where(now.count < 3, cells[:, 0], -1)
        count = self.grid**2
        barred = (one_hot(last, count) > 0) | (one_hot(early, count) > 0)
        return xp.concat([~barred, (now.count >= 3)[:, None]], axis=-1)

    def best(self, now: Contour, bank: OutlineBank, item: Array) -> Array:
        """The next vertex of the true outline, simplified; to close once it is passed."""
        xp = xp_of(now.vertices)
        length = bank.lengths.rows(item)
        at = xp.minimum(now.progress, length - 1)
        wanted = const(tuple(range(self.most)), at)[None, :] == at[:, None]
        cell = xp.sum(xp.where(wanted[..., None], bank.corners.rows(item), 0), axis=1)
        return xp.where(now.progress < length, cell[:, 1] * self.grid + cell[:, 0], self.grid**2)

    def polygon(self, now: Contour) -> np.ndarray:
        """The vertices drawn."""
        return now.vertices[: int(now.count)]
