"""A pre-norm transformer block of words that attend to words, and to places where there are some."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WordBlock(nn.Module):
    """Self-attention, attention to a memory if there is one, and two linear layers, each added (Vaswani et al., 2017).

    Args:
        width: of the vectors, a multiple of ``heads``.
        heads: of the attention.
        dropout: share of what is added that is dropped.
        memory: whether there is one to attend to.

    Raises:
        ValueError: the width is no such multiple.
    """

    def __init__(self, width: int, heads: int = 4, dropout: float = 0.1, memory: bool = True) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width must be a multiple of {heads} heads, got {width}")
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3 if memory else 2))
        self.own = nn.MultiheadAttention(width, heads, batch_first=True)
        self.across = nn.MultiheadAttention(width, heads, batch_first=True) if memory else None
        self.wide = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(
        self,
        words: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        pad: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The words (B, T, width), and how they attended to the memory, (B, T, N), the mean over the heads.

        Args:
            words: (B, T, width).
            memory: (B, N, width).
            mask: (T, T) bool, True where a word may not look.
            pad: (B, T) bool, True at words that are none.
        """
        seen = self.norms[0](words)
        found, _ = self.own(seen, seen, seen, attn_mask=mask, key_padding_mask=pad, need_weights=False)
        words, weights = words + self.drop(found), None
        if self.across is not None:
            found, weights = self.across(self.norms[2](words), memory, memory)
            words = words + self.drop(found)
        return words + self.drop(self.wide(self.norms[1](words))), weights

    def over_map(self, places: Tensor) -> Tensor:
        """The map (B, width, h, w) after its places have attended to one another; for a block without a memory."""
        return self(places.flatten(2).mT)[0].mT.reshape_as(places)


def later(size: int, device: torch.device, free: int = 0) -> Tensor:
    """(T, T) bool, True where a word would see a later one; the first ``free`` ones see each other."""
    mask = torch.ones(size, size, dtype=torch.bool, device=device).triu(1)
    mask[:free, :free] = False
    return mask


def word_vectors(count: int, width: int) -> nn.Embedding:
    """A vector for each of ``count`` words, zero for padding (0), at first small beside what an image gives."""
    embed = nn.Embedding(count, width, padding_idx=0)
    with torch.no_grad():
        embed.weight *= 0.1
    return embed
