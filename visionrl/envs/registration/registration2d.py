"""Registration of images: shift, turn and stretch a moving image until it lies on a fixed one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium import spaces

from visionrl import ops, rewards
from visionrl.core import Task, check_choice, check_range, register
from visionrl.datasets import PairSample, load
from visionrl.envs.registration import transforms
from visionrl.envs.registration.controls import CONTROLS, Controls, check_modalities, rests
from visionrl.envs.registration.overlay import overlay
from visionrl.envs.registration.pair_bank import pair_bank
from visionrl.envs.registration.similarity import mutual_information, ncc
from visionrl.ops import Array, xp_of

AXES = 2
MEMORY = 20  # steps that are looked back on for rest
BONUS = 10.0
EASY = 0.1  # share of the offsets at difficulty 0
DEFAULTS = {"rigid": "photo-pairs", "similarity": "photo-pairs-similarity", "affine": "photo-pairs-affine"}


@dataclass(frozen=True)
class State:
    """How the moving image lies on the fixed one; B episodes.

    Maps take places (x, y) of the fixed image to those of the moving one, pixels as held, from the images' middles.

    Attributes:
        pair: (B,) int64, index of the pair.
        target: (B, 2, 3) float64, the true map.
        pose: (B, 2, 3) float64, the map now.
        trail: (B, 20, 2, 3) float64, poses before this one, newest last; NaN before the start.
        first: (B,) float64, target registration error at the start, pixels of the original moving image.
        score: (B,) float64, how alike the images are now; 0 where the reward does not ask.
        finished: (B,) bool, the episode has come to its end.
    """

    pair: Array
    target: Array
    pose: Array
    trail: Array
    first: Array
    score: Array
    finished: Array


@register(
    "Registration2D-v0",
    max_steps=150,
    tags=("registration", "2d", "discrete", "continuous"),
    presets={
        "liao2017": {"control": "unit", "ends": "close", "epsilon": 0.5},
        "bauer2021": {"control": "steps", "verdicts": (0.5, -0.1, -0.6)},
    },
)
class Registration2D(Task[State]):
    """The agent moves one image over another until both show the same place at the same place.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (scales * 2 * C, w, w) uint8: at each scale the fixed image about its middle, then the moving image as it lies on it now; black outside |
    | Action      | 2k + 0 / 1 one more / less of number k of the map: shift x, shift y (1 pixel), turn (1 degree), with "similarity" a stretch (exp of 1 degree: 1.8 %), with "affine" two stretches and a shear; or "steps": 11 steps for each number at once; or "continuous" |
    | Reward      | distance to the true map gained, a pixel counting as much as a degree, and 10 at an end within ``epsilon`` of it; or the gain in similarity, which asks for no truth |
    | Ends        | when the agent rests: it is for the 4th time in 20 steps where it was, to a quarter of a pixel or degree |

    A move is made in the grid of the fixed image, about its middle: a turn does not shift the middle. A move that would
    take the middle out of the field by more than its side, or shrink or stretch the image beyond a half or two, is not
    made. ``info`` has the target registration error ``tre_px``, the mean distance of the pair's points from where the
    map puts them, in pixels of the original moving image, and ``tre_start_px``. An episode succeeds below 2 pixels.

    Args:
        data: None for the embedded photographs, "scan-pairs" for two modalities, "pairs:FOLDER", or a sequence of
            ``PairSample``. A pair without a true map has the one that fits its points best.
        split: "train", "val" or "test".
        transform: "rigid", "similarity" or "affine".
        control: "unit": one number by +-1; "steps": every number by one of 11 steps, the largest 0.27 of half the
            field and of a radian; "continuous": every number by up to ``step``.
        step: largest continuous move, pixels and degrees.
        reward: "truth", "ncc" (cross-correlation) or "mi" (mutual information), the last two times 10.
        verdicts: rewards (better, same, worse) in place of the amount that was gained.
        start: "offset" begins a random map away from the truth, "own" where the pair says, or middle on middle.
        offset_px: largest random shift along each axis, pixels as held.
        offset_deg: largest random turn, degrees; stretches and shears are up to a third of it.
        ends: "rest", or "close": within ``epsilon`` of the truth, for training alone (``--train-args``).
        epsilon: distance to the true map that earns the 10, pixels and degrees.
        radius: an episode succeeds below this error, pixels of the original moving image.
        window: side of the windows, pixels.
        scales: pixels of the image per pixel of a window, at each scale.
        max_side: pairs with a longer side than this are shrunk to it; None never.
        channels: 1 shows all images grey, 3 in RGB; None is RGB if an image of the split is.
        loading: ``split_file``, ``split_ratios``, ``split_seed``; see ``visionrl.datasets.load``.

    Source: Liao et al. (2017) for "unit"; there six numbers, and the action of the largest value, until 0.5 is reached;
    Bauer et al. (2021), "ReAgent", for "steps" and the verdicts; there point clouds.
    """

    evaluation: ClassVar[dict[str, Any]] = {"ends": "rest"}
    eased = True

    def __init__(
        self,
        data: Any = None,
        split: str = "train",
        transform: Literal["rigid", "similarity", "affine"] = "rigid",
        control: Literal["unit", "steps", "continuous"] = "unit",
        step: float = 10.0,
        reward: Literal["truth", "ncc", "mi"] = "truth",
        verdicts: Sequence[float] | None = None,
        start: Literal["offset", "own"] = "offset",
        offset_px: float = 30.0,
        offset_deg: float = 30.0,
        ends: Literal["rest", "close"] = "rest",
        epsilon: float = 1.0,
        radius: float = 2.0,
        window: int = 48,
        scales: Sequence[int] = (4, 2, 1),
        max_side: int | None = 256,
        channels: Literal[1, 3] | None = 1,
        **loading: Any,
    ) -> None:
        for name, value, allowed in (
            ("transform", transform, transforms.KINDS),
            ("control", control, CONTROLS),
            ("reward", reward, ("truth", "ncc", "mi")),
            ("start", start, ("offset", "own")),
            ("ends", ends, ("rest", "close")),
            ("channels", channels, (1, 3, None)),
        ):
            check_choice(name, value, allowed)
        for name, low, number in (("step", 0.5, step), ("epsilon", 0.01, epsilon), ("radius", 0.01, radius)):
            check_range(name, number, low)
        check_range("offset_px", offset_px, 0.0)
        check_range("offset_deg", offset_deg, 0.0, 120.0)
        check_range("window", window, 16)
        if not scales or list(scales) != sorted(set(scales), reverse=True) or min(scales) < 1:
            raise ValueError(f"scales must be whole numbers >= 1, falling, got {scales!r}")
        if verdicts is not None and len(verdicts) != 3:
            raise ValueError(f"verdicts must be three rewards (better, same, worse), got {verdicts!r}")
        self.kind, self.rated_by, self.own = transform, reward, start == "own"
        self.verdicts, self.ends, self.epsilon, self.radius = verdicts, ends, epsilon, radius
        self.samples = load(data, kind=PairSample, default=DEFAULTS[transform], split=split, **loading)
        check_modalities(self.samples, reward)
        self.bank = pair_bank(self.samples, window, tuple(scales), transform, max_side, channels)
        self.items = len(self.samples)
        self.half = max(scales) * window / 2  # of the field, pixels
        self.controls = Controls(control, transform, AXES, step, self.half)
        others = self.controls.count - AXES - 1  # stretches and shears
        self.spread = np.array([offset_px] * AXES + [offset_deg] + [offset_deg / 3] * others)
        shown = len(scales) * 2 * self.bank.channels
        self.observation_space = spaces.Dict(
            {"window": spaces.Box(0, 255, (shown, window, window), np.uint8)}
        )
        self.action_space = self.controls.space

    @property
    def settled(self) -> dict[str, Any]:
        return {"channels": self.bank.channels}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        target = self.bank.truth[item][None]
        share = EASY + (1 - EASY) * self.difficulty
        offset = rng.uniform(-1, 1, (1, self.controls.count)) * self.spread * share
        pose = self.bank.starts[item][None] if self.own else transforms.moved(target, offset, self.kind)
        pair = np.array([item])
        return State(
            pair=np.int64(item),
            target=target[0],
            pose=pose[0],
            trail=np.full((MEMORY, AXES, AXES + 1), np.nan),
            first=self.error(pair, pose)[0],
            score=self.alike(pair, pose)[0],
            finished=np.False_,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.pose)
        pose = transforms.moved(state.pose, self.controls.motion(action, state.pose), self.kind)
        pose = xp.where(self.allowed(pose)[:, None, None], pose, state.pose)
        trail = xp.concat([state.trail[:, 1:, ...], state.pose[:, None, ...]], axis=1)
        if self.ends == "close":
            finished = transforms.distance(pose, state.target) <= self.epsilon
        else:
            finished = rests(pose, trail)
        score = self.alike(state.pair, pose)
        return replace(state, pose=pose, trail=trail, score=score, finished=finished)

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.pose)
        fixed, moving = self.bank.fixed_windows(state.pair), self.bank.moving_windows(state.pair, state.pose)
        both = xp.stack([fixed, moving], axis=2)
        return {"window": xp.reshape(both, (both.shape[0], -1, *both.shape[-2:]))}

    def reward(self, before: State, action: Array, after: State) -> Array:
        xp = xp_of(before.pose)
        gaps = [transforms.distance(state.pose, state.target) for state in (before, after)]
        gained = rewards.progress(*gaps) if self.rated_by == "truth" else 10 * (after.score - before.score)
        if self.verdicts:
            better, same, worse = self.verdicts
            gained = xp.where(
                gained > 1e-9, better, xp.where(gained < -1e-9, worse, xp.full_like(gained, same))
            )
        if self.rated_by != "truth":
            return gained
        arrived = after.finished & (gaps[1] <= self.epsilon)
        return gained + BONUS * xp.astype(arrived, gained.dtype)

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        error = self.error(state.pair, state.pose)
        return {"tre_px": error, "tre_start_px": state.first + 0.0, "is_success": error < self.radius}

    def expert(self, state: State) -> Array:
        return self.controls.towards(transforms.residual(state.pose, state.target, self.kind))

    def allowed(self, pose: Array) -> Array:
        """Whether maps neither lose the image nor shrink or stretch it too much, (B,) bool."""
        xp = xp_of(pose)
        size = transforms.determinant(pose)
        longest = xp.sum(pose[:, :, :AXES] ** 2, axis=(1, 2))
        near = ops.every(xp.abs(pose[:, :, AXES]) <= 2 * self.half)
        return near & (size >= 0.25) & (longest <= 4.0 * AXES)

    def error(self, pair: Array, pose: Array) -> Array:
        """Target registration error, (B,) pixels of the original moving image."""
        xp, bank = xp_of(pose), self.bank
        tables = (bank.fixed_points, bank.moving_points, bank.weights, bank.factors)
        first, second, weight, factor = (xp.take(table.on(pair), pair, axis=0) for table in tables)
        return factor * xp.sum(weight * ops.norm(transforms.carry(pose, first) - second), axis=-1)

    def alike(self, pair: Array, pose: Array) -> Array:
        """How alike the images are at the coarsest scale, (B,) float64; 0 where the reward does not ask."""
        xp = xp_of(pose)
        if self.rated_by == "truth":
            return xp.zeros_like(pose[:, 0, 0])
        fixed = self.bank.fixed_windows(pair)[:, 0, 0, ...]
        moving = self.bank.moving_windows(pair, pose, (0,))[:, 0, 0, ...]
        first, second = (xp.reshape(grey, (pose.shape[0], -1)) for grey in (fixed, moving))
        compare = ncc if self.rated_by == "ncc" else mutual_information
        return compare(first, second, self.bank.inside(pair, pose, 0))

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        return overlay(self.bank, int(state.pair), state.pose)
