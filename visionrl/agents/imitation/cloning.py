"""Cloning of the expert: a policy learns its actions, and their values, in the states that the policy will visit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from visionrl.agents.imitation.pixels import clone_pixels
from visionrl.agents.imitation.sequences import clone_sequences
from visionrl.agents.imitation.targets import (
    BATCH,
    MEMORY_BYTES,
    Fit,
    expert_actions,
    expert_weights,
    imitation_loss,
    imitation_targets,
    mixed_actions,
)
from visionrl.agents.policies.pixelwise import PixelPolicy
from visionrl.agents.sb3.replay import StateRenderer, bytes_of
from visionrl.ops import to_numpy


def clone(
    model: Any,
    steps: int,
    chance: float = 0.1,
    rate: float | None = None,
    repeats: int | None = None,
    on_step: Callable[[int, float], None] = lambda done, loss: None,
    rerender: bool = False,
    try_actions: bool = True,
) -> None:
    """Train a model's policy to act like the expert, and its values to be the expert's.

    The expert answers in every state met. At first it also acts; more and more often the policy does, so that it
    learns how to leave the states that its own mistakes lead to (DAgger; Ross et al., 2011). Each row decides by
    itself at each step. What is learnt depends on what the policy has, see ``imitation_loss``; policies of pixels have
    a way of their own, see ``clone_pixels``. The learning rate falls
    to 0; the model's optimizers stay as they are, and so do the critics of SAC and TD3.

    Args:
        model: DQN, QRDQN, PPO, A2C, TRPO, MaskablePPO, RecurrentPPO, SAC, TD3, TQC or alike, in an ``SB3VecEnv``;
            the episodes in it are left behind.
        steps: states to learn from, all rows together.
        chance: share of actions by chance.
        rate: first learning rate; default the algorithm's.
        repeats: how often each state is learnt from, on average; default 8, and 1 for policies of pixels.
        on_step: called after each step with the number of states met, and the last loss.
        rerender: whether states are kept in the place of observations, which takes less memory.
        try_actions: whether every action is tried, to learn its return; False clones the expert's action alone, for
            tasks whose steps are dear.

    Raises:
        ValueError: a number is out of range.
    """
    if steps < 1 or not 0 <= chance <= 1:
        raise ValueError(f"steps must be >= 1 and chance in [0, 1], got {steps} and {chance}")
    if repeats is not None and repeats < 1:
        raise ValueError(f"repeats must be >= 1, got {repeats}")
    if isinstance(model.policy, PixelPolicy):
        return clone_pixels(model, steps, rate, repeats, on_step)
    if hasattr(model.policy, "lstm_actor"):
        return clone_sequences(model, steps, chance, rate, repeats, on_step, rerender, try_actions)
    env, rng = model.get_env(), np.random.default_rng(model.seed)
    memory, fit = Memory(env, steps, rerender), Fit(model, steps, rate, repeats=repeats)
    obs, done = env.reset(), 0
    while done < steps:
        weights = expert_weights(model, try_actions)
        wanted = expert_actions(env) if weights is None else weights.argmax(axis=1)
        memory.add(obs, imitation_targets(model, wanted, try_actions, weights))
        obs = env.step(mixed_actions(model, obs, wanted, (done / steps, chance), rng))[0]
        done += env.num_envs
        fit.catch_up(done, lambda: batch_loss(model, *memory.draw(rng, fit.batch)))
        on_step(min(done, steps), fit.loss)
    sync_target_networks(model)
    model._last_obs = None  # learning begins with new episodes


class Memory:
    """Ring buffer of observations and imitation targets, of at most 1 GB.

    Args:
        env: where it is met.
        steps: how many there will be.
        rerender: whether the states are kept, and looked at when they are drawn.
    """

    def __init__(self, env: Any, steps: int, rerender: bool = False) -> None:
        self.renderer = StateRenderer(env) if rerender else None
        each = self.renderer.bytes_per_state if self.renderer else bytes_of(env.observation_space)
        size = -(-min(steps, MEMORY_BYTES // each) // env.num_envs) * env.num_envs
        boxes = env.observation_space.spaces
        room = {key: np.zeros((size, *box.shape), box.dtype) for key, box in boxes.items() if not rerender}
        self.seen = self.renderer.zeros(size) if self.renderer else room
        self.ages, self.rate = np.zeros(size, np.int64), env.num_envs
        self.wanted = np.zeros((size, 0), np.float32)
        self.count = 0

    def add(self, obs: dict[str, Any], wanted: np.ndarray) -> None:
        """Take in the present step of all rows."""
        if not self.count:
            self.wanted = np.zeros((len(self.wanted), *wanted.shape[1:]), np.float32)
        place = self.count % len(self.wanted)
        rows = slice(place, place + len(wanted))
        self.wanted[rows] = wanted
        for key, value in (self.renderer.env.state() if self.renderer else obs).items():
            self.seen[key][rows] = to_numpy(value)
        if self.renderer:
            self.ages[rows] = self.renderer.env.lengths
        self.count += len(wanted)

    def draw(self, rng: np.random.Generator, count: int = BATCH) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """A batch of observations and answers."""
        filled, oldest = min(self.count, len(self.wanted)), 0
        if self.renderer and self.count > filled:  # the oldest states lack those before them, for a window
            oldest = (self.renderer.steps - 1) * self.rate
        rows = rng.integers(oldest, filled, size=count)
        if self.renderer:
            rows = (rows + (self.count if oldest else 0)) % filled
            return self.renderer.windows(self.seen, self.ages, rows, self.rate), self.wanted[rows]
        return {key: array[rows] for key, array in self.seen.items()}, self.wanted[rows]


def batch_loss(model: Any, seen: dict[str, np.ndarray], wanted: np.ndarray) -> Tensor:
    """The loss of a model on a batch of observations and imitation targets."""
    policy = model.policy
    return imitation_loss(model, policy.obs_to_tensor(seen)[0], torch.as_tensor(wanted, device=policy.device))


def sync_target_networks(model: Any) -> None:
    """Copy the cloned networks into their target networks."""
    policy = model.policy
    for name in ("q_net", "quantile_net", "actor"):
        target = getattr(policy, f"{name}_target", None)
        if target is not None:
            target.load_state_dict(getattr(policy, name).state_dict())
