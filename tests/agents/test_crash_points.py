"""Checkpoints outlive a kill at every file operation of a save, a damaged file, and a full disk."""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import DQN

from visionrl.agents.networks.extractor import VisionExtractor
from visionrl.agents.sb3.vec_env import make_vec_env
from visionrl.agents.training import checkpoint
from visionrl.agents.training.checkpoint import (
    last_checkpoint,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from visionrl.agents.training.run_files import write_json
from visionrl.supervised.trainer import save

CHANGING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")


def child(work: Callable[[], Any], operations: int) -> bool:
    """Do something in a process that is killed after so many changes of files; tell if it got to the end.

    A kill before an operation that only reads leaves what a kill before the next change leaves.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python 3.12, about threads
        number = os.fork()
    if number:
        return os.waitpid(number, 0)[1] == 0
    left = [operations]

    def heard(event: str, args: tuple[Any, ...]) -> None:
        if event in CHANGING or (event == "open" and args[2] & WRITING):
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)  # without a flush, as a kill

    sys.addaudithook(heard)
    work()
    os._exit(0)


def crash_points(work: Callable[[], Any], check: Callable[[], Any], reset: Callable[[], Any]) -> int:
    """Kill the work before its first, second, ... file operation, and check; returns how many there are."""
    operations = 0
    while True:
        reset()
        if child(work, operations):
            return operations
        check()
        operations += 1


@pytest.fixture(autouse=True)
def no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill loses nothing that the system has, so these tests need not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda number: None)


@pytest.fixture(scope="module")
def model() -> DQN:
    """A small agent with steps in its buffer."""
    env = make_vec_env("visionrl/LandmarkLocalization-v0", 2, split="test", window=16)
    policy = {"features_extractor_class": VisionExtractor, "features_extractor_kwargs": {"features_dim": 8}}
    sizes: dict[str, Any] = {
        "buffer_size": 32,
        "learning_starts": 8,
        "batch_size": 4,
        "seed": 0,
        "device": "cpu",
    }
    model = DQN("MultiInputPolicy", env, policy_kwargs={**policy, "net_arch": [8]}, **sizes)
    return model.learn(16)


def note(run: Path, model: DQN) -> int:
    """What the last checkpoint says, after it was loaded as a whole."""
    found = last_checkpoint(run)
    assert found is not None
    return load_checkpoint(found, model)[1]["note"]


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize("before", ["nothing", "an earlier step", "the same step"])
def test_a_kill_at_any_file_operation_leaves_a_whole_checkpoint(
    tmp_path: Path, model: DQN, before: str
) -> None:
    run, kept = tmp_path / "run", tmp_path / "kept"
    steps, times = model.num_timesteps, {"nothing": 0, "an earlier step": 1, "the same step": 2}[before]
    for number in range(times):
        model.num_timesteps = steps - (before == "an earlier step")
        save_checkpoint(kept, model, {}, {"note": number})
    model.num_timesteps = steps
    kept.mkdir(exist_ok=True)

    def reset() -> None:
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(kept, run)

    seen = set()

    def check() -> None:
        if last_checkpoint(run) is None:
            assert before == "nothing" and not list_checkpoints(run)
        else:
            seen.add(note(run, model))
        save_checkpoint(run, model, {}, {"note": 8})  # the next save works, and tidies up
        assert note(run, model) == 8
        assert len(list((run / "checkpoint").iterdir())) == 1

    points = crash_points(lambda: save_checkpoint(run, model, {}, {"note": 9}), check, reset)
    assert points > (12 if before == "nothing" else 24)
    assert seen == (set() if before == "nothing" else {times - 1, 9})


@needs_fork
def test_a_kill_leaves_single_files_old_or_new(tmp_path: Path) -> None:
    run = tmp_path / "run"

    def write(value: int) -> None:
        write_json(run / "config.json", {"value": value})
        save(run / "checkpoint.pt", {"value": value, "weights": torch.full((1000,), value)})

    def reset() -> None:
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir()
        write(1)

    def check() -> None:
        value = json.loads((run / "config.json").read_text())["value"]
        state = torch.load(run / "checkpoint.pt", weights_only=True)
        assert (state["weights"] == state["value"]).all()
        assert (value, state["value"]) in ((1, 1), (2, 1), (2, 2))
        write(3)
        assert {path.name for path in run.iterdir()} == {"config.json", "checkpoint.pt"}

    assert crash_points(lambda: write(2), check, reset) == 6  # three a file


FILES = ("actions.npy", "observations.window.npy", "rewards.npy", "episodes.npz", "tensors.pt", "state.json")


@pytest.mark.parametrize("name", [*FILES, "checksums.json"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "missing"])
def test_a_damaged_file_is_refused_by_its_name(tmp_path: Path, model: DQN, name: str, damage: str) -> None:
    path = save_checkpoint(tmp_path, model, {}, {"note": 1}) / name
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        middle = len(content) // 2
        content[middle] ^= 1
        path.write_bytes(bytes({"flipped": content, "truncated": content[:middle], "empty": b""}[damage]))
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        note(tmp_path, model)


def test_a_copy_beside_the_checkpoint_is_left_alone(tmp_path: Path, model: DQN) -> None:
    first = save_checkpoint(tmp_path, model, {}, {"note": 1})
    copies = [first.with_name(f"{first.name}{end}") for end in (" copy", ".bak", "-x", "²")]
    for copy in copies:
        shutil.copytree(first, copy)
    assert last_checkpoint(tmp_path) == first
    second = save_checkpoint(tmp_path, model, {}, {"note": 2})
    assert note(tmp_path, model) == 2
    assert {path for path in second.parent.iterdir()} == {second, *copies}


def test_arrays_of_another_run_are_refused(tmp_path: Path, model: DQN) -> None:
    folder = save_checkpoint(tmp_path, model, {}, {"note": 1})
    np.save(folder / "actions.npy", np.zeros((3, 2, 1)))
    checkpoint.seal(folder)
    with pytest.raises(ValueError, match=r"actions\.npy must hold int64 of shape \(8, 2, 1\)"):
        note(tmp_path, model)


def test_a_state_sets_counters_alone(tmp_path: Path, model: DQN) -> None:
    folder = save_checkpoint(tmp_path, model, {}, {"note": 1})
    state = json.loads((folder / "state.json").read_text())
    state["counters"] |= {"predict": 5, "policy": 6}
    (folder / "state.json").write_text(json.dumps(state))
    checkpoint.seal(folder)
    note(tmp_path, model)
    assert callable(model.predict) and isinstance(model.policy, torch.nn.Module)
