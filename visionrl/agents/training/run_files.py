"""The plain files of a run's folder: its config, its curve, its numbers; and whether and how a run goes on."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import platform
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval
from gymnasium import Space, spaces

from visionrl.agents.shipped import HOME
from visionrl.agents.training.config import DECIDED, TrainConfig
from visionrl.agents.training.pairs import format_args, parse_args
from visionrl.core import UnknownArgumentError, checked, did_you_mean
from visionrl.core.capabilities import pixels_of
from visionrl.rendering import replacing

PACKAGES = ("gymnasium", "numpy", "opencv-python-headless", "sb3-contrib", "stable-baselines3", "torch")
MAY_CHANGE = ("timesteps", "resume", "out", "name")  # when a run is resumed

LARGEST_SPACE = 2**23  # elements of a space; a volume of 160^3 voxels has half of them
ELEMENTS = Annotated[int, Interval(ge=1, le=LARGEST_SPACE)]
MOST_AXES = 8
DTYPES = ("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "bool")


def write_text(path: Path, text: str) -> None:
    """Write a file that is there in full or not at all."""
    with replacing(path) as part:
        part.write_text(text)


def write_json(path: Path, value: Any) -> None:
    """Write plain values for people and programs."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object of a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, no object, or nested too deeply; names the file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"a run must have {path}, which is not there") from None
    except NotADirectoryError:
        raise NotADirectoryError(f"a run must be a folder, got {path.parent}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be a JSON file: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(found).__name__}")
    return found


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
            "command": command_line(sys.argv),
            "versions": {**found, **{name: version(name) for name in PACKAGES}},
        },
    )


def command_line(words: Sequence[str]) -> str:
    """A command as it is typed: the program of the library without the folder where it is installed."""
    own = Path(words[0]).name in ("visionrl", "__main__.py")
    return shlex.join(["visionrl", *words[1:]] if own else words)


def folder_of(run: str | Path) -> Path:
    """The folder of a run, or of an agent that comes with the library where there is no run of this name."""
    own, known = Path(run), HOME / Path(run).name
    return known if str(run) == known.name and not (own / "config.json").is_file() and known.is_dir() else own


def read_config(run: Path) -> tuple[TrainConfig, spaces.Dict, Space]:
    """The config and the spaces of a run.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: the file is not as ``write_config`` writes it.
    """
    path = run / "config.json"
    if not path.is_file():
        hint = "" if run.exists() else did_you_mean(run.name, [home.name for home in HOME.iterdir()])
        from visionrl.models import shipped_models

        if str(run) in {one.name for one in shipped_models()}:
            hint = ", it is a model: visionrl caption, visionrl ask"
        raise FileNotFoundError(f"a run's folder must have config.json, {run} has none{hint}")
    found = read_json(path)
    if missing := {"config", "observation_space", "action_space"} - set(found):
        raise ValueError(f"{path} must have {', '.join(sorted(missing))}; is it of a training run?")
    try:
        observations = space_from_json(found["observation_space"])
        if not isinstance(observations, spaces.Dict):
            raise ValueError(f"observation_space must be a dict, got {observations}")
        return TrainConfig.from_dict(found["config"]), observations, space_from_json(found["action_space"])
    except (ValueError, UnknownArgumentError) as error:
        raise ValueError(f"{path}: {error}") from None


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
    if found := pixels_of(space):
        return {"kind": "pixels", "shape": found[:2], "n": found[2]}
    if isinstance(space, spaces.MultiDiscrete):
        return {"kind": "multidiscrete", "nvec": space.nvec.tolist()}
    raise ValueError(f"space must be Dict, Box, Discrete or MultiDiscrete, got {space}")


