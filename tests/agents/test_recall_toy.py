"""A toy that only memory solves: one of four cues in the first image, the answer eight steps later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from torch import nn

from visionrl.agents.networks.extractor import VisionExtractor
from visionrl.agents.policies.recurrent import RecurrentPolicy
from visionrl.agents.policies.sequence import SequenceExtractor
from visionrl.agents.sb3.vec_env import SB3VecEnv

CUES, DELAY, ROWS = 4, 8, 32
STEPS = 20_000


class CueEnv:
    """B episodes that show a bright quarter at first, then nothing; in the last step the quarter's number is right."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012
    render_mode = None

    def __init__(self, rows: int, seed: int) -> None:
        self.num_envs, self.rng = rows, np.random.default_rng(seed)
        image, now = spaces.Box(0, 255, (1, 16, 16), np.uint8), spaces.Box(0, 1, (1,), np.float32)
        self.single_observation_space = spaces.Dict({"image": image, "now": now})
        self.single_action_space = spaces.Discrete(CUES)
        self.cues, self.time = np.zeros(rows, int), np.zeros(rows, int)

    def _seen(self) -> dict[str, np.ndarray]:
        image = np.zeros((self.num_envs, 1, 16, 16), np.uint8)
        for row in np.flatnonzero(self.time == 0):
            y, x = 8 * np.array(divmod(self.cues[row], 2))
            image[row, 0, y : y + 8, x : x + 8] = 255
        return {"image": image, "now": (self.time == DELAY).astype(np.float32)[:, None]}

    def reset(self, **_: Any) -> tuple[dict[str, np.ndarray], dict]:
        self.cues, self.time[:] = self.rng.integers(CUES, size=self.num_envs), 0
        return self._seen(), {"right": np.zeros(self.num_envs)}

    def step(self, actions: np.ndarray) -> Any:
        over = self.time == DELAY
        reward = (over & (actions == self.cues)).astype(float)
        self.time += 1
        final, info = self._seen(), dict[str, Any]()
        if over.any():
            ends = np.array([{k: x[row] for k, x in final.items()} for row in range(self.num_envs)])
            info = {"final_obs": ends, "final_info": {"right": reward}, "right": reward}
            self.time[over] = 0
            self.cues[over] = self.rng.integers(CUES, size=over.sum())
        return self._seen(), reward, over, np.zeros_like(over), info


def quarters() -> nn.Module:
    """A backbone that sees the four quarters of an image (B, 1, 16, 16)."""
    return nn.Sequential(nn.Conv2d(1, 8, 8, stride=8), nn.ReLU(), nn.Flatten())


def share_right(memory: str) -> float:
    """Share of right answers of 256 episodes after training with a memory: "carried KIND", "KIND", or "none"."""
    carried, kind = memory.startswith("carried "), memory.removeprefix("carried ")
    recall = DELAY + 1 if kind != "none" and not carried else 1
    sees: dict[str, Any] = {"features_extractor_kwargs": {"features_dim": 32, "backbone": quarters()}}
    sees["features_extractor_class"] = SequenceExtractor if recall > 1 else VisionExtractor
    own: dict[str, Any] = {"cell": kind, "lstm_hidden_size": 32} if carried else {}
    if recall > 1:
        sees["features_extractor_kwargs"]["kind"] = kind
    sizes: dict[str, Any] = {"n_steps": 18, "batch_size": 144, "n_epochs": 10, "learning_rate": 1e-3}
    sizes |= {"gamma": 0.9, "gae_lambda": 0.9, "ent_coef": 0.01, "seed": 0, "device": "cpu"}
    venv: Any = CueEnv(ROWS, 0)
    policy: Any = RecurrentPolicy if carried else "MultiInputPolicy"
    algorithm: Any = RecurrentPPO if carried else PPO
    model = algorithm(
        policy, SB3VecEnv(venv, recall), policy_kwargs={"net_arch": [64], **sees, **own}, **sizes
    )
    model.learn(STEPS)
    venv = CueEnv(256, 1)
    test, state, begins = SB3VecEnv(venv, recall), None, np.ones(256, bool)
    obs: Any = test.reset()
    for _ in range(DELAY + 1):
        actions, state = model.predict(obs, state=state, episode_start=begins, deterministic=True)
        obs, reward, begins, _ = test.step(actions)
    assert begins.all()
    return float(reward.mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    "memory", ["rnn", "lstm", "gru", "attention", "carried rnn", "carried lstm", "carried gru"]
)
def test_memory_keeps_the_cue(memory: str) -> None:
    torch.set_num_threads(1)
    assert share_right(memory) >= 0.95


@pytest.mark.slow
def test_without_memory_the_cue_is_lost() -> None:
    torch.set_num_threads(1)
    assert share_right("none") <= 0.35
