"""Evaluation: every method faces the same episodes of a split, and gets a row with confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from gymnasium.utils.seeding import np_random

from visionrl.agents.baselines import Policy, agent_policy, expert_policy, random_policy
from visionrl.agents.table import Estimate, Row, Table, estimate, summarize
from visionrl.core import BASELINES, Task, TaskVectorEnv, batch, entry_of, make_task
from visionrl.core.registry import Run

__all__ = [
    "Estimate",
    "Policy",
    "Row",
    "Table",
    "agent_policy",
    "compare",
    "estimate",
    "evaluate",
    "expert_policy",
    "random_policy",
    "summarize",
]

MOST_EPISODES = 512  # of an evaluation that is not told how many
ENGINE = (
    "backend",
    "device",
    "num_envs",
    "render_mode",
    "split",
)  # not for the caller: policies get NumPy arrays


@dataclass(frozen=True)
class Episodes:
    """Which episodes an evaluation consists of.

    Attributes:
        seeds: (N,) of the generator that draws the first state.
        items: (N,) the task's item that each starts from.
        starts: (N,) the first states.
        groups: (N,) the image or video that each is about: the state's field ``image``, else the item.
    """

    seeds: list[int]
    items: list[int]
    starts: list[Any]
    groups: np.ndarray


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        values: name -> (N,) numbers at each episode's end.
        seconds: wall clock of all.
        steps: steps that were computed, those of rows that wait for the slowest among them; 0 where unknown.
    """

    values: dict[str, np.ndarray]
    seconds: float
    steps: int = 0


