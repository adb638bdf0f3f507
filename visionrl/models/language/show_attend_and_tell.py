"""Show, Attend and Tell: an LSTM that looks at the image anew before each word (Xu et al., 2015)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from visionrl.layers.attention import HardAttention, SoftAttention
from visionrl.layers.recurrent import init_recurrent
from visionrl.models._registry import register_model
from visionrl.models.language.captioner import Captioner
from visionrl.models.language.decoding import State


@register_model("show_attend_and_tell")
class ShowAttendAndTell(Captioner):
    """A convolutional trunk, attention over its places, and an LSTM; the map of attention can be seen.

    "Show, Attend and Tell: Neural Image Caption Generation with Visual Attention", Xu et al., ICML 2015. A gate says
    how much of what is seen goes into each word (the paper's beta). Hard attention draws one place; it learns by the
    straight-through Gumbel softmax (Jang et al., 2017) where the paper has REINFORCE.

    Args:
        args: see ``Captioner``.
        attention: "soft" or "hard".
        options: see ``Captioner``.
    """

    def __init__(self, *args: Any, attention: Literal["soft", "hard"] = "soft", **options: Any) -> None:
        super().__init__(*args, **options)
        width = self.width
        self.attend: SoftAttention = (
            HardAttention(width, width, estimator="gumbel")
            if attention == "hard"
            else SoftAttention(width, width)
        )
        self.first = nn.Linear(self.image.grid_features, 2 * width)
        self.cell = nn.LSTMCell(2 * width, width)
        init_recurrent(self.cell)
        self.gate = nn.Linear(width, width)
        self.mix = nn.Linear(3 * width, width)

    def start(self, places: Tensor) -> State:
        """The map (B, C, h, w), its keys, the hidden and the cell state (B, width)."""
        hidden, cell = self.first(self.image.grid(places)).tanh().chunk(2, 1)
        places = self.image.placed(places)
        return places, self.attend.key(places), hidden, cell

    def step(self, last: Tensor, state: State) -> tuple[Tensor, State, Tensor | None]:
        """See the base."""
        places, keys, hidden, cell = state
        seen = self.attend(places, hidden, keys)
        context = seen.features * self.gate(hidden).sigmoid()
        word = self.drop(self.embed(last))
        hidden, cell = self.cell(torch.cat([word, context], 1), (hidden, cell))
        mixed = self.mix(torch.cat([word, context, hidden], 1)).tanh()
        return mixed, (places, keys, hidden, cell), seen.weights

    def follow(self, state: State, before: Tensor) -> Tensor:
        """See the base."""
        found = []
        for last in before.unbind(1):
            vectors, state, _ = self.step(last, state)
            found.append(vectors)
        return torch.stack(found, 1)
