"""The command line as a user types it: real processes, what they print, write and return."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from visionrl import __version__
from visionrl.cli import main as cli
from visionrl.cli import play
from visionrl.core import TASKS, entry_of
from visionrl.rendering import window


def visionrl(*args, cwd=None):
    """A finished process."""
    here = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-m", "visionrl", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**here, "COLUMNS": "100"})


def refused(done, *words):
    """Exit code 2, one line on stderr with these words, no traceback, nothing on stdout."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """Ten noise images with two points each."""
    folder, rng = tmp_path_factory.mktemp("points"), np.random.default_rng(0)
    for j in range(10):
        Image.fromarray(rng.integers(0, 256, (60, 80), dtype=np.uint8)).save(folder / f"{j}.png")
        (folder / f"{j}.pts").write_text(f"version: 1\nn_points: 2\n{{\n{30 + j} 20\n40 {30 + j}\n}}\n")
    return folder


def test_alone_it_tells_what_there_is_to_type(capsys):
    cli.main([])
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in ("list", "show", "play", "train", "evaluate", "explain"))
    cli.main(["--version"])
    assert capsys.readouterr().out == f"visionrl {__version__}\n"


def test_list_has_every_task(capsys):
    cli.main(["list"])
    shown = capsys.readouterr().out
    for task_id, entry in TASKS.items():
        assert task_id in shown
        assert all(preset in shown for preset in entry.presets)


def test_show_has_spaces_presets_and_baselines(capsys):
    cli.main(["show", "Tracking-v0"])
    shown = capsys.readouterr().out
    for word in (
        "Reward",
        "Discrete(11)",
        "(3, 112, 112)",
        "preset yun2017: clip=10",
        "baseline template matching:",
    ):
        assert word in shown


def test_show_says_actions_of_pixels_in_one_line(capsys):
    cli.main(["show", "Refinement-v0"])
    shown = capsys.readouterr().out.replace("\n", " ")
    assert "action: MultiDiscrete of 8 x 8 pixels with 7 tools each" in shown


def test_list_and_show_load_no_torch():
    code = "import sys; from visionrl.cli.main import main; main(['list']); main(['show', 'Tracking-v0']); "
    code += "sys.exit('torch' in sys.modules or 'stable_baselines3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            ["fly"],
            ["command must be one of list, show, play, train, evaluate, predict, ", "completion, got 'fly'"],
        ),
        (["show", "Chess-v0"], ["env must be one of", *TASKS, "'Chess-v0'"]),
        (["evaluate"], ["a run's folder or --env"]),
        (["evaluate", "nowhere"], ["nowhere"]),
        (["evaluate", "--env", "Tracking-v0", "--data", "otb:/nowhere"], ["must exist", "/nowhere"]),
        (["evaluate", "--env", "Tracking-v0", "--data", "pts:/"], ["'pts'", "VideoSample is needed"]),
        (["evaluate", "--env", "Tracking-v0", "--split", "val", "--env-args", "clap=3"], ["'clap'"]),
        (
            ["evaluate", "--env", "Tracking-v0", "--split", "val", "--env-args", "clip"],
            ["name=value", "'clip'"],
        ),
        (
            ["evaluate", "--env", "Tracking-v0", "--split", "val", "--episodes", "0"],
            ["episodes must be a whole number >= 1 or None, got 0"],
        ),
    ],
)
def test_wrong_arguments_are_one_line(args, words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        cli.main(args)
    shown = capsys.readouterr()
    refused(subprocess.CompletedProcess(args, stop.value.code, shown.out, shown.err), *words)


def test_an_unknown_option_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["evaluate", "--bogus", "3"])
    assert stop.value.code == 2
    assert "--bogus" in capsys.readouterr().err


def test_an_empty_folder_and_a_truncated_image(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(
        visionrl("evaluate", "--env", "LandmarkLocalization-v0", "--data", f"pts:{empty}"), "no", str(empty)
    )
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)).save(
        tmp_path / "a.png"
    )
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:900])
    (tmp_path / "a.pts").write_text("version: 1\nn_points: 1\n{\n30 20\n}\n")
    args = ("evaluate", "--env", "LandmarkLocalization-v0", "--split", "all", "--data", f"pts:{tmp_path}")
    refused(visionrl(*args), "a.png")
    debug = visionrl("--debug", *args)
    assert debug.returncode == 1
    assert "Traceback" in debug.stderr


def test_evaluate_without_an_agent(points, tmp_path):
    own = f"--data pts:{points} --split-ratios 0.6 0.2 0.2 --split val --env-args window=24".split()
    done = visionrl("evaluate", "--env", "LandmarkLocalization-v0", *own, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in ("distance_px", "random", "prior + mean template", "expert"))
    table = json.loads((tmp_path / "metrics-val.json").read_text())
    assert [row["kind"] for row in table["rows"]] == ["random", *["classical"] * 3, "expert"]
    assert len((tmp_path / "predictions-val.jsonl").read_text().splitlines()) == 2 * 5  # images and rows
    assert table["rows"][0]["episodes"] == 4  # two images with two points each
    assert table["env_kwargs"]["window"] == 24
    with Image.open(tmp_path / "episode-val.gif") as film:
        assert film.n_frames > 1


@pytest.mark.slow
def test_train_then_evaluate_the_run(points, tmp_path):
    own = f"--data pts:{points} --classes 0 --split-ratios 0.6 0.2 0.2".split()
    small = f"--timesteps 128 --num-envs 4 --eval-every 128 --eval-episodes 2 --device cpu --out {tmp_path}".split()
    done = visionrl("train", "--env", "LandmarkLocalization-v0", "--name", "r", *own, *small)
    assert done.returncode == 0, done.stderr
    done = visionrl("evaluate", tmp_path / "r", "--split", "test", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "r" / "metrics-test.json").read_text())["rows"]
    assert [row["name"] for row in rows][-2:] == ["DQN", "expert"]
    same = json.loads((tmp_path / "r" / "metrics.json").read_text())["test"]["rows"]
    assert [row["metrics"] for row in rows] == [row["metrics"] for row in same]
    refused(visionrl("evaluate", tmp_path / "r", "--classes", 1), "target must be among 1; got 0")


def test_wrong_training_arguments():
    done = visionrl("train", "--timesteps", 0)
    assert done.returncode == 2
    assert "timesteps must be >= 1 without clone_steps, got 0" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_display_play_writes_a_film(points, tmp_path):
    done = visionrl("play", "LandmarkLocalization-v0", "--data", f"pts:{points}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no window (there is no display); wrote LandmarkLocalization-v0-expert.gif" in done.stdout
    with Image.open(tmp_path / "LandmarkLocalization-v0-expert.gif") as film:
        assert film.n_frames > 1


WAITING = """
import signal, sys, time
import visionrl.agents.evaluation.compare
from visionrl.cli import main as cli

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it

