"""Landmark localization in images."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge

from visionrl import ops
from visionrl.banks.patches import patch_bank
from visionrl.core import arguments, register
from visionrl.datasets import ImageSample
from visionrl.envs.localization.landmark_walk import Landmark, State
from visionrl.metrics import success_detection_rates
from visionrl.ops import Array, xp_of
from visionrl.rendering import Canvas


@register(
    "LandmarkLocalization-v0",
    max_steps=200,
    tags=("localization", "2d", "discrete"),
    presets={
        "alansary2019": {"window": 45, "shown_scales": "stage", "frames": 4, "reward_unit": "mm"},
        "ghesu2016": {"window": 60, "step_sizes": (1,), "scales": (1,), "frames": 1, "reward_unit": "mm"},
        "cpu": {"window": 32},
    },
)
@arguments
class LandmarkLocalization(Landmark):
    """The agent walks a window over an image to a landmark, in large steps first, then in smaller ones.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C * scales * frames, w, w) uint8: what lies around the position at each scale (or the stage's); ``position`` (2,) in [-1, 1]; ``stage`` one-hot; ``history``: the last 10 actions, one-hot, newest last; ``goal`` one-hot, if there are several structures |
    | Action      | Discrete(4): a move by the stage's step size (9, 3, 1 pixels), see below |
    | Reward      | distance gained, in steps of the stage or in millimetres; -1 for a move out of the image, which is not made |
    | Ends        | when the agent comes to one place for the 4th time within 20 steps at the finest stage; at coarser ones that starts the next stage from the mean of the last four positions |

    | Action | Meaning |
    |--------|---------|
    | 0 | up |
    | 1 | right |
    | 2 | down |
    | 3 | left |

    The agent has to stop by itself: the landmark decides nothing but the reward. ``info`` has ``distance_px`` (of the
    original image) and, where the spacing is known, ``error_mm`` and the success detection rates ``sdr_2mm``,
    ``sdr_2.5mm``, ``sdr_3mm``, ``sdr_4mm``.

    Source: Ghesu et al. (2016) and Alansary et al. (2019), on images instead of volumes; they let the largest
    Q-values choose where an oscillation ends, which no environment can know, so here it is the mean.
    """

    window: Annotated[int, Ge(8)] = 40
    max_side: Annotated[int, Ge(8)] | None = 640
    """Images with a longer side are shrunk to it; None never (raise the steps then: 200 moves of 9 pixels do not
    cross a large image)."""
    channels: Literal[1, 3] | None = None
    """1 shows all images in grey, 3 in RGB; None is RGB if an image of the split is."""

    axes, sample_type, embedded, primary_metric = 2, ImageSample, "chest-xray", ("distance_px", False)
    moves = ((0, -1), (1, 0), (0, 1), (-1, 0))  # (dx, dy)

    def hold(self) -> None:
        if self.max_side is not None and self.max_side < self.window:
            raise ValueError(f"max_side must be >= window ({self.window}), got {self.max_side}")
        self.bank = patch_bank(self.samples, self.window, self.scales, self.max_side, self.channels)
        self.channels_held = self.bank.channels
        sizes = np.array([sample.image.shape[:0:-1] for sample in self.samples], float)
        self.factors = sizes / self.bank.sizes  # sides held are whole pixels, so each has a factor of its own
        known = [sample.spacing_mm for sample in self.samples]
        self.spacings_mm = np.array([mm or np.nan for mm in known], float) * self.bank.factors
        self.known_mm = all(known)

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"channels": self.bank.channels, "target": list(self.names)}

    def unit(self, state: State) -> Array:
        xp = xp_of(state.mm)
        if self.reward_unit == "steps":
            return self.stride(state)[:, 0]
        return xp.where(xp.isnan(state.mm), xp.ones_like(state.mm), 1 / state.mm)

    def windows(self, state: State) -> Array:
        xp, places = xp_of(state.position), state.position[:, None, :]  # (B, F, 2)
        level = None if self.shown_scales == "all" else state.stage[:, None]
        if self.frames == 1:
            return self.bank.crop(state.image[:, None], places, level)
        past = state.trail[:, -self.frames :, :]
        visited = ~xp.isnan(past[..., 0])
        crops = self.bank.crop(state.image[:, None], xp.where(visited[..., None], past, places), level)
        crops = xp.reshape(crops, (*visited.shape, -1, *crops.shape[-2:]))
        return crops * xp.astype(visited, xp.uint8)[:, :, None, None, None]

    def metrics(self, state: State) -> dict[str, Array]:
        pixels = ops.norm((state.position - state.landmark) * state.factor)
        found = {"distance_px": pixels, "is_success": pixels <= self.success_radius}
        if not self.known_mm:
            return found
        error = self.distance(state) * state.mm
        return {**found, "error_mm": error, **success_detection_rates(error)}

    def class_of(self, state: State) -> Array:
        return state.goal + 0

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        canvas = Canvas(self.samples[int(state.image)].image)
        trail, position, landmark = (
            (np.asarray(place) + 0.5) * state.factor
            for place in (state.trail, state.position, state.landmark)
        )
        for scale in self.scales:
            half = self.window * scale * state.factor / 2
            canvas.box([*(position - half), *(position + half)], "look")
        canvas.path(trail[~np.isnan(trail[:, 0])], "agent")
        canvas.cross(position, "agent")
        canvas.cross(landmark, "truth")
        canvas.text(self.names[int(state.goal)])
        return canvas.pixels
