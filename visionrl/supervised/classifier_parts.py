"""What the training of a classifier is made of: its config, and its network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from visionrl.backbones import Classifier, make_classifier
from visionrl.core import check_choice
from visionrl.layers.stn import SpatialTransformer


@dataclass(frozen=True)
class ClassifierConfig:
    """One training run of a classifier."""

    data: str = "digits"
    """"digits", "cluttered-digits", "imagefolder:PATH", or another "FORMAT:PATH" with one label an image."""
    backbone: str = "impala"
    """Name of the network."""
    pretrained: bool = False
    """Start from the published ImageNet weights."""
    stem: Literal["auto", "imagenet", "small"] = "auto"
    """First layers; "imagenet" shrinks small images early, which is several times faster and less exact."""
    epochs: int = 30
    """At most so many passes over the training split."""
    batch_size: int = 64
    """Images in a step."""
    lr: float = 2e-3
    """Highest learning rate of AdamW; it falls to 0 along a cosine, after a warm-up of a twentieth of the steps."""
    weight_decay: float = 0.02
    """Weight decay of AdamW."""
    mixup: float = 0.0
    """Alpha of mixup (Zhang et al., 2018); 0 is off."""
    label_smoothing: float = 0.0
    """Share of the probability given to all classes alike."""
    augment: Literal["none", "light", "affine"] = "light"
    """"light" turns, scales and shifts training images a little; "affine" does so strongly, and to ALL splits."""
    canvas: int | None = None
    """Side of the square image that the network sees, on which smaller images lie in the middle; None their own."""
    stn: bool = False
    """Put a spatial transformer in front of the network."""
    amp: bool = False
    """Compute in bfloat16 where it is safe (autocast)."""
    patience: int = 10
    """Stop after so many epochs without a better validation accuracy."""
    seed: int = 0
    """Seed of everything."""
    device: str = "cpu"
    """Where the network lives: "cpu" or "cuda"."""
    threads: int = 1
    """CPU threads of torch."""
    out: str = "runs"
    """Folder of the runs."""
    name: str | None = None
    """Name of the run's own folder; made of data, network and seed by default."""
    resume: bool = False
    """Continue the run from its last epoch."""

    def __post_init__(self) -> None:
        check_choice("augment", self.augment, ("none", "light", "affine"))
        for name in ("epochs", "batch_size", "patience", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}")
        for name in ("lr", "weight_decay", "mixup", "label_smoothing"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")

    @property
    def folder(self) -> Path:
        """The run's folder."""
        data = self.data.partition(":")[0]
        stn = "-stn" if self.stn else ""
        return Path(self.out) / (self.name or f"{data}-{self.backbone}{stn}-s{self.seed}")


class Reader(nn.Module):
    """A classifier, with a spatial transformer in front of it or not.

    Attributes:
        front: the transformer, or the identity.
        classifier: from its pictures to logits.
    """

    def __init__(self, classifier: Classifier, front: nn.Module) -> None:
        super().__init__()
        self.front, self.classifier = front, classifier

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, classes) of uint8 images (B, C, H, W)."""
        return self.classifier(self.front(x))

    def loss(self, x: Tensor, target: Tensor, smoothing: float) -> Tensor:
        """Mean cross-entropy against probabilities (B, classes)."""
        return self.classifier.loss(self.front(x), target, smoothing)


def build_reader(config: ClassifierConfig, about: Mapping[str, Any]) -> Reader:
    """The network of a config for images as ``Images.about`` describes them."""
    channels, side = about["in_channels"], about["side"]
    front = SpatialTransformer(channels) if config.stn else nn.Identity()
    classifier = make_classifier(
        config.backbone, len(about["classes"]), channels, config.pretrained, stem=config.stem, image_size=side
    )
    return Reader(classifier, front)
