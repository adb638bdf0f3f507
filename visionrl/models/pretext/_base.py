"""The contract of pretexts: tasks that images set themselves, from which a backbone learns without labels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor
from torch.nn import functional as F

from visionrl.backbones import make_backbone
from visionrl.datasets import ImageSample
from visionrl.models._images import CHUNK, device_of, fit_images
from visionrl.models._model import Model, Split

SIDE = 64  # of the images, unless an option says otherwise
Figures = dict[str, float]
Side = Annotated[int, Interval(ge=16, le=1024)]
Channels = Annotated[int, Interval(ge=1, le=64)]


class Pretext(Model):
    """A task whose labels come from the images themselves; its backbone is what is kept.

    Args:
        backbone: name of the trunk.
        channels: of the images.
        side: of the square images in pixels; others are resized to it.
        colour: whether three channels are red, green and blue, which augmentations may then change together.

    Attributes:
        backbone: the trunk that learns.
    """

    kind = ImageSample
    data = "objects"
    score_name = "accuracy"
    least: ClassVar[int] = 16  # side in pixels below which there is no task

    def __init__(
        self, backbone: str = "small", channels: Channels = 3, side: Side = SIDE, colour: bool = True
    ) -> None:
        super().__init__()
        if side < self.least:
            raise ValueError(f"side must be >= {self.least} for {self.name}, got {side}")
        self.backbone = make_backbone(backbone, channels, image_size=side)
        self.channels, self.side, self.colour = channels, side, colour and channels == 3

    @abstractmethod
    def objective(self, batch: Split, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """The loss of a batch, a scalar, and what else is worth knowing, such as its accuracy.

        Args:
            batch: "images" (B, C, S, S) uint8, and what else ``split`` made.
            generator: on the CPU; all that is drawn comes from it.
        """

    @abstractmethod
    def picture(self, images: Tensor, generator: torch.Generator) -> np.ndarray:
        """(H, W, 3) uint8, what the pretext sees of some images (B, C, S, S) uint8 and what it predicts."""

    @classmethod
    def for_samples(cls, samples: Sequence[Any], options: Mapping[str, Any]) -> Model:
        """A pretext for the images of training samples, with some options given."""
        cls.check_options(options)
        most = max(len(sample.image) for sample in samples)
        channels, side = options.get("channels", most), options.get("side", SIDE)
        return cls.for_images(fit_images([sample.image for sample in samples], channels, side), options)

    @classmethod
    def for_images(cls, images: Tensor, options: Mapping[str, Any]) -> Pretext:
        """A pretext for training images (N, C, S, S) uint8, with some options given.

        Raises:
            ValueError: an option is wrong, or there is nothing in the images to learn.
        """
        form = {"channels": images.shape[1], "side": images.shape[3]}
        found: Any = cls.of({**form, **cls.learnt_options(images), **options})
        return found

    @classmethod
    def learnt_options(cls, images: Tensor) -> dict[str, Any]:
        """Options that the training images (N, C, S, S) uint8 decide."""
        return {}

    def split(self, images: Tensor) -> Split:
        """Images (N, C, S, S) uint8 as rows for ``loss``."""
        return {"images": images}

    def encode(self, samples: Sequence[Any]) -> Split:
        """Samples as rows for ``loss``."""
        return self.split(fit_images([sample.image for sample in samples], self.channels, self.side))

    def loss(self, batch: Split) -> Tensor:
        """The loss of some rows of a split; what is drawn comes from torch's own generator."""
        return self.objective(batch, torch.default_generator)[0]

    @torch.no_grad()
    def evaluate(self, samples: Sequence[Any], split: Split) -> dict[str, float]:
        """Means of the loss and the figures over a split, with draws that are the same each time.

        Raises:
            ValueError: the split has one image.
        """
        self.eval()
        images, home = split["images"], device_of(self)
        if len(images) < 2:
            raise ValueError(f"images must be 2 or more to be evaluated, got {len(images)}")
        generator = torch.Generator().manual_seed(0)
        total: dict[str, float] = {}
        parts = [part for part in images.split(CHUNK) if len(part) > 1]
        for part in parts:
            loss, figures = self.objective({"images": part.to(home)}, generator)
            for name, value in {"loss": loss.item(), **figures}.items():
                total[name] = total.get(name, 0.0) + value * len(part)
        return {name: value / sum(map(len, parts)) for name, value in total.items()}


def to_unit(images: Tensor) -> Tensor:
    """Images in [0, 1], of uint8 or such already."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def classification_loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, Figures]:
    """Cross-entropy of logits (N, K) with labels (N,), and the accuracy."""
    right = (logits.argmax(1) == labels).float().mean().item()
    return F.cross_entropy(logits, labels), {"accuracy": right}


def random_floats(
    generator: torch.Generator, like: Tensor, size: Any, low: float = 0, high: float = 1
) -> Tensor:
    """Uniform numbers in [low, high) of a size, on the device of another tensor."""
    return (low + (high - low) * torch.rand(size, generator=generator)).to(like.device)


def random_ints(generator: torch.Generator, like: Tensor, size: Any, count: int) -> Tensor:
    """Whole numbers below ``count``, (size) int64, on the device of another tensor."""
    return torch.randint(count, size, generator=generator).to(like.device)


def crop_at(images: Tensor, top: Tensor, left: Tensor, size: int) -> Tensor:
    """(B, C, size, size), a square of each image (B, C, H, W), whose corner is at ``top``, ``left``, (B,) int64."""
    steps = torch.arange(size, device=images.device)
    rows, columns = (top[:, None] + steps)[:, :, None], (left[:, None] + steps)[:, None, :]
    index = torch.arange(len(images), device=images.device)[:, None, None]
    return images[index, :, rows, columns].permute(0, 3, 1, 2)
