"""Actions that make one of several proposed motions, or one's own; array-API code."""

from __future__ import annotations

from visionrl.ops import Array, const, xp_of
from visionrl.ops.least_squares import TOLD

USEFUL = 0.9  # share of the distance that a proposal which is to be trusted leaves at most


def chosen(trust: Array, own: Array, fits: Array) -> Array:
    """The motions (B, k) to make: those of the fits most trusted (B, F), one's own (B, k) where none is above 0.

    ``fits`` are (B, F, k + 2), see ``least_squares``.
    """
    xp = xp_of(own)
    best = xp.argmax(trust, axis=1)[:, None, None]
    taken = xp.take_along_axis(fits[..., : own.shape[1]], best, axis=1)[:, 0, :]
    return xp.where((xp.max(trust, axis=1) > 0)[:, None], taken, own)


def trusted(before: Array, after: Array, close: float) -> Array:
    """How near each fit would bring one to the truth, (B, F) float32, from distances to it, (B,) and (B, F).

    1 is onto it; 0 leaves nine tenths of the distance, or ``close`` where that is more; -1 twice as much. What
    ends within ``close`` so counts as well, even if it was nearer before: no agent can tell.
    """
    xp = xp_of(after)
    share = after / xp.maximum(USEFUL * before, xp.full_like(before, close))[:, None]
    return xp.astype(1 - xp.minimum(share, xp.full_like(share, 2.0)), xp.float32)


def told(fits: Array, largest: float) -> Array:
    """What the agent is told of fits (B, F, k + 2), (B, F * (k + 2)) float32 in [-1, 1], motions in largest ones."""
    xp = xp_of(fits)
    return xp.astype(xp.reshape(fits / limits(fits, largest), (fits.shape[0], -1)), xp.float32)


def cut(fits: Array, largest: float) -> Array:
    """Fits none of whose numbers is larger than the largest, shares than 1, either way."""
    return xp_of(fits).clip(fits, -limits(fits, largest), limits(fits, largest))


def limits(fits: Array, largest: float) -> Array:
    """(k + 2,) the largest number of a motion, and 1 for the shares."""
    return const((largest,) * (fits.shape[-1] - TOLD) + (1.0,) * TOLD, fits)
