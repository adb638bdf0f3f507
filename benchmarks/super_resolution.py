"""What choosing patches for the costly network gives: PSNR of whole pictures and calls, with intervals over pictures.

python benchmarks/super_resolution.py RUN RUN RUN
python benchmarks/super_resolution.py RUN --data images:FOLDER --split all

Every method has the same windows, which cover each picture once; differences are paired by picture. Agents may stop
before the budget is spent, so each is also compared with the largest gradients at as many calls as it made itself.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from visionrl.agents.evaluation.episodes import Episodes, Plan, rollout
from visionrl.agents.prediction.agent import load_agent
from visionrl.banks.enlarged import DEEP
from visionrl.baselines.super_resolution import GRADIENT, about, upper_half
from visionrl.core import BASELINES, batch, make_task
from visionrl.metrics.image_quality import psnr_of

ID, DRAWS = "visionrl/SuperResolution-v0", 10_000
Scores = dict[str, np.ndarray]


def main() -> None:
    """Print a row a method."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", help="folders of runs, of several seeds of one configuration")
    parser.add_argument("--data")
    parser.add_argument("--split", default="test")
    parser.add_argument("--scale", type=int, default=3)
    parser.add_argument("--start", default="espcn")
    parser.add_argument("--price", type=float)
    given = parser.parse_args()
    how: dict[str, Any] = {"scale": given.scale, "start": given.start}
    how |= {} if given.price is None else {"price": given.price}
    task: Any = make_task(ID, data=given.data, split=given.split, cover=True, **how)
    train: Any = make_task(ID, split="train", **how)
    starts = [task.sample(np.random.default_rng(0), item) for item in range(task.items)]
    found: dict[str, Scores] = {}
    for name, method in BASELINES[ID].items():
        run = method.fit(train)
        found[name] = scores(task, each(run(task, batch.stack([one])) for one in starts))
    found["expert"] = played(task, lambda obs, task, state: task.expert(state), starts)
    seeds, rivals = [], []
    for folder in given.runs:
        policy = load_agent(folder, "cpu").policy
        seeds.append(played(task, policy, starts))
        rivals.append(scores(task, by_gradient(task, starts, seeds[-1]["calls"])))
        found[f"agent {folder.rsplit('/', 1)[-1]}"] = seeds[-1]
    for name, some in (("agent, mean of seeds", seeds), ("largest gradients, as many calls", rivals)):
        if some:
            found[name] = {key: np.mean([one[key] for one in some], axis=0) for key in some[0]}
    print(f"{len(found['expert']['psnr'])} pictures, {task.items} windows, x{given.scale}")
    dear, usual = found["deep network everywhere"], found["deep network, half with the largest gradients"]
    print(
        "| method | PSNR, dB | behind the deep network, dB | over the largest gradients, dB | its calls | cost |"
    )
    print("|---|---|---|---|---|---|")
    for name, some in found.items():
        parts = [interval(dear["psnr"] - some["psnr"]), interval(some["psnr"] - usual["psnr"])]
        cells = [
            f"{some['psnr'].mean():.3f}",
            *parts,
            interval(some["calls"], 2),
            f"{some['cost'].mean():.2f}",
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    if seeds:
        gap = found["agent, mean of seeds"]["psnr"] - found["largest gradients, as many calls"]["psnr"]
        print(f"agent over the largest gradients at as many calls: {interval(gap, 4)} dB")


def played(task: Any, policy: Any, starts: list[Any]) -> Scores:
    """The scores of a policy."""
    plan = Plan(task, Episodes([], [], np.zeros(0)), np.inf, len(starts))
    return scores(task, rollout(plan, policy, starts)[0])


def each(ends: Any) -> Any:
    """Last states of one row each, as one state."""
    return batch.stack([batch.take(end, 0) for end in ends])


def by_gradient(task: Any, starts: list[Any], calls: np.ndarray) -> Any:
    """Last states where the patches of the largest gradients of each picture got as many calls."""
    pictures = sorted({int(start.image) for start in starts})
    runs = {
        image: upper_half(lambda task, number: about(task, number)[:, GRADIENT], share)
        for image, share in zip(pictures, calls.tolist(), strict=True)
    }
    return each(runs[int(start.image)](task, batch.stack([start])) for start in starts)


def scores(task: Any, ends: Any) -> Scores:
    """PSNR, calls and cost of each picture."""
    image, wrong, pixels = task.sums(ends)
    _, number = np.unique(image, return_inverse=True)
    count, calls = task.count(ends), ((ends.tools == DEEP) & task.there(ends)).sum(axis=1)
    total = np.bincount(number, count)
    return {
        "psnr": psnr_of(np.bincount(number, wrong), np.bincount(number, pixels)),
        "calls": np.bincount(number, calls) / total,
        "cost": np.bincount(number, ends.spent) / total,
    }


def interval(values: np.ndarray, digits: int = 3) -> str:
    """The mean with its 95 % bootstrap interval over pictures."""
    drawn = np.random.default_rng(0).integers(len(values), size=(DRAWS, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return f"{values.mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


if __name__ == "__main__":
    main()
