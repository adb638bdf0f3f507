"""Policies whose actions are places in the image: each gets its logit from what the backbone sees there."""

from __future__ import annotations

from math import isqrt
from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableMultiInputActorCriticPolicy
from stable_baselines3.common.policies import BasePolicy, MultiInputActorCriticPolicy
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.agents.networks.extractor import VisionExtractor

HIDDEN = 64


class MapExtractor(VisionExtractor):
    """A ``VisionExtractor`` that also hands on the backbone's map: (B, C * h * w + features_dim), the map first.

    Args:
        observation_space: a Dict whose images are all of one size.
        kwargs: of ``VisionExtractor``.

    Attributes:
        map_shape: (C, h, w).
        vector_dim: length of the vector behind the map.

    Raises:
        ValueError: the images are of several sizes, or none is there.
    """

    def __init__(self, observation_space: spaces.Dict, **kwargs: Any) -> None:
        super().__init__(observation_space, **kwargs)
        if len(self.stacks) != 1 or self.volumes:
            raise ValueError(f"observation_space must hold images of one size alone, got {observation_space}")
        ((first, keys),) = self.stacks.items()
        boxes = [observation_space[key].shape for key in keys]
        blank = torch.zeros(1, sum(shape[0] for shape in boxes), *boxes[0][1:])  # type: ignore[index, misc]
        with torch.no_grad():
            net: Any = self.backbones[first]
            self.map_shape = tuple(net.forward_features(blank).shape[1:])
        self.vector_dim, self._map = self._features_dim, torch.zeros(0)
        self._features_dim += self.map_shape[0] * self.map_shape[1] * self.map_shape[2]

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """See the class."""
        vector = super().forward(observations)
        places, self._map = self._map, torch.zeros(0)  # nothing is kept: policies are copied
        return torch.cat([places.flatten(1), vector], dim=1)

    def encode(self, first: str, images: Tensor) -> Tensor:
        """(B, n) of a stack of images; its map is kept for ``forward``."""
        net: Any = self.backbones[first]
        self._map = net.forward_features(images)
        return net.pool_features(self._map)


class MapLogits(nn.Module):
    """Logits of ``layers`` maps of g x g places, and of the actions behind them.

    Args:
        extractor: whose output it takes.
        actions: how many actions there are.
        layers: how many of ``maps_of``.
    """

    def __init__(self, extractor: MapExtractor, actions: int, layers: int) -> None:
        super().__init__()
        self.shape, (self.side, rest) = extractor.map_shape, maps_of(actions, layers)
        self.size = self.shape[0] * self.shape[1] * self.shape[2]
        self.mix = nn.Conv2d(self.shape[0], HIDDEN, 1)
        self.context = nn.Linear(extractor.vector_dim, HIDDEN)
        self.last = nn.Conv2d(HIDDEN, layers, 1)
        self.rest = nn.Linear(extractor.vector_dim, rest) if rest else None
        for layer in (self.last, self.rest):
            if layer is not None:  # the first policy is nearly uniform
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """(B, actions) from (B, size + vector_dim)."""
        places, vector = features[:, : self.size].view(-1, *self.shape), features[:, self.size :]
        places = F.interpolate(places, (self.side, self.side), mode="bilinear")
        mixed = (self.mix(places) + self.context(vector)[:, :, None, None]).relu()
        logits = self.last(mixed).flatten(1)
        return logits if self.rest is None else torch.cat([logits, self.rest(vector)], dim=1)


class VectorValue(nn.Module):
    """The value of a state from the vector behind the map: (B, size + n) -> (B, 1)."""

    def __init__(self, size: int, vector_dim: int) -> None:
        super().__init__()
        self.size = size
        self.net = nn.Sequential(nn.Linear(vector_dim, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return self.net(features[:, self.size :])


def maps_of(actions: int, layers: int) -> tuple[int, int]:
    """The side g of ``layers`` square maps of actions, the largest that fits, and how many actions are left over.

    Raises:
        ValueError: there is no such map of more than one place.
    """
    side = isqrt(actions // layers) if layers else 0
    if side < 2:
        raise ValueError(f"action_maps must be at most a quarter of the actions, {actions}, got {layers}")
    return side, actions - layers * side**2


class _OnMaps(BasePolicy):
    """Base of the policies of this module: it replaces the last layers."""

    action_net: Any
    value_net: Any

    def __init__(
        self, observation_space: Any, action_space: Any, lr_schedule: Any, *, action_maps: int, **kwargs: Any
    ) -> None:
        if not isinstance(action_space, spaces.Discrete):
            raise ValueError(
                f"action_maps must be left out for actions in {action_space}; it is for Discrete ones"
            )
        self.action_maps = action_maps
        kwargs |= {"features_extractor_class": MapExtractor, "net_arch": []}
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def _build(self: Any, lr_schedule: Any) -> None:
        """The networks: those of Stable-Baselines3, but for the last layers."""
        # not a layer of all places, which would be thrown away
        self.action_dist.proba_distribution_net = lambda latent_dim: nn.Identity()
        super()._build(lr_schedule)  # type: ignore[misc]
        del self.action_dist.proba_distribution_net
        self.action_net = MapLogits(self.features_extractor, int(self.action_space.n), self.action_maps)
        self.value_net = VectorValue(self.action_net.size, self.features_extractor.vector_dim)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)


class MapPolicy(_OnMaps, MultiInputActorCriticPolicy):
    """PPO's and A2C's policy for actions that are places, row by row, in one map or several, and maybe some others.

    Discrete(layers * g * g + rest): the first g * g actions are the places of the first map, and so on. A place's
    logit comes from the backbone's map there and from the whole; those of the rest from the whole alone. So a policy
    need not learn each place by itself, which matters with hundreds of them.

    Args:
        observation_space: a Dict whose images are all of one size.
        action_space: Discrete.
        lr_schedule: from the share of the run that is left to the learning rate.
        action_maps: how many maps.
        kwargs: of Stable-Baselines3's ``MultiInputActorCriticPolicy``; ``net_arch`` must be left out.

    Raises:
        ValueError: the spaces do not fit.
    """


class MaskableMapPolicy(_OnMaps, MaskableMultiInputActorCriticPolicy):
    """The ``MapPolicy`` of MaskablePPO."""
