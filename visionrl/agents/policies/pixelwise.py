"""A policy for tasks in which every pixel acts: one fully convolutional network is actor and critic of all of them."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space, preprocess_obs
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.core.capabilities import name_of, pixels_of

DILATIONS = (1, 2, 3, 4, 3, 2)  # of the 3 x 3 convolutions; a pixel sees 43 x 43 around it
LOCAL = (5, 11)  # sides of the squares whose mean and spread are seen, pixels
CONTRAST = 4.0  # by which they are multiplied
SHARPNESS = 100.0  # logits over what the last layer says: what tools gain, which is little


class PixelPolicy(BasePolicy):
    """Probabilities of n tools and a value for each pixel, from a network without any layer that knows places.

    The images of the observation, all as large as the map of actions, are seen as they are, less their means over 5 x 5
    and 11 x 11 pixels, and by their standard deviations there. Vectors, such as the step, shift the first layer's
    channels and the logits: which tool is best on average is soon known. The critic reads what the actor's layers see
    and does not change them: what a pixel earns is mostly noise. All pixels are one batch of categorical distributions:
    Stable-Baselines3 makes one distribution for each part of a MultiDiscrete, which is a hundred times slower here.

    Args:
        observation_space: a Dict of images (C, H, W) uint8 and vectors.
        action_space: MultiDiscrete(full((H, W), n)).
        lr_schedule: from the share of the run that is left to the learning rate.
        width: channels of each layer.
        optimizer_class: of torch.
        optimizer_kwargs: of that.
        unused: what ``OnPolicyAlgorithm`` hands to every policy.

    Raises:
        ValueError: the actions are none of pixels, or an image is of another size.

    Source: Furuta et al. (2019), "Fully convolutional network with multi-step reinforcement learning for image
    processing"; theirs has 64 channels, heads of two layers each and a recurrent unit.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.MultiDiscrete,
        lr_schedule: Any,
        width: int = 16,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        **unused: Any,
    ) -> None:
        found = pixels_of(action_space)
        if found is None:
            raise ValueError(f"action_space must be a map of actions of pixels, got {name_of(action_space)}")
        super().__init__(
            observation_space,
            action_space,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )
        boxes = {key: space for key, space in observation_space.items() if is_image_space(space)}
        for key, box in boxes.items():
            if box.shape[1:] != found[:2]:  # type: ignore[index]
                raise ValueError(
                    f"observation {key!r} must be of {found[0]} x {found[1]} pixels, got {box.shape}"
                )
        self.width, self.images = width, tuple(boxes)
        self.vectors = tuple(key for key in observation_space if key not in boxes)
        channels = sum(spaces.flatdim(box) for box in boxes.values()) // (found[0] * found[1])
        numbers = sum(spaces.flatdim(observation_space[key]) for key in self.vectors)
        self.first = nn.Conv2d((1 + 2 * len(LOCAL)) * channels, width, 3, padding=1)
        self.context = nn.Linear(numbers, width + found[2]) if numbers else None
        self.trunk = nn.Sequential(
            *[
                layer
                for dilation in DILATIONS[1:]
                for layer in (nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation), nn.ReLU())
            ]
        )
        self.actor_head = nn.Conv2d(width, found[2], 3, padding=1)
        self.critic_head = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 3, padding=1)
        )
        self.init_layers()
        self.optimizer = self.optimizer_class(
            self.parameters(),
            lr=lr_schedule(1),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )

    def init_layers(self) -> None:
        """Give all layers their first weights: the first policy is nearly uniform."""
        for layer in (self.first, *self.trunk, self.critic_head[0]):
            if isinstance(layer, nn.Conv2d):  # torch's own start makes a signal fade in so many layers
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        if self.context is not None:
            nn.init.normal_(self.context.weight[self.width :], std=0.001)
            nn.init.zeros_(self.context.bias[self.width :])
        for layer in (self.actor_head, self.critic_head[2]):
            nn.init.normal_(layer.weight, std=0.001)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "width": self.width, "lr_schedule": lambda _: 0.0}

    def maps(self, obs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (B, n, H, W) and values (B, H, W) of observations."""
        seen: Any = preprocess_obs(obs, self.observation_space, normalize_images=self.normalize_images)
        image = torch.cat([seen[key] for key in self.images], dim=1)
        found = self.first(torch.cat([image - 0.5, *(CONTRAST * part for part in around(image))], dim=1))
        if self.context is None:
            found, usual = self.trunk(found.relu()), 0.0
        else:
            vector = torch.cat([seen[key].flatten(1) for key in self.vectors], dim=1)
            shift, usual = self.context(vector)[:, :, None, None].tensor_split([self.width], dim=1)
            found = self.trunk((found + shift).relu())
        return (self.actor_head(found) + usual) * SHARPNESS, self.critic_head(found.detach())[:, 0]

    def forward(self, obs: dict[str, Tensor], deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Actions (B, H, W), values (B, H, W), and the logarithms of the actions' probabilities (B, H, W)."""
        logits, values = self.maps(obs)
        actions = choose(logits, deterministic)
        return actions, values, log_prob_of(logits, actions)[0]

    def evaluate_actions(self, obs: dict[str, Tensor], actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values, logarithms of the actions' probabilities, and entropies of all pixels, (B * H * W,) each."""
        logits, values = self.maps(obs)
        log_prob, entropy = log_prob_of(logits, actions)
        return values.flatten(), log_prob.flatten(), entropy.flatten()

    def predict_values(self, obs: dict[str, Tensor]) -> Tensor:
        """(B, 1), the mean of the pixels' values."""
        return self.maps(obs)[1].mean(dim=(1, 2))[:, None]

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        """(B, H, W)."""
        return choose(self.maps(observation)[0], deterministic)


def around(image: Tensor) -> list[Tensor]:
    """Images (B, C, H, W) less their mean over squares around each pixel, and their standard deviation there."""
    found = []
    for side in LOCAL:
        mean, square = (
            F.avg_pool2d(part, side, 1, side // 2, count_include_pad=False) for part in (image, image**2)
        )
        found += [image - mean, (square - mean**2).clamp(min=1e-6).sqrt()]
    return found


def choose(logits: Tensor, deterministic: bool) -> Tensor:
    """(B, n, H, W) -> (B, H, W) int64: the likeliest tool of each pixel, or one drawn with torch's generator."""
    if deterministic:
        return logits.argmax(dim=1)
    return (logits - torch.empty_like(logits).exponential_().log()).argmax(dim=1)  # Gumbel's maximum


def log_prob_of(logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithms of the probabilities of actions (B, H, W), and the entropies of all, (B, H, W) each."""
    logs = logits.log_softmax(dim=1)
    return logs.gather(1, actions[:, None].long())[:, 0], -(logs.exp() * logs).sum(dim=1)
