"""The confidence of a classifier as a score of observations."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from visionrl.reward_models._images import ScoreOfImages


class ClassifierConfidence(ScoreOfImages):
    """Confidence of a classifier that the window shows a class: its softmax probability, in [0, 1].

    The classifier is used as it is, in evaluation mode, on the device of its parameters; it learns nothing here.

    Args:
        classifier: from images (B, C, H, W) in [0, 1] to logits (B, K).
        label: number of the class.
        key: name of the image in the observation.
        channels: which channels of the image the classifier sees, where the window stacks several views; None is
            all.
        batch: images per call of the classifier.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        classifier: nn.Module,
        label: int,
        key: str = "window",
        channels: slice | None = None,
        batch: int = 256,
    ) -> None:
        if label < 0 or batch < 1:
            raise ValueError(f"label must be >= 0 and batch >= 1, got {label} and {batch}")
        super().__init__(classifier, key, channels, batch)
        self.label = label

    def score(self, images: torch.Tensor) -> np.ndarray:
        """(B,) float64 of images (B, C, H, W) uint8.

        Raises:
            ValueError: there is no such class.
        """
        first = next(self.network.parameters(), None)
        home = images.device if first is None else first.device
        logits = self.network(images.to(home, torch.float32) / 255)
        if logits.ndim != 2 or self.label >= logits.shape[1]:
            raise ValueError(f"label must be a column of the logits {tuple(logits.shape)}, got {self.label}")
        return logits.double().softmax(1)[:, self.label].cpu().numpy()
