"""Landmark localization in volumes by a team: each agent walks a cube of its own to a landmark of its own."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, MinLen
from gymnasium import spaces

from visionrl import ops
from visionrl.core import arguments, register
from visionrl.core.observables import Image, Vector
from visionrl.core.results import Points
from visionrl.envs.localization.landmark_walk import State, VolumeLandmark
from visionrl.metrics import SDR_NAMES
from visionrl.ops import Array, xp_of

MOVING = ("position", "stage", "trail", "actions", "outside", "finished")  # what an agent's move changes
OWN = (*MOVING, "goal", "landmark")  # fields of a state that have an axis of agents
SHARED = ("image", "low", "high", "mm", "factor")


@register(
    "MultiLandmarkLocalization3D-v0",
    max_steps=500,
    tags=("localization", "3d", "multi-discrete", "many"),
    presets={
        "leroy2020": {"team": 5, "window": 45, "shown_scales": "stage", "frames": 4, "reward_unit": "mm"}
    },
)
@arguments
class MultiLandmarkLocalization3D(VolumeLandmark):
    """K agents walk through one volume, each to a landmark of its own, in large steps first, then in smaller ones.

    Each agent keeps to the rules of ``LandmarkLocalization3D-v0`` and stops by itself; the others go on.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (K * scales * frames, w, w, w) uint8: what lies around each agent at each scale (or its stage's), axes (z, y, x); ``position`` (K, 3) in [-1, 1]; ``stage`` (K, stages) one-hot; ``history`` (K, 60): the last 10 actions of each, one-hot, newest last; ``stopped`` (K,): 1 for agents that move no more. The first axis of each entry is the agents, one after the other |
    | Action      | MultiDiscrete, one number an agent: a move by the agent's step size (9, 3, 1 voxels), see below; without effect on agents that have stopped |
    | Reward      | the mean over the agents of the distance gained, in steps of the stage or in millimetres; -1 for a move out of the volume, which is not made; 0 for those that have stopped |
    | Ends        | when every agent has come to one place for the 4th time within 20 of its steps at the finest stage |

    | Action | Meaning |
    |--------|---------|
    | 0 | up, +z, towards the head |
    | 1 | forward, -y |
    | 2 | left, +x, the patient's left |
    | 3 | right, -x |
    | 4 | back, +y |
    | 5 | down, -z |

    ``info`` has the mean over the agents of ``error_mm``, ``distance_px`` (voxels of the original volume) and the
    success detection rates ``sdr_2mm`` to ``sdr_4mm``, ``worst_mm``, and each structure's error, as ``heart_mm``; an
    episode succeeds if all agents do.

    Source: Leroy et al. (2020), "Communicative reinforcement learning agents for landmark detection in brain images",
    whose agents stop only together.
    """

    target: Annotated[Sequence[str], MinLen(1)] | None = None
    """Structures sought, one an agent; samples that lack one are left out. None chooses ``team`` of them."""
    team: Annotated[int, Ge(1)] = 3
    """Number of agents where no structures are named: they are spread over those that all samples have."""

    def setup(self) -> None:
        super().setup()
        points = [sample.points for sample in self.samples]
        self.agents = self.names if self.target else spread(points, self.names, self.team)
        self.goals = [self.names.index(name) for name in self.agents]
        self.complete = complete_samples(points, self.agents) if self.labelled else [*range(len(points))]
        self.items, count = len(self.complete), len(self.agents)
        shown = self.observation_space["window"].shape[0]  # type: ignore[index]
        self.show(
            window=Image(count * shown, self.window, self.axes),
            position=Vector((count, 3)),
            stage=Vector((count, len(self.step_sizes)), 0.0),
            history=Vector((count, self.past_actions.space.shape[0]), 0.0),
            stopped=Vector(count, 0.0),
        )
        self.action_space = spaces.MultiDiscrete([len(self.moves)] * count)

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {**super().resolved_arguments, "target": list(self.agents)}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        image = self.complete[item]
        ones = [VolumeLandmark.sample(self, rng, self.pairs.index((image, goal))) for goal in self.goals]
        return replace(ones[0], **{name: np.array([getattr(one, name) for one in ones]) for name in OWN})

    def result(self, state: State) -> Points:
        own = [{name: getattr(state, name)[k] for name in OWN} for k in range(len(self.agents))]
        first, *others = [VolumeLandmark.result(self, replace(state, **one)) for one in own]
        return first.joined(others)

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.position)
        after = super().step(self.apart(state), xp.reshape(action, (-1,)))
        changed = {}
        for name in MOVING:
            old = getattr(state, name)
            rests = xp.reshape(state.finished, (*state.stage.shape, *(1,) * (old.ndim - 2)))
            changed[name] = xp.where(rests, old, xp.reshape(getattr(after, name), old.shape))
        return replace(state, **changed)

    def observe(self, state: State) -> dict[str, Array]:
        seen = self.look(self.apart(state))
        each = {"stage": ops.one_hot(seen["stage"], len(self.step_sizes)), "stopped": state.finished}
        each |= {"history": ops.one_hot(seen["history"], len(self.moves))}
        return self.seen(**(seen | each | {"window": self.by_team(seen["window"], state)}))

    def by_team(self, windows: Array, state: State) -> Array:
        """Windows of (B * K, ...) agents as (B, K * scales * frames, w, w, w)."""
        shape = (state.stage.shape[0], -1, *windows.shape[-self.axes :])
        return xp_of(windows).reshape(windows, shape)

    def agent_rewards(self, before: State, action: Array, after: State) -> Array:
        xp = xp_of(before.position)
        gained = super().reward(self.apart(before), xp.reshape(action, (-1,)), self.apart(after))
        gained = xp.reshape(gained, before.stage.shape)
        return xp.where(before.finished, xp.zeros_like(gained), gained)

    def reward(self, before: State, action: Array, after: State) -> Array:
        return xp_of(before.position).mean(self.agent_rewards(before, action, after), axis=-1)

    def agents_done(self, state: State) -> Array:
        return xp_of(state.finished).asarray(state.finished, copy=True)

    def terminated(self, state: Any) -> Array:
        return ops.every(state.finished)

    def metrics(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.position)
        found = super().metrics(self.apart(state))
        each = {name: xp.reshape(found[name], state.stage.shape) for name in ("error_mm", "distance_px")}
        error = each["error_mm"]
        names = (f"{name}_mm" for name in self.agents)
        return {
            "error_mm": xp.mean(error, axis=-1),
            "worst_mm": xp.max(error, axis=-1),
            "distance_px": xp.mean(each["distance_px"], axis=-1),
            "is_success": ops.every(each["distance_px"] <= self.success_radius),
            **{name: xp.mean(xp.reshape(found[name], error.shape), axis=-1) for name in SDR_NAMES},
            **dict(zip(names, (xp.asarray(e, copy=True) for e in ops.columns(error)), strict=True)),
        }

    def expert(self, state: State) -> Array:
        return xp_of(state.position).reshape(super().expert(self.apart(state)), state.stage.shape)

    def apart(self, state: State) -> State:
        """The agents as B * K episodes of one agent."""
        xp, (rows, team) = xp_of(state.position), state.stage.shape
        own = {name: xp.reshape(x := getattr(state, name), (rows * team, *x.shape[2:])) for name in OWN}
        shared = {name: xp.repeat(getattr(state, name), team, axis=0) for name in SHARED}
        return State(**own, **shared)


def spread(points: Sequence[dict], names: Sequence[str], count: int) -> tuple[str, ...]:
    """As many structures as asked for, evenly spread over those that all samples have.

    Raises:
        ValueError: there are not as many.
    """
    common = [name for name in names if all(name in known for known in points)]
    if len(common) < count:
        raise ValueError(f"team must be <= {len(common)}, the structures that all samples have, got {count}")
    return tuple(common[(2 * k + 1) * len(common) // (2 * count)] for k in range(count))


def complete_samples(points: Sequence[dict], names: Sequence[str]) -> list[int]:
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
