"""Memory as a features extractor: the last T observations through one backbone, then a recurrent layer or attention."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from visionrl.agents.networks.extractor import VisionExtractor, is_volume_space
from visionrl.agents.networks.frozen_features import FeatureHead
from visionrl.agents.policies.matching import LABEL, MatchingMemory, label_slots
from visionrl.agents.sb3.recall import RECALLED, recalled_steps
from visionrl.core import check_choice
from visionrl.layers.recurrent import init_recurrent

Kind = Literal["rnn", "lstm", "gru", "attention", "matching"]
LAYERS: dict[str, Any] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
HEADS = 4
GATE_BIAS = 2.0  # of Parisotto et al. (2020): at first a gate lets the past through


class SequenceExtractor(BaseFeaturesExtractor):
    """A features extractor of Stable-Baselines3 that remembers the last T observations, for every algorithm.

    The environment shows them: ``make_vec_env(id, n, recall=T)``. Each goes through one ``VisionExtractor``, or, where
    it is features already (``CachedFeatures``), through one ``FeatureHead``; the feature vector is the last output of
    a recurrent layer, which begins at zero, or of a pre-norm transformer block with learned positions. What was
    before the episode is masked: it is neither encoded nor attended to. "matching" compares the image now with those
    whose labels were told (``MatchingMemory``), in tasks that show a ``label``. With DQN this is DRQN with bootstrapped
    random updates (Hausknecht & Stone, 2015).

    Args:
        observation_space: a Dict of windows, (T, ...) each, with the padding mask "recalled".
        kind: "rnn", "lstm", "gru", "attention", or "matching".
        recall: T, if it is to be checked against the observations.
        features_dim: length of the feature vector, and of what is remembered of each observation; with "matching" of
            the latter alone.
        gated: gates in place of the transformer's sums (Parisotto et al., 2020).
        options: of ``VisionExtractor``.

    Raises:
        ValueError: the observations are no windows, of another length, or without a ``label`` to match; or
            ``features_dim`` is no multiple of the four heads of the attention.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        kind: Kind = "gru",
        recall: int | None = None,
        features_dim: int = 256,
        gated: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(observation_space, features_dim)
        check_choice("kind", kind, get_args(Kind))
        self.steps = recalled_steps(observation_space)
        if self.steps == 1:
            raise ValueError("observation_space must hold windows: give the environment recall, got 1")
        if recall not in (None, self.steps):
            raise ValueError(f"recall must be {self.steps}, that of the environment, got {recall}")
        if gated and kind != "attention":
            raise ValueError(f"gated must be off for {kind!r}; it is for 'attention'")
        single = spaces.Dict({k: first_of(box) for k, box in observation_space.items() if k != RECALLED})
        slots = label_slots(single) if kind == "matching" else 0
        self.told = {LABEL} if slots else set()
        single = spaces.Dict({key: box for key, box in single.items() if key not in self.told})
        self.images = [key for key, space in single.items() if is_image_space(space)]
        sees = self.images or any(map(is_volume_space, single.values()))
        options = {**options, "activated": not slots}
        self.vision = (VisionExtractor if sees else FeatureHead)(single, features_dim=features_dim, **options)
        self.memory: Any
        if slots:
            self.memory = MatchingMemory(slots)
            self._features_dim = self.memory.num_features
        elif kind == "attention":
            self.memory = AttentionMemory(self.steps, features_dim, gated)
        else:
            self.memory = RecurrentMemory(LAYERS[kind](features_dim, features_dim, batch_first=True))

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """(B, features_dim) from windows (B, T, ...), images in [0, 255]."""
        real = observations[RECALLED] > 0.5
        real = torch.cat([real[:, :-1], torch.ones_like(real[:, -1:])], dim=1)
        told = [observations[key] for key in self.told]
        if torch.compiler.is_exporting():  # where the number of real observations may not decide the shapes
            return self.memory(self.encode_all(observations, real), real, *told)
        seen = {key: value[real] for key, value in observations.items() if key not in {RECALLED, *self.told}}
        for key in self.images:
            seen[key] = seen[key] / 255  # Stable-Baselines3 divides only what it takes for an image
        vectors = self.vision(seen)
        features = vectors.new_zeros(*real.shape, vectors.shape[1])
        features[real] = vectors
        return self.memory(features, real, *told)

    def encode_all(self, observations: dict[str, Tensor], real: Tensor) -> Tensor:
        """(B, T, n), all observations encoded, zeros in the place of those that are not real, (B, T)."""
        keys = [key for key in observations if key not in {RECALLED, *self.told}]
        seen = {key: observations[key].flatten(0, 1) for key in keys}
        for key in self.images:
            seen[key] = seen[key] / 255
        return self.vision(seen).view(*real.shape, -1) * real[..., None]


