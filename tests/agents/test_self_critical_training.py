"""Self-critical training from the command's configuration: it clones as ever, resumes exactly, and refuses misfits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from visionrl.agents.training.config import TrainConfig
from visionrl.agents.training.models import build_model, make_training_env
from visionrl.agents.training.saving import load_model
from visionrl.agents.training.train import train
from visionrl.reward_models.self_critical import SelfCritical

GIVEN: dict[str, Any] = {
    "env": "CaptionGeneration-v0",
    "algo": "maskableppo",
    "self_critical": "greedy",
    "recipe": "none",
    "backbone": "nature",
    "features_dim": 8,
    "num_envs": 4,
    "clone_steps": 64,
    "clone_action_values": False,
    "env_args": ("side=36",),
    "algo_args": ("n_steps=16", "batch_size=32", "n_epochs=1"),
    "eval_episodes": 4,
    "test_episodes": 4,
    "eval_every": 1000,
    "checkpoint_every": 64,
}


def test_the_model_is_its_own_critic() -> None:
    config = TrainConfig(**{**GIVEN, "timesteps": 64})
    env = make_training_env(config)
    model = build_model(config, env)
    assert isinstance(env, SelfCritical) and env.policy is model and env.greedy
    assert "greedy" in config.folder.name


@pytest.mark.slow
def test_a_run_goes_on_exactly_where_it_stopped(tmp_path: Path) -> None:
    given = {**GIVEN, "out": str(tmp_path)}
    whole = train(TrainConfig(**{**given, "timesteps": 192, "name": "whole"}))
    train(TrainConfig(**{**given, "timesteps": 64, "name": "parts"}))
    parts = train(TrainConfig(**{**given, "timesteps": 192, "name": "parts", "resume": True}))
    (first, _), (second, _) = load_model(whole, "cpu"), load_model(parts, "cpu")
    for one, other in zip(first.policy.parameters(), second.policy.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"algo": "dqn"},
            "self_critical must be none for dqn, it is for ppo, a2c, maskableppo, recurrentppo",
        ),
        ({"memory": "gru"}, "self_critical must be none with cache and memory"),
        ({"cache": True, "frozen": True}, "self_critical must be none with cache and memory"),
        ({"self_critical": "best"}, "self_critical must be one of"),
    ],
)
def test_what_does_not_fit_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{**GIVEN, **more})
