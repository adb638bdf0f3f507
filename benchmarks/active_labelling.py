"""Active labelling: all rows on the same orders, paired with entropy; another grouping of labels; labels in rounds.

python benchmarks/active_labelling.py runs/NAME ...                      # figures of docs/results/active-labelling.md
python benchmarks/active_labelling.py runs/NAME ... --groups skeleton    # other classes than in training
python benchmarks/active_labelling.py runs/NAME ... --rounds 1 5 10 20   # labels come after so many choices
python benchmarks/active_labelling.py runs/NAME ... --data masks:FOLDER --pool 0 5 10 15 --scored 20 21 22 23
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from visionrl.agents import agent_policy, load_model
from visionrl.agents.evaluation.episodes import Plan, evaluate_policy, prepare, run_baseline
from visionrl.agents.evaluation.policies import Policy, RandomPolicy, expert_policy
from visionrl.core import BASELINES, batch
from visionrl.datasets import ImageSample, load

ID = "visionrl/ActiveLabelling-v0"
DRAWS = 10_000  # of the bootstrap


def interval(values: np.ndarray, sign: str = "") -> str:
    """The mean of values, one an order, and its 95 % interval by bootstrap."""
    draws = np.random.default_rng(0).integers(len(values), size=(DRAWS, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), (2.5, 97.5))
    return f"{values.mean():{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def rows_of(plan: Plan, agents: dict[str, Policy]) -> dict[str, dict[str, np.ndarray]]:
    """Name -> metrics of every order: random, the agents and their mean, the oracle, the rules."""
    policies: dict[str, Policy] = {"random": RandomPolicy(0), **agents, "oracle": expert_policy}
    found = {name: evaluate_policy(plan, policy).values for name, policy in policies.items()}
    if len(agents) > 1:
        runs = [found[name] for name in agents]
        found["mean of the runs"] = {key: np.mean([run[key] for run in runs], axis=0) for key in runs[0]}
    for name, method in BASELINES[ID].items():
        found[name] = run_baseline(plan, method.fit(None)).values
    return found


def images_of(data: str, pool: list[str], scored: list[str]) -> list[ImageSample]:
    """Images of a data set by their names, one to label and one to score in turns, as the task takes a sequence."""
    found = {Path(sample.name).stem: sample for sample in load(data, kind=ImageSample, split="all")}
    if missing := [name for name in (*pool, *scored) if name not in found]:
        raise SystemExit(f"--pool and --scored must name images of {data}, which has no {', '.join(missing)}")
    if not pool or len(pool) != len(scored):
        raise SystemExit(f"--pool and --scored must name as many images, got {len(pool)} and {len(scored)}")
    return [found[name] for pair in zip(pool, scored, strict=True) for name in pair]


def in_rounds(plan: Plan, policy: Policy, size: int) -> np.ndarray:
    """Mean IoU at the end, (N,), where labels are revealed after ``size`` choices at a time.

    Within a round the segmenter takes its own predictions for labels, as on images of a user.
    """
    task: Any = plan.task
    blind = copy(task)
    blind.labelled = False
    state = batch.stack(plan.chosen.starts)
    getattr(policy, "reset", lambda: None)()
    for _ in range(task.budget // size):
        known, actions = state, []
        for _ in range(size):
            actions.append(np.asarray(policy(task.observe(known), task, known)))
            known = blind.step(known, actions[-1])
        for action in actions:
            state = task.step(state, action)
    return state.miou


def most_unsure(seen: dict[str, np.ndarray], task: Any, state: Any) -> np.ndarray:
    """The candidate of the largest mean entropy, the first number of each."""
    return seen["candidates"][:, :, 0].argmax(axis=1)


def main() -> None:
    """Print a table, Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", help="folders of trained agents, or names of shipped ones")
    parser.add_argument("--groups", default=None, help="grouping of the labels")
    parser.add_argument("--data", default=None, help="FORMAT:PATH of other images")
    parser.add_argument(
        "--pool", nargs="*", default=[], help="names of those images of which regions are labelled"
    )
    parser.add_argument("--scored", nargs="*", default=[], help="names of as many others, which score")
    parser.add_argument("--rounds", type=int, nargs="*", default=(), help="choices a round, divisors of 20")
    parser.add_argument("--orders", type=int, default=36)
    args = parser.parse_args()
    torch.set_num_threads(1)
    agents = {Path(run).name: agent_policy(load_model(run)[0]) for run in args.runs}
    given: dict[str, Any] = {"groups": args.groups} if args.groups else {}
    if args.data:
        given["data"] = images_of(args.data, args.pool, args.scored)
    plan = prepare(ID, "test", args.orders, 0, args.orders, given)
    if args.rounds:
        print("| method | " + " | ".join(f"rounds of {size}" for size in args.rounds) + " |")
        print("|---" * (1 + len(args.rounds)) + "|")
        every: dict[str, Callable[..., Any]] = {"entropy": most_unsure, **agents}
        for name, policy in every.items():
            print(
                f"| {name} | " + " | ".join(interval(in_rounds(plan, policy, n)) for n in args.rounds) + " |"
            )
        return
    found = rows_of(plan, agents)
    print("| method | mean IoU at 20 | against entropy | area |\n|---|---|---|---|")
    for name, row in found.items():
        gain = interval(row["miou"] - found["entropy"]["miou"], "+")
        print(f"| {name} | {interval(row['miou'])} | {gain} | {interval(row['area'])} |")


if __name__ == "__main__":
    main()
