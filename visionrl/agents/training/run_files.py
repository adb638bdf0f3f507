"""The plain files of a run's folder: what it was made of, its curve, its numbers."""

from __future__ import annotations

import csv
import io
import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from visionrl.agents.training.config import TrainConfig
from visionrl.rendering import replacing

PACKAGES = ("gymnasium", "numpy", "opencv-python-headless", "sb3-contrib", "stable-baselines3", "torch")


def write_text(path: Path, text: str) -> None:
    """Write a file that is there in full or not at all."""
    with replacing(path) as part:
        part.write_text(text)


def write_json(path: Path, value: Any) -> None:
    """Write plain values for people and programs."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_config(run: Path, config: TrainConfig, observations: Space, actions: Space) -> None:
    """Write ``config.json``: the config, the spaces, the command, and the versions it ran with."""
    from visionrl import __version__

    found = {"python": platform.python_version(), "visionrl": __version__}
    write_json(
        run / "config.json",
        {
            "config": config.to_dict(),
            "observation_space": space_to_json(observations),
            "action_space": space_to_json(actions),
            "command": shlex.join(sys.argv),
            "versions": {**found, **{name: version(name) for name in PACKAGES}},
        },
    )


def read_config(run: Path) -> tuple[TrainConfig, spaces.Dict, Space]:
    """The config and the spaces of a run.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: the file is not as ``write_config`` writes it.
    """
    found = json.loads((run / "config.json").read_text())
    if missing := {"config", "observation_space", "action_space"} - set(found):
        raise ValueError(
            f"{run / 'config.json'} must have {', '.join(sorted(missing))}; is it of a training run?"
        )
    observations = space_from_json(found["observation_space"])
    if not isinstance(observations, spaces.Dict):
        raise ValueError(f"observation_space must be a dict, got {observations}")
    return TrainConfig.from_dict(found["config"]), observations, space_from_json(found["action_space"])


def space_to_json(space: Space) -> dict[str, Any]:
    """A space as plain values.

    Raises:
        ValueError: another kind of space than tasks have.
    """
    if isinstance(space, spaces.Dict):
        return {"kind": "dict", "spaces": {key: space_to_json(inner) for key, inner in space.items()}}
    if isinstance(space, spaces.Box):
        low, high = (
            x.flat[0].item() if (x == x.flat[0]).all() else x.tolist() for x in (space.low, space.high)
        )
        return {"kind": "box", "low": low, "high": high, "shape": space.shape, "dtype": str(space.dtype)}
    if isinstance(space, spaces.Discrete):
        return {"kind": "discrete", "n": int(space.n)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"kind": "multidiscrete", "nvec": space.nvec.tolist()}
    raise ValueError(f"space must be Dict, Box, Discrete or MultiDiscrete, got {space}")


def space_from_json(plain: Mapping[str, Any]) -> Space:
    """The space that ``space_to_json`` described."""
    if plain["kind"] == "dict":
        return spaces.Dict({key: space_from_json(inner) for key, inner in plain["spaces"].items()})
    if plain["kind"] == "box":
        dtype = np.dtype(plain["dtype"])
        low, high = (np.full(plain["shape"], plain[side], dtype) for side in ("low", "high"))
        return spaces.Box(low, high, dtype=dtype.type)
    if plain["kind"] == "discrete":
        return spaces.Discrete(plain["n"])
    return spaces.MultiDiscrete(plain["nvec"])


def write_curve(run: Path, curve: Sequence[Mapping[str, float]]) -> None:
    """Write ``curve.csv``, one line per evaluation on the validation split."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(curve[0]) if curve else ["timesteps"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(curve)
    write_text(run / "curve.csv", text.getvalue())


def plot_curve(run: Path, curve: Sequence[Mapping[str, float]], metric: str) -> None:
    """Draw ``curve.png``: a metric on the validation split, and the return in training, over the steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    steps = [row["timesteps"] for row in curve]
    for axes, key, name in zip(
        figure.subplots(1, 2),
        (metric, "train_return"),
        (f"{metric}, validation", "return, training"),
        strict=True,
    ):
        axes.plot(steps, [row[key] for row in curve], marker="o", markersize=3)
        axes.set_xlabel("steps")
        axes.set_title(name, fontsize=10)
        axes.grid(alpha=0.3)
    with replacing(run / "curve.png") as part:
        figure.savefig(part, format="png", dpi=110)
