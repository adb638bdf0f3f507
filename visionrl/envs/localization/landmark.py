"""Landmark localization: walk a window over an image until it sits on a landmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from visionrl import ops, rewards
from visionrl.banks.patches import patch_bank, targets
from visionrl.core import Task, check_choice, check_range, register
from visionrl.datasets import ImageSample, load
from visionrl.envs.localization.walking import check_walk, come_to, first_trail
from visionrl.metrics import within
from visionrl.ops import Array, const, one_hot, xp_of
from visionrl.rendering import Canvas

MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))  # up, right, down, left as (dx, dy)
ACTIONS_KEPT = 10  # past actions in the observation
SDR_MM = (2, 2.5, 3, 4)  # radii of the success detection rates
SDR_KEYS = tuple(f"sdr_{radius:g}mm" for radius in SDR_MM)


@dataclass(frozen=True)
class State:
    """Where the agent looks and what it looks for; B episodes.

    Attributes:
        image: (B,) int64, index into the bank.
        goal: (B,) int64, number of the structure sought.
        landmark: (B, 2) float64, (x, y) in pixels.
        limit: (B, 2) float64, largest (x, y) inside the image.
        mm: (B,) float64, millimetres per pixel; NaN where unknown.
        factor: (B,) float64, pixels of the original image per pixel.
        position: (B, 2) float64, (x, y) in pixels; the window's centre.
        stage: (B,) int64, number of the step size in use.
        trail: (B, memory, 2) float64, positions of this stage, newest last; NaN before its start.
        actions: (B, 10) int64, newest last; -1 before the start.
        blocked: (B,) bool, the last move led out of the image and was not made.
        finished: (B,) bool, the last stage has ended.
    """

    image: Array
    goal: Array
    landmark: Array
    limit: Array
    mm: Array
    factor: Array
    position: Array
    stage: Array
    trail: Array
    actions: Array
    blocked: Array
    finished: Array


@register(
    "LandmarkLocalization-v0",
    max_steps=200,
    tags=("localization", "2d", "discrete"),
    presets={
        "alansary2019": {"window": 45, "views": "stage", "frames": 4, "reward": "mm"},
        "ghesu2016": {"window": 60, "steps": (1,), "scales": (1,), "frames": 1, "reward": "mm"},
        "small": {"window": 32},
    },
)
class LandmarkLocalization(Task[State]):
    """The agent walks a window over an image to a landmark, in large steps first, then in smaller ones.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C * views * frames, w, w) uint8: what lies around the position at each scale (or the stage's); ``position`` (2,) in [-1, 1]; ``stage`` one-hot; ``history``: the last 10 actions, one-hot, newest last; ``goal`` one-hot, if there are several structures |
    | Action      | 0 up, 1 right, 2 down, 3 left, by the stage's step size (9, 3, 1 pixels) |
    | Reward      | distance gained, in steps of the stage or in millimetres; -1 for a move out of the image, which is not made |
    | Ends        | when the agent comes to one place for the 4th time within 20 steps at the finest stage; at coarser ones that starts the next stage from the mean of the last four positions |

    The agent has to come to rest by itself: the landmark decides nothing but the reward. ``info`` has ``distance_px``
    (of the original image) and, where the spacing is known, ``error_mm`` and the success detection rates
    ``sdr_2mm``, ``sdr_2.5mm``, ``sdr_3mm``, ``sdr_4mm``.

    Args:
        data: None for the embedded chest X-rays, "FORMAT:PATH", or a sequence of ``ImageSample`` with points.
        split: "train", "val" or "test".
        target: name of the structure sought, or several; default all in the data, one at random per episode.
        window: side of the window, pixels.
        steps: step size of each stage, pixels.
        scales: pixels of the image per pixel of the window, one a stage.
        views: "all" shows every scale at once, "stage" the stage's own, as Alansary does.
        frames: how many past positions are shown, 1 is the present alone.
        reward: "steps" divides the distance gained by the step size; "mm" does not (pixels where spacing is unknown).
        radius: an episode succeeds within this distance, pixels of the original image.
        visits: visits of one place that make an oscillation.
        memory: steps that are looked back on for it.
        margin: share of the image's sides, at each border, where no episode starts.
        max_side: images with a longer side than this are shrunk to it; None never (raise the steps then: 200 moves
            of 9 pixels do not cross a large image).
        channels: 1 shows all images grey, 3 in RGB; None is RGB if an image of the split is.
        loading: ``classes``, ``split_file``, ``split_ratios``, ``split_seed``; see ``visionrl.datasets.load``.

    Source: Ghesu et al. (2016) and Alansary et al. (2019), on images instead of volumes; they let the largest
    Q-values choose where an oscillation ends, which no environment can know, so here it is the mean.
    """

    primary_metric = ("distance_px", False)

    def __init__(
        self,
        data: Any = None,
        split: str = "train",
        target: str | Sequence[str] | None = None,
        window: int = 40,
        steps: Sequence[int] = (9, 3, 1),
        scales: Sequence[int] = (3, 2, 1),
        views: Literal["all", "stage"] = "all",
        frames: int = 1,
        reward: Literal["steps", "mm"] = "steps",
        radius: float = 2.0,
        visits: int = 4,
        memory: int = 20,
        margin: float = 0.2,
        max_side: int | None = 640,
        channels: Literal[1, 3] | None = None,
        **loading: Any,
    ) -> None:
        check_choice("views", views, ("all", "stage"))
        check_choice("reward", reward, ("steps", "mm"))
        check_range("window", window, 8)
        check_walk(steps, scales, visits, memory, frames, radius, margin)
        if max_side is not None:
            check_range("max_side", max_side, window)
        self.steps, self.views, self.frames, self.in_mm = tuple(steps), views, frames, reward == "mm"
        self.radius, self.visits, self.memory, self.margin = radius, visits, memory, margin
        self.samples = load(data, kind=ImageSample, default="chest-xray", split=split, **loading)
        self.names, self.pairs = targets(self.samples, target)
        self.items = len(self.pairs)
        self.bank = patch_bank(self.samples, window, tuple(scales), max_side, channels)
        self.known_mm = all(sample.spacing_mm for sample in self.samples)
        shown = frames * (len(steps) if views == "all" else 1)
        keys: dict[str, spaces.Space] = {
            "window": spaces.Box(0, 255, (shown * self.bank.channels, window, window), np.uint8),
            "position": spaces.Box(-1, 1, (2,), np.float32),
            "stage": spaces.Box(0, 1, (len(steps),), np.float32),
            "history": spaces.Box(0, 1, (ACTIONS_KEPT * len(MOVES),), np.float32),
            "goal": spaces.Box(0, 1, (len(self.names),), np.float32),
        }
        self.observation_space = spaces.Dict({k: box for k, box in keys.items() if box.shape != (1,)})
        self.action_space = spaces.Discrete(len(MOVES))

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"channels": self.bank.channels, "target": list(self.names)}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        image, goal = self.pairs[item]
        sample, factor, size = self.samples[image], self.bank.factors[image], self.bank.sizes[image]
        start = np.floor(rng.uniform(self.margin, 1 - self.margin, 2) * size)
        return State(
            image=np.int64(image),
            goal=np.int64(goal),
            landmark=(np.asarray(sample.points[self.names[goal]], float) + 0.5) / factor - 0.5,
            limit=size - 1.0,
            mm=np.float64(sample.spacing_mm * factor if sample.spacing_mm else np.nan),
            factor=np.float64(factor),
            position=start,
            stage=np.int64(0),
            trail=first_trail(start, self.memory),
            actions=np.full(ACTIONS_KEPT, -1),
            blocked=np.False_,
            finished=np.False_,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.position)
        moved, inside = self.move(state, action)
        moved = xp.where(inside[:, None], moved, state.position)
        settled, trail, rests = come_to(moved, state.trail, self.visits)
        stage = state.stage + xp.astype(rests, xp.int64)
        return replace(
            state,
            position=settled,
            stage=xp.minimum(stage, len(self.steps) - 1),
            trail=trail,
            actions=xp.concat([state.actions[:, 1:], action[:, None]], axis=1),
            blocked=~inside,
            finished=stage == len(self.steps),
        )

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.position)
        seen = {
            "window": self.windows(state),
            "position": xp.astype(2 * state.position / state.limit - 1, xp.float32),
            "stage": one_hot(state.stage, len(self.steps)),
            "history": xp.reshape(one_hot(state.actions, len(MOVES)), (state.actions.shape[0], -1)),
            "goal": one_hot(state.goal, len(self.names)),
        }
        return {key: seen[key] for key in self.observation_space}

    def reward(self, before: State, action: Array, after: State) -> Array:
        xp = xp_of(before.position)
        unit = (
            xp.where(xp.isnan(before.mm), xp.ones_like(before.mm), 1 / before.mm)
            if self.in_mm
            else self.stride(before)
        )
        gained = rewards.progress(self.distance(before), self.distance(after), scale=unit)
        return xp.where(after.blocked, -1.0, gained)

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        distance = self.distance(state)
        pixels = distance * state.factor
        found = {"distance_px": pixels, "is_success": pixels <= self.radius}
        if not self.known_mm:
            return found
        error = distance * state.mm
        rates = ops.columns(within(error[:, None], const(SDR_MM, error)))
        return {**found, "error_mm": error, **dict(zip(SDR_KEYS, rates, strict=True))}

    def expert(self, state: State) -> Array:
        xp = xp_of(state.position)
        ends = []
        for action in range(len(MOVES)):
            moved, inside = self.move(state, xp.full_like(state.stage, action))
            gap = ops.norm(moved - state.landmark)
            ends.append(xp.where(inside, gap, xp.full_like(gap, xp.inf)))
        return xp.argmin(xp.stack(ends, axis=-1), axis=-1)

    def move(self, state: State, action: Array) -> tuple[Array, Array]:
        """Where an action leads, (B, 2), and whether that is inside the image, (B,)."""
        xp = xp_of(state.position)
        moved = (
            state.position
            + xp.take(const(MOVES, state.position), action, axis=0) * self.stride(state)[:, None]
        )
        return moved, ops.every((moved >= 0) & (moved <= state.limit))

    def stride(self, state: State) -> Array:
        """The step size in use, (B,) pixels."""
        return xp_of(state.stage).take(const(self.steps, state.position), state.stage, axis=0)

    def distance(self, state: State) -> Array:
        """From the window's centre to the landmark, (B,) pixels."""
        return ops.norm(state.position - state.landmark)

    def windows(self, state: State) -> Array:
        """The crops, (B, C * views * frames, w, w) uint8; places before the start of a stage are black."""
        xp, places = xp_of(state.position), state.position[:, None, :]  # (B, F, 2)
        level = None if self.views == "all" else state.stage[:, None]
        if self.frames > 1:
            past = state.trail[:, -self.frames :, :]
            visited = ~xp.isnan(past[..., 0])
            places = xp.where(visited[..., None], past, places)
        crops = self.bank.crop(state.image[:, None], places, level)
        if self.frames > 1:
            crops = xp.reshape(crops, (*visited.shape, -1, *crops.shape[-2:]))
            crops = crops * xp.astype(visited, xp.uint8)[:, :, None, None, None]
        return xp.reshape(crops, (crops.shape[0], -1, *crops.shape[-2:]))

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        canvas = Canvas(self.samples[int(state.image)].image)
        shown = (
            np.concatenate([state.trail, state.position[None], state.landmark[None]]) + 0.5
        ) * state.factor
        for scale in self.bank.scales:
            half = self.bank.size * scale * state.factor / 2
            canvas.box([*(shown[-2] - half), *(shown[-2] + half)], "look")
        canvas.path(shown[:-2][~np.isnan(shown[:-2, 0])], "agent")
        canvas.cross(shown[-2], "agent")
        canvas.cross(shown[-1], "truth")
        return canvas.pixels
