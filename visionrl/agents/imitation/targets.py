"""Imitation targets: the expert's answers in the states that a policy visits, and the loss of a model on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnvWrapper, VecMonitor, VecTransposeImage
from torch import Tensor
from torch.nn import functional as F

from visionrl.agents.imitation.values import action_values, state_values
from visionrl.agents.networks.frozen_features import CachedFeatures
from visionrl.agents.networks.model_io import q_values_of, takes_masks
from visionrl.core.capabilities import ActionGains, WeighedActions
from visionrl.ops import to_numpy

BATCH, BATCH_OF_MAPS = 128, 24
REPEATS = 8  # how often each state is learnt from
VF_COEF = 0.5  # where an algorithm has none: TRPO, whose critic learns apart
TEMPERATURE = 0.2  # of values that are taken for logits; keeps them near the scale of rewards
MEMORY_BYTES = 1_000_000_000
KEEP_REWARDS = (CachedFeatures, VecMonitor, VecTransposeImage)  # wrappers


def batch_size(model: Any) -> int:
    """States in a batch: 128, fewer where each holds several decisions or says something of hundreds of places."""
    if hasattr(model.policy, "action_maps"):
        return BATCH_OF_MAPS
    actions = model.action_space
    return max(BATCH // len(actions.nvec), 16) if isinstance(actions, spaces.MultiDiscrete) else BATCH


class Fit:
    """The optimizer of a clone: its rate falls to 0, and each state that was met is learnt from some times.

    Args:
        model: whose policy learns; its own optimizers stay as they are.
        steps: states that will be met.
        rate: first learning rate; None for the algorithm's.
        batch: states in a batch; None for ``batch_size``.
        repeats: how often each state is learnt from, on average; None for 8.

    Attributes:
        loss: before the last update; NaN at first.
    """

    def __init__(
        self, model: Any, steps: int, rate: float | None, batch: int | None = None, repeats: int | None = None
    ) -> None:
        self.policy, self.steps, self.repeats = model.policy, steps, repeats or REPEATS
        self.first = model.lr_schedule(1.0) if rate is None else rate
        self.optimizer = torch.optim.Adam(self.policy.parameters(), self.first)
        self.batch, self.updates, self.loss = batch or batch_size(model), 0, float("nan")

    def catch_up(self, done: int, batch_loss: Callable[[], Tensor]) -> None:
        """Make the updates that are due after ``done`` states; ``batch_loss`` gives the loss on a new batch."""
        self.optimizer.param_groups[0]["lr"] = self.first * max(1 - done / self.steps, 0.0)
        while self.updates * self.batch < done * self.repeats:
            self.policy.set_training_mode(True)
            loss = batch_loss()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.policy.set_training_mode(False)
            self.loss, self.updates = loss.item(), self.updates + 1


def expert_actions(env: Any) -> np.ndarray:
    """(B, ...) what the expert would do now."""
    venv = env.unwrapped.venv
    return to_numpy(venv.task.expert(venv.state))


def expert_weights(model: Any, try_actions: bool) -> np.ndarray | None:
    """(B, n) what a model is cloned from without returns, where the task has it; else None.

    For values of actions: what each earns at once (``ActionGains``). For actors: the expert's weights of all
    (``WeighedActions``). The expert's action has the largest.
    """
    task, state = (venv := model.get_env().unwrapped.venv).task, venv.state
    if try_actions and pays_task_rewards(model.get_env()):
        return None
    if q_values_of(model.policy):
        return to_numpy(task.action_gains(state)) if isinstance(task, ActionGains) else None
    weighs = isinstance(task, WeighedActions) and hasattr(model.policy, "value_net")
    return to_numpy(task.action_weights(state)) if weighs else None


def mixed_actions(
    model: Any,
    obs: Any,
    wanted: np.ndarray,
    shares: tuple[float, float],
    rng: np.random.Generator,
    acts: np.ndarray | None = None,
) -> np.ndarray:
    """(B, ...) actions: by chance in the second share of rows, of the rest the policy's in the first.

    Where the policy obeys masks, chance does too. The policy's actions may be given.
    """
    own, chance = (rng.random(len(wanted)) < share for share in shares)
    if acts is None:
        acts = best_actions(model, obs) if own.any() else wanted
    actions = wanted.copy()
    actions[own] = acts[own]
    masks = get_action_masks(model.get_env()) if takes_masks(model) else None
    for row in np.flatnonzero(chance):
        mask = None if masks is None else space_mask(model.action_space, masks[row])
        actions[row] = model.action_space.sample(mask)
    return actions


def space_mask(space: spaces.Space, allowed: np.ndarray) -> Any:
    """Allowed actions, (n,) bool, as ``sample`` of a Discrete or MultiDiscrete space takes them: int8, a part each."""
    parts = np.asarray(allowed, np.int8)
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(np.split(parts, np.cumsum(space.nvec)[:-1]))
    return parts


def best_actions(model: Any, obs: Any) -> np.ndarray:
    """(B, ...) the policy's best actions, of those that are allowed where it obeys masks."""
    masks = {"action_masks": get_action_masks(model.get_env())} if takes_masks(model) else {}
    return model.policy.predict(obs, deterministic=True, **masks)[0]


