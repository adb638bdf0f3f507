"""Standardised inputs: numbers of any scale with mean 0 and variance 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Standardize(nn.Module):
    """Subtracts the mean and divides by the standard deviation of all rows seen in training so far.

    Rows count alike, whenever they were seen, so the layer settles, and gives the same for a row alone as in a batch.

    Args:
        size: length n of the rows.
        least: a standard deviation that is smaller counts as this.

    Attributes:
        count: rows seen.
        mean: (n,) their mean.
        spread: (n,) their sum of squared distances from the mean.
    """

    count: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, size: int, least: float = 1e-3) -> None:
        super().__init__()
        self.least = least
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("spread", torch.zeros(size))

    def forward(self, rows: Tensor) -> Tensor:
        """(B, n) from (B, n); as they are until rows were seen in training."""
        if self.training:
            self.learn(rows.detach())
        variance = torch.where(
            self.count > 0, self.spread / self.count.clamp(min=1), torch.ones_like(self.spread)
        )
        return (rows - self.mean) / variance.sqrt().clamp(min=self.least)

    def learn(self, rows: Tensor) -> None:
        """Join rows to those seen (Chan et al., 1979)."""
        mean, total = rows.mean(dim=0), self.count + len(rows)
        gap = mean - self.mean
        self.spread += ((rows - mean) ** 2).sum(dim=0) + gap**2 * self.count * len(rows) / total
        self.mean += gap * len(rows) / total
        self.count.copy_(total)
