"""Contours by trained agents beside those without learning, on named objects and on blobs of texture apart.

    python benchmarks/contours.py runs/contour-0 runs/contour-1 runs/contour-2

prints the mean IoU of every method on the test split of the embedded composites, with 95 % intervals by bootstrap over
images, and what each agent gains on GrabCut, paired over images.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np
from gymnasium.utils.seeding import np_random

from visionrl import load_agent
from visionrl.agents.evaluation.episodes import Episodes, Plan, rollout, run_each
from visionrl.agents.evaluation.policies import expert_policy
from visionrl.core import BASELINES, Task, make_task

TASK = "visionrl/ContourSegmentation-v0"
DRAWS = 2000
PATCH = "patch"
GRABCUT = "GrabCut in the box"


def overlaps(task: Task, run: object, policy: object) -> np.ndarray:
    """(N,) IoU of all objects, by a classical method or a policy."""
    states = [task.sample(np_random(0)[0], item) for item in range(task.items)]
    if run is not None:
        return run_each(task, run, states).iou
    plan = Plan(task, Episodes([], [], np.zeros(0)), 100, len(states))
    return rollout(plan, policy, states)[0].iou


def mean_over_images(values: np.ndarray, images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(draws,) means of (N,) values, each image's objects weighted as often as it was drawn, (draws, images)."""
    share = weights[:, images]
    return (share * values).sum(1) / share.sum(1)


def estimate(values: np.ndarray, images: np.ndarray) -> str:
    """A mean with its interval."""
    _, numbers = np.unique(images, return_inverse=True)
    count = numbers.max() + 1
    weights = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)
    low, high = np.percentile(mean_over_images(values, numbers, weights), [2.5, 97.5])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def table(rows: Mapping[str, np.ndarray], task: Task) -> str:
    """All rows, Markdown."""
    found = task.bank.found  # type: ignore[attr-defined]
    images, named = np.array([one.image for one in found]), np.array([one.name != PATCH for one in found])
    lines = ["| method | all | named objects | blobs of texture | gain on GrabCut |", "|---|---|---|---|---|"]
    for name, values in rows.items():
        parts = [estimate(values[chosen], images[chosen]) for chosen in (named | True, named, ~named)]
        gain = estimate(values - rows[GRABCUT], images)
        lines.append(f"| {name} | {' | '.join(parts)} | {gain} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", help="folders of runs")
    parser.add_argument("--split", default="test", choices=("val", "test"))
    given = parser.parse_args()
    task = make_task(TASK, split=given.split)
    rows = {name: overlaps(task, one.fit(None), None) for name, one in BASELINES[TASK].items()}
    rows["expert, polygon"] = overlaps(task, None, expert_policy)
    spline = make_task(TASK, split=given.split, preset="spline")
    rows["expert, spline"] = overlaps(spline, None, expert_policy)
    for run in given.runs:
        agent = load_agent(run)
        own = make_task(TASK, split=given.split, **agent.env_kwargs)
        rows[run] = overlaps(own, None, agent.policy)
    print(table(rows, task))


if __name__ == "__main__":
    main()
