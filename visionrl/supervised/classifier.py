"""Training an image classifier: one function, from a config to a folder with weights that backbones load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import torch
from annotated_types import Ge, Interval, MinLen
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.agents.networks.device import found_device
from visionrl.agents.training.lock import locked
from visionrl.agents.training.run_files import read_json, write_json
from visionrl.backbones import Classifier, make_classifier
from visionrl.backbones._loading import load_state, no_larger_than, read_state
from visionrl.core import checked
from visionrl.datasets import ImageSample, load
from visionrl.datasets.classes import class_names, image_class
from visionrl.layers.stn import SpatialTransformer
from visionrl.rendering import replacing
from visionrl.supervised import runs
from visionrl.supervised.trainer import Trainer, TrainerConfig, save

ABOUT: Mapping[str, Any] = {  # what ``config.json`` says of the images
    "in_channels": Annotated[int, Interval(ge=1, le=1024)],
    "side": Annotated[int, Interval(ge=1, le=4096)],
    "classes": Annotated[tuple[str, ...], MinLen(1)],
}
FIXED_WARPS = 0  # seed of the warps of validation and test images
FITTED = 64  # side of the square that images of different sizes are fitted into
LIGHT = (10.0, (0.9, 1.1), 0.1)  # degrees, scales, shift in halves of the side
AFFINE = (45.0, (0.7, 1.2), 0.4)  # the "RTS" digits of Jaderberg et al. (2015), on a canvas of 42 pixels


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(TrainerConfig):
    """One training run of a classifier."""

    data: str = "digits"
    """"digits", "cluttered-digits", "imagefolder:PATH", or another "FORMAT:PATH" with one label an image."""
    backbone: str = "impala"
    """Name of the network."""
    pretrained: bool = False
    """Start from the published ImageNet weights."""
    stem: Literal["auto", "imagenet", "small"] = "auto"
    """First layers; "imagenet" shrinks small images early, which is several times faster and less exact."""
    mixup: Annotated[float, Ge(0)] = 0.0
    """Alpha of mixup (Zhang et al., 2018); 0 is off."""
    label_smoothing: Annotated[float, Ge(0)] = 0.0
    """Share of the probability given to all classes equally."""
    augment: Literal["none", "light", "affine"] = "light"
    """"light" turns, scales and shifts training images a little; "affine" does so strongly, and to ALL splits."""
    canvas: int | None = None
    """Side of the square image that the network sees, on which smaller images lie in the middle; None their own."""
    stn: bool = False
    """Put a spatial transformer in front of the network."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        data = self.data.partition(":")[0]
        stn = "-stn" if self.stn else ""
        return Path(self.out) / (self.name or f"{data}-{self.backbone}{stn}-s{self.seed}")


def train_classifier(config: ClassifierConfig) -> Path:
    """Train, keep the weights that are best on the validation split, test these once, write it all down.

    The run's folder then holds ``weights.pt``, the backbone's tensors, for ``make_backbone(name,
    weights=...)``; ``classifier.pt``, all tensors, for ``load_classifier``; ``config.json``; ``metrics.json``;
    ``confusion.png``, the test split's; and ``checkpoint.pt``, from which ``resume=True`` goes on after its last
    whole epoch. All are read without pickle. Ctrl-C ends the training early: the best weights so far are written,
    and the test split is left alone.

    Returns:
        The run's folder.

    Raises:
        ValueError: the folder holds a run already and ``resume`` is off, another process has it, or the config
            differs from that of the run to resume.
    """
    config = replace(config, device=found_device(config.device))
    console, run = Console(), config.folder
    check_run(config)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    train, val = (load_images(config.data, split, config.canvas) for split in ("train", "val"))
    work = ClassifierTrainer(config, train, val)
    run.mkdir(parents=True, exist_ok=True)
    with locked(run):
        check_run(config)  # another process may have begun it in the meantime
        learn(config, work, console)
    return run


def learn(config: ClassifierConfig, work: ClassifierTrainer, console: Console) -> None:
    """Train to the end, and write it all into the run's folder.

    Raises:
        SystemExit: Ctrl-C ended it, with code 130.
    """
    runs.learn(config, config.folder, work, work.train.about(), write_weights, console)
    report(config, work, console)


def check_run(config: ClassifierConfig) -> None:
    """Refuse to overwrite a run, or to go on with another one's config.

    Raises:
        ValueError: see above.
    """
    runs.check_run(config, config.folder, lambda run: read_run(run)[0])


