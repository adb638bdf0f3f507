"""A network that says by how much two pictures are shifted against each other, place by place."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from visionrl.backbones._backbone import Parts, named
from visionrl.backbones._registry import register_backbone

FEATURES, MATCHED = 16, 32


@register_backbone
def correlation(in_channels: int = 2, radius: int = 3) -> Parts:
    """Pairs of pictures, channels 2k and 2k + 1, compared cell by cell at every small shift.

    A convolution of stride 4 describes each picture by 16 numbers a cell of 4 x 4 pixels, with weights of its own for
    the second picture of a pair, equal at first; the cosines of each cell of the first picture with the
    (2 radius + 1)^2 cells around its place in the second go through a 1 x 1 and a 3 x 3 convolution of stride 2. All
    pairs share these weights. 32 channels a pair, pooled to 4 x 4. An odd last channel is paired with itself. Every
    cell is multiplied with every other, so that it is for windows below about 100 px.

    Source: the cost volume of FlowNetC (Dosovitskiy et al., 2015), on a smaller scale.
    """
    pairs = (in_channels + 1) // 2
    return Parts(
        named(match=Match(radius)),
        channels=MATCHED * pairs,
        pool=4,
        min_size=16,
        small_stem=False,
        shared=True,
        volumes=False,
    )


class Match(nn.Module):
    """Pairs of pictures (B, 2 n, H, W) to maps (B, 32 n, H / 8, W / 8) of how they are shifted.

    Args:
        radius: largest shift along each axis, cells of 4 x 4 pixels.
    """

    def __init__(self, radius: int) -> None:
        super().__init__()
        self.radius = radius
        self.first = nn.Sequential(nn.Conv2d(1, FEATURES, 6, 4, 1), nn.ReLU())
        self.second = deepcopy(self.first)
        self.decide = nn.Sequential(
            nn.Conv2d((2 * radius + 1) ** 2, MATCHED, 1),
            nn.ReLU(),
            nn.Conv2d(MATCHED, MATCHED, 3, 2, 1),
            nn.ReLU(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        if images.shape[1] % 2:
            images = torch.cat([images, images[:, -1:]], dim=1)
        rows, pairs = len(images), images.shape[1] // 2
        pictures = images.reshape(rows * pairs, 2, 1, *images.shape[2:])
        here, there = described(self.first(pictures[:, 0])), described(self.second(pictures[:, 1]))
        maps = self.decide(local_cosines(here, there, self.radius))
        return maps.reshape(rows, -1, *maps.shape[2:])


def described(features: Tensor) -> Tensor:
    """Features (..., C, h, w) less their mean over the picture, each cell scaled to length 1 unless it is almost 0."""
    features = features - features.mean(dim=(-2, -1), keepdim=True)
    return features * (features.square().sum(dim=-3, keepdim=True) + 1e-6).rsqrt()


def local_cosines(here: Tensor, there: Tensor, radius: int) -> Tensor:
    """(N, (2 radius + 1)^2, h, w): products of each cell with those around its place; 0 beyond the border.

    Args:
        here: (N, C, h, w) unit vectors.
        there: likewise.
        radius: cells along each axis.
    """
    rows, _, high, wide = here.shape
    products = here.flatten(2).mT @ there.flatten(2)  # of every cell with every other
    cells, valid = (torch.as_tensor(table, device=here.device) for table in _around(high, wide, radius))
    near = products.gather(2, cells.expand(rows, -1, -1)) * valid.to(products.dtype)
    return near.mT.reshape(rows, -1, high, wide)


@lru_cache(maxsize=32)
def _around(high: int, wide: int, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """The cells around each cell, (h w, (2 radius + 1)^2) numbers, and which of them are there, bool."""
    line = np.arange(-radius, radius + 1)
    y = np.arange(high)[:, None, None, None] + line[:, None]
    x = np.arange(wide)[None, :, None, None] + line
    y, x = np.broadcast_arrays(y, x)
    valid = (y >= 0) & (y < high) & (x >= 0) & (x < wide)
    cells = y.clip(0, high - 1) * wide + x.clip(0, wide - 1)
    return cells.reshape(high * wide, -1), valid.reshape(high * wide, -1)
