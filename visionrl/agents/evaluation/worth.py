"""What a policy makes of its actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gymnasium import spaces


def values_of(policy: Any) -> Callable[[Any], Any] | None:
    """From observations, as tensors, to the values of all actions, (B, n), for a policy that has them."""
    if hasattr(policy, "quantile_net"):
        return lambda observations: policy.quantile_net(observations).mean(1)
    return getattr(policy, "q_net", None)


def action_scores(policy: Any, observations: Any) -> Any:
    """A tensor (B, n): Q-values of the actions, or the logarithms of their probabilities where there are none.

    None where actions are not numbered, or the policy remembers what it saw.
    """
    if values := values_of(policy):
        return values(observations)
    if not isinstance(policy.action_space, spaces.Discrete) or hasattr(policy, "lstm_actor"):
        return None
    return policy.get_distribution(observations).distribution.logits