def read_run(run: Path) -> tuple[ClassifierConfig, dict[str, Any]]:
    """The config of a run, and what its images are like.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: ``config.json`` is not one of a classifier's run; names the field.
    """
    path = run / "config.json"
    found = read_json(path)
    plain = found.pop("config", None)
    known = {field.name for field in fields(ClassifierConfig)}
    if not isinstance(plain, dict) or set(plain) - known:
        raise ValueError(
            f"{path} must hold the config of a classifier, with no fields but {', '.join(known)}"
        )
    try:
        about = {name: checked(name, rule, found.get(name)) for name, rule in ABOUT.items()}
        return ClassifierConfig(**plain), about
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def load_classifier(run: str | Path, device: str = "cpu") -> tuple[Reader, tuple[str, ...]]:
    """The network of a run's folder, in evaluation mode, and the names of its classes; read without pickle.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: a file is damaged or no run's, or the device is not here.
    """
    device = found_device(device)
    config, about = read_run(Path(run))
    path = Path(run) / "classifier.pt"
    state = read_state(path)
    with no_larger_than(state, path):
        reader = build_reader(replace(config, pretrained=False), about)
    load_state(reader, state, path)
    return reader.to(device).eval(), tuple(about["classes"])


def write_weights(run: Path, best: Mapping[str, Tensor]) -> None:
    """Write ``classifier.pt`` and ``weights.pt``; nothing before the first epoch's end."""
    if best:
        trunk = "classifier.backbone."
        save(run / "classifier.pt", dict(best))
        save(run / "weights.pt", {k.removeprefix(trunk): x for k, x in best.items() if k.startswith(trunk)})


def report(config: ClassifierConfig, work: ClassifierTrainer, console: Console) -> None:
    """Test the best weights, once, and write ``metrics.json`` and ``confusion.png``."""
    run, test = config.folder, load_images(config.data, "test", config.canvas).to(config.device)
    work.model.load_state_dict(work.best)
    logits = work.predict(test)
    score, table = accuracy(logits, test.labels), confusion(logits, test)
    best = max(row["accuracy"] for row in work.curve)
    found = {"test_accuracy": score, "test_images": len(test.labels), "val_accuracy": best}
    found |= {"seconds": round(work.seconds, 1), "epochs": work.epoch, "parameters": count(work.model)}
    write_json(run / "metrics.json", {**found, "confusion": table.tolist(), "curve": work.curve})
    plot_confusion(run / "confusion.png", table, test.names)
    console.print(
        f"test accuracy {score:.2%} of {len(test.labels)} images, {work.seconds:.0f} s of training; saved in {run}"
    )


def count(model: torch.nn.Module) -> int:
    """Its parameters."""
    return sum(x.numel() for x in model.parameters())


def confusion(logits: Tensor, images: Images) -> np.ndarray:
    """(K, K) int64, how many images of class [row] were taken for class [column]."""
    classes = len(images.names)
    pairs = images.labels.cpu() * classes + logits.argmax(1).cpu()
    return torch.bincount(pairs, minlength=classes**2).reshape(classes, classes).numpy()


def plot_confusion(path: Path, table: np.ndarray, names: Sequence[str]) -> None:
    """Draw a confusion matrix as a PNG: right classes down, answers across; shades are shares of a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    side = min(max(0.45 * len(names), 4), 20)
    figure = Figure(figsize=(side, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.imshow(table / np.maximum(table.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(table) if len(names) <= 30 else ():
        dark = table[row, column] > table[row].sum() / 2
        number = str(table[row, column])
        axes.text(column, row, number, ha="center", va="center", fontsize=8, color="w" if dark else "k")
    axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 2 else 0)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="answer", ylabel="right class")
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=110)


class Reader(nn.Module):
    """A classifier, with a spatial transformer in front of it or not.

    Attributes:
        front: the transformer, or the identity.
        classifier: from its pictures to logits.
    """

    def __init__(self, classifier: Classifier, front: nn.Module) -> None:
        super().__init__()
        self.front, self.classifier = front, classifier

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, classes) of uint8 images (B, C, H, W)."""
        return self.classifier(self.front(x))

    def loss(self, x: Tensor, target: Tensor, smoothing: float) -> Tensor:
        """Mean cross-entropy against probabilities (B, classes)."""
        return self.classifier.loss(self.front(x), target, smoothing)


def build_reader(config: ClassifierConfig, about: Mapping[str, Any]) -> Reader:
    """The network of a config for images as ``Images.about`` describes them."""
    channels, side = about["in_channels"], about["side"]
    front = SpatialTransformer(channels) if config.stn else nn.Identity()
    classifier = make_classifier(
        config.backbone, len(about["classes"]), channels, config.pretrained, stem=config.stem, image_size=side
    )
    return Reader(classifier, front)


class ClassifierTrainer(Trainer):
    """The training of a classifier; the best weights are those of the highest validation accuracy."""

    score_name = "accuracy"
    config: ClassifierConfig

    def __init__(self, config: ClassifierConfig, train: Images, val: Images) -> None:
        self.train, self.val = train.to(config.device), val.to(config.device)
        self.reader = build_reader(config, train.about()).to(config.device)
        super().__init__(config, self.reader, len(train.labels))

    def loss(self, rows: Tensor) -> Tensor:
        """Mean cross-entropy of some warped images, mixed in pairs with ``mixup``."""
        config, classes = self.config, len(self.train.names)
        pixels = warp(self.train.pixels[rows], config.augment, self.chance)
        target = nn.functional.one_hot(self.train.labels[rows], classes).float()
        if config.mixup:
            share = float(np.random.default_rng(int(rows[0]) + self.epoch).beta(config.mixup, config.mixup))
            order = torch.randperm(len(rows), generator=self.chance)
            pixels, target = (share * x + (1 - share) * x[order] for x in (pixels / 255, target))
        with self.autocast():
            return self.reader.loss(pixels, target, config.label_smoothing)

    def score(self) -> float:
        """Accuracy on the validation split."""
        return accuracy(self.predict(self.val), self.val.labels)

    def predict(self, images: Images) -> Tensor:
        """Logits (N, classes) of a split that is not learnt from."""
        return predict(self.reader, images, self.config)


