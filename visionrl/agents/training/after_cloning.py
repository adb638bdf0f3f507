"""Reinforcement learning that begins with a clone: how long its policy stays, and how closely it follows the clone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor
from torch.distributions import kl_divergence
from torch.nn import functional as F

from visionrl.agents.imitation.targets import TEMPERATURE
from visionrl.agents.networks.model_io import copy_policy, q_values_of

ROWS = 128  # observations at most on which the divergence is taken, at each step of the optimizer
CRITIC = ("value_net.", "mlp_extractor.value_net.", "vf_features_extractor.")


class AfterCloning(BaseCallback):
    """Changes the gradients of a cloned policy before each step of its optimizer, whatever the algorithm.

    During the warm-up the policy of an actor-critic stays as it was cloned, while its critic learns. Afterwards the
    gradient of ``divergence`` from the clone is added, in states of the algorithm's own buffer; its weight changes
    linearly over the run. It comes after Stable-Baselines3 has clipped its own gradient, so ``max_grad_norm`` does not
    bound it. Algorithms that replay spend the warm-up filling their buffer, see ``cloned``.

    Args:
        clone: gives the parameters of the cloned policy when learning begins.
        kl: first weight of the divergence; 0 is none.
        end: the last weight, as a share of the first.
        warmup: steps, all rows together.

    Source: Schmitt et al. (2018), "Kickstarting deep reinforcement learning", for a divergence that falls.
    """

    def __init__(self, clone: Callable[[], Mapping[str, Tensor]], kl: float, end: float, warmup: int) -> None:
        super().__init__()
        self.clone, self.kl, self.end, self.warmup = clone, kl, end, warmup

    def _on_training_start(self) -> None:
        policy = self.model.policy
        self.reference = copy_policy(policy)
        self.reference.load_state_dict(self.clone())
        self.reference.set_training_mode(False)
        self.reference.requires_grad_(False)
        optimizer = getattr(policy, "actor", policy).optimizer
        self._hook = optimizer.register_step_pre_hook(lambda *_: self.change_gradients())

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._hook.remove()

    def change_gradients(self) -> None:
        """Drop the actor's gradients during the warm-up; add those of the divergence behind it."""
        policy: Any = self.model.policy
        if self.model.num_timesteps <= self.warmup:
            for parameter in actor_parameters(policy):
                parameter.grad = None
        elif weight := self.kl * (self.end + (1 - self.end) * self.model._current_progress_remaining):
            seen, masks = draw_observations(self.model)
            (weight * divergence(policy, self.reference, seen, masks)).backward()


def actor_parameters(policy: Any) -> list[Tensor]:
    """Parameters that decide how a policy acts: all but those of its critic alone; of values none."""
    if q_values_of(policy):
        return []
    own = policy if getattr(policy, "actor", None) is None else policy.actor
    return [parameter for name, parameter in own.named_parameters() if not name.startswith(CRITIC)]


def draw_observations(model: Any) -> tuple[dict[str, Tensor], np.ndarray | None]:
    """Observations from a model's buffer, at most 128 and no more than a batch, and their action masks if it has some.

    NumPy's global generator draws them, as Stable-Baselines3 does.
    """
    count = min(getattr(model, "batch_size", ROWS), ROWS)
    if getattr(model, "replay_buffer", None) is not None:
        return model.replay_buffer.sample(count).observations, None
    buffer = model.rollout_buffer
    rows = np.random.randint(buffer.buffer_size * buffer.n_envs, size=count)  # noqa: NPY002
    seen = {key: buffer.to_torch(array[rows]) for key, array in buffer.observations.items()}
    masks = getattr(buffer, "action_masks", None)
    return seen, None if masks is None else masks.reshape(-1, masks.shape[-1])[rows]


def divergence(
    policy: Any, reference: Any, seen: dict[str, Tensor], masks: np.ndarray | None = None
) -> Tensor:
    """Mean divergence of a policy from a reference, KL(reference || policy).

    Values of actions are compared as softmax(values / 0.2), as cloning ranks them; actors without probabilities by the
    squared error of their best actions.

    Args:
        policy: of Stable-Baselines3.
        reference: of the same class.
        seen: observations, (B, ...) each.
        masks: (B, n) bool, allowed actions of a policy that obeys masks.
    """
    if own := q_values_of(policy):
        other: Any = q_values_of(reference)
        found, wanted = (F.log_softmax(values(seen) / TEMPERATURE, 1) for values in (own, other))
        return F.kl_div(found, wanted, reduction="batchmean", log_target=True)
    if getattr(policy, "actor", None) is not None:
        found, wanted = (one._predict(seen, deterministic=True) for one in (policy, reference))
        return F.mse_loss(found, wanted)
    given = {} if masks is None else {"action_masks": masks}
    now, before = (parts(one.get_distribution(seen, **given)) for one in (policy, reference))
    each = [kl_divergence(old, new) for old, new in zip(before, now, strict=True)]
    return torch.stack([one.flatten(1).sum(1) if one.ndim > 1 else one for one in each]).sum(0).mean()


def parts(distribution: Any) -> list[Any]:
    """The independent distributions of an action's parts."""
    found = getattr(distribution, "distributions", None) or distribution.distribution
    return list(found) if isinstance(found, (list, tuple)) else [found]


class _Cloned:
    """Mixin by which ``cloned`` lets the policy act from the first step on."""

    def _sample_action(self: Any, learning_starts: int, action_noise: Any = None, n_envs: int = 1) -> Any:
        """The actions of all rows, and the same for the replay buffer."""
        return super()._sample_action(0, action_noise, n_envs)  # type: ignore[misc]


def cloned(algorithm: type) -> type:
    """An algorithm that replays (DQN, SAC, ...) whose buffer is filled by its clone and not by chance.

    Stable-Baselines3 acts at random in the first ``learning_starts`` steps.

    Args:
        algorithm: a class of Stable-Baselines3.
    """
    return type(f"Cloned{algorithm.__name__}", (_Cloned, algorithm), {})
