"""Landmark localization: the base of 2D and 3D, and the task in images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Interval, MinLen

from visionrl import ops, rewards
from visionrl.banks.patches import patch_bank, targets
from visionrl.core import arguments, register
from visionrl.core.observables import Image, OneHot, Vector
from visionrl.datasets import ImageSample
from visionrl.envs.localization.walk import Walk
from visionrl.metrics import within
from visionrl.ops import Array, const, xp_of
from visionrl.rendering import Canvas

SDR_MM = (2, 2.5, 3, 4)  # radii of the success detection rates
SDR_NAMES = tuple(f"sdr_{radius:g}mm" for radius in SDR_MM)


@dataclass(frozen=True)
class State:
    """Position of the agent and the landmark that it looks for; B episodes, d = 2 or 3 axes, pixels or voxels as held.

    Attributes:
        image: (B,) int64, index into the bank.
        goal: (B,) int64, number of the structure sought.
        landmark: (B, d) float64, (x, y) or (x, y, z).
        low: (B, d) float64, least place that can be walked to.
        high: (B, d) float64, largest.
        mm: (B,) or (B, 3) float64, millimetres per pixel; NaN where unknown.
        factor: (B,) or (B, 3) float64, pixels of the original image per pixel.
        position: (B, d) float64, the window's centre.
        stage: (B,) int64, number of the step size in use.
        trail: (B, memory, d) float64, positions of this stage, newest last; NaN before its start.
        actions: (B, 10) int64, newest last; -1 before the start.
        outside: (B,) bool, the last move led out and was not made.
        finished: (B,) bool, the episode has come to its end.
    """

    image: Array
    goal: Array
    landmark: Array
    low: Array
    high: Array
    mm: Array
    factor: Array
    position: Array
    stage: Array
    trail: Array
    actions: Array
    outside: Array
    finished: Array


@arguments
class Landmark(Walk[State]):
    """A base for landmark localization in images and in volumes; leaves hold the pixels and know the distances."""

    target: str | Annotated[Sequence[str], MinLen(1)] | None = None
    """Structure sought, or several; None takes all in the data, one at random per episode."""
    window: Annotated[int, Ge(5)] = 40
    """Side of the window, pixels (voxels)."""
    steps: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (9, 3, 1)
    """Step size of each stage, pixels (voxels)."""
    scales: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (3, 2, 1)
    """Pixels of the image per pixel of the window, one a stage; the window shows block means."""
    views: Literal["all", "stage"] = "all"
    """"all" shows every scale at once, "stage" the stage's own, as Alansary et al. do."""
    frames: Annotated[int, Ge(1)] = 1
    """How many past positions are shown; 1 is the present alone."""
    reward_unit: Literal["steps", "mm"] = "steps"
    """"steps" divides the distance gained by the step size, "mm" does not (pixels where the spacing is unknown)."""
    success_radius: Annotated[float, Ge(0.0)] = 2.0
    """An episode succeeds within this distance, pixels (voxels) of the original image."""
    margin: Annotated[float, Interval(ge=0.0, le=0.49)] = 0.2
    """Share of the image's sides, at each border, where no episode starts."""

    bank: Any = field(init=False)
    factors: np.ndarray = field(init=False)
    spacings_mm: np.ndarray = field(init=False)
    channels_held: int = field(init=False)
    axes: ClassVar[int]

    def setup(self) -> None:
        if len(self.steps) != len(self.scales):
            raise ValueError(
                f"scales must have one entry a step size ({len(self.steps)}), got {len(self.scales)}"
            )
        if self.frames > self.oscillation[1]:
            raise ValueError(
                f"frames must be <= {self.oscillation[1]}, the trail's length, got {self.frames}"
            )
        self.samples, self.strides = self.load(), self.steps  # type: ignore[misc]
        self.names, self.pairs = targets(self.samples, self.target)
        self.items = len(self.pairs)
        self.hold()
        shown = self.frames * (len(self.steps) if self.views == "all" else 1)
        self.show(
            window=Image(shown * self.channels_held, self.window, self.axes),
            position=Vector(self.axes),
            stage=OneHot(len(self.steps), unless_one=True),
            history=self.set_up_walk(),
            goal=OneHot(len(self.names), unless_one=True),
        )

    def hold(self) -> None:
        """Make ``bank``, ``factors`` and ``spacings_mm`` (one entry an image) and ``channels_held``."""
        raise NotImplementedError

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"target": list(self.names)}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        image, goal = self.pairs[item]
        factor, size = self.factors[image], self.bank.sizes[image]
        landmark = (np.asarray(self.samples[image].points[self.names[goal]], float) + 0.5) / factor - 0.5
        low, high = self.bounds(rng, landmark, size)
        start = np.floor(low + rng.uniform(self.margin, 1 - self.margin, self.axes) * (high - low + 1))
        return State(
            image=np.int64(image),
            goal=np.int64(goal),
            landmark=landmark,
            low=low,
            high=high,
            mm=self.spacings_mm[image],
            factor=factor,
            **self.first_walk(start),
        )

    def bounds(
        self, rng: np.random.Generator, landmark: np.ndarray, size: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest place, (d,) each, of one episode in an image of a size."""
        return np.zeros(self.axes), size - 1.0

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        return replace(state, **self.walk(state, action))

    def observe(self, state: State) -> dict[str, Array]:
        return self.seen(**self.look(state))

    def look(self, state: State) -> dict[str, Array]:
        """Values of the observation, before they are encoded."""
        side = xp_of(state.position).maximum(state.high - state.low, 1.0)
        return {
            **{"window": self.windows(state), "position": 2 * ((state.position - state.low) / side) - 1},
            **{"stage": state.stage, "history": state.actions, "goal": state.goal},
        }

    def windows(self, state: State) -> Array:
        """The crops, (B, ..., w, ..., w) uint8; places before the start of a stage are black."""
        raise NotImplementedError

    def reward(self, before: State, action: Array, after: State) -> Array:
        gained = rewards.progress(self.distance(before), self.distance(after), scale=self.unit(before))
        return xp_of(gained).where(after.outside, -1.0, gained)

    def unit(self, state: State) -> Array:
        """The distance, (B,), that is worth a reward of 1."""
        raise NotImplementedError

    def distance(self, state: State) -> Array:
        """From the window's centre to the landmark, (B,), in pixels in images and in millimetres in volumes."""
        return self.distance_from(state, state.position)

    def distance_from(self, state: State, place: Array) -> Array:
        """From places (B, d) to the landmark, (B,), in the unit of ``distance``."""
        return ops.norm(place - state.landmark)

    def expert(self, state: State) -> Array:
        return self.nearest_move(state, lambda place: self.distance_from(state, place))


def success_detection_rates(error_mm: Array) -> dict[str, Array]:
    """Indicators of errors (B,) within 2, 2.5, 3 and 4 mm, by name (Wang et al., 2016)."""
    rates = ops.columns(within(error_mm[:, None], const(SDR_MM, error_mm)))
    return dict(zip(SDR_NAMES, rates, strict=True))


@register(
    "LandmarkLocalization-v0",
    max_steps=200,
    tags=("localization", "2d", "discrete"),
    presets={
        "alansary2019": {"window": 45, "views": "stage", "frames": 4, "reward_unit": "mm"},
        "ghesu2016": {"window": 60, "steps": (1,), "scales": (1,), "frames": 1, "reward_unit": "mm"},
        "small": {"window": 32},
    },
)
@arguments
class LandmarkLocalization(Landmark):
    """The agent walks a window over an image to a landmark, in large steps first, then in smaller ones.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C * views * frames, w, w) uint8: what lies around the position at each scale (or the stage's); ``position`` (2,) in [-1, 1]; ``stage`` one-hot; ``history``: the last 10 actions, one-hot, newest last; ``goal`` one-hot, if there are several structures |
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
        self.factors, self.channels_held = self.bank.factors, self.bank.channels
        known = [sample.spacing_mm for sample in self.samples]
        self.spacings_mm = np.array([mm or np.nan for mm in known], float) * self.factors
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
        level = None if self.views == "all" else state.stage[:, None]
        if self.frames == 1:
            return self.bank.crop(state.image[:, None], places, level)
        past = state.trail[:, -self.frames :, :]
        visited = ~xp.isnan(past[..., 0])
        crops = self.bank.crop(state.image[:, None], xp.where(visited[..., None], past, places), level)
        crops = xp.reshape(crops, (*visited.shape, -1, *crops.shape[-2:]))
        return crops * xp.astype(visited, xp.uint8)[:, :, None, None, None]

    def metrics(self, state: State) -> dict[str, Array]:
        distance = self.distance(state)
        pixels = distance * state.factor
        found = {"distance_px": pixels, "is_success": pixels <= self.success_radius}
        if not self.known_mm:
            return found
        return {**found, "error_mm": (error := distance * state.mm), **success_detection_rates(error)}

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
        return canvas.pixels
