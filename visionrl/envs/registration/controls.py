"""Controls of maps and of control points, choice among proposed motions, and the end by oscillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from visionrl.ops import Array, const, one_hot, transforms, xp_of
from visionrl.ops.least_squares import NUM_SCORES

STEPS = (0.0033, 0.01, 0.03, 0.09, 0.27)  # of half the field and of a radian (Bauer et al., 2021)
NEAR = 0.25  # pixels and degrees within which two maps count as one
USEFUL = 0.9  # share of the distance that a proposal which is to be trusted leaves at most


class Control:
    """Actions as motions: changes of the numbers of a map (B, d, d + 1), or shifts of a control point.

    Args:
        units: (k,) what 1 means of each number, pixels (millimetres) or degrees.

    Attributes:
        space: the action space.
        count: k, how many numbers a motion has.
        proposer: what proposes motions; None where nothing does.
        proposals: the observable of proposals, likewise.
    """

    space: Space
    proposer: Any = None
    proposals: Proposals | None = None

    def __init__(self, units: tuple[float, ...]) -> None:
        self.count, self.units = len(units), units

    def motion(self, action: Array, proposals: Array) -> Array:
        """The motions (B, k) float64; ``proposals`` are (B, F, k + 2), (B, 0) for other controls."""
        raise NotImplementedError

    def toward(self, missing: Array, quality: Array) -> Array:
        """The actions whose motions come nearest to those that are missing, (B, k)."""
        raise NotImplementedError

    def propose(self, *where: Array) -> Array:
        """No proposals, (B, 0) float64; the last of ``where`` are poses."""
        return xp_of(where[-1]).zeros_like(where[-1][:, 0, :0])

    def quality(self, proposals: Array, *truth: Any) -> Array:
        """(B, F) float32, see ``proposal_quality``; of no proposals, (B, 0), they themselves."""
        return proposals


class UnitControl(Control):
    """One number by +1 (even actions) or -1 (odd ones)."""

    def __init__(self, units: tuple[float, ...]) -> None:
        super().__init__(units)
        self.space = spaces.Discrete(2 * self.count)

    def motion(self, action: Array, proposals: Array) -> Array:
        xp = xp_of(proposals)
        sign = xp.astype(1 - 2 * (action % 2), proposals.dtype)
        return xp.astype(one_hot(action // 2, self.count), proposals.dtype) * sign[:, None]

    def toward(self, missing: Array, quality: Array) -> Array:
        xp = xp_of(missing)
        number = xp.argmax(xp.abs(missing), axis=-1)
        value = xp.sum(missing * xp.astype(one_hot(number, self.count), missing.dtype), axis=-1)
        return 2 * number + xp.astype(value < 0, number.dtype)


class StepsControl(Control):
    """Every number by one of 11 steps, coarse to fine (Bauer et al., 2021).

    ``steps`` are the five to one side, shares of ``units``, rising; those to the other side and none are the rest.
    """

    def __init__(self, units: tuple[float, ...], steps: tuple[float, ...] = STEPS) -> None:
        super().__init__(units)
        self.table = (*(-step for step in reversed(steps)), 0.0, *steps)
        self.space = spaces.MultiDiscrete([len(self.table)] * self.count)

    def motion(self, action: Array, proposals: Array) -> Array:
        xp = xp_of(proposals)
        flat = xp.take(const(self.table, proposals), xp.reshape(action, (-1,)), axis=0)
        return xp.reshape(flat, action.shape) * const(self.units, proposals)

    def toward(self, missing: Array, quality: Array) -> Array:
        xp = xp_of(missing)
        share = missing / const(self.units, missing)
        return xp.argmin(xp.abs(share[..., None] - const(self.table, missing)), axis=-1)


class ContinuousControl(Control):
    """Every number by up to its unit."""

    def __init__(self, units: tuple[float, ...]) -> None:
        super().__init__(units)
        self.space = spaces.Box(-1, 1, (self.count,), np.float32)

    def motion(self, action: Array, proposals: Array) -> Array:
        return xp_of(proposals).astype(action, proposals.dtype) * const(self.units, proposals)

    def toward(self, missing: Array, quality: Array) -> Array:
        xp = xp_of(missing)
        return xp.astype(xp.clip(missing / const(self.units, missing), -1.0, 1.0), xp.float32)


class GaussNewtonControl(ContinuousControl):
    """Every number by up to its unit, or the one of F proposed motions that the agent trusts most, if above 0."""

    def __init__(self, units: tuple[float, ...], proposer: Any) -> None:
        super().__init__(units)
        self.proposer, self.proposals = proposer, Proposals(proposer.size, proposer.largest)
        self.space = spaces.Box(-1, 1, (self.count + proposer.count,), np.float32)

    def motion(self, action: Array, proposals: Array) -> Array:
        own = super().motion(action[:, : self.count], proposals)
        return select_proposal(action[:, self.count :], own, proposals)

    def toward(self, missing: Array, quality: Array) -> Array:
        return xp_of(missing).concat([super().toward(missing, quality), quality], axis=1)

    def propose(self, *where: Array) -> Array:
        """The motions and their scores, (B, F, k + 2) float64; ``where`` is what the proposer asks for."""
        return self.proposer.propose(*where)

    def quality(self, proposals: Array, *truth: Any) -> Array:
        """Quality of each proposal, (B, F) float32; ``truth`` is what the proposer asks for."""
        return self.proposer.quality(proposals, *truth)


@dataclass(frozen=True)
class Proposals:
    """Proposed motions and their scores as an observable, float32 in [-1, 1]: motions in the largest one.

    Args:
        size: how many numbers.
        largest: number of a motion.
    """

    size: int
    largest: float

    @property
    def space(self) -> spaces.Box:
        """(size,) float32 in [-1, 1]."""
        return spaces.Box(-1, 1, (self.size,), np.float32)

    @property
    def shown(self) -> bool:
        """Always."""
        return True

    def encode(self, value: Array) -> Array:
        """(B, F, k + 2) float64 -> (B, size)."""
        return encode_proposals(value, self.largest)


def make_control(
    control: str, kind: str, axes: int, max_step: float, half: float, proposer: Any = None
) -> Control:
    """The control of a name for maps; ``half``, half the side of what the agent sees, scales the 11 steps."""
    count = transforms.count(kind, axes)
    if control == "steps":
        return StepsControl((half,) * axes + (1 / transforms.DEGREE,) * (count - axes))
    units = (float(max_step),) * count
    if control == "gauss_newton":
        return GaussNewtonControl(units, proposer)
    return (UnitControl if control == "unit" else ContinuousControl)(units)


def remember(trail: Array, pose: Array) -> Array:
    """Trails (B, n, d, d + 1) with poses (B, d, d + 1) as the newest, less the oldest."""
    return xp_of(pose).concat([trail[:, 1:, ...], pose[:, None, ...]], axis=1)


def oscillates(pose: Array, trail: Array) -> Array:
    """True where maps (B, d, d + 1) are near 3 or more of the last ones (B, n, d, d + 1), NaN being none: (B,) bool."""
    xp, (rows, steps) = xp_of(pose), trail.shape[:2]
    now = xp.reshape(xp.broadcast_to(pose[:, None, ...], trail.shape), (rows * steps, *pose.shape[1:]))
    gaps = xp.reshape(transforms.distance(now, xp.reshape(trail, now.shape)), (rows, steps))
    return xp.sum(xp.astype(gaps <= NEAR, xp.int64), axis=-1) >= 3


def select_proposal(trust: Array, own: Array, proposals: Array) -> Array:
    """The motions (B, k) to make: those of the proposals most trusted (B, F), one's own (B, k) where none is above 0.

    ``proposals`` are (B, F, k + 2), see ``least_squares``.
    """
    xp = xp_of(own)
    best = xp.argmax(trust, axis=1)[:, None, None]
    taken = xp.take_along_axis(proposals[..., : own.shape[1]], best, axis=1)[:, 0, :]
    return xp.where((xp.max(trust, axis=1) > 0)[:, None], taken, own)


def proposal_quality(before: Array, after: Array, close: float) -> Array:
    """Quality of each proposal, the higher the nearer it brings maps to the truth, (B, F) float32, from distances to it, (B,) and (B, F).

    1 is onto it; 0 leaves nine tenths of the distance, or ``close`` where that is more; -1 twice as much. What
    ends within ``close`` so counts as well, even if it was nearer before: no agent can tell.
    """
    xp = xp_of(after)
    share = after / xp.maximum(USEFUL * before, xp.full_like(before, close))[:, None]
    return xp.astype(1 - xp.minimum(share, xp.full_like(share, 2.0)), xp.float32)


def encode_proposals(proposals: Array, largest: float) -> Array:
    """The observation of proposals (B, F, k + 2): (B, F * (k + 2)) float32 in [-1, 1], motions in largest ones."""
    xp = xp_of(proposals)
    return xp.astype(xp.reshape(proposals / limits(proposals, largest), (proposals.shape[0], -1)), xp.float32)


def clip_proposals(proposals: Array, largest: float) -> Array:
    """Clip each number of proposed motions to the largest one, scores to 1, either way."""
    return xp_of(proposals).clip(proposals, -limits(proposals, largest), limits(proposals, largest))


def limits(proposals: Array, largest: float) -> Array:
    """(k + 2,) the largest number of a motion, and 1 for the shares."""
    return const((largest,) * (proposals.shape[-1] - NUM_SCORES) + (1.0,) * NUM_SCORES, proposals)
