"""Deformable registration: bend an image or a volume, control point by control point, until it lies on another."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium import spaces

from visionrl import ops, rewards
from visionrl.core import Task, check_choice, check_range
from visionrl.datasets import load
from visionrl.envs.registration import fields
from visionrl.envs.registration.bending import between, deformation, developed, lattice, warped
from visionrl.envs.registration.control_points import check_points, near_body, visits
from visionrl.envs.registration.shape_bank import body, shape_bank
from visionrl.ops import Array, const, one_hot, xp_of
from visionrl.rendering import Canvas

STEPS = (0.002, 0.005, 0.015, 0.04, 0.1)  # of the side
TABLE = (*(-step for step in reversed(STEPS)), 0.0, *STEPS)
EASY = 0.1  # share of the deformation at difficulty 0


@dataclass(frozen=True)
class State:
    """How the moving image is bent, and how it ought to be; B episodes of d axes. See ``fields`` for the convention.

    Attributes:
        image: (B,) int64, index of the moving image.
        fixed: (B, side^d) uint8, the fixed image.
        structures: (B, N) uint8, its labels, at the places where overlap is measured.
        weight: (B, n^d) float64, where the body is; adds up to 1.
        target: (B, n, ..., n, d) float64, the true displacement of each node, pixels.
        field: (B, n, ..., n, d) float64, the displacement now.
        order: (B, V) int64, numbers of the control points that are moved, one after the other; the last goes on.
        count: (B,) int64, how many they are.
        visit: (B,) int64, how many have been moved.
        first: (B,) float64, error at the start, millimetres.
        alike: (B,) float64, overlap of the structures now; 0 where the reward does not ask.
        alike_first: (B,) float64, at the start.
    """

    image: Array
    fixed: Array
    structures: Array
    weight: Array
    target: Array
    field: Array
    order: Array
    count: Array
    visit: Array
    first: Array
    alike: Array
    alike_first: Array


class Deformable(Task[State], ABC):
    """What 2D and 3D have in common: everything but the data and the sizes. See the tasks for the arguments."""

    axes: ClassVar[int]
    kind: ClassVar[type]
    default: ClassVar[str]
    coarser: ClassVar[int]  # overlap is measured at every so many pixels along each axis
    headline = ("tre_mm", False)
    eased = True

    def __init__(
        self,
        data: Any,
        split: str,
        control: Literal["continuous", "steps"],
        points: Sequence[int],
        nodes: int,
        side: int,
        window: int,
        scales: Sequence[int],
        step: float,
        bend: float,
        change: float,
        folds: float,
        reward: Literal["truth", "dice"],
        radius: float,
        **loading: Any,
    ) -> None:
        check_choice("control", control, ("continuous", "steps"))
        check_choice("reward", reward, ("truth", "dice"))
        for name, number, low in (("nodes", nodes, 3), ("side", side, 16), ("window", window, 8)):
            check_range(name, number, low)
        for name, share in (("step", step), ("radius", radius)):
            check_range(name, share, 1e-3)
        check_range("bend", bend, 0.0, 0.1)
        check_range("change", change, 0.0, 1.0)
        check_range("folds", folds, 0.0)
        check_points(points, nodes)
        if not len(scales) or min(scales) < 1:
            raise ValueError(f"scales must be one whole number >= 1 or more, got {scales!r}")
        self.split, self.control, self.by_dice = split, control, reward == "dice"
        self.nodes, self.side, self.size, self.scales = nodes, side, window, tuple(scales)
        self.step_px, self.bend, self.change = step * side, bend, change
        self.folds, self.radius = folds, radius
        self.samples = load(data, kind=self.kind, default=self.default, split=split, **loading)
        self.items = len(self.samples)
        self.bank = shape_bank(self.samples, side)
        self.gap = (side - 1) / (nodes - 1)  # pixels from node to node
        self.visits, self.widths, self.stages = visits(points, self.axes, side)
        shown = 2 * len(scales)
        self.observation_space = spaces.Dict(
            {
                "window": spaces.Box(0, 255, (shown, *[window] * self.axes), np.uint8),
                "stage": spaces.Box(0, 1, (len(points),), np.float32),
                "position": spaces.Box(-1, 1, (self.axes,), np.float32),
            }
        )
        steps = spaces.MultiDiscrete([len(TABLE)] * self.axes)
        self.action_space = steps if control == "steps" else spaces.Box(-1, 1, (self.axes,), np.float32)

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        share = EASY + (1 - EASY) * self.difficulty
        target = share * deformation(rng, self.split, self.nodes, self.axes, self.side, self.bend)
        plain = warped(self.bank.grey[item].astype(np.float32), target, 1)
        labels = warped(self.bank.labels[item], target, 0)
        index = lattice(self.nodes, self.axes)[..., ::-1] * (self.side - 1)
        weight = (between(body(plain)[..., None].astype(float), index)[..., 0] > 0.5).ravel().astype(float)
        order = near_body(self.visits, self.widths, self.stages, self.nodes, weight, self.side)
        weight = weight / weight.sum() if weight.any() else np.full(weight.shape, 1 / weight.size)
        error = (weight * np.linalg.norm(target, axis=-1).ravel()).sum()
        structures = labels[(slice(None, None, self.coarser),) * self.axes].ravel()
        still = np.zeros((1, *target.shape))
        alike = self.overlap(np.array([item]), still, structures[None])[0]
        return State(
            image=np.int64(item),
            fixed=developed(rng, plain, self.change).ravel(),
            structures=structures,
            weight=weight,
            target=target,
            field=np.zeros_like(target),
            order=np.pad(order, (0, len(self.visits) - len(order)), mode="edge"),
            count=np.int64(len(order)),
            visit=np.int64(0),
            first=error * self.bank.units.array[item],
            alike=alike if self.by_dice else np.float64(0.0),
            alike_first=alike,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        field = state.field + self.bump(state, self.motion(action, state.field))
        return self.bent(state, field, state.visit + 1)

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.field)
        point, visit = self.point(state), self.present(state)
        shown = []
        for scale in self.scales:
            places = [point[:, k, None] + self.line(point, scale)[None, :] for k in range(self.axes)]
            shown += list(self.both(state, places))
        stage = xp.take(const(self.stages, state.visit), visit, axis=0)
        return {
            "window": xp.stack(shown, axis=1),
            "stage": one_hot(stage, max(self.stages) + 1),
            "position": xp.astype(2 * point / (self.side - 1) - 1, xp.float32),
        }

    def reward(self, before: State, action: Array, after: State) -> Array:
        if self.by_dice:
            gained = 10 * (after.alike - before.alike)
        else:
            gained = rewards.progress(self.error(before), self.error(after))
        worse = fields.folded(after.field, self.gap) - fields.folded(before.field, self.gap)
        return gained - self.folds * worse

    def terminated(self, state: State) -> Array:
        return state.visit >= state.count

    def metrics(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.field)
        error = self.error(state) * xp.take(self.bank.units.on(state.image), state.image, axis=0)
        found = {
            "tre_mm": error,
            "tre_start_mm": state.first + 0.0,
            "folded_percent": fields.folded(state.field, self.gap),
        }
        if self.bank.names:
            asked = (state.image, state.field, state.structures)
            found["dice"] = state.alike + 0.0 if self.by_dice else self.overlap(*asked)
            found["dice_start"] = state.alike_first + 0.0
        return found | {"is_success": self.error(state) < self.radius * self.side}

    def expert(self, state: State) -> Array:
        xp = xp_of(state.field)
        missing = self.at_point(state, state.target - state.field)
        if self.control == "continuous":
            return xp.astype(xp.clip(missing / self.step_px, -1.0, 1.0), xp.float32)
        table = const(tuple(share * self.side for share in TABLE), missing)
        return xp.argmin(xp.abs(missing[..., None] - table), axis=-1)

    def bent(self, state: State, field: Array, visit: Array) -> State:
        """The state with another field (B, n, ..., n, d)."""
        alike = self.overlap(state.image, field, state.structures) if self.by_dice else state.alike
        return replace(state, field=field, visit=visit, alike=alike)

    def motion(self, action: Array, like: Array) -> Array:
        """What actions add at the control point, (B, d) pixels."""
        xp = xp_of(like)
        if self.control == "continuous":
            return xp.astype(action, like.dtype) * self.step_px
        table = const(tuple(share * self.side for share in TABLE), like)
        return xp.reshape(xp.take(table, xp.reshape(action, (-1,)), axis=0), action.shape)

    def bump(self, state: State, motion: Array) -> Array:
        """The displacement of all nodes when control points move: a cubic B-spline that is 1 there."""
        xp = xp_of(motion)
        width = xp.take(const(self.widths, motion), self.present(state), axis=0)
        point, nodes = self.point(state), const(tuple(self.gap * k for k in range(self.nodes)), motion)
        total = motion
        for axis in range(self.axes):  # x, then y, then z in front
            way = fields.spline(xp.abs(nodes[None, :] - point[:, axis, None]) / width[:, None])
            total = xp.reshape(way, (*way.shape, *[1] * (total.ndim - 1))) * total[:, None, ...]
        return total

    def at_point(self, state: State, field: Array) -> Array:
        """A field (B, n, ..., n, d) at the control points: (B, d)."""
        point = self.point(state)
        ways = [fields.hats(point[:, k, None], self.nodes, self.gap) for k in reversed(range(self.axes))]
        return xp_of(field).reshape(fields.refine(field, ways), point.shape)

    def both(self, state: State, places: list[Array]) -> tuple[Array, Array]:
        """Fixed and bent moving image on a grid of places (B, w) along x, y (and z): (B, w, ..., w) uint8 each."""
        xp = xp_of(state.field)
        grid = fields.grid(places)
        ways = [fields.hats(places[k], self.nodes, self.gap) for k in reversed(range(self.axes))]
        moved = grid + fields.refine(state.field, ways)
        pixels = self.side**self.axes
        rows = xp.arange(grid.shape[0], dtype=xp.int64, device=grid.device)
        fixed = fields.look(xp.reshape(state.fixed, (-1,)), rows * pixels, grid, self.side)
        bank = self.bank.pixels.on(state.image)
        return fixed, fields.look(bank, state.image * pixels, moved, self.side)

    def overlap(self, image: Array, field: Array, structures: Array) -> Array:
        """Mean Dice of the structures under fields (B, n, ..., n, d), (B,) float64."""
        xp, rows = xp_of(field), image.shape[0]
        line = const(tuple(float(k) for k in range(0, self.side, self.coarser)), field)
        way = fields.hats(line[None, :], self.nodes, self.gap)
        bent = ops.columns(fields.refine(field, [way] * self.axes))
        moved = [xp.reshape(line, (-1, *[1] * k)) + part for k, part in enumerate(bent)]
        found = fields.look_nearest(self.bank.structures.on(image), image, moved, self.side)
        return fields.dice(xp.reshape(found, (rows, -1)), structures, len(self.bank.names))

    def line(self, like: Array, scale: int) -> Array:
        """(w,) pixels from a window's middle."""
        return const(tuple(scale * (k - (self.size - 1) / 2) for k in range(self.size)), like)

    def present(self, state: State) -> Array:
        """Number of the control point that is moved now, (B,)."""
        xp = xp_of(state.visit)
        turn = xp.clip(state.visit, 0, len(self.visits) - 1)
        return xp.take_along_axis(state.order, turn[:, None], axis=1)[:, 0]

    def point(self, state: State) -> Array:
        """The control point that is moved now, (B, d) pixels."""
        return xp_of(state.field).take(const(self.visits, state.field), self.present(state), axis=0)

    def error(self, state: State) -> Array:
        """Mean distance of the body's nodes from where they belong, (B,) pixels held."""
        gaps = ops.norm(state.field - state.target)
        return xp_of(gaps).sum(state.weight * xp_of(gaps).reshape(gaps, state.weight.shape), axis=-1)

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        row = replace(state, **{name: np.asarray(value)[None] for name, value in vars(state).items()})
        line = np.arange(self.side, dtype=float)[None]
        fixed, moved = (x[0] for x in self.both(row, [line] * self.axes))
        level = round(float(self.point(row)[0, -1])) if self.axes == 3 else None
        a, b = (fixed, moved) if level is None else (fixed[level], moved[level])
        y, x = np.indices(a.shape) // max(self.side // 6, 1)
        canvas = Canvas(np.concatenate([np.where((x + y) % 2 == 0, a, b), a], axis=1)[None])
        point, half = self.point(row)[0, :2] + 0.5, self.size / 2
        canvas.box((*(point - half), *(point + half)), "look")
        for matrix, meaning in ((state.target, "truth"), (state.field, "agent")):
            cut = matrix if level is None else matrix[round(level / self.gap)]
            for place in (lattice(self.nodes, 2) * (self.side - 1) + cut[..., :2])[::3, ::3].reshape(-1, 2):
                if ((place >= 0) & (place <= self.side - 1)).all():
                    canvas.cross((place[0] + self.side + 0.5, place[1] + 0.5), meaning)
        return canvas.pixels
