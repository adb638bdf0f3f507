"""Few-shot and zero-shot learning: one row and seed at a time into a JSON file, and the tables out of it.

    python benchmarks/few_shot.py omniglot prototypical --seed 0 --folder FOLDER --out few_shot.json
    python benchmarks/few_shot.py instances few-shot-instances --out few_shot.json
    python benchmarks/few_shot.py instances mobilenet_v2 --weights FILE --out few_shot.json
    python benchmarks/few_shot.py zero-shot hog --out few_shot.json
    python benchmarks/few_shot.py rewards conv4 --out few_shot.json
    python benchmarks/few_shot.py table --out few_shot.json

Omniglot: drawings of 28 x 28; training on 136 characters (the small background set 1, all five alphabets of it), test
on the 106 characters of the small background set 2 whose alphabets are not in set 1, neither turned nor mirrored. 600
episodes with 15 queries a class (MAML: 100, and 30 of 20 ways), the same in all rows. Weights are the last ones: the
test chooses nothing.

Instances: the test split of the embedded set. Zero-shot: the 12 nouns of that set by 12 attributes, 20 random splits
into 8 seen and 4 unseen nouns; the weights of ESZSL are chosen on two of the seen nouns that are held out.

Rewards: Spearman's correlation of `PrototypeSimilarity` (5 windows at a landmark, without and with 50 others) and of
the negative distance, over 500 states of walks in the validation split of which 60 % of the moves are the expert's.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from scipy.stats import spearmanr
from skimage.feature import hog
from torch import Tensor

from visionrl.agents import make_vec_env
from visionrl.agents.imitation.targets import expert_actions
from visionrl.backbones import list_backbones, make_backbone
from visionrl.datasets import ImageSample, load
from visionrl.models import load_model, make_model
from visionrl.models._images import fit_images
from visionrl.models.fewshot._base import QUERY, SEED, FewShotModel
from visionrl.models.fewshot.attributes import dap, eszsl, signatures_of
from visionrl.models.fewshot.episodes import EpisodeSampler, episode_accuracies
from visionrl.reward_models import PrototypeSimilarity
from visionrl.supervised.models import ModelConfig, ModelTrainer

SETTINGS = {"5w1s": (5, 1), "5w5s": (5, 5), "20w1s": (20, 1), "20w5s": (20, 5)}
EPISODES = 600
COMMON = ("side=28", "turns=8", "distort=0.7")
TRAININGS: dict[str, dict[str, Any]] = {
    "prototypical": {"epochs": 24, "options": ("way=20", "query=4")},
    "matching": {"epochs": 24, "options": ("way=20", "query=4")},
    "siamese": {"epochs": 24, "options": ("way=20", "query=4")},
    "maml": {"epochs": 18, "options": ("way=5", "query=5", "tasks=2")},
}


Near = Callable[[Tensor, Tensor], Tensor]
"""From numbers of images (Q,) and (N,) to (Q, N), how alike they are."""


def nearest_neighbour(labels: Tensor, near: Near, count: int = EPISODES) -> dict[str, list[float]]:
    """Setting -> accuracy of each episode, where an image has the class of the one that it is most like."""
    found = {}
    for name, (way, shot) in SETTINGS.items():
        sampler = EpisodeSampler(labels.numpy(), way, shot, QUERY, np.random.default_rng(SEED))

        def logits(support: Tensor, known: Tensor, query: Tensor, way: int = way) -> Tensor:
            alike = near(query, support)
            return torch.stack([alike[:, known == c].amax(1) for c in range(way)], 1)

        found[name] = episode_accuracies(sampler, logits, count).tolist()
    return found


def near_pixels(images: Tensor) -> Near:
    """The negative distance of pixels."""
    pixels = images.flatten(1).float() / 255
    return lambda query, support: -torch.cdist(pixels[query], pixels[support])


def near_histograms(images: Tensor) -> Near:
    """The intersection of histograms of 32 grey levels."""
    levels = (images.flatten(1) // 8).long()
    counts = torch.zeros(len(images), 32).scatter_add_(1, levels, torch.ones(levels.shape))
    return lambda query, support: torch.minimum(counts[query][:, None], counts[support][None]).sum(2)


def near_orb(images: Tensor) -> Near:
    """The number of ORB features that are each other's nearest within 64 bits; of images enlarged four times."""
    orb, matcher = cv2.ORB.create(100, edgeThreshold=8, patchSize=24), cv2.BFMatcher(cv2.NORM_HAMMING, True)
    large = [cv2.resize(one[0], None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC) for one in images.numpy()]
    features = [orb.detectAndCompute(one, None)[1] for one in large]

    def matches(a: int, b: int) -> int:
        if features[a] is None or features[b] is None:
            return 0
        return sum(one.distance < 64 for one in matcher.match(features[a], features[b]))

    def near(query: Tensor, support: Tensor) -> Tensor:
        return torch.tensor([[matches(a, b) for b in support.tolist()] for a in query.tolist()]).float()

    return near


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