def evaluate(
    env_id: str,
    policy: Policy,
    *,
    split: str = "test",
    episodes: int | None = None,
    seed: int = 0,
    num_envs: int = 64,
    env_kwargs: Mapping[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """One policy's numbers, one per episode.

    Episode k draws its first state with seed ``seed + k``, so every policy faces the same episodes. They go through
    the split's items in turn; fewer episodes than items are spread evenly over the items. The constructor
    arguments that the task declares for evaluation (``Task.evaluation``) hold unless ``env_kwargs`` has them.

    Args:
        env_id: id of the task.
        policy: see ``Policy``.
        split: "train", "val", "test" or "all".
        episodes: how many; default every item once, but at most 512.
        seed: of the first episode.
        num_envs: episodes at a time.
        env_kwargs: constructor arguments of the task, and ``preset`` or ``max_episode_steps``.

    Returns:
        Name -> (episodes,): the task's metrics at the end of each episode, "return" (sum of rewards), "length"
        (steps), "item".

    Raises:
        ValueError: an argument is out of range.
    """
    env, chosen = _prepare(env_id, split, episodes, seed, num_envs, env_kwargs or {})
    return {**_roll(env, policy, chosen).values, "item": np.array(chosen.items)}


def compare(
    env_id: str,
    agents: Mapping[str, Policy] | None = None,
    *,
    split: str = "test",
    episodes: int | None = None,
    seed: int = 0,
    num_envs: int = 64,
    env_kwargs: Mapping[str, Any] | None = None,
    fit_kwargs: Mapping[str, Any] | None = None,
) -> Table:
    """The table: random, every classical method registered for the task, the agents, the expert.

    Args:
        env_id: id of the task.
        agents: name -> policy.
        split: see ``evaluate``, as all that is not named here.
        episodes: how many.
        seed: of the first episode.
        num_envs: episodes at a time.
        env_kwargs: constructor arguments of the task.
        fit_kwargs: constructor arguments under which the classical methods find their training split; default
            ``env_kwargs``. Where ``data`` is a sequence of samples, which has no training split, methods that
            learn are left out without it.

    Raises:
        ValueError: an argument is out of range.
    """
    if taken := {"random", "expert", *BASELINES.get(entry_of(env_id).id, {})} & set(agents or {}):
        raise ValueError(f"agents must not be named like other rows, got {', '.join(sorted(taken))}")
    env, chosen = _prepare(env_id, split, episodes, seed, num_envs, env_kwargs or {})
    policies = {"random": random_policy(seed), **(agents or {}), "expert": expert_policy}
    kinds = {"random": "random", "expert": "expert"}
    learned = [
        _row(name, kinds.get(name, "agent"), _roll(env, policy, chosen), chosen)
        for name, policy in policies.items()
    ]
    runs, notes = _fitted(env_id, env_kwargs or {}, fit_kwargs)
    classical = [_row(name, "classical", _solve(env.task, run, chosen), chosen) for name, run in runs.items()]
    rows = (learned[0], *classical, *learned[1:])
    clusters = len(np.unique(chosen.groups))
    return Table(entry_of(env_id).id, split, seed, env.task.headline, clusters, rows, notes)


def choose(task: Task, episodes: int | None, seed: int) -> Episodes:
    """The episodes of an evaluation; see ``evaluate``.

    Raises:
        ValueError: ``episodes`` is less than 1.
    """
    if episodes is not None and episodes < 1:
        raise ValueError(f"episodes must be >= 1, got {episodes}")
    count = episodes or min(task.items, MOST_EPISODES)
    items = np.arange(count) % task.items
    if (
        count < task.items
    ):  # one of each of ``count`` equal parts: regular strides could meet one structure alone
        edges = np.arange(count + 1) * task.items // count
        items = np.random.default_rng(0).integers(edges[:-1], edges[1:])
    seeds = list(range(seed, seed + count))
    starts = [task.sample(np_random(s)[0], item) for s, item in zip(seeds, items.tolist(), strict=True)]
    groups = [getattr(start, "image", item) for start, item in zip(starts, items, strict=True)]
    return Episodes(seeds, items.tolist(), starts, np.array(groups))


def _prepare(
    env_id: str, split: str, episodes: int | None, seed: int, num_envs: int, env_kwargs: Mapping[str, Any]
) -> tuple[TaskVectorEnv, Episodes]:
    """The environment that an evaluation steps, with no more rows than episodes, and the episodes."""
    if num_envs < 1:
        raise ValueError(f"num_envs must be >= 1, got {num_envs}")
    entry = entry_of(env_id)
    kwargs, limit = _constructor({**entry.task.evaluation, **env_kwargs}, split, entry.max_steps)
    chosen = choose(make_task(entry.id, **kwargs), episodes, seed)
    rows = min(num_envs, len(chosen.seeds))
    return TaskVectorEnv(rows, entry.id, max_episode_steps=limit, **kwargs), chosen


def _roll(env: TaskVectorEnv, policy: Policy, chosen: Episodes) -> Result:
    """A policy through all episodes, as many at a time as the environment has rows."""
    parts, began, steps = [], perf_counter(), 0
    for first in range(0, len(chosen.seeds), env.num_envs):
        seeds, items = (x[first : first + env.num_envs] for x in (chosen.seeds, chosen.items))
        part = _batch(env, policy, seeds, items)
        steps += env.num_envs * int(part["length"].max())
        parts.append({key: value[: len(seeds)] for key, value in part.items()})
    values = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return Result(values, perf_counter() - began, steps)


def _batch(env: TaskVectorEnv, policy: Policy, seeds: list[int], items: list[int]) -> dict[str, np.ndarray]:
    """The first episode of every row; rows beyond the seeds repeat the last one."""
    spare = env.num_envs - len(seeds)
    obs, info = env.reset(seed=seeds + seeds[-1:] * spare, options={"item": items + items[-1:] * spare})
    getattr(policy, "reset", lambda: None)()
    found: dict[str, np.ndarray] = {key: np.zeros(env.num_envs) for key in info if not key.startswith("_")}
    total, length, running = np.zeros(env.num_envs), np.zeros(env.num_envs, int), np.ones(env.num_envs, bool)
    while running.any():
        obs, reward, terminated, truncated, info = env.step(policy(obs, env.task, env.state))
        total, length = total + reward * running, length + running
        ended = running & (terminated | truncated)
        for key in found if ended.any() else ():
            found[key][ended] = info["final_info"][key][ended]
        running &= ~ended
    return {**found, "return": total, "length": length}


def _constructor(
    kwargs: Mapping[str, Any], split: str, limit: int | None = None
) -> tuple[dict[str, Any], int | None]:
    """An environment's arguments as the task's own, and the time limit."""
    task = {key: value for key, value in kwargs.items() if key not in (*ENGINE, "max_episode_steps")}
    return {**task, "split": split}, kwargs.get("max_episode_steps", limit)


def _fitted(
    env_id: str, env_kwargs: Mapping[str, Any], fit_kwargs: Mapping[str, Any] | None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Every classical method, fitted where it learns, and a note on those for which there is nothing to learn from."""
    methods = BASELINES.get(entry_of(env_id).id, {})
    learners = [name for name, method in methods.items() if method.learns]
    train, missing = None, ""
    if learners:
        train, missing = _train_task(
            env_id, env_kwargs if fit_kwargs is None else fit_kwargs, fit_kwargs is None
        )
    runs = {name: method.fit(train) for name, method in methods.items() if train or not method.learns}
    left_out = () if not missing else (f"{', '.join(learners)}: left out, no training split: {missing}",)
    return runs, left_out


def _train_task(env_id: str, kwargs: Mapping[str, Any], derived: bool) -> tuple[Task | None, str]:
    """The task on its training split, or None and why there is none."""
    if derived and not isinstance(kwargs.get("data"), str | None):
        return None, "data is a sequence of samples; give fit_kwargs"
    try:
        return make_task(env_id, **_constructor(kwargs, "train")[0]), ""
    except ValueError as error:
        return None, str(error)


def _solve(task: Task, run: Run, chosen: Episodes) -> Result:
    """A classical method through all episodes, one by one."""
    began = perf_counter()
    ends = [run(task, batch.stack([start])) for start in chosen.starts]
    seconds = perf_counter() - began
    found = [task.metrics(end) for end in ends]
    return Result({key: np.concatenate([one[key] for one in found]) for key in found[0]}, seconds)


def _row(name: str, kind: str, result: Result, chosen: Episodes) -> Row:
    """A result as a row of the table."""
    count, milliseconds = len(chosen.seeds), 1000 * result.seconds
    return Row(
        name,
        kind,
        summarize(result.values, chosen.groups),
        count,
        float(result.values["length"].mean()) if result.steps else None,
        milliseconds / result.steps if result.steps else None,
        milliseconds / count,
    )
