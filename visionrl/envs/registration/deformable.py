"""Deformable registration: bend an image or a volume, control point by control point, until it lies on another."""

from __future__ import annotations

from abc import ABC
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from visionrl import ops, rewards
from visionrl.banks.label_grids import body, shape_bank
from visionrl.banks.label_maps import check_labels
from visionrl.core import Task
from visionrl.datasets import PairSample, load
from visionrl.envs.registration.align import check_axes
from visionrl.envs.registration.bending_rules import BendingRules
from visionrl.envs.registration.control_points import near_body, visits
from visionrl.envs.registration.controls import (
    encode_proposals,
    proposal_quality,
    select_proposal,
    two_modalities,
)
from visionrl.envs.registration.deformable_pairs import DeformablePairs, holds_pairs, shapes
from visionrl.envs.registration.deformable_state import State
from visionrl.envs.registration.local_fits import LocalFits
from visionrl.envs.registration.overlay import overlay_bent
from visionrl.ops import Array, const, fields, one_hot, xp_of
from visionrl.ops.bending import between, deformation, developed, lattice, warped

STEPS = (0.002, 0.005, 0.015, 0.04, 0.1)  # of the side
TABLE = (*(-step for step in reversed(STEPS)), 0.0, *STEPS)
EASY = 0.1  # share of the deformation at difficulty 0
CLOSE = 0.005  # share of the side, an error within which the expert trusts proposals


