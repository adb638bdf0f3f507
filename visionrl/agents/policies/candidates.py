"""Policies that choose one of several candidates: one network scores each, so their order does not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from sb3_contrib.common.maskable.policies import MaskableMultiInputActorCriticPolicy
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.dqn.policies import MultiInputPolicy, QNetwork
from torch import Tensor, nn

CANDIDATES = "candidates"  # the entry of the observation, (N, F)
WIDTH = 64
POLICIES = ("dqn", "ddqn", "ppo", "a2c", "trpo", "maskableppo")  # algorithms that can choose candidates


def offers_candidates(observations: Space, actions: Space) -> bool:
    """Tell if an observation has ``candidates`` (N, F) and an action is the number of one, and nothing is an image."""
    if not isinstance(observations, spaces.Dict) or not isinstance(actions, spaces.Discrete):
        return False
    shapes = {key: box.shape or () for key, box in observations.items()}
    vectors = all(len(shape) == 1 for key, shape in shapes.items() if key != CANDIDATES)
    offered = shapes.get(CANDIDATES, ())
    return vectors and len(offered) == 2 and offered[0] == actions.n


class CandidateExtractor(BaseFeaturesExtractor):
    """From an observation to a vector of each candidate, which knows of the others by their mean and maximum.

    The layers are shared by all candidates (Zaheer et al., 2017), so to exchange two exchanges their vectors. As in
    Casanova et al. (2020), what is known of the whole state is joined to each candidate.

    Args:
        observation_space: a Dict with ``candidates`` (N, F), and vectors.
        features_dim: length of a candidate's vector.
    """

    def __init__(self, observation_space: spaces.Dict, features_dim: int = WIDTH) -> None:
        count, numbers = observation_space[CANDIDATES].shape  # type: ignore[misc]
        super().__init__(observation_space, count * features_dim)
        self.others = [key for key in observation_space if key != CANDIDATES]
        context = sum(int(np.prod(observation_space[key].shape or ())) for key in self.others)
        self.each = nn.Sequential(
            nn.Linear(numbers + context, features_dim),
            nn.ReLU(),
            nn.Linear(features_dim, features_dim),
            nn.ReLU(),
        )
        self.among = nn.Linear(3 * features_dim, features_dim)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """(B, N * features_dim) of candidates (B, N, F) and vectors (B, ...)."""
        rows = observations[CANDIDATES]
        state = [observations[key][:, None].expand(-1, rows.shape[1], -1) for key in self.others]
        own = self.each(torch.cat([rows, *state], dim=-1))
        mean, most = own.mean(dim=1, keepdim=True), own.amax(dim=1, keepdim=True)
        joined = torch.cat([own, mean.expand_as(own), most.expand_as(own)], dim=-1)
        return self.among(joined).relu().flatten(1)


class ScoreEach(nn.Module):
    """A score for each of N vectors: (B, N * n) -> (B, N).

    Args:
        count: N.
        width: n.
        common: add what the mean of the vectors is worth, as a value of the state (Wang et al., 2016).
    """

    def __init__(self, count: int, width: int, common: bool = False) -> None:
        super().__init__()
        self.count = count
        self.score = nn.Linear(width, 1)
        self.worth = nn.Linear(width, 1) if common else None

    def forward(self, vectors: Tensor) -> Tensor:
        """Scores."""
        each = vectors.unflatten(1, (self.count, -1))
        scores = self.score(each)[..., 0]
        return scores if self.worth is None else scores + self.worth(each.mean(dim=1))


class MeanValue(nn.Module):
    """The value of a state from the mean of N vectors: (B, N * n) -> (B, 1)."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.count, self.worth = count, nn.Linear(width, 1)

    def forward(self, vectors: Tensor) -> Tensor:
        """The value."""
        return self.worth(vectors.unflatten(1, (self.count, -1)).mean(dim=1))


class CandidateQPolicy(MultiInputPolicy):
    """DQN's policy for candidates; ``net_arch`` must be left out."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "net_arch": []})

    def make_q_net(self) -> QNetwork:
        """A network whose last layer scores each candidate."""
        net = super().make_q_net()
        count = int(self.action_space.n)  # type: ignore[attr-defined]
        net.q_net = ScoreEach(count, net.features_dim // count, common=True)  # type: ignore[assignment]
        return net.to(self.device)


class _Actor:
    """Mixin that gives an actor-critic policy the last layers for candidates; actor and critic share no layer."""

    action_net: Any
    value_net: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"share_features_extractor": False, **kwargs, "net_arch": []})

    def _build(self: Any, lr_schedule: Any) -> None:
        """The networks: those of the base, but for the last layers."""
        # not a layer of all candidates, which would be thrown away
        self.action_dist.proba_distribution_net = lambda latent_dim: nn.Identity()
        super()._build(lr_schedule)  # type: ignore[misc]
        del self.action_dist.proba_distribution_net
        count = int(self.action_space.n)
        width = self.features_dim // count
        self.action_net, self.value_net = ScoreEach(count, width), MeanValue(count, width)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)


class CandidatePolicy(_Actor, MultiInputActorCriticPolicy):
    """PPO's, A2C's and TRPO's policy for candidates."""


class MaskableCandidatePolicy(_Actor, MaskableMultiInputActorCriticPolicy):
    """MaskablePPO's policy for candidates."""


def candidate_policy(algo: str) -> Any:
    """The policy of an algorithm for candidates.

    Raises:
        ValueError: it has none.
    """
    if algo not in POLICIES:
        raise ValueError(f"algo must be one of {', '.join(POLICIES)} for a task of candidates, got {algo!r}")
    if algo in ("dqn", "ddqn"):
        return CandidateQPolicy
    return MaskableCandidatePolicy if algo == "maskableppo" else CandidatePolicy