def omniglot(row: str, seed: int, folder: Path, weights: Path | None) -> dict[str, list[float]]:
    """Setting -> accuracy of each episode of the test."""
    data = f"omniglot:{folder}"
    train, val, test = (load(data, kind=ImageSample, split=split) for split in ("train", "val", "test"))
    split = {
        "images": fit_images([sample.image for sample in test], 1, 28),
        "labels": torch.from_numpy(np.unique([s.labels[0] for s in test], return_inverse=True)[1]),
    }
    if row == "pixels":
        return nearest_neighbour(split["labels"], near_pixels(split["images"]))
    torch.manual_seed(seed)
    if row == "untrained":
        net: Any = make_model("prototypical", channels=1)
    else:
        net = trained(row, seed, (*train, *val), data)
    counts = {5: 100, 20: 30} if row == "maml" else {5: EPISODES, 20: EPISODES}
    return {
        name: net.accuracies(split, *one, count=counts[one[0]]).tolist() for name, one in SETTINGS.items()
    }


def instances(row: str, seed: int, folder: Path, weights: Path | None) -> dict[str, list[float]]:
    """Setting -> accuracy of each episode of the test; a row is a plain one, a model, or a backbone."""
    test = load("instances", kind=ImageSample, split="test")
    split = make_model("prototypical", channels=1).encode(test)
    plain = {"pixels": near_pixels, "histogram": near_histograms, "orb": near_orb}
    if row in plain:
        count = 20 if row == "orb" else EPISODES
        return nearest_neighbour(split["labels"], plain[row](split["images"]), count)
    torch.manual_seed(seed)
    if row == "untrained":
        net: Any = make_model("prototypical", channels=1)
    elif weights is not None:
        net = make_model("matching", side=96)
        net.image.trunk = make_backbone(row, 3, weights=weights, frozen=True, image_size=96)
        split = {**net.encode(test), "labels": split["labels"]}
    else:
        net = load_model(row)
    return {name: net.accuracies(split, *one, count=EPISODES).tolist() for name, one in SETTINGS.items()}


ATTRIBUTES = {
    "brick": "stone-or-metal long",
    "coin": "stone-or-metal round bright-rim letters",
    "face": "living round",
    "galaxy": "round",
    "word": "letters long",
    "trouser": "legs long opening",
    "pullover": "sleeves opening",
    "dress": "long opening",
    "sandal": "feet heel opening",
    "sneaker": "feet",
    "bag": "opening holds-things",
    "boot": "feet heel",
}
SPLITS, UNSEEN, EACH = (
    20,
    4,
    (200, 100),
)  # random splits, unseen nouns, images of a noun to learn from and to test on
WEIGHTS = [(gamma, lam) for gamma in (1.0, 100.0, 10_000.0) for lam in (0.1, 1.0, 10.0)]


def zero_shot(row: str, seed: int, folder: Path, weights: Path | None) -> dict[str, list[float]]:
    """Method -> accuracy of each split; for unseen nouns alone, and the harmonic mean where all 12 are candidates."""
    _, _, table = signatures_of([f"{noun}={words.replace(' ', ',')}" for noun, words in ATTRIBUTES.items()])
    (x, y), (x_test, y_test) = (
        _nouns(split, each, row, weights) for split, each in zip(("train", "test"), EACH, strict=True)
    )
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    x, x_test = (x - mean) / deviation, (x_test - mean) / deviation
    rng, found = np.random.default_rng(SEED), defaultdict(list)
    for _ in range(SPLITS):
        order = rng.permutation(len(table))
        unseen, seen = order[:UNSEEN], order[UNSEEN:]
        known, new = np.isin(y, seen), np.isin(y_test, unseen)
        for name, score in (
            ("DAP", _dap(x[known], y[known], table, seen)),
            ("ESZSL", _eszsl(x, y, table, seen)),
        ):
            scores = score(x_test)
            own = unseen[scores[new][:, unseen].argmax(1)] == y_test[new]
            all_ = scores.argmax(1) == y_test
            among = all_[new].mean(), all_[~new].mean()
            found[name].append(float(own.mean()))
            found[f"{name} harmonic"].append(float(2 * np.prod(among) / max(sum(among), 1e-9)))
    return dict(found)


