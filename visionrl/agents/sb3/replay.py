"""Replay that keeps states and looks at them again: a few hundred bytes a step where pictures take many thousands."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium.utils.seeding import np_random
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import DictReplayBufferSamples

from visionrl import ops
from visionrl.ops import to_numpy


class StateRenderer:
    """Renders the observations of stored states.

    Args:
        env: an ``SB3VecEnv``, also in a wrapper that leaves observations alone.

    Raises:
        ValueError: the observations are not what the task shows, such as features in the place of images.
    """

    def __init__(self, env: Any) -> None:
        self.env = env.unwrapped
        self.task = self.env.venv.task
        if env.observation_space != self.task.observation_space:
            raise ValueError(f"env must show what its task shows, got {env.observation_space}")
        first = self.task.sample(np_random(0)[0], 0)
        self.kind = type(first)
        self.fields = {name: np.asarray(value) for name, value in vars(first).items()}

    @property
    def bytes_per_state(self) -> int:
        """Bytes of a state."""
        return sum(value.nbytes for value in self.fields.values())

    def zeros(self, *lengths: int) -> dict[str, np.ndarray]:
        """Room for states: name -> (lengths, ...)."""
        return {name: np.zeros((*lengths, *x.shape), x.dtype) for name, x in self.fields.items()}

    def state(self, rows: dict[str, np.ndarray]) -> Any:
        """The state of such rows, (N, ...) each, where the environment computes."""
        home = next(iter(vars(self.env.venv.state).values()))
        return self.kind(**{name: ops.like(value, home) for name, value in rows.items()})

    def render(self, state: Any) -> dict[str, np.ndarray]:
        """The observation of the state."""
        return {key: to_numpy(value) for key, value in self.task.observe(state).items()}


class StateReplayBuffer(ReplayBuffer):
    """A replay buffer that keeps the state of the task and the action, and makes both observations when they are drawn.

    All chance of a task is in the states that its episodes start from, so the state and the action say all. A
    batch is the same, to the last bit, as that of ``DictReplayBuffer``; it costs the task's observations again, and
    takes the memory of a state: of ``LandmarkLocalization3D-v0`` 0.8 kB instead of 94.

    Use it as ``replay_buffer_class`` of DQN, QRDQN, SAC or TD3 and call ``watch`` before the model learns::

        model = DQN("MultiInputPolicy", env, replay_buffer_class=StateReplayBuffer)
        model.replay_buffer.watch(env)

    Args:
        buffer_size: steps to keep, of all rows together.
        observation_space: of the environment.
        action_space: of the environment.
        device: where batches are wanted.
        n_envs: rows of the environment.
        optimize_memory_usage: must be False, there is nothing left to save.
        handle_timeout_termination: whether an episode that ran out of time is taken to go on.

    Attributes:
        states: name -> (steps, rows, ...), the states in which the actions were taken.

    Raises:
        ValueError: ``optimize_memory_usage`` is on.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: Any,
        action_space: Any,
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
    ) -> None:
        super(ReplayBuffer, self).__init__(
            buffer_size, observation_space, action_space, device, n_envs=n_envs
        )
        if optimize_memory_usage:
            raise ValueError("optimize_memory_usage must be False where states are kept, got True")
        self.buffer_size, self.handle_timeout_termination = (
            max(buffer_size // n_envs, 1),
            handle_timeout_termination,
        )
        shape = (self.buffer_size, n_envs)
        self.actions = np.zeros((*shape, self.action_dim), self._maybe_cast_dtype(action_space.dtype))
        self.rewards, self.dones, self.timeouts = (np.zeros(shape, np.float32) for _ in range(3))
        self.states: dict[str, np.ndarray] = {}
        self.renderer: StateRenderer | None = None

    def watch(self, env: Any) -> None:
        """Keep the states of this environment, an ``SB3VecEnv``; see ``StateRenderer``."""
        self.renderer = StateRenderer(env)
        self.renderer.env.keeps = True
        self.states = self.renderer.zeros(self.buffer_size, self.n_envs)

    def add(
        self, obs: Any, next_obs: Any, action: np.ndarray, reward: np.ndarray, done: np.ndarray, infos: Any
    ) -> None:
        """Take in one step of all rows; the observations are not kept.

        Raises:
            ValueError: nothing was given to watch.
        """
        for name, value in self._seen().env.before.items():
            self.states[name][self.pos] = value
        self.actions[self.pos] = action.reshape(self.n_envs, self.action_dim)
        self.rewards[self.pos], self.dones[self.pos] = reward, done
        if self.handle_timeout_termination:
            self.timeouts[self.pos] = [info.get("TimeLimit.truncated", False) for info in infos]
        self.pos = (self.pos + 1) % self.buffer_size
        self.full |= self.pos == 0

    def sample(self, batch_size: int, env: Any = None) -> DictReplayBufferSamples:  # type: ignore[override]
        """Some steps, each as likely as any other."""
        return super(ReplayBuffer, self).sample(batch_size=batch_size, env=env)

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> DictReplayBufferSamples:  # type: ignore[override]
        which = batch_inds, np.random.randint(0, high=self.n_envs, size=len(batch_inds))  # noqa: NPY002 (as SB3 draws)
        seen, after = self._views(
            {name: value[which] for name, value in self.states.items()}, self.actions[which]
        )
        over = self.dones[which] * (1 - self.timeouts[which])
        return DictReplayBufferSamples(
            observations=seen,
            actions=self.to_torch(self.actions[which]),
            next_observations=after,
            dones=self.to_torch(over[:, None]),
            rewards=self.to_torch(self.rewards[which][:, None]),
        )

    def _views(self, rows: dict[str, np.ndarray], actions: np.ndarray) -> tuple[dict, dict]:
        """Observations of states, and of their successors after an action in each."""
        renderer = self._seen()
        state = renderer.state(rows)
        shape, home = self.action_space.shape or (), next(iter(vars(state).values()))
        taken = ops.like(actions.reshape(len(actions), *shape), home)
        both = (renderer.render(one) for one in (state, renderer.task.step(state, taken)))
        seen, after = ({key: self.to_torch(value) for key, value in one.items()} for one in both)
        return seen, after

    def _seen(self) -> StateRenderer:
        if self.renderer is None:
            raise ValueError("replay buffer must watch an environment before it takes steps; call watch(env)")
        return self.renderer

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "renderer": None}


def bytes_of(space: Any) -> int:
    """Bytes of an observation."""
    boxes = getattr(space, "spaces", {}).values()
    return sum(box.dtype.itemsize * math.prod(box.shape) for box in boxes)
