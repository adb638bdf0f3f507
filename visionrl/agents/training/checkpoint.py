"""Checkpoints from which a run goes on exactly as if it had never stopped; plain data, no pickle."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from visionrl.agents.sb3.recall import recall_in
from visionrl.agents.training.run_files import read_json
from visionrl.backbones._weights import read_tensors, write_tensors
from visionrl.ops import to_numpy
from visionrl.rendering.files import flush, writing
from visionrl.reward_models.self_critical import self_critical_in

FOLDER = "checkpoint"
PART = ".part"  # what is being written
NAME = re.compile(r"\d{12}(-\d{1,6})?")
SUMS = "checksums.json"
COUNTERS = (
    "num_timesteps",
    "_episode_num",
    "_n_updates",
    "_n_calls",
    "exploration_rate",
    "_current_progress_remaining",
)


def save_checkpoint(run: Path, model: Any, tensors: dict[str, Any], notes: dict[str, Any]) -> Path:
    """Write all that decides how a run goes on, into a folder in ``<run>/checkpoint``; older ones are removed.

    To be called between rollouts, when nothing is half done. It holds networks and optimizers, counters, the filled
    part of the replay buffer, the states of all random generators, the running episodes, and the checksums of these
    files. The folder, "000000000400" or, where the step has been written before, "000000000400-1", appears under its
    name only when it is complete and on the disk; nothing takes another's place, and older ones go last, so a kill at
    any moment leaves a whole checkpoint.

    Args:
        run: the run's folder.
        model: the algorithm, with an ``SB3VecEnv``.
        tensors: further tensors by name, or dicts of them.
        notes: further plain values.

    Raises:
        OSError: it cannot be written; the checkpoint before it is whole.
    """
    home = run / FOLDER
    part = home / PART
    try:
        with writing(home):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            saved = {**model.get_parameters(), "variables": _variables(model)}
            write_tensors(part / "tensors.pt", {**saved, "rng": _torch_rng(), "extra": tensors})
            _save_arrays(part, model)
            (part / "state.json").write_text(json.dumps({**_plain_state(model), "notes": notes}))
            seal(part)
            older = list_checkpoints(run)
            final = home / next_name(model.num_timesteps, older)
            os.replace(part, final)
            flush(home)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)  # gives its space back
        raise
    for old in older:
        shutil.rmtree(old)
    return final


def last_checkpoint(run: Path) -> Path | None:
    """The newest complete checkpoint of a run, or None where none has been written.

    Raises:
        ValueError: there are checkpoints, but none is whole; names a file.
    """
    found = list_checkpoints(run)
    whole = [folder for folder in found if not missing_part(folder)]
    if found and not whole:
        raise ValueError(f"the checkpoint must be whole, {missing_part(found[-1])}")
    return whole[-1] if whole else None


def list_checkpoints(run: Path) -> list[Path]:
    """The folders of a run's checkpoints, the newest last; other names, such as of copies, are left alone."""
    home = run / FOLDER
    found = [path for path in home.iterdir() if NAME.fullmatch(path.name)] if home.is_dir() else []
    return sorted(found, key=order_of)


def order_of(folder: Path) -> tuple[int, int]:
    """Step of a checkpoint, and how often it had been written before: by which they are ordered."""
    step, _, again = folder.name.partition("-")
    return int(step), int(again or 0)


def next_name(step: int, older: list[Path]) -> str:
    """A name for the checkpoint of a step that comes after those that are there."""
    times = [again + 1 for number, again in map(order_of, older) if number == step]
    return f"{step:012d}-{max(times)}" if times else f"{step:012d}"


def seal(folder: Path) -> None:
    """Write the sizes and checksums of a folder's files into ``checksums.json``, and bring it all to the disk."""
    sums = {
        path.name: {"bytes": path.stat().st_size, "sha256": digest(path)}
        for path in sorted(folder.iterdir())
        if path.name != SUMS
    }
    (folder / SUMS).write_text(json.dumps(sums, indent=1))
    for path in [*folder.iterdir(), folder]:
        flush(path)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def missing_part(folder: Path) -> str:
    """Describe the missing parts of a checkpoint, by the names and sizes of its files; "" where nothing is."""
    path = folder / SUMS
    try:
        sizes = {name: known["bytes"] for name, known in read_json(path).items()}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return f"{path} is missing or damaged"
    for name, size in sizes.items():
        path = folder / name
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != size:
            return f"{path} must have {size} bytes, it has {path.stat().st_size}"
    return ""


def check_sums(folder: Path) -> None:
    """Refuse a checkpoint with a file that is not as it was written.

    Raises:
        ValueError: names the file.
    """
    if missing := missing_part(folder):
        raise ValueError(f"the checkpoint must be whole, {missing}")
    for name, known in read_json(folder / SUMS).items():
        if digest(folder / name) != known.get("sha256"):
            raise ValueError(f"{folder / name} is damaged: its checksum must be as when it was written")


