"""Contours by trained agents beside those without learning, on named objects and on blobs of texture apart.

    python benchmarks/contours.py runs/contour-0 runs/contour-1 runs/contour-2 --unet 12
    python benchmarks/contours.py --unet 12 --trunk unet.pt                                # a trunk for agents

prints the mean IoU of every method on the test split of the embedded composites, with 95 % intervals by bootstrap over
images, what each gains on GrabCut, and what each agent gains on its clone, both paired over objects.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from visionrl.agents import agent_policy, load_model
from visionrl.agents.evaluation.episodes import Plan, evaluate_policy, prepare, run_baseline
from visionrl.agents.evaluation.policies import Policy, RandomPolicy, expert_policy
from visionrl.agents.evaluation.table import Estimate, estimate
from visionrl.agents.training.checkpoint import last_checkpoint
from visionrl.core import BASELINES, entry_of, make_task

TASK = "visionrl/ContourSegmentation-v0"
PATCH = "patch"
GRABCUT = "GrabCut in the box"
COPIES = 4  # windows an object that a U-Net learns from


def overlaps(plan: Plan, policy: Policy) -> np.ndarray:
    """(N,) IoU of all objects at the end of a policy's episodes."""
    return evaluate_policy(plan, policy).values["iou"]


def without_learning(plan: Plan, spline: Plan) -> dict[str, np.ndarray]:
    """Name -> (N,) IoU, of polygons and of splines."""
    found = {"random polygon": overlaps(plan, RandomPolicy(0))}
    for name, method in BASELINES[TASK].items():
        found[name] = run_baseline(plan, method.fit(None)).values["iou"]
    found["expert, polygon"] = overlaps(plan, expert_policy)
    found["expert, spline"] = overlaps(spline, expert_policy)
    found["random moves of a spline"] = overlaps(spline, RandomPolicy(0))
    found["start of the spline"] = np.array([start.iou for start in spline.chosen.starts])
    return found


def with_clone(run: str, split: str) -> tuple[np.ndarray, np.ndarray | None]:
    """(N,) IoU of the agent that a run kept, and of the clone that it began with; None where it was not cloned."""
    model, config = load_model(run)
    plan = prepare(TASK, split, None, 0, 64, config.env_kwargs)
    kept, folder = overlaps(plan, agent_policy(model)), last_checkpoint(Path(run))
    tensors = torch.load(folder / "tensors.pt", weights_only=True)["extra"] if folder else {}
    if not tensors.get("clone"):
        return kept, None
    model.policy.load_state_dict(tensors["clone"])
    return kept, overlaps(plan, agent_policy(model))


def unet(epochs: int, trunk: str | None = None) -> Any:
    """A U-Net that has learned the masks of the training split; its backbone's tensors go to a file."""
    from visionrl.supervised.segmentation import SegmentationConfig, fit_segmentation

    train, val = make_task(TASK, split="train", copies=COPIES), make_task(TASK, split="val")
    config = SegmentationConfig(epochs=epochs, recolour=1.0)
    return fit_segmentation(train, val, config, print, Path(trunk) if trunk else None)


def cell(found: Estimate, sign: str = "") -> str:
    """A mean with its interval."""
    return f"{found.value:{sign}.3f} [{found.low:{sign}.3f}, {found.high:{sign}.3f}]"


def main() -> None:
    """Print the table, Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", help="folders of runs")
    parser.add_argument("--split", default="test", choices=("val", "test"))
    parser.add_argument("--unet", type=int, default=0, help="epochs of a U-Net; 0 leaves it out")
    parser.add_argument("--trunk", help="file for what the U-Net learned; then no table is made")
    given = parser.parse_args()
    network = unet(given.unet, given.trunk) if given.unet else None
    if given.trunk:
        return
    plan = prepare(TASK, given.split, None, 0, 64, {})
    rows = without_learning(plan, prepare(TASK, given.split, None, 0, 64, entry_of(TASK).presets["spline"]))
    if network is not None:
        rows["U-Net in the box, supervised"] = run_baseline(plan, network).values["iou"]
    clones: dict[str, np.ndarray] = {}
    for run in given.runs:
        kept, clone = with_clone(run, given.split)
        if clone is not None:
            rows[f"clone of {run}"] = clones[run] = clone
        rows[run] = kept
    images = plan.chosen.groups
    named = np.array([one.name != PATCH for one in plan.task.bank.found])  # type: ignore[attr-defined]
    print("| method | all | named objects | blobs of texture | gain on GrabCut | gain on its clone |")
    print("|---|---|---|---|---|---|")
    for name, values in rows.items():
        parts = [cell(estimate(values[chosen], images[chosen])) for chosen in (named | True, named, ~named)]
        parts.append(cell(estimate(values - rows[GRABCUT], images), "+"))
        parts.append(cell(estimate(values - clones[name], images), "+") if name in clones else "")
        print(f"| {name} | {' | '.join(parts)} |")


if __name__ == "__main__":
    main()
