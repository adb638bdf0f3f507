"""Evaluation: every method faces the same episodes of a split, and gets a row with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from gymnasium.utils.seeding import np_random

from visionrl.agents.baselines import Policy, agent_policy, expert_policy, random_policy
from visionrl.agents.table import Estimate, Row, Table, estimate, estimate_pooled, summarize
from visionrl.core import BASELINES, Task, batch, entry_of, make_task
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
    "measure",
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
        items: (N,) the task's item that each starts from.
        starts: (N,) the first states.
        groups: (N,) the image or video that each is about: the state's field ``image``, else the item.
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


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        values: name -> (N,) numbers at each episode's end.
        tally: name -> (N, ...) what ``Task.pooled`` needs of them; empty where the task has no such metric.
        seconds: wall clock of all.
        steps: steps that were computed, those of rows that wait for the slowest among them; 0 where unknown.
    """

    values: dict[str, np.ndarray]
    tally: dict[str, np.ndarray]
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
    plan = _prepare(env_id, split, episodes, seed, num_envs, env_kwargs or {})
    return {**_roll(plan, policy).values, "item": np.array(plan.chosen.items)}


def measure(
    env_id: str,
    policy: Policy,
    *,
    split: str = "test",
    episodes: int | None = None,
    seed: int = 0,
    num_envs: int = 64,
    env_kwargs: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """One policy's numbers over all episodes: the mean of what ``evaluate`` gives, and the task's pooled metrics.

    The arguments are those of ``evaluate``.
    """
    plan = _prepare(env_id, split, episodes, seed, num_envs, env_kwargs or {})
    result = _roll(plan, policy)
    means = {key: float(np.mean(value)) for key, value in result.values.items()}
    return means | (plan.task.pooled(result.tally) if result.tally else {})


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
    methods: Mapping[str, Run] | None = None,
    say: Callable[[str], None] = lambda doing: None,
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
        methods: further rows beside the classical ones: name -> ``run(task, state)``, see ``Baseline``.
        say: is told what is being done, such as "random" or "ranked regions: learning"; some of it takes minutes.

    Raises:
        ValueError: an argument is out of range.
    """
    if taken := {"random", "expert", *BASELINES.get(entry_of(env_id).id, {})} & set(agents or {}):
        raise ValueError(f"agents must not be named like other rows, got {', '.join(sorted(taken))}")
    say("loading")
    train, missing = _train_task(env_id, env_kwargs or {}, fit_kwargs)
    given = {**(train.settled if train else {}), **(env_kwargs or {})}
    plan = _prepare(env_id, split, episodes, seed, num_envs, given)
    policies = {"random": random_policy(seed), **(agents or {}), "expert": expert_policy}
    kinds = {"random": "random", "expert": "expert"}
    learned = []
    for name, policy in policies.items():
        say(name)
        learned.append(_row(name, kinds.get(name, "agent"), _roll(plan, policy), plan))
    runs, notes = _fitted(env_id, train, missing, say)
    classical = []
    for name, run in {**runs, **(methods or {})}.items():
        say(name)
        classical.append(_row(name, "classical", _solve(plan, run), plan))
    rows = (learned[0], *classical, *learned[1:])
    clusters = len(np.unique(plan.chosen.groups))
    return Table(entry_of(env_id).id, split, seed, plan.task.headline, clusters, rows, notes)


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
    return Episodes(items.tolist(), starts, np.array(groups))


def _prepare(
    env_id: str, split: str, episodes: int | None, seed: int, num_envs: int, env_kwargs: Mapping[str, Any]
) -> Plan:
    """The task that an evaluation steps, and its episodes."""
    if num_envs < 1:
        raise ValueError(f"num_envs must be >= 1, got {num_envs}")
    entry = entry_of(env_id)
    kwargs, limit = _constructor({**entry.task.evaluation, **env_kwargs}, split, entry.max_steps)
    task = make_task(entry.id, **kwargs)
    return Plan(task, choose(task, episodes, seed), limit or math.inf, num_envs)


def last_states(
    env_id: str, policy: Policy, split: str, episodes: int, env_kwargs: Mapping[str, Any]
) -> tuple[Task, Any]:
    """The task, and the last states of some episodes."""
    plan = _prepare(env_id, split, episodes, 0, episodes, env_kwargs)
    return plan.task, _batch(plan, policy, plan.chosen.starts)[0]


def _roll(plan: Plan, policy: Policy) -> Result:
    """A policy through all episodes, some at a time."""
    values, tallies, began, steps = [], [], perf_counter(), 0
    for first in range(0, len(plan.chosen.starts), plan.num_envs):
        starts = plan.chosen.starts[first : first + plan.num_envs]
        ends, told = _batch(plan, policy, starts)
        steps += len(starts) * int(told["length"].max())
        values.append({**plan.task.metrics(ends), **told})
        tallies.append(plan.task.tally(ends))
    joined = [
        {key: np.concatenate([part[key] for part in some]) for key in some[0]} for some in (values, tallies)
    ]
    return Result(joined[0], joined[1], perf_counter() - began, steps)


def _batch(plan: Plan, policy: Policy, starts: list[Any]) -> tuple[Any, dict[str, np.ndarray]]:
    """Episodes side by side, each to its end: their last states, and what they earned in how many steps."""
    task, rows = plan.task, len(starts)
    first, state, ends = (batch.stack(starts) for _ in range(3))
    total, length, running = np.zeros(rows), np.zeros(rows, int), np.ones(rows, bool)
    getattr(policy, "reset", lambda: None)()
    while running.any():
        actions = np.asarray(policy(task.observe(state), task, state))
        if (confidence := getattr(policy, "confidence", None)) is not None:
            state = task.rated(state, confidence)
        after = task.step(state, actions)
        total, length = total + task.reward(state, actions, after) * running, length + running
        ended = running & (task.terminated(after) | (length >= plan.limit))
        running &= ~ended
        if ended.any():
            batch.put(ends, ended, batch.take(after, ended))
        batch.put(after, ~running, batch.take(first, ~running))  # those that are over wait where they began
        state = after
    return ends, {"return": total, "length": length}


def _constructor(
    kwargs: Mapping[str, Any], split: str, limit: int | None = None
) -> tuple[dict[str, Any], int | None]:
    """An environment's arguments as the task's own, and the time limit."""
    task = {key: value for key, value in kwargs.items() if key not in (*ENGINE, "max_episode_steps")}
    return {**task, "split": split}, kwargs.get("max_episode_steps", limit)


def _fitted(
    env_id: str, train: Task | None, missing: str, say: Callable[[str], None]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Every classical method, fitted where it learns, and a note on those that are left out."""
    methods = BASELINES.get(entry_of(env_id).id, {})
    learners = ", ".join(name for name, method in methods.items() if method.learns)
    runs, notes = {}, [f"{learners}: left out, no training split: {missing}"] if missing else []
    for name, method in methods.items():
        try:
            if train or not method.learns:
                say(f"{name}: learning")
                runs[name] = method.fit(train)
        except ImportError as error:
            notes.append(f"{name}: left out: {error}")
    return runs, tuple(notes)


def _train_task(
    env_id: str, env_kwargs: Mapping[str, Any], fit_kwargs: Mapping[str, Any] | None
) -> tuple[Task | None, str]:
    """The task on its training split if a classical method learns from it; or None, and why there is none."""
    if not any(method.learns for method in BASELINES.get(entry_of(env_id).id, {}).values()):
        return None, ""
    kwargs = env_kwargs if fit_kwargs is None else fit_kwargs
    if fit_kwargs is None and not isinstance(kwargs.get("data"), str | None):
        return None, "data is a sequence of samples; give fit_kwargs"
    try:
        return make_task(env_id, **_constructor(kwargs, "train")[0]), ""
    except ValueError as error:
        return None, str(error)


def _solve(plan: Plan, run: Run) -> Result:
    """A classical method through all episodes, one by one."""
    began = perf_counter()
    ends = [run(plan.task, batch.stack([start])) for start in plan.chosen.starts]
    seconds = perf_counter() - began
    whole = batch.stack([batch.take(end, 0) for end in ends])
    return Result(plan.task.metrics(whole), plan.task.tally(whole), seconds)


def _row(name: str, kind: str, result: Result, plan: Plan) -> Row:
    """A result as a row of the table."""
    count, milliseconds, groups = len(plan.chosen.starts), 1000 * result.seconds, plan.chosen.groups
    together = estimate_pooled(plan.task.pooled, result.tally, groups) if result.tally else {}
    return Row(
        name,
        kind,
        {**summarize(result.values, groups), **together},
        count,
        float(result.values["length"].mean()) if result.steps else None,
        milliseconds / result.steps if result.steps else None,
        milliseconds / count,
    )
