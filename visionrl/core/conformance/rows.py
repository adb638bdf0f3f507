"""Rules of batches: row i is the single environment seeded s + i, and rows do not know of each other."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from visionrl import ops
from visionrl.core import batch
from visionrl.core.conformance.moments import ROWS, middle, moments
from visionrl.core.conformance.rules import alike, close, require
from visionrl.core.registry import entry_of
from visionrl.core.testing import acting

SEED = 11
LIMIT = 12  # time limit of the episodes that are replayed: each row ends three times
EARLY = {3: (1,), 7: (0, 2), 9: (2,)}  # step -> rows begun anew after it, so that rows end at different times


def check_rows_replay_single(
    task_id: str, backend: str = "numpy", device: str = "cpu", **kwargs: Any
) -> None:
    """Row i of the vector environment is the single environment seeded s + i, step by step.

    Half the actions are the expert's, half are chance. Some rows are begun anew early, so that they end at different
    times even where all episodes have one length, and a restart that disturbs its neighbours is seen.
    """
    make: dict[str, Any] = {"max_episode_steps": LIMIT, **kwargs}
    where: dict[str, Any] = {"vectorization_mode": "vector_entry_point", "backend": backend, "device": device}
    venv: Any = gym.make_vec(task_id, ROWS, **where, **make)
    singles = [gym.make(task_id, **make) for _ in range(ROWS)]
    obs, info = venv.reset(seed=SEED)
    pairs = [env.reset(seed=SEED + i) for i, env in enumerate(singles)]
    choose, beside = acting(venv.task, "mixed", SEED), 0
    for t in range(3 * LIMIT):
        _compare(obs, info, pairs)
        actions = choose(venv.task, batch.each(venv.state, ops.to_numpy))
        obs, info, over = _step_both(venv, singles, actions, pairs)
        beside += bool(over.any() and not over.all())
        if t in EARLY and not over[list(EARLY[t])].any():
            begun = np.isin(np.arange(ROWS), EARLY[t])
            obs, info = venv._restart(begun)
            for i in EARLY[t]:
                pairs[i] = singles[i].reset()
    require(beside >= 3, "a restart beside a running episode must happen, none did")


def check_rows_replay_on_torch(task_id: str, **kwargs: Any) -> None:
    """Check that rows replay their episodes on torch, on the CPU."""
    if "torch" in entry_of(task_id).task.backends:
        check_rows_replay_single(task_id, backend="torch", **kwargs)


def check_rows_independent(task_id: str, **kwargs: Any) -> None:
    """A subset of the rows gives the subset of the results: nothing leaks from episode to episode."""
    rows = [2, 0]
    for task, state, action in moments(task_id, **kwargs):
        some = middle(task, batch.take(state, rows), action[rows])
        for name, value in middle(task, state, action).items():
            close(some[name], value[rows], f"{name} must not mix rows")


def _step_both(venv: Any, singles: list[Any], actions: np.ndarray, pairs: list[Any]) -> tuple[Any, Any, Any]:
    """Step the rows and the singles, hold rewards, ends and last observations together, restart singles that ended."""
    obs, reward, terminated, truncated, info = venv.step(actions)
    terminated, truncated = ops.to_numpy(terminated), ops.to_numpy(truncated)
    for i, env in enumerate(singles):
        seen, earned, ended, cut, told = env.step(actions[i])
        require(
            bool(terminated[i]) == ended and bool(truncated[i]) == cut,
            f"row {i} must end when its single does",
        )
        close(float(reward[i]), earned, "reward")
        pairs[i] = seen, told
        if ended or cut:
            final = {key: value[i] for key, value in info["final_info"].items()}
            _compare_one(info["final_obs"][i], final, pairs[i])
            pairs[i] = env.reset()
    return obs, info, terminated | truncated


def _compare(obs: dict[str, Any], info: dict[str, Any], pairs: list[Any]) -> None:
    for i, pair in enumerate(pairs):
        row = {key: info[key][i] for key in pair[1]}
        _compare_one({key: value[i] for key, value in obs.items()}, row, pair)


def _compare_one(obs: dict[str, Any], info: dict[str, Any], single: Any) -> None:
    for key, value in single[0].items():
        alike(obs[key], value, key)
    for key, value in single[1].items():
        close(float(info[key]), value, key)
