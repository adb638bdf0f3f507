"""A pretrained trunk under DQN: validation return over the frames, frozen and fine-tuned, beside random weights.

    python benchmarks/pretext_rl.py --rows scratch simclr --seed 0 --out cells

The pretext sees what the environment shows under random actions on its training split, for some CPU seconds; DQN then
has the recipe's constants of LandmarkLocalization-v0. A row "NAME frozen" keeps the trunk; "random frozen" keeps one
with random weights. ``--table`` prints, for each row, the return at the end
and the frames to 90 % of the way that scratch goes from its first evaluation to its last.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pretext import trained
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback

from visionrl.agents import VisionExtractor, make_vec_env
from visionrl.models import model_class
from visionrl.supervised.pretrain import PretrainConfig
from visionrl.supervised.pretrain_images import images_of

TASK, PRESET, ROWS, LIMIT = "visionrl/LandmarkLocalization-v0", "cpu", 128, 200
RECIPE: dict[str, Any] = {"gamma": 0.5, "batch_size": 128, "buffer_size": 60_000, "learning_starts": 2_000}
RECIPE |= {"train_freq": 4, "gradient_steps": 4, "target_update_interval": 1_000}
RECIPE |= {"exploration_fraction": 0.2, "exploration_final_eps": 0.05}


def pretrained(row: str, seed: int, seconds: float) -> dict[str, torch.Tensor]:
    """The weights of a trunk after some CPU seconds of a pretext on the environment's windows."""
    config = PretrainConfig(
        pretext=row, env=TASK, preset=PRESET, out=Path("x.pt"), minutes=seconds / 60, seed=seed
    )
    train, val, traits = images_of(config)
    net: Any = model_class(row).for_images(train, traits)
    steps = trained(config, net, train, val).step
    print(row, net.evaluate((), {"images": val}), f"{steps} steps", flush=True)
    return net.backbone.state_dict()


class Evaluation(BaseCallback):
    """The mean return of the same validation episodes, every some frames.

    Args:
        every: frames.
        seed: of the episodes.
    """

    def __init__(self, every: int, seed: int) -> None:
        super().__init__()
        self.every, self.seed = every, seed
        self.curve: list[list[float]] = []
        self.venv = make_vec_env(TASK, ROWS, preset=PRESET, split="val")

    def _on_step(self) -> bool:
        """Evaluate where it is time."""
        if self.num_timesteps >= self.every * (len(self.curve) + 1):
            self.curve.append([self.num_timesteps, self.score()])
        return True

    def score(self) -> float:
        """The mean return of one episode a row."""
        self.venv.seed(self.seed)
        observations: Any = self.venv.reset()
        total, running = np.zeros(ROWS), np.ones(ROWS, bool)
        for _ in range(LIMIT):
            actions, _ = self.model.predict(observations, deterministic=True)
            observations, rewards, over, _ = self.venv.step(actions)
            total += rewards * running
            running &= ~over
            if not running.any():
                break
        return float(total.mean())


def run(row: str, args: argparse.Namespace) -> dict[str, Any]:
    """One row: pretrain, then DQN."""
    torch.manual_seed(args.seed)
    name, _, how = row.partition(" ")
    weights = None if name in ("scratch", "random") else pretrained(name, args.seed, args.seconds)
    extractor = {"backbone": "small", "weights": weights, "frozen": how == "frozen"}
    policy = {"features_extractor_class": VisionExtractor, "features_extractor_kwargs": extractor}
    venv, evaluation = make_vec_env(TASK, 16, preset=PRESET), Evaluation(args.every, 1000)
    model = DQN(
        "MultiInputPolicy",
        venv,
        learning_rate=lambda left: 1e-3 * left,
        policy_kwargs=policy,
        seed=args.seed,
        device="cpu",
        **RECIPE,
    )
    began = time.process_time()
    model.learn(args.frames, callback=evaluation)
    spent = time.process_time() - began
    return {"row": row, "seed": args.seed, "curve": evaluation.curve, "cpu_seconds": round(spent)}


def table(folder: Path) -> None:
    """Print each row's last return, and its first frame with 90 % of what scratch gained."""
    cells: dict[str, list[Any]] = {}
    for path in sorted(folder.glob("*.json")):
        cell = json.loads(path.read_text())
        cells.setdefault(cell["row"], []).append(cell)
    begin, end = (np.mean([cell["curve"][place][1] for cell in cells["scratch"]]) for place in (0, -1))
    goal = begin + 0.9 * (end - begin)
    print(f"| row | last return, by seed | frames to {goal:.2f}, by seed |\n| --- | --- | --- |")
    for row, some in cells.items():
        last = ", ".join(f"{cell['curve'][-1][1]:.2f}" for cell in some)
        first = [next((frame for frame, x in cell["curve"] if x >= goal), None) for cell in some]
        print(f"| {row} | {last} | {', '.join('not' if x is None else f'{x:,}' for x in first)} |")


def main() -> None:
    """Write a file a row and seed, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", nargs="+", default=[], help="scratch, random frozen, PRETEXT, PRETEXT frozen"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20, help="CPU seconds of the pretext")
    parser.add_argument("--frames", type=int, default=40_000)
    parser.add_argument("--every", type=int, default=2_000)
    parser.add_argument("--out", type=Path, default=Path("runs/pretext_rl"))
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.table:
        table(args.out)
        return
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    for row in args.rows:
        path = args.out / f"{row.replace(' ', '-')}-{args.seed}.json"
        if not path.is_file():
            found = run(row, args)
            path.write_text(json.dumps(found))
            print(row, args.seed, found["curve"][-1], found["cpu_seconds"], "CPU s", flush=True)


if __name__ == "__main__":
    main()
