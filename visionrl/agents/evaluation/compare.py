"""Evaluation: every method faces the same episodes of a split, and gets a row with confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from visionrl.agents.evaluation.episodes import (
    Plan,
    Result,
    evaluate_policy,
    lines_of,
    prepare,
    run_baseline,
    task_kwargs,
)
from visionrl.agents.evaluation.paired import Score, paired_difference
from visionrl.agents.evaluation.policies import Policy, RandomPolicy, expert_policy
from visionrl.agents.evaluation.table import UNITS, Row, Table, estimate_dataset_metrics, summarize
from visionrl.core import BASELINES, Task, did_you_mean, entry_of, make_task
from visionrl.core.capabilities import ClassMetrics, ResolvedArguments, compute_all
from visionrl.core.registry import Run
from visionrl.datasets import MotSample, VideoSample

MOST_SEQUENCES = 40  # of a split of videos whose figures are stated for each


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
    rows: Sequence[str] | None = None,
    keep: Callable[[list[dict[str, Any]]], None] | None = None,
    against: str | None = None,
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
        rows: those beside the agents and ``methods``, see ``chosen_rows``; None for all.
        keep: is given what each agent, or without agents each row, found: a line a sample, see ``lines_of``.
        against: the agent to whom the others are compared, episode by episode; a note of the table has the gains.
        say: is told what is being done, such as "random" or "ranked regions: learning"; some of it takes minutes.

    Raises:
        ValueError: an argument is out of range.
    """
    if taken := {*row_names(env_id)} & set(agents or {}):
        raise ValueError(f"agents must not be named like other rows, got {', '.join(sorted(taken))}")
    wanted = chosen_rows(env_id, rows)
    say("loading")
    train, missing = _train_task(env_id, env_kwargs or {}, fit_kwargs, wanted)
    given = {
        **(train.resolved_arguments if isinstance(train, ResolvedArguments) else {}),
        **(env_kwargs or {}),
    }
    plan = prepare(env_id, split, episodes, seed, num_envs, given)

    scores: dict[str, Score] = {}

    def row(name: str, kind: str, run: Callable[..., Result], method: Any) -> Row:
        say(name)
        kept = keep is not None and (kind == "agent" or not agents)
        result = run(plan, method, kept)
        if kind == "agent":
            scores[name] = Score.of(result, plan.task.primary_metric[0])
        if keep is not None and result.results:
            keep(lines_of(plan, name, result))
        return _row(name, kind, result, plan)

    learned = [row(name, "agent", evaluate_policy, policy) for name, policy in (agents or {}).items()]
    lowest = [row("random", "random", evaluate_policy, RandomPolicy(seed))] if "random" in wanted else []
    may_ask = "expert" in wanted and plan.task.knows_truth
    highest = [row("expert", "expert", evaluate_policy, expert_policy)] if may_ask else []
    runs, notes = _fitted(plan.task, env_id, train, missing, wanted, say)
    classical = [
        row(name, "classical", run_baseline, run) for name, run in {**runs, **(methods or {})}.items()
    ]
    every = (*lowest, *classical, *learned, *highest)
    notes += gains(plan, scores, against)
    clusters = len(np.unique(plan.chosen.groups))
    return Table(entry_of(env_id).id, split, seed, plan.task.primary_metric, clusters, every, notes)


def gains(plan: Plan, scores: Mapping[str, Score], against: str | None) -> tuple[str, ...]:
    """A note on each agent's gain over one of them in the primary metric; none without such a one."""
    if against is None:
        return ()
    others = [name for name in scores if name != against]
    found = {name: paired_difference(plan, scores[against], scores[name]) for name in others}
    what = f"{plan.task.primary_metric[0]} gained on the same episodes"
    return tuple(
        f"{name} over {against}: {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] {what}"
        for name, gain in found.items()
    )


def row_names(env_id: str) -> tuple[str, ...]:
    """The rows that a task's table has beside agents: random, the classical methods, expert."""
    return ("random", *BASELINES.get(entry_of(env_id).id, {}), "expert")


def chosen_rows(env_id: str, rows: Sequence[str] | None) -> tuple[str, ...]:
    """The rows of a table beside agents.

    Args:
        env_id: id of the task.
        rows: names, or several in one word with commas between them; None for all.

    Raises:
        ValueError: there is no such row.
    """
    every = row_names(env_id)
    if rows is None:
        return every
    known = {plain(name): name for name in every}
    asked = [part for word in rows for part in ([word] if plain(word) in known else word.split(","))]
    for name in map(plain, asked):
        if name not in known:
            rule = f"rows must be among {'; '.join(every)}, got {name!r}"
            raise ValueError(rule + did_you_mean(name, list(known)))
    return tuple(name for name in every if name in {known[plain(one)] for one in asked})


def plain(name: str) -> str:
    """Normalize the name of a method: "Median-Flow" becomes "median flow"."""
    return name.strip().lower().replace("-", " ").replace("_", " ")


def _fitted(
    task: Task,
    env_id: str,
    train: Task | None,
    missing: str,
    wanted: Sequence[str],
    say: Callable[[str], None],
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Every classical method that is wanted, fitted where it learns, and a note on those that are left out."""
    methods = {name: one for name, one in BASELINES.get(entry_of(env_id).id, {}).items() if name in wanted}
    learners = ", ".join(name for name, method in methods.items() if method.learns)
    runs, notes = {}, [f"{learners}: left out, no training split: {missing}"] if missing and learners else []
    for name, method in list(methods.items()):
        if method.needs is not None and getattr(task, method.needs) is None:
            notes.append(f"{name}: left out, needs {method.needs}")
            del methods[name]
    for name, method in methods.items():
        try:
            if train or not method.learns:
                say(f"{name}: learning")
                runs[name] = method.fit(train)
        except ImportError as error:
            notes.append(f"{name}: left out: {error}")
    return runs, tuple(notes)


def _train_task(
    env_id: str, env_kwargs: Mapping[str, Any], fit_kwargs: Mapping[str, Any] | None, wanted: Sequence[str]
) -> tuple[Task | None, str]:
    """The task on its training split if a classical method learns from it; or None, and why there is none.

    It also decides arguments, whichever rows are wanted, but where a run has decided them.
    """
    learners = [name for name, one in BASELINES.get(entry_of(env_id).id, {}).items() if one.learns]
    if not learners or (fit_kwargs is not None and not set(learners) & set(wanted)):
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
        _by_class(result, plan),
    )


def _by_class(result: Result, plan: Plan) -> dict[str, dict[str, float]]:
    """Class, structure or sequence -> its metrics and "episodes"; empty where there are not two."""
    task, names, numbers = plan.task, plan.task.sample_names, plan.chosen.groups
    if isinstance(task, ClassMetrics) and result.classes is not None:
        names, numbers = tuple(task.names), result.classes
    elif task.sample_type not in (VideoSample, MotSample) or not len(names) == task.items <= MOST_SEQUENCES:
        return {}
    found = {}
    for number in np.unique(numbers[numbers >= 0]).tolist():
        rows = np.flatnonzero(numbers == number)
        values = {key: value[rows] for key, value in result.values.items()}
        means = {key: float(np.mean(value)) for key, value in values.items()}
        means |= {f"median_{key}": float(np.median(values[key])) for key in values if key.endswith(UNITS)}
        together = compute_all(task, {key: value[rows] for key, value in result.records.items()})
        found[names[number]] = {**means, **together, "episodes": len(rows)}
    return found if len(found) > 1 else {}
