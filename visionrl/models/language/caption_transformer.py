"""A transformer that writes captions: words attend to the words before and to the places of the image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from visionrl.layers.transformer import WordBlock, later
from visionrl.models._registry import register_model
from visionrl.models.language._base import Positive
from visionrl.models.language.captioner import Captioner
from visionrl.models.language.decoding import State


@register_model("caption_transformer")
class CaptionTransformer(Captioner):
    """A convolutional trunk, an encoder layer over its places, and a transformer decoder.

    "Attention Is All You Need", Vaswani et al., NeurIPS 2017, for captions as in Sharma et al., ACL 2018, with
    layer normalisation first. Its map of attention is that of the last layer, the mean over the heads.

    Args:
        args: see ``Captioner``.
        layers: of the decoder.
        heads: of the attention.
        options: see ``Captioner``.
    """

    def __init__(self, *args: Any, layers: Positive = 2, heads: Positive = 4, **options: Any) -> None:
        super().__init__(*args, **options)
        drop = self.drop.p
        self.encoder = WordBlock(self.width, heads, drop, memory=False)
        self.blocks = nn.ModuleList(WordBlock(self.width, heads, drop) for _ in range(layers))
        self.positions = nn.Parameter(0.02 * torch.randn(self.length, self.width))
        self.norm = nn.LayerNorm(self.width)

    def start(self, places: Tensor) -> State:
        """The map (B, C, h, w), and the words so far, (B, 0) int64."""
        places = self.encoder.over_map(self.image.placed(places))
        return places, torch.zeros(len(places), 0, dtype=torch.int64, device=places.device)

    def step(self, last: Tensor, state: State) -> tuple[Tensor, State, Tensor | None]:
        """See the base."""
        places, words = state[0], torch.cat([state[1], last[:, None]], 1)
        found, weights = self.decode(places, words)
        map_ = None if weights is None else weights[:, -1].view(-1, *places.shape[2:])
        return found[:, -1], (places, words), map_

    def follow(self, state: State, before: Tensor) -> Tensor:
        """See the base."""
        return self.decode(state[0], before)[0]

    def decode(self, places: Tensor, words: Tensor) -> tuple[Tensor, Tensor | None]:
        """Vectors (B, T, width) after each of the words, and the last layer's attention (B, T, N)."""
        found, memory = self.drop(self.embed(words) + self.positions[: words.shape[1]]), places.flatten(2).mT
        mask, weights = later(words.shape[1], words.device), None
        for block in self.blocks:
            found, weights = block(found, memory, mask)
        return self.norm(found), weights
