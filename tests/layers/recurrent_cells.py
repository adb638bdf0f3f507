"""Recurrent cells written out for study, and the five shapes of sequence tasks.

The cells hold the same parameters as PyTorch's `nn.RNNCell`, `nn.LSTMCell` and `nn.GRUCell` (a state dict of
one loads into the other) and compute the same; use PyTorch's, which are faster, for anything but reading.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
Shape = Literal["one_to_one", "one_to_many", "many_to_one", "many_to_many", "encoder_decoder"]
SHAPES = ("one_to_one", "one_to_many", "many_to_one", "many_to_many", "encoder_decoder")


class Cell(nn.Module):
    """What the cells share: weights for the input and for the last hidden state, stacked gate upon gate.

    Args:
        in_features: length of the inputs.
        hidden: length of the hidden state.
    """

    num_gates = 1
    num_states = 1

    def __init__(self, in_features: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.weight_ih = nn.Parameter(torch.empty(self.num_gates * hidden, in_features))
        self.weight_hh = nn.Parameter(torch.empty(self.num_gates * hidden, hidden))
        self.bias_ih = nn.Parameter(torch.empty(self.num_gates * hidden))
        self.bias_hh = nn.Parameter(torch.empty(self.num_gates * hidden))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5)

    def parts(self, x: Tensor, h: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What the input and the last hidden state say to each gate, each (B, hidden)."""
        from_input = x @ self.weight_ih.T + self.bias_ih
        from_state = h @ self.weight_hh.T + self.bias_hh
        return from_input.chunk(self.num_gates, 1), from_state.chunk(self.num_gates, 1)

    def start(self, x: Tensor) -> State:
        """The state of zeros for a batch like `x` (B, ...)."""
        return tuple(x.new_zeros(len(x), self.hidden) for _ in range(self.num_states))


class RNNCell(Cell):
    """h' = tanh(W x + U h) (Elman, 1990)."""

    def forward(self, x: Tensor, state: State) -> State:
        """The next state (h,) from inputs (B, in_features)."""
        (a,), (b,) = self.parts(x, state[0])
        return (torch.tanh(a + b),)


class LSTMCell(Cell):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997; forget gate: Gers et al., 2000)."""

    num_gates = 4
    num_states = 2

    def gates(self, x: Tensor, state: State) -> dict[str, Tensor]:
        """How far each gate is open, and the candidate, each (B, hidden)."""
        a, b = self.parts(x, state[0])
        i, f, g, o = (u + v for u, v in zip(a, b, strict=True))
        opened = {"input": i.sigmoid(), "forget": f.sigmoid(), "output": o.sigmoid()}
        return {**opened, "candidate": g.tanh()}

    def forward(self, x: Tensor, state: State) -> State:
        """The next state (h, c): forget some memory, write some of the candidate, show some memory."""
        gate = self.gates(x, state)
        c = gate["forget"] * state[1] + gate["input"] * gate["candidate"]
        return gate["output"] * torch.tanh(c), c


class GRUCell(Cell):
    """Gated recurrent unit (Cho et al., 2014), the reset gate after the product as in cuDNN and PyTorch."""

    num_gates = 3

    def gates(self, x: Tensor, state: State) -> dict[str, Tensor]:
        """How far each gate is open, and the candidate, each (B, hidden)."""
        (r, z, n), (r_state, z_state, n_state) = self.parts(x, state[0])
        reset = (r + r_state).sigmoid()
        return {"reset": reset, "update": (z + z_state).sigmoid(), "candidate": (n + reset * n_state).tanh()}

    def forward(self, x: Tensor, state: State) -> State:
        """The next state (h,): between the last one (update gate open) and the candidate (closed)."""
        gate = self.gates(x, state)
        return (gate["update"] * state[0] + (1 - gate["update"]) * gate["candidate"],)


CELLS: dict[str, type[Cell]] = {"rnn": RNNCell, "lstm": LSTMCell, "gru": GRUCell}


def unroll(
    cell: Cell, x: Tensor, state: State | None = None, lengths: Tensor | None = None
) -> tuple[Tensor, State]:
    """The cell along sequences: hidden states (B, T, hidden) and the last state.

    Args:
        cell: the cell.
        x: (B, T, in_features).
        state: where to start; None is zeros.
        lengths: (B,) int64; beyond its length a sequence's state stays as it is.
    """
    state, out = cell.start(x) if state is None else state, []
    for t, step in enumerate(x.unbind(1)):
        new = cell(step, state)
        if lengths is not None:
            going = (t < lengths)[:, None]
            new = tuple(torch.where(going, after, before) for after, before in zip(new, state, strict=True))
        state = new
        out.append(state[0])
    return torch.stack(out, 1), state


class SequenceModel(nn.Module):
    """The five shapes of sequence tasks (Karpathy, 2015) around one kind of cell.

    * one_to_one: an image to a label; (B, in) to (B, out).
    * one_to_many: an image to a caption; (B, in) to (B, steps, out).
    * many_to_one: a clip to a label; (B, T, in) to (B, out).
    * many_to_many: each frame to a label, in step and causal; (B, T, in) to (B, T, out).
    * encoder_decoder: a clip to a caption of another length; (B, T, in) to (B, steps, out).

    Where outputs are made one after the other, each is fed back as the next input (or the target is: teacher
    forcing).

    Args:
        in_features: length of the inputs.
        hidden: length of the hidden state.
        out_features: length of the outputs.
        shape: one of the five.
        cell: "rnn", "lstm" or "gru".

    Raises:
        ValueError: an unknown shape or cell.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        out_features: int,
        shape: Shape = "many_to_one",
        cell: str = "lstm",
    ) -> None:
        super().__init__()
        if shape not in SHAPES:
            raise ValueError(f"shape must be one of {SHAPES}, got {shape!r}")
        if cell not in CELLS:
            raise ValueError(f"cell must be one of {tuple(CELLS)}, got {cell!r}")
        self.shape, self.out_features = shape, out_features
        self.cell = CELLS[cell](in_features, hidden)
        self.decoder = (
            CELLS[cell](out_features, hidden) if shape in ("one_to_many", "encoder_decoder") else None
        )
        self.out = nn.Linear(hidden, out_features)

    def forward(
        self, x: Tensor, steps: int = 1, lengths: Tensor | None = None, target: Tensor | None = None
    ) -> Tensor:
        """Outputs, shaped as the class says.

        Args:
            x: (B, in_features) for one_to_*, else (B, T, in_features).
            steps: number of outputs where they are made one after the other.
            lengths: (B,) true lengths of padded inputs.
            target: (B, steps, out_features) that is fed back in the place of the own outputs.
        """
        wanted = 2 if self.shape.startswith("one") else 3
        if x.ndim != wanted:
            raise ValueError(f"x must have {wanted} axes for {self.shape}, got {tuple(x.shape)}")
        states, last = unroll(self.cell, x[:, None] if wanted == 2 else x, lengths=lengths)
        if self.decoder is not None:
            return self._decode(self.decoder, last, steps, target)
        return self.out(states if self.shape == "many_to_many" else last[0])

    def _decode(self, decoder: Cell, state: State, steps: int, target: Tensor | None) -> Tensor:
        """(B, steps, out): the first input is zeros, each next one the last output or target."""
        fed, out = state[0].new_zeros(len(state[0]), self.out_features), []
        for t in range(steps):
            state = decoder(fed, state)
            out.append(self.out(state[0]))
            fed = out[-1] if target is None else target[:, t]
        return torch.stack(out, 1)
