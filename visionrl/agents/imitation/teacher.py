"""Teams that begin as a trained single agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.preprocessing import get_flattened_obs_dim

from visionrl.agents.imitation.targets import TEMPERATURE
from visionrl.agents.networks.extractor import VisionExtractor
from visionrl.agents.networks.team import TeamPolicy


@torch.no_grad()
def init_from_teacher(policy: TeamPolicy, single: Any, goals: Sequence[int]) -> None:
    """Initialize each agent of a team as a trained single agent that looks for one of several goals.

    Args:
        policy: of the team.
        single: policy of a DQN or double DQN with ``fusion="film"`` and the default ``net_arch``, whose numbers have
            one ``goal`` among them.
        goals: which of the goals each agent looks for.

    Raises:
        ValueError: the single agent's networks are others than the team's.
    """
    own: Any = policy.features_extractor.trunk
    q_net = getattr(single, "q_net", None)
    given: Any = getattr(q_net, "features_extractor", None)
    if q_net is None or getattr(given, "film", None) is None or own.film is None:
        raise ValueError("a team must begin as a DQN with fusion='film', and have it too")
    layers: Any = policy.action_net.layers
    try:
        for new, old in ((own.backbones, given.backbones), (own.head, given.head)):
            new.load_state_dict(old.state_dict())
        layers.load_state_dict(q_net.q_net.state_dict())
        own.film.bias.copy_(given.film.bias)
        place, known = number_columns(own), number_columns(given)
        own.film.weight.zero_()
        for key in set(place) & set(known):
            own.film.weight[:, place[key]] = given.film.weight[:, known[key]]
        own.film.weight[:, place["agent"]] = given.film.weight[:, known["goal"]][:, list(goals)]
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"a team must begin as an agent with its own networks and goals: {error}") from None
    layers[-1].weight.div_(TEMPERATURE)  # values of actions as logits
    layers[-1].bias.div_(TEMPERATURE)


def number_columns(look: VisionExtractor) -> dict[str, slice]:
    """Columns of each non-image entry among the numeric inputs of an extractor."""
    sizes = [get_flattened_obs_dim(look._observation_space[key]) for key in look.others]  # type: ignore[index]
    ends = np.cumsum([0, *sizes]).tolist()
    return {key: slice(*ends[k : k + 2]) for k, key in enumerate(look.others)}