def load_checkpoint(folder: Path, model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Bring a newly built model and its environment to where a checkpoint was written.

    Returns:
        The further tensors and values that were saved with it.

    Raises:
        ValueError: a file is damaged, or does not fit the model; names the file.
    """
    check_sums(folder)
    tensors = read_tensors(folder / "tensors.pt")
    extra, rng, variables = (tensors.pop(name) for name in ("extra", "rng", "variables"))
    model.set_parameters(tensors, device=model.device)
    for name, value in _variables(model).items():
        value.data.copy_(variables[name])
    state = read_json(folder / "state.json")
    for name in COUNTERS:  # and no other attribute, whatever the file says
        if name in state["counters"]:
            setattr(model, name, state["counters"][name])
    model.ep_info_buffer = deque(state["episodes"], maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(state["successes"], maxlen=model._stats_window_size)
    _load_env(folder, model)
    _load_buffer(folder, model, state["buffer"])
    _set_rng(model, state["rng"], rng)
    return extra, state["notes"]


def _plain_state(model: Any) -> dict[str, Any]:
    """Counters and generators of a model as JSON."""
    buffer = getattr(model, "replay_buffer", None)
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 (the generator that Stable-Baselines3 uses)
    return {
        "counters": {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)},
        "episodes": list(model.ep_info_buffer),
        "successes": list(model.ep_success_buffer),
        "buffer": None if buffer is None else {"pos": buffer.pos, "full": buffer.full},
        "rng": {
            "python": random.getstate(),
            "numpy": [kind, np.asarray(keys).tolist(), *rest],
            "actions": model.action_space.np_random.bit_generator.state,
        },
    }


def _variables(model: Any) -> dict[str, torch.Tensor]:
    """Learnt parameters outside of the networks: SAC's entropy coefficient."""
    return {name: getattr(model, name) for name in model._get_torch_save_params()[1]}


def _torch_rng() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_rng(model: Any, plain: dict[str, Any], tensors: dict[str, Any]) -> None:
    """Set every generator as it was."""
    version, numbers, gauss = plain["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, *rest = plain["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))  # noqa: NPY002
    model.action_space.np_random.bit_generator.state = plain["actions"]
    torch.set_rng_state(tensors["cpu"])
    if tensors["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(tensors["cuda"])


def _save_arrays(folder: Path, model: Any) -> None:
    """The running episodes, and the replay buffer's filled part, one file an array."""
    env = model.get_env().unwrapped
    episodes = {"returns": env.returns, "lengths": env.lengths, "starts": model._last_episode_starts}
    snapshot = {f"env.{key}": value for key, value in env.venv.snapshot().items()}
    seen: dict[str, Any] = {f"seen.{key}": to_numpy(value) for key, value in model._last_obs.items()}
    memory: dict[str, Any] = {
        f"memory.{number}": to_numpy(value) for number, value in enumerate(memory_of(model))
    }
    critic = self_critical_in(model.get_env())
    baseline: dict[str, Any] = (
        {f"baseline.{key}": value for key, value in critic.snapshot().items()} if critic else {}
    )
    np.savez(folder / "episodes.npz", **episodes, **snapshot, **seen, **memory, **baseline)
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        for name, array in _arrays_of(buffer):
            filled = array[: len(array) if buffer.full else buffer.pos]
            np.save(folder / f"{name}.npy", filled, allow_pickle=False)


def _load_env(folder: Path, model: Any) -> None:
    """The running episodes."""
    env = model.get_env().unwrapped
    with np.load(folder / "episodes.npz", allow_pickle=False) as saved:
        env.returns[:], env.lengths[:] = saved["returns"], saved["lengths"]
        model._last_episode_starts = saved["starts"]
        for number, value in enumerate(memory_of(model)):
            value.copy_(torch.as_tensor(saved[f"memory.{number}"]))
        snapshot = {key.removeprefix("env."): saved[key] for key in saved if key.startswith("env.")}
        model._last_obs = {key.removeprefix("seen."): saved[key] for key in saved if key.startswith("seen.")}
        baseline = {key.removeprefix("baseline."): saved[key] for key in saved if key.startswith("baseline.")}
    env.venv.restore(snapshot)
    if critic := self_critical_in(model.get_env()):
        critic.restore(baseline)
    if recall := recall_in(model.get_env()):
        recall.windows = dict(model._last_obs)


def memory_of(model: Any) -> list[torch.Tensor]:
    """Memory of a recurrent model in the running episodes, (layers, B, n) each; of others nothing."""
    states = getattr(model, "_last_lstm_states", None)
    return [] if states is None else [part for network in states for part in network]


def _load_buffer(folder: Path, model: Any, place: dict[str, Any] | None) -> None:
    """The replay buffer, if the algorithm has one."""
    if place is None:
        return
    buffer = model.replay_buffer
    for name, array in _arrays_of(buffer):
        path = folder / f"{name}.npy"
        saved = np.load(path, mmap_mode="r", allow_pickle=False)
        filled = len(array) if place["full"] else place["pos"]
        if (saved.shape, saved.dtype) != ((filled, *array.shape[1:]), array.dtype):
            rule = f"{array.dtype} of shape {(filled, *array.shape[1:])} for this run"
            raise ValueError(f"{path} must hold {rule}, got {saved.dtype} of shape {saved.shape}")
        array[:filled] = saved
    buffer.pos, buffer.full = place["pos"], place["full"]


def _arrays_of(buffer: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Name and array of all that a replay buffer holds."""
    for name, value in vars(buffer).items():
        if isinstance(value, np.ndarray):
            yield name, value
        elif isinstance(value, dict) and all(isinstance(array, np.ndarray) for array in value.values()):
            yield from ((f"{name}.{key}", array) for key, array in value.items())
