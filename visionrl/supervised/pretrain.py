"""Pretraining a backbone by a pretext: from a config to a file of weights, and what the pretext came to beside it."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt
from rich.console import Console
from torch import Tensor

from visionrl.agents.networks.device import found_device
from visionrl.agents.training.pairs import parse_args
from visionrl.agents.training.run_files import write_json
from visionrl.core.arguments import check_arguments, did_you_mean
from visionrl.models import list_models, model_class, save_model
from visionrl.models._images import device_of
from visionrl.models.pretext import Pretext
from visionrl.rendering import write_png
from visionrl.supervised.pretrain_images import Source, images_of
from visionrl.supervised.trainer import Trainer, TrainerConfig, save

ROUNDS = 10  # validations in a training
SHOWN = 6  # images of the picture
FOLDER = "-pretext"  # end of the name of the folder with the whole pretext
STEPS = 2000  # unless it is said how long


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(Source):
    """One pretraining of a backbone; the images are those of an environment, or of a data set."""

    pretext: str
    """What the backbone learns to do: rotation, jigsaw, context, inpainting, colorization, exemplar, simclr, moco, or
    mae."""
    out: Path
    """File of weights to be written, "NAME.pt"; beside it go NAME.png, NAME.json and the folder NAME-pretext."""
    backbone: str | None = None
    """Name of the trunk; by default "small", for mae "vit_tiny8"."""
    steps: Annotated[int, Ge(1)] | None = None
    """Steps of the optimizer; 2,000 if no minutes are given."""
    minutes: Annotated[float, Gt(0)] | None = None
    """Train for so long instead."""
    options: tuple[str, ...] = ()
    """Options of the pretext, each "name=value" with a JSON value or a word: temperature=0.5."""
    batch_size: Annotated[int, Ge(2)] = 128
    """Images in a step."""
    lr: Annotated[float, Ge(0)] = 1e-3
    """Highest learning rate of AdamW; it falls to 0 along a cosine, after a warm-up of a twentieth of the steps."""
    weight_decay: Annotated[float, Ge(0)] = 0.01
    """Weight decay of AdamW."""
    device: str = "cpu"
    """Where the network lives: "auto", "cpu" or "cuda"."""
    threads: Annotated[int, Ge(1)] = 1
    """CPU threads of torch."""
    overwrite: bool = False
    """Replace what an earlier pretraining wrote."""

    def __post_init__(self) -> None:
        """Refuse values that do not go together, or that their annotations do not allow."""
        check_arguments(self)
        names = pretexts()
        if self.pretext not in names:
            rule = f"pretext must be one of {', '.join(names)}, got {self.pretext!r}"
            raise ValueError(rule + did_you_mean(self.pretext, names))
        if self.steps is not None and self.minutes is not None:
            raise ValueError(f"minutes must be left out where steps are given, got {self.minutes}")
        if self.out.suffix != ".pt":
            raise ValueError(f"out must be a file that ends in .pt, got {self.out}")
        self.check_source()

    @property
    def model_options(self) -> dict[str, Any]:
        """Options of the pretext."""
        named = {} if self.backbone is None else {"backbone": self.backbone}
        return {**named, **parse_args(self.options)}


def pretexts() -> list[str]:
    """Names of all pretexts."""
    return [name for name in list_models() if issubclass(model_class(name), Pretext)]


def pretrain(config: PretrainConfig) -> dict[str, float]:
    """Train, write the backbone's weights, a picture of what the pretext sees and predicts, and its figures.

    Ctrl-C ends the training early; what was learned so far is written.

    Returns:
        The loss and the figures on validation images; on those of training where there are fewer than two.

    Raises:
        FileExistsError: one of the files is there already, and ``overwrite`` is off.
        IsADirectoryError: a folder has the name of the weights.
        ValueError: an option is wrong, the images have nothing to learn from, or the loss is not finite at the end.
        SystemExit: Ctrl-C ended it, with code 130.
    """
    device, console = found_device(config.device), Console(soft_wrap=True)
    check_files(config)
    kind: Any = model_class(config.pretext)
    kind.check_options(config.model_options)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    form = (config.model_options.get(name) for name in ("side", "channels"))
    train, val, traits = images_of(config, *form)
    about = f"{len(train)} images of {train.shape[1]} x {train.shape[2]} x {train.shape[3]}"
    net = kind.for_images(train, {**traits, **config.model_options}).to(device)
    work = PretextTrainer(config, net, train, val, device)
    console.print(f"{config.pretext}: {about}, {work.held_out or 'none'} for validation")
    config.out.parent.mkdir(parents=True, exist_ok=True)
    code = 0
    try:
        for line in work.run(console):
            console.print(line)
    except KeyboardInterrupt:
        code = 130
    figures = write(config, work)
    words = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    ended = f"stopped after {work.step} steps" if code else f"{work.step} steps"
    console.print(f"{ended}, {work.spent:.0f} s; {words}; the weights are in {config.out}")
    if code:
        raise SystemExit(code)
    return figures


def check_files(config: PretrainConfig) -> None:
    """Refuse to write where something is, see ``pretrain``."""
    out = config.out
    if out.is_dir():
        raise IsADirectoryError(f"out must be a file, {out} is a folder")
    places = [out, out.with_suffix(".png"), out.with_suffix(".json"), out.with_name(f"{out.stem}{FOLDER}")]
    there = [place for place in places if place.exists()]
    if there and not config.overwrite:
        raise FileExistsError(f"out must be new, {there[0]} is there; --overwrite replaces it")


def write(config: PretrainConfig, work: PretextTrainer) -> dict[str, float]:
    """Write weights, picture, figures and the whole pretext; returns the figures, see ``pretrain``.

    Raises:
        ValueError: the loss is not finite; nothing is written.
    """
    net, out = work.model, config.out
    figures = net.evaluate((), {"images": work.val})
    if not math.isfinite(figures["loss"]):
        raise ValueError(
            f"loss must be finite, got {figures['loss']} after {work.step} steps; try a smaller lr than {config.lr}"
        )
    save(out, {key: value.detach().cpu() for key, value in net.backbone.state_dict().items()})
    chosen = torch.randperm(len(work.val), generator=torch.Generator().manual_seed(1))[:SHOWN]
    picture = net.picture(work.val[chosen].to(device_of(net)), torch.Generator().manual_seed(1))
    write_png(out.with_suffix(".png"), picture)
    save_model(net, out.with_name(f"{out.stem}{FOLDER}"))
    plain = {name: str(x) if isinstance(x, Path) else x for name, x in asdict(config).items()}
    found = {"figures": figures, "steps": work.step, "seconds": round(work.spent, 1), "curve": work.curve}
    about = {"images": work.count, "validation": work.held_out, "channels": net.channels, "side": net.side}
    write_json(out.with_suffix(".json"), {"config": plain, **about, **found})
    return figures


class PretextTrainer(Trainer):
    """The training of a pretext, in rounds of equal length; the weights that count are the last.

    Args:
        config: of the run.
        net: the pretext.
        train: (N, C, S, S) uint8, on the CPU.
        val: likewise; where there are fewer than two, images of training are scored.
        home: device of the network.

    Attributes:
        held_out: images of validation.
        val: images that are scored.
        spent: seconds spent learning, by ``clock``.
    """

    unit = "round"
    model: Pretext
    clock = staticmethod(time.perf_counter)

    def __init__(
        self, config: PretrainConfig, net: Pretext, train: Tensor, val: Tensor, home: str = "cpu"
    ) -> None:
        self.held_out = len(val) if len(val) > 1 else 0
        self.rows, self.val = net.split(train), val if self.held_out else train
        size = min(config.batch_size, len(self.rows["images"]))
        plain = TrainerConfig(
            epochs=ROUNDS,
            batch_size=max(2, size),
            lr=config.lr,
            weight_decay=config.weight_decay,
            seed=config.seed,
            device=home,
        )
        self.score_name = net.score_name
        super().__init__(plain, net, len(self.rows["images"]))
        self.limit = None if config.minutes is None else 60 * config.minutes
        self.steps = config.steps or STEPS
        self.spent, self.order = 0.0, torch.zeros(0, dtype=torch.int64)

    @property
    def done(self) -> float:
        """Share of the training that is done: of the time, or of the steps."""
        return self.step / self.steps if self.limit is None else self.spent / self.limit

    def train_epoch(self) -> float:
        """One round; its mean loss."""
        self.model.train()
        losses: list[float] = []
        while not losses or self.done < (self.epoch + 1) / ROUNDS:
            began = self.clock()
            losses.append(self.update(self.next_rows()))
            self.spent += self.clock() - began
        return sum(losses) / len(losses)

    def next_rows(self) -> Tensor:
        """The next images of a pass over all of them, (B,) int64; what fills no batch is left out."""
        size = self.config.batch_size
        if len(self.order) < size:
            self.order = torch.randperm(self.count, generator=self.chance)
        rows, self.order = self.order[:size], self.order[size:]
        return rows

    def loss(self, rows: Tensor) -> Tensor:
        """The pretext's loss of some images."""
        batch = {name: part[rows].to(self.config.device) for name, part in self.rows.items()}
        return self.model.objective(batch, self.chance)[0]

    def score(self) -> float:
        """The pretext's score on the validation images."""
        return self.model.evaluate((), {"images": self.val})[self.score_name]

    def stale(self) -> bool:
        """No: a pretext's own score is not what it is for. The training is over where all its steps are done."""
        return self.done >= 1
