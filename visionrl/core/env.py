"""One episode of a task as a Gymnasium environment: a batch of one on NumPy, the batch axis taken off at the door."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from visionrl.core import batch
from visionrl.core.capabilities import action_masks, metrics_of, rewards_of
from visionrl.core.door import (
    check_engine,
    check_seed,
    checked_actions,
    checked_item,
    item_option,
    need_reset,
)
from visionrl.core.registry import make_task

HOME = np.zeros(0)  # where a single episode lives: in NumPy
METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 8}


class TaskEnv(gym.Env):
    """A registered task, one episode at a time; ``gym.make`` builds it.

    ``reset(options={"item": i})`` starts from the task's i-th item instead of a random one. ``info`` holds the
    task's metrics as Python numbers.

    Args:
        task: id of the task.
        preset: name of a set of arguments: a paper's constants, or a smaller task.
        render_mode: None or "rgb_array".
        kwargs: constructor arguments of the task.
    """

    metadata = METADATA

    def __init__(
        self, task: str, preset: str | None = None, render_mode: str | None = None, **kwargs: Any
    ) -> None:
        check_engine(render_mode)
        self.task = make_task(task, preset, **kwargs)
        self.render_mode = render_mode
        self.observation_space = self.task.observation_space
        self.action_space = self.task.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Start an episode; see the class for ``options``."""
        check_seed(seed)
        asked = item_option(options)
        super().reset(seed=None if seed is None else int(seed))
        item = checked_item(self.task.items, asked, self.np_random)
        self.state = batch.stack([self.task.sample(self.np_random, item)])
        return self._observe(), self._info()

    def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
        """Take one action.

        Raises:
            ValueError: the action is not in the action space.
        """
        need_reset(self, "step")
        before, actions = self.state, checked_actions(action, self.action_space, None, HOME)
        self.state = self.task.step(before, actions)
        reward = float(rewards_of(self.task, before, actions, self.state)[0])
        return self._observe(), reward, bool(self.task.terminated(self.state)[0]), False, self._info()

    def render(self) -> np.ndarray | None:
        """A picture of the episode, (H, W, 3) uint8 RGB, in mode "rgb_array"."""
        if self.render_mode != "rgb_array":
            return None
        need_reset(self, "render")
        return self.task.draw(batch.take(self.state, 0))

    def action_masks(self) -> np.ndarray:
        """(n,) bool, True for actions that are allowed now; ``sb3_contrib.MaskablePPO`` asks for it.

        Raises:
            ValueError: the actions are not discrete.
        """
        need_reset(self, "action_masks")
        return action_masks(self.task, self.state)[0]

    def _observe(self) -> dict[str, np.ndarray]:
        return {key: value[0] for key, value in self.task.observe(self.state).items()}

    def _info(self) -> dict[str, Any]:
        return {key: value[0].item() for key, value in metrics_of(self.task, self.state).items()}
