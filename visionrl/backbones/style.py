"""Style as the Gram matrices of a network's maps, and pictures that get it by gradient descent; NumPy in, NumPy out."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visionrl.backbones._backbone import Backbone
from visionrl.backbones._registry import make_backbone
from visionrl.backbones.dense import dense_features

BACKBONE = "mobilenet_v2"
STYLE = ("conv1", "bottleneck1", "bottleneck2", "bottleneck3")  # strides 2, 2, 4 and 8
CONTENT = "bottleneck3"
STEPS, RATE = 60, 0.03  # of gradient descent; pixels in [0, 1]
ZOOM = 2  # of pictures before the network, whose first stride would else leave a checkerboard
SMOOTH = 20.0  # weight of the mean squared difference of neighbouring pixels
LEAST = 1e-12


def gram_matrices(maps: Tensor) -> Tensor:
    """(B, C, C), the products of each two channels of maps (B, C, h, w), averaged over the places."""
    flat = maps.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def relative_error(own: Tensor, wanted: Tensor) -> Tensor:
    """(B,) squared difference of tensors (B, ...) from others, (B, ...) or (1, ...), as a share of their squares."""
    gap, size = ((own - wanted) ** 2).flatten(1).sum(1), (wanted**2).flatten(1).sum(1)
    return gap / size.clamp(min=LEAST)


def roughness(images: Tensor) -> Tensor:
    """(B,) mean squared difference of neighbouring pixels of images (B, C, H, W), along rows and along columns."""
    gaps = images.diff(dim=3), images.diff(dim=2)
    return torch.stack([(gap**2).flatten(1).mean(1) for gap in gaps]).sum(0)


def stylized(
    pictures: np.ndarray,
    style: np.ndarray,
    weight: float,
    weights: str | Path | None = None,
    steps: int = STEPS,
) -> np.ndarray:
    """Pictures with the style of another, by gradient descent on their pixels.

    "Image style transfer using convolutional neural networks", Gatys et al., 2016: what is shown is a map of the
    network, style is the Gram matrices of several. Each is compared by its squared error as a share of what is wanted,
    so that layers count alike; a third term keeps neighbouring pixels alike. Descent is Adam's, from the picture.
    There the network is a trained VGG-19; here it is MobileNetV2. Without weights they are drawn by chance, always the
    same; random networks were found to carry style, too ("A powerful generative model using random weights for the deep
    image representation", He et al., 2016).

    Args:
        pictures: (B, C, H, W) grey levels.
        style: (C, H', W') grey levels.
        weight: of the style, where that of the content is 1.
        weights: file of those of MobileNetV2; None draws them.
        steps: of gradient descent.

    Returns:
        (B, C, H, W) float32, grey levels.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the weights are not those of the network.
    """
    count = len(style)
    net = _network_by_chance(count) if weights is None else dense_features(weights, BACKBONE).network(count)
    target = torch.from_numpy(np.asarray(style, np.float32))[None] / 255
    content = torch.from_numpy(np.asarray(pictures, np.float32)) / 255
    with torch.no_grad():
        wanted = [gram_matrices(maps[name]) for maps in [_maps(net, target)] for name in STYLE]
        shown = _maps(net, content)[CONTENT]
    x = content.clone().requires_grad_(True)
    descent = torch.optim.Adam([x], RATE)
    with torch.enable_grad():
        for _ in range(steps):
            maps = _maps(net, x)
            far = [
                relative_error(gram_matrices(maps[name]), one)
                for name, one in zip(STYLE, wanted, strict=True)
            ]
            loss = (
                relative_error(maps[CONTENT], shown)
                + weight * torch.stack(far).mean(0)
                + SMOOTH * roughness(x)
            )
            descent.zero_grad()
            loss.sum().backward()
            descent.step()
            with torch.no_grad():
                x.clamp_(0, 1)
    return 255 * x.detach().numpy()


def _maps(net: Backbone, images: Tensor) -> dict[str, Tensor]:
    """The maps of the stages that are compared, by name."""
    large = F.interpolate(images, scale_factor=ZOOM, mode="bilinear", align_corners=False)
    return net.forward_stages(large, {*STYLE, CONTENT})


@lru_cache(maxsize=2)
def _network_by_chance(channels: int) -> Backbone:
    """The network with weights drawn by chance, always the same."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return make_backbone(BACKBONE, channels, frozen=True).eval()
