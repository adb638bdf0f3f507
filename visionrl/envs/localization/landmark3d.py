"""Landmark localization in volumes: walk a cube over a scan until it sits on a landmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from visionrl import ops, rewards
from visionrl.banks.patches import targets
from visionrl.banks.volumes import volume_bank
from visionrl.core import Task, check_choice, check_range, register
from visionrl.datasets import VolumeSample, load
from visionrl.envs.localization.absence import cut_off, visible
from visionrl.envs.localization.planes import PlaneCanvas
from visionrl.envs.localization.walking import check_walk, come_to, first_trail
from visionrl.metrics import within
from visionrl.ops import Array, const, one_hot, xp_of

MOVES = ((0, 0, 1), (0, -1, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, 0, -1))  # (dx, dy, dz)
ACTIONS_KEPT = 10  # past actions in the observation


@dataclass(frozen=True)
class State:
    """Where the agent looks and what it looks for; B episodes. Voxels are those held, not the file's.

    Attributes:
        image: (B,) int64, index of the volume.
        goal: (B,) int64, number of the structure sought.
        landmark: (B, 3) float64, (x, y, z) in voxels.
        low: (B, 3) float64, least (x, y, z) inside the part of the volume that is shown.
        high: (B, 3) float64, largest.
        mm: (B, 3) float64, (x, y, z), millimetres per voxel.
        factor: (B, 3) float64, voxels of the original volume per voxel.
        position: (B, 3) float64, (x, y, z) in voxels; the window's centre.
        stage: (B,) int64, number of the step size in use.
        trail: (B, memory, 3) float64, positions of this stage, newest last; NaN before its start.
        actions: (B, 10) int64, newest last; -1 before the start.
        left: (B,) bool, the agent has left the volume.
        finished: (B,) bool, the last stage has ended, or the agent has left.
    """

    image: Array
    goal: Array
    landmark: Array
    low: Array
    high: Array
    mm: Array
    factor: Array
    position: Array
    stage: Array
    trail: Array
    actions: Array
    left: Array
    finished: Array


@register(
    "LandmarkLocalization3D-v0",
    max_steps=500,
    tags=("localization", "3d", "discrete"),
    presets={
        "alansary2019": {"window": 45, "views": "stage", "frames": 4, "reward": "mm"},
        "ghesu2016": {"window": 26, "steps": (1,), "scales": (1,), "frames": 1, "reward": "mm"},
    },
)
class LandmarkLocalization3D(Task[State]):
    """The agent walks a cube over a volume to a landmark, in large steps first, then in smaller ones.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (views * frames, w, w, w) uint8: what lies around the position at each scale (or the stage's), axes (z, y, x); ``position`` (3,) in [-1, 1]; ``stage`` one-hot; ``history``: the last 10 actions, one-hot, newest last; ``goal`` one-hot, if there are several structures |
    | Action      | 0 up (+z), 1 forward (-y), 2 left (+x), 3 right (-x), 4 back (+y), 5 down (-z), by the stage's step size (9, 3, 1 voxels); up is towards the head, left the patient's |
    | Reward      | distance gained, in steps of the stage or in millimetres; -1 for a move out of the volume, which is not made |
    | Ends        | when the agent comes to one place for the 4th time within 20 steps at the finest stage; at coarser ones that starts the next stage from the mean of the last four positions |

    The agent has to come to rest by itself: the landmark decides nothing but the reward. ``info`` has ``error_mm``,
    ``distance_px`` (voxels of the original volume) and the success detection rates ``sdr_2mm`` to ``sdr_4mm``.

    With ``absent`` some episodes show only a part of the volume, in which the landmark is not. The right answer is to
    walk out of it (Ghesu et al., 2019): a move out then ends an episode, with reward 1 where the landmark is absent and
    -1 where it is there. ``info`` then has ``knows_absence``, whether the agent left exactly if it had to; errors are
    to where the landmark would be.

    Args:
        data: None for the embedded chest CT, "mni", "FORMAT:PATH", or a sequence of ``VolumeSample`` with points.
        split: "train", "val" or "test".
        target: name of the structure sought, or several; default all in the data, one at random per episode.
        window: side of the window, voxels.
        steps: step size of each stage, voxels.
        scales: voxels of the volume per voxel of the window, one a stage; the window shows means of s x s x s.
        views: "all" shows every scale at once, "stage" the stage's own, as Alansary does.
        frames: how many past positions are shown, 1 is the present alone.
        reward: "steps" divides the distance gained by the step size; "mm" does not.
        radius: an episode succeeds within this distance, voxels of the original volume.
        visits: visits of one place that make an oscillation.
        memory: steps that are looked back on for it.
        margin: share of the volume's sides, at each border, where no episode starts.
        spacing: side of cubic voxels, millimetres, to which all volumes are resampled; None keeps their own.
        absent: share of the episodes in which the landmark is not in what is shown.
        loading: ``classes``, ``split_file``, ``split_ratios``, ``split_seed``; see ``visionrl.datasets.load``.

    Source: Ghesu et al. (2016) and Alansary et al. (2019); for ``absent`` Ghesu et al. (2019), "Multi-scale deep
    reinforcement learning for real-time 3D-landmark detection in CT scans". Alansary's windows take every s-th voxel;
    and the largest Q-values choose where an oscillation ends, which no environment can know, so here it is the mean.
    """

    primary_metric = ("error_mm", False)

    def __init__(
        self,
        data: Any = None,
        split: str = "train",
        target: str | Sequence[str] | None = None,
        window: int = 25,
        steps: Sequence[int] = (9, 3, 1),
        scales: Sequence[int] = (3, 2, 1),
        views: Literal["all", "stage"] = "all",
        frames: int = 1,
        reward: Literal["steps", "mm"] = "steps",
        radius: float = 2.0,
        visits: int = 4,
        memory: int = 20,
        margin: float = 0.2,
        spacing: float | None = None,
        absent: float = 0.0,
        **loading: Any,
    ) -> None:
        check_choice("views", views, ("all", "stage"))
        check_choice("reward", reward, ("steps", "mm"))
        check_walk(steps, scales, visits, memory, frames, radius, margin)
        check_range("window", window, 5)
        check_range("absent", absent, 0.0, 1.0)
        if spacing is not None:
            check_range("spacing", spacing, 0.01)
        self.steps, self.views, self.frames, self.in_mm = tuple(steps), views, frames, reward == "mm"
        self.radius, self.visits, self.memory, self.margin, self.absent = (
            radius,
            visits,
            memory,
            margin,
            absent,
        )
        self.samples = load(data, kind=VolumeSample, default="chest-ct-volumes", split=split, **loading)
        self.names, self.pairs = targets(self.samples, target)
        self.items = len(self.pairs)
        self.held = volume_bank(self.samples, window, tuple(scales), spacing)
        self.bank = self.held.bank
        shown = frames * (len(steps) if views == "all" else 1)
        keys: dict[str, spaces.Space] = {
            "window": spaces.Box(0, 255, (shown, window, window, window), np.uint8),
            "position": spaces.Box(-1, 1, (3,), np.float32),
            "stage": spaces.Box(0, 1, (len(steps),), np.float32),
            "history": spaces.Box(0, 1, (ACTIONS_KEPT * len(MOVES),), np.float32),
            "goal": spaces.Box(0, 1, (len(self.names),), np.float32),
        }
        self.observation_space = spaces.Dict({k: box for k, box in keys.items() if box.shape != (1,)})
        self.action_space = spaces.Discrete(len(MOVES))

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"target": list(self.names)}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        image, goal = self.pairs[item]
        factor, size = self.held.factors[image], self.bank.sizes[image]
        landmark = (np.asarray(self.samples[image].points[self.names[goal]], float) + 0.5) / factor - 0.5
        low, high = np.zeros(3), size - 1
        if self.absent and rng.random() < self.absent:
            low, high = cut_off(rng, landmark, size)
        start = np.floor(low + rng.uniform(self.margin, 1 - self.margin, 3) * (high - low + 1))
        return State(
            image=np.int64(image),
            goal=np.int64(goal),
            landmark=landmark,
            low=low,
            high=high,
            mm=self.held.spacings[image],
            factor=factor,
            position=start,
            stage=np.int64(0),
            trail=first_trail(start, self.memory),
            actions=np.full(ACTIONS_KEPT, -1),
            left=np.False_,
            finished=np.False_,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.position)
        moved, inside = self.move(state, action)
        moved = xp.where(inside[:, None], moved, state.position)
        position, trail, rests = come_to(moved, state.trail, self.visits)
        stage = state.stage + xp.astype(rests, xp.int64)
        left = ~inside if self.absent else xp.zeros_like(inside)
        return replace(
            state,
            position=position,
            stage=xp.minimum(stage, len(self.steps) - 1),
            trail=trail,
            actions=xp.concat([state.actions[:, 1:], action[:, None]], axis=1),
            left=left,
            finished=(stage == len(self.steps)) | left,
        )

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.position)
        across = (state.position - state.low) / xp.maximum(state.high - state.low, 1.0)
        seen = {
            "window": self.windows(state),
            "position": xp.astype(2 * across - 1, xp.float32),
            "stage": one_hot(state.stage, len(self.steps)),
            "history": xp.reshape(one_hot(state.actions, len(MOVES)), (state.actions.shape[0], -1)),
            "goal": one_hot(state.goal, len(self.names)),
        }
        return {key: seen[key] for key in self.observation_space}

    def reward(self, before: State, action: Array, after: State) -> Array:
        xp = xp_of(before.position)
        side = xp.prod(before.mm, axis=-1) ** (1 / 3)  # of a cube as large as a voxel
        unit = xp.ones_like(side) if self.in_mm else self.stride(before) * side
        gained = rewards.progress(self.distance(before), self.distance(after), scale=unit)
        right = after.left & ~self.there(after)
        return xp.where(self.move(before, action)[1], gained, xp.where(right, 1.0, xp.full_like(side, -1.0)))

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        error = self.distance(state)
        voxels = ops.norm((state.position - state.landmark) * state.factor)
        knows = state.left != self.there(state)
        found = {
            "error_mm": error,
            "distance_px": voxels,
            "is_success": knows & (state.left | (voxels <= self.radius)),
            **{f"sdr_{r:g}mm": within(error, r) for r in (2, 2.5, 3, 4)},
        }
        return {**found, "knows_absence": knows} if self.absent else found

    def expert(self, state: State) -> Array:
        xp = xp_of(state.position)
        ends = []
        for action in range(len(MOVES)):
            moved, inside = self.move(state, xp.full_like(state.stage, action))
            gap = ops.norm((moved - state.landmark) * state.mm)
            allowed = inside | ~self.there(state) if self.absent else inside
            ends.append(xp.where(allowed, gap, xp.full_like(gap, xp.inf)))
        return xp.argmin(xp.stack(ends, axis=-1), axis=-1)

    def move(self, state: State, action: Array) -> tuple[Array, Array]:
        """Where an action leads, (B, 3), and whether that is inside the volume, (B,)."""
        xp = xp_of(state.position)
        moved = (
            state.position
            + xp.take(const(MOVES, state.position), action, axis=0) * self.stride(state)[:, None]
        )
        return moved, ops.every((moved >= state.low) & (moved <= state.high))

    def stride(self, state: State) -> Array:
        """The step size in use, (B,) voxels."""
        return xp_of(state.stage).take(const(self.steps, state.position), state.stage, axis=0)

    def there(self, state: State) -> Array:
        """Whether the landmark is in what is shown, (B,) bool."""
        return ops.every((state.landmark >= state.low - 0.5) & (state.landmark <= state.high + 0.5))

    def distance(self, state: State) -> Array:
        """From the window's centre to the landmark, (B,) millimetres."""
        return ops.norm((state.position - state.landmark) * state.mm)

    def windows(self, state: State) -> Array:
        """The crops, (B, views * frames, w, w, w) uint8; places before the start of a stage are black."""
        xp, rows = xp_of(state.position), state.stage.shape[0]
        places = state.trail[:, -self.frames :, None, :]  # (B, F, 1, 3)
        stages = const(tuple(range(len(self.steps))), state.stage)[None, None, :]
        levels = stages if self.views == "all" else state.stage[:, None, None]
        visited = ~xp.isnan(places[..., 0])
        places = xp.where(visited[..., None], places, state.position[:, None, None, :])
        crops = self.bank.crop(state.image[:, None, None], places, levels, visited)
        if self.absent:
            crops = crops * visible(self.bank, places, levels, state.low, state.high)
        return xp.reshape(crops, (rows, -1, *crops.shape[-3:]))

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        sample = self.samples[int(state.image)]
        places = np.concatenate([state.trail, state.position[None], state.landmark[None]])
        shown = (places + 0.5) * state.factor - 0.5
        planes = PlaneCanvas(sample.volume, sample.spacing_mm, shown[-2])
        for scale in self.bank.scales:
            planes.box(shown[-2], self.bank.size * scale * state.factor / 2, "look")
        planes.path(shown[:-2][~np.isnan(shown[:-2, 0])], "agent")
        planes.cross(shown[-2], "agent")
        planes.cross(shown[-1], "truth")
        return planes.canvas.pixels
