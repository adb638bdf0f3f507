"""Many episodes of a task in one call per step, on NumPy or torch: Gymnasium's vector environment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from visionrl import ops
from visionrl.core import batch
from visionrl.core.arguments import checked
from visionrl.core.capabilities import PixelActions, action_masks, metrics_of, rewards_of
from visionrl.core.door import (
    check_engine,
    check_seed,
    checked_actions,
    checked_item,
    item_option,
    need_reset,
)
from visionrl.core.env import METADATA
from visionrl.core.registry import make_task
from visionrl.ops import Array


class TaskVectorEnv(VectorEnv):
    """B episodes of a registered task; a finished one restarts in the same step.

    Row i draws from its own generator, seeded ``seed + i``, so it is the single environment with that seed, on any
    backend. ``reset(options={"item": [...]})`` starts the rows from these items. ``info`` holds the task's metrics,
    (B,) each; in a step in which rows ended, also ``final_obs`` and ``final_info`` as Gymnasium's SAME_STEP has them.

    Args:
        num_envs: B.
        task: id of the task.
        preset: name of a set of arguments: a paper's constants, or a smaller task.
        max_episode_steps: time limit, or None.
        backend: "numpy" or "torch"; what observations, rewards and flags are arrays of.
        device: where the episodes and the pixels live, for torch.
        render_mode: None or "rgb_array".
        kwargs: constructor arguments of the task.

    Attributes:
        reward_map: (B, H, W), what each pixel earned by the last step, in tasks of ``PixelActions``; None in others.

    Raises:
        ValueError: the task does not run on the backend, or an argument is out of range.
    """

    metadata = METADATA | {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        num_envs: int,
        task: str,
        preset: str | None = None,
        max_episode_steps: int | None = None,
        backend: str = "numpy",
        device: str = "cpu",
        render_mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        num_envs = checked("num_envs", Annotated[int, Ge(1)], num_envs)
        check_engine(render_mode, max_episode_steps)
        self.task = make_task(task, preset, **kwargs)
        if backend not in self.task.backends:
            raise ValueError(f"backend must be one of {self.task.backends} for {task}, got {backend!r}")
        self.xp = ops.namespace(backend)
        self._home = self.xp.empty((0,), device=device)
        self.num_envs, self.render_mode = num_envs, render_mode
        self.limit = max_episode_steps or np.inf
        self.single_observation_space = self.task.observation_space
        self.single_action_space = self.task.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.rngs = [np_random(None)[0] for _ in range(num_envs)]
        self.elapsed = np.zeros(num_envs, np.int64)
        self.by_pixels = isinstance(self.task, PixelActions) and self.task.labelled
        self.reward_map: Array = None

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict, dict]:
        """Start all episodes; see the class for ``options``."""
        items = self._per_row("options['item']", item_option(options))
        if seed is not None and not isinstance(seed, Sequence | np.ndarray):
            check_seed(seed)
            seed = [int(seed) + i for i in range(self.num_envs)]
        seeds = self._per_row("seed", seed)
        for given in seeds:
            check_seed(given)
        for row, given in enumerate(seeds):
            if given is not None:
                self.rngs[row] = np_random(int(given))[0]
        self.state: Any = self._sample(range(self.num_envs), items)
        self.elapsed[:] = 0
        return self._look()

    def step(self, actions: Any) -> tuple[dict, Array, Array, Array, dict]:
        """Take one action in every episode: (B, ...).

        Raises:
            ValueError: an action is not in the action space; nothing has changed then.
        """
        need_reset(self, "step")
        before = self.state
        actions = checked_actions(actions, self.single_action_space, self.num_envs, self._home)
        state = self.state = self.task.step(before, actions)
        reward = rewards_of(self.task, before, actions, state)
        if self.by_pixels:
            self.reward_map = self.task.reward_map(before, actions, state)  # type: ignore[attr-defined]
        terminated = self.xp.asarray(self.task.terminated(state), copy=True)  # not the state's own
        self.elapsed += 1
        over = self.elapsed >= self.limit
        done = ops.to_numpy(terminated) | over  # the one wait for the device in a step
        obs, info = self._restart(done) if done.any() else self._look()
        return obs, reward, terminated, ops.like(over, self._home), info

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A picture of every episode, (H, W, 3) uint8 RGB, in mode "rgb_array"."""
        if self.render_mode != "rgb_array":
            return None
        need_reset(self, "render")
        here = batch.each(self.state, ops.to_numpy)
        return tuple(self.task.draw(batch.take(here, row)) for row in range(self.num_envs))

    def action_masks(self) -> Array:
        """(B, n) bool, True for actions that are allowed now, of the backend's library.

        Raises:
            ValueError: the actions are not discrete.
        """
        need_reset(self, "action_masks")
        return action_masks(self.task, self.state)

    def snapshot(self) -> dict[str, np.ndarray]:
        """All that decides how the episodes go on, as plain arrays: state, elapsed steps, generators."""
        rngs = [json.dumps(rng.bit_generator.state) for rng in self.rngs]
        state = {f"state.{key}": ops.to_numpy(value).copy() for key, value in vars(self.state).items()}
        return {**state, "elapsed": self.elapsed.copy(), "rngs": np.array(rngs)}

    def restore(self, snapshot: dict[str, np.ndarray]) -> dict[str, Array]:
        """Go on from a snapshot; returns the observations there."""
        template = self.task.sample(np_random(0)[0], 0)
        fields = {key: ops.like(snapshot[f"state.{key}"].copy(), self._home) for key in vars(template)}
        self.state = type(template)(**fields)
        self.elapsed = snapshot["elapsed"].copy()
        for rng, saved in zip(self.rngs, snapshot["rngs"], strict=True):
            rng.bit_generator.state = json.loads(str(saved))
        return self.task.observe(self.state)

    def _per_row(self, name: str, given: Any) -> list[Any]:
        """One value a row; a single value, or None, is repeated for all."""
        values = [given] * self.num_envs if given is None or np.ndim(given) == 0 else list(given)
        if len(values) != self.num_envs:
            raise ValueError(f"{name} must have one entry a row ({self.num_envs}), got {len(values)}")
        return values

    def _sample(self, rows: Sequence[int] | range, items: Sequence[int | None]) -> Any:
        states = []
        for row, asked in zip(rows, items, strict=True):
            item = checked_item(self.task.items, asked, self.rngs[row])
            states.append(self.task.sample(self.rngs[row], item))
        return batch.stack(states, self._home)

    def _look(self) -> tuple[dict, dict]:
        """Observations and info of the present state."""
        return self.task.observe(self.state), self._masked(metrics_of(self.task, self.state))

    def _restart(self, done: np.ndarray) -> tuple[dict, dict]:
        """Begin new episodes in the rows that ended; their ends and beginnings are looked at in one go."""
        rows, count = np.flatnonzero(done), self.num_envs
        fresh = self._sample(rows.tolist(), [None] * len(rows))
        both = batch.join(self.state, fresh)
        order = np.arange(count)
        order[rows] = np.arange(count, count + len(rows))
        where, new, now = (ops.like(index, self._home) for index in (rows, order[rows], order))
        batch.put(self.state, where, fresh)
        self.elapsed[rows] = 0
        obs, metrics = self.task.observe(both), metrics_of(self.task, both)
        final = np.full(count, None, dtype=object)
        last = {key: value[where] for key, value in obs.items()}
        for k, row in enumerate(rows):
            final[row] = {key: value[k] for key, value in last.items()}
        for value in obs.values():
            value[where] = value[new]
        ended: dict[str, Any] = {"final_obs": final, "_final_obs": done, "_final_info": done.copy()}
        ended["final_info"] = self._masked({key: value[:count] for key, value in metrics.items()}, done)
        info = self._masked({key: value[now] for key, value in metrics.items()})
        return {key: value[:count] for key, value in obs.items()}, {**info, **ended}

    def _masked(self, metrics: dict[str, Array], rows: np.ndarray | None = None) -> dict[str, Any]:
        """The metrics, each with Gymnasium's mask of the rows that have it: all by default."""
        mask = np.ones(self.num_envs, bool) if rows is None else rows
        return metrics | {f"_{key}": mask.copy() for key in metrics}
