"""Recurrent layers of torch: their first weights, and what they make of sentences of unequal length."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def init_recurrent(layer: nn.RNNBase | nn.RNNCellBase) -> None:
    """Initialize a recurrent layer so that it remembers from the start.

    Its state is handed on by orthogonal matrices (Saxe et al., 2014), its inputs come in by Glorot's, biases are zero,
    but the forget gate of an LSTM and the update gate of a GRU begin open, with 1 (Jozefowicz et al., 2015).
    """
    size = layer.hidden_size
    for name, weights in layer.named_parameters():
        if "bias" in name:
            weights.zero_()
            if name.startswith("bias_ih") and weights.numel() > size:
                weights[size : 2 * size] = 1.0
            continue
        init = nn.init.orthogonal_ if "weight_hh" in name else nn.init.xavier_uniform_
        for part in weights.split(size):
            init(part)


def last_output(layer: nn.RNNBase, vectors: Tensor, words: Tensor) -> Tensor:
    """(B, hidden), the output of a recurrent layer at the last word of each sentence.

    Args:
        layer: with ``batch_first``.
        vectors: (B, L, C) of the words.
        words: (B, L) int64, 0 behind the last.
    """
    found, _ = layer(vectors)
    last = ((words > 0).sum(1) - 1).clamp_min(0)
    return found[torch.arange(len(words), device=words.device), last]