class Deformable(Task[State], ABC):
    """What 2D and 3D have in common: everything but the data and the sizes. See the tasks for the arguments."""

    axes: ClassVar[int]
    kind: ClassVar[type]
    default: ClassVar[str]
    coarser: ClassVar[int]  # overlap is measured at every so many pixels along each axis
    primary_metric = ("tre_mm", False)
    difficulty: float = 1.0

    def __init__(self, data: Any, split: str, rules: BendingRules, **loading: Any) -> None:
        rules.check()
        self.rules, self.by_dice = rules, rules.reward == "dice"
        self.split = split  # type: ignore[assignment]
        self.nodes, self.side = rules.nodes, (side := rules.side)
        self.step_px = rules.step * side
        paired = holds_pairs(data)
        kind = PairSample if paired else self.kind
        self.samples = load(data, kind=kind, default=self.default, split=split, **loading)
        self.items = len(self.samples)
        if paired:
            check_axes(self.samples, self.axes, f"DeformableRegistration{5 - self.axes}D-v0")
        self.bank = shape_bank(shapes(self.samples) if paired else self.samples, side, paired)
        self.pairs = DeformablePairs(self.samples, self.bank, self.nodes) if paired else None
        if self.by_dice and not self.bank.names:
            raise ValueError("reward 'dice' needs masks, of pairs both; there is none")
        check_labels(rules.dice_of, [int(name) for name in self.bank.names])
        self.dice_of = tuple(map(str, rules.dice_of))
        self.gap = (side - 1) / (self.nodes - 1)  # pixels from node to node
        self.visits, self.widths, self.stages = visits(rules.points, self.axes, side)
        differ = two_modalities(self.samples) if paired else None
        self.proposer = LocalFits(rules.scales, rules.window, self.axes, side, self.step_px, differ)
        self.set_spaces()

    def set_spaces(self) -> None:
        """What an agent is shown, and what it can do."""
        rules, length = self.rules, self.axes
        boxes: dict[str, spaces.Space] = {
            "window": spaces.Box(0, 255, (2 * len(rules.scales), *[rules.window] * self.axes), np.uint8),
            "stage": spaces.Box(0, 1, (len(rules.points),), np.float32),
            "position": spaces.Box(-1, 1, (self.axes,), np.float32),
        }
        if rules.control == "fits":
            boxes["fits"] = spaces.Box(-1, 1, (self.proposer.size,), np.float32)
            length += len(rules.scales)
        self.observation_space = spaces.Dict(boxes)
        free, steps = spaces.Box(-1, 1, (length,), np.float32), spaces.MultiDiscrete([len(TABLE)] * self.axes)
        self.action_space = steps if rules.control == "steps" else free

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        target, plain, labels = self.given(self.pairs, item) if self.pairs else self.drawn(rng, item)
        index = lattice(self.nodes, self.axes)[..., ::-1] * (self.side - 1)
        weight = (between(body(plain)[..., None].astype(float), index)[..., 0] > 0.5).ravel().astype(float)
        order = near_body(self.visits, self.widths, self.stages, self.nodes, weight, self.side)
        weight = weight / weight.sum() if weight.any() else np.full(weight.shape, 1 / weight.size)
        structures = labels[(slice(None, None, self.coarser),) * self.axes].ravel()
        still = np.zeros((1, *target.shape))
        alike = self.overlap(np.array([item]), still, structures[None])[0]
        fixed = plain if self.pairs else developed(rng, plain, self.rules.change)
        state = State(
            image=np.int64(item),
            fixed=fixed.ravel(),
            structures=structures,
            weight=weight,
            target=target,
            field=np.zeros_like(target),
            order=np.pad(order, (0, len(self.visits) - len(order)), mode="edge"),
            count=np.int64(len(order)),
            visit=np.int64(0),
            first=self.distance(np.array([item]), still, target[None], weight[None])[0]
            * self.bank.units.array[item],
            alike=alike if self.by_dice else np.float64(0.0),
            alike_first=alike,
            fits=np.zeros(0),
        )
        return replace(state, fits=self.proposed(rows_of(state))[0])

    def drawn(self, rng: np.random.Generator, item: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A random field, and grey levels and labels of the image under it."""
        share = EASY + (1 - EASY) * self.difficulty
        target = share * deformation(rng, self.split, self.nodes, self.axes, self.side, self.rules.bend)
        plain = warped(self.bank.grey[item].astype(np.float32), target, 1)
        return target, plain, warped(self.bank.labels[item], target, 0)

    def given(self, pairs: DeformablePairs, item: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The field of a pair, and grey levels and labels of its fixed image."""
        fixed = self.items + item
        return pairs.targets[item], self.bank.grey[fixed], self.bank.labels[fixed]

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        field = state.field + self.bump(state, self.motion(state, action))
        return self.bent(state, field, state.visit + 1)

    def observe(self, state: State) -> dict[str, Array]:
        xp, point = xp_of(state.field), self.point(state)
        stage = xp.take(const(self.stages, state.visit), self.present(state), axis=0)
        seen = {
            "window": self.windows(state),
            "stage": one_hot(stage, max(self.stages) + 1),
            "position": xp.astype(2 * point / (self.side - 1) - 1, xp.float32),
        }
        if self.rules.control == "fits":
            seen["fits"] = encode_proposals(state.fits, self.step_px)
        return seen

    def windows(self, state: State) -> Array:
        """What is seen about the control points, (B, 2 * scales, w, ..., w) uint8."""
        point, shown = self.point(state), []
        for scale in self.rules.scales:
            places = [point[:, k, None] + self.line(point, scale)[None, :] for k in range(self.axes)]
            shown += list(self.both(state, places))
        return xp_of(point).stack(shown, axis=1)

    def proposed(self, state: State) -> Array:
        """What the fits propose, see ``State``."""
        if self.rules.control != "fits":
            return xp_of(state.field).zeros_like(state.weight[:, :0])
        return self.found(state)

    def found(self, state: State) -> Array:
        """What ``LocalFits`` find, whatever the control, (B, scales, d + 2) float64."""
        point = self.point(state)
        width = xp_of(point).take(const(self.widths, point), self.present(state), axis=0)
        return self.proposer.made(state.image, self.windows(state), point, width)

    def reward(self, before: State, action: Array, after: State) -> Array:
        if self.by_dice:
            gained = 10 * (after.alike - before.alike)
        else:
            gained = rewards.progress(self.error(before), self.error(after))
        worse = fields.folded(after.field, self.gap) - fields.folded(before.field, self.gap)
        return gained - self.rules.folds * worse

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
        if self.dice_of:
            found |= self.overlap_of(state)
        return found | {"is_success": self.error(state) < self.rules.radius * self.side}

    def expert(self, state: State) -> Array:
        xp = xp_of(state.field)
        missing = self.at_point(state, state.target - state.field)
        if self.rules.control == "steps":
            table = const(tuple(share * self.side for share in TABLE), missing)
            return xp.argmin(xp.abs(missing[..., None] - table), axis=-1)
        own = xp.astype(xp.clip(missing / self.step_px, -1.0, 1.0), xp.float32)
        if self.rules.control == "continuous":
            return own
        ends = missing[:, None, :] - state.fits[..., : self.axes]
        trust = proposal_quality(ops.norm(missing), ops.norm(ends), CLOSE * self.side)
        return xp.concat([own, trust], axis=1)

    def bent(self, state: State, field: Array, visit: Array) -> State:
        """The state with another field (B, n, ..., n, d)."""
        alike = self.overlap(state.image, field, state.structures) if self.by_dice else state.alike
        after = replace(state, field=field, visit=visit, alike=alike)
        return replace(after, fits=self.proposed(after))

    def motion(self, state: State, action: Array) -> Array:
        """What actions add at the control point, (B, d) pixels."""
        xp, like = xp_of(state.field), state.field
        if self.rules.control == "steps":
            table = const(tuple(share * self.side for share in TABLE), like)
            return xp.reshape(xp.take(table, xp.reshape(action, (-1,)), axis=0), action.shape)
        own = xp.astype(action[:, : self.axes], like.dtype) * self.step_px
        if self.rules.control == "continuous":
            return own
        return select_proposal(action[:, self.axes :], own, state.fits)

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
        return fields.dice(self.labels(image, field), structures, len(self.bank.names))

    def overlap_of(self, state: State) -> dict[str, Array]:
        """Dice of single labels, each alone: "dice_LABEL" -> (B,) float64."""
        xp, found = xp_of(state.field), self.labels(state.image, state.field)
        told = {}
        for name in self.dice_of:
            number = self.bank.names.index(name) + 1
            first, second = (xp.astype(some == number, xp.uint8) for some in (found, state.structures))
            told[f"dice_{name}"] = fields.dice(first, second, 1)
        return told

    def labels(self, image: Array, field: Array) -> Array:
        """Labels of the moving images under fields, where overlap is measured, (B, N) uint8."""
        xp, rows = xp_of(field), image.shape[0]
        line = const(tuple(float(k) for k in range(0, self.side, self.coarser)), field)
        way = fields.hats(line[None, :], self.nodes, self.gap)
        bent = ops.columns(fields.refine(field, [way] * self.axes))
        moved = [xp.reshape(line, (-1, *[1] * k)) + part for k, part in enumerate(bent)]
        found = fields.look_nearest(self.bank.structures.on(image), image, moved, self.side)
        return xp.reshape(found, (rows, -1))

    def line(self, like: Array, scale: int) -> Array:
        """(w,) pixels from a window's middle."""
        return const(tuple(scale * (k - (self.rules.window - 1) / 2) for k in range(self.rules.window)), like)

    def present(self, state: State) -> Array:
        """Number of the control point that is moved now, (B,)."""
        xp = xp_of(state.visit)
        turn = xp.clip(state.visit, 0, len(self.visits) - 1)
        return xp.take_along_axis(state.order, turn[:, None], axis=1)[:, 0]

    def point(self, state: State) -> Array:
        """The control point that is moved now, (B, d) pixels."""
        return xp_of(state.field).take(const(self.visits, state.field), self.present(state), axis=0)

    def error(self, state: State) -> Array:
        """Mean distance of the body's nodes, of pairs the points, from where they belong, (B,) pixels held."""
        return self.distance(state.image, state.field, state.target, state.weight)

    def distance(self, image: Array, field: Array, target: Array, weight: Array) -> Array:
        """The same of the parts of a state."""
        if self.pairs:
            return self.pairs.error(image, field)
        gaps = ops.norm(field - target)
        return xp_of(gaps).sum(weight * xp_of(gaps).reshape(gaps, weight.shape), axis=-1)

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        row = rows_of(state)
        line = np.arange(self.side, dtype=float)[None]
        fixed, moved = (x[0] for x in self.both(row, [line] * self.axes))
        return overlay_bent(fixed, moved, self.point(row)[0], self.rules.window, (state.target, state.field))


def rows_of(state: State) -> State:
    """One episode as a batch of one."""
    return replace(state, **{name: np.asarray(value)[None] for name, value in vars(state).items()})
