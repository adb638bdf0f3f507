"""A transformer whose words of the question look at the places of the image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from visionrl.datasets.words import PAD
from visionrl.layers.transformer import WordBlock
from visionrl.models._registry import register_model
from visionrl.models.language._base import Positive
from visionrl.models.language.answerer import Answerer


@register_model("vqa_transformer")
class VqaTransformer(Answerer):
    """A convolutional trunk, an encoder layer over its places, and blocks in which words attend to words and places.

    The form of the cross-modality layers of LXMERT (Tan & Bansal, EMNLP 2019), one way: the answer is read from a token
    before the words. Its maps are those of each word in the last block, the mean over the heads.

    Args:
        args: see ``Answerer``.
        layers: number of blocks.
        heads: of the attention.
        options: see ``Answerer``.
    """

    def __init__(self, *args: Any, layers: Positive = 2, heads: Positive = 4, **options: Any) -> None:
        super().__init__(*args, **options)
        del self.read  # the blocks read the question
        drop = self.drop.p
        self.relate = WordBlock(self.width, heads, drop, memory=False)
        self.blocks = nn.ModuleList(WordBlock(self.width, heads, drop) for _ in range(layers))
        self.asker = nn.Parameter(0.02 * torch.randn(1, self.width))
        self.positions = nn.Parameter(0.02 * torch.randn(self.length + 1, self.width))
        self.norm = nn.LayerNorm(self.width)

    def see(self, places: Tensor) -> Tensor:
        """(B, width, h, w)."""
        return self.relate.over_map(self.image.placed(places))

    def steps(self, question: Tensor, count: int) -> tuple[str, ...]:
        """The words of the question, behind them the answer."""
        words = [self.vocabulary.words[word] for word in question.tolist() if word != PAD]
        return (*words, "(answer)")

    def fuse(self, places: Any, questions: Tensor) -> tuple[Tensor, Tensor | None]:
        """See the base; the maps are those of the words, then that of the answer."""
        tokens = torch.cat([self.asker.expand(len(questions), 1, -1), self.embed(questions)], 1)
        found = self.drop(tokens + self.positions)
        pad = torch.cat([torch.zeros_like(questions[:, :1]), questions == PAD], 1).bool()
        memory, maps = places.flatten(2).mT, None
        for block in self.blocks:
            found, maps = block(found, memory, pad=pad)
        if maps is not None:
            maps = maps.unflatten(2, places.shape[2:])
            words = int((questions > PAD).sum(1).max())
            maps = torch.cat([maps[:, 1 : 1 + words], maps[:, :1]], 1)
        return self.norm(found[:, 0]), maps
