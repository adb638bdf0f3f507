"""Heat maps of a U-Net for the points of a shape, beside agents and their clones, one a seed, on the same episodes.

    python benchmarks/heatmaps.py                                     # on the embedded radiographs
    python benchmarks/heatmaps.py RUN RUN RUN --split test            # on the data of some runs, and their agents too

prints the normalised mean error of the point model fitted to the points that the network finds and of these points
themselves, with 95 % intervals by bootstrap over images, then what heat maps gain over the agents, in pairs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch

from visionrl.agents import agent_policy, load_model
from visionrl.agents.evaluation.episodes import Plan, evaluate_policy, prepare, run_baseline, task_kwargs
from visionrl.agents.evaluation.table import Estimate, estimate
from visionrl.agents.training.checkpoint import last_checkpoint
from visionrl.core import batch, make_task
from visionrl.supervised.heatmaps import HeatmapConfig, find_points, heatmap_policy, train_heatmaps

TASK = "visionrl/ShapePose-v0"
Row = dict[str, np.ndarray]


def heat_maps(plan: Plan, config: HeatmapConfig, kwargs: dict[str, Any]) -> Row:
    """Errors (N,) of one network, and what it cost."""
    tasks: dict[str, Any] = {
        split: make_task(TASK, **task_kwargs(kwargs, split)) for split in ("train", "val")
    }
    began = process_time()
    net = train_heatmaps(tasks["train"], tasks["val"], config)
    cost, began = process_time() - began, perf_counter()
    values = run_baseline(plan, heatmap_policy(net, config.spread)).values
    milliseconds = 1000 * (perf_counter() - began) / len(plan.chosen.starts)
    states = [batch.stack([start]) for start in plan.chosen.starts]
    found: list[Any] = find_points(net, plan.task, states, config.spread)  # type: ignore[arg-type]
    gaps = [
        np.linalg.norm(places - state.truth[0], axis=1).mean() / state.norm[0]
        for places, state in zip(found, states, strict=True)
    ]
    print(f"heat maps, seed {config.seed}: {cost:.0f} CPU s of training, {milliseconds:.1f} ms an episode")
    return {"nme": values["nme"], "is_success": values["is_success"], "raw": np.array(gaps)}


def with_clone(plan: Plan, run: str) -> tuple[Row, Row | None]:
    """Errors (N,) of the agent that a run kept, and of the clone that it began with; None where it was not cloned."""
    model, _ = load_model(run, "cpu")
    kept, folder = evaluate_policy(plan, agent_policy(model)).values, last_checkpoint(Path(run))
    tensors = torch.load(folder / "tensors.pt", weights_only=True)["extra"] if folder else {}
    if not tensors.get("clone"):
        return kept, None
    model.policy.load_state_dict(tensors["clone"])
    return kept, evaluate_policy(plan, agent_policy(model)).values


def written(one: Estimate) -> str:
    """A figure with its interval."""
    return f"{one.value:.4f} [{one.low:.4f}, {one.high:.4f}]"


def main() -> None:
    """Print the tables, Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", help="folders of runs")
    parser.add_argument("--split", default="test", choices=("val", "test"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=HeatmapConfig.epochs)
    given = parser.parse_args()
    kwargs = dict(load_model(given.runs[0], "cpu")[1].env_kwargs) if given.runs else {}
    plan = prepare(TASK, given.split, None, 0, 64, kwargs)
    groups, rows = plan.chosen.groups, dict[str, dict[str, Row]]()
    configs = [HeatmapConfig(epochs=given.epochs, seed=seed) for seed in given.seeds]
    rows["heat maps"] = {f"seed {config.seed}": heat_maps(plan, config, kwargs) for config in configs}
    for run in given.runs:
        kept, clone = with_clone(plan, run)
        rows.setdefault("agent", {})[run] = kept
        if clone is not None:
            rows.setdefault("clone", {})[run] = clone
    print("\n| method | NME | success | NME of the points themselves |\n|---|---|---|---|")
    means: dict[str, np.ndarray] = {}
    for name, some in rows.items():
        mean = {key: np.mean([one[key] for one in some.values()], axis=0) for key in ("nme", "is_success")}
        if name == "heat maps":
            mean["raw"] = np.mean([one["raw"] for one in some.values()], axis=0)
        means[name] = mean["nme"]
        named = {f"{name}, {mark}": one for mark, one in some.items()}
        named[f"{name}, mean"] = mean
        for title, one in named.items():
            raw = written(estimate(one["raw"], groups)) if "raw" in one else ""
            print(
                f"| {title} | {written(estimate(one['nme'], groups))} | {one['is_success'].mean():.3f} | {raw} |"
            )
    for first, second in (("heat maps", "agent"), ("agent", "clone")):
        if first in means and second in means:
            print(f"\n{first} gain over {second}s: {written(estimate(means[second] - means[first], groups))}")


if __name__ == "__main__":
    main()
