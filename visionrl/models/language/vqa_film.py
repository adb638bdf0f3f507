"""Convolutions whose channels a question scales and shifts (Perez et al., 2018)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from visionrl.models._registry import register_model
from visionrl.models.language._base import Positive
from visionrl.models.language.answerer import Answerer

CHANNELS = 64


@register_model("vqa_film")
class Film(Answerer):
    """A convolutional trunk, then residual blocks that the question modulates, and the maximum over the places.

    "FiLM: Visual Reasoning with a General Conditioning Layer", Perez et al., AAAI 2018, with two blocks of 64 channels
    and GroupNorm.

    Args:
        args: see ``Answerer``.
        blocks: number of residual blocks.
        options: see ``Answerer``.
    """

    def __init__(self, *args: Any, blocks: Positive = 2, **options: Any) -> None:
        super().__init__(*args, **options)
        self.narrow = nn.Conv2d(self.width, CHANNELS, 1)
        self.firsts = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 1) for _ in range(blocks))
        self.seconds = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.GroupNorm(8, CHANNELS, affine=False) for _ in range(blocks))
        self.modulate = nn.Linear(self.width, 2 * CHANNELS * blocks)
        self.last = nn.Conv2d(CHANNELS, self.width, 1)

    def see(self, places: Tensor) -> Tensor:
        """(B, 64, h, w)."""
        return self.narrow(self.image.placed(places)).relu()

    def fuse(self, places: Any, questions: Tensor) -> tuple[Tensor, Tensor | None]:
        """See the base."""
        factors = self.modulate(self.hear(questions)).chunk(2 * len(self.norms), 1)
        for number, norm in enumerate(self.norms):
            scale, shift = (x[:, :, None, None] for x in factors[2 * number : 2 * number + 2])
            first = self.firsts[number](places).relu()
            places = first + (norm(self.seconds[number](first)) * (1 + scale) + shift).relu()
        return self.last(places).flatten(2).amax(2), None
