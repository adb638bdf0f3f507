"""Policies of agents that act together: one network for all of them, and what they tell each other."""

from __future__ import annotations

from typing import Any, Literal

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from visionrl.agents.networks.extractor import VisionExtractor
from visionrl.core import check_choice

Communication = Literal["none", "mean", "attention"]
KINDS = ("none", "mean", "attention")
ROUNDS = 2
HEADS = 4
HIDDEN = 64


class TeamPolicy(MultiInputActorCriticPolicy):
    """PPO's and A2C's policy for K agents that share their networks; each agent's action depends on its own vector.

    For actions in a MultiDiscrete with one number an agent, and observations whose first axes are the agents' parts in
    turn (``Task.agents``). The critic reads the mean of the agents' vectors, so nothing in the network but each
    agent's own bias of the actions grows with their number.

    Args:
        observation_space: of the environment.
        action_space: of the environment.
        lr_schedule: from the share of the run that is left to the learning rate.
        communication: see ``TeamExtractor``.
        features_extractor_class: what turns an agent's part of an observation into a vector.
        features_extractor_kwargs: its arguments.
        kwargs: of Stable-Baselines3's ``MultiInputActorCriticPolicy``; ``net_arch`` must be left out.

    Raises:
        ValueError: the spaces are not those of a team.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.MultiDiscrete,
        lr_schedule: Any,
        *,
        communication: Communication = "mean",
        features_extractor_class: Any = VisionExtractor,
        features_extractor_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.team = team_size(observation_space, action_space)
        own = {"team": self.team, "communication": communication, "trunk": features_extractor_class}
        kwargs["features_extractor_kwargs"] = {**(features_extractor_kwargs or {}), **own}
        kwargs |= {"features_extractor_class": TeamExtractor, "net_arch": []}
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def _build(self, lr_schedule: Any) -> None:
        """The networks: those of Stable-Baselines3, but for the last layers, which all agents share."""
        super()._build(lr_schedule)
        width, actions = self.features_dim // self.team, int(self.action_space.nvec[0])  # type: ignore[attr-defined]
        head = [
            nn.Linear(width, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, actions),
        ]
        self.action_net = EachAgent(self.team, nn.Sequential(*head), actions)
        self.value_net: nn.Module = MeanAgent(self.team, nn.Linear(width, 1))  # type: ignore[assignment]
        extractor: Any = self.features_extractor
        for told in extractor.rounds:
            told.silence()  # after Stable-Baselines3 has initialised it
        rate = lr_schedule(1)
        self.optimizer = self.optimizer_class(self.parameters(), lr=rate, **self.optimizer_kwargs)  # type: ignore[call-arg]


class TeamExtractor(BaseFeaturesExtractor):
    """Each agent's part of an observation through one ``VisionExtractor``, then what the agents tell each other.

    An agent's number is joined to its part, since each looks for something else. Then, in two rounds, each vector is
    changed by what the others say, ``v + W relu(U (v, message))``, at first by nothing:

    * "none": there is no message; the network has as many layers;
    * "mean": the mean of all vectors (Sukhbaatar et al., 2016; Leroy et al., 2020);
    * "attention": the mean under weights that each agent gives to each, by four heads.

    A mean stays of one size when agents join, where a sum would grow.

    Args:
        observation_space: a Dict; the first axis of every entry is the agents' parts in turn.
        team: number of agents, K.
        communication: one of these.
        trunk: class of the extractor.
        features_dim: length of an agent's vector.
        options: further arguments of the trunk.

    Raises:
        ValueError: the observations cannot be split, or there is no such communication.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        team: int,
        communication: Communication = "mean",
        trunk: Any = VisionExtractor,
        features_dim: int = 256,
        **options: Any,
    ) -> None:
        super().__init__(observation_space, features_dim * team)
        check_choice("communication", communication, KINDS)
        self.team = team
        own: dict[str, spaces.Space] = {key: part_of(box, team) for key, box in observation_space.items()}
        own["agent"] = spaces.Box(0, 1, (team,))
        self.trunk = trunk(spaces.Dict(own), features_dim=features_dim, **options)
        self.rounds = nn.ModuleList(Round(features_dim, communication) for _ in range(ROUNDS))

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """(B, K * features_dim) from observations (B, K * n, ...)."""
        parts = {key: x.reshape(-1, x.shape[1] // self.team, *x.shape[2:]) for key, x in observations.items()}
        some = next(iter(parts.values()))
        numbers = torch.eye(self.team, device=some.device).repeat(len(some) // self.team, 1)
        vectors = self.trunk({**parts, "agent": numbers}).reshape(
            -1, self.team, self.features_dim // self.team
        )
        for told in self.rounds:
            vectors = told(vectors)
        return vectors.flatten(1)


class Round(nn.Module):
    """One exchange of messages: (B, K, n) -> (B, K, n).

    Args:
        width: n.
        kind: see ``TeamExtractor``.
    """

    def __init__(self, width: int, kind: Communication) -> None:
        super().__init__()
        self.kind = kind
        self.look = nn.MultiheadAttention(width, HEADS, batch_first=True) if kind == "attention" else None
        self.listen = nn.Linear(width if kind == "none" else 2 * width, width)
        self.change = nn.Linear(width, width)

    def silence(self) -> None:
        """Leave the vectors as they are, until it has learnt better."""
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        """The agents' vectors after they have heard each other."""
        heard = [vectors]
        if self.look is not None:
            heard.append(self.look(vectors, vectors, vectors, need_weights=False)[0])
        elif self.kind == "mean":
            heard.append(vectors.mean(dim=1, keepdim=True).expand_as(vectors))
        return vectors + self.change(self.listen(torch.cat(heard, dim=-1)).relu())


class EachAgent(nn.Module):
    """Layers for all agents, and a bias for each: (B, K * n) -> (B, K * m)."""

    def __init__(self, team: int, layers: nn.Module, outputs: int) -> None:
        super().__init__()
        self.team, self.layers = team, layers
        self.bias = nn.Parameter(torch.zeros(team, outputs))

    def forward(self, vectors: Tensor) -> Tensor:
        """Apply the network to the vector of each agent, one after the other."""
        return (self.layers(vectors.unflatten(1, (self.team, -1))) + self.bias).flatten(1)


class MeanAgent(nn.Module):
    """A layer on the mean of the agents' vectors: (B, K * n) -> (B, m)."""

    def __init__(self, team: int, layer: nn.Linear) -> None:
        super().__init__()
        self.team, self.layer = team, layer

    def forward(self, vectors: Tensor) -> Tensor:
        """Apply the network to the mean over agents."""
        return self.layer(vectors.unflatten(1, (self.team, -1)).mean(dim=1))


def team_size(observations: Any, actions: Any) -> int:
    """The number of agents.

    Raises:
        ValueError: the actions are not one number an agent, out of as many for each.
    """
    if not isinstance(actions, spaces.MultiDiscrete) or len(set(actions.nvec.tolist())) != 1:
        raise ValueError(f"a team must have a MultiDiscrete of equal parts for actions, got {actions}")
    team = len(actions.nvec)
    for box in observations.values():
        part_of(box, team)
    return team


def part_of(box: Any, team: int) -> spaces.Box:
    """The space of one agent's part.

    Raises:
        ValueError: the first axis cannot be split.
    """
    if not isinstance(box, spaces.Box) or not box.shape or box.shape[0] % team:
        raise ValueError(f"a team's observations must have first axes of {team} equal parts, got {box}")
    each = box.shape[0] // team
    return spaces.Box(box.low[:each], box.high[:each], dtype=box.dtype.type)
