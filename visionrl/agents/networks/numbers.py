"""From an observation without images to one feature vector."""

from __future__ import annotations

import torch
from gymnasium import Space, spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from visionrl.layers.standardize import Standardize


class NumbersExtractor(BaseFeaturesExtractor):
    """A features extractor of Stable-Baselines3 for numbers alone: standardised, through a linear layer and ReLU.

    Args:
        observation_space: a Dict of numbers of any shape.
        features_dim: length of the feature vector.
    """

    def __init__(self, observation_space: spaces.Dict, features_dim: int = 256) -> None:
        super().__init__(observation_space, features_dim)
        self.keys = list(observation_space)
        joined = sum(get_flattened_obs_dim(space) for space in observation_space.values())
        self.head = nn.Sequential(Standardize(joined), nn.Linear(joined, features_dim), nn.ReLU())

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """(B, features_dim) from (B, ...) each."""
        return self.head(torch.cat([observations[key].flatten(1) for key in self.keys], dim=1))


def shows_images(observations: Space) -> bool:
    """Tell if an observation has an image, a volume, or a window of them: an array of bytes with three axes or more."""
    parts = observations.spaces.values() if isinstance(observations, spaces.Dict) else [observations]
    return any(isinstance(box, spaces.Box) and box.dtype == "uint8" and len(box.shape) >= 3 for box in parts)
