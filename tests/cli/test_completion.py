"""Completion in bash: what the last word of a command line may become."""

import os
import subprocess
import sys

import pytest

from visionrl.cli.completion import candidates
from visionrl.cli.main import COMMANDS, command_of

CLASSIFY = ("support", "weights", "side", "out", "overwrite", "device")  # neither MODEL nor FILES


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("visionrl tr", ["train ", "train-model "]),
        ("visionrl p", ["play ", "predict ", "pretrain "]),
        ("visionrl show Track", ["Tracking-v0 "]),
        ("visionrl evaluate --env LandmarkLocalization3", ["LandmarkLocalization3D-v0 "]),
        ("visionrl evaluate --env Tracking-v0 --preset y", ["yun2017 "]),
        ("visionrl evaluate --env Tracking-v0 --preset n", ["none "]),
        ("visionrl evaluate --env visionrl/LandmarkLocalization3", ["visionrl/LandmarkLocalization3D-v0 "]),
        ("visionrl train --env Tracking-v0 --env-args data=x split_s", ["split_seed="]),
        ("visionrl train --env Tracking-v0 --env-args split=v", ["val "]),
        ("visionrl train --tim", ["--timesteps "]),
        ("visionrl evaluate --num", ["--num-envs "]),
        ("visionrl cl", ["classify "]),
        ("visionrl classify few-shot-instances --", [f"--{name} " for name in CLASSIFY]),
        ("visionrl pretrain --pre", ["--preset ", "--pretext "]),
        ("visionrl pretrain --env Tracking-v0 --preset y", ["yun2017 "]),
        ("visionrl pretrain --env Tracking-v0 --env-args split_s", ["split_seed="]),
        ("visionrl nothing --x", []),
        ("visionrl train --env Chess-v0 --env-args ", []),
    ],
)
def test_candidates(line, some):
    assert candidates(line) == some


def test_bash_gets_one_candidate_a_line():
    env = {**os.environ, "COMP_LINE": "visionrl li", "COMP_POINT": "11"}
    done = subprocess.run(
        [sys.executable, "-m", "visionrl", "completion", "visionrl", "li", "visionrl"],
        env=env,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "list \n")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_usage_says_what_the_commands_say(name):
    said = (command_of(name).__doc__ or "").splitlines()[0]
    assert said.rstrip(".").startswith(COMMANDS[name].rstrip("."))
