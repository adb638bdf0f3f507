"""Images for models: those of any size as squares of one size, and an encoder of their places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.backbones import make_backbone
from visionrl.banks.patches import colored
from visionrl.banks.squares import squeezed
from visionrl.layers.attention import sine_positions
from visionrl.models._model import Model, Split

CHUNK = 128  # images at a time where nothing is learnt
GRID = 3  # places a side of which a vector of the whole image is made


def fit_images(images: Sequence[np.ndarray], channels: int, side: int) -> Tensor:
    """(N, C, S, S) uint8 of images (C', H, W) uint8: resized without regard to their shape, grey or in RGB as wanted.

    Args:
        images: each with 1, 3 or C channels.
        channels: C.
        side: S in pixels.

    Raises:
        ValueError: an image has other channels.
    """
    found = np.empty((len(images), channels, side, side), np.uint8)
    for image, place in zip(images, found, strict=True):
        if len(image) != channels and not {len(image), channels} <= {1, 3}:
            raise ValueError(f"channels must be 1, 3 or those of the images, {len(image)}, got {channels}")
        place[:] = squeezed(colored(image, channels), side)
    return torch.from_numpy(found)


class ImageEncoder(nn.Module):
    """A backbone's map as vectors of its places.

    Args:
        backbone: name, see ``visionrl.backbones.list_backbones``.
        channels: of the images.
        side: of the images in pixels.
        width: length of a place's vector, a multiple of 4.
        pretrained: start from the published weights of the backbone, and keep them.
        frozen: the trunk does not learn.

    Attributes:
        trunk: the backbone.
    """

    def __init__(
        self,
        backbone: str,
        channels: int,
        side: int,
        width: int,
        pretrained: bool = False,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        if width % 4:
            raise ValueError(f"width must be a multiple of 4, got {width}")
        self.trunk = make_backbone(
            backbone, channels, pretrained=pretrained, frozen=pretrained, image_size=side
        )
        self.look = nn.Conv2d(self.trunk.num_channels, width, 1)
        self.scale = nn.Parameter(torch.full((1,), 0.5))
        self.channels, self.side, self.width, self.frozen = channels, side, width, frozen or pretrained
        if self.frozen:
            self.trunk.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """(B, width, h, w) of images (B, C, S, S), uint8 or in [0, 1]; a place does not know where it is.

        In their place their ``trunk_map`` in 16 bits may be given.
        """
        maps = images.float() if images.dtype == torch.float16 else self.trunk_map(images)
        return self.look(maps).relu()

    def trunk_map(self, images: Tensor) -> Tensor:
        """(B, C', h, w), what the trunk makes of images (B, C, S, S)."""
        return self.trunk.forward_features(images.contiguous(memory_format=torch.channels_last))

    def placed(self, places: Tensor) -> Tensor:
        """Encoded places (B, width, h, w), with where each is added, for attention."""
        return places + self.scale * sine_positions(*places.shape[1:]).to(places)

    def grid(self, places: Tensor) -> Tensor:
        """(B, 9 * width): the mean vectors of 3 x 3 parts, for what takes the image as one vector."""
        return F.adaptive_avg_pool2d(places, GRID).flatten(1)

    @property
    def grid_features(self) -> int:
        """Length of ``grid``."""
        return GRID**2 * self.width


class ImageModel(Model):
    """A model with an encoder of images, whose trunk's maps can be worked out once where it does not learn.

    Attributes:
        image: the encoder; None where the model sees no image.
    """

    image: Any

    def map_of(self, batch: Split) -> Tensor:
        """The map of a batch's images, (B, width, h, w); (B, 0) without an encoder."""
        images = batch["images"]
        return torch.zeros(len(images), 0, device=images.device) if self.image is None else self.image(images)

    @torch.no_grad()
    def cached(self, split: Split) -> Split:
        """The split with the maps (N, C', h, w) of the trunk, in 16 bits, as its "images", if the trunk is frozen."""
        if self.image is None or not self.image.frozen:
            return split
        self.eval()
        home, images = device_of(self), split["images"]
        maps = torch.cat([self.image.trunk_map(some.to(home)).half().cpu() for some in images.split(CHUNK)])
        return {**split, "images": maps}


def device_of(module: nn.Module) -> Any:
    """Device of a network's parameters."""
    return next(module.parameters()).device
