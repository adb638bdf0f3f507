"""Registration of pairs that do not say how they lie: by similarity alone, in training and in evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from visionrl import load_agent
from visionrl.agents import TrainConfig, train
from visionrl.cli import main as cli

FAST: dict[str, Any] = {
    "algo": "ppo",
    "clone_steps": 0,
    "timesteps": 32,
    "num_envs": 4,
    "eval_episodes": 2,
    "test_episodes": 2,
    "eval_every": 32,
    "device": "cpu",
    "algo_args": ("n_steps=8", "batch_size=16"),
}
TASK = ("reward_type=ncc", "window=16", "scales=[2, 1]", "max_episode_steps=6")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pairs of pictures, one shifted by 4 pixels, and nothing else."""
    rng = np.random.default_rng(0)
    for number in range(6):
        picture = cv2.GaussianBlur(rng.integers(0, 256, (48, 48)).astype(np.uint8), (0, 0), 2)
        home = tmp_path / "pairs" / str(number)
        home.mkdir(parents=True)
        cv2.imwrite(str(home / "fixed.png"), picture)
        cv2.imwrite(str(home / "moving.png"), np.roll(picture, 4, axis=1))
    return tmp_path / "pairs"


def config(folder: Path, **changes: Any) -> TrainConfig:
    given = {
        "env": "Registration2D-v0",
        "data": f"pairs:{folder}",
        "out": str(folder.parent / "runs"),
        "env_args": TASK,
        **FAST,
    }
    return TrainConfig(**{**given, **changes})


def test_an_agent_learns_by_similarity_and_is_compared_by_it(folder: Path, monkeypatch: Any) -> None:
    run = train(config(folder))
    written = json.loads((run / "metrics.json").read_text())
    assert written["test"]["primary_metric"] == "similarity"
    assert np.isfinite(written["validation"]["similarity"])
    rows = {row["name"]: row["metrics"] for row in written["test"]["rows"]}
    assert {"random", "ECC", "PPO"} <= set(rows) and "expert" not in rows
    assert rows["ECC"]["similarity"]["value"] > rows["ECC"]["similarity_start"]["value"] + 0.1, rows["ECC"]
    for row in rows.values():
        assert "is_success" not in row and "tre_px" not in row
    found: Any = load_agent(run).predict(folder / "0" / "fixed.png", folder / "0" / "moving.png")
    assert found.matrix.shape == (2, 3) and np.isfinite(found.matrix).all()


def test_imitation_and_rewards_that_need_the_truth_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"clone_steps must be 0 on data without truth.*got 8"):
        train(config(folder, clone_steps=8))
    with pytest.raises(ValueError, match=r"reward_type 'truth' needs points of both images.*'ncc' and 'mi'"):
        train(config(folder, env_args=TASK[1:]))


def test_the_command_compares_classical_methods_without_truth(
    folder: Path, tmp_path: Path, capsys: Any
) -> None:
    words = ["evaluate", "--env", "Registration2D-v0", "--data", f"pairs:{folder}", "--split", "all"]
    args = ["--env-args", "reward_type=mi", "window=16", "scales=[2,1]"]
    cli.main([*words, *args, "--episodes", "2", "--out", str(tmp_path / "out")])
    assert "similarity" in capsys.readouterr().out
    assert (tmp_path / "out" / "metrics-all.json").is_file()
    assert not (tmp_path / "out" / "episode-all.gif").exists()
