"""The bases of the landmark tasks: an agent walks a window over an image or a volume to a structure of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Interval, MinLen

from visionrl import ops, rewards
from visionrl.banks.patches import targets
from visionrl.banks.volumes import volume_bank, within_range
from visionrl.core import arguments
from visionrl.core.observables import Image, OneHot, Vector
from visionrl.core.results import Points
from visionrl.datasets import VolumeSample
from visionrl.envs.localization.walk import Walk, WalkState
from visionrl.metrics import success_detection_rates
from visionrl.ops import Array, const, xp_of
from visionrl.rendering import PlaneCanvas

Millimetres = Annotated[float, Ge(0.01)]
Spacing = tuple[Millimetres, Millimetres, Millimetres]  # (x, y, z)


@dataclass(frozen=True, kw_only=True)
class State(WalkState):
    """Position of the agent and the landmark that it looks for; B episodes, d = 2 or 3 axes, pixels or voxels as held.

    In a team of K agents the fields of the walk, but for the bounds and the image, ``goal`` and ``landmark`` have a
    second axis, the agents.

    Attributes:
        goal: (B,) int64, number of the structure sought.
        landmark: (B, d) float64, (x, y) or (x, y, z).
        mm: (B,) or (B, 3) float64, millimetres per pixel; NaN where unknown.
        factor: (B, d) float64, pixels of the original image per pixel.
    """

    goal: Array
    landmark: Array
    mm: Array
    factor: Array


@arguments
class Landmark(Walk[State]):
    """A base for landmark localization in images and in volumes; leaves hold the pixels and know the distances."""

    target: str | Annotated[Sequence[str], MinLen(1)] | None = None
    """Structure sought, or several; None takes all in the data, one at random per episode."""
    window: Annotated[int, Ge(5)] = 40
    """Side of the window, pixels (voxels)."""
    step_sizes: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (9, 3, 1)
    """Step size of each stage, pixels (voxels)."""
    scales: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (3, 2, 1)
    """Pixels of the image per pixel of the window, one a stage; the window shows block means."""
    shown_scales: Literal["all", "stage"] = "all"
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
        if len(self.step_sizes) != len(self.scales):
            raise ValueError(
                f"scales must have one entry a step size ({len(self.step_sizes)}), got {len(self.scales)}"
            )
        if self.frames > self.oscillation[1]:
            raise ValueError(
                f"frames must be <= {self.oscillation[1]}, the trail's length, got {self.frames}"
            )
        self.samples, self.strides = self.load(), self.step_sizes  # type: ignore[misc]
        self.names, self.pairs = targets(self.samples, self.target, self.labelled)
        self.items = len(self.pairs)
        self.hold()
        shown = self.frames * (len(self.step_sizes) if self.shown_scales == "all" else 1)
        self.show(
            window=Image(shown * self.channels_held, self.window, self.axes),
            position=Vector(self.axes),
            stage=OneHot(len(self.step_sizes), unless_one=True),
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
        point = self.samples[image].points[self.names[goal]] if self.labelled else np.full(self.axes, np.nan)
        landmark = (np.asarray(point, float) + 0.5) / factor - 0.5
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

    def result(self, state: State) -> Points:
        place = (state.position + 0.5) * state.factor - 0.5
        sample = self.samples[int(state.image)]
        return Points.at(self.names[int(state.goal)], place, getattr(sample, "affine", None))

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
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


@arguments
class VolumeLandmark(Landmark):
    """A base for landmark localization in volumes."""

    window: Annotated[int, Ge(5)] = 25
    spacing_mm: Annotated[float, Ge(0.01)] | None = None
    """Side of cubic voxels to which all volumes are resampled, millimetres; None keeps their own."""
    spacing_range_mm: tuple[Spacing, Spacing] | None = None
    """Least and largest (x, y, z) spacing that an agent knows; volumes beyond it by more than a tenth are resampled to
    the nearest in it. A run keeps that of its training split; None, or ``spacing_mm``, resamples none for it."""

    axes, sample_type, embedded, primary_metric = 3, VolumeSample, "chest-ct-volumes", ("error_mm", False)
    moves = ((0, 0, 1), (0, -1, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, 0, -1))  # (dx, dy, dz)

    def hold(self) -> None:
        wanted: Any = self.spacing_mm
        if wanted is None and self.spacing_range_mm:
            wanted = within_range(self.samples, *self.spacing_range_mm)
        held = volume_bank(self.samples, self.window, self.scales, wanted)
        self.bank, self.factors, self.spacings_mm = held.bank, held.factors, held.spacings
        self.channels_held = 1

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        if self.spacing_mm is not None:
            return super().resolved_arguments
        known = np.array([sample.spacing_mm for sample in self.samples], float)
        seen = [[round(mm, 4) for mm in end.tolist()] for end in (known.min(axis=0), known.max(axis=0))]
        return {**super().resolved_arguments, "spacing_range_mm": self.spacing_range_mm or seen}

    def unit(self, state: State) -> Array:
        xp = xp_of(state.mm)
        side = xp.prod(state.mm, axis=-1) ** (1 / 3)  # of a cube as large as a voxel
        return self.stride(state)[:, 0] * side if self.reward_unit == "steps" else xp.ones_like(side)

    def distance_from(self, state: State, place: Array) -> Array:
        return ops.norm((place - state.landmark) * state.mm)

    def windows(self, state: State) -> Array:
        xp = xp_of(state.position)
        places, levels, visited = self.views_of(state)
        places = xp.where(visited[..., None], places, state.position[:, None, None, :])
        return self.bank.crop(state.image[:, None, None], places, levels, visited)

    def views_of(self, state: State) -> tuple[Array, Array, Array]:
        """Centres (B, F, 1, 3), scales (B or 1, 1, V) and whether they are there (B, F, 1) of all windows."""
        places = state.trail[:, -self.frames :, None, :]
        stages = const(tuple(range(len(self.step_sizes))), state.stage)[None, None, :]
        levels = stages if self.shown_scales == "all" else state.stage[:, None, None]
        return places, levels, ~xp_of(places).isnan(places[..., 0])

    def metrics(self, state: State) -> dict[str, Array]:
        error = self.distance(state)
        voxels = ops.norm((state.position - state.landmark) * state.factor)
        found = {"error_mm": error, "distance_px": voxels, "is_success": voxels <= self.success_radius}
        return {**found, **success_detection_rates(error)}

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        sample, alone = self.samples[int(state.image)], np.ndim(state.stage) == 0
        trails, positions, landmarks = (
            ((np.asarray(place) + 0.5) * state.factor - 0.5).reshape(-1, *np.shape(place)[not alone :])
            for place in (state.trail, state.position, state.landmark)
        )
        busy = positions[
            int(np.argmin(state.finished))
        ]  # the planes lie through the first agent that goes on
        planes = PlaneCanvas(sample.volume, sample.spacing_mm, busy)
        for scale in self.scales if alone else ():
            planes.box(busy, self.window * scale * state.factor / 2, "look")
        for trail, position, landmark in zip(trails, positions, landmarks, strict=True):
            planes.path(trail[~np.isnan(trail[:, 0])], "agent")
            planes.cross(position, "agent")
            planes.cross(landmark, "truth")
        sought = [self.names[goal] for goal in np.atleast_1d(state.goal).tolist()]
        if alone:
            planes.canvas.text(sought[0])
        else:
            for name, position in zip(sought, positions, strict=True):
                planes.text(name, position)
        return planes.canvas.pixels
