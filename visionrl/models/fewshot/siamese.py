"""Siamese networks: two images are of one class, or they are not."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.models._model import Split
from visionrl.models._registry import register_model
from visionrl.models.fewshot._base import FewShotModel, class_means

MARGIN = 1.0
STEEPNESS = 8.0  # of the logistic function of a contrastive distance


@register_model("siamese")
class Siamese(FewShotModel):
    """The probability that two images show one class, from the difference of their features.

    "Siamese Neural Networks for One-shot Image Recognition", Koch, Zemel & Salakhutdinov, 2015: a logistic regression
    of |f1 - f2|. All pairs of an episode are learnt from, those of one class with the weight of all others together.

    Args:
        criterion: "logistic", or "contrastive": the squared distance of pairs of one class, and the square of what
            others lack to a margin of 1 (Hadsell, Chopra & LeCun, CVPR 2006), of features of length 1.
        args: see ``FewShotModel``.
        options: likewise.
    """

    def __init__(
        self, *args: Any, criterion: Literal["logistic", "contrastive"] = "logistic", **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.contrastive = criterion == "contrastive"
        if not self.contrastive:
            self.head = nn.Linear(self.features, 1)
            nn.init.constant_(self.head.weight, -1 / self.features**0.5)
            nn.init.constant_(self.head.bias, 1.0)

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        """(N, M) logits that features (N, D) and (M, D) are of one class; contrastive: 1/2 less the distance."""
        if self.contrastive:
            first, second = F.normalize(first, dim=1), F.normalize(second, dim=1)
            return MARGIN / 2 - torch.cdist(first, second)
        return self.head((first[:, None] - second[None]).abs())[..., 0]

    def same(self, first: Tensor, second: Tensor) -> Tensor:
        """(N, M) the probability that images are of one class, by features (N, D) and (M, D).

        Contrastive: a logistic function of the distance, 1/2 at half of the margin.
        """
        return (self.pairs(first, second) * (STEEPNESS if self.contrastive else 1.0)).sigmoid()

    def logits(self, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """The mean logit of the pairs with a class, see ``FewShotModel.logits``."""
        return class_means(self.pairs(support, query), labels).T

    def loss(self, batch: Split) -> Tensor:
        """The loss of all pairs of an episode, both kinds with the same weight."""
        kept = self.embed(self.distorted(batch["images"]))
        numbers = torch.arange(self.way, device=kept.device).repeat_interleave(self.shot + self.query)
        first, second = torch.triu_indices(len(kept), len(kept), 1, device=kept.device)
        alike = numbers[first] == numbers[second]
        pairs = self.pairs(kept, kept)[first, second]
        if self.contrastive:
            distance = MARGIN / 2 - pairs
            return distance[alike].square().mean() + (MARGIN - distance[~alike]).clamp_min(0).square().mean()
        return (F.softplus(-pairs[alike]).mean() + F.softplus(pairs[~alike]).mean()) / 2
