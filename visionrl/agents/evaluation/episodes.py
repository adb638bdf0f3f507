"""Episodes of an evaluation: which they are, and how policies and classical methods go through them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np
from gymnasium.utils.seeding import np_random

from visionrl.agents.evaluation.policies import Policy
from visionrl.core import Task, batch, entry_of, make_task
from visionrl.core.capabilities import ClassMetrics, Reports, record_all, rewards_of
from visionrl.core.registry import Run

MOST_EPISODES = 512  # of an evaluation that is not told how many
# arguments of environments that are not the task's; policies get NumPy arrays of one process
ENGINE = ("backend", "device", "num_envs", "render_mode", "split")


@dataclass(frozen=True)
class Episodes:
    """The episodes of an evaluation.

    Attributes:
        items: (N,) the task's item that each starts from.
        starts: (N,) the first states.
        groups: (N,) the image or video that each is about, see ``Task.source_of``.
    """

    items: list[int]
    starts: list[Any]
    groups: np.ndarray


@dataclass(frozen=True)
class Plan:
    """An evaluation.

    Attributes:
        task: on the split.
        chosen: its episodes.
        limit: steps after which an episode is cut.
        num_envs: episodes at a time.
    """

    task: Task
    chosen: Episodes
    limit: float
    num_envs: int

    @cached_property
    def turns(self) -> list[tuple[int, int]]:
        """Pass through the samples that each episode belongs to, and its group."""
        return [(k // self.task.items, int(group)) for k, group in enumerate(self.chosen.groups)]

    @cached_property
    def alone(self) -> list[bool]:
        """Tell if no other episode of its pass is about the same sample."""
        counts = Counter(self.turns)
        return [counts[turn] == 1 for turn in self.turns]


@dataclass(frozen=True)
class Result:
    """Result of an evaluated method.

    Attributes:
        values: name -> (N,) numbers at each episode's end.
        records: name -> (N, ...) what the task's data-set metrics need of them; empty where it has none.
        seconds: wall clock of all.
        steps: of all episodes; 0 where unknown.
        classes: (N,) number of the class or structure that each is about; None where the task has none.
        results: what each says about its sample, see ``Task.result``, as plain values where no other episode is about
            it; empty where it was not asked for.
    """

    values: dict[str, np.ndarray]
    records: dict[str, np.ndarray]
    seconds: float
    steps: int = 0
    classes: np.ndarray | None = None
    results: list[Any] = field(default_factory=list)


def select_episodes(task: Task, episodes: int | None, seed: int) -> Episodes:
    """The episodes of an evaluation; see ``evaluate``.

    Raises:
        ValueError: ``episodes`` is less than 1.
    """
    if episodes is not None and episodes < 1:
        raise ValueError(f"episodes must be >= 1, got {episodes}")
    count = episodes or min(task.items, MOST_EPISODES)
    items = np.arange(count) % task.items
    if count < task.items:
        # one of each of so many equal parts: regular strides could meet one structure alone
        edges = np.arange(count + 1) * task.items // count
        items = np.random.default_rng(0).integers(edges[:-1], edges[1:])
    seeds = list(range(seed, seed + count))
    starts = [task.sample(np_random(s)[0], item) for s, item in zip(seeds, items.tolist(), strict=True)]
    groups = [task.source_of(item, start) for item, start in zip(items.tolist(), starts, strict=True)]
    return Episodes(items.tolist(), starts, np.array(groups))


def prepare(
    env_id: str, split: str, episodes: int | None, seed: int, num_envs: int, env_kwargs: Mapping[str, Any]
) -> Plan:
    """The task that an evaluation steps, and its episodes; the arguments are those of ``evaluate``.

    Raises:
        ValueError: one of them is out of range.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs must be >= 1, got {num_envs}")
    entry = entry_of(env_id)
    kwargs = {**entry.task.evaluation, **env_kwargs}
    limit = kwargs.get("max_episode_steps", entry.max_steps)
    task = make_task(entry.id, **task_kwargs(kwargs, split))
    return Plan(task, select_episodes(task, episodes, seed), limit or math.inf, num_envs)


def last_states(
    env_id: str, policy: Policy, split: str, episodes: int, env_kwargs: Mapping[str, Any]
) -> tuple[Task, Any]:
    """The task, and the last states of some episodes; the arguments are those of ``evaluate``.

    Raises:
        ValueError: one of them is out of range.
    """
    plan = prepare(env_id, split, episodes, 0, episodes, env_kwargs)
    return plan.task, rollout(plan, policy, plan.chosen.starts)[0]


