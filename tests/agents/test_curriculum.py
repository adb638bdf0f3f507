"""Curriculum: easy starts first, and where a task has none, a clear error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO

from visionrl.agents import Curriculum, VisionExtractor, make_vec_env
from visionrl.core import make_task
from visionrl.core.registry import entry_of

LANDMARK = "visionrl/LandmarkLocalization-v0"


@pytest.fixture
def eased(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Landmark localization with starts from the landmark outwards; the difficulty of each start drawn."""
    task: Any = entry_of(LANDMARK).task
    ordinary, drawn = task.sample, []

    def sample(self: Any, rng: np.random.Generator, item: int) -> Any:
        drawn.append(self.difficulty)
        return ordinary(self, rng, item)

    monkeypatch.setattr(task, "sample", sample)
    monkeypatch.setattr(task, "difficulty", 1.0, raising=False)
    return drawn


def model_of(**kwargs: Any) -> Any:
    """An untrained model whose episodes last 5 steps."""
    env = make_vec_env(LANDMARK, 4, window=12, max_episode_steps=5, seed=0)
    eyes = {"features_extractor_class": VisionExtractor, "features_extractor_kwargs": {"features_dim": 8}}
    return PPO("MultiInputPolicy", env, policy_kwargs=eyes, n_steps=10, batch_size=40, device="cpu", **kwargs)


def test_difficulty_rises_with_the_steps(eased: list[float]) -> None:
    model, curriculum = model_of(), Curriculum(0.5)
    eased.clear()
    curriculum.ease(model, 160)
    model.learn(160, callback=curriculum)
    # Episodes restart in steps 5, 10, ... of 40, before that step is counted; 4 rows each.
    starts = [0, *(4 * (5 * k - 1) / 80 for k in range(1, 9))]
    expected = [min(1.0, share) for share in starts for _ in range(4)]
    assert eased == pytest.approx(expected)
    assert make_task(LANDMARK, split="val").difficulty == 1.0


def test_it_follows_from_the_steps_alone(eased: list[float]) -> None:
    model, curriculum = model_of(), Curriculum(0.25)
    model.num_timesteps = 30
    curriculum.ease(model, 400)
    assert model.get_env().unwrapped.venv.task.difficulty == pytest.approx(0.3)
    model.num_timesteps = 300
    curriculum.ease(model, 400)
    assert model.get_env().unwrapped.venv.task.difficulty == 1.0


def test_what_is_refused() -> None:
    with pytest.raises(
        ValueError, match="curriculum must be 0 for LandmarkLocalization, which has no easier"
    ):
        Curriculum(0.5).ease(model_of(), 100)
    for share in (0.0, 1.5):
        with pytest.raises(ValueError, match=r"share must be in \(0, 1\]"):
            Curriculum(share)
