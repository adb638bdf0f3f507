"""Pretexts at equal CPU time: what a trunk pretrained by each is worth on four small sets of labelled images.

    python benchmarks/pretext.py train --rows rotation simclr --seed 0 --seconds 60 --out cells
    python benchmarks/pretext.py table --out cells --json docs/results/pretext.json

``train`` pretrains a trunk on the images of all four training splits without their labels, and writes for each test
image whether a k-NN and a linear probe on the frozen features were right; ``table`` prints the means, and the paired
bootstrap intervals of the differences from a trunk with random weights.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.backbones import make_backbone
from visionrl.datasets import ImageSample, load
from visionrl.datasets.embedded import objects
from visionrl.datasets.readers.files import read_image
from visionrl.models import model_class
from visionrl.models._images import fit_images
from visionrl.models.pretext._views import crops
from visionrl.supervised.pretrain import PretextTrainer, PretrainConfig, pretexts
from visionrl.supervised.trainer import warmup_cosine

SIDE, K, WARMTH = 48, 20, 0.07
GARMENTS = Path(objects.__file__).parent / "data" / "garments.npz"
RIDGES = 10.0 ** np.arange(-4, 4)
Part = tuple[Tensor, np.ndarray]
Sets = dict[str, dict[str, Part]]


def labelled(images: list[np.ndarray], labels: list[Any], classes: list[Any]) -> Part:
    """Images (N, 3, S, S) and the numbers of their classes."""
    return fit_images(images, 3, SIDE), np.array([classes.index(label) for label in labels])


def all_sets(flowers: Path | None) -> Sets:
    """Name -> split -> images and labels."""
    found: Sets = {}
    with np.load(GARMENTS, allow_pickle=False) as file:
        images, labels, splits = (file[key] for key in ("images", "labels", "splits"))
    names = list(range(7))
    found["garments"] = {
        split: labelled(list(images[splits == i][:, None]), labels[splits == i].tolist(), names)
        for i, split in enumerate(("train", "val", "test"))
    }
    parts = {split: load("digits", kind=ImageSample, split=split) for split in ("train", "val", "test")}
    digits = [str(i) for i in range(10)]
    found["digits"] = {
        split: labelled([x.image for x in some], [x.labels[0] for x in some], digits)
        for split, some in parts.items()
    }
    nouns = sorted(objects.members("train"))
    found["objects"] = {}
    for split in ("train", "val", "test"):
        pairs = [(cut.image, noun) for noun, cuts in objects.members(split).items() for cut in cuts]
        found["objects"][split] = labelled([x for x, _ in pairs], [noun for _, noun in pairs], nouns)
    if flowers is not None:
        found["flowers"] = flower_parts(flowers)
    return found


def flower_parts(folder: Path) -> dict[str, Part]:
    """Every fifth name of a class is reported on; of the others, every fifth chooses the probe's ridge."""
    kinds = sorted(path.name for path in folder.iterdir())
    files: dict[str, list[Path]] = {"train": [], "val": [], "test": []}
    for kind in kinds:
        names = sorted((folder / kind).iterdir())
        files["test"] += names[::5]
        rest = [name for i, name in enumerate(names) if i % 5]
        files["val"] += rest[::5]
        files["train"] += [name for i, name in enumerate(rest) if i % 5]
    return {
        split: labelled([read_image(x) for x in some], [x.parent.name for x in some], kinds)
        for split, some in files.items()
    }


@torch.no_grad()
def features(net: nn.Module, images: Tensor) -> np.ndarray:
    """(N, F) of a trunk."""
    net.eval()
    return torch.cat([net(part).flatten(1) for part in images.split(128)]).double().numpy()


