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
from visionrl.agents.sb3.recall import RECALLED, recalled_space, recalled_steps
from visionrl.ops import to_numpy


class StateRenderer:
    """Renders the observations of stored states.

    Args:
        env: an ``SB3VecEnv``, also in a wrapper that leaves observations alone.

    Attributes:
        steps: T of the windows that the environment shows, or 1.

    Raises:
        ValueError: the observations are not what the task shows, such as features in the place of images.
    """

    def __init__(self, env: Any) -> None:
        self.env = env.unwrapped
        self.task = self.env.venv.task
        self.steps = recalled_steps(env.observation_space)
        shown: Any = self.task.observation_space
        if env.observation_space != (shown if self.steps == 1 else recalled_space(shown, self.steps)):
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

    def windows(
        self, states: dict[str, np.ndarray], ages: np.ndarray, rows: np.ndarray, rate: int
    ) -> dict[str, np.ndarray]:
        """The observations of stored states, or windows of T observations, as the environment showed them.

        Args:
            states: name -> (M, ...), a ring.
            ages: (M,), how many of the states before one, of the same episode, are in the ring.
            rows: (N,) places of the states that are wanted.
            rate: places from a state to the next of its episode.
        """
        if self.steps == 1:
            return self.render(self.state({name: value[rows] for name, value in states.items()}))
        back = np.arange(self.steps - 1, -1, -1)
        real = back <= ages[rows][:, None]
        places = ((rows[:, None] - back * rate) % len(ages))[real]
        found = self.render(self.state({name: value[places] for name, value in states.items()}))
        blank = {key: np.zeros((*real.shape, *x.shape[1:]), x.dtype) for key, x in found.items()}
        for key, value in found.items():
            blank[key][real] = value
        return {**blank, RECALLED: real.astype(np.float32)}


class StateReplayBuffer(ReplayBuffer):
    """A replay buffer that keeps the state of the task and the action, and makes both observations when they are drawn.

    All chance of a task is in the states that its episodes start from, so the state and the action say all. A
    batch is the same, to the last bit, as that of ``DictReplayBuffer``; it costs the task's observations again, and
    takes the memory of a state: of ``LandmarkLocalization3D-v0`` 0.8 kB instead of 94. Windows of the last T
    observations are made of the T states, each of which is kept once; the T - 1 oldest steps of a full buffer are not
    drawn.

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
        ages: (steps, rows) int64, how many states before one, of the same episode, have been kept.

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
        self.ages = np.zeros(shape, np.int64)
        self.states: dict[str, np.ndarray] = {}
        self.renderer: StateRenderer | None = None

    def watch(self, env: Any) -> None:
        """Keep the states of this environment, an ``SB3VecEnv``; see ``StateRenderer``.

        Raises:
            ValueError: there is no room for the states of one window.
        """
        self.renderer = StateRenderer(env)
        if self.buffer_size < self.renderer.steps:
            rule = f"buffer_size must be >= {self.renderer.steps * self.n_envs}, a window of each row"
            raise ValueError(f"{rule}, got {self.buffer_size * self.n_envs}")
        self.renderer.env.keeps = True
        self.states = self.renderer.zeros(self.buffer_size, self.n_envs)

    def add(
        self, obs: Any, next_obs: Any, action: np.ndarray, reward: np.ndarray, done: np.ndarray, infos: Any
    ) -> None:
        """Take in one step of all rows; the observations are not kept.

        Raises:
            ValueError: nothing was given to watch.
        """
        env = self._seen().env
        for name, value in env.before.items():
            self.states[name][self.pos] = value
        known = self.ages[self.pos - 1] + 1 if self.pos or self.full else 0
        self.ages[self.pos] = np.minimum(env.ages, known)
        self.actions[self.pos] = action.reshape(self.n_envs, self.action_dim)
        self.rewards[self.pos], self.dones[self.pos] = reward, done
        if self.handle_timeout_termination:
            self.timeouts[self.pos] = [info.get("TimeLimit.truncated", False) for info in infos]
        self.pos = (self.pos + 1) % self.buffer_size
        self.full |= self.pos == 0

    def sample(self, batch_size: int, env: Any = None) -> DictReplayBufferSamples:  # type: ignore[override]
        """Some steps, each as likely as any other."""
        steps = self._seen().steps
        if steps == 1 or not self.full:
            return super(ReplayBuffer, self).sample(batch_size=batch_size, env=env)
        newer = np.random.randint(steps - 1, self.buffer_size, size=batch_size)  # noqa: NPY002 (as SB3 draws)
        return self._get_samples((self.pos + newer) % self.buffer_size, env)

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> DictReplayBufferSamples:  # type: ignore[override]
        which = batch_inds, np.random.randint(0, high=self.n_envs, size=len(batch_inds))  # noqa: NPY002 (as SB3 draws)
        seen, after = self._views(which)
        over = self.dones[which] * (1 - self.timeouts[which])
        return DictReplayBufferSamples(
            observations=seen,
            actions=self.to_torch(self.actions[which]),
            next_observations=after,
            dones=self.to_torch(over[:, None]),
            rewards=self.to_torch(self.rewards[which][:, None]),
        )

    def _views(self, which: tuple[np.ndarray, np.ndarray]) -> tuple[dict, dict]:
        """Observations of the states at (steps, rows), and of their successors after the action in each."""
        renderer, actions = self._seen(), self.actions[which]
        state = renderer.state({name: value[which] for name, value in self.states.items()})
        shape, home = self.action_space.shape or (), next(iter(vars(state).values()))
        taken = ops.like(actions.reshape(len(actions), *shape), home)
        flat = {name: value.reshape(self.ages.size, *value.shape[2:]) for name, value in self.states.items()}
        before = renderer.windows(flat, self.ages.ravel(), which[0] * self.n_envs + which[1], self.n_envs)
        after = renderer.render(renderer.task.step(state, taken))
        if renderer.steps > 1:
            after[RECALLED] = np.ones(len(actions), np.float32)
            after = {k: np.concatenate([before[k][:, 1:], x[:, None]], axis=1) for k, x in after.items()}
        seen, then = ({key: self.to_torch(value) for key, value in one.items()} for one in (before, after))
        return seen, then

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
