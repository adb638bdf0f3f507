"""Training an image classifier: one function, from a config to a folder with weights that backbones load."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from visionrl.agents.training.run_files import check_new, check_same, write_json
from visionrl.rendering import replacing
from visionrl.supervised.classifier_data import Images, load_images
from visionrl.supervised.classifier_loop import Training, accuracy
from visionrl.supervised.classifier_parts import ClassifierConfig, Reader, build_reader

__all__ = ["ClassifierConfig", "Reader", "load_classifier", "train_classifier"]

MAY_CHANGE = ("epochs", "patience", "resume", "out", "name", "device", "threads")  # when a run is resumed


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
        ValueError: the folder holds a run already and ``resume`` is off, or the config differs from that of the
            run to resume.
    """
    console, run = Console(), config.folder
    check_run(config)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    train, val = (load_images(config.data, split, config.canvas) for split in ("train", "val"))
    work = Training(config, train, val)
    run.mkdir(parents=True, exist_ok=True)
    write_json(run / "config.json", {"config": asdict(config), **train.about()})
    if config.resume:
        work.restore(run / "checkpoint.pt")
        console.print(f"resumed {run} after epoch {work.epoch}")
    try:
        for line in work.run(console):
            save(run / "checkpoint.pt", work.state())
            console.print(line)
    except KeyboardInterrupt:
        write_weights(run, work.best)
        console.print(f"stopped after epoch {work.epoch}; {run} has the best weights, --resume goes on")
        raise SystemExit(130) from None
    write_weights(run, work.best)
    report(config, work, console)
    return run


def check_run(config: ClassifierConfig) -> None:
    """Refuse to overwrite a run, or to go on with another one's config.

    Raises:
        ValueError: see above.
    """
    run = config.folder
    if not config.resume:
        check_new(run)
        return
    if not (run / "checkpoint.pt").is_file():
        raise ValueError(f"resume needs a run to continue, and {run} holds none")
    check_same(config, read_run(run)[0], MAY_CHANGE)


def read_run(run: Path) -> tuple[ClassifierConfig, dict[str, Any]]:
    """The config of a run, and what its images are like."""
    found = json.loads((run / "config.json").read_text())
    return ClassifierConfig(**found.pop("config")), found


def load_classifier(run: str | Path, device: str = "cpu") -> tuple[Reader, tuple[str, ...]]:
    """The network of a run's folder, in evaluation mode, and the names of its classes; read without pickle.

    Raises:
        FileNotFoundError: the folder holds no run.
    """
    config, about = read_run(Path(run))
    reader = build_reader(replace(config, pretrained=False), about)
    reader.load_state_dict(torch.load(Path(run) / "classifier.pt", map_location="cpu", weights_only=True))
    return reader.to(device).eval(), tuple(about["classes"])


def write_weights(run: Path, best: Mapping[str, Tensor]) -> None:
    """Write ``classifier.pt`` and ``weights.pt``; nothing before the first epoch's end."""
    if best:
        trunk = "classifier.backbone."
        save(run / "classifier.pt", dict(best))
        save(run / "weights.pt", {k.removeprefix(trunk): x for k, x in best.items() if k.startswith(trunk)})


def save(path: Path, state: Any) -> None:
    """Write tensors and plain values, in full or not at all."""
    with replacing(path) as part:
        torch.save(state, part)


def report(config: ClassifierConfig, work: Training, console: Console) -> None:
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