def imitation_targets(
    model: Any, wanted: np.ndarray, try_actions: bool = True, weights: np.ndarray | None = None
) -> np.ndarray:
    """(B, n) float32 imitation targets in the present states, given the expert's actions (B, ...).

    For values of actions: the expert's (``action_values``), or what actions earn at once. For actors: its action, and
    behind it, where there is a critic of states, the value of the state under it (``state_values``). Its action alone
    without ``try_actions``, or where a wrapper changes the rewards; and the weights of all actions, those of
    ``expert_weights`` or given ones. Of a policy that obeys masks the allowed actions, 1 or 0 each, come last.
    """
    venv, known = model.get_env().unwrapped.venv, try_actions and pays_task_rewards(model.get_env())
    if q_values_of(model.policy) and known:
        return action_values(venv.task, venv.state, model.gamma)
    weights = expert_weights(model, try_actions) if weights is None else weights
    if q_values_of(model.policy) and weights is not None:
        return weights.astype(np.float32)
    parts = [wanted.reshape(len(wanted), -1)]
    if hasattr(model.policy, "value_net") and known:
        parts.append(state_values(venv.task, venv.state, model.gamma)[:, None])
    elif weights is not None:
        parts.append(weights)
    if takes_masks(model):
        parts.append(get_action_masks(model.get_env()).reshape(len(wanted), -1))
    return np.concatenate(parts, axis=1, dtype=np.float32)


def pays_task_rewards(env: Any) -> bool:
    """Tell if no wrapper of an environment changes the rewards, so that the agent earns the task's own."""
    while isinstance(env, VecEnvWrapper):
        if not isinstance(env, KEEP_REWARDS):
            return False
        env = env.venv
    return True


def imitation_loss(model: Any, obs: dict[str, Tensor], answer: Tensor) -> Tensor:
    """Loss of a model on imitation targets, (B, n), see ``imitation_targets``.

    * Values of actions: Huber's loss, which sets their scale, and the divergence of softmax(values / 0.2), which ranks
      them: where several actions are as good, any of them will do. Of the expert's action alone, the negative
      log-likelihood under that softmax.
    * Probabilities of actions: the negative log-likelihood of the expert's, or the cross-entropy with its weights of
      all actions, among the allowed ones where the policy obeys masks; where the expert would do what is forbidden,
      because nothing is left to do, nothing is learnt.
    * Actions in a box: the squared error of the best one, which leaves the spread of a stochastic policy alone.
    * A critic of states besides: the squared error, in the algorithm's own proportion (``vf_coef``), which leaves what
      it shares with the actor alone.
    """
    policy = model.policy
    if values := q_values_of(policy):
        found = values(obs)
        if answer.shape[1] == 1:
            return F.cross_entropy(found / TEMPERATURE, answer[:, 0].long())
        ranked, right = (F.log_softmax(x / TEMPERATURE, 1) for x in (found, answer))
        return F.smooth_l1_loss(found, answer) + F.kl_div(
            ranked, right, reduction="batchmean", log_target=True
        )
    if hasattr(policy, "actor"):
        return F.mse_loss(
            policy._predict(obs, deterministic=True), answer.view(-1, *policy.action_space.shape)
        )
    if not takes_masks(model):
        return actor_critic_loss(
            model, policy.get_distribution(obs), partial(critic_value, policy, obs), answer
        )
    parts = np.atleast_1d(getattr(policy.action_space, "nvec", getattr(policy.action_space, "n", 0)))
    answer, masks = answer.tensor_split([-int(parts.sum())], dim=1)
    first = torch.as_tensor(np.cumsum(parts) - parts, device=answer.device)
    allowed = masks.gather(1, answer[:, : len(parts)].long() + first).bool().all(dim=1)
    value = partial(critic_value, policy, obs)
    return actor_critic_loss(model, policy.get_distribution(obs, masks), value, answer, allowed)


def actor_critic_loss(
    model: Any,
    distribution: Any,
    value: Callable[[], Tensor],
    answer: Tensor,
    allowed: Tensor | None = None,
) -> Tensor:
    """Loss of an actor and its critic of states on imitation targets, see ``imitation_loss``.

    Args:
        model: the algorithm.
        distribution: of actions.
        value: gives (B, 1) by the critic.
        answer: (B, n), the expert's actions and, behind them, (B, 1) the values of states, or the weights of all
            actions, or nothing.
        allowed: (B,) bool, rows in which the actor can do what the expert does; None for all.
    """
    shape = model.action_space.shape
    wanted, extra = answer.tensor_split([int(np.prod(shape))], dim=1)
    wanted = wanted.view(-1, *shape)
    if isinstance(model.action_space, spaces.Box):
        act = F.mse_loss(distribution.mode(), wanted)
    else:
        weighed = extra.shape[1] > 1
        likely = weighed_log_prob(distribution, extra) if weighed else distribution.log_prob(wanted)
        likely = likely if allowed is None else likely[allowed]
        act = -likely.sum() / max(len(likely), 1)
    weight = getattr(model, "vf_coef", VF_COEF)
    return act + (weight * F.mse_loss(value(), extra) if extra.shape[1] == 1 else 0)


def weighed_log_prob(distribution: Any, weights: Tensor) -> Tensor:
    """Mean log-likelihood of discrete actions under their weights, (B, n) -> (B,)."""
    return (distribution.distribution.logits * weights).sum(dim=1) / weights.sum(dim=1)


def critic_value(policy: Any, obs: dict[str, Tensor]) -> Tensor:
    """(B, 1), the value of states by an actor's critic, without a gradient to what it shares with the actor."""
    seen = BasePolicy.extract_features(policy, obs, policy.vf_features_extractor)
    if policy.share_features_extractor:
        seen = seen.detach()
    return policy.value_net(policy.mlp_extractor.forward_critic(seen))
