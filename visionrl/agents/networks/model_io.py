"""Input and output of a trained model: its observation space, and the scores of its actions."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy, deepcopy
from typing import Any

from gymnasium import Space, spaces


def q_values_of(policy: Any) -> Callable[[Any], Any] | None:
    """From observations, as tensors, to the values of all actions, (B, n), for a policy that has them."""
    if hasattr(policy, "quantile_net"):
        return lambda observations: policy.quantile_net(observations).mean(1)
    return getattr(policy, "q_net", None)


def copy_policy(policy: Any) -> Any:
    """A copy of a policy with parameters of its own, also after a loss.

    Its distributions of actions hold the graph of that loss, which PyTorch does not copy deeply.
    """
    held = [module.action_dist for module in policy.modules() if hasattr(module, "action_dist")]
    return deepcopy(policy, {id(one): copy(one) for one in held})


def action_scores(policy: Any, observations: Any, memory: Any = None) -> Any:
    """A tensor (B, n): Q-values of the actions, or the logarithms of their probabilities where there are none.

    None where actions are not numbered.

    Args:
        policy: of an algorithm.
        observations: tensors.
        memory: what a recurrent policy remembers, arrays (layers, B or 1, n); None at an episode's start.
    """
    if values := q_values_of(policy):
        return values(observations)
    if not isinstance(policy.action_space, spaces.Discrete):
        return None
    if hasattr(policy, "lstm_actor"):
        first = next(iter(observations.values())).float()
        layers, _, size = policy.lstm_hidden_state_shape
        blank, starts = first.new_zeros(layers, len(first), size), first.new_zeros(len(first))
        states = tuple(blank + first.new_tensor(part) for part in memory or (0.0, 0.0))
        return policy.get_distribution(observations, states, starts)[0].distribution.logits
    return policy.get_distribution(observations).distribution.logits


def takes_masks(model: Any) -> bool:
    """Tell if a model chooses among allowed actions: its ``predict`` has ``action_masks``, as MaskablePPO's."""
    policy = getattr(model, "policy", None)
    return hasattr(getattr(policy, "action_dist", None), "apply_masking")


def check_spaces(trained: Space, shown: Space) -> None:
    """Refuse observations that a model was not trained on.

    Raises:
        ValueError: names the first part that differs.
    """
    before, now = (
        {key: box.shape for key, box in getattr(s, "spaces", {}).items()} for s in (trained, shown)
    )
    for key in sorted(before | now):
        if before.get(key) != now.get(key):
            raise ValueError(
                f"observation {key!r} must be of shape {before.get(key)} for this agent, got {now.get(key)}"
            )
