"""Several runs of one recipe, one a seed, on the same episodes as other rows: their mean, and what it gains over each.

python benchmarks/paired.py RUN RUN RUN [--split test] [--episodes N] [--rows random "mean shape" expert]

Intervals of 95 % are by bootstrap over images or videos, all methods on the same resamples. The methods that learn are
fitted to the training split of the first run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from visionrl.agents.evaluation.compare import chosen_rows
from visionrl.agents.evaluation.episodes import (
    Plan,
    Result,
    evaluate_policy,
    prepare,
    run_baseline,
    task_kwargs,
)
from visionrl.agents.evaluation.paired import Score
from visionrl.agents.evaluation.policies import RandomPolicy, agent_policy, expert_policy
from visionrl.agents.evaluation.table import Estimate, estimate, estimate_dataset_metrics
from visionrl.agents.training.saving import load_model
from visionrl.core import BASELINES, make_task
from visionrl.core.capabilities import compute_all


def combined(plan: Plan, scores: Sequence[Score], weights: Sequence[float]) -> Estimate:
    """The weighted sum of some scores, such as a mean (1 / 3, 1 / 3, 1 / 3) or a difference (1, -1)."""
    if len(scores[0].values):
        total = sum(weight * one.values for weight, one in zip(weights, scores, strict=True))
        return estimate(np.asarray(total), plan.chosen.groups)
    records = {f"{k}.{key}": value for k, one in enumerate(scores) for key, value in one.records.items()}
    return estimate_dataset_metrics(partial(weighted, plan, weights), records, plan.chosen.groups)["sum"]


def weighted(plan: Plan, weights: Sequence[float], records: Any) -> dict[str, float]:
    """The weighted sum of a metric that episodes have only together; names of records begin with a score's number."""
    parts: list[dict[str, Any]] = [{} for _ in weights]
    for name, value in records.items():
        number, key = name.split(".", 1)
        parts[int(number)][key] = value
    metric = plan.task.primary_metric[0]
    return {
        "sum": sum(w * compute_all(plan.task, part)[metric] for w, part in zip(weights, parts, strict=True))
    }


def written(one: Estimate) -> str:
    """A figure with its interval."""
    return f"{one.value:.4g} [{one.low:.4g}, {one.high:.4g}]"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--split", default="test")
    parser.add_argument("--episodes", type=int)
    parser.add_argument("--rows", nargs="*")
    args = parser.parse_args()
    loaded = [load_model(run, "cpu") for run in args.runs]
    config = loaded[0][1]
    plan = prepare(config.env, args.split, args.episodes, 0, 64, config.env_kwargs)
    metric, more = plan.task.primary_metric
    train = make_task(config.env, **task_kwargs({**plan.task.evaluation, **config.env_kwargs}, "train"))

    def score(result: Result) -> Score:
        return Score.of(result, metric)

    agents = [score(evaluate_policy(plan, agent_policy(model))) for model, _ in loaded]
    rows: dict[str, Score] = {}
    for name in chosen_rows(config.env, args.rows):
        if name in ("random", "expert"):
            if name == "random" or plan.task.knows_truth:
                rows[name] = score(
                    evaluate_policy(plan, RandomPolicy(0) if name == "random" else expert_policy)
                )
        elif (row := BASELINES[config.env][name]).needs is None or getattr(plan.task, row.needs) is not None:
            rows[name] = score(run_baseline(plan, row.fit(train)))
    share, count = [1 / len(agents)] * len(agents), len(plan.chosen.starts)
    print(
        f"{config.env}, {args.split}: {metric}, {count} episodes of {len(set(plan.chosen.groups))} groups\n"
    )
    print(f"| method | {metric} | gain of the agents' mean |\n|---|---|---|")
    for name, one in rows.items():
        sign = 1.0 if more else -1.0
        gain = combined(plan, [*agents, one], [*(sign * x for x in share), -sign])
        print(f"| {name} | {written(combined(plan, [one], [1]))} | {written(gain)} |")
    for run, one in zip(args.runs, agents, strict=True):
        print(f"| {run} | {written(combined(plan, [one], [1]))} | |")
    print(f"| mean of the agents | {written(combined(plan, agents, share))} | |")


if __name__ == "__main__":
    main()
