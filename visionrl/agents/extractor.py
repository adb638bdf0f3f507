"""From an observation of images and numbers to one feature vector."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from visionrl.backbones import Backbone, as_backbone, make_backbone


class VisionExtractor(BaseFeaturesExtractor):
    """A features extractor of Stable-Baselines3: images through a backbone, the rest joined to it.

    Images, (C, H, W) uint8, of one size, such as a window and a template, are stacked and share a backbone, whose
    first layer can so compare them; an image of another size has its own. All other entries are flattened; one
    linear layer with ReLU makes the feature vector of it all. Leave the policy's ``normalize_images`` on, the
    backbones want images in [0, 1].

    Pretrained weights outlive the orthogonal initialisation that PPO and A2C apply to extractors, and a
    frozen backbone outlives training: neither weights nor BatchNorm statistics move.

    Args:
        observation_space: a Dict with one image or more; images are channel-first.
        backbone: name of a backbone, or a module from (B, C, H, W) in [0, 1] to a map or vectors; a module is
            copied, with its weights, for each size of image and each network.
        features_dim: length of the feature vector.
        pretrained: published weights; True or the name of a torchvision entry.
        frozen: the backbones do not learn.
        weights: a file of weights instead.
        options: further arguments of ``visionrl.backbones.make_backbone``.

    Raises:
        ValueError: the observation holds no image.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        backbone: str | nn.Module = "small",
        features_dim: int = 256,
        pretrained: bool | str = False,
        frozen: bool = False,
        weights: str | Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(observation_space, features_dim)
        images = {key: space for key, space in observation_space.items() if is_image_space(space)}
        if not images:
            raise ValueError(f"observation_space must hold a (C, H, W) uint8 image, got {observation_space}")
        options = {**options, "pretrained": pretrained, "weights": weights, "frozen": frozen}
        self.stacks: dict[str, list[str]] = {}  # the first image of each size -> all images of that size
        for key, space in images.items():
            first = next((k for k in self.stacks if images[k].shape[1:] == space.shape[1:]), key)  # type: ignore[index]
            self.stacks.setdefault(first, []).append(key)
        self.backbones = nn.ModuleDict(
            {
                key: _build(backbone, [images[k].shape for k in keys], options)
                for key, keys in self.stacks.items()
            }
        )
        self.others = [key for key in observation_space if key not in images]
        joined = sum(net.num_features for net in self.backbones.values())  # type: ignore[misc]
        joined += sum(get_flattened_obs_dim(observation_space[key]) for key in self.others)
        self.head = nn.Sequential(nn.Linear(joined, features_dim), nn.ReLU())

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """(B, features_dim) from images in [0, 1] (B, C, H, W) and numbers (B, ...)."""
        parts = [
            self.backbones[first](torch.cat([observations[key] for key in keys], dim=1))
            for first, keys in self.stacks.items()
        ]
        parts += [observations[key].flatten(1) for key in self.others]
        return self.head(torch.cat(parts, dim=1))


def _build(backbone: str | nn.Module, shapes: list[Any], options: dict[str, Any]) -> Backbone:
    """A backbone for a stack of images (C, H, W), all of one size."""
    channels, side = sum(shape[0] for shape in shapes), min(shapes[0][1:])
    if isinstance(backbone, str):
        return make_backbone(backbone, channels, image_size=side, **options)
    net = as_backbone(deepcopy(backbone), channels, side)
    net.pretrained = True  # the weights are the caller's
    return net.freeze() if options["frozen"] else net
