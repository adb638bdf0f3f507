"""Wrong command lines: each ends with exit code 2 and one line on stderr that says what to change."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from gymnasium import spaces
from PIL import Image
from wrong_lines import LINES, PROCESSES, TRAIN

from visionrl.agents.training import models
from visionrl.agents.training.algo_args import check_algo_args
from visionrl.agents.training.config import TrainConfig, resolve
from visionrl.agents.training.run_files import write_config
from visionrl.cli import main as cli

POINTS = "version: 1\nn_points: 1\n{\n30 20\n}\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the files that the command lines name."""
    home, rng = tmp_path_factory.mktemp("home"), np.random.default_rng(0)
    folders = "empty points broken clip half_run no_json list_json deep_json latin_json"
    for name in folders.split():
        (home / name).mkdir()
    for number in range(4):
        noise = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        noise.save(home / "points" / f"{number}.png")
        noise.save(home / "clip" / f"{number}.png")
        (home / "points" / f"{number}.pts").write_text(POINTS)
        noise.save(home / "image.png")
    (home / "broken" / "a.png").write_bytes((home / "image.png").read_bytes()[:900])
    (home / "broken" / "a.pts").write_text(POINTS)
    for name in ("text.txt", "text.safetensors"):
        (home / name).write_text("root:x:0:0\n")
    (home / "odd.toml").write_text("[moon]\nx = 1\n")
    (home / "gamma.toml").write_text("algo = 'dqn'\n[dqn]\ngamma = 5\n")
    (home / "steps.toml").write_text("algo = 'dqn'\ntimesteps = 'many'\n")
    seen = spaces.Dict({"window": spaces.Box(0, 255, (1, 32, 32), np.uint8)})
    config = resolve(TrainConfig(algo="dqn", out=str(home), name="half_run"))
    write_config(home / "half_run", config, seen, spaces.Discrete(4))
    (home / "no_json" / "config.json").write_text("{")
    (home / "list_json" / "config.json").write_text("[1, 2]")
    (home / "deep_json" / "config.json").write_text("[" * 100_000)
    (home / "latin_json" / "config.json").write_bytes(b'{"config": "\xe9"}')
    return home


def words_of(line, home):
    """The words of a command line, as a shell splits them."""
    return [word.replace("{home}", str(home)) for word in shlex.split(line)]


def test_there_are_more_than_130_lines_over_all_commands():
    assert len(LINES) >= 130
    assert {line.split()[0] for line in LINES if line.split()[0] in cli.COMMANDS} == set(cli.COMMANDS)


@pytest.mark.parametrize("line", LINES)
def test_a_wrong_line_ends_with_code_2_and_one_line(line, home, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(home)
    before = sorted(home.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        cli.main(words_of(line, home))
    shown = capsys.readouterr().err
    assert stop.value.code == 2, shown
    assert shown.startswith("error: "), shown
    assert shown.count("\n") == 1, shown
    assert LINES[line].replace("{home}", str(home)) in shown
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize("line", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_not_here_is_refused_before_data_are_loaded(line, home, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(models, "make_vec_env", None)  # would load them
    with pytest.raises(SystemExit):
        cli.main(words_of(f"{TRAIN} --device {line}", home))
    assert f"device must be one that is here, auto, cpu, got {line!r}" in capsys.readouterr().err


@pytest.mark.parametrize("pair", ["gamma=5", "foo=1", "net_arch=big", "train_freq=0"])
def test_arguments_of_the_algorithm_are_refused_before_data_are_loaded(pair, home, capsys, monkeypatch):
    monkeypatch.setattr(models, "make_vec_env", None)
    with pytest.raises(SystemExit):
        cli.main(words_of(f"{TRAIN} --algo dqn --algo-args {pair}", home))
    assert pair.split("=")[0] in capsys.readouterr().err


def test_right_arguments_of_every_algorithm_pass():
    given = {
        "dqn": 'gamma=0.9 learning_rate=linear\u00a01e-3 train_freq=[4,"step"] net_arch=[64,64] max_grad_norm=null',
        "qrdqn": "n_quantiles=8 net_arch=[]",
        "ppo": 'n_steps=16 net_arch={"pi":[8],"vf":[8]} clip_range_vf=0.2 log_std_init=-3 target_kl=0.02',
        "a2c": "use_rms_prop=false rms_prop_eps=1e-5 normalize_advantage=true",
        "sac": 'ent_coef=auto_0.1 target_entropy=-2 use_sde=true net_arch={"qf":[8]}',
        "td3": "policy_delay=2 target_policy_noise=0.1 target_noise_clip=0.5 gradient_steps=-1",
    }
    for algo, pairs in given.items():
        words = tuple(pair.replace("\u00a0", " ") for pair in pairs.split(" "))
        config = TrainConfig(algo=algo, num_envs=4, algo_args=words, recipe="none")
        check_algo_args(config, models.ALGORITHMS[algo])


@pytest.mark.slow
@pytest.mark.parametrize("line", PROCESSES)
def test_a_process_ends_so_too(line, home):
    env = {**os.environ, "COLUMNS": "80"}
    command = [sys.executable, "-m", "visionrl", *words_of(line, home)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=home, env=env)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert LINES[line] in done.stderr


def test_memory_that_runs_out_is_one_line_too(home, capsys, monkeypatch):
    def run_out(self):
        raise MemoryError("Unable to allocate 8.0 TiB")

    monkeypatch.setattr("visionrl.cli.list.List.run", run_out)
    with pytest.raises(SystemExit) as stop:
        cli.main(["list"])
    assert stop.value.code == 2
    assert "Unable to allocate 8.0 TiB; a smaller --num-envs" in capsys.readouterr().err
