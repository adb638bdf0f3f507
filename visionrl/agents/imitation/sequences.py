"""Cloning of policies that carry a state along: from sequences of steps, each from the state it began in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from torch import Tensor

from visionrl.agents.imitation.targets import (
    MEMORY_BYTES,
    Fit,
    actor_critic_loss,
    expert_actions,
    imitation_targets,
    mixed_actions,
)
from visionrl.agents.sb3.replay import StateRenderer, bytes_of
from visionrl.ops import to_numpy

LENGTH = 16  # steps of a sequence


def clone_sequences(
    model: Any,
    steps: int,
    chance: float,
    rate: float | None,
    repeats: int | None,
    on_step: Callable[[int, float], None],
    rerender: bool,
    try_actions: bool,
) -> None:
    """``clone`` for RecurrentPPO.

    The expert answers as in ``clone``, while the policy reads what is seen, whoever acts. It learns from sequences of
    16 steps, through which gradients flow, from the state in which the sequence began when it was met.

    Args:
        model: RecurrentPPO.
        steps: as in ``clone``, like all below.
        chance: share of actions by chance.
        rate: first learning rate, or None.
        repeats: how often each state is learnt from, or None.
        on_step: called with how many states were met, and the last loss.
        rerender: whether states are kept in the place of observations.
        try_actions: whether the critic learns too.
    """
    env, rng = model.get_env(), np.random.default_rng(model.seed)
    memory, fit = SequenceMemory(env, steps, rerender), Fit(model, steps, rate, repeats=repeats)
    obs, done, count = env.reset(), 0, max(fit.batch // LENGTH, 1)
    starts, states = np.ones(env.num_envs, bool), zero_states(model.policy, env.num_envs)
    while done < steps:
        wanted = expert_actions(env)
        memory.add(obs, imitation_targets(model, wanted, try_actions), starts, states)
        acts, states = carried_actions(model.policy, obs, states, starts)
        obs, _, starts, _ = env.step(mixed_actions(model, obs, wanted, (done / steps, chance), rng, acts))
        done += env.num_envs
        if memory.count:
            fit.catch_up(done, lambda: batch_loss(model, *memory.draw(rng, count)))
        on_step(min(done, steps), fit.loss)
    model._last_obs = None  # learning begins with new episodes


class SequenceMemory:
    """Ring buffer of sequences of 16 steps of all rows, of at most 1 GB.

    Args:
        env: where they are met.
        steps: how many there will be, of all rows together.
        rerender: whether the states are kept, and looked at when they are drawn.

    Attributes:
        count: sequences that are complete, of each row.
    """

    def __init__(self, env: Any, steps: int, rerender: bool = False) -> None:
        self.renderer = StateRenderer(env) if rerender else None
        each = self.renderer.bytes_per_state if self.renderer else bytes_of(env.observation_space)
        size = max(-(-min(steps, MEMORY_BYTES // each) // (env.num_envs * LENGTH)), 1)
        self.shape = shape = (size, LENGTH, env.num_envs)
        boxes = env.observation_space.spaces
        self.seen = (
            self.renderer.zeros(*shape)
            if self.renderer
            else {key: np.zeros((*shape, *box.shape), box.dtype) for key, box in boxes.items()}
        )
        self.starts = np.zeros(shape, bool)
        self.wanted = np.zeros((*shape, 0), np.float32)
        self.states: list[RNNStates] = []
        self.time = self.count = 0

    def add(self, obs: dict[str, Any], wanted: np.ndarray, starts: np.ndarray, states: RNNStates) -> None:
        """Take in the present step of all rows.

        Args:
            obs: what they see, (B, ...) each.
            wanted: (B, n) imitation targets.
            starts: (B,), rows whose episode begins.
            states: the policy's recurrent state before the step.
        """
        if not self.time:
            self.wanted = np.zeros((*self.shape, wanted.shape[1]), np.float32)
        number, step = divmod(self.time, LENGTH)
        place = number % self.shape[0]
        if not step:
            self.states[place : place + 1] = [states]
        self.wanted[place, step], self.starts[place, step] = wanted, starts
        for key, value in (self.renderer.env.state() if self.renderer else obs).items():
            self.seen[key][place, step] = to_numpy(value)
        self.time += 1
        self.count = min(max(self.time // LENGTH, self.count), self.shape[0])

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Any, np.ndarray, np.ndarray, RNNStates]:
        """Observations, targets and starts of sequences, (count * 16, ...) each, and the states before them."""
        running = self.time // LENGTH % self.shape[0] if self.time % LENGTH else -1  # written at present
        known = [place for place in range(self.count) if place != running] or [0]
        places, rows = rng.choice(known, count), rng.integers(self.shape[2], size=count)
        taken: dict[str, Any] = {**self.seen, " wanted": self.wanted, " starts": self.starts}
        flat = {key: x[places, :, rows].reshape(count * LENGTH, *x.shape[3:]) for key, x in taken.items()}
        wanted, starts = flat.pop(" wanted"), flat.pop(" starts")
        seen = self.renderer.render(self.renderer.state(flat)) if self.renderer else flat
        begun = [
            tuple(
                torch.stack(
                    [self.states[p][net][part][:, row] for p, row in zip(places, rows, strict=True)], 1
                )
                for part in (0, 1)
            )
            for net in (0, 1)
        ]
        return seen, wanted, starts, RNNStates(*begun)


def zero_states(policy: Any, rows: int) -> RNNStates:
    """The recurrent state of a policy before the first step: zeros, (layers, rows, n)."""
    layers, _, size = policy.lstm_hidden_state_shape
    blank = torch.zeros(layers, rows, size, device=policy.device)
    return RNNStates((blank, blank), (blank, blank))


@torch.no_grad()
def carried_actions(
    policy: Any, obs: dict[str, Any], states: RNNStates, starts: np.ndarray
) -> tuple[np.ndarray, RNNStates]:
    """(B, ...) a policy's best actions, and its next recurrent state."""
    policy.set_training_mode(False)
    begins = torch.as_tensor(starts, dtype=torch.float32, device=policy.device)
    found, _, _, states = policy.forward(policy.obs_to_tensor(obs)[0], states, begins, deterministic=True)
    actions, space = found.cpu().numpy(), policy.action_space
    return np.clip(actions, space.low, space.high) if isinstance(space, spaces.Box) else actions, states


