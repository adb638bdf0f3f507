"""Landmark localization in volumes by a team: each agent walks a cube of its own to a landmark of its own."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from visionrl import ops
from visionrl.core import Task, check_range, register
from visionrl.envs.localization.landmark3d import ACTIONS_KEPT, MOVES, LandmarkLocalization3D
from visionrl.envs.localization.landmark3d import State as One
from visionrl.envs.localization.planes import PlaneCanvas
from visionrl.metrics import within
from visionrl.ops import Array, xp_of

MOVING = ("position", "stage", "trail", "actions", "finished")  # fields that an agent's move changes


@dataclass(frozen=True)
class State:
    """Where the agents look and what they look for; B episodes of K agents. Voxels are those held, not the file's.

    Attributes:
        image: (B,) int64, index of the volume.
        landmark: (B, K, 3) float64, (x, y, z) in voxels.
        high: (B, 3) float64, largest (x, y, z) inside the volume.
        mm: (B, 3) float64, (x, y, z), millimetres per voxel.
        factor: (B, 3) float64, voxels of the original volume per voxel.
        position: (B, K, 3) float64, (x, y, z) in voxels; the windows' centres.
        stage: (B, K) int64, number of the step size in use.
        trail: (B, K, memory, 3) float64, positions of this stage, newest last; NaN before its start.
        actions: (B, K, 10) int64, newest last; -1 before the start.
        finished: (B, K) bool, the agent has come to rest at the last stage and moves no more.
    """

    image: Array
    landmark: Array
    high: Array
    mm: Array
    factor: Array
    position: Array
    stage: Array
    trail: Array
    actions: Array
    finished: Array


@register(
    "MultiLandmarkLocalization3D-v0",
    max_steps=500,
    tags=("localization", "3d", "multi-discrete", "many"),
    presets={
        "leroy2020": {
            **{"team": 5, "window": 45, "views": "stage", "frames": 4, "reward": "mm"},
        }
    },
)
class MultiLandmarkLocalization3D(Task[State]):
    """K agents walk through one volume, each to a landmark of its own, in large steps first, then in smaller ones.

    Each agent keeps to the rules of ``LandmarkLocalization3D-v0`` and stops by itself; the others go on.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (K * views * frames, w, w, w) uint8: what lies around each agent at each scale (or its stage's), axes (z, y, x); ``position`` (K, 3) in [-1, 1]; ``stage`` (K, stages) one-hot; ``history`` (K, 60): the last 10 actions of each, one-hot, newest last; ``stopped`` (K,): 1 for agents that move no more. The first axis of each entry is the agents, one after the other |
    | Action      | K numbers: 0 up (+z), 1 forward (-y), 2 left (+x), 3 right (-x), 4 back (+y), 5 down (-z), by the agent's step size (9, 3, 1 voxels); without effect on agents that have stopped |
    | Reward      | the mean over the agents of the distance gained, in steps of the stage or in millimetres; -1 for a move out of the volume, which is not made; 0 for those that have stopped |
    | Ends        | when every agent has come to one place for the 4th time within 20 of its steps at the finest stage |

    ``info`` has the mean over the agents of ``error_mm``, ``distance_px`` (voxels of the original volume) and the
    success detection rates ``sdr_2mm`` to ``sdr_4mm``, ``worst_mm``, and each structure's error, as ``heart_mm``; an
    episode succeeds if all agents do.

    Args:
        data: None for the embedded chest CT, "mni", "FORMAT:PATH", or a sequence of ``VolumeSample`` with points.
        split: "train", "val" or "test".
        target: names of the structures sought, one an agent; samples that lack one are left out.
        team: number of agents where no structures are named: they are spread over those that all samples have.
        window: side of the windows, voxels.
        steps: step size of each stage, voxels.
        scales: voxels of the volume per voxel of a window, one a stage; windows show means of s x s x s.
        views: "all" shows every scale at once, "stage" the stage's own.
        frames: how many past positions are shown, 1 is the present alone.
        reward: "steps" divides the distance gained by the step size; "mm" does not.
        radius: an agent succeeds within this distance, voxels of the original volume.
        visits: visits of one place that make an oscillation.
        memory: steps that are looked back on for it.
        margin: share of the volume's sides, at each border, where no agent starts.
        spacing: side of cubic voxels, millimetres, to which all volumes are resampled; None keeps their own.
        loading: ``classes``, ``split_file``, ``split_ratios``, ``split_seed``; see ``visionrl.datasets.load``.

    Source: Leroy et al. (2020), "Communicative reinforcement learning agents for landmark detection in brain images",
    whose agents stop only together.
    """

    primary_metric = ("error_mm", False)

    def __init__(
        self,
        data: Any = None,
        split: str = "train",
        target: Sequence[str] | None = None,
        team: int = 3,
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
        **loading: Any,
    ) -> None:
        walk: dict[str, Any] = {"steps": steps, "scales": scales, "visits": visits, "memory": memory}
        look: dict[str, Any] = {"window": window, "views": views, "frames": frames, "spacing": spacing}
        goal: dict[str, Any] = {"reward": reward, "radius": radius, "margin": margin}
        self.one = LandmarkLocalization3D(data, split, target, **walk, **look, **goal, **loading)
        points = [sample.points for sample in self.one.samples]
        self.agents = self.one.names if target else spread(points, self.one.names, team)
        self.samples, self.bank = self.one.samples, self.one.bank
        self.goals = [self.one.names.index(name) for name in self.agents]
        self.whole = complete(points, self.agents)
        self.items = len(self.whole)
        shown = self.one.observation_space["window"].shape[0]  # type: ignore[index]
        team = len(self.agents)
        self.observation_space = spaces.Dict(
            {
                "window": spaces.Box(0, 255, (team * shown, window, window, window), np.uint8),
                "position": spaces.Box(-1, 1, (team, 3), np.float32),
                "stage": spaces.Box(0, 1, (team, len(steps)), np.float32),
                "history": spaces.Box(0, 1, (team, ACTIONS_KEPT * len(MOVES)), np.float32),
                "stopped": spaces.Box(0, 1, (team,), np.float32),
            }
        )
        self.action_space = spaces.MultiDiscrete([len(MOVES)] * team)

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"target": list(self.agents)}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        image = self.whole[item]
        ones = [self.one.sample(rng, self.one.pairs.index((image, goal))) for goal in self.goals]
        each = {name: np.array([getattr(one, name) for one in ones]) for name in (*MOVING, "landmark")}
        shared = {name: getattr(ones[0], name) for name in ("image", "high", "mm", "factor")}
        return State(**shared, **each)

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.position)
        after = self.one.step(self.apart(state), xp.reshape(action, (-1,)))
        changed = {}
        for name in MOVING:
            old = getattr(state, name)
            rests = xp.reshape(state.finished, (*state.stage.shape, *(1,) * (old.ndim - 2)))
            changed[name] = xp.where(rests, old, xp.reshape(getattr(after, name), old.shape))
        return replace(state, **changed)

    def observe(self, state: State) -> dict[str, Array]:
        xp, (rows, team) = xp_of(state.position), state.stage.shape
        seen = self.one.observe(self.apart(state))
        seen |= {"stage": ops.one_hot(state.stage, len(self.one.steps))}
        parts = {key: seen[key] for key in ("position", "stage", "history")}
        parts = {key: xp.reshape(part, (rows, team, -1)) for key, part in parts.items()}
        window = seen["window"]
        window = xp.reshape(window, (rows, team * window.shape[1], *window.shape[2:]))
        return {"window": window, **parts, "stopped": xp.astype(state.finished, xp.float32)}

    def agent_rewards(self, before: State, action: Array, after: State) -> Array:
        xp = xp_of(before.position)
        gained = self.one.reward(self.apart(before), xp.reshape(action, (-1,)), self.apart(after))
        gained = xp.reshape(gained, before.stage.shape)
        return xp.where(before.finished, xp.zeros_like(gained), gained)

    def reward(self, before: State, action: Array, after: State) -> Array:
        return xp_of(before.position).mean(self.agent_rewards(before, action, after), axis=-1)

    def agents_done(self, state: State) -> Array:
        return xp_of(state.finished).asarray(state.finished, copy=True)

    def terminated(self, state: State) -> Array:
        return ops.every(state.finished)

    def metrics(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.position)
        found = self.one.metrics(self.apart(state))
        each = {name: xp.reshape(found[name], state.stage.shape) for name in ("error_mm", "distance_px")}
        error = each["error_mm"]
        names = (f"{name}_mm" for name in self.agents)
        return {
            "error_mm": xp.mean(error, axis=-1),
            "worst_mm": xp.max(error, axis=-1),
            "distance_px": xp.mean(each["distance_px"], axis=-1),
            "is_success": ops.every(each["distance_px"] <= self.one.radius),
            **{
                f"sdr_{r:g}mm": xp.mean(xp.astype(within(error, r), xp.float64), axis=-1)
                for r in (2, 2.5, 3, 4)
            },
            **dict(zip(names, (xp.asarray(e, copy=True) for e in ops.columns(error)), strict=True)),
        }

    def expert(self, state: State) -> Array:
        return xp_of(state.position).reshape(self.one.expert(self.apart(state)), state.stage.shape)

    def apart(self, state: State) -> One:
        """The agents as B * K episodes of one agent."""
        xp, (rows, team) = xp_of(state.position), state.stage.shape
        ones = {
            name: xp.reshape(getattr(state, name), (-1, *getattr(state, name).shape[2:]))
            for name in (*MOVING, "landmark")
        }
        spread = {
            name: xp.reshape(xp.stack([getattr(state, name)] * team, axis=1), (rows * team, -1))
            for name in ("high", "mm", "factor")
        }
        image = xp.reshape(xp.stack([state.image] * team, axis=1), (-1,))
        none = xp.zeros_like(ones["finished"])
        return One(
            image=image,
            goal=xp.zeros_like(image),
            low=xp.zeros_like(spread["high"]),
            left=none,
            **spread,
            **ones,
        )

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        sample = self.samples[int(state.image)]
        busy = int(np.argmin(state.finished))  # the planes lie through the first agent that goes on
        at = [
            (np.asarray(x) + 0.5) * state.factor - 0.5 for x in (state.position, state.landmark, state.trail)
        ]
        planes = PlaneCanvas(sample.volume, sample.spacing_mm, at[0][busy])
        for position, landmark, trail in zip(*at, strict=True):
            planes.path(trail[~np.isnan(trail[:, 0])], "agent")
            planes.cross(position, "agent")
            planes.cross(landmark, "truth")
        return planes.canvas.pixels


def spread(points: Sequence[dict], names: Sequence[str], count: Any) -> tuple[str, ...]:
    """As many structures as asked for, evenly spread over those that all samples have.

    Raises:
        ValueError: there are not as many.
    """
    common = [name for name in names if all(name in known for known in points)]
    check_range("team", count, 1)
    if len(common) < count:
        raise ValueError(f"team must be <= {len(common)}, the structures that all samples have, got {count}")
    return tuple(common[(2 * k + 1) * len(common) // (2 * count)] for k in range(count))


def complete(points: Sequence[dict], names: Sequence[str]) -> list[int]:
    """Numbers of the samples that have all of the structures; a warning tells how many lack one.

    Raises:
        ValueError: there is none.
    """
    whole = [number for number, known in enumerate(points) if set(names) <= set(known)]
    if not whole:
        raise ValueError(f"data must have samples with all of {', '.join(names)}, got none")
    if len(whole) < len(points):
        warnings.warn(f"{len(points) - len(whole)} samples lack a structure and are left out", stacklevel=3)
    return whole
