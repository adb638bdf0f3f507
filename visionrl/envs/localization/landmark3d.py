"""Landmark localization in volumes, where a landmark may also be absent."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from annotated_types import Interval

from visionrl import ops
from visionrl.core import arguments, register
from visionrl.core.results import Points
from visionrl.envs.localization.landmark_walk import State, VolumeLandmark
from visionrl.ops import Array, xp_of

KEPT_SHARE = 0.4  # share of a side that is kept, at least, where a volume is cut


@register(
    "LandmarkLocalization3D-v0",
    max_steps=500,
    tags=("localization", "3d", "discrete"),
    presets={
        "alansary2019": {"window": 45, "shown_scales": "stage", "frames": 4, "reward_unit": "mm"},
        "ghesu2016": {"window": 26, "step_sizes": (1,), "scales": (1,), "frames": 1, "reward_unit": "mm"},
    },
)
@arguments
class LandmarkLocalization3D(VolumeLandmark):
    """The agent walks a cube over a volume to a landmark, in large steps first, then in smaller ones.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (scales * frames, w, w, w) uint8: what lies around the position at each scale (or the stage's), axes (z, y, x); ``position`` (3,) in [-1, 1]; ``stage`` one-hot; ``history``: the last 10 actions, one-hot, newest last; ``goal`` one-hot, if there are several structures |
    | Action      | Discrete(6): a move by the stage's step size (9, 3, 1 voxels), see below |
    | Reward      | distance gained, in steps of the stage or in millimetres; -1 for a move out of the volume, which is not made |
    | Ends        | when the agent comes to one place for the 4th time within 20 steps at the finest stage; at coarser ones that starts the next stage from the mean of the last four positions |

    | Action | Meaning |
    |--------|---------|
    | 0 | up, +z, towards the head |
    | 1 | forward, -y |
    | 2 | left, +x, the patient's left |
    | 3 | right, -x |
    | 4 | back, +y |
    | 5 | down, -z |

    The agent has to stop by itself: the landmark decides nothing but the reward. ``info`` has ``error_mm``,
    ``distance_px`` (voxels of the original volume) and the success detection rates ``sdr_2mm`` to ``sdr_4mm``.

    With ``absent_share`` some episodes show only a part of the volume, in which the landmark is not. The right answer
    is to walk out of it (Ghesu et al., 2019): a move out then ends an episode, with reward 1 where the landmark is absent
    and -1 where it is there. ``info`` then has ``knows_absence``, whether the agent left exactly if it had to; errors
    are to where the landmark would be.

    Source: Ghesu et al. (2016) and Alansary et al. (2019); for ``absent_share`` Ghesu et al. (2019), "Multi-scale deep
    reinforcement learning for real-time 3D-landmark detection in CT scans". Alansary's windows take every s-th voxel;
    and the largest Q-values choose where an oscillation ends, which no environment can know, so here it is the mean.
    """

    absent_share: Annotated[float, Interval(ge=0.0, le=1.0)] = 0.0
    """Share of the episodes in which the landmark is not in what is shown."""

    def bounds(
        self, rng: np.random.Generator, landmark: np.ndarray, size: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.absent_share and self.labelled and rng.random() < self.absent_share:
            return without_landmark(rng, landmark, size)
        return super().bounds(rng, landmark, size)

    def result(self, state: State) -> Points:
        if self.absent_share and state.outside:
            return Points.at(self.names[int(state.goal)], None)
        return super().result(state)

    def step(self, state: State, action: Array) -> State:
        after = super().step(state, action)
        return replace(after, finished=after.finished | after.outside) if self.absent_share else after

    def windows(self, state: State) -> Array:
        crops = super().windows(state)
        if not self.absent_share:
            return crops
        places, levels, visited = self.views_of(state)
        places = xp_of(places).where(visited[..., None], places, state.position[:, None, None, :])
        return crops * self.bank.inside(places, levels, state.low, state.high)

    def reward(self, before: State, action: Array, after: State) -> Array:
        earned = super().reward(before, action, after)
        if not self.absent_share:
            return earned
        return xp_of(earned).where(after.outside & ~self.present(after), 1.0, earned)

    def metrics(self, state: State) -> dict[str, Array]:
        found = super().metrics(state)
        if not self.absent_share:
            return found
        knows = state.outside != self.present(state)
        return {**found, "knows_absence": knows, "is_success": knows & (state.outside | found["is_success"])}

    def class_of(self, state: State) -> Array:
        return state.goal + 0

    def expert(self, state: State) -> Array:
        may_leave = ~self.present(state) if self.absent_share else None
        return self.nearest_move(state, lambda place: self.distance_from(state, place), may_leave)

    def present(self, state: State) -> Array:
        """True where the landmark is in what is shown, (B,) bool."""
        return ops.every((state.landmark >= state.low - 0.5) & (state.landmark <= state.high + 0.5))


def without_landmark(
    rng: np.random.Generator, landmark: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest (x, y, z), each (3,), of a part of a volume without the landmark.

    One plane cuts, a voxel and 3 to 10 % of the side from the landmark; 40 % of the side remain, or as much as can.
    """
    gap, low, high = 1 + rng.uniform(0.03, 0.1) * size, np.zeros(3), size - 1
    kept = np.concatenate([landmark - gap, high - landmark - gap]) / np.tile(size, 2)
    side = rng.choice(np.flatnonzero(kept >= min(KEPT_SHARE, kept.max())))
    axis = side % 3
    if side < 3:
        high[axis] = np.floor(landmark[axis] - gap[axis])
    else:
        low[axis] = np.ceil(landmark[axis] + gap[axis])
    return low, high
