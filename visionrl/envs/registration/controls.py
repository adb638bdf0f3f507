"""What an agent can do to a map, and when it has come to rest; the same in two and in three axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gymnasium import Space, spaces

from visionrl.datasets import PairSample
from visionrl.ops import Array, DeviceTable, const, one_hot, transforms, xp_of
from visionrl.ops.least_squares import NUM_SCORES

CONTROLS = ("unit", "steps", "continuous")
STEPS = (0.0033, 0.01, 0.03, 0.09, 0.27)  # of half the field and of a radian (Bauer et al., 2021)
TABLE = (*(-step for step in reversed(STEPS)), 0.0, *STEPS)
NEAR = 0.25  # pixels and degrees within which two maps count as one

USEFUL = 0.9  # share of the distance that a proposal which is to be trusted leaves at most


class Controls:
    """Actions as changes of a map's numbers.

    Args:
        control: "unit": one number by +-1; "steps": every number by one of 11 steps; else by up to ``step``.
        kind: of the map: "rigid", "similarity" or "affine".
        axes: 2 or 3.
        step: largest continuous change, of shifts in their unit, of all else in degrees.
        half: half the side of what the agent sees, in the unit of shifts; scales the 11 steps.

    Attributes:
        space: Discrete, MultiDiscrete or Box.
        count: how many numbers a map has.
    """

    space: Space

    def __init__(self, control: str, kind: str, axes: int, step: float, half: float) -> None:
        self.control, self.count = control, transforms.count(kind, axes)
        angles = self.count - axes
        by_steps = (half,) * axes + (1 / transforms.DEGREE,) * angles
        self.units = by_steps if control == "steps" else (float(step),) * self.count
        if control == "unit":
            self.space = spaces.Discrete(2 * self.count)
        elif control == "steps":
            self.space = spaces.MultiDiscrete([len(TABLE)] * self.count)
        else:
            self.space = spaces.Box(-1, 1, (self.count,), np.float32)

    def motion(self, action: Array, pose: Array) -> Array:
        """What actions add to the numbers of maps (B, d, d + 1): (B, k)."""
        xp = xp_of(pose)
        if self.control == "continuous":
            return xp.astype(action, pose.dtype) * const(self.units, pose)
        if self.control == "steps":
            flat = xp.take(const(TABLE, pose), xp.reshape(action, (-1,)), axis=0)
            return xp.reshape(flat, action.shape) * const(self.units, pose)
        sign = xp.astype(1 - 2 * (action % 2), pose.dtype)
        return xp.astype(one_hot(action // 2, self.count), pose.dtype) * sign[:, None]

    def towards(self, missing: Array) -> Array:
        """The actions whose changes come nearest to those that are missing, (B, k)."""
        xp = xp_of(missing)
        share = missing / const(self.units, missing)
        if self.control == "continuous":
            return xp.astype(xp.clip(share, -1.0, 1.0), xp.float32)
        if self.control == "steps":
            return xp.argmin(xp.abs(share[..., None] - const(TABLE, missing)), axis=-1)
        number = xp.argmax(xp.abs(missing), axis=-1)
        value = xp.sum(missing * xp.astype(one_hot(number, self.count), missing.dtype), axis=-1)
        return 2 * number + xp.astype(value < 0, number.dtype)


def rests(pose: Array, trail: Array) -> Array:
    """Whether maps (B, d, d + 1) are near three or more of the last ones (B, n, d, d + 1), NaN being none: (B,) bool."""
    xp, (rows, steps) = xp_of(pose), trail.shape[:2]
    now = xp.reshape(xp.broadcast_to(pose[:, None, ...], trail.shape), (rows * steps, *pose.shape[1:]))
    gaps = xp.reshape(transforms.distance(now, xp.reshape(trail, now.shape)), (rows, steps))
    return xp.sum(xp.astype(gaps <= NEAR, xp.int64), axis=-1) >= 3


def select_proposal(trust: Array, own: Array, fits: Array) -> Array:
    """The motions (B, k) to make: those of the fits most trusted (B, F), one's own (B, k) where none is above 0.

    ``fits`` are (B, F, k + 2), see ``least_squares``.
    """
    xp = xp_of(own)
    best = xp.argmax(trust, axis=1)[:, None, None]
    taken = xp.take_along_axis(fits[..., : own.shape[1]], best, axis=1)[:, 0, :]
    return xp.where((xp.max(trust, axis=1) > 0)[:, None], taken, own)


def proposal_quality(before: Array, after: Array, close: float) -> Array:
    """How near each fit would bring one to the truth, (B, F) float32, from distances to it, (B,) and (B, F).

    1 is onto it; 0 leaves nine tenths of the distance, or ``close`` where that is more; -1 twice as much. What
    ends within ``close`` so counts as well, even if it was nearer before: no agent can tell.
    """
    xp = xp_of(after)
    share = after / xp.maximum(USEFUL * before, xp.full_like(before, close))[:, None]
    return xp.astype(1 - xp.minimum(share, xp.full_like(share, 2.0)), xp.float32)


def encode_proposals(fits: Array, largest: float) -> Array:
    """The observation of proposals (B, F, k + 2): (B, F * (k + 2)) float32 in [-1, 1], motions in largest ones."""
    xp = xp_of(fits)
    return xp.astype(xp.reshape(fits / limits(fits, largest), (fits.shape[0], -1)), xp.float32)


def clip_proposals(fits: Array, largest: float) -> Array:
    """Clip each number of proposed motions to the largest one, scores to 1, either way."""
    return xp_of(fits).clip(fits, -limits(fits, largest), limits(fits, largest))


def limits(fits: Array, largest: float) -> Array:
    """(k + 2,) the largest number of a motion, and 1 for the shares."""
    return const((largest,) * (fits.shape[-1] - NUM_SCORES) + (1.0,) * NUM_SCORES, fits)


def two_modalities(samples: Sequence[PairSample]) -> DeviceTable | None:
    """(M,) bool, which pairs are of two modalities; None where none are."""
    differ = np.array([sample.modalities[0] != sample.modalities[1] for sample in samples])
    return DeviceTable(differ) if differ.any() else None


def check_modalities(samples: Sequence[PairSample], reward: str) -> None:
    """Refuse to compare grey levels of different modalities as if they were alike.

    Raises:
        ValueError: names the pair.
    """
    for sample in samples:
        if reward == "ncc" and sample.modalities[0] != sample.modalities[1]:
            raise ValueError(
                f"reward 'ncc' needs images of one modality, pair {sample.name!r} has "
                f"{' and '.join(sample.modalities)}; take 'mi', 'dice' or 'truth'"
            )