def batch_loss(model: Any, seen: Any, wanted: np.ndarray, starts: np.ndarray, states: RNNStates) -> Tensor:
    """The loss of a model on sequences, see ``SequenceMemory.draw``."""
    policy = model.policy
    begins = torch.as_tensor(starts, dtype=torch.float32, device=policy.device)
    distribution, value = carried_outputs(policy, policy.obs_to_tensor(seen)[0], states, begins)
    answer = torch.as_tensor(wanted, device=policy.device)
    return actor_critic_loss(model, distribution, lambda: value, answer)


def carried_outputs(
    policy: Any, obs: dict[str, Tensor], states: RNNStates, starts: Tensor
) -> tuple[Any, Tensor]:
    """The distribution of actions and the value, (B, 1), of sequences one behind the other.

    The value has no gradient to what its network shares with the actor.
    """
    features = policy.extract_features(obs)
    acts, critic_features = (features, features.detach()) if policy.share_features_extractor else features
    latent, _ = policy._process_sequence(acts, states.pi, starts, policy.lstm_actor)
    if policy.lstm_critic is not None:
        valued, _ = policy._process_sequence(critic_features, states.vf, starts, policy.lstm_critic)
    else:
        valued = latent.detach() if policy.shared_lstm else policy.critic(critic_features)
    distribution = policy._get_action_dist_from_latent(policy.mlp_extractor.forward_actor(latent))
    return distribution, policy.value_net(policy.mlp_extractor.forward_critic(valued))
