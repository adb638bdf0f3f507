"""Guided exploration: where an epsilon-greedy algorithm acts at random, it does so among good actions."""

from __future__ import annotations

from typing import Any

import numpy as np
from sb3_contrib import QRDQN
from stable_baselines3 import DQN

from visionrl.core.capabilities import good_actions
from visionrl.ops import to_numpy


class _Guided:
    """Mixin by which ``guided`` replaces the random actions of an algorithm."""

    def _sample_action(self: Any, learning_starts: int, action_noise: Any = None, n_envs: int = 1) -> Any:
        """The actions of all rows, and the same for the replay buffer."""
        if self.num_timesteps < learning_starts or np.random.rand() < self.exploration_rate:  # noqa: NPY002
            actions = sample_good_actions(self.env)
        else:
            actions, _ = self.predict(self._last_obs, deterministic=True)
        return actions, actions


def guided(algorithm: type) -> type:
    """An epsilon-greedy algorithm (DQN, QRDQN) whose random actions earn something at once.

    Each is drawn from ``good_actions``, with equal chances, during the warm-up too. When to act at random is
    decided as before. Source: Caicedo & Lazebnik (2015), who call it guided exploration.

    Args:
        algorithm: a class of Stable-Baselines3; it must learn in an ``SB3VecEnv``.

    Raises:
        ValueError: the algorithm is not epsilon-greedy.
    """
    if not issubclass(algorithm, (DQN, QRDQN)):
        raise ValueError(f"algorithm must be epsilon-greedy, such as DQN, got {algorithm.__name__}")
    return type(f"Guided{algorithm.__name__}", (_Guided, algorithm), {})


def sample_good_actions(env: Any) -> np.ndarray:
    """(B,) int64 actions, drawn from the good ones of each row's state; from all where none is good."""
    venv = env.unwrapped.venv
    good = to_numpy(good_actions(venv.task, venv.state))
    return np.argmax(good + np.random.rand(*good.shape), axis=1)  # noqa: NPY002 (as Stable-Baselines3 draws)
