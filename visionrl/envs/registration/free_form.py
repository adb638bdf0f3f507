"""The family of free-form deformation: bend an image or a volume, control point by control point; d = 2 or 3 axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Interval, MinLen

from visionrl import rewards
from visionrl.banks.label_maps import check_labels
from visionrl.banks.pair_geometry import check_axes, check_truth, two_modalities, without_truth
from visionrl.banks.true_fields import (
    displacement_px,
    grid_conversions,
    grids_with_truth,
    holds_pairs,
    pixels_of,
)
from visionrl.core import Task, arguments, batch
from visionrl.core.observables import Image, OneHot, Vector
from visionrl.core.results import DisplacementField
from visionrl.datasets import PairSample
from visionrl.envs.registration.align import EASY
from visionrl.envs.registration.control_points import BSplineProposals, ControlPoints, make_control
from visionrl.envs.registration.overlay import overlay_bent
from visionrl.metrics.registration import folded_percent
from visionrl.ops import Array, xp_of


@dataclass(frozen=True)
class State:
    """Deformation of the moving image, and the true one; B episodes of d axes. See ``ops.fields`` for the convention.

    Attributes:
        image: (B,) int64, index of the moving image.
        fixed: (B, side^d) uint8, the fixed image.
        labels: (B, N) uint8, its labels, at the places where overlap is measured.
        weight: (B, n^d) float64, where the body is; adds up to 1.
        target: (B, n, ..., n, d) float64, the true displacement of each node, pixels; NaN where it is unknown.
        field: (B, n, ..., n, d) float64, the displacement now.
        order: (B, V) int64, numbers of the control points that are moved, one after the other; the last goes on.
        count, visited: (B,) int64, how many they are, and how many have been moved.
        start_error_mm: (B,) float64, error at the start.
        dice, start_dice: (B,) float64, overlap of the labels now (0 where the reward does not ask), and at the start.
        proposals: (B, F, d + 2) float64, what ``BSplineProposals`` propose now; (B, 0) without control "gauss_newton".
    """

    image: Array
    fixed: Array
    labels: Array
    weight: Array
    target: Array
    field: Array
    order: Array
    count: Array
    visited: Array
    start_error_mm: Array
    dice: Array
    start_dice: Array
    proposals: Array


@arguments
class FreeForm(Task[State]):
    """Deformable registration in ``axes`` dimensions; ``difficulty`` in [0, 1] scales the random deformation."""

    control: Literal["continuous", "steps", "gauss_newton"] = "continuous"
    """Moves of any length, of one of 11 lengths, or "gauss_newton": of any length or as least squares propose."""
    control_points: Annotated[Sequence[Annotated[int, Ge(1)]], MinLen(1)] = (1, 2, 4, 8)
    """Control points along each axis, one number a stage; a stage may come twice."""
    nodes: Annotated[int, Ge(3)] = 25
    """Nodes of the displacement field along each axis."""
    side: Annotated[int, Ge(16)] = 96
    """Pixels or voxels along each axis to which all images are scaled."""
    window: Annotated[int, Ge(8)] = 32
    """Side of the windows about the control point, pixels."""
    scales: Annotated[Sequence[Annotated[int, Ge(1)]], MinLen(1)] = (3, 1)
    """Pixels of the image per pixel of a window, one number a window."""
    deformation_rms: Annotated[float, Interval(ge=0.0, le=0.1)] = 0.025
    """Root mean square velocity of the random deformations, a share of the side."""
    intensity_jitter: Annotated[float, Interval(ge=0.0, le=1.0)] = 1.0
    """How much the fixed image differs in contrast, brightness and noise; 0 not at all."""
    folding_penalty: Annotated[float, Ge(0.0)] = 0.1
    """Reward that is taken off for each percent of the field that folds."""
    reward_type: Literal["truth", "dice"] = "truth"
    """Distance to the true field gained, or overlap of the labels gained, which asks for masks alone."""
    success_radius: Annotated[float, Ge(1e-3)] = 0.015
    """An episode succeeds below this mean error, a share of the side."""
    dice_of: Sequence[int] = ()
    """Labels whose overlap ``info`` also has by itself, as ``dice_LABEL``, such as one organ among landmarks."""

    axes: ClassVar[int]
    primary_metric = ("tre_mm", False)
    unlabelled_type = PairSample
    difficulty = 1.0

    def setup(self) -> None:
        if max(self.control_points) > self.nodes:
            raise ValueError(f"control_points must be <= nodes ({self.nodes}), got {self.control_points!r}")
        paired = holds_pairs(self.data)
        self.samples = self.load(kind=PairSample) if paired else self.load()
        self.items = len(self.samples)
        if paired:
            check_axes(self.samples, self.axes, f"DeformableRegistration{5 - self.axes}D-v0")
            if self.labelled:
                check_truth(self.samples, f"reward_type {self.reward_type!r}")
            else:
                self.samples = tuple(map(without_truth, self.samples))
        elif not self.labelled:
            raise ValueError("data must be pairs of a fixed and a moving image without labels")
        change = self.deformation_rms, self.intensity_jitter
        self.bank, self.truth = grids_with_truth(self.samples, self.side, self.nodes, self.split, *change)
        if self.labelled:
            if self.reward_type == "dice" and not self.bank.names:
                raise ValueError("reward_type 'dice' needs masks, of pairs both; there is none")
            check_labels(self.dice_of, [int(name) for name in self.bank.names])
        self.points = ControlPoints(self.control_points, self.axes, self.side, self.nodes)
        multimodal = two_modalities(self.samples) if paired else None
        self.proposer = BSplineProposals(self.scales, self.window, self.axes, self.side, multimodal)
        self.moves = make_control(self.control, self.proposer)
        self.show(
            window=Image(2 * len(self.scales), self.window, axes=self.axes),
            stage=OneHot(len(self.control_points)),
            position=Vector(self.axes),
            proposals=self.moves.proposals,
        )
        self.action_space = self.moves.space

    # -- edges: one episode ----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        target, fixed, labels, body = self.truth.draw(rng, item, EASY + (1 - EASY) * self.difficulty)
        weight, order, count = self.points.plan(body)
        state = State(
            image=np.int64(item),
            fixed=fixed.ravel(),
            labels=self.bank.compared_labels(labels),
            weight=weight,
            target=target,
            field=np.zeros_like(target),
            order=order,
            count=np.int64(count),
            visited=np.int64(0),
            start_error_mm=np.float64(0),
            dice=np.float64(0),
            start_dice=np.float64(0),
            proposals=np.zeros(0),
        )
        row = self.with_field(batch.stack([state]), state.field[None], np.zeros(1, np.int64))
        dice = self.bank.dice(row.image, row.field, row.labels)
        return batch.take(replace(row, start_error_mm=self.error_mm(row), start_dice=dice), 0)

    def result(self, state: State) -> DisplacementField:
        sample = self.samples[number := int(state.image)]
        to_world = grid_conversions(self.samples, self.bank)[number]
        return DisplacementField(
            displacement_px(state.field, self.points.gap, to_world, pixels_of(sample).shape[1:])
        )

    def draw(self, state: State) -> np.ndarray:
        row, line = batch.stack([state]), np.arange(self.side, dtype=float)[None]
        fixed, moved = self.bank.compare(row.image, row.fixed, row.field, [line] * self.axes)
        point = self.points.at(self.present(row))[0]
        return overlay_bent(fixed[0], moved[0], point, self.window, (state.target, state.field))

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        motion = self.moves.motion(action, state.proposals)
        field = state.field + self.points.bspline_update(self.present(state), motion)
        return self.with_field(state, field, state.visited + 1)

    def observe(self, state: State) -> dict[str, Array]:
        present = self.present(state)
        return self.seen(
            window=self.windows(state),
            stage=self.points.stages.rows(present),
            position=2 * self.points.at(present) / (self.side - 1) - 1,
            proposals=state.proposals,
        )

    def reward(self, before: State, action: Array, after: State) -> Array:
        if self.reward_type == "dice":
            gained = 10 * (after.dice - before.dice)
        else:
            gained = rewards.progress(self.error(before), self.error(after))
        worse = folded_percent(after.field, self.points.gap) - folded_percent(before.field, self.points.gap)
        return gained - self.folding_penalty * worse

    def terminated(self, state: State) -> Array:
        return state.visited >= state.count

    def metrics(self, state: State) -> dict[str, Array]:
        found = {
            "tre_mm": self.error_mm(state),
            "tre_start_mm": state.start_error_mm + 0.0,
            "folded_percent": folded_percent(state.field, self.points.gap),
        }
        compared = state.image, state.field, state.labels
        if self.bank.names:
            found["dice"] = state.dice + 0.0 if self.reward_type == "dice" else self.bank.dice(*compared)
            found["dice_start"] = state.start_dice + 0.0
        if self.dice_of:
            found |= self.bank.dice_of(*compared, self.dice_of)
        return found | {"is_success": self.error(state) < self.success_radius * self.side}

    def expert(self, state: State) -> Array:
        missing = self.points.values(self.present(state), state.target - state.field)
        return self.moves.toward(missing, self.moves.quality(state.proposals, missing))

    def with_field(self, state: State, field: Array, visited: Array) -> State:
        """The state with another field (B, n, ..., n, d)."""
        after = replace(state, field=field, visited=visited)
        if self.reward_type == "dice" and self.labelled:
            after = replace(after, dice=self.bank.dice(state.image, field, state.labels))
        return replace(after, proposals=self.propose(after)) if self.moves.proposals else after

    def present(self, state: State) -> Array:
        """Number of the control point that is moved now, (B,)."""
        xp = xp_of(state.visited)
        turn = xp.clip(state.visited, 0, len(self.points) - 1)[:, None]
        return xp.take_along_axis(state.order, turn, axis=1)[:, 0]

    def propose(self, state: State) -> Array:
        """Moves of the control point by least squares, whatever the control, (B, scales, d + 2) float64."""
        now, windows = self.present(state), self.windows(state)
        return self.proposer.propose(state.image, windows, self.points.at(now), self.points.width(now))

    def windows(self, state: State) -> Array:
        """Fixed and moving image about the control points, (B, 2 * scales, w, ..., w) uint8."""
        point, images = self.points.at(self.present(state)), (state.image, state.fixed, state.field)
        return self.bank.windows(*images, point, self.scales, self.window)

    def error(self, state: State) -> Array:
        """Mean distance of the body's nodes, of pairs the points, from where they belong, (B,) pixels held."""
        return self.truth.error(state.image, state.field, state.target, state.weight)

    def error_mm(self, state: State) -> Array:
        """The error in millimetres (pixels of the image where it has no spacing), (B,)."""
        return self.error(state) * self.bank.units.rows(state.image)
