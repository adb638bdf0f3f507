"""What a training run is made of: one dataclass, which the command line and ``config.json`` both show."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from visionrl.core import check_choice, entry_of

ALGOS = ("dqn", "ppo", "a2c", "qrdqn")
MAY_CHANGE = ("timesteps", "resume", "out", "name")  # when a run is resumed


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    What is None, and every argument of the task and the algorithm that is not given, comes from the presets
    file of the task (``visionrl/agents/presets/<task>.toml``), else from the defaults of the task and the
    algorithm.
    """

    env: str = "visionrl/LandmarkLocalization-v0"
    """Id of the task."""
    preset: str | None = None
    """Name of a paper whose constants the task uses."""
    algo: Literal["dqn", "ppo", "a2c", "qrdqn"] = "dqn"
    """Algorithm."""
    backbone: str = "small"
    """Name of the network that reads the images."""
    pretrained: bool = False
    """Start the backbone from its published ImageNet weights."""
    frozen: bool = False
    """Keep the backbone's weights and statistics as they are."""
    weights: str | None = None
    """A file of weights for the backbone."""
    num_envs: int | None = None
    """Episodes that run at a time."""
    device: str = "auto"
    """Where the networks live: "cpu", "cuda", or "auto"."""
    threads: int = 1
    """CPU threads of torch. More pay for large backbones on idle cores; where cores are shared they cost dearly."""
    timesteps: int | None = None
    """Steps of training, all episodes together."""
    seed: int = 0
    """Seed of everything."""
    data: str | None = None
    """Your own data, "FORMAT:PATH"; None for the embedded set."""
    classes: tuple[str, ...] = ()
    """Keep only the points or boxes of these names."""
    split_file: str | None = None
    """File that says which samples are for training, validation and test."""
    split_ratios: tuple[float, float, float] | None = None
    """Shares of training, validation and test, where the data come without a split."""
    env_args: tuple[str, ...] = ()
    """Further arguments of the task, each "name=value" with a JSON value or a word: window=45 views=stage."""
    algo_args: tuple[str, ...] = ()
    """Further arguments of the algorithm, in the same form: learning_rate=1e-3 gamma=0.95."""
    eval_every: int | None = None
    """Steps between evaluations on the validation split; a tenth of the run by default."""
    eval_episodes: int | None = None
    """Episodes of each of these evaluations; 64 by default."""
    test_episodes: int | None = None
    """Episodes of the evaluation on the test split at the end; None lets the task's data decide."""
    checkpoint_every: int = 50_000
    """Steps between checkpoints."""
    out: str = "runs"
    """Folder of the runs."""
    name: str | None = None
    """Name of the run's own folder; made of task, algorithm, backbone and seed by default."""
    resume: bool = False
    """Continue the run from its last checkpoint."""
    presets: bool = True
    """Take what is not given from the presets file of the task."""

    def __post_init__(self) -> None:
        check_choice("algo", self.algo, ALGOS)
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", self.device):
            raise ValueError(f"device must be auto, cpu, cuda, cuda:N or mps, got {self.device!r}")
        entry_of(self.env)
        parse_args(self.env_args)
        parse_args(self.algo_args)
        for name in (
            "num_envs",
            "threads",
            "timesteps",
            "eval_every",
            "eval_episodes",
            "test_episodes",
            "checkpoint_every",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")

    @property
    def folder(self) -> Path:
        """The run's folder."""
        task = entry_of(self.env).id.removeprefix("visionrl/")
        return Path(self.out) / (self.name or f"{task}-{self.algo}-{self.backbone}-s{self.seed}")

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """Arguments of the environment, without the split."""
        given = {
            "preset": self.preset,
            "data": self.data,
            "classes": self.classes,
            "split_file": self.split_file,
            "split_ratios": self.split_ratios,
        }
        return {**{key: value for key, value in given.items() if value}, **parse_args(self.env_args)}

    @property
    def algo_kwargs(self) -> dict[str, Any]:
        """Arguments of the algorithm."""
        return parse_args(self.algo_args)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> TrainConfig:
        """The config that ``to_dict`` (or JSON) describes.

        Raises:
            ValueError: there is a key that is no field.
        """
        known = {field.name for field in fields(TrainConfig)}
        if unknown := sorted(set(plain) - known):
            raise ValueError(f"config must have only the fields of TrainConfig, got {', '.join(unknown)}")
        lists: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()
        }
        return TrainConfig(**lists)


def parse_args(pairs: Iterable[str]) -> dict[str, Any]:
    """``("window=45", "views=stage")`` as ``{"window": 45, "views": "stage"}``; values are JSON, else words.

    Raises:
        ValueError: a pair without a name or an equals sign.
    """
    parsed = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not (name.isidentifier() and sign):
            raise ValueError(f"arguments must look like name=value, got {pair!r}")
        try:
            parsed[name] = json.loads(value)
        except json.JSONDecodeError:
            parsed[name] = value
    return parsed


def format_args(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The pairs that ``parse_args`` reads."""
    return tuple(f"{key}={json.dumps(value)}" for key, value in values.items())


def load_presets(env_id: str) -> dict[str, dict[str, Any]]:
    """The tables of a task's presets file; empty where there is none."""
    name = entry_of(env_id).id.removeprefix("visionrl/").rsplit("-v", 1)[0]
    path = files("visionrl.agents").joinpath("presets", f"{name}.toml")
    return tomllib.loads(path.read_text()) if path.is_file() else {}


def resolve(config: TrainConfig) -> TrainConfig:
    """The config with everything written out that the presets file and the defaults decide.

    The file's ``[env]`` table belongs to the task as it is by default, so a paper's constants (``preset``)
    replace it. Keys of an algorithm's table that are fields of the config fill what is None there.
    """
    tables = load_presets(config.env) if config.presets else {}
    env = {} if config.preset else tables.get("env", {})
    algo = dict(tables.get(config.algo, {}))
    run = {name: algo.pop(name, None) for name in ("num_envs", "timesteps", "eval_every", "eval_episodes")}
    default = {"num_envs": 16, "timesteps": 100_000, "eval_episodes": 64}
    chosen: dict[str, Any] = {key: getattr(config, key) or run[key] or default.get(key) for key in run}
    if (
        config.eval_every is None
    ):  # a tenth of the run; a shorter one than the presets' is seen four times at least
        rare = max(chosen["timesteps"] // (4 if chosen["eval_every"] else 10), 1)
        chosen["eval_every"] = min(chosen["eval_every"] or rare, rare)
    return replace(
        config,
        **chosen,
        presets=False,
        env_args=format_args({**env, **parse_args(config.env_args)}),
        algo_args=format_args({**algo, **parse_args(config.algo_args)}),
    )


def check_same(now: TrainConfig, before: TrainConfig) -> None:
    """Refuse to go on with a run under another config; ``timesteps`` may grow.

    Raises:
        ValueError: names the field that differs.
    """
    for field in fields(TrainConfig):
        new, old = getattr(now, field.name), getattr(before, field.name)
        if field.name not in MAY_CHANGE and new != old:
            raise ValueError(f"{field.name} must be as in the run that is resumed, {old!r}, got {new!r}")
    if (now.timesteps or 0) < (before.timesteps or 0):
        raise ValueError(f"timesteps must be >= {before.timesteps} of the resumed run, got {now.timesteps}")
