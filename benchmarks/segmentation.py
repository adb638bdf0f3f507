"""Tables of Segmentation-v0 on one data set: classical rows, a U-Net, trained runs, the robot user.

python benchmarks/segmentation.py --unet 8 --trunk unet.pt                      # a trunk for agents
python benchmarks/segmentation.py runs/s0 runs/s1 runs/s2 --unet 8 --out composites.md
python benchmarks/segmentation.py runs/s0 --data masks:FOLDER --split all --out membranes.md
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from visionrl.agents.evaluation.episodes import Result, evaluate_policy, prepare, run_baseline
from visionrl.agents.evaluation.paired import Score, paired_difference
from visionrl.agents.evaluation.policies import RandomPolicy, agent_policy, expert_policy
from visionrl.agents.evaluation.table import estimate
from visionrl.agents.training.saving import load_model
from visionrl.core import BASELINES, make_task
from visionrl.core.capabilities import compute_all
from visionrl.ops.masks import depth

ID = "visionrl/Segmentation-v0"
CHANCE = "random seeds, right labels"
SHOWN: dict[str, Any] = {"channels": 3, "similarity": True}  # what the U-Net and the agents see


@dataclass(frozen=True)
class Options:
    """What is compared, and on what."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Folders of finished runs."""
    data: str | None = None
    """"FORMAT:PATH"; default the embedded set."""
    split: str = "test"
    """Part of the data."""
    episodes: int | None = None
    """How many; default every object once."""
    unet: int = 0
    """Epochs of a U-Net on the embedded set; 0 leaves it out."""
    images: int = 1200
    """Composites of the training photographs that it learns from; the validation split chooses the epoch by 96."""
    trunk: Path | None = None
    """File for the tensors that this U-Net learned, for the training of agents; then no table is made."""
    out: Path | None = None
    """File for the table."""


def main() -> None:
    """Print the table; write it if asked."""
    options = tyro.cli(Options)
    warnings.simplefilter("ignore")  # of objects that are left out
    if options.trunk:
        unet(options.unet, options.images, options.trunk)
        return
    data = {} if options.data is None else {"data": options.data}
    plan = prepare(ID, options.split, options.episodes, 0, 64, {**data, **SHOWN})
    found: dict[str, Result] = {"random actions": evaluate_policy(plan, RandomPolicy(0))}
    for name, row in BASELINES[ID].items():
        found[name] = run_baseline(plan, row.fit(None))
    if options.unet:
        once = unet(options.unet, options.images)
        found["U-Net on image and clicks"] = run_baseline(plan, once)
        found["seeds where the U-Net's mask differs"] = run_baseline(plan, seeds_by(once))
    for folder in options.runs:
        model, _ = load_model(folder, "cpu")
        found[Path(folder).name] = evaluate_policy(plan, agent_policy(model))
    found["robot user"] = evaluate_policy(plan, expert_policy)
    text = "\n".join(table(plan, found))
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
        values = {name: result.values["iou"].tolist() for name, result in found.items()}
        options.out.with_suffix(".json").write_text(json.dumps(values))


def unet(epochs: int, images: int, trunk: Path | None = None) -> Any:
    """A U-Net that has learned composites of the training photographs."""
    from visionrl.datasets.embedded.composites import Composites
    from visionrl.supervised.segmentation import SegmentationConfig, fit_segmentation

    composites = Composites("train", images), Composites("val", 96)
    train, val = (make_task(ID, split="train", data=some, **SHOWN) for some in composites)
    return fit_segmentation(train, val, SegmentationConfig(epochs=epochs, recolour=1.0), print, trunk)


def seeds_by(once: Any) -> Any:
    """The robot user with a network's mask in the place of the truth: a plan, not a learned policy."""

    def run(task: Any, state: Any) -> Any:
        believed = once(task, state).mask
        flat, count = believed.reshape(1, -1)[:, task.pixels], task.grid**2
        while not task.terminated(state)[0]:
            wrong = np.maximum(depth(believed & ~state.mask), depth(state.mask & ~believed))
            free = task.action_mask(state)[:, :count]
            cell = np.where(free, wrong.reshape(1, -1)[:, task.pixels] + 1, 0).argmax(axis=1)
            state = task.step(state, cell + count * ~flat[0, cell])
        return state

    return run


def table(plan: Any, found: dict[str, Result]) -> list[str]:
    """Lines of a table: means with intervals, and the gain over seeds by chance with right labels."""
    columns = ["IoU", "boundary F", "HD95, px", "NoC@85", "NoC@90", "wrong labels"]
    lines = [f"| method | {' | '.join(columns)} | IoU over {CHANCE} |", "|---" * (len(columns) + 2) + "|"]
    base = Score.of(found[CHANCE], "iou")
    for name, result in found.items():
        together = compute_all(plan.task, result.records)
        iou = estimate(np.asarray(result.values["iou"], float), plan.chosen.groups)
        gain = paired_difference(plan, base, Score.of(result, "iou"))
        over = "" if name == CHANCE else f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
        one_shot = not np.asarray(result.values["seeds"]).any()
        clicks = ["", ""] if one_shot else [f"{together[key]:.1f}" for key in ("noc85", "noc90")]
        wrong = "" if one_shot else f"{np.mean(result.values['wrong_labels']):.2f}"
        cells = [f"{together['boundary_f']:.3f}", f"{together['hd95_px']:.1f}", *clicks, wrong, over]
        lines.append(f"| {name} | {iou.value:.3f} [{iou.low:.3f}, {iou.high:.3f}] | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
