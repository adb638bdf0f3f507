"""Similarity to a target image in the maps of a network, as a score of observations: place by place, or in style."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visionrl.backbones import Backbone
from visionrl.backbones.style import gram_matrices, relative_error
from visionrl.reward_models._images import ScoreOfImages

CHUNK = 64


class ScoreOfMaps(ScoreOfImages):
    """Base of scores that compare the maps of an image with those of a target image.

    The backbone is used as it is, in evaluation mode, on the device of its parameters; it learns nothing here.

    Args:
        backbone: trained, for images of the target's channels.
        target: (C, H, W) uint8.
        layers: names of the backbone's stages whose maps are compared; None is all.
        key: name of the image in the observation.
        channels: which channels of the image the backbone sees, where the window stacks several views; None is all.
        batch: images per call of the backbone.

    Raises:
        ValueError: an argument is out of range, the target does not suit the backbone, or a layer gives no map of
            finite numbers.
    """

    network: Backbone

    def __init__(
        self,
        backbone: Backbone,
        target: np.ndarray,
        layers: Sequence[str] | None = None,
        key: str = "window",
        channels: slice | None = None,
        batch: int = CHUNK,
    ) -> None:
        super().__init__(backbone, key, channels, batch)
        known = [name for name, _ in backbone.stages.named_children()]
        self.layers = known if layers is None else list(layers)
        if isinstance(layers, str) or not self.layers or set(self.layers) - set(known):
            raise ValueError(f"layers must be one or more of {', '.join(known)}, got {layers!r}")
        target = np.asarray(target)
        if target.ndim != 3 or target.dtype != np.uint8 or len(target) != backbone.in_channels:
            rule = f"target must be (C, H, W) uint8 with the backbone's {backbone.in_channels} channels"
            raise ValueError(f"{rule}, got {target.shape} of {target.dtype}")
        self.size = target.shape
        backbone.eval()
        with torch.inference_mode():
            self.wanted = self.maps(torch.from_numpy(target.copy())[None])

    @abstractmethod
    def describe(self, maps: Tensor) -> Tensor:
        """Turn a layer's maps (B, C', h, w) into what is compared, (B, ...)."""

    @abstractmethod
    def distance(self, own: Tensor, wanted: Tensor) -> Tensor:
        """(B,) distance of the descriptions of B images from that of the target, (1, ...)."""

    def maps(self, images: Tensor) -> list[Tensor]:
        """Describe the maps of each layer, of images (B, C, H, W) uint8.

        Raises:
            ValueError: a layer gives no map, or none of finite numbers.
        """
        maps = self.network.forward_stages(images.to(self.network.mean.device), self.layers)
        for name, x in maps.items():
            if x.ndim != 4 or not bool(x.isfinite().all()):
                what = f"of shape {tuple(x.shape)}" if x.ndim != 4 else "with numbers that are not finite"
                raise ValueError(
                    f"layers must give maps (B, C, h, w) of finite numbers, {name} gave one {what}"
                )
        return [self.describe(x) for x in maps.values()]

    def score(self, images: Tensor) -> np.ndarray:
        """(B,) float64, at most 0, of images (B, C, H, W) uint8."""
        pairs = zip(self.maps(images), self.wanted, strict=True)
        return -torch.stack([self.distance(*pair) for pair in pairs]).mean(0).cpu().numpy()


class PerceptualDistance(ScoreOfMaps):
    """Minus the distance of the image to a target image, between the maps of a backbone; 0 where they are the same.

    At each place of a map the vector of channels is given length 1; a layer's distance is the mean squared difference
    of these over the places, summed over the channels, and the score is minus the mean over the layers ("The
    unreasonable effectiveness of deep features as a perceptual metric", Zhang et al., 2018, without their learned
    weights). Use it with ``difference=True``: the reward is then what a step gains.

    Arguments and errors are those of ``ScoreOfMaps``; the image has the size of the target.
    """

    def describe(self, maps: Tensor) -> Tensor:
        """The maps, channels of length 1."""
        return F.normalize(maps, dim=1)

    def distance(self, own: Tensor, wanted: Tensor) -> Tensor:
        """(B,) float64, the mean squared difference over the places, summed over the channels."""
        return (own - wanted).double().square().sum(1).flatten(1).mean(1)

    def score(self, images: Tensor) -> np.ndarray:
        """(B,) float64, at most 0, of images (B, C, H, W) uint8.

        Raises:
            ValueError: the images are of another size than the target.
        """
        if tuple(images.shape[1:]) != self.size:
            raise ValueError(
                f"key must name an image of the target's {self.size}, got {tuple(images.shape[1:])}"
            )
        return super().score(images)


class GramDistance(ScoreOfMaps):
    """Minus the distance of the image from the style of a target image; 0 where they are the same.

    Style is the Gram matrix of each layer's map: the products of each two channels, averaged over the places, so that
    it says which forms and colours there are and not where ("Image style transfer using convolutional neural networks",
    Gatys et al., 2016). A layer's distance is the squared difference of the matrices as a share of the target's
    squares, so that layers count alike, and the score is minus the mean over the layers. The image may have any size;
    forms are compared at the scale in which they are given. Use it with ``difference=True``: the reward is then what
    a step gains.

    Arguments and errors are those of ``ScoreOfMaps``.
    """

    def describe(self, maps: Tensor) -> Tensor:
        """(B, C', C') float64, the Gram matrices."""
        return gram_matrices(maps.double())

    def distance(self, own: Tensor, wanted: Tensor) -> Tensor:
        """(B,) float64, the squared difference as a share of the target's squares."""
        return relative_error(own, wanted)
