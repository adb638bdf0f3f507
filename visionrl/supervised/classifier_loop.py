"""The loop that trains a classifier, epoch by epoch, and can be taken up again after any of them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

from visionrl.supervised.classifier_data import Images, warped
from visionrl.supervised.classifier_parts import ClassifierConfig, build_reader

WARM_UP = 0.05  # share of the steps in which the learning rate rises
NOTES = ("epoch", "step", "curve", "best", "seconds")
FIXED_WARPS = 0  # seed of the warps of validation and test images


class Training:
    """A run in progress.

    Attributes:
        model: the network.
        epoch: whole epochs done.
        curve: one row an epoch: "epoch", "loss", "accuracy" on the validation split.
        best: the tensors of the model with the highest accuracy.
        seconds: spent training and validating.
    """

    def __init__(self, config: ClassifierConfig, train: Images, val: Images) -> None:
        self.config, self.train, self.val = config, train.to(config.device), val.to(config.device)
        self.model = build_reader(config, train.about()).to(config.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), config.lr, weight_decay=config.weight_decay
        )
        self.steps = -(-len(train.labels) // config.batch_size) * config.epochs
        self.chance = torch.Generator().manual_seed(config.seed)
        self.epoch, self.step, self.seconds = 0, 0, 0.0
        self.curve: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}

    def run(self, console: Console) -> Iterator[str]:
        """Train to the end, or till nothing improves; yields a line after every epoch."""
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("training", total=self.config.epochs, completed=self.epoch)
            while self.epoch < self.config.epochs and not self.stale():
                began = time.perf_counter()
                loss = self.pass_over()
                score = accuracy(self.predict(self.val), self.val.labels)
                self.keep(loss, score)
                self.seconds += time.perf_counter() - began
                bar.update(task, completed=self.epoch)
                yield f"epoch {self.epoch}: loss {loss:.4f}, validation accuracy {score:.2%}"

    def keep(self, loss: float, score: float) -> None:
        """Note an epoch, and its weights if none were better; among equals the later ones."""
        self.epoch += 1
        if score >= max((row["accuracy"] for row in self.curve), default=-1.0):
            self.best = {key: x.detach().cpu().clone() for key, x in self.model.state_dict().items()}
        self.curve.append({"epoch": self.epoch, "loss": loss, "accuracy": score})

    def stale(self) -> bool:
        """Whether the last ``patience`` epochs brought nothing better."""
        scores = [row["accuracy"] for row in self.curve]
        return bool(scores) and len(scores) - 1 - int(np.argmax(scores)) >= self.config.patience

    def pass_over(self) -> float:
        """One epoch; its mean loss."""
        self.model.train()
        losses = []
        for rows in torch.randperm(len(self.train.labels), generator=self.chance).split(
            self.config.batch_size
        ):
            if len(rows) > 1:  # BatchNorm has no statistics of a single image
                losses.append(self.update(rows))
        return float(np.mean(losses))

    def update(self, rows: Tensor) -> float:
        """One step on some images; its loss."""
        config, classes = self.config, len(self.train.names)
        pixels = warped(self.train.pixels[rows], config.augment, self.chance)
        target = nn.functional.one_hot(self.train.labels[rows], classes).float()
        if config.mixup:
            share = float(np.random.default_rng(int(rows[0]) + self.epoch).beta(config.mixup, config.mixup))
            order = torch.randperm(len(rows), generator=self.chance)
            pixels, target = (share * x + (1 - share) * x[order] for x in (pixels / 255, target))
        with torch.autocast(config.device, torch.bfloat16, enabled=config.amp):
            loss = self.model.loss(pixels, target, config.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()
        self.step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * pace(self.step / self.steps)
        self.optimizer.step()
        return loss.item()

    def predict(self, images: Images) -> Tensor:
        """Logits (N, classes) of a split that is not learnt from."""
        return predict(self.model, images, self.config)

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on."""
        parts = {name: getattr(self, name).state_dict() for name in ("model", "optimizer")}
        random = {"chance": self.chance.get_state(), "torch": torch.get_rng_state()}
        return {**parts, **random, **{name: getattr(self, name) for name in NOTES}}

    def restore(self, path: Path) -> None:
        """Go on from what ``state`` gave."""
        state = torch.load(path, map_location=self.config.device, weights_only=True)
        for name in ("model", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.chance.set_state(state["chance"].cpu())
        torch.set_rng_state(state["torch"].cpu())
        for name in NOTES:
            setattr(self, name, state[name])


def pace(done: float) -> float:
    """The learning rate at a share of all steps, in parts of the highest: a short rise, then a half cosine to 0."""
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * min((done - WARM_UP) / (1 - WARM_UP), 1.0)))


@torch.no_grad()
def predict(model: nn.Module, images: Images, config: ClassifierConfig) -> Tensor:
    """Logits (N, classes); with strong warps each image is warped once, by the same chance for every network."""
    model.eval()
    chance, found = torch.Generator().manual_seed(FIXED_WARPS), []
    for pixels in images.pixels.split(256):
        shown = warped(pixels, config.augment, chance) if config.augment == "affine" else pixels
        found.append(model(shown).float())
    return torch.cat(found)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of the images (N, classes) whose highest score is the right class's (N,)."""
    return float((logits.argmax(1) == labels).float().mean())
