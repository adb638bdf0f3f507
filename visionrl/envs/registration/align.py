"""The family of alignment: move an image or a volume by a map until it lies on another; d = 2 or 3 axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Interval, MinLen

from visionrl import ops, rewards
from visionrl.banks.image_pairs import within
from visionrl.banks.label_maps import check_labels
from visionrl.banks.pair_geometry import (
    check_axes,
    check_modalities,
    check_truth,
    has_truth,
    pixel_matrix,
    two_modalities,
    without_truth,
)
from visionrl.core import Task, arguments
from visionrl.core.observables import Image
from visionrl.core.results import LinearMap
from visionrl.datasets import PairSample
from visionrl.envs.registration.controls import make_control, oscillates, remember
from visionrl.envs.registration.inliers import Inliers
from visionrl.envs.registration.proposals import COARSER, Bank, GaussNewton, grey, proposal_scales
from visionrl.metrics.similarity import mutual_information, ncc
from visionrl.ops import Array, DeviceTable, const, transforms, xp_of

MEMORY = 20  # steps that are looked back on for rest
BONUS = 10.0
ARRIVED = 1.0  # distance to the true map that earns the bonus, pixels (millimetres) and degrees
LEVELS = (0.5, -0.1, -0.6)  # rewards of a better, an equal and a worse map (Bauer et al., 2021)
EASY = 0.1  # share of the offsets at difficulty 0
# Share of half the shorter side of a fixed image: how far the view leaves the middle in augmented training
VIEW_SHIFT = 0.4
VIEW_TURN = {2: 180.0, 3: 20.0}  # degrees about each axis, likewise


@dataclass(frozen=True)
class State:
    """The map that brings the moving image onto the fixed one; B episodes.

    Maps take places to places, (x, y) in pixels as held or (x, y, z) in millimetres, from the middle of the image; d is
    2 or 3. The view is what the windows show; it is the fixed image, but for augmented training.

    Attributes:
        pair: (B,) int64, index of the pair.
        view_transform: (B, d, d + 1) float64, from the view to the fixed image.
        target: (B, d, d + 1) float64, the true map from the view to the moving image; NaN where it is unknown.
        pose: (B, d, d + 1) float64, the map now.
        trail: (B, 20, d, d + 1) float64, poses before this one, newest last; NaN before the start.
        start_error: (B,) float64, target registration error at the start.
        score, start_score: (B,) float64, similarity of the images now and at the start; 0 where the reward does not ask.
        proposals: (B, F, k + 2) float64, what ``GaussNewton`` proposes now; (B, 0) for other controls.
        finished: (B,) bool, the episode has come to its end.
    """

    pair: Array
    view_transform: Array
    target: Array
    pose: Array
    trail: Array
    start_error: Array
    score: Array
    start_score: Array
    proposals: Array
    finished: Array


@arguments
class Align(Task[State]):
    """Alignment of pairs by one map; a leaf states the number of axes, the bank and the picture.

    Attributes:
        axes: 2 or 3.
        unit: of places, the suffix of metrics.
        samples_by_transform: the embedded data set of each kind of map.
        bank: the pairs, at the scales of the windows and of the proposals.
        moves: the control, how actions change the numbers of maps.
        levels: numbers of the windows' scales in the bank.
        half: half the side of the field that the widest window shows.
        spread: (k,) largest offsets of a start.
        arrived: distance to the true map that earns the bonus at an end, pixels (millimetres) and degrees; within
            twice of it the expert trusts proposals.
        success_radius: an episode succeeds below this target registration error, pixels of the original moving image
            (millimetres in 3D).
        stops: ``stop_distance``, and ``augmented``: ``augment``; off where samples are without labels.
    """

    transform: Literal["rigid", "similarity", "affine"] = "rigid"
    """Kind of the map: shifts and turns, with one stretch, or with all stretches and shears."""
    control: Literal["unit", "steps", "continuous", "gauss_newton"] = "unit"
    """"unit" changes one number by 1, "steps" each number by one of 11 steps (the largest 0.27 of half the field and
    of a radian), "continuous" each by up to ``max_step``; "gauss_newton" offers also the motions that a Gauss-Newton
    step proposes."""
    max_step: Annotated[float, Interval(ge=0.5, le=1000.0)] = 10.0
    """Largest continuous move and proposal, in pixels (millimetres in 3D) and degrees."""
    reward_type: Literal["truth", "levels", "ncc", "mi", "dice", "inliers"] = "truth"
    """"truth" (the distance to the true map that was gained), "levels" (of it whether the map is better, equal or
    worse: 0.5, -0.1, -0.6), or 10 times the gain of a similarity: "ncc" (cross-correlation) and "mi" (mutual
    information), in 2D also "inliers" (share of ORB's matches that the map agrees with, to 3 pixels), which need
    neither points nor transforms, or "dice" (overlap of label maps)."""
    offset: tuple[Annotated[float, Ge(0.0)], Annotated[float, Interval(ge=0.0, le=120.0)]] | None = (
        30.0,
        30.0,
    )
    """Largest random shift of the start along each axis, pixels as held (millimetres in 3D), and turn about each
    axis, degrees, from the true map or, where it is unknown, from where the pair says or middle on middle; stretches
    and shears are up to a third of the latter. None begins where the pair says, or middle on middle."""
    stop_distance: Annotated[float, Ge(0.01)] | None = None
    """Distance to the true map, pixels (millimetres) and degrees, within which an episode ends and earns the 10; for
    training alone. None ends where the agent oscillates, and pays within 1."""
    window: Annotated[int, Ge(16)] = 48
    """Side of the windows (cuts in 3D), pixels; even with "gauss_newton"."""
    scales: Annotated[Sequence[Annotated[int, Ge(1)]], MinLen(1)] = (4, 2, 1)
    """Pixels (voxels) of the image per pixel of a window, at each scale, falling."""
    augment: bool = False
    """Views the fixed image from random directions and off its middle, from starts at any distance up to the offsets;
    for training alone, against few pairs learnt by heart."""
    dice_of: Sequence[int] = ()
    """Labels whose overlap ``info`` also has by itself, as ``dice_LABEL``, such as one organ among landmarks."""

    axes: ClassVar[int]
    unit: ClassVar[str]
    samples_by_transform: ClassVar[dict[str, str]]
    sample_type = PairSample
    evaluation: ClassVar[dict[str, Any]] = {"stop_distance": None, "augment": False}
    success_radius: ClassVar[float] = 2.0
    difficulty = 1.0

    def setup(self) -> None:
        self.check_rules()
        self.stops, self.augmented = (self.stop_distance, self.augment) if self.labelled else (None, False)
        self.arrived = self.stops or ARRIVED
        self.samples = self.load(default=self.samples_by_transform[self.transform])
        self.items = len(self.samples)
        check_axes(self.samples, self.axes, f"Registration{5 - self.axes}D-v0")
        if self.labelled:
            check_modalities(self.samples, self.reward_type)
            self.check_known()
        else:
            self.samples = tuple(map(without_truth, self.samples))
        self.half = max(self.scales) * self.window / 2 * self.pixel_side()
        more = proposal_scales(self.scales) if self.control == "gauss_newton" else ()
        self.bank: Any = self.make_bank(tuple(sorted({*self.scales, *more}, reverse=True)))
        if self.labelled:
            if self.reward_type == "dice" and self.bank.masks is None:
                raise ValueError("reward_type 'dice' needs label maps of both images of every pair")
            check_labels(self.dice_of, self.bank.masks.known if self.bank.masks else [])
        self.levels = tuple(self.bank.scales.index(scale) for scale in self.scales)
        self.grid = DeviceTable(self.bank.grid(self.levels[0], self.window))
        identity = np.tile(np.eye(self.axes, self.axes + 1), (self.items, 1, 1))
        self.fixed_windows = DeviceTable(self.view(0, np.arange(self.items), identity))
        proposer = self.make_proposer(self.bank) if self.control == "gauss_newton" else None
        self.moves = make_control(self.control, self.transform, self.axes, self.max_step, self.half, proposer)
        self.spread = self.largest_offsets()
        self.show(
            window=Image(len(self.scales) * 2 * self.bank.channels, self.window),
            proposals=self.moves.proposals,
        )
        self.action_space = self.moves.space

    def check_rules(self) -> None:
        """Refuse arguments that do not go together.

        Raises:
            ValueError: names the argument, the rule, and the value.
        """
        if self.reward_type == "inliers" and self.axes == 3:
            raise ValueError(
                "reward_type must be one of 'truth', 'levels', 'ncc', 'mi', 'dice' in 3D, got 'inliers'"
            )
        if self.control == "gauss_newton" and self.window % COARSER:
            raise ValueError(f"window must be even with control 'gauss_newton', got {self.window}")
        if list(self.scales) != sorted(set(self.scales), reverse=True):
            raise ValueError(f"scales must be whole numbers >= 1, falling, got {self.scales!r}")

    def check_known(self) -> None:
        """Find out whether all pairs say how they lie; where they do not, metrics are similarities, without an expert.

        Raises:
            ValueError: an argument needs what a pair does not say.
        """
        if all(map(has_truth, self.samples)):
            return
        if self.by_truth:
            check_truth(
                self.samples, f"reward_type {self.reward_type!r}", "'ncc' and 'mi' need none of these"
            )
        if self.stop_distance:
            check_truth(self.samples, "stop_distance")
        self.knows_truth, self.primary_metric = False, ("similarity", True)  # type: ignore[misc]

    @property
    def by_truth(self) -> bool:
        """Tell if the reward looks at the true map."""
        return self.reward_type in ("truth", "levels")

    def pixel_side(self) -> float:
        """Side of the pixels held, in the unit of places."""
        raise NotImplementedError

    def make_bank(self, scales: tuple[int, ...]) -> Bank:
        """The pairs, held at some scales."""
        raise NotImplementedError

    def largest_offsets(self) -> np.ndarray:
        """(k,) largest random change of each number of the true map."""
        turns = self.axes * (self.axes - 1) // 2
        others = self.moves.count - self.axes - turns  # stretches and shears
        shift, turn = self.offset or (0.0, 0.0)
        return np.array([shift] * self.axes + [turn] * turns + [turn / 3] * others)

    def make_proposer(self, bank: Bank) -> GaussNewton:
        """The Gauss-Newton proposals on a bank."""
        scales, side = proposal_scales(self.scales), self.window // COARSER
        multimodal = two_modalities(self.samples)
        return GaussNewton(bank, scales, side, self.transform, self.max_step, self.augmented, multimodal)

    @cached_property
    def inliers(self) -> Inliers:
        """The corners of the pairs that match; of images alone."""
        return Inliers(self.bank)

    @cached_property
    def proposer(self) -> GaussNewton:
        """The Gauss-Newton proposals, whatever the control."""
        return self.moves.proposer or self.make_proposer(self.make_bank(proposal_scales(self.scales)))

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        view_transform = np.eye(self.axes, self.axes + 1)[None]
        if self.augmented:
            shifts = [VIEW_SHIFT * self.bank.half_extent[item]] * self.axes
            reach = np.array(shifts + [VIEW_TURN[self.axes]] * (self.axes * (self.axes - 1) // 2))
            view_transform = transforms.to_matrix(
                rng.uniform(-1, 1, (1, len(reach))) * reach, "rigid", self.axes
            )
        truth, start = (
            transforms.compose(view_transform, maps[item][None])
            for maps in (self.bank.geometry.truth, self.bank.geometry.starts)
        )
        share = EASY + (1 - EASY) * self.difficulty
        if self.augmented:
            share = share * rng.random() ** 2  # whoever comes near must also learn the last steps
        offset = rng.uniform(-1, 1, (1, self.moves.count)) * self.spread * share
        if self.offset is None or not self.labelled:
            pose = start
        else:
            pose = transforms.move(start if np.isnan(truth).any() else truth, offset, self.transform)
        pair = np.array([item])
        score = self.similarity(pair, view_transform, pose)[0]
        return State(
            pair=np.int64(item),
            view_transform=view_transform[0],
            target=truth[0],
            pose=pose[0],
            trail=np.full((MEMORY, self.axes, self.axes + 1), np.nan),
            start_error=self.bank.geometry.error(pair, from_fixed(view_transform, pose))[0],
            score=score,
            start_score=score,
            proposals=self.moves.propose(pair, view_transform, pose)[0],
            finished=np.False_,
        )

    def result(self, state: State) -> LinearMap:
        matrix = from_fixed(state.view_transform[None], state.pose[None])[0]
        number = int(state.pair)
        return LinearMap.between(
            pixel_matrix(matrix, *self.bank.to_world[number]), self.samples[number].affines
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.pose)
        pose = transforms.move(state.pose, self.moves.motion(action, state.proposals), self.transform)
        pose = xp.where(self.allowed(pose, state.pose)[:, None, None], pose, state.pose)
        trail = remember(state.trail, state.pose)
        finished = self.ends(pose, state.target, trail)
        score = self.similarity(state.pair, state.view_transform, pose)
        proposals = self.moves.propose(state.pair, state.view_transform, pose)
        return replace(state, pose=pose, trail=trail, score=score, proposals=proposals, finished=finished)

    def ends(self, pose: Array, target: Array, trail: Array) -> Array:
        """(B,) bool, whether episodes in which the pose followed a trail have come to their end."""
        if self.stops:
            return transforms.distance(pose, target) <= self.stops
        return oscillates(pose, trail)

    def observe(self, state: State) -> dict[str, Array]:
        fixed, moving = self.fixed(state.pair, state.view_transform), self.view(1, state.pair, state.pose)
        return self.seen(window=xp_of(state.pose).stack([fixed, moving], axis=3), proposals=state.proposals)

    def fixed(self, pair: Array, view_transform: Array) -> Array:
        """Windows of the fixed images, (B, scales, C, w, w)."""
        return self.view(0, pair, view_transform) if self.augmented else self.fixed_windows.rows(pair)

    def view(self, which: int, pair: Array, pose: Array, levels: Sequence[int] | None = None) -> Array:
        """Windows (B, levels, C, w, w) of the fixed (0) or the moving (1) images, at all scales by default."""
        return self.bank.windows(which, pair, pose, self.levels if levels is None else levels, self.window)

    def reward(self, before: State, action: Array, after: State) -> Array:
        if not self.by_truth:
            return 10 * (after.score - before.score)
        xp = xp_of(before.pose)
        gaps = [transforms.distance(state.pose, state.target) for state in (before, after)]
        gained = rewards.progress(*gaps)
        if self.reward_type == "levels":
            better, same, worse = LEVELS
            gained = xp.where(
                gained > 1e-9, better, xp.where(gained < -1e-9, worse, xp.full_like(gained, same))
            )
        arrived = after.finished & (gaps[1] <= self.arrived)
        return gained + BONUS * xp.astype(arrived, gained.dtype)

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        if not self.knows_truth:
            now = self.similarity(state.pair, state.view_transform, state.pose)
            return {"similarity": now, "similarity_start": state.start_score + 0.0}
        matrix = from_fixed(state.view_transform, state.pose)
        error = self.bank.geometry.error(state.pair, matrix)
        found = {f"tre_{self.unit}": error, f"tre_start_{self.unit}": state.start_error + 0.0}
        if self.bank.masks is not None:
            found["dice"] = self.bank.masks.dice(state.pair, matrix)
        if self.dice_of:
            found |= self.bank.masks.dice_of(state.pair, matrix, self.dice_of)
        return {**found, "is_success": error < self.success_radius}

    def expert(self, state: State) -> Array:
        check_truth(self.samples, "expert")
        missing = transforms.residual(state.pose, state.target, self.transform)
        quality = self.moves.quality(state.proposals, state.pose, state.target, 2 * self.arrived)
        return self.moves.toward(missing, quality)

    def allowed(self, pose: Array, before: Array) -> Array:
        """True where maps neither lose the image nor shrink or stretch it too much, given those before, (B,) bool."""
        xp, axes = xp_of(pose), self.axes
        size = transforms.determinant(pose)
        longest = xp.sum(pose[:, :, :axes] ** 2, axis=(1, 2))
        reach = xp.maximum(xp.abs(before[:, :, axes]), const((self.half,), pose))
        near = ops.every(xp.abs(pose[:, :, axes]) <= reach)
        return near & (size >= 0.5**axes) & (longest <= 4.0 * axes)

    def similarity(self, pair: Array, view_transform: Array, pose: Array) -> Array:
        """The similarity of the images at the coarsest scale, (B,) float64; 0 where the reward does not ask."""
        xp, rated = xp_of(pose), self.reward_type
        if self.by_truth or not self.labelled:
            return xp.zeros_like(pose[:, 0, 0])
        if rated == "inliers":
            return self.inliers.share(pair, from_fixed(view_transform, pose))
        if rated == "dice":
            return self.bank.masks.dice(pair, from_fixed(view_transform, pose))
        windows = self.fixed(pair, view_transform)[:, :1, ...], self.view(1, pair, pose, self.levels[:1])
        first, second = (xp.round(grey(some, self.bank.pictures))[:, 0, :] for some in windows)
        compare = ncc if rated == "ncc" else mutual_information
        return compare(first, second, within(self.grid, self.bank.sizes[1], pair, pose))


def from_fixed(view_transform: Array, pose: Array) -> Array:
    """The maps (B, d, d + 1) from the fixed to the moving image, of those from the view to both."""
    return transforms.compose(transforms.invert(view_transform), pose)