class RecurrentMemory(nn.Module):
    """The last output of a recurrent layer over what is real of a sequence, from a state of zeros.

    Args:
        layer: RNN, LSTM or GRU with the batch first.
    """

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer
        init_recurrent(layer)

    def forward(self, features: Tensor, real: Tensor) -> Tensor:
        """(B, n) from (B, T, n) and a mask (B, T), True at the end of each row."""
        count, steps = real.sum(1, keepdim=True), real.shape[1]
        order = (torch.arange(steps, device=real.device) + steps - count) % steps
        first = features.gather(1, order[..., None].expand_as(features))
        found, _ = self.layer(first)
        return found.gather(1, (count - 1)[..., None].expand(-1, 1, found.shape[2]))[:, 0]


class AttentionMemory(nn.Module):
    """A pre-norm transformer block over a sequence, with learned positions; what it gives of the last element.

    Args:
        steps: length of the sequence.
        size: of its vectors, a multiple of four.
        gated: gates (GRU) in place of sums.

    Attributes:
        weights: (B, T), how much of each element the last forward took; 0 for what is not real.

    Raises:
        ValueError: the size is no such multiple.
    """

    def __init__(self, steps: int, size: int, gated: bool = False) -> None:
        super().__init__()
        if size % HEADS:
            raise ValueError(f"features_dim must be a multiple of {HEADS} for attention, got {size}")
        self.positions = nn.Parameter(0.02 * torch.randn(steps, size))
        self.attention = nn.MultiheadAttention(size, HEADS, batch_first=True)
        self.wide = nn.Sequential(nn.Linear(size, 2 * size), nn.ReLU(), nn.Linear(2 * size, size))
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(3))
        self.weights = torch.zeros(0, steps)
        self.gates = nn.ModuleList(gate(size) for _ in range(2)) if gated else None

    def forward(self, features: Tensor, real: Tensor) -> Tensor:
        """(B, n) from (B, T, n) and a mask (B, T), True at the end of each row."""
        tokens = features + self.positions
        seen, now = self.norms[0](tokens), tokens[:, -1]
        found, weights = self.attention(seen[:, -1:], seen, seen, key_padding_mask=~real)
        self.weights = weights[:, 0].detach()
        now = self._joined(0, now, found[:, 0])
        now = self._joined(1, now, self.wide(self.norms[1](now)))
        return self.norms[2](now)

    def _joined(self, number: int, before: Tensor, found: Tensor) -> Tensor:
        return before + found if self.gates is None else self.gates[number](found.relu(), before)


def gate(size: int) -> nn.GRUCell:
    """A gate from what was and what was found to what goes on; at first what was goes on."""
    cell = nn.GRUCell(size, size)
    with torch.no_grad():
        cell.bias_ih[size : 2 * size] += GATE_BIAS
    return cell


def first_of(space: spaces.Space) -> spaces.Box:
    """The space of one observation of a window."""
    assert isinstance(space, spaces.Box)
    return spaces.Box(space.low[0], space.high[0], dtype=space.dtype.type)
