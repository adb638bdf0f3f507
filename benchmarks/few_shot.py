"""Few-shot and zero-shot learning: one row and seed at a time into a JSON file, and the tables out of it.

    python benchmarks/few_shot.py omniglot prototypical --seed 0 --folder FOLDER --out few_shot.json
    python benchmarks/few_shot.py table --out few_shot.json

Omniglot: drawings of 28 x 28; training on 136 characters (the small background set 1, all five alphabets of it), test
on the 106 characters of the small background set 2 whose alphabets are not in set 1, neither turned nor mirrored. 600
episodes with 15 queries a class (MAML: 100), the same in all rows. Weights are the last ones: the test chooses nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from visionrl.datasets import ImageSample, load
from visionrl.models import make_model
from visionrl.models._images import fit_images
from visionrl.models.fewshot._base import QUERY, SEED, FewShotModel
from visionrl.models.fewshot.episodes import EpisodeSampler, episode_accuracies
from visionrl.supervised.models import ModelConfig, ModelTrainer

SETTINGS = {"5w1s": (5, 1), "5w5s": (5, 5), "20w1s": (20, 1), "20w5s": (20, 5)}
EPISODES = 600
COMMON = ("side=28", "turns=8", "distort=0.7")
TRAININGS: dict[str, dict[str, Any]] = {
    "prototypical": {"epochs": 17, "options": ("way=20", "query=4")},
    "matching": {"epochs": 8, "options": ("way=20", "query=4")},
    "siamese": {"epochs": 8, "options": ("way=20", "query=4")},
    "maml": {"epochs": 6, "options": ("way=5", "query=5", "tasks=2")},
}


def nearest_neighbour(split: dict[str, Tensor], way: int, shot: int) -> np.ndarray:
    """(episodes,) accuracy of the nearest image by the squared difference of pixels."""
    pixels = split["images"].flatten(1).float() / 255
    sampler = EpisodeSampler(split["labels"].numpy(), way, shot, QUERY, np.random.default_rng(SEED))

    def logits(support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        near = -torch.cdist(pixels[query], pixels[support])
        return torch.stack([near[:, labels == c].amax(1) for c in range(way)], 1)

    return episode_accuracies(sampler, logits, EPISODES)


def trained(row: str, seed: int, train: Sequence[Any], data: str) -> FewShotModel:
    """A model after training; its validation is of training classes, and chooses nothing."""
    options = TRAININGS[row]
    config = ModelConfig(
        model=row,
        data=data,
        epochs=options["epochs"],
        options=COMMON + options["options"],
        seed=seed,
        patience=1000,
    )
    torch.manual_seed(seed)
    work = ModelTrainer(config, train, train[::10])
    for line in work.run(Console()):
        print(row, seed, line, flush=True)
    assert isinstance(work.model, FewShotModel)
    return work.model


def omniglot(row: str, seed: int, folder: Path) -> dict[str, list[float]]:
    """Setting -> accuracy of each episode of the test."""
    data = f"omniglot:{folder}"
    train, val, test = (load(data, kind=ImageSample, split=split) for split in ("train", "val", "test"))
    split = {
        "images": fit_images([sample.image for sample in test], 1, 28),
        "labels": torch.from_numpy(np.unique([s.labels[0] for s in test], return_inverse=True)[1]),
    }
    if row == "pixels":
        return {name: nearest_neighbour(split, *one).tolist() for name, one in SETTINGS.items()}
    torch.manual_seed(seed)
    if row == "untrained":
        net: Any = make_model("prototypical", channels=1)
    else:
        net = trained(row, seed, (*train, *val), data)
    count = 100 if row == "maml" else EPISODES
    return {name: net.accuracies(split, *one, count=count).tolist() for name, one in SETTINGS.items()}


PARTS: dict[str, Callable[[str, int, Path], dict[str, list[float]]]] = {"omniglot": omniglot}


def record(out: Path, part: str, row: str, seed: int, found: dict[str, Any]) -> None:
    """Add a row to the file."""
    known = json.loads(out.read_text()) if out.is_file() else {}
    known.setdefault(part, {}).setdefault(row, {})[str(seed)] = found
    out.write_text(json.dumps(known, indent=1) + "\n")


def tables(out: Path) -> str:
    """Markdown: per cent, mean over seeds; the interval is of 2000 resamples of seeds and episodes' means."""
    lines = []
    for part, rows in json.loads(out.read_text()).items():
        names = list(next(iter(next(iter(rows.values())).values()))["scores"])
        lines += [
            f"\n{part}\n",
            f"| row | {' | '.join(names)} | seeds | CPU s |",
            "|---" * (len(names) + 3) + "|",
        ]
        for row, seeds in rows.items():
            cells: dict[str, list[str]] = defaultdict(list)
            for name in names:
                means = 100 * np.array([one["scores"][name][0] for one in seeds.values()])
                half = 100 * max(one["scores"][name][1] for one in seeds.values())
                spread = f" ({means.min():.1f} to {means.max():.1f})" if len(means) > 1 else f" ± {half:.1f}"
                cells[row].append(f"{means.mean():.1f}{spread}")
            spent = np.mean([one["cpu_s"] for one in seeds.values()])
            lines.append(f"| {row} | {' | '.join(cells[row])} | {len(seeds)} | {spent:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """One row, or the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=[*PARTS, "table"])
    parser.add_argument("row", nargs="?", default="pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("omniglot"))
    parser.add_argument("--out", type=Path, default=Path("few_shot.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.part == "table":
        print(tables(args.out))
        return
    began = time.process_time()
    found = PARTS[args.part](args.row, args.seed, args.folder)
    scores = {
        name: (float(np.mean(some)), float(1.96 * np.std(some) / len(some) ** 0.5))
        for name, some in found.items()
    }
    print(args.row, args.seed, scores)
    record(args.out, args.part, args.row, args.seed, {"scores": scores, "cpu_s": time.process_time() - began})


if __name__ == "__main__":
    main()
