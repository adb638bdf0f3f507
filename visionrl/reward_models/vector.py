"""A learned reward for the batched environments of Stable-Baselines3."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from visionrl.reward_models.combine import Combination, Mode, Score


class VecLearnedReward(VecEnvWrapper):
    """A batched environment whose rewards are what a model thinks of the observations after the step.

    The model sees all rows at once, those that ended with their last observation. In the info of a row that ended,
    "episode" has the return of these rewards, "task_return" that of the task's own, "score" the last score.

    Args:
        venv: an environment with dict observations.
        score: the model, such as ``ClassifierConfidence``.
        weight: factor of the score.
        mode: "replace" drops the task's own reward, "add" keeps it.
        difference: what the score gained in the step instead of what it is.

    Attributes:
        scores: (B,) float64, of the present observations.

    Raises:
        ValueError: an unknown mode.
    """

    def __init__(
        self,
        venv: VecEnv,
        score: Score,
        weight: float = 1.0,
        mode: Mode = "replace",
        difference: bool = False,
    ) -> None:
        super().__init__(venv)
        self.score, self.combine = score, Combination(weight, mode, difference)
        self.scores, self.returns = np.zeros(self.num_envs), np.zeros(self.num_envs)

    def reset(self) -> Any:
        """Start all episodes."""
        obs: Any = self.venv.reset()
        self.scores, self.returns = np.array(self.score(obs), float), np.zeros(self.num_envs)
        return obs

    def step_wait(self) -> Any:
        """Take the step: observations, (B,) float32 rewards, (B,) bool dones, B infos."""
        step: Any = self.venv.step_wait()
        obs, rewards, dones, infos = step
        ended = np.flatnonzero(dones).tolist()
        now = self.score(_with_last(obs, infos, ended))
        after = np.array(now[: self.num_envs], float)
        after[ended] = now[self.num_envs :]
        learned = self.combine(rewards, self.scores, after)
        self.returns += learned
        for row in ended:
            self._end(row, infos[row], after[row])
        self.scores = np.array(now[: self.num_envs], float)
        return obs, learned.astype(np.float32), dones, infos

    def _end(self, row: int, info: dict[str, Any], score: float) -> None:
        """Fill the info of a row that ended, and restart its count."""
        info["score"] = float(score)
        if "episode" in info:
            info["task_return"] = info["episode"]["r"]
            info["episode"] = {**info["episode"], "r": round(float(self.returns[row]), 6)}
        self.returns[row] = 0


def _with_last(obs: dict[str, Any], infos: list[dict[str, Any]], ended: list[int]) -> dict[str, Any]:
    """The observations (B, ...), and behind them the last ones of the rows that ended."""
    if not ended:
        return obs
    return {
        key: _joined(value, [infos[row]["terminal_observation"][key] for row in ended])
        for key, value in obs.items()
    }


def _joined(rows: Any, more: list[Any]) -> Any:
    if isinstance(rows, torch.Tensor):
        return torch.cat([rows, torch.stack(more)])
    return np.concatenate([rows, np.stack(more)])