def evaluate_policy(plan: Plan, policy: Policy, results: bool = False) -> Result:
    """A policy through all episodes, some at a time; with ``results`` what each says about its sample is kept."""
    values, records, began, steps = [], [], perf_counter(), 0
    found: list[Any] = []
    for first in range(0, len(plan.chosen.starts), plan.num_envs):
        starts = plan.chosen.starts[first : first + plan.num_envs]
        ends, totals = rollout(plan, policy, starts)
        steps += int(totals["length"].sum())
        values.append({**plan.task.metrics(ends), **totals})
        records.append(record_all(plan.task, ends))
        found += results_of(plan, len(found), ends) if results else []
    joined = [
        {key: np.concatenate([part[key] for part in some]) for key in some[0]} for some in (values, records)
    ]
    seconds = perf_counter() - began
    return Result(joined[0], joined[1], seconds, steps, classes_of(plan.task, plan.chosen.starts), found)


def results_of(plan: Plan, first: int, ends: Any) -> list[Any]:
    """Results of some last states, those of the episodes from ``first`` on; see ``Result``.

    Results are kept to be joined, but where an episode is alone: those of volumes take much memory.
    """
    found = []
    for row in range(len(next(iter(vars(ends).values())))):
        try:
            result = plan.task.result(batch.take(ends, row))
        except NotImplementedError:
            return []
        found.append(result.to_json() if plan.alone[first + row] else result)
    return found


def classes_of(task: Task, starts: list[Any]) -> np.ndarray | None:
    """(N,) number of the class or structure that each episode is about; None where the task has none."""
    return task.class_of(batch.stack(starts)) if isinstance(task, ClassMetrics) else None


def lines_of(plan: Plan, name: str, result: Result) -> list[dict[str, Any]]:
    """Plain values of what a method found: a line a sample, whose episodes are joined.

    Episodes beyond the task's items go through the samples again, which is another "pass".
    """
    rows: dict[tuple[int, int], list[int]] = {}
    for row in range(len(result.results)):
        rows.setdefault(plan.turns[row], []).append(row)
    lines = []
    for (turn, group), some in rows.items():
        first, *others = [result.results[row] for row in some]
        plain = first if isinstance(first, dict) else first.joined(others).to_json()
        about = {"name": plan.task.source_name(group), **({"pass": turn} if turn else {})}
        steps = int(result.values["length"][some].sum()) if result.steps else 0
        milliseconds = round(1000 * result.seconds * len(some) / len(result.results), 2)
        cost = {"steps": steps, "milliseconds": milliseconds, "agent": name}
        lines.append({**about, **plain, **cost})
    return lines


def rollout(plan: Plan, policy: Policy, starts: list[Any]) -> tuple[Any, dict[str, np.ndarray]]:
    """Episodes side by side, each to its end: their last states, and what they earned in how many steps.

    Raises:
        TypeError: the policy remembers something, but cannot be told which rows go on.
    """
    if hasattr(policy, "reset") and not hasattr(policy, "keep"):
        raise TypeError(f"a policy that has reset() must have keep(rows), got {type(policy).__name__}")
    task, left = plan.task, np.arange(len(starts))
    state, ends = batch.stack(starts), batch.stack(starts)
    total, length = np.zeros(len(starts)), np.zeros(len(starts), int)
    getattr(policy, "reset", lambda: None)()
    while len(left):
        actions = np.asarray(policy(task.observe(state), task, state))
        if (confidence := getattr(policy, "confidence", None)) is not None and isinstance(task, Reports):
            state = task.with_confidence(state, confidence)
        after = task.step(state, actions)
        total[left] += rewards_of(task, state, actions, after)
        length[left] += 1
        ended = task.terminated(after) | (length[left] >= plan.limit)
        if ended.any():
            batch.put(ends, left[ended], batch.take(after, ended))
            left, after = left[~ended], batch.take(after, ~ended)
            getattr(policy, "keep", lambda rows: None)(~ended)
        state = after
    return ends, {"return": total, "length": length}


def task_kwargs(kwargs: Mapping[str, Any], split: str) -> dict[str, Any]:
    """An environment's arguments as the task's own: without the engine's and the time limit."""
    task = {key: value for key, value in kwargs.items() if key not in (*ENGINE, "max_episode_steps")}
    return {**task, "split": split}


def run_baseline(plan: Plan, run: Run, results: bool = False) -> Result:
    """A classical method through all episodes, one by one; ``results`` as in ``evaluate_policy``."""
    began = perf_counter()
    ends = run_each(plan.task, run, plan.chosen.starts)
    seconds = perf_counter() - began
    found, classes = results_of(plan, 0, ends) if results else [], classes_of(plan.task, plan.chosen.starts)
    return Result(plan.task.metrics(ends), record_all(plan.task, ends), seconds, 0, classes, found)


def run_each(task: Task, run: Run, starts: list[Any]) -> Any:
    """The last states of a classical method that goes through episodes one by one."""
    ends = [run(task, batch.stack([start])) for start in starts]
    return batch.stack([batch.take(end, 0) for end in ends])
