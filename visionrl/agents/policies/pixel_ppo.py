"""PPO for tasks in which every pixel acts: advantage, ratio and clip are the pixels' own."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import DictRolloutBuffer
from stable_baselines3.common.utils import obs_as_tensor
from torch import Tensor
from torch.nn import functional as F

from visionrl.core.capabilities import name_of, pixels_of
from visionrl.ops import to_numpy
from visionrl.ops.kernels import gaussian

MAPS = ("rewards", "values", "log_probs", "advantages", "returns")


class PixelPPO(PPO):
    """PPO whose agents are the pixels, which share one ``PixelPolicy``; the loss is a mean over all of them.

    The reward is the task's ``reward_map``, not its mean. What a pixel does changes its neighbours' next steps, so the
    value of the next step is spread by a Gaussian first (reward-map convolution; Furuta et al., 2019, learn it).

    Args:
        policy: ``PixelPolicy``.
        env: an ``SB3VecEnv`` of a task of ``PixelActions``.
        influence: standard deviation of that Gaussian, pixels; 0 for none.
        kwargs: of PPO; ``batch_size`` counts images.

    Raises:
        ValueError: the actions are none of pixels, or ``influence`` is out of range.
    """

    rollout_buffer: PixelBuffer

    def __init__(self, policy: Any, env: Any, *, influence: float = 1.0, **kwargs: Any) -> None:
        if not 0 <= influence <= 20:
            raise ValueError(f"influence must be in [0, 20], got {influence}")
        self.influence = influence
        super().__init__(policy, env, **{**kwargs, "rollout_buffer_class": PixelBuffer})

    def _setup_model(self) -> None:
        if pixels_of(self.action_space) is None:
            rule = "actions must be those of pixels for PixelPPO"
            raise ValueError(f"{rule}, got {name_of(self.action_space)}")
        super()._setup_model()
        self.rollout_buffer.watch(self)


class PixelBuffer(DictRolloutBuffer):
    """A rollout of maps, (steps, B, H, W) each; what pixels earn comes from the environment behind the model.

    Where an episode runs into a time limit, Stable-Baselines3 adds the value of its last state to the reward; here all
    pixels get the mean of their values.
    """

    def watch(self, model: PixelPPO) -> None:
        """Take the model whose rollouts come in."""
        self.model = model

    def reset(self) -> None:
        """Make room for a rollout."""
        super().reset()
        shape = (self.buffer_size, self.n_envs, *(self.action_space.shape or ()))
        self.actions = np.zeros(shape, np.uint8)
        for name in MAPS:
            setattr(self, name, np.zeros(shape, np.float32))

    def add(
        self, obs: Any, action: Any, reward: Any, episode_start: Any, value: Tensor, log_prob: Tensor
    ) -> None:
        """Take in the step of all rows that the environment has just made."""
        env: Any = self.model.get_env()
        earned = to_numpy(env.unwrapped.venv.reward_map).astype(np.float32)
        beyond = reward - earned.mean(axis=(1, 2))
        for key, part in self.observations.items():
            part[self.pos] = obs[key]
        self.actions[self.pos], self.rewards[self.pos] = action, earned + beyond[:, None, None]
        self.values[self.pos], self.log_probs[self.pos] = value.cpu().numpy(), log_prob.cpu().numpy()
        self.episode_starts[self.pos] = episode_start
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def compute_returns_and_advantage(self, last_values: Tensor, dones: np.ndarray) -> None:
        """Generalized advantages of each pixel, over its neighbourhood; ``last_values`` are means and not needed."""
        model: Any = self.model
        with torch.no_grad():
            following = model.policy.maps(obs_as_tensor(model._last_obs, model.device))[1].cpu().numpy()
        goes_on, advantage = 1.0 - dones.astype(np.float32), np.zeros_like(following)
        for step in reversed(range(self.buffer_size)):
            ahead = self.gamma * goes_on[:, None, None]
            ahead = ahead * spread(following + self.gae_lambda * advantage, model.influence)
            advantage = self.rewards[step] + ahead - self.values[step]
            self.advantages[step], following = advantage, self.values[step]
            goes_on = 1.0 - self.episode_starts[step]
        self.returns = self.advantages + self.values


def spread(maps: np.ndarray, influence: float) -> np.ndarray:
    """Maps (B, H, W) float32 blurred by a Gaussian of a standard deviation in pixels; 0 leaves them as they are."""
    if not influence:
        return maps
    kernel = torch.tensor(gaussian(influence))[None, None]
    half = ceil(3 * influence)
    padded = F.pad(torch.from_numpy(maps)[:, None], (half,) * 4, mode="replicate")
    return F.conv2d(padded, kernel.to(padded.dtype))[:, 0].numpy()
