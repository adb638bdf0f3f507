"""Checkpoints from which a run goes on exactly as if it had never stopped; plain data, no pickle."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from visionrl.ops import to_numpy

FOLDER = "checkpoint"
COUNTERS = (
    "num_timesteps",
    "_episode_num",
    "_n_updates",
    "_n_calls",
    "exploration_rate",
    "_current_progress_remaining",
)


def save_checkpoint(run: Path, model: Any, tensors: dict[str, Any], notes: dict[str, Any]) -> Path:
    """Write all that decides how a run goes on, into ``<run>/checkpoint/<steps>``; older ones are removed.

    To be called between rollouts, when nothing is half done. The folder appears under its name only when it
    is complete. It holds networks and optimizers, counters, the filled part of the replay buffer, the states
    of all random generators, and the running episodes.

    Args:
        run: the run's folder.
        model: the algorithm, with an ``SB3VecEnv``.
        tensors: further tensors by name, or dicts of them.
        notes: further plain values.
    """
    home = run / FOLDER
    part, final = home / ".part", home / f"{model.num_timesteps:012d}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    saved = {**model.get_parameters(), "variables": _variables(model)}
    torch.save({**saved, "rng": _torch_rng(), "extra": tensors}, part / "tensors.pt")
    _save_arrays(part, model)
    (part / "state.json").write_text(json.dumps({**_plain_state(model), "notes": notes}))
    shutil.rmtree(final, ignore_errors=True)
    os.replace(part, final)
    for old in home.iterdir():
        if old != final:
            shutil.rmtree(old)
    return final


def last_checkpoint(run: Path) -> Path | None:
    """The newest complete checkpoint of a run, or None."""
    return max((run / FOLDER).glob("[0-9]*"), default=None, key=lambda path: int(path.name))


def load_checkpoint(folder: Path, model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Bring a newly built model and its environment to where a checkpoint was written.

    Returns:
        The further tensors and values that were saved with it.
    """
    tensors = torch.load(folder / "tensors.pt", map_location="cpu", weights_only=True)
    extra, rng, variables = (tensors.pop(name) for name in ("extra", "rng", "variables"))
    model.set_parameters(tensors, device=model.device)
    for name, value in _variables(model).items():
        value.data.copy_(variables[name])
    state = json.loads((folder / "state.json").read_text())
    for name, value in state["counters"].items():
        setattr(model, name, value)
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
    np.savez(folder / "episodes.npz", **episodes, **snapshot, **seen)
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        for name, array in _arrays_of(buffer):
            np.save(
                folder / f"{name}.npy", array[: len(array) if buffer.full else buffer.pos], allow_pickle=False
            )


def _load_env(folder: Path, model: Any) -> None:
    """The running episodes."""
    env = model.get_env().unwrapped
    with np.load(folder / "episodes.npz", allow_pickle=False) as saved:
        env.returns[:], env.lengths[:] = saved["returns"], saved["lengths"]
        model._last_episode_starts = saved["starts"]
        snapshot = {key.removeprefix("env."): saved[key] for key in saved if key.startswith("env.")}
        model._last_obs = {key.removeprefix("seen."): saved[key] for key in saved if key.startswith("seen.")}
    env.venv.restore(snapshot)


def _load_buffer(folder: Path, model: Any, place: dict[str, Any] | None) -> None:
    """The replay buffer, if the algorithm has one."""
    if place is None:
        return
    buffer = model.replay_buffer
    for name, array in _arrays_of(buffer):
        saved = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        array[: len(saved)] = saved
    buffer.pos, buffer.full = place["pos"], place["full"]


def _arrays_of(buffer: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Name and array of all that a replay buffer holds."""
    for name, value in vars(buffer).items():
        if isinstance(value, np.ndarray):
            yield name, value
        elif isinstance(value, dict) and all(isinstance(array, np.ndarray) for array in value.values()):
            yield from ((f"{name}.{key}", array) for key, array in value.items())
