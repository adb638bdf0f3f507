"""Goals by example: how alike what an image shows is to a few images, or to wanted attributes, as a score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from visionrl.core import check_choice
from visionrl.models._images import device_of
from visionrl.models.fewshot._base import FewShotModel
from visionrl.models.fewshot.attributes import Attributes
from visionrl.models.fewshot.siamese import Siamese
from visionrl.reward_models._images import ScoreOfImages, fitted


class PrototypeSimilarity(ScoreOfImages):
    """Similarity of the image and of the mean features of some examples, in [0, 1].

    With negatives it is the probability of the examples by the softmax over two prototypes (Snell et al., 2017), else
    (1 + cosine) / 2.

    Args:
        encoder: a few-shot model, which resizes images as it needs them; or a network from images (B, C, H, W) in
            [0, 1] to vectors (B, D), such as a backbone.
        support: (N, C, H, W) uint8, examples of what is wanted; for a network of the size of the observation's images.
        negatives: (M, C, H, W) uint8, examples of what is not.
        key: name of the image in the observation.
        channels: which channels of the image the encoder sees; None is all.
        distance: with negatives: logits are squared distances, negative, or cosines.
        temperature: what the logits are divided by.
        batch: images per call of the encoder.

    Raises:
        ValueError: there is no example, or an argument is out of range.
    """

    def __init__(
        self,
        encoder: nn.Module,
        support: np.ndarray,
        negatives: np.ndarray | None = None,
        key: str = "window",
        channels: slice | None = None,
        distance: Literal["euclidean", "cosine"] = "euclidean",
        temperature: float = 1.0,
        batch: int = 256,
    ) -> None:
        super().__init__(encoder, key, channels, batch)
        check_choice("distance", distance, ("euclidean", "cosine"))
        if not temperature > 0:
            raise ValueError(f"temperature must be > 0, got {temperature}")
        self.distance, self.temperature = distance, temperature
        self.shape = check_examples("support", support)
        if negatives is not None and check_examples("negatives", negatives) != self.shape:
            raise ValueError(
                f"negatives must be images like support, {self.shape}, got {negatives.shape[1:]}"
            )
        encoder.eval()
        groups = [part for part in (support, negatives) if part is not None]
        with torch.inference_mode():
            self.prototypes = torch.stack([self.embed(torch.as_tensor(part)).mean(0) for part in groups])

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """(B, D) of images (B, C, H, W) uint8.

        Raises:
            ValueError: they are of another shape than the examples, or the encoder gives no finite vectors.
        """
        if isinstance(self.network, FewShotModel):
            found = self.network.embed(fitted(images, self.network).to(device_of(self.network)))
        else:
            if tuple(images.shape[1:]) != self.shape:
                raise ValueError(
                    f"support must be of the observation's size {tuple(images.shape[1:])}, got {self.shape}"
                )
            first = next(self.network.parameters(), None)
            home = images.device if first is None else first.device
            found = self.network(images.to(home, torch.float32) / 255)
        if found.ndim != 2 or not torch.isfinite(found).all():
            raise ValueError(f"encoder must give finite vectors (B, D), got the shape {tuple(found.shape)}")
        return found

    def score(self, images: torch.Tensor) -> np.ndarray:
        """(B,) float64 of images (B, C, H, W) uint8."""
        seen = self.embed(images)
        cosines = F.normalize(seen, dim=1) @ F.normalize(self.prototypes, dim=1).T
        if len(self.prototypes) == 1:
            return (1 + cosines[:, 0].double().clamp(-1, 1).cpu().numpy()) / 2
        squares = (seen[:, None] - self.prototypes).square().sum(2)
        logits = cosines if self.distance == "cosine" else -squares
        return (logits.double() / self.temperature).softmax(1)[:, 0].cpu().numpy()


class SiameseSimilarity(ScoreOfImages):
    """Probability that the image shows the class of a reference image, by a siamese network, in [0, 1].

    Args:
        network: trained, see ``visionrl.models.load_model``.
        reference: (C, H, W) uint8, of any size.
        key: name of the image in the observation.
        channels: which channels of the image the network sees; None is all.
        batch: images per call of the network.

    Raises:
        ValueError: the network is no siamese one, or the reference no image.
    """

    network: Siamese

    def __init__(
        self,
        network: Siamese,
        reference: np.ndarray,
        key: str = "window",
        channels: slice | None = None,
        batch: int = 256,
    ) -> None:
        super().__init__(network, key, channels, batch)
        if not isinstance(network, Siamese):
            raise ValueError(f"network must be a siamese network, got {type(network).__name__}")
        check_examples("reference", np.asarray(reference)[None])
        self.reference = network.remember(network.prepare([reference]))

    def score(self, images: torch.Tensor) -> np.ndarray:
        """(B,) float64 of images (B, C, H, W) uint8."""
        seen = self.network.embed(fitted(images, self.network).to(self.reference.device))
        return self.network.same(seen, self.reference)[:, 0].double().cpu().numpy()


class AttributeMatch(ScoreOfImages):
    """Probability that what the image shows has some attributes and lacks others, taken as independent, in [0, 1].

    Attributes as in Lampert, Nickisch & Harmeling (2009): a goal can be described that nobody has an image of.

    Args:
        network: trained, see ``visionrl.models.load_model``.
        attributes: name -> whether it is wanted; attributes that are not named are of no account.
        key: name of the image in the observation.
        channels: which channels of the image the network sees; None is all.
        batch: images per call of the network.

    Raises:
        ValueError: the network knows no attributes, or no such one, or none is given.
    """

    network: Attributes

    def __init__(
        self,
        network: Attributes,
        attributes: Mapping[str, bool],
        key: str = "window",
        channels: slice | None = None,
        batch: int = 256,
    ) -> None:
        super().__init__(network, key, channels, batch)
        if not isinstance(network, Attributes):
            raise ValueError(f"network must know attributes, got {type(network).__name__}")
        unknown = [name for name in attributes if name not in network.attributes]
        if unknown or not attributes:
            known = ", ".join(network.attributes)
            raise ValueError(f"attributes must be one or more of {known}, got {', '.join(unknown) or 'none'}")
        self.columns = [network.attributes.index(name) for name in attributes]
        self.wanted = np.array([*attributes.values()], bool)

    def score(self, images: torch.Tensor) -> np.ndarray:
        """(B,) float64 of images (B, C, H, W) uint8."""
        likely = self.network.probabilities(fitted(images, self.network)).double().numpy()[:, self.columns]
        return np.where(self.wanted, likely, 1 - likely).prod(1)


def check_examples(name: str, images: Any) -> tuple[int, ...]:
    """The shape (C, H, W) of example images.

    Raises:
        ValueError: they are no (N, C, H, W) uint8, or there is none.
    """
    if getattr(images, "ndim", 0) != 4 or not len(images) or str(images.dtype).rpartition(".")[2] != "uint8":
        shape, kind = getattr(images, "shape", None), getattr(images, "dtype", type(images).__name__)
        raise ValueError(f"{name} must be one or more uint8 images (N, C, H, W), got {kind} {shape}")
    return tuple(images.shape[1:])
