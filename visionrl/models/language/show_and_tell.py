"""Show and Tell: an LSTM that is shown the image once, then says the sentence (Vinyals et al., 2015)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from visionrl.layers.recurrent import init_recurrent
from visionrl.models._registry import register_model
from visionrl.models.language.captioner import Captioner
from visionrl.models.language.decoding import State


@register_model("show_and_tell")
class ShowAndTell(Captioner):
    """A convolutional trunk, and an LSTM whose first input is the image and whose others are the words so far.

    "Show and Tell: A Neural Image Caption Generator", Vinyals et al., CVPR 2015. The image is one vector: the mean
    features of 3 x 3 parts through a linear layer, where the paper has the last layer of GoogLeNet.

    Args:
        options: see ``Captioner``.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.first = nn.Sequential(nn.Linear(self.image.grid_features, self.width), nn.LayerNorm(self.width))
        self.lstm = nn.LSTM(self.width, self.width, batch_first=True)
        init_recurrent(self.lstm)

    def start(self, places: Tensor) -> State:
        """The hidden and the cell state after the image, (B, width) each."""
        shown = self.drop(self.first(self.image.grid(places)))
        _, (hidden, cell) = self.lstm(shown[:, None])
        return hidden[0], cell[0]

    def step(self, last: Tensor, state: State) -> tuple[Tensor, State, Tensor | None]:
        """See the base."""
        before = state[0][None].contiguous(), state[1][None].contiguous()
        found, (hidden, cell) = self.lstm(self.embed(last)[:, None], before)
        return found[:, 0], (hidden[0], cell[0]), None

    def follow(self, state: State, before: Tensor) -> Tensor:
        """See the base."""
        start = state[0][None].contiguous(), state[1][None].contiguous()
        found, _ = self.lstm(self.drop(self.embed(before)), start)
        return found
