"""Attention over the positions of a map: soft, hard and self; each returns its weights too."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attended(NamedTuple):
    """Attended features and the attention weights.

    Attributes:
        features: the result; (B, C) for soft and hard attention, (B, C, h, w) for self-attention.
        weights: attention over positions, (B, h, w), sums to 1; for self-attention (B, heads, h*w, h*w), rows sum
            to 1.
        log_prob: (B,) log-probability of the place that hard attention drew, for REINFORCE; else None.
    """

    features: Tensor
    weights: Tensor
    log_prob: Tensor | None = None


class SoftAttention(nn.Module):
    """The mean of a map weighted by learned relevance (Bahdanau et al., 2015; Xu et al., 2015).

    Args:
        channels: channels of the map.
        query_features: length of the vector that asks (such as a recurrent state); 0 for none.
        hidden: width of the scoring layer.
    """

    def __init__(self, channels: int, query_features: int = 0, hidden: int = 64) -> None:
        super().__init__()
        self.key = nn.Conv2d(channels, hidden, 1)
        self.query = nn.Linear(query_features, hidden, bias=False) if query_features else None
        self.score = nn.Conv2d(hidden, 1, 1, bias=False)

    def logits(self, features: Tensor, query: Tensor | None = None, keys: Tensor | None = None) -> Tensor:
        """Relevance (B, h*w) of the positions of (B, C, h, w), before the softmax.

        Args:
            features: the map.
            query: (B, query_features).
            keys: ``self.key(features)``, where many queries look at one map.
        """
        keys = self.key(features) if keys is None else keys
        if (query is None) != (self.query is None):
            raise ValueError(f"query must be given exactly if query_features > 0, got {type(query).__name__}")
        if self.query is not None:
            keys = keys + self.query(query)[:, :, None, None]
        return self.score(torch.tanh(keys)).flatten(1)

    def forward(self, features: Tensor, query: Tensor | None = None, keys: Tensor | None = None) -> Attended:
        """The weighted mean (B, C) and the weights (B, h, w)."""
        weights = self.logits(features, query, keys).softmax(1)
        return Attended(_weighted(features, weights), weights.view(-1, *features.shape[2:]))


class HardAttention(SoftAttention):
    """One place of a map, drawn in training, the likeliest in evaluation (Mnih et al., 2014; Xu et al. 2015).

    With "reinforce" the choice has no gradient: add `reinforce_loss(attended.log_prob, reward)` to the loss.
    With "gumbel" the choice is one-hot forward and soft backward (straight-through; Jang et al., 2017).

    Args:
        channels: channels of the map.
        query_features: length of the vector that asks; 0 for none.
        hidden: width of the scoring layer.
        estimator: how the scores learn.
        temperature: of the Gumbel softmax; lower is harder.
    """

    def __init__(
        self,
        channels: int,
        query_features: int = 0,
        hidden: int = 64,
        estimator: Literal["reinforce", "gumbel"] = "reinforce",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(channels, query_features, hidden)
        if estimator not in ("reinforce", "gumbel"):
            raise ValueError(f"estimator must be 'reinforce' or 'gumbel', got {estimator!r}")
        self.estimator, self.temperature = estimator, temperature

    def forward(self, features: Tensor, query: Tensor | None = None, keys: Tensor | None = None) -> Attended:
        """The features (B, C) of the chosen position, its one-hot map (B, h, w), its log-probability (B,)."""
        logits = self.logits(features, query, keys)
        if not self.training:
            weights = F.one_hot(logits.argmax(1), logits.shape[1]).to(logits)
        elif self.estimator == "gumbel":
            weights = F.gumbel_softmax(logits, self.temperature, hard=True)
        else:
            weights = F.one_hot(torch.distributions.Categorical(logits=logits).sample(), logits.shape[1]).to(
                logits
            )
        log_prob = (logits.log_softmax(1) * weights.detach()).sum(1)
        return Attended(_weighted(features, weights), weights.view(-1, *features.shape[2:]), log_prob)


def reinforce_loss(log_prob: Tensor, reward: Tensor, baseline: Tensor | float | None = None) -> Tensor:
    """Minus the score-function estimate of the expected reward (Williams, 1992), a scalar.

    Args:
        log_prob: (B,) of the choices.
        reward: (B,) that they earned.
        baseline: taken off the reward; None takes the mean over the batch.
    """
    advantage = reward - (reward.mean() if baseline is None else baseline)
    return -(log_prob * advantage.detach()).mean()


class SelfAttention(nn.Module):
    """Every position of a map attends to every other (Wang et al., 2018); added through a gate that starts at zero.

    Args:
        channels: channels of the map; with `positions` a multiple of 4.
        heads: number of heads, a divisor of `channels`.
        positions: adds fixed sine positions to queries and keys, without which positions are distinguished by
            content only.
    """

    def __init__(self, channels: int, heads: int = 1, positions: bool = True) -> None:
        super().__init__()
        if positions and channels % 4:
            raise ValueError(f"channels must be a multiple of 4 for positions, got {channels}")
        if heads < 1 or channels % heads:
            raise ValueError(f"heads must be a divisor of channels = {channels}, got {heads}")
        self.attention, self.positions = nn.MultiheadAttention(channels, heads, batch_first=True), positions
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Attended:
        """The map (B, C, h, w) of attended features, and the weights (B, heads, h*w, h*w)."""
        places = features.flatten(2).mT
        asking = places
        if self.positions:
            asking = places + sine_positions(*features.shape[1:]).to(places).flatten(1).T
        seen, weights = self.attention(asking, asking, places, average_attn_weights=False)
        return Attended(features + self.gate * seen.mT.view_as(features), weights)


def sine_positions(channels: int, height: int, width: int) -> Tensor:
    """(channels, height, width) sines and cosines of the row (first half) and the column (second half)."""
    rates = 10_000 ** -(torch.arange(channels // 4) * 4 / channels)
    rows = torch.arange(height)[None, :, None] * rates[:, None, None]
    columns = torch.arange(width)[None, None, :] * rates[:, None, None]
    waves = [rows.sin(), rows.cos(), columns.sin(), columns.cos()]
    return torch.cat([wave.expand(-1, height, width) for wave in waves])


def _weighted(features: Tensor, weights: Tensor) -> Tensor:
    """(B, C): the mean of (B, C, h, w) under weights (B, h*w)."""
    return (features.flatten(2) @ weights[:, :, None])[:, :, 0]
