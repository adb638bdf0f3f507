"""Training a registered model: one function, from a config to a folder that ``load_model`` reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from rich.console import Console
from torch import Tensor

from visionrl.agents.networks.device import found_device
from visionrl.agents.training.lock import locked
from visionrl.agents.training.pairs import parse_args
from visionrl.agents.training.run_files import read_json, write_json, write_text
from visionrl.backbones import make_backbone
from visionrl.backbones._weights import read_weights
from visionrl.datasets import ImageSample, QuestionSample, load
from visionrl.models import Model, load_model, model_class, save_model
from visionrl.models._files import CARD, HOME, folder_of
from visionrl.models._model import Split, options_of
from visionrl.supervised import runs
from visionrl.supervised.trainer import Trainer, TrainerConfig

OF_TRAINING = ("pretrained", "frozen", "dropout")  # options that leave a network's form as it is


@dataclass(frozen=True, kw_only=True)
class ModelConfig(TrainerConfig):
    """One training run of a model."""

    model: str = "show_attend_and_tell"
    """Name of the model, see ``visionrl list --models``."""
    data: str | None = None
    """"scenes", "many-scenes", "captions:FOLDER", "questions:FOLDER", ...; by default the model's embedded set."""
    skip_bad: bool = False
    """Leave out samples that cannot be read, with a warning that counts and names them."""
    split_file: str | None = None
    """File that says which samples are for training, validation and test."""
    options: tuple[str, ...] = ()
    """Options of the model, each "name=value" with a JSON value or a word: width=128."""
    start: str | None = None
    """Folder or name of a trained model whose trunk this one starts from, or, if it is of the same kind, all weights;
    --options frozen=true keeps the trunk."""
    weights: str | None = None
    """File with weights of the trunk's backbone, such as published ones; --options frozen=true keeps them."""
    epochs: Annotated[int, Ge(1)] = 20
    """At most so many passes over the training split."""
    batch_size: Annotated[int, Ge(2)] = 64
    """Images in a step."""
    lr: Annotated[float, Ge(0)] = 2e-3
    """Highest learning rate of AdamW; it falls to 0 along a cosine, after a warm-up of a twentieth of the steps."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        data = (self.data or model_class(self.model).data).partition(":")[0]
        return Path(self.out) / (self.name or f"{data}-{self.model}-s{self.seed}")


def train_model(config: ModelConfig) -> Path:
    """Train, keep the weights that are best on the validation split, test these once, write it all down.

    The run's folder then holds ``model.json`` and ``model.pt`` for ``load_model``; ``config.json``; ``metrics.json``;
    and ``checkpoint.pt``, from which ``resume=True`` goes on after its last whole epoch. All are read without pickle.
    Ctrl-C ends the training early: the best weights so far are written, and the test split is left alone.

    Returns:
        The run's folder.

    Raises:
        FileNotFoundError: there is no such model to start from, or no such weights.
        ValueError: the folder holds a run already and ``resume`` is off, another process has it, the config differs
            from that of the run to resume, or the data have nothing to learn from.
    """
    config = replace(config, device=found_device(config.device))
    console, run = Console(), config.folder
    model_class(config.model).check_options(parse_args(config.options))
    if config.start is not None:
        folder_of(config.start, "start")  # at once: the data may take a minute
    read_weights(config.weights)
    runs.check_run(config, run, read_run)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    samples_of(config, "test")  # a split that is not there is refused before the training
    work = ModelTrainer(config)
    run.mkdir(parents=True, exist_ok=True)
    with locked(run):
        runs.check_run(config, run, read_run)  # another process may have begun it in the meantime
        runs.learn(config, run, work, {}, work.write, console)
        report(config, work, console)
    return run


def report(config: ModelConfig, work: ModelTrainer, console: Console) -> None:
    """Test the best weights, once, and write ``metrics.json``."""
    samples = samples_of(config, "test")
    work.model.load_state_dict(work.best)
    found = work.model.evaluate(samples, work.model.encode(samples))
    best = max(row[work.score_name] for row in work.curve)
    about = {"samples": len(samples), "seconds": round(work.seconds, 1), "epochs": work.epoch}
    about |= {"parameters": work.model.parameter_count, f"val_{work.score_name}": best}
    write_json(config.folder / "metrics.json", {"test": found, **about, "curve": work.curve})
    words = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
    console.print(f"test: {words}; {work.seconds:.0f} s of training; saved in {config.folder}")


def ship_model(
    run: str | Path,
    name: str,
    summary: str,
    limits: Sequence[str],
    bits: Literal[8, 16, 32],
    home: Path = HOME,
) -> Path:
    """Write a finished run as a model to come with the library, with its card; returns its folder.

    The figures are those of the model as it is written, on the test split.

    Args:
        run: the run's folder.
        name: of the model.
        summary: what the model does, a sentence.
        limits: what it cannot do, a sentence each.
        bits: of a number, see ``save_model``.
        home: the folder of all such models.
    """
    config = read_run(Path(run))
    save_model(load_model(run), home / name, bits)
    model, samples = load_model(home / name), samples_of(config, "test")
    found = model.evaluate(samples, model.encode(samples))
    data = config.data or model.data
    commands = {QuestionSample: 'ask {} IMAGE "QUESTION"', ImageSample: "classify {} FILES --support FOLDER"}
    command = commands.get(model.kind, "caption {} IMAGES").format(name)
    lines = [f"visionrl train-model --model {config.model} --data {data} --epochs {config.epochs}"]
    lines.append(f"--batch-size {config.batch_size} --lr {config.lr} --seed {config.seed}")
    lines += [f"--start {Path(config.start).name}"] if config.start else []
    lines += [f"--weights {Path(config.weights).name}"] if config.weights else []
    lines += [f"--options {' '.join(config.options)}"] if config.options else []
    blocks = [
        f"# {name}",
        summary,
        f"```\nvisionrl {command}\n```",
        f"* Model: `{config.model}`, {model.parameter_count:,} parameters, {bits} bits each\n"
        f"* Data: the training split of the embedded set `{data}`",
        f"```\n{' '.join(lines)}\n```",
        "## Figures",
        f"Test split, {len(samples)} samples:",
        "| metric | value |\n| --- | --- |\n" + "\n".join(f"| {key} | {x:.3f} |" for key, x in found.items()),
        "## Limits",
        "\n".join(f"* {limit}" for limit in limits),
    ]
    write_text(home / name / CARD, "\n\n".join(blocks) + "\n")
    return home / name


def samples_of(config: ModelConfig, split: str) -> tuple[Any, ...]:
    """The samples of a split that the model can learn from."""
    model = model_class(config.model)
    given: dict[str, Any] = {"split_file": config.split_file, "skip_bad": config.skip_bad}
    return load(config.data, kind=model.kind, default=model.data, split=split, **given)


def read_run(run: Path) -> ModelConfig:
    """The config of a run.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: ``config.json`` is not one of a model's run; names the field.
    """
    path = run / "config.json"
    plain = read_json(path).get("config")
    known = {field.name for field in fields(ModelConfig)}
    if not isinstance(plain, dict) or set(plain) - known:
        raise ValueError(f"{path} must hold the config of a model, with no fields but {', '.join(known)}")
    try:
        return ModelConfig(**{**plain, "options": tuple(plain.get("options", ()))})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


class ModelTrainer(Trainer):
    """The training of a model; the best weights are those of the highest score on the validation split.

    Args:
        config: of the run.
        train: samples to learn from; by default those of the config's data.
        val: samples to choose weights by; likewise.
    """

    most_gradient = 5.0  # recurrent layers can blow gradients up
    model: Model

    def __init__(
        self, config: ModelConfig, train: Sequence[Any] | None = None, val: Sequence[Any] | None = None
    ) -> None:
        self.samples = samples_of(config, "val") if val is None else val
        train = samples_of(config, "train") if train is None else train
        net = model_class(config.model).for_samples(train, parse_args(config.options)).to(config.device)
        if config.start is not None:
            start_from(net, load_model(config.start))
        if config.weights is not None:
            read_trunk(net, config.weights)
        self.train_split = net.cached(net.augmented(net.encode(train)))
        self.val_split = net.cached(net.encode(self.samples))
        self.score_name = net.score_name
        super().__init__(config, net, len(next(iter(self.train_split.values()))))
        self.steps = net.steps_per_epoch(self.count, config.batch_size) * config.epochs

    def batches(self) -> Iterator[Tensor]:
        """The rows of each step of an epoch, as the model wants them."""
        return self.model.batches(self.train_split, self.config.batch_size, self.chance)

    def loss(self, rows: Tensor) -> Tensor:
        """The model's loss of some rows."""
        batch: Split = {name: part[rows].to(self.config.device) for name, part in self.train_split.items()}
        with self.autocast():
            return self.model.loss(batch)

    def score(self) -> float:
        """The model's score on the validation split."""
        return self.model.evaluate(self.samples, self.val_split)[self.score_name]

    def write(self, run: Path, best: Mapping[str, Tensor]) -> None:
        """Write the best weights into a folder; nothing before the first epoch's end."""
        if best:
            now = {key: value.clone() for key, value in self.model.state_dict().items()}
            self.model.load_state_dict(dict(best))
            save_model(self.model, run)
            self.model.load_state_dict(now)


