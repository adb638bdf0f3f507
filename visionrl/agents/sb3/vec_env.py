"""Batched environments as Stable-Baselines3 wants them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv, VecTransposeImage

from visionrl.agents.sb3.recall import Recall, recalled_space
from visionrl.core import TaskVectorEnv
from visionrl.ops import is_torch, to_numpy

Rows = None | int | Iterable[int]


def make_vec_env(
    env_id: str,
    n_envs: int = 1,
    *,
    seed: int | None = None,
    preset: str | None = None,
    backend: str = "numpy",
    device: str = "cpu",
    recall: int = 1,
    **env_kwargs: Any,
) -> VecEnv:
    """A task's batched environment for Stable-Baselines3, in one call: an ``SB3VecEnv``.

    Where Stable-Baselines3 would take the images for channel-last, because they have more channels than rows
    or columns (many stacked frames of a small window), it comes in a ``VecTransposeImage`` that does nothing.

    Args:
        env_id: Gymnasium's id, with the module in front or without (``"visionrl:visionrl/Tracking-v0"``).
        n_envs: episodes at a time.
        seed: row i is the single environment with seed ``seed + i``.
        preset: name of a set of arguments: a paper's constants, or a smaller task.
        backend: "numpy", or "torch": then observations are tensors on ``device``. The buffers of
            Stable-Baselines3 hold NumPy arrays, so beyond the CPU that needs buffers which take tensors.
        device: where the episodes and pixels live, for torch.
        recall: T > 1 shows the last T observations, for ``SequenceExtractor``; see ``SB3VecEnv``.
        env_kwargs: constructor arguments of the task; ``max_episode_steps`` replaces the task's time limit.
    """
    kwargs = {**env_kwargs, "preset": preset, "backend": backend, "device": device}
    venv: Any = gym.make_vec(env_id, num_envs=n_envs, vectorization_mode="vector_entry_point", **kwargs)
    env = SB3VecEnv(venv, recall)
    if seed is not None:
        env.seed(seed)
        env.action_space.seed(seed)
    return VecTransposeImage(env, skip=True) if looks_channel_last(env) else env


class SB3VecEnv(VecEnv):
    """A batched environment with the interface of Stable-Baselines3, monitored.

    The rows that end get what ``DummyVecEnv`` of monitored environments gives them: the task's metrics,
    ``terminal_observation``, ``TimeLimit.truncated``, ``episode`` (return, length, seconds); the info of the
    other rows is empty, since splitting it costs more than the step. The rows share one environment:
    attributes are common to all, and a method is called once, for all.

    Args:
        venv: the environment; it restarts rows in the step in which they end.
        recall: T > 1 gives each observation a leading axis T, the last T observations of the running episode, the
            newest last; zeros stand before the first, where "recalled", (T,) float32, is 0.

    Attributes:
        returns: (B,) float64, rewards of the running episodes so far.
        lengths: (B,) int64, steps of the running episodes so far.
        keeps: whether ``before`` is wanted.
        before: name -> (B, ...), the state in which the last actions were taken.
        ages: (B,) int64, the steps that the episodes had taken by then.
        recall: the windows of what was seen, or None.

    Raises:
        ValueError: the environment restarts its rows in another way, or ``recall`` is < 1.
    """

    def __init__(self, venv: TaskVectorEnv, recall: int = 1) -> None:
        mode = venv.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(f"venv must restart rows in the same step (SAME_STEP), got {mode}")
        self.venv = venv
        self.recall = None if recall == 1 else Recall(recall)
        space = venv.single_observation_space
        space = space if self.recall is None else recalled_space(space, recall)
        super().__init__(venv.num_envs, space, venv.single_action_space)
        self.returns = np.zeros(venv.num_envs)
        self.lengths = np.zeros(venv.num_envs, np.int64)
        self.started = time.time()
        self.keeps, self.before = False, dict[str, np.ndarray]()
        self.ages = self.lengths.copy()

    def reset(self) -> Any:
        """Start all episodes, with the seeds and options set before."""
        items = [options.get("item") for options in self._options]
        obs, info = self.venv.reset(seed=self._seeds, options={"item": items})
        self.reset_infos = split_info(info, np.arange(self.num_envs))
        self._reset_seeds()
        self._reset_options()
        self.returns[:], self.lengths[:] = 0, 0
        return obs if self.recall is None else self.recall.begin(obs)

    def step_async(self, actions: Any) -> None:
        """Take note of the actions, (B, ...)."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Take the step: observations, (B,) float32 rewards, (B,) bool dones, B infos."""
        if self.keeps:
            self.before, self.ages = self.state(), self.lengths.copy()
        obs, reward, terminated, truncated, info = self.venv.step(self._actions)
        reward, terminated = to_numpy(reward), to_numpy(terminated)
        dones = terminated | to_numpy(truncated)
        self.returns += reward
        self.lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if dones.any():
            self._end(np.flatnonzero(dones), terminated, info, infos)
        seen = obs if self.recall is None else self.recall.add(obs, dones)
        return seen, reward.astype(np.float32), dones, infos

    def state(self) -> dict[str, np.ndarray]:
        """The present state of all rows: name -> (B, ...), copied."""
        return {name: np.array(to_numpy(value)) for name, value in vars(self.venv.state).items()}

    def _end(self, rows: np.ndarray, terminated: np.ndarray, info: dict, infos: list[dict]) -> None:
        """Fill the infos of the rows that ended, and begin their counts anew."""
        seconds = round(time.time() - self.started, 6)
        last, first = split_info(info["final_info"], rows), split_info(info, rows)
        for row, final, fresh in zip(rows.tolist(), last, first, strict=True):
            end = info["final_obs"][row]
            episode = {"r": round(float(self.returns[row]), 6), "l": int(self.lengths[row]), "t": seconds}
            infos[row] = {
                **final,
                "episode": episode,
                "terminal_observation": end if self.recall is None else self.recall.last(row, end),
                "TimeLimit.truncated": not terminated[row],
            }
            self.reset_infos[row] = fresh
        self.returns[rows], self.lengths[rows] = 0, 0

    def close(self) -> None:
        """Release what the environment holds."""
        self.venv.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """A picture of every row, in render mode "rgb_array"."""
        return self.venv.render() or [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Rows = None) -> list[Any]:
        """An attribute of the environment, once per row asked for."""
        value = getattr(self.venv, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Rows = None) -> None:
        """Set an attribute for all rows.

        Raises:
            ValueError: only some rows were asked for; they share the environment.
        """
        if set(self._get_indices(indices)) != set(range(self.num_envs)):
            raise ValueError(f"indices must be all rows, which share one environment, got {indices}")
        setattr(self.venv, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Rows = None, **kwargs: Any) -> list[Any]:
        """Call a method once for all rows; an answer with one entry per row is handed out row by row.

        Tensors come as NumPy arrays.
        """
        answer = getattr(self.venv, method_name)(*args, **kwargs)
        answer = to_numpy(answer) if is_torch(answer) else answer
        per_row = isinstance(answer, tuple | list | np.ndarray) and len(answer) == self.num_envs
        return [answer[row] if per_row else answer for row in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Rows = None) -> list[bool]:
        """True for ``Monitor``, whose work is done here."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]


def split_info(info: dict[str, Any], rows: np.ndarray) -> list[dict[str, Any]]:
    """The metrics of some rows, as Python numbers, from arrays (B,) each."""
    keys = [key for key in info if not key.startswith("_") and not key.startswith("final_")]
    if not keys:  # of a task without labels
        return [{} for _ in rows]
    columns = [to_numpy(info[key])[rows].tolist() for key in keys]
    return [dict(zip(keys, values, strict=True)) for values in zip(*columns, strict=True)]


def looks_channel_last(env: VecEnv) -> bool:
    """Tell if Stable-Baselines3 would transpose an image: it takes the smallest side for the channels."""
    spaces = getattr(env.observation_space, "spaces", {}).values()
    return any(is_image_space(space) and np.argmin(space.shape) != 0 for space in spaces)
