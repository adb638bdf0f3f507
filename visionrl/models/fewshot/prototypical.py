"""Prototypical networks: a class is the mean of its images' features, an image is of the class that is nearest."""

from __future__ import annotations

import torch
from torch import Tensor

from visionrl.models._registry import register_model
from visionrl.models.fewshot._base import FewShotModel, class_means


@register_model("prototypical")
class Prototypical(FewShotModel):
    """The negative squared Euclidean distance to the mean features of a class is its logit.

    "Prototypical Networks for Few-shot Learning", Snell, Swersky & Zemel, NeurIPS 2017. Their episodes of training have
    more classes (20 to 60) than those of the test.
    """

    def logits(self, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """See ``FewShotModel.logits``."""
        return -torch.cdist(query, class_means(support, labels)).square()
