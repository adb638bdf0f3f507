"""Rewards as small pure functions of arrays."""

from __future__ import annotations

from visionrl.ops import Array, xp_of


def progress(before: Array, after: Array, scale: Array | float = 1.0) -> Array:
    """Progress of a step, ``(before - after) / scale``: (B,), distances in the unit of ``scale``.

    With one scale the sum over an episode is (first - last) / scale, so it cannot be farmed by going to and fro
    (potential-based shaping; Ng, Harada & Russell, 1999).
    """
    return (before - after) / scale


def improved(before: Array, after: Array) -> Array:
    """Sign of the change of a score that should grow: (B,) in {-1, 0, 1} (Caicedo & Lazebnik, 2015)."""
    return xp_of(before).sign(after - before)