def _nouns(split: str, each: int, row: str, weights: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) and numbers of nouns (N,) of views of a split."""
    samples = load("instances", kind=ImageSample, split=split)
    names = np.array([one.labels[0].split("/")[0] for one in samples])
    rng = np.random.default_rng(SEED)
    rows = [rng.permutation(np.flatnonzero(names == noun))[:each] for noun in ATTRIBUTES]
    images = [samples[k].image for some in rows for k in some]
    labels = np.repeat(np.arange(len(rows)), [len(some) for some in rows])
    if row == "hog":
        return np.stack([hog(one[0], 9, (7, 7), (2, 2)) for one in images]), labels
    trunk = make_backbone(row, 3, weights=weights, frozen=True, image_size=96).eval()
    with torch.inference_mode():
        parts = [trunk(part) for part in fit_images(images, 3, 96).split(64)]
    return torch.cat(parts).numpy(), labels


def _dap(
    x: np.ndarray, y: np.ndarray, table: np.ndarray, seen: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Log posteriors of all nouns by logistic regressions of the attributes, with weight decay."""
    inputs, wanted = torch.from_numpy(x).float(), torch.from_numpy(table[y]).float()
    net = torch.nn.Linear(inputs.shape[1], table.shape[1])
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1.0)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(net(inputs), wanted).backward()
        optimizer.step()

    def score(new: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return dap(net(torch.from_numpy(new).float()).sigmoid().numpy(), table, table[seen].mean(0))

    return score


def _eszsl(
    x: np.ndarray, y: np.ndarray, table: np.ndarray, seen: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Scores of all nouns; the weights are those best on pairs of seen nouns that are held out, each once."""
    signs = 2.0 * table - 1

    def fitted(nouns: np.ndarray, weights: tuple[float, float]) -> np.ndarray:
        rows = np.isin(y, nouns)
        order = np.argsort(nouns)
        return eszsl(x[rows], order[np.searchsorted(nouns[order], y[rows])], signs[nouns], *weights)

    def accuracy(weights: tuple[float, float]) -> float:
        found = []
        for held in seen.reshape(-1, 2):
            rows = np.isin(y, held)
            scores = x[rows] @ fitted(np.setdiff1d(seen, held), weights) @ signs[held].T
            found.append((held[scores.argmax(1)] == y[rows]).mean())
        return float(np.mean(found))

    matrix = fitted(seen, max(WEIGHTS, key=accuracy))
    return lambda new: new @ matrix @ signs.T


TASK, ROWS = "visionrl/LandmarkLocalization-v0", 16


def states(
    split: str, target: str, count: int, seed: int, share: float, every: int
) -> tuple[np.ndarray, np.ndarray]:
    """Windows (count, C, H, W) and distances (count,) in pixels, of walks of which a share are the expert's moves."""
    env, rng = make_vec_env(TASK, ROWS, seed=seed, split=split, target=target), np.random.default_rng(seed)
    env.reset()
    inner: Any = env.unwrapped
    windows: list[np.ndarray] = []
    distances: list[float] = []
    while len(windows) < count:
        for _ in range(every):
            moves = np.where(rng.random(ROWS) < share, expert_actions(env), rng.integers(0, 4, ROWS))
            obs, _, dones, _ = env.step(moves)
        assert isinstance(obs, dict)
        now = np.asarray(inner.venv.task.distance(inner.venv.state))
        windows += [obs["window"][row] for row in range(ROWS) if not dones[row]]
        distances += [float(now[row]) for row in range(ROWS) if not dones[row]]
    return np.stack(windows[:count]), np.array(distances[:count])


def rewards(row: str, seed: int, folder: Path, weights: Path | None) -> dict[str, list[float]]:
    """Landmark -> the correlation without negatives, and with; a row is "pixels", a backbone or a model."""
    torch.manual_seed(seed)
    if row == "pixels":
        encoder: torch.nn.Module = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Flatten())
    elif row in list_backbones():
        encoder = make_backbone(row, 3, pool=4, weights=weights)
    else:
        encoder = load_model(row)
    found = {}
    for target in ("heart", "trachea", "liver"):
        ends, distances = states("train", target, 64, seed + 1, 1.0, 25)
        support = ends[np.argsort(distances)[:5]]
        others, _ = states("train", target, 50, seed + 2, 0.0, 12)
        windows, true = states("val", target, 500, seed + 3, 0.6, 5)
        for name, some in (("", None), (" +", others)):
            score = PrototypeSimilarity(encoder, support, some, distance="cosine")
            found[target + name] = [float(spearmanr(score({"window": windows}), -true)[0])]
    return found


PARTS: dict[str, Callable[[str, int, Path, Path | None], dict[str, list[float]]]] = {
    "omniglot": omniglot,
    "instances": instances,
    "zero-shot": zero_shot,
    "rewards": rewards,
}


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
                spread = (
                    f" ({means.min():.1f} to {means.max():.1f})"
                    if len(means) > 1
                    else f" ± {half:.1f}" * (half > 0)
                )
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
    parser.add_argument("--weights", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.part == "table":
        print(tables(args.out))
        return
    began = time.process_time()
    found = PARTS[args.part](args.row, args.seed, args.folder, args.weights)
    scores = {
        name: (float(np.mean(some)), float(1.96 * np.std(some) / len(some) ** 0.5))
        for name, some in found.items()
    }
    print(args.row, args.seed, scores)
    record(args.out, args.part, args.row, args.seed, {"scores": scores, "cpu_s": time.process_time() - began})


if __name__ == "__main__":
    main()
