"""One episode of a task as a Gymnasium environment: a batch of one on NumPy, the batch axis taken off at the door."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from visionrl.core import batch
from visionrl.core.registry import make_task

METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 8}


class TaskEnv(gym.Env):
    """A registered task, one episode at a time; ``gym.make`` builds it.

    ``reset(options={"item": i})`` starts from the task's i-th item instead of a random one. ``info`` holds the
    task's metrics as Python numbers.

    Args:
        task: id of the task.
        preset: name of a paper whose constants to use.
        render_mode: None or "rgb_array".
        kwargs: constructor arguments of the task.
    """

    metadata = METADATA

    def __init__(
        self, task: str, preset: str | None = None, render_mode: str | None = None, **kwargs: Any
    ) -> None:
        self.task = make_task(task, preset, **kwargs)
        self.render_mode = render_mode
        self.observation_space = self.task.observation_space
        self.action_space = self.task.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Start an episode; see the class for ``options``."""
        super().reset(seed=seed)
        item = chosen_item(self.task.items, (options or {}).get("item"), self.np_random)
        self.state = batch.stack([self.task.sample(self.np_random, item)])
        return self._observe(), self._info()

    def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
        """Take one action."""
        before, actions = self.state, np.asarray(action)[None]
        self.state = self.task.step(before, actions)
        reward = float(self.task.reward(before, actions, self.state)[0])
        return self._observe(), reward, bool(self.task.terminated(self.state)[0]), False, self._info()

    def render(self) -> np.ndarray | None:
        """A picture of the episode, (H, W, 3) uint8 RGB, in mode "rgb_array"."""
        return self.task.draw(batch.take(self.state, 0)) if self.render_mode == "rgb_array" else None

    def _observe(self) -> dict[str, np.ndarray]:
        return {key: value[0] for key, value in self.task.observe(self.state).items()}

    def _info(self) -> dict[str, Any]:
        return {key: value[0].item() for key, value in self.task.metrics(self.state).items()}


def chosen_item(items: int, asked: Any, rng: np.random.Generator) -> int:
    """The item asked for, or a random one.

    Raises:
        ValueError: there is no such item.
    """
    if asked is None:
        return int(rng.integers(items))
    if not 0 <= int(asked) < items:
        raise ValueError(f"options['item'] must be in [0, {items}), got {asked}")
    return int(asked)
