"""Tables of AnomalyDetection-v0: rules, agents and all cells on the same images, with paired differences.

python benchmarks/anomaly.py RUN RUN RUN [--split test] [--env-args data=unseen-defects]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from visionrl.agents.evaluation.policies import RandomPolicy, agent_policy, expert_policy
from visionrl.agents.training.saving import load_model
from visionrl.baselines.anomaly import every_image
from visionrl.core import BASELINES, batch, make_task

ID = "visionrl/AnomalyDetection-v0"
DRAWS, SHOWN = 1000, ("auroc", "ap", "pixel_auroc", "accuracy", "looks", "points")
RIVALS = ("all cells", "surprise first", "detector's own surprise first")


def played(task: Any, policy: Callable[..., Any]) -> Any:
    """The last states of all images under a policy."""
    state = every_image(task)
    getattr(policy, "reset", lambda: None)()
    rows, ends = np.arange(task.items), [None] * task.items
    while len(rows):
        state = task.step(state, np.asarray(policy(task.observe(state), task, state)))
        over = task.terminated(state)
        for place in np.flatnonzero(over):
            ends[rows[place]] = batch.take(state, place)
        getattr(policy, "keep", lambda rows: None)(~over)
        rows, state = rows[~over], batch.take(state, np.flatnonzero(~over))
    return batch.stack(ends)


def values(task: Any, end: Any) -> dict[str, np.ndarray]:
    """What a table needs of some last states."""
    metric = task.dataset_metrics[0]
    return {**metric.record(end), **{k: np.asarray(v, float) for k, v in task.metrics(end).items()}}


def summary(task: Any, found: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, float]:
    """All figures of some images."""
    chosen = {key: value[rows] for key, value in found.items()}
    means = {key: float(chosen[key].mean()) for key in ("accuracy", "looks", "points")}
    return {**task.dataset_metrics[0].compute(chosen), **means}


def written(figures: list[float]) -> str:
    """A figure with its 95 % interval, the first being that of all images."""
    low, high = np.nanquantile(figures[1:], [0.025, 0.975])
    return f"{figures[0]:.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--split", default="test")
    parser.add_argument("--env-args", nargs="*", default=[])
    args = parser.parse_args()
    given = dict(one.split("=", 1) for one in args.env_args)
    train, task = (make_task(ID, split=split, **given) for split in ("train", args.split))
    ends = {"random": values(task, played(task, RandomPolicy(0)))}
    for name, method in BASELINES[ID].items():
        ends[name] = values(task, method.fit(train)(task, every_image(task)))
    for run in args.runs:
        ends[run.rstrip("/").split("/")[-1]] = values(
            task, played(task, agent_policy(load_model(run, "cpu")[0]))
        )
    ends["expert"] = values(task, played(task, expert_policy))
    rng, count = np.random.default_rng(0), task.items
    draws = [np.arange(count), *rng.integers(0, count, (DRAWS, count))]
    tables = {name: [summary(task, found, rows) for rows in draws] for name, found in ends.items()}
    agents = [run.rstrip("/").split("/")[-1] for run in args.runs]
    if len(agents) > 1:
        keys = tables[agents[0]][0]
        tables["mean of the agents"] = [
            {k: float(np.mean([tables[a][j][k] for a in agents])) for k in keys} for j in range(len(draws))
        ]
    kinds = [key for key in tables["random"][0] if key.startswith("auroc_")]
    print("| method | " + " | ".join((*SHOWN, *kinds)) + " |")
    print("|---" * (1 + len(SHOWN) + len(kinds)) + "|")
    for name, rows in tables.items():
        cells = [written([one[key] for one in rows]) for key in SHOWN[:1]]
        cells += [f"{rows[0][key]:.3f}" for key in (*SHOWN[1:], *kinds)]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("\n| AUROC less that of | " + " | ".join(RIVALS) + " |\n" + "|---" * (1 + len(RIVALS)) + "|")
    for name in tables if not agents else [*agents, *(["mean of the agents"] if len(agents) > 1 else [])]:
        gaps = [
            written([a["auroc"] - b["auroc"] for a, b in zip(tables[name], tables[rival], strict=True)])
            for rival in RIVALS
        ]
        print(f"| {name} | " + " | ".join(gaps) + " |")


if __name__ == "__main__":
    main()
