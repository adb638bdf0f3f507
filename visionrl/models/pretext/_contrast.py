"""Losses of contrastive learning, and the share of views that find their like."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def nt_xent(first: Tensor, second: Tensor, temperature: float = 0.5) -> Tensor:
    """The normalized, temperature-scaled cross-entropy of two views of each image (Chen et al., 2020, equation 1).

    Args:
        first: (B, d), of one view each; any length.
        second: (B, d), of the other.
        temperature: above 0.

    Raises:
        ValueError: there is one image, which has nothing to differ from.
    """
    count = len(first)
    if count < 2:
        raise ValueError(f"a batch must have 2 images or more for NT-Xent, got {count}")
    vectors = F.normalize(torch.cat([first, second]), dim=1)
    logits = vectors @ vectors.T / temperature
    logits = logits.masked_fill(torch.eye(2 * count, dtype=torch.bool, device=logits.device), -torch.inf)
    labels = torch.arange(2 * count, device=logits.device).roll(count)
    return F.cross_entropy(logits, labels)


def queue_loss(query: Tensor, key: Tensor, queue: Tensor, temperature: float = 0.2) -> Tensor:
    """InfoNCE of queries with their keys against a queue of others' keys (He et al., 2020, equation 1).

    Args:
        query: (B, d), of any length.
        key: (B, d), of any length; gets no gradient.
        queue: (K, d), of length 1.
        temperature: above 0.
    """
    query, key = F.normalize(query, dim=1), F.normalize(key.detach(), dim=1)
    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ queue.T], 1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.int64, device=query.device))


def retrieval(first: Tensor, second: Tensor) -> Tensor:
    """(B,) bool, whether the nearest of ``second`` (B, d) to each of ``first`` (B, d) is its own, by cosine."""
    near = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
    return near.argmax(1) == torch.arange(len(first), device=near.device)


def projector(features: int, width: int = 128) -> nn.Sequential:
    """Two layers to vectors that are compared, left away afterwards."""
    return nn.Sequential(nn.Linear(features, 256), nn.ReLU(), nn.Linear(256, width))