def read_trunk(net: Model, weights: str) -> None:
    """Give a model's trunk the weights of its backbone in a file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the model has no trunk, options ask for other weights, or those of the file do not fit.
    """
    image = getattr(net, "image", None)
    if image is None:
        raise ValueError(f"weights must be left out for {net.name}, which has no trunk for them")
    if net.options.get("pretrained"):
        raise ValueError("weights must be left out with pretrained=true, which has its own")
    name = net.options.get("backbone", options_of(type(net))["backbone"].default)
    trunk = make_backbone(name, image.channels, weights=weights, image_size=image.side)
    image.trunk.load_state_dict(trunk.state_dict())


def start_from(net: Model, other: Model) -> None:
    """Give a model the trunk of another one, and what else its encoder of images has of the same shape.

    Of a model of the same name, words and sizes it takes all weights.

    Raises:
        ValueError: the model has no trunk, or the other one another.
    """
    forms = [{key: x for key, x in model.options.items() if key not in OF_TRAINING} for model in (other, net)]
    if other.name == net.name and forms[0] == forms[1]:
        net.load_state_dict(other.state_dict())
        return
    given, own = ({k: x for k, x in m.state_dict().items() if k.startswith("image.")} for m in (other, net))
    if not own:
        raise ValueError(f"start must be left out for {net.name}, which sees no image")
    alike = {key for key, value in own.items() if key in given and given[key].shape == value.shape}
    for key, value in own.items():
        if key.startswith("image.trunk.") and key not in alike:
            raise ValueError(f"start must have the model's trunk, {key} of {tuple(value.shape)}")
    net.load_state_dict({**net.state_dict(), **{key: given[key] for key in alike}})
