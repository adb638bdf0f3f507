"""Matching networks: an image has the classes of the images that it attends to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.models._registry import register_model
from visionrl.models.fewshot._base import FewShotModel

LARGEST_SCALE = 100.0


@register_model("matching")
class Matching(FewShotModel):
    """Attention over the support by the softmax of cosines; the logit of a class is the logarithm of its attention.

    "Matching Networks for One Shot Learning", Vinyals et al., NeurIPS 2016, without full context embeddings. The
    cosines have a learned scale, which begins at 10: without one the softmax of numbers in [-1, 1] stays almost flat.

    Args:
        args: see ``FewShotModel``.
        options: likewise.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.log_scale = nn.Parameter(torch.tensor(2.3026))

    def logits(self, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """See ``FewShotModel.logits``."""
        cosines = F.normalize(query, dim=1) @ F.normalize(support, dim=1).T
        attention = (self.log_scale.exp().clamp_max(LARGEST_SCALE) * cosines).softmax(1)
        return (attention @ F.one_hot(labels).to(attention)).clamp_min(1e-12).log()
