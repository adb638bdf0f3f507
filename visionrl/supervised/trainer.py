"""One loop of supervised training: AdamW, the best weights by a score, checkpoints from which it goes on exactly."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

from visionrl.backbones._weights import read_tensors, write_tensors
from visionrl.core.arguments import check_arguments
from visionrl.rendering import replacing

WARM_UP = 0.05  # share of the steps in which the learning rate rises
NOTES = ("epoch", "step", "curve", "best", "seconds")


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Configuration that all supervised training runs share."""

    epochs: Annotated[int, Ge(1)] = 30
    """At most so many passes over the training split."""
    batch_size: Annotated[int, Ge(2)] = 64
    """Samples in a step."""
    lr: Annotated[float, Ge(0)] = 2e-3
    """Highest learning rate of AdamW; it falls to 0 along a cosine, after a warm-up of a twentieth of the steps."""
    weight_decay: Annotated[float, Ge(0)] = 0.02
    """Weight decay of AdamW."""
    amp: bool = False
    """Compute in bfloat16 where it is safe (autocast)."""
    patience: Annotated[int, Ge(1)] = 10
    """Stop after so many epochs without a better validation score."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of everything."""
    device: str = "cpu"
    """Where the network lives: "auto", "cpu" or "cuda"."""
    threads: Annotated[int, Ge(1)] = 1
    """CPU threads of torch."""
    out: str = "runs"
    """Folder of the runs."""
    name: str | None = None
    """Name of the run's own folder; made of data, network and seed by default."""
    resume: bool = False
    """Continue the run from its last epoch."""

    def __post_init__(self) -> None:
        """Refuse values that their annotations do not allow."""
        check_arguments(self)


class Trainer(ABC):
    """A run in progress; a subclass says what the loss of some samples is, and the score of the network.

    Args:
        config: of the run.
        model: the network, where the config wants it.
        count: samples of the training split, 2 or more.

    Attributes:
        model: the network.
        chance: what the order of the samples is drawn from, on the CPU.
        epoch: whole epochs done.
        step: steps of the optimizer done.
        curve: one row an epoch: "epoch", "loss", and the score on the validation split.
        best: the tensors of the model with the highest score.
        seconds: spent training and validating.
    """

    score_name = "score"
    unit = "epoch"  # what a line of ``run`` counts
    most_gradient: float | None = None  # norm that the gradients are clipped to

    def __init__(self, config: TrainerConfig, model: nn.Module, count: int) -> None:
        if count < 2:
            raise ValueError(f"the training split must have 2 samples or more, got {count}")
        self.config, self.model, self.count = config, model, count
        self.optimizer = torch.optim.AdamW(model.parameters(), config.lr, weight_decay=config.weight_decay)
        self.steps = -(-count // config.batch_size) * config.epochs
        self.chance = torch.Generator().manual_seed(config.seed)
        self.epoch, self.step, self.seconds = 0, 0, 0.0
        self.curve: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}

    def autocast(self) -> torch.autocast:
        """The context in which a network computes: bfloat16 with ``amp``."""
        return torch.autocast(torch.device(self.config.device).type, torch.bfloat16, enabled=self.config.amp)

    @abstractmethod
    def loss(self, rows: Tensor) -> Tensor:
        """The loss of some training samples, (B,) int64."""

    @abstractmethod
    def score(self) -> float:
        """The score on the validation split; more is better."""

    def run(self, console: Console) -> Iterator[str]:
        """Train to the end, or till nothing improves; yields a line after every epoch."""
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("training", total=self.config.epochs, completed=self.epoch)
            while self.epoch < self.config.epochs and not self.stale():
                began = time.perf_counter()
                loss = self.train_epoch()
                score = self.score()
                self.keep(loss, score)
                self.seconds += time.perf_counter() - began
                bar.update(task, completed=self.epoch)
                yield f"{self.unit} {self.epoch}: loss {loss:.4f}, validation {self.score_name} {score:.4f}"

    def keep(self, loss: float, score: float) -> None:
        """Record an epoch, and its weights if none were better; among equals the later ones."""
        self.epoch += 1
        if score >= max((row[self.score_name] for row in self.curve), default=-math.inf):
            self.best = {key: x.detach().cpu().clone() for key, x in self.model.state_dict().items()}
        self.curve.append({"epoch": self.epoch, "loss": loss, self.score_name: score})

    @property
    def done(self) -> float:
        """Share of the training that is done, by which the learning rate goes."""
        return self.step / self.steps

    def stale(self) -> bool:
        """Tell if the validation score has not improved for ``patience`` epochs."""
        scores = [row[self.score_name] for row in self.curve]
        return bool(scores) and len(scores) - 1 - int(np.argmax(scores)) >= self.config.patience

    def train_epoch(self) -> float:
        """One pass over the training split; its mean loss."""
        self.model.train()
        # BatchNorm has no statistics of a single sample
        return float(np.mean([self.update(rows) for rows in self.batches() if len(rows) > 1]))

    def batches(self) -> Iterator[Tensor]:
        """The rows of each step of an epoch."""
        return iter(torch.randperm(self.count, generator=self.chance).split(self.config.batch_size))

    def update(self, rows: Tensor) -> float:
        """One step of the optimizer on some samples; its loss."""
        loss = self.loss(rows)
        self.optimizer.zero_grad()
        loss.backward()
        if self.most_gradient is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.most_gradient)
        self.step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * warmup_cosine(self.done)
        self.optimizer.step()
        return loss.item()

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on."""
        parts = {name: getattr(self, name).state_dict() for name in ("model", "optimizer")}
        random = {"chance": self.chance.get_state(), "torch": torch.get_rng_state()}
        return {**parts, **random, **{name: getattr(self, name) for name in NOTES}}

    def restore(self, path: Path) -> None:
        """Go on from a file of what ``state`` gave.

        Raises:
            ValueError: the file is damaged, or holds something else, as where the data have changed.
        """
        state = read_tensors(path, self.config.device)
        needed = {"model", "optimizer", "chance", "torch", *NOTES}
        if not isinstance(state, dict) or set(state) != needed:
            raise ValueError(
                f"{path} must hold {', '.join(sorted(needed))}; is it a checkpoint of this version?"
            )
        try:
            for name in ("model", "optimizer"):
                getattr(self, name).load_state_dict(state[name])
        except (RuntimeError, ValueError, KeyError):
            raise ValueError(
                f"{path} must be of the network that is trained; have the data changed since?"
            ) from None
        self.chance.set_state(state["chance"].cpu())
        torch.set_rng_state(state["torch"].cpu())
        for name in NOTES:
            setattr(self, name, state[name])


def warmup_cosine(done: float) -> float:
    """The learning rate at a share of all steps, in parts of the highest: a short rise, then a half cosine to 0."""
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * min((done - WARM_UP) / (1 - WARM_UP), 1.0)))


def save(path: Path, state: Any) -> None:
    """Write tensors and plain values, in full or not at all."""
    with replacing(path) as part:
        write_tensors(part, state)
