"""Evaluation: every method faces the same episodes of a split, and gets a row with confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from visionrl.agents.evaluation.episodes import (
    Plan,
    Result,
    evaluate_policy,
    prepare,
    run_baseline,
    task_kwargs,
)
from visionrl.agents.evaluation.policies import Policy, RandomPolicy, expert_policy
from visionrl.agents.evaluation.table import Row, Table, estimate_dataset_metrics, summarize
from visionrl.core import BASELINES, Task, entry_of, make_task
from visionrl.core.capabilities import ResolvedArguments, compute_all
from visionrl.core.registry import Run


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
    plan = prepare(env_id, split, episodes, seed, num_envs, env_kwargs or {})
    return {**evaluate_policy(plan, policy).values, "item": np.array(plan.chosen.items)}


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
    """One policy's numbers over all episodes: the mean of what ``evaluate`` gives, and the task's data-set metrics.

    The arguments are those of ``evaluate``.

    Raises:
        ValueError: an argument is out of range.
    """
    plan = prepare(env_id, split, episodes, seed, num_envs, env_kwargs or {})
    result = evaluate_policy(plan, policy)
    means = {key: float(np.mean(value)) for key, value in result.values.items()}
    return means | compute_all(plan.task, result.records)


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
    """The table: random, every classical method registered for the task, the agents, the expert where there is one.

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
    given = {
        **(train.resolved_arguments if isinstance(train, ResolvedArguments) else {}),
        **(env_kwargs or {}),
    }
    plan = prepare(env_id, split, episodes, seed, num_envs, given)
    policies: dict[str, Policy] = {"random": RandomPolicy(seed), **(agents or {})}
    if plan.task.knows_truth:
        policies["expert"] = expert_policy
    kinds = {"random": "random", "expert": "expert"}
    learned = []
    for name, policy in policies.items():
        say(name)
        learned.append(_row(name, kinds.get(name, "agent"), evaluate_policy(plan, policy), plan))
    runs, notes = _fitted(env_id, train, missing, say)
    classical = []
    for name, run in {**runs, **(methods or {})}.items():
        say(name)
        classical.append(_row(name, "classical", run_baseline(plan, run), plan))
    rows = (learned[0], *classical, *learned[1:])
    clusters = len(np.unique(plan.chosen.groups))
    return Table(entry_of(env_id).id, split, seed, plan.task.primary_metric, clusters, rows, notes)


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
        return make_task(env_id, **task_kwargs(kwargs, "train")), ""
    except ValueError as error:
        return None, str(error)


def _row(name: str, kind: str, result: Result, plan: Plan) -> Row:
    """A result as a row of the table."""
    count, milliseconds, groups = len(plan.chosen.starts), 1000 * result.seconds, plan.chosen.groups
    together = (
        estimate_dataset_metrics(partial(compute_all, plan.task), result.records, groups)
        if result.records
        else {}
    )
    return Row(
        name,
        kind,
        {**summarize(result.values, groups), **together},
        count,
        float(result.values["length"].mean()) if result.steps else None,
        milliseconds / result.steps if result.steps else None,
        milliseconds / count,
    )
