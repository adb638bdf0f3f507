"""A learned reward for one environment of Gymnasium."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from visionrl.reward_models.combine import Combination, Mode, Score


class LearnedReward(gym.Wrapper):
    """An environment whose reward is what a model thinks of the observation after the step.

    ``info`` has the score as "score", and the task's own reward as "task_reward".

    Args:
        env: an environment with dict observations.
        score: the model, such as ``ClassifierConfidence``.
        weight: factor of the score.
        mode: "replace" drops the task's own reward, "add" keeps it.
        difference: what the score gained in the step instead of what it is.

    Raises:
        ValueError: an unknown mode.
    """

    def __init__(
        self,
        env: gym.Env,
        score: Score,
        weight: float = 1.0,
        mode: Mode = "replace",
        difference: bool = False,
    ) -> None:
        super().__init__(env)
        self.score, self.combine = score, Combination(weight, mode, difference)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        """Start an episode."""
        obs, info = self.env.reset(seed=seed, options=options)
        self.last = self._score(obs)
        return obs, {**info, "score": self.last}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        """Take one action."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        before, self.last = self.last, self._score(obs)
        info = {**info, "score": self.last, "task_reward": float(reward)}
        return obs, float(self.combine(reward, before, self.last)), terminated, truncated, info

    def _score(self, obs: Any) -> float:
        return float(self.score({key: np.asarray(value)[None] for key, value in obs.items()})[0])
