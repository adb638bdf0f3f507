"""Observables: what an agent sees, each with its space and its encoding, so that the two cannot disagree.

A task states them in ``setup`` and encodes values in ``observe``::

    self.show(window=Image(3, 64), stage=OneHot(4), history=ActionHistory(9))
    return self.seen(window=crops, stage=state.stage, history=state.actions)

Values are of any array library; B is the batch axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from gymnasium import spaces

from visionrl.ops import Array, one_hot, xp_of


class Observable(Protocol):
    """One key of an observation."""

    @property
    def space(self) -> spaces.Box:
        """The space of one row."""

    @property
    def shown(self) -> bool:
        """True where the key is part of the observation."""

    def encode(self, value: Array) -> Array:
        """Rows of the space, (B, ...), as new arrays."""


@dataclass(frozen=True)
class Image:
    """Pictures or volumes, uint8, channel-first.

    Args:
        channels: number of them.
        side: side of the picture, pixels, or all sides in array order.
        axes: 2 for pictures, 3 for volumes, where ``side`` is one number.
    """

    channels: int
    side: int | Sequence[int]
    axes: int = 2

    @cached_property
    def space(self) -> spaces.Box:
        """(C, *sides) uint8."""
        sides = (self.side,) * self.axes if isinstance(self.side, int) else tuple(self.side)
        return spaces.Box(0, 255, (self.channels, *sides), np.uint8)

    @property
    def shown(self) -> bool:
        """Always."""
        return True

    def encode(self, value: Array) -> Array:
        """(B, ..., *sides) uint8 -> (B, C, *sides); the axes between are taken for channels."""
        return xp_of(value).reshape(value, (value.shape[0], *self.space.shape))


@dataclass(frozen=True)
class OneHot:
    """A number in [-1, count], one-hot, float32; -1 and ``count`` are all zeros.

    Args:
        count: of the numbers.
        unless_one: leave the key out where ``count`` is 1.
    """

    count: int
    unless_one: bool = False

    @cached_property
    def space(self) -> spaces.Box:
        """(count,) float32 in [0, 1]."""
        return spaces.Box(0, 1, (self.count,), np.float32)

    @property
    def shown(self) -> bool:
        """Unless there is only one number."""
        return not (self.unless_one and self.count == 1)

    def encode(self, value: Array) -> Array:
        """(B,) int64 -> (B, count)."""
        return one_hot(value, self.count)


@dataclass(frozen=True)
class ActionHistory:
    """The last discrete actions, one-hot, newest last, float32; zeros before the start.

    Args:
        actions: how many actions there are.
        kept: how many of the last ones are shown.
    """

    actions: int
    kept: int = 10

    @cached_property
    def space(self) -> spaces.Box:
        """(kept * actions,) float32 in [0, 1]."""
        return spaces.Box(0, 1, (self.kept * self.actions,), np.float32)

    @property
    def shown(self) -> bool:
        """Always."""
        return True

    @property
    def blank(self) -> np.ndarray:
        """(kept,) int64, the history at the start of an episode."""
        return np.full(self.kept, -1)

    def encode(self, value: Array) -> Array:
        """(B, kept) int64, -1 before the start -> (B, kept * actions)."""
        return xp_of(value).reshape(one_hot(value, self.actions), (value.shape[0], -1))


@dataclass(frozen=True)
class Words:
    """Numbers of words in order, int16, 0 beyond the last; networks look them up in a table (``nn.Embedding``).

    Args:
        size: of the vocabulary.
        length: most words.
    """

    size: int
    length: int

    @cached_property
    def space(self) -> spaces.Box:
        """(length,) int16 in [0, size - 1]."""
        return spaces.Box(0, self.size - 1, (self.length,), np.int16)

    @property
    def shown(self) -> bool:
        """Always."""
        return True

    def encode(self, value: Array) -> Array:
        """(B, length) whole numbers -> int16, a new array."""
        xp = xp_of(value)
        return xp.astype(value, xp.int16)


@dataclass(frozen=True)
class Vector:
    """Numbers, float32.

    Args:
        size: how many, or the shape.
        low: least value.
        high: largest value.
    """

    size: int | tuple[int, ...]
    low: float = -1.0
    high: float = 1.0

    @cached_property
    def space(self) -> spaces.Box:
        """(size,) float32 in [low, high]."""
        shape = (self.size,) if isinstance(self.size, int) else self.size
        return spaces.Box(self.low, self.high, shape, np.float32)

    @property
    def shown(self) -> bool:
        """Always."""
        return True

    def encode(self, value: Array) -> Array:
        """(B, ...) numbers or flags -> (B, size) float32, a new array."""
        xp, shape = xp_of(value), self.space.shape
        rows = value.shape[0] * math.prod(value.shape[1:]) // math.prod(shape)
        return xp.reshape(xp.astype(value, xp.float32), (rows, *shape))


def push(history: Array, action: Array) -> Array:
    """A history (B, n, ...) without its oldest entry and with a new one, (B, ...), at its end."""
    return xp_of(history).concat([history[:, 1:, ...], action[:, None, ...]], axis=1)
