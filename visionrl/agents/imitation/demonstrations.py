"""Double DQN, and DQN that keeps demonstrations of the expert beside its own steps (DQfD)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import DictReplayBuffer
from torch import Tensor
from torch.nn import functional as F

from visionrl.agents.imitation.targets import expert_actions


class DoubleDQN(DQN):
    """DQN in which the network that learns chooses the next action, and its target says what that is worth.

    Source: van Hasselt et al. (2016), "Deep reinforcement learning with double Q-learning".
    """

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Take so many steps of the optimizer."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        losses = []
        for _ in range(gradient_steps):
            loss = self.loss(batch_size)
            losses.append(loss.item())
            self.policy.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", np.mean(losses))

    def loss(self, batch_size: int) -> Tensor:
        """Loss on a new batch from the replay buffer."""
        return self.surprise(self.replay_buffer.sample(batch_size))[0]  # type: ignore[union-attr]

    def surprise(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Huber loss of the temporal-difference errors on a batch, and the Q-values of all actions, (B, n)."""
        with torch.no_grad():
            best = self.q_net(batch.next_observations).argmax(1, keepdim=True)
            following = self.q_net_target(batch.next_observations).gather(1, best)
            target = batch.rewards + (1 - batch.dones) * self.gamma * following
        values = self.q_net(batch.observations)
        return F.smooth_l1_loss(values.gather(1, batch.actions.long()), target), values


class DQfD(DoubleDQN):
    """Double DQN that also learns from demonstrations, which it never forgets.

    A share of each batch is drawn from them, and there the expert's action must be worth more than any other by a
    margin. Of the paper it leaves out the returns over n steps, the priorities and the weight decay; the learning
    before the first own step is ``clone``'s. Call ``demonstrate`` before ``learn``.

    Args:
        args: of DQN.
        demo_share: share of each batch that is demonstrated.
        margin: by which the expert's action must be worth more.
        kwargs: of DQN.

    Attributes:
        demos: the demonstrations, or None.

    Raises:
        ValueError: the share is not in (0, 1), or ``learn`` is called without demonstrations.

    Source: Hester et al. (2018), "Deep Q-learning from demonstrations".
    """

    def __init__(self, *args: Any, demo_share: float = 0.25, margin: float = 0.8, **kwargs: Any) -> None:
        if not 0 < demo_share < 1:
            raise ValueError(f"demo_share must be in (0, 1), got {demo_share}")
        self.demo_share, self.margin = demo_share, margin
        self.demos: DictReplayBuffer | None = None
        super().__init__(*args, **kwargs)

    def demonstrate(self, steps: int) -> None:
        """Let the expert take so many steps, of all rows together, and keep them."""
        env: Any = self.get_env()
        seen: Any = self.observation_space
        size = -(-steps // env.num_envs) * env.num_envs
        self.demos = DictReplayBuffer(size, seen, self.action_space, self.device, env.num_envs)
        self._last_obs = env.reset()
        while not self.demos.full:
            actions = expert_actions(env)
            self._store_transition(self.demos, actions, *env.step(actions))
        self._last_obs = None  # learning begins with new episodes

    def loss(self, batch_size: int) -> Tensor:
        """That of double DQN on all of the batch, and the margin on what is demonstrated."""
        if self.demos is None:
            raise ValueError("demos must be there before learn; call demonstrate first")
        shown = min(max(round(self.demo_share * batch_size), 1), batch_size - 1)
        batch = self.demos.sample(shown)
        loss, values = self.surprise(batch)
        loss = loss + margin_loss(values, batch.actions[:, 0], self.margin)
        return (super().loss(batch_size - shown) * (batch_size - shown) + loss * shown) / batch_size

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "demos"]


def margin_loss(values: Tensor, wanted: Tensor, margin: float) -> Tensor:
    """Large-margin loss: the shortfall of the expert action's value to the best other plus ``margin``.

    Args:
        values: (B, n) of the actions.
        wanted: (B,) the expert's.
        margin: 0 would be met by equal values.

    Source: Hester et al. (2018), "Deep Q-learning from demonstrations".
    """
    chosen = values.gather(1, wanted.long().view(-1, 1))
    others = (values + margin).scatter(1, wanted.long().view(-1, 1), chosen)
    return (others.max(1, keepdim=True).values - chosen).mean()
