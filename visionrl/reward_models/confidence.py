"""The confidence of a classifier as a score of observations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn


class ClassifierConfidence:
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
        self.classifier, self.label, self.key, self.batch = classifier, label, key, batch
        self.channels = slice(None) if channels is None else channels

    @torch.inference_mode()
    def __call__(self, observations: Mapping[str, Any]) -> np.ndarray:
        """(B,) float64 of observations with a (B, C, H, W) uint8 image, an array or a tensor.

        Raises:
            ValueError: there is no such image, or no such class.
        """
        if self.key not in observations:
            raise ValueError(f"key must be one of {', '.join(observations)}, got {self.key!r}")
        self.classifier.eval()
        images = torch.as_tensor(observations[self.key])[:, self.channels]
        parts = [self._confidence(part) for part in images.split(self.batch)]
        return np.concatenate(parts)

    def _confidence(self, images: torch.Tensor) -> np.ndarray:
        first = next(self.classifier.parameters(), None)
        home = images.device if first is None else first.device
        logits = self.classifier(images.to(home, torch.float32) / 255)
        if logits.ndim != 2 or self.label >= logits.shape[1]:
            raise ValueError(f"label must be a column of the logits {tuple(logits.shape)}, got {self.label}")
        return logits.double().softmax(1)[:, self.label].cpu().numpy()
