"""Features of every block of an image by the first stages of a network with trained weights, NumPy in and NumPy out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from visionrl.backbones._backbone import Backbone
from visionrl.backbones._registry import make_backbone

STAGES = {"mobilenet_v2": ("bottleneck2", "bottleneck3", "bottleneck5")}  # of strides 4, 8 and 16


@dataclass(frozen=True)
class DenseFeatures:
    """The maps of some stages, each averaged over 3 x 3 places, brought to one grid and joined.

    After Roth et al. (2022), "Towards total recall in industrial anomaly detection", who take the middle stages of a
    larger network. Two of the same weights are equal.

    Attributes:
        backbone: name, one of ``STAGES``.
        weights: file of its weights.
        digest: of the file, SHA-256; ``dense_features`` fills it in.
    """

    backbone: str
    weights: str
    digest: str

    def __call__(self, image: np.ndarray, block: int) -> np.ndarray:
        """(H / block, W / block, D) float32 of an image (C, H, W) uint8 whose sides are multiples of ``block``."""
        size = image.shape[1] // block, image.shape[2] // block
        images, net = torch.from_numpy(np.ascontiguousarray(image))[None], self.network(len(image))
        with torch.inference_mode():
            maps = net.forward_stages(images, STAGES[self.backbone]).values()
            near = [F.avg_pool2d(one, 3, 1, 1) for one in maps]
            found = [F.interpolate(one, size, mode="bilinear", align_corners=False)[0] for one in near]
        return torch.cat(found).permute(1, 2, 0).contiguous().numpy()

    def network(self, channels: int) -> Backbone:
        """The network, for images of so many channels."""
        return _network(self, channels)


@lru_cache(maxsize=4)
def _network(features: DenseFeatures, channels: int) -> Backbone:
    return make_backbone(features.backbone, channels, weights=features.weights, frozen=True).eval()


def dense_features(weights: str | Path, backbone: str = "mobilenet_v2") -> DenseFeatures:
    """The features of a file of weights.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the weights are not those of the backbone.
    """
    path = Path(weights).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"weights must be a file of {backbone}, got {weights}")
    found = DenseFeatures(backbone, str(path), hashlib.sha256(path.read_bytes()).hexdigest()[:16])
    found.network(3)
    return found
