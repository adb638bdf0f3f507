"""A language model that continues an image: the vector of a dual encoder as a prefix (Mokady et al., 2021)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from visionrl.layers.transformer import WordBlock, later
from visionrl.models._registry import register_model
from visionrl.models.language._base import Positive
from visionrl.models.language.captioner import Captioner
from visionrl.models.language.decoding import State


@register_model("prefix_captioner")
class PrefixCaptioner(Captioner):
    """The image's vector, mapped to a few words that are none, and a causal transformer that goes on from them.

    "ClipCap: CLIP Prefix for Image Captioning", Mokady et al., 2021: the form. Its weights, those of CLIP and GPT-2,
    are not to be had here: the encoder of images is that of a ``dual_encoder`` trained on the same captions
    (``--start RUN --options frozen=true``), the language model is trained from nothing.

    Args:
        args: see ``Captioner``.
        layers: of the language model.
        heads: of its attention.
        prefix: number of vectors that the image becomes.
        options: see ``Captioner``.
    """

    def __init__(
        self,
        *args: Any,
        layers: Positive = 3,
        heads: Positive = 4,
        prefix: Positive = 4,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.prefix = prefix
        self.map = nn.Sequential(
            nn.Linear(self.image.grid_features, 2 * self.width),
            nn.Tanh(),
            nn.Linear(2 * self.width, prefix * self.width),
            nn.Unflatten(1, (prefix, self.width)),
            nn.LayerNorm(self.width),
        )
        self.blocks = nn.ModuleList(
            WordBlock(self.width, heads, self.drop.p, memory=False) for _ in range(layers)
        )
        self.positions = nn.Parameter(0.02 * torch.randn(self.length + prefix, self.width))
        self.norm = nn.LayerNorm(self.width)

    def start(self, places: Tensor) -> State:
        """The prefix (B, prefix, width), and the words so far, (B, 0) int64."""
        shown = self.map(self.image.grid(places))
        return shown, torch.zeros(len(places), 0, dtype=torch.int64, device=shown.device)

    def step(self, last: Tensor, state: State) -> tuple[Tensor, State, Tensor | None]:
        """See the base."""
        words = torch.cat([state[1], last[:, None]], 1)
        return self.decode(state[0], words)[:, -1], (state[0], words), None

    def follow(self, state: State, before: Tensor) -> Tensor:
        """See the base."""
        return self.decode(state[0], before)

    def decode(self, prefix: Tensor, words: Tensor) -> Tensor:
        """Vectors (B, T, width) after each of the words."""
        found = torch.cat([prefix, self.embed(words)], 1)
        found = self.drop(found + self.positions[: found.shape[1]])
        mask = later(found.shape[1], words.device, self.prefix)
        for block in self.blocks:
            found, _ = block(found, mask=mask)
        return self.norm(found[:, self.prefix :])
