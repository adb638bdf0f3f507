"""What registration is in two and in three axes alike: states, moves, rewards, ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from visionrl import ops, rewards
from visionrl.banks.image_pairs import within
from visionrl.banks.label_maps import check_labels
from visionrl.core import Task
from visionrl.datasets import PairSample
from visionrl.envs.registration.controls import (
    Controls,
    check_modalities,
    encode_proposals,
    rests,
    select_proposal,
    two_modalities,
)
from visionrl.envs.registration.inliers import Inliers
from visionrl.envs.registration.proposals import COARSER, Bank, GaussNewton, fit_scales, grey
from visionrl.envs.registration.rules import Rules
from visionrl.metrics.similarity import mutual_information, ncc
from visionrl.ops import Array, DeviceTable, const, transforms, xp_of

MEMORY = 20  # steps that are looked back on for rest
BONUS = 10.0
EASY = 0.1  # share of the offsets at difficulty 0
# Share of half the shorter side of a fixed image: how far the view leaves the middle in augmented training
WANDER = 0.4
TURNED = {2: 180.0, 3: 20.0}  # degrees about each axis, likewise


@dataclass(frozen=True)
class State:
    """How the moving image lies on the fixed one; B episodes.

    Maps take places to places, (x, y) in pixels as held or (x, y, z) in millimetres, from the middle of the image; d is
    2 or 3. The view is what the windows show; it is the fixed image, but for augmented training.

    Attributes:
        pair: (B,) int64, index of the pair.
        frame: (B, d, d + 1) float64, from the view to the fixed image.
        target: (B, d, d + 1) float64, the true map from the view to the moving image.
        pose: (B, d, d + 1) float64, the map now.
        trail: (B, 20, d, d + 1) float64, poses before this one, newest last; NaN before the start.
        first: (B,) float64, target registration error at the start.
        score: (B,) float64, how alike the images are now; 0 where the reward does not ask.
        fits: (B, F, k + 2) float64, what ``proposals.GaussNewton`` proposes now; (B, 0) without control "fits".
        finished: (B,) bool, the episode has come to its end.
    """

    pair: Array
    frame: Array
    target: Array
    pose: Array
    trail: Array
    first: Array
    score: Array
    fits: Array
    finished: Array


class Registration(Task[State]):
    """The part of registration that does not ask how many axes there are.

    Attributes:
        axes: 2 or 3.
        unit: of places, the suffix of metrics.
        bank: the pairs, at the scales of the windows and of the fits.
        kind: of maps: "rigid", "similarity" or "affine".
        controls: how actions change the numbers of maps.
        fits: what proposes motions; None without control "fits".
        levels: numbers of the windows' scales in the bank.
        half: half the side of the field that the widest window shows.
        spread: (k,) largest offsets of a start.
    """

    axes: ClassVar[int]
    unit: ClassVar[str]
    evaluation: ClassVar[dict[str, Any]] = {"ends": "rest", "augment": False}
    difficulty: float = 1.0
    fits: GaussNewton | None = None
    bank: Any

    def set_up(
        self,
        samples: Sequence[PairSample],
        rules: Rules,
        held: Callable[[tuple[int, ...]], Bank],
        half: float,
    ) -> None:
        """Take in the pairs and the rules; the constructors of tasks end with it.

        Args:
            samples: the pairs.
            rules: checked.
            held: what holds the pairs at some scales.
            half: half the side of the field that the widest window shows.

        Raises:
            ValueError: the reward does not fit the pairs.
        """
        more = fit_scales(rules.scales) if rules.control == "fits" else ()
        bank = held(tuple(sorted({*rules.scales, *more}, reverse=True)))
        self.samples, self.rules, self.bank, self.half = samples, rules, bank, half
        self.kind, self.items, self.held = rules.transform, len(samples), held
        check_modalities(samples, rules.reward)
        if rules.reward == "dice" and bank.masks is None:
            raise ValueError("reward 'dice' needs label maps of both images of every pair")
        check_labels(rules.dice_of, bank.masks.known if bank.masks else [])
        self.levels = tuple(bank.scales.index(scale) for scale in rules.scales)
        self.grid = DeviceTable(bank.grid(self.levels[0], rules.window))
        still = np.tile(np.eye(self.axes, self.axes + 1), (len(samples), 1, 1))
        self.fixed_windows = DeviceTable(self.view(0, np.arange(len(samples)), still))
        self.set_moves()

    def set_moves(self) -> None:
        """What an agent can do, and what it is shown for it."""
        rules = self.rules
        control = "continuous" if rules.control == "fits" else rules.control
        self.controls = Controls(control, self.kind, self.axes, rules.step, self.half)
        turns = self.axes * (self.axes - 1) // 2
        others = self.controls.count - self.axes - turns  # stretches and shears
        self.spread = np.array(
            [rules.offset] * self.axes + [rules.offset_deg] * turns + [rules.offset_deg / 3] * others
        )
        shape = (len(rules.scales) * 2 * self.bank.channels, rules.window, rules.window)
        shown: dict[str, spaces.Space] = {"window": spaces.Box(0, 255, shape, np.uint8)}
        self.action_space = self.controls.space
        if rules.control == "fits":
            self.fits = self.fitting(self.bank)
            shown["fits"] = spaces.Box(-1, 1, (self.fits.size,), np.float32)
            self.action_space = spaces.Box(-1, 1, (self.controls.count + self.fits.count,), np.float32)
        self.observation_space = spaces.Dict(shown)

    @cached_property
    def inliers(self) -> Inliers:
        """The corners of the pairs that match; of images alone."""
        return Inliers(self.bank)

    def fitting(self, bank: Bank) -> GaussNewton:
        """What proposes motions."""
        rules = self.rules
        scales, side = fit_scales(rules.scales), rules.window // COARSER
        return GaussNewton(
            bank, scales, side, self.kind, rules.step, rules.augment, two_modalities(self.samples)
        )

    @cached_property
    def proposer(self) -> GaussNewton:
        """What proposes motions, whatever the control."""
        return self.fits or self.fitting(self.held(fit_scales(self.rules.scales)))

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        frame = np.eye(self.axes, self.axes + 1)[None]
        if self.rules.augment:
            wander = [WANDER * self.bank.half_extent[item]] * self.axes
            reach = np.array(wander + [TURNED[self.axes]] * (self.axes * (self.axes - 1) // 2))
            frame = transforms.to_matrix(rng.uniform(-1, 1, (1, len(reach))) * reach, "rigid", self.axes)
        target = transforms.compose(frame, self.bank.geometry.truth[item][None])
        share = EASY + (1 - EASY) * self.difficulty
        if self.rules.augment:
            share = share * rng.random() ** 2  # whoever comes near must also learn the last steps
        offset = rng.uniform(-1, 1, (1, self.controls.count)) * self.spread * share
        if self.rules.start == "own":
            pose = transforms.compose(frame, self.bank.geometry.starts[item][None])
        else:
            pose = transforms.move(target, offset, self.kind)
        pair = np.array([item])
        return State(
            pair=np.int64(item),
            frame=frame[0],
            target=target[0],
            pose=pose[0],
            trail=np.full((MEMORY, self.axes, self.axes + 1), np.nan),
            first=self.bank.geometry.error(pair, from_fixed(frame, pose))[0],
            score=self.alike(pair, frame, pose)[0],
            fits=self.proposed(pair, frame, pose)[0],
            finished=np.False_,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.pose)
        pose = transforms.move(state.pose, self.motion(state, action), self.kind)
        pose = xp.where(self.allowed(pose, state.pose)[:, None, None], pose, state.pose)
        trail = xp.concat([state.trail[:, 1:, ...], state.pose[:, None, ...]], axis=1)
        if self.rules.ends == "close":
            finished = transforms.distance(pose, state.target) <= self.rules.epsilon
        else:
            finished = rests(pose, trail)
        score = self.alike(state.pair, state.frame, pose)
        fits = self.proposed(state.pair, state.frame, pose)
        return replace(state, pose=pose, trail=trail, score=score, fits=fits, finished=finished)

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.pose)
        moving = self.view(1, state.pair, state.pose)
        both = xp.stack([self.fixed(state.pair, state.frame), moving], axis=3)
        seen = {"window": xp.reshape(both, (both.shape[0], -1, *both.shape[-2:]))}
        return seen | {"fits": encode_proposals(state.fits, self.rules.step)} if self.fits else seen

    def fixed(self, pair: Array, frame: Array) -> Array:
        """What the windows show of the fixed images, (B, scales, C, w, w)."""
        return (
            self.view(0, pair, frame)
            if self.rules.augment
            else xp_of(pair).take(self.fixed_windows.on(pair), pair, axis=0)
        )

    def view(self, which: int, pair: Array, pose: Array, levels: Sequence[int] | None = None) -> Array:
        """Windows (B, levels, C, w, w) of the fixed (0) or the moving (1) images, at all scales unless some are named."""
        return self.bank.windows(
            which, pair, pose, self.levels if levels is None else levels, self.rules.window
        )

    def reward(self, before: State, action: Array, after: State) -> Array:
        xp, by_truth = xp_of(before.pose), self.rules.reward == "truth"
        gaps = [transforms.distance(state.pose, state.target) for state in (before, after)]
        gained = rewards.progress(*gaps) if by_truth else 10 * (after.score - before.score)
        if self.rules.verdicts:
            better, same, worse = self.rules.verdicts
            gained = xp.where(
                gained > 1e-9, better, xp.where(gained < -1e-9, worse, xp.full_like(gained, same))
            )
        if not by_truth:
            return gained
        arrived = after.finished & (gaps[1] <= self.rules.epsilon)
        return gained + BONUS * xp.astype(arrived, gained.dtype)

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        matrix = from_fixed(state.frame, state.pose)
        error = self.bank.geometry.error(state.pair, matrix)
        found = {f"tre_{self.unit}": error, f"tre_start_{self.unit}": state.first + 0.0}
        if self.bank.masks is not None:
            found["dice"] = self.bank.masks.dice(state.pair, matrix)
        if self.rules.dice_of:
            found |= self.bank.masks.dice_of(state.pair, matrix, self.rules.dice_of)
        return {**found, "is_success": error < self.rules.radius}

    def expert(self, state: State) -> Array:
        own = self.controls.towards(transforms.residual(state.pose, state.target, self.kind))
        if not self.fits:
            return own
        trust = self.fits.trust(state.pose, state.target, state.fits, 2 * self.rules.epsilon)
        return xp_of(own).concat([own, trust], axis=1)

    def motion(self, state: State, action: Array) -> Array:
        """The numbers (B, k) of the motions that actions make."""
        count = self.controls.count
        if not self.fits:
            return self.controls.motion(action, state.pose)
        return select_proposal(
            action[:, count:], self.controls.motion(action[:, :count], state.pose), state.fits
        )

    def proposed(self, pair: Array, frame: Array, pose: Array) -> Array:
        """What the fits propose, see ``State``."""
        return self.fits.made(pair, frame, pose) if self.fits else xp_of(pose).zeros_like(pose[:, 0, :0])

    def allowed(self, pose: Array, before: Array) -> Array:
        """Whether maps, made of those before, neither lose the image nor shrink or stretch it too much, (B,) bool."""
        xp, axes = xp_of(pose), self.axes
        size = transforms.determinant(pose)
        longest = xp.sum(pose[:, :, :axes] ** 2, axis=(1, 2))
        reach = xp.maximum(xp.abs(before[:, :, axes]), const((self.half,), pose))
        near = ops.every(xp.abs(pose[:, :, axes]) <= reach)
        return near & (size >= 0.5**axes) & (longest <= 4.0 * axes)

    def alike(self, pair: Array, frame: Array, pose: Array) -> Array:
        """How alike the images are, at the coarsest scale, (B,) float64; 0 where the reward does not ask."""
        xp, rated = xp_of(pose), self.rules.reward
        if rated == "truth":
            return xp.zeros_like(pose[:, 0, 0])
        if rated == "inliers":
            return self.inliers.share(pair, from_fixed(frame, pose))
        if rated == "dice":
            return self.bank.masks.dice(pair, from_fixed(frame, pose))
        windows = self.fixed(pair, frame)[:, :1, ...], self.view(1, pair, pose, self.levels[:1])
        first, second = (xp.round(grey(some, self.bank.pictures))[:, 0, :] for some in windows)
        compare = ncc if rated == "ncc" else mutual_information
        return compare(first, second, within(self.grid, self.bank.sizes[1], pair, pose))


def from_fixed(frame: Array, pose: Array) -> Array:
    """The maps (B, d, d + 1) from the fixed to the moving image, of those from the view to both."""
    return transforms.compose(transforms.invert(frame), pose)


def check_axes(samples: Sequence[PairSample], axes: int, other: str) -> None:
    """Refuse pairs of another dimension.

    Raises:
        ValueError: names the pair, and the task for it.
    """
    for sample in samples:
        if (found := sample.fixed.ndim - 1) != axes:
            raise ValueError(
                f"pair {sample.name!r} must be of {axes}D images, got {found}D ones; {other} is for those"
            )
