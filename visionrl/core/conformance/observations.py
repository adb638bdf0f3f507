"""Rules of observations: inside their space, new arrays, and blind to the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from visionrl.core.conformance.moments import Recorded, moments
from visionrl.core.conformance.rules import require, same

MOSTLY = 0.5  # share of the rows in which an answer has to depend on a field for the field to be taken for the truth


def check_observations(task_id: str, **kwargs: Any) -> None:
    """Observations lie inside their space, are finite, change, and are arrays of nobody else."""
    seen: dict[str, set[bytes]] = {}
    for task, state, _ in moments(task_id, **kwargs):
        obs, info = task.observe(state), task.metrics(state)
        require_valid(task, obs)
        for key, value in obs.items():
            seen.setdefault(key, set()).update(row.tobytes() for row in value)
        for key, again in task.observe(state).items():
            require(not np.shares_memory(obs[key], again), f"{key} must be a new array in every call")
        for key, value in {**obs, **info}.items():
            for field, held in vars(state).items():
                require(
                    not np.shares_memory(value, held), f"{key} must not share memory with the state's {field}"
                )
        require("is_success" in info, "metrics must have is_success")
        for key, value in info.items():
            require(value.shape == (len(value),), f"metric {key} must be (B,), got {value.shape}")
    for key, values in seen.items():
        require(len(values) > 1, f"{key} must not be constant")


def check_hidden(task_id: str, **kwargs: Any) -> None:
    """The observation does not depend on the fields of the state that hold the truth.

    These are the task's ``hidden``; where it names none, the constant float fields on which the expert's actions or
    the rewards depend in most rows. Each is swapped between the rows, and the observation has to stay as it was.
    """
    recorded = moments(task_id, **kwargs)
    task = recorded[0][0]
    known = set(vars(recorded[0][1]))
    require(
        set(task.hidden) <= known,
        f"hidden must name fields of the state, got {sorted(set(task.hidden) - known)}",
    )
    for field in task.hidden or _truths(recorded):
        for _, state, _ in recorded:
            seen, swapped = task.observe(state), task.observe(_swap(state, field))
            for key, value in seen.items():
                require(same(value, swapped[key]), f"{key} must not tell the truth: it depends on {field}")


def require_valid(task: Any, obs: dict[str, np.ndarray]) -> None:
    """Hold an observation of B rows against its space."""
    require(set(obs) == set(task.observation_space), "observe must give the keys of the observation space")
    for key, value in obs.items():
        space: Any = task.observation_space[key]
        require(value.dtype == space.dtype, f"{key} must be {space.dtype}, got {value.dtype}")
        require(value.shape[1:] == space.shape, f"{key} must be {space.shape} a row, got {value.shape[1:]}")
        require(np.isfinite(value).all(), f"{key} must be finite")
        inside = (value >= space.low) & (value <= space.high)
        require(inside.all(), f"{key} must lie inside its space")


def _truths(recorded: list[Recorded]) -> list[str]:
    """Names of constant float fields on which expert or reward depend in most rows where they differ."""
    found = []
    for name, first in vars(recorded[0][1]).items():
        if first.dtype.kind != "f" or not first.size:
            continue
        differing = depending = 0
        for task, state, action in recorded:
            after = task.step(state, action)
            if not same(getattr(state, name), getattr(after, name)):
                break
            swapped = _swap(state, name)
            end = replace(after, **{name: getattr(swapped, name)})
            told = task.expert(state), task.reward(state, action, after)
            other = task.expert(swapped), task.reward(swapped, action, end)
            differing += sum(_rows(getattr(state, name), getattr(swapped, name)))
            depending += sum(a or b for a, b in zip(*map(_rows, told, other), strict=True))
        else:
            found += [name] if depending > MOSTLY * differing else []
    return found


def _swap(state: Any, name: str) -> Any:
    """The state with one field moved on by a row."""
    return replace(state, **{name: np.roll(getattr(state, name), 1, axis=0)})


def _rows(a: np.ndarray, b: np.ndarray) -> list[bool]:
    """Mask of the rows in which two arrays differ."""
    return [not same(x, y) for x, y in zip(a, b, strict=True)]
