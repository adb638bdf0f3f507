"""The image of an observation, as reward models see it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn


class ScoreOfImages(ABC):
    """Base of scores of one image in the observation, a part of the rows at a time.

    The network is used as it is, in evaluation mode, on the device of its parameters; it learns nothing here.

    Args:
        network: what scores.
        key: name of the image in the observation.
        channels: which channels of the image the network sees, where the window stacks several views; None is all.
        batch: images per call of the network.

    Raises:
        ValueError: ``batch`` is below 1.
    """

    def __init__(self, network: nn.Module, key: str, channels: slice | None, batch: int) -> None:
        if batch < 1:
            raise ValueError(f"batch must be >= 1, got {batch}")
        self.network, self.key, self.batch = network, key, batch
        self.channels = slice(None) if channels is None else channels

    @abstractmethod
    def score(self, images: torch.Tensor) -> np.ndarray:
        """(B,) float64 of images (B, C, H, W)."""

    @torch.inference_mode()
    def __call__(self, observations: Mapping[str, Any]) -> np.ndarray:
        """(B,) float64 of observations with a (B, C, H, W) uint8 image, an array or a tensor.

        Raises:
            ValueError: there is no such image.
        """
        if self.key not in observations:
            raise ValueError(f"key must be one of {', '.join(observations)}, got {self.key!r}")
        images = torch.as_tensor(observations[self.key])
        if images.ndim != 4:
            raise ValueError(f"key must name an image, {self.key!r} has the shape {tuple(images.shape[1:])}")
        self.network.eval()
        return np.concatenate([self.score(part) for part in images[:, self.channels].split(self.batch)])


def fitted(images: torch.Tensor, model: Any) -> torch.Tensor:
    """(B, C, S, S) uint8 on the CPU of images (B, C', H, W) uint8 of any size, as a model wants them.

    Raises:
        ValueError: the images have neither one channel nor three, nor C.
    """
    if images.shape[1] not in (1, 3, model.channels):
        raise ValueError(f"channels must leave 1 or 3 of the image's, got {images.shape[1]}")
    return model.prepare(images.cpu().numpy())
