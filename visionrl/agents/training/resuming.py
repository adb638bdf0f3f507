"""Going on with a run that was stopped: whether there is one, whether it is over, and with which config."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from visionrl.agents.training.arguments import format_args, parse_args
from visionrl.agents.training.config import DECIDED, TrainConfig
from visionrl.agents.training.run_files import read_config

MAY_CHANGE = ("timesteps", "resume", "out", "name")  # when a run is resumed


def check_folder(config: TrainConfig) -> TrainConfig | None:
    """The config of the run to resume, or None for a new one.

    Raises:
        ValueError: there is something in a new run's folder, or nothing to resume.
    """
    run = config.folder
    if config.resume:
        if not (run / "config.json").is_file():
            raise ValueError(
                f"resume needs a run to continue, and {run} holds none; --name says which of {run.parent}"
            )
        return read_config(run)[0]
    check_new(run)
    return None


def finished(run: Path, timesteps: int) -> bool:
    """Whether a run has all its results after so many steps."""
    metrics = run / "metrics.json"
    return metrics.is_file() and json.loads(metrics.read_text())["timesteps"] >= timesteps


def inherit(config: TrainConfig, earlier: TrainConfig) -> TrainConfig:
    """The config of a resumed run: what is not given is as it was before.

    Raises:
        ValueError: something given is not; ``timesteps`` alone may grow.
    """
    sizes = {
        name: x if (x := getattr(config, name)) is not None else getattr(earlier, name)
        for name in ("algo", *DECIDED)
    }
    env = {**parse_args(earlier.env_args), **parse_args(config.env_args)}
    train = {**parse_args(earlier.train_args), **parse_args(config.train_args)}
    algo = {**earlier.algo_kwargs, **config.algo_kwargs}
    wanted = replace(
        config,
        **sizes,
        env_args=format_args(env),
        train_args=format_args(train),
        algo_args=format_args(algo),
        presets=earlier.presets,
    )
    check_same(wanted, earlier, MAY_CHANGE)
    if (wanted.timesteps or 0) < (earlier.timesteps or 0):
        raise ValueError(
            f"timesteps must be >= {earlier.timesteps} of the resumed run, got {wanted.timesteps}"
        )
    return wanted


def check_new(run: Path) -> None:
    """Refuse to write into a folder that holds something.

    Raises:
        ValueError: it does.
    """
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise ValueError(
            f"{run} exists; continue it with --resume, or give the new run another --name or --seed"
        )


def check_same(now: Any, before: Any, may_change: Collection[str]) -> None:
    """Refuse to go on with a run under another config, a dataclass.

    Raises:
        ValueError: names the field that differs.
    """
    for field in fields(now):
        new, old = getattr(now, field.name), getattr(before, field.name)
        if field.name not in may_change and new != old:
            raise ValueError(f"{field.name} must be as in the run that is resumed, {old!r}, got {new!r}")