@torch.no_grad()
def predict(model: nn.Module, images: Images, config: ClassifierConfig) -> Tensor:
    """Logits (N, classes); with strong warps each image is warped once, by the same chance for every network."""
    model.eval()
    chance, found = torch.Generator().manual_seed(FIXED_WARPS), []
    for pixels in images.pixels.split(256):
        shown = warp(pixels, config.augment, chance) if config.augment == "affine" else pixels
        found.append(model(shown).float())
    return torch.cat(found)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of the images (N, classes) whose highest score is the right class's (N,)."""
    return float((logits.argmax(1) == labels).float().mean())


@dataclass(frozen=True)
class Images:
    """One split.

    Attributes:
        pixels: (N, C, H, W) uint8.
        labels: (N,) int64, place in ``names``.
        names: the classes.
    """

    pixels: Tensor
    labels: Tensor
    names: tuple[str, ...]

    def to(self, device: str) -> Images:
        """Copy of the images on a device."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))

    def about(self) -> dict[str, Any]:
        """Metadata that a network needs, as plain values."""
        return {
            "in_channels": self.pixels.shape[1],
            "side": self.pixels.shape[-1],
            "classes": list(self.names),
        }


def load_images(data: Any, split: str, canvas: int | None = None) -> Images:
    """A split in memory; grey images become RGB where both kinds occur.

    Args:
        data: as for ``visionrl.datasets.load``; each sample has one label.
        split: "train", "val" or "test".
        canvas: side of a square in whose middle every image lies; larger ones are shrunk to fit. None keeps
            the images as they are, if they are squares of one size, else it is 64.

    Raises:
        ValueError: a sample has no class or several, or the canvas is less than 1.
    """
    if canvas is not None and canvas < 1:
        raise ValueError(f"canvas must be >= 1, got {canvas}")
    names = class_names(data)
    samples: Sequence[ImageSample] = load(data, kind=ImageSample, split=split)
    shapes = {sample.image.shape[1:] for sample in samples}
    alike = len(shapes) == 1 and len(set(*shapes)) == 1
    side = canvas or (next(iter(shapes))[0] if alike else FITTED)
    channels = max(sample.image.shape[0] for sample in samples)
    pixels = np.zeros((len(samples), channels, side, side), np.uint8)
    for sample, place in zip(samples, pixels, strict=True):
        place_in_middle(sample.image, place)
    labels = [names.index(image_class(sample, index)) for index, sample in enumerate(samples)]
    return Images(torch.from_numpy(pixels), torch.tensor(labels), names)


def place_in_middle(image: np.ndarray, place: np.ndarray) -> None:
    """Lay an image (C, H, W) in the middle of a square (C', S, S), in place; a larger one is shrunk to fit."""
    side, longest = place.shape[-1], max(image.shape[1:])
    if longest > side:
        width, height = (max(round(n * side / longest), 1) for n in image.shape[:0:-1])
        image = np.stack([cv2.resize(c, (width, height), interpolation=cv2.INTER_AREA) for c in image])
    top, left = ((side - n) // 2 for n in image.shape[1:])
    place[:, top : top + image.shape[1], left : left + image.shape[2]] = image


def warp(pixels: Tensor, how: str, chance: torch.Generator) -> Tensor:
    """Images (B, C, H, W) uint8, each turned, scaled and shifted at random; "none" leaves them alone.

    Args:
        pixels: the images; 0 comes in from outside.
        how: "none", "light" or "affine".
        chance: what the angles, scales and shifts are drawn from, on the CPU.
    """
    if how == "none":
        return pixels
    degrees, (low, high), shift = LIGHT if how == "light" else AFFINE
    draw = torch.rand(4, len(pixels), generator=chance)
    angle = torch.deg2rad((2 * draw[0] - 1) * degrees)
    scale = low + draw[1] * (high - low)
    move = (2 * draw[2:] - 1) * shift
    cos, sin = angle.cos() / scale, angle.sin() / scale
    x, y = -cos * move[0] - sin * move[1], sin * move[0] - cos * move[1]
    matrix = torch.stack([torch.stack([cos, sin, x], 1), torch.stack([-sin, cos, y], 1)], 1).to(pixels.device)
    grid = F.affine_grid(matrix, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels.float(), grid, align_corners=False).round().to(torch.uint8)
