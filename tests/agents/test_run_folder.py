"""A run's folder: one process at a time, and what happens when the disk is full, limited or read-only."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3 import DQN

from visionrl.agents.networks.extractor import VisionExtractor
from visionrl.agents.sb3.vec_env import make_vec_env
from visionrl.agents.training import train as training
from visionrl.agents.training.checkpoint import last_checkpoint, load_checkpoint, save_checkpoint
from visionrl.agents.training.config import TrainConfig
from visionrl.agents.training.lock import locked
from visionrl.agents.training.run_files import command_line, write_json
from visionrl.cli import main as cli
from visionrl.datasets import ImageSample, load
from visionrl.datasets.load import clear_cache
from visionrl.rendering.files import WriteError, replacing
from visionrl.supervised.trainer import save

HOLDER = """
import sys, time
from pathlib import Path
from visionrl.agents.training.config import TrainConfig
from visionrl.agents.training.lock import locked

with locked(Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(600)
"""
SIZES = (
    "--timesteps 128 --num-envs 4 --eval-every 64 --eval-episodes 2 --test-episodes 2 --checkpoint-every 64"
)
TASK = "--env LandmarkLocalization-v0 --env-args window=16 max_episode_steps=20 --split-ratios 0.5 0.25 0.25"
AGENT = "--algo dqn --recipe none --device cpu --algo-args buffer_size=100 learning_starts=32 batch_size=8"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, write_spots: Any) -> Path:
    """Eight small pictures with a bright spot, and where it is."""
    return write_spots(tmp_path_factory.mktemp("photos"), count=8, side=32)


def line(photos: Path, out: Path, *more: str) -> list[str]:
    """A command line that trains for a second."""
    words = f"train {TASK} {SIZES} {AGENT} --name r".split()
    return [*words, "--data", f"csv:{photos}", "--out", str(out), *more]


@contextmanager
def holder(run: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has a run's folder."""
    command = [sys.executable, "-c", HOLDER, str(run)]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_a_folder_in_use_is_refused_and_its_process_named(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(ValueError, match=f"is in use by process {process.pid} on .*; wait until it ends"):
            locked(tmp_path).__enter__()
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_what_a_dead_process_left_is_taken_over(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / ".lock").exists()
        with locked(tmp_path):
            pass
    assert not list(tmp_path.iterdir())


def test_a_lock_that_its_holder_removes_is_not_held_by_two(tmp_path: Path) -> None:
    first = locked(tmp_path)
    first.__enter__()
    (tmp_path / ".lock").unlink()  # as its holder does at the end, while another has opened it
    with locked(tmp_path), pytest.raises(ValueError, match="is in use by process"):
        locked(tmp_path).__enter__()
    first.__exit__(None, None, None)


def test_training_refuses_a_folder_in_use(photos: Path, tmp_path: Path, capsys: Any) -> None:
    cli.main(line(photos, tmp_path))
    before = {path: path.read_bytes() for path in (tmp_path / "r").glob("*.*") if path.is_file()}
    with holder(tmp_path / "r") as process:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main(line(photos, tmp_path, "--resume", "--timesteps", "256"))
        shown = capsys.readouterr().err
    assert stop.value.code == 2
    assert shown.count("\n") == 1 and f"in use by process {process.pid}" in shown
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_run_that_began_in_the_meantime_is_left_alone(
    photos: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = training.build_model

    def other(*args: Any) -> Any:
        (tmp_path / "r").mkdir()
        (tmp_path / "r" / "config.json").write_text("the other's")
        return build(*args)

    monkeypatch.setattr(training, "build_model", other)
    with pytest.raises(SystemExit):
        cli.main(line(photos, tmp_path))
    assert "continue it with --resume" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["config.json"]
    assert (tmp_path / "r" / "config.json").read_text() == "the other's"


def test_the_subjects_of_the_splits_stand_beside_the_run(photos: Path, tmp_path: Path, capsys: Any) -> None:
    cli.main(line(photos, tmp_path))
    splits = json.loads((tmp_path / "r" / "splits.json").read_text())
    assert {split: len(subjects) for split, subjects in splits.items()} == {"train": 4, "val": 2, "test": 2}
    assert sorted(subject for subjects in splits.values() for subject in subjects) == sorted(
        str(number) for number in range(8)
    )
    for split, subjects in splits.items():  # and can be given as a split file
        samples = load(
            f"csv:{photos}", kind=ImageSample, split=split, split_file=str(tmp_path / "r" / "splits.json")
        )
        assert [sample.subject for sample in samples] == subjects


def test_a_run_does_not_go_on_with_other_subjects(photos: Path, tmp_path: Path, capsys: Any) -> None:
    own = tmp_path / "photos"
    shutil.copytree(photos, own)
    cli.main(line(own, tmp_path))
    shutil.copy(own / "0.png", own / "8.png")
    with (own / "points.csv").open("a") as file:
        file.write("\n8.png,16,16\n")
    clear_cache()
    with pytest.raises(SystemExit) as stop:
        cli.main(line(own, tmp_path, "--resume", "--timesteps", "256"))
    shown = capsys.readouterr().err
    assert stop.value.code == 2 and shown.count("\n") == 1
    assert "subjects of the training split must be those of" in shown and "splits.json" in shown


def test_what_was_killed_before_its_config_was_written_begins_anew(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    for name in (".lock", ".config.json.part", "splits.json"):
        (tmp_path / "r" / name).write_text("{")
    cli.main(line(photos, tmp_path))
    assert json.loads((tmp_path / "r" / "splits.json").read_text())["train"]
    assert not [path for path in (tmp_path / "r").iterdir() if path.name.startswith(".")]


def test_a_folder_that_cannot_be_written_is_refused_before_data_are_loaded(
    photos: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "make_training_env", None)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(SystemExit):
        cli.main(line(photos, tmp_path / "new"))
    assert f"out must be in a folder that can be written, {tmp_path} can not" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_folder_has_the_presets_name() -> None:
    assert TrainConfig(env="Detection-v0", preset="caicedo2015").folder.name.startswith(
        "Detection-v0-caicedo2015-"
    )
    assert TrainConfig(env="Detection-v0", preset="none", algo="dqn").folder.name.startswith(
        "Detection-v0-dqn-"
    )


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def model() -> DQN:
    """A small agent with steps in its buffer."""
    env = make_vec_env("visionrl/LandmarkLocalization-v0", 2, split="test", window=16)
    policy = {"features_extractor_class": VisionExtractor, "features_extractor_kwargs": {"features_dim": 8}}
    sizes: dict[str, Any] = {"buffer_size": 32, "learning_starts": 8, "batch_size": 4, "seed": 0}
    return DQN("MultiInputPolicy", env, policy_kwargs=policy, device="cpu", **sizes).learn(16)


def is_whole(run: Path, model: DQN, note: int) -> bool:
    """Tell if a run's only checkpoint is whole and has a note."""
    found = last_checkpoint(run)
    assert found is not None and list(found.parent.iterdir()) == [found]
    return load_checkpoint(found, model)[1]["note"] == note


@pytest.mark.parametrize("size", [0, 100, 1_000, 3_000, 10_000, 100_000])
def test_a_limit_of_files_leaves_the_checkpoint_before(tmp_path: Path, model: DQN, size: int) -> None:
    save_checkpoint(tmp_path, model, {}, {"note": 1})
    with largest_file(size), pytest.raises(WriteError, match="cannot be written: ") as failed:
        save_checkpoint(tmp_path, model, {}, {"note": 2})
    assert str(tmp_path) in str(failed.value) and "\n" not in str(failed.value)
    assert is_whole(tmp_path, model, 1)
    save_checkpoint(tmp_path, model, {}, {"note": 3})
    assert is_whole(tmp_path, model, 3)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EFBIG, errno.EDQUOT])
@pytest.mark.parametrize(
    "place", ["torch.save", "numpy.save", "numpy.savez", "pathlib.Path.write_text", "os.replace"]
)
def test_a_full_or_read_only_disk_leaves_the_checkpoint_before(
    tmp_path: Path, model: DQN, place: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise OSError(number, "the system says why")

    save_checkpoint(tmp_path, model, {}, {"note": 1})
    with monkeypatch.context() as patch, pytest.raises(WriteError, match="the system says why") as failed:
        patch.setattr(place, fails)
        save_checkpoint(tmp_path, model, {}, {"note": 2})
    assert failed.value.errno == number
    assert is_whole(tmp_path, model, 1)


def test_single_files_stay_as_they_were(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"value": 1})
    save(tmp_path / "policy.pt", {"weights": torch.zeros(3000)})
    with largest_file(5000):
        with pytest.raises(WriteError, match=r"config\.json cannot be written: File too large"):
            write_json(tmp_path / "config.json", {"value": "x" * 9000})
        with pytest.raises(WriteError, match=r"policy\.pt\.part cannot be written: File too large"):
            save(tmp_path / "policy.pt", {"weights": torch.ones(3000)})
    assert json.loads((tmp_path / "config.json").read_text()) == {"value": 1}
    assert not torch.load(tmp_path / "policy.pt", weights_only=True)["weights"].any()
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "policy.pt"}


def test_an_error_that_is_not_about_writing_passes(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"), replacing(tmp_path / "file"):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_a_run_that_ran_out_of_disk_goes_on_exactly(photos: Path, tmp_path: Path, capsys: Any) -> None:
    cli.main(line(photos, tmp_path / "whole"))
    capsys.readouterr()
    largest = max(path.stat().st_size for path in (tmp_path / "whole" / "r" / "checkpoint").rglob("*"))
    with largest_file(largest - 1), pytest.raises(SystemExit) as stop:
        cli.main(line(photos, tmp_path / "cut"))
    shown = capsys.readouterr().err
    assert stop.value.code == 2 and shown.count("\n") == 1 and "cannot be written: " in shown
    assert not (tmp_path / "cut" / "r" / "metrics.json").exists()
    cli.main(line(photos, tmp_path / "cut", "--resume"))
    whole, cut = (
        torch.load(tmp_path / name / "r" / "policy.pt", weights_only=True) for name in ("whole", "cut")
    )
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["/home/me/.venv/bin/visionrl", "train", "--name", "a b"], "visionrl train --name 'a b'"),
        (["/home/me/visionrl/__main__.py", "train"], "visionrl train"),
        (["examples/mine.py", "--fast"], "examples/mine.py --fast"),
    ],
)
def test_the_command_of_a_run_says_nothing_of_where_the_library_lies(words: list[str], line: str) -> None:
    assert command_line(words) == line