def space_from_json(plain: Mapping[str, Any]) -> Space:
    """The space that ``space_to_json`` described.

    Raises:
        ValueError: it is no description of a space, or one of more than ``LARGEST_SPACE`` elements.
    """
    kind = plain.get("kind") if isinstance(plain, Mapping) else None
    if kind == "dict" and isinstance(plain.get("spaces"), Mapping):
        inner = {str(key): space_from_json(value) for key, value in plain["spaces"].items()}
        if any(isinstance(space, spaces.Dict) for space in inner.values()):
            raise ValueError("a space must be a dict of spaces that are none, got a dict in a dict")
        return spaces.Dict(inner)
    if kind == "box":
        return box_from_json(plain)
    if kind == "discrete":
        return spaces.Discrete(checked("n", ELEMENTS, plain.get("n")))
    if kind == "multidiscrete":
        return spaces.MultiDiscrete(checked("nvec", tuple[ELEMENTS, ...], plain.get("nvec")))
    if kind == "pixels":
        height, width = checked("shape", tuple[ELEMENTS, ELEMENTS], plain.get("shape"))
        if height * width > LARGEST_SPACE:
            raise ValueError(f"shape must have at most {LARGEST_SPACE} elements, got {height} x {width}")
        return spaces.MultiDiscrete(np.full((height, width), checked("n", ELEMENTS, plain.get("n"))))
    rule = "a space must be of kind dict, box, discrete, multidiscrete or pixels"
    raise ValueError(f"{rule}, got {str(plain)[:80]}")


def box_from_json(plain: Mapping[str, Any]) -> spaces.Box:
    """The box that ``space_to_json`` described.

    Raises:
        ValueError: it is none; nothing of its size has been allocated.
    """
    shape = checked("shape", tuple[ELEMENTS, ...], plain.get("shape"))
    if len(shape) > MOST_AXES or math.prod(shape) > LARGEST_SPACE:
        rule = f"shape must have at most {MOST_AXES} axes and {LARGEST_SPACE} elements"
        raise ValueError(f"{rule}, got {shape[: MOST_AXES + 1]}")
    name = plain.get("dtype")
    if name not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {str(name)[:80]!r}")
    dtype = np.dtype(name)
    try:
        low, high = (np.full(shape, plain.get(side), dtype) for side in ("low", "high"))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"low and high must be numbers of {name}, one or {shape}") from None
    return spaces.Box(low, high, dtype=dtype.type)


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


def is_finished(run: Path, timesteps: int) -> bool:
    """Tell if a run has all its results after so many steps."""
    metrics = run / "metrics.json"
    done = read_json(metrics).get("timesteps") if metrics.is_file() else None
    return isinstance(done, int) and done >= timesteps


def inherit(config: TrainConfig, earlier: TrainConfig) -> TrainConfig:
    """The config of a resumed run: what is not given is as it was before.

    Raises:
        ValueError: something given is not; ``timesteps`` alone may grow.
    """
    recall = () if config.memory == "none" else ("recall",)
    sizes = {
        name: x if (x := getattr(config, name)) is not None else getattr(earlier, name)
        for name in ("algo", "preset", *DECIDED, *recall)
    }
    if sizes["preset"] == "none":
        sizes["preset"] = None
    env = {**parse_args(earlier.env_args), **parse_args(config.env_args)}
    train = {**parse_args(earlier.train_args), **parse_args(config.train_args)}
    algo = {**earlier.algo_kwargs, **config.algo_kwargs}
    wanted = replace(
        config,
        **sizes,
        env_args=format_args(env),
        train_args=format_args(train),
        algo_args=format_args(algo),
        recipe=earlier.recipe,
    )
    check_same(wanted, earlier, MAY_CHANGE)
    if (wanted.timesteps or 0) < (earlier.timesteps or 0):
        raise ValueError(
            f"timesteps must be >= {earlier.timesteps} of the resumed run, got {wanted.timesteps}"
        )
    return wanted


def check_new(run: Path) -> None:
    """Refuse to write into a folder that holds something.

    What a process left that was killed before it wrote its config does not count.

    Raises:
        ValueError: it does.
        OSError: it is in no folder, or cannot be written.
    """
    held = [path.name for path in run.iterdir()] if run.is_dir() else []
    if [name for name in held if not name.startswith(".") and name != "splits.json"] or run.is_file():
        raise ValueError(
            f"{run} exists; continue it with --resume, or give the new run another --name or --seed"
        )
    here = next(above for above in (run, *run.absolute().parents) if above.exists())
    if not here.is_dir():
        raise NotADirectoryError(f"out must be in a folder, {here} is a file")
    if not os.access(here, os.W_OK):
        raise PermissionError(f"out must be in a folder that can be written, {here} can not")


def check_same(now: Any, before: Any, may_change: Collection[str]) -> None:
    """Refuse to go on with a run under another config, a dataclass.

    Raises:
        ValueError: names the field that differs.
    """
    for field in fields(now):
        new, old = getattr(now, field.name), getattr(before, field.name)
        if field.name not in may_change and new != old:
            raise ValueError(f"{field.name} must be as in the run that is resumed, {old!r}, got {new!r}")
