"""Attention to the image in several hops, each of which refines the question (Yang et al., 2016)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from visionrl.layers.attention import SoftAttention
from visionrl.layers.transformer import WordBlock
from visionrl.models._registry import register_model
from visionrl.models.language._base import Positive
from visionrl.models.language.answerer import Answerer

KEYS = 64  # length of what a place is recognised by


@register_model("vqa_stacked_attention")
class StackedAttention(Answerer):
    """A convolutional trunk, a layer in which its places see each other, and hops of attention that the question leads.

    "Stacked Attention Networks for Image Question Answering", Yang et al., CVPR 2016; the layer of self-attention is an
    addition.

    Args:
        args: see ``Answerer``.
        hops: how often it looks.
        options: see ``Answerer``.
    """

    def __init__(self, *args: Any, hops: Positive = 2, **options: Any) -> None:
        super().__init__(*args, **options)
        self.relate = WordBlock(self.width, 4, self.drop.p, memory=False)
        self.hops: Any = nn.ModuleList(SoftAttention(self.width, self.width, KEYS) for _ in range(hops))
        self.merge = nn.ModuleList(nn.Linear(2 * self.width, self.width) for _ in range(hops))

    def see(self, places: Tensor) -> Tensor:
        """(B, width + hops * 64, h, w): the places, and the keys of each hop, once for all questions."""
        places = self.relate.over_map(self.image.placed(places))
        return torch.cat([places, *(hop.key(places) for hop in self.hops)], 1)

    def fuse(self, places: Any, questions: Tensor) -> tuple[Tensor, Tensor | None]:
        """See the base."""
        known, maps = self.hear(questions), []
        places, *keys = places.split([self.width, *[KEYS] * len(self.hops)], 1)
        for hop, merge, key in zip(self.hops, self.merge, keys, strict=True):
            seen = hop(places, known, key)
            known = known + merge(torch.cat([seen.features, known], 1)).relu()
            maps.append(seen.weights)
        return known, torch.stack(maps, 1)