def wait(*args, **kwargs):
    print("ready", flush=True)
    time.sleep(600)

sys.modules["visionrl.agents.evaluation.compare"].compare = wait
cli.main(["evaluate", "--env", "Tracking-v0"])
"""


def test_interrupted_it_ends_with_130(tmp_path):
    """Ctrl-C while a command works; without a traceback."""
    command = [sys.executable, "-c", WAITING]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        command, text=True, cwd=tmp_path, **pipes
    ) as process:  # waits as long as the suite does
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            _, shown = process.communicate()
        finally:
            process.kill()
    assert process.returncode == 130
    assert shown == ""


@pytest.mark.parametrize("task_id", ["visionrl/LandmarkLocalization-v0", "visionrl/Tracking-v0"])
def test_every_action_that_is_a_direction_has_its_arrow(task_id):
    task = entry_of(task_id).task
    names = play.action_names(task)
    keys = play.keys_of(task, len(names))
    assert names
    for direction in set(play.ARROWS) & set(names.values()):
        assert names[keys[play.ARROWS[direction],]] == direction


def test_a_window_needs_a_display_and_pygame(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert window.why_no_window() == "there is no display"
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(window, "find_spec", lambda name: None)
    assert "pygame" in window.why_no_window()
    monkeypatch.setattr(window, "find_spec", lambda name: object())
    assert window.why_no_window() == ""
