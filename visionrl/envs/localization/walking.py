"""What agents that walk to a place have in common, in images and volumes: array-API code with n axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrl import ops
from visionrl.core import check_range
from visionrl.ops import Array, xp_of


def check_walk(
    steps: Sequence[int],
    scales: Sequence[int],
    visits: int,
    memory: int,
    frames: int,
    radius: float,
    margin: float,
) -> None:
    """Refuse constants of a walk that are out of range.

    Raises:
        ValueError: names the argument, the rule, and the value.
    """
    if len(steps) != len(scales) or not steps:
        raise ValueError(f"scales must have one entry a step size ({len(steps)}), got {len(scales)}")
    for name, values in (("steps", steps), ("scales", scales)):
        for value in values:
            check_range(name, value, 1)
    check_range("visits", visits, 4)  # a stage ends at the mean of four places
    check_range("memory", memory, visits)
    check_range("frames", frames, 1, memory)
    check_range("radius", radius, 0.0)
    check_range("margin", margin, 0.0, 0.49)


def first_trail(place: np.ndarray, memory: int) -> np.ndarray:
    """(memory, n) float64, the trail of one episode that starts at a place (n,): NaN but for the last row."""
    trail = np.full((memory, len(place)), np.nan)
    trail[-1] = place
    return trail


def come_to(place: Array, trail: Array, visits: int) -> tuple[Array, Array, Array]:
    """What becomes of a stage when the agent comes to a place.

    A stage is over when the agent comes to one place for the ``visits``-th time within its trail (Alansary et al.,
    2019). Where the largest Q-values would choose the end, which no environment can know, the end is the mean of the
    last four places, rounded.

    Args:
        place: (B, n) float64, where the agent comes to.
        trail: (B, memory, n) float64, its places of this stage, newest last; NaN before its start.
        visits: 4 or more.

    Returns:
        (B, n) where the agent is then, (B, memory, n) the trail, (B,) bool whether the stage is over.
    """
    xp = xp_of(place)
    past = trail[:, 1:, :]
    again = ops.same(past, place[:, None, :])
    rests = xp.count_nonzero(again, axis=-1) + 1 >= visits
    mean = (past[:, -3, :] + past[:, -2, :] + past[:, -1, :] + place) / 4
    settled = xp.where(rests[:, None], xp.round(mean), place)
    past = xp.where(rests[:, None, None], xp.nan, past)
    return settled, xp.concat([past, settled[:, None, :]], axis=1), rests