def knn(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Classes by the votes of the 20 nearest by cosine, weighted by exp(cosine / 0.07) (Wu et al., 2018)."""
    train, test = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9) for x in (train, test))
    near = test @ train.T
    best = np.argsort(-near, axis=1)[:, :K]
    votes = np.zeros((len(test), labels.max() + 1))
    for i, row in enumerate(best):
        np.add.at(votes[i], labels[row], np.exp((near[i, row] - 1) / WARMTH))
    return votes.argmax(1)


def linear(train: np.ndarray, labels: np.ndarray, val: Part | Any, test: np.ndarray) -> np.ndarray:
    """Classes by ridge regression on standardized features, the ridge chosen on the validation split."""
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    train, some, test = ((x - mean) / deviation for x in (train, val[0], test))
    wanted = np.eye(labels.max() + 1)[labels]
    base = wanted.mean(0)
    values, vectors = np.linalg.eigh(train.T @ train / len(train))
    right = vectors.T @ (train.T @ (wanted - base)) / len(train)
    weights = [vectors @ (right / (np.maximum(values, 0) + ridge)[:, None]) for ridge in RIDGES]
    scores = [((some @ w + base).argmax(1) == val[1]).mean() for w in weights]
    return (test @ weights[int(np.argmax(scores))] + base).argmax(1)


def probe(encode: Any, sets: Sets) -> dict[str, dict[str, list[int]]]:
    """Set -> probe -> whether it was right on each test image."""
    found = {}
    for name, parts in sets.items():
        x = {split: encode(images) for split, (images, _) in parts.items()}
        y = {split: labels for split, (_, labels) in parts.items()}
        answers = {
            "knn": knn(x["train"], y["train"], x["test"]),
            "linear": linear(x["train"], y["train"], (x["val"], y["val"]), x["test"]),
        }
        found[name] = {key: (said == y["test"]).astype(int).tolist() for key, said in answers.items()}
    return found


def pixels(images: Tensor) -> np.ndarray:
    """(N, 768), the images at 16 x 16."""
    return F.avg_pool2d(images.float(), SIDE // 16).flatten(1).double().numpy()


def trained(config: PretrainConfig, net: Any, train: Tensor, val: Tensor) -> PretextTrainer:
    """The training of a pretext after its minutes, of CPU time."""
    work = PretextTrainer(config, net, train, val)
    work.clock = time.process_time  # type: ignore[assignment]
    while work.done < 1:
        work.train_epoch()
        work.epoch += 1
    return work


def pretrained(row: str, images: Tensor, seed: int, seconds: float) -> tuple[nn.Module, dict[str, float]]:
    """A trunk after some CPU seconds of a pretext, and the pretext's figures on images held out."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    val, train = images[order[:256]], images[order[256:]]
    net: Any = model_class(row).for_images(train, {})
    config = PretrainConfig(pretext=row, data="all", out=Path("x.pt"), minutes=seconds / 60, seed=seed)
    steps = trained(config, net, train, val).step
    return net.backbone, {**net.evaluate((), {"images": val}), "steps": steps}


def supervised(sets: Sets, seed: int, seconds: float) -> nn.Module:
    """A trunk after some CPU seconds of learning the classes of all sets at once, with light crops."""
    images = torch.cat([parts["train"][0] for parts in sets.values()])
    labels, first = [], 0
    for parts in sets.values():
        labels.append(torch.from_numpy(parts["train"][1]) + first)
        first += int(parts["train"][1].max()) + 1
    y, generator = torch.cat(labels), torch.Generator().manual_seed(seed)
    net = make_backbone("small", image_size=SIDE)
    head = nn.Linear(net.num_features, first)
    optimizer = torch.optim.AdamW([*net.parameters(), *head.parameters()], 1e-3, weight_decay=0.01)
    began = time.process_time()
    while (spent := time.process_time() - began) < seconds:
        rows = torch.randint(len(y), (128,), generator=generator)
        x = crops(images[rows].float() / 255, generator, least=0.7, flip=False)
        loss = F.cross_entropy(head(net(x)), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = 1e-3 * warmup_cosine(spent / seconds)
        optimizer.step()
    return net


def trunk_of(
    row: str, sets: Sets, seed: int, seconds: float, imagenet: str | None
) -> tuple[Any, dict[str, float]]:
    """What encodes images for a row, and its own figures; the row of ImageNet sees them at twice the size."""
    torch.manual_seed(seed)
    if row == "pixels":
        return pixels, {}
    if row in pretexts():
        images = torch.cat([parts["train"][0] for parts in sets.values()])
        net, figures = pretrained(row, images, seed, seconds)
    elif row == "supervised":
        net, figures = supervised(sets, seed, seconds), {}
    elif row == "imagenet":
        net, figures = make_backbone("mobilenet_v2", weights=imagenet, pretrained=imagenet is None), {}
        return lambda images: features(nn.Sequential(nn.Upsample(scale_factor=2), net), images / 255), figures
    else:
        net, figures = make_backbone({"random": "small", "random vit": "vit_tiny8"}[row], image_size=SIDE), {}
    return lambda images: features(net, images), figures


def train(args: argparse.Namespace) -> None:
    """Write a file a row and seed."""
    torch.set_num_threads(1)
    sets = all_sets(args.flowers)
    args.out.mkdir(parents=True, exist_ok=True)
    for row in args.rows:
        path = args.out / f"{row.replace(' ', '-')}-{args.seed}.json"
        if path.is_file():
            continue
        encode, figures = trunk_of(row, sets, args.seed, args.seconds, args.imagenet)
        found = {"row": row, "seed": args.seed, "seconds": args.seconds, "figures": figures}
        path.write_text(json.dumps({**found, "right": probe(encode, sets)}))
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(row, args.seed, figures, f"{used.ru_utime + used.ru_stime:.0f} CPU s so far", flush=True)


def interval(differences: np.ndarray, draws: int = 2000) -> tuple[float, float, float]:
    """Mean and 95 % bootstrap interval over test images of differences (N,)."""
    rng = np.random.default_rng(0)
    means = differences[rng.integers(len(differences), size=(draws, len(differences)))].mean(1)
    return float(differences.mean()), *(float(x) for x in np.quantile(means, (0.025, 0.975)))


def table(args: argparse.Namespace) -> None:
    """Print accuracies and differences; write them as JSON."""
    cells: dict[str, list[dict]] = {}
    for path in sorted(args.out.glob("*.json")):
        cell = json.loads(path.read_text())
        cells.setdefault(cell["row"], []).append(cell)
    summary: dict[str, Any] = {}
    for row, some in cells.items():
        base = cells["random vit" if row == "mae" else "random"]
        summary[row] = {"seeds": len(some), "figures": [cell["figures"] for cell in some], "sets": {}}
        for name in some[0]["right"]:
            for key in ("knn", "linear"):
                own, other = (np.mean([c["right"][name][key] for c in group], 0) for group in (some, base))
                found = {"accuracy": float(own.mean()), "above_random": interval(own - other)}
                found["by_seed"] = [float(np.mean(c["right"][name][key])) for c in some]
                summary[row]["sets"][f"{name} {key}"] = found
    columns = list(next(iter(summary.values()))["sets"])
    print("| row | seeds | " + " | ".join(columns) + " |\n|" + " --- |" * (len(columns) + 2))
    for row, found in summary.items():
        words = []
        for column in columns:
            cell = found["sets"][column]
            mean, low, high = cell["above_random"]
            sign = "+" if low > 0 else "-" if high < 0 else ""
            words.append(
                f"{100 * cell['accuracy']:.1f} ({100 * mean:+.1f} [{100 * low:.1f}, {100 * high:.1f}]){sign}"
            )
        print(f"| {row} | {found['seeds']} | " + " | ".join(words) + " |")
    if args.json:
        args.json.write_text(json.dumps(summary, indent=1) + "\n")


def main() -> None:
    """Run a part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("train", "table"))
    parser.add_argument(
        "--rows", nargs="+", default=[], help="pretexts, random, random vit, pixels, supervised, imagenet"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60, help="of CPU time, a row")
    parser.add_argument("--flowers", type=Path, help="folder of flowers, a folder a class")
    parser.add_argument("--imagenet", help="file of weights of mobilenet_v2; without one, torch's own")
    parser.add_argument("--out", type=Path, default=Path("runs/pretext"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    {"train": train, "table": table}[args.part](args)


if __name__ == "__main__":
    main()
