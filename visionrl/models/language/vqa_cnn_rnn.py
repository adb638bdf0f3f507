"""An image as one vector and a question as another, joined or multiplied (Antol et al., 2015)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from visionrl.models._registry import register_model
from visionrl.models.language.answerer import Answerer


@register_model("vqa_cnn_rnn")
class CnnRnn(Answerer):
    """A convolutional trunk and a recurrent layer, whose vectors are put together before the answer.

    "VQA: Visual Question Answering", Antol et al., ICCV 2015, multiplies them ("deeper LSTM Q + norm I"); Ren et al.,
    NeurIPS 2015, join them.

    Args:
        args: see ``Answerer``.
        fusion: "concat" joins the vectors, "product" multiplies them.
        options: see ``Answerer``.
    """

    def __init__(self, *args: Any, fusion: Literal["concat", "product"] = "concat", **options: Any) -> None:
        super().__init__(*args, **options)
        self.fusion = fusion
        self.whole = nn.Linear(self.image.grid_features, self.width)
        self.norms = nn.ModuleList(nn.LayerNorm(self.width) for _ in range(2))
        self.join = nn.Linear(2 * self.width if fusion == "concat" else self.width, self.width)

    def see(self, places: Tensor) -> Tensor:
        """(B, width), the mean features of 3 x 3 parts through a linear layer."""
        return self.norms[0](self.whole(self.drop(self.image.grid(places))))

    def fuse(self, places: Any, questions: Tensor) -> tuple[Tensor, Tensor | None]:
        """See the base."""
        heard = self.norms[1](self.hear(questions))
        both = torch.cat([places, heard], 1) if self.fusion == "concat" else places * heard
        return self.join(both).relu(), None
