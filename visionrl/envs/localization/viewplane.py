"""View planning: turn and shift a plane through a volume until it shows a standard view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Interval, MinLen

from visionrl import ops, rewards
from visionrl.banks.volumes import cut_volumes
from visionrl.core import arguments, register
from visionrl.core.observables import Image, OneHot, Vector
from visionrl.core.results import Plane
from visionrl.datasets import VolumeSample, choose
from visionrl.envs.localization.walk import Walk, WalkState
from visionrl.ops import Array, const, xp_of
from visionrl.ops.volumes import picture_axes, plane, plane_normal, plane_through
from visionrl.rendering import Canvas

# degrees that an angle to a volume's axis across the view may have; 60 around the view's own
ANGLES = (20.0, 160.0)
UNITS = (8.0, 8.0, 8.0, 4.0)  # degrees and millimetres that count alike in the distance of two planes


@dataclass(frozen=True, kw_only=True)
class State(WalkState):
    """The plane that the agent looks at, ``position``, and the one that it looks for; B episodes.

    A plane is (a, b, c, d): its normal is (cos a, cos b, cos c), scaled to length 1, along (x, y, z), angles in degrees;
    d is how far it lies from the middle of the volume along the normal, millimetres.

    Attributes:
        target: (B, 4) float64, the plane sought.
        mm: (B, 3) float64, (x, y, z), millimetres per voxel.
        middle: (B, 3) float64, (x, y, z) in voxels, the middle of the volume.
    """

    target: Array
    mm: Array
    middle: Array


@register("ViewPlane3D-v0", max_steps=200, tags=("localization", "3d", "discrete"))
@arguments
class ViewPlane3D(Walk[State]):
    """The agent turns and shifts a plane through a volume until it shows a standard view, in ever smaller steps.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (slices, w, w) uint8: the plane and parallel ones on both sides; ``plane`` (4,) in [-1, 1]; ``stage`` one-hot; ``history``: the last 10 actions, one-hot, newest last |
    | Action      | Discrete(8): a change by the stage's step, 8, 4, 2, 1 degrees and 4, 2, 1, 0.5 millimetres, see below |
    | Reward      | 1 where the plane came closer to the one sought, by its four numbers, -1 where it moved away, 0 else; -1 for a move out of range, which is not made |
    | Ends        | when the agent comes to one plane for the 4th time within 20 steps at the finest stage; at coarser ones that starts the next stage |

    | Action | Meaning |
    |--------|---------|
    | 0, 1 | increase, decrease the angle between the plane's normal and x |
    | 2, 3 | increase, decrease the angle between the normal and y |
    | 4, 5 | increase, decrease the angle between the normal and z |
    | 6, 7 | increase, decrease the distance from the middle of the volume |

    ``info`` has ``angle_deg``, between the planes' normals, and ``distance_mm``, between their distances from the middle
    of the volume. An episode succeeds within 4 degrees and 3 millimetres.

    Source: Alansary et al. (2018), "Automatic view planning with multi-scale deep reinforcement learning agents"; there
    planes that leave the volume end an episode, and the largest Q-values choose where an oscillation ends.
    """

    landmarks: tuple[str, str, str] = ("AC", "PC", "PMJ")
    """Names of three points that span the view; the default is the brain's mid-sagittal plane."""
    window: Annotated[int, Ge(8)] = 48
    """Side of the pictures, pixels."""
    pixel_mm: Annotated[float, Ge(0.01)] = 3.0
    """Side of a pixel, millimetres."""
    slices: Annotated[int, Ge(1)] = 3
    """How many parallel planes are shown, an odd number."""
    gap_mm: Annotated[float, Ge(0.01)] = 6.0
    """Distance between them, millimetres."""
    angle_steps: Annotated[Sequence[Annotated[int, Ge(1)]], MinLen(1)] = (8, 4, 2, 1)
    """Step of each stage, degrees."""
    shift_steps: Annotated[Sequence[Annotated[float, Ge(0.01)]], MinLen(1)] = (4.0, 2.0, 1.0, 0.5)
    """Step of each stage, millimetres."""
    start_spread_deg: Annotated[float, Interval(ge=0.0, le=40.0)] = 25.0
    """Starts are at most this far from the volume's axis nearest to the view, degrees along each angle."""
    axis: Annotated[int, Interval(ge=0, le=2)] | None = None
    """The volume's axis (0 x, 1 y, 2 z) that the view lies across; None finds it."""

    sample_type, embedded, primary_metric = VolumeSample, "mni", ("angle_deg", False)
    moves = tuple(tuple(sign * (k == axis) for k in range(4)) for axis in range(4) for sign in (1, -1))

    def setup(self) -> None:
        if len(self.angle_steps) != len(self.shift_steps):
            rule = f"one entry an angle step ({len(self.angle_steps)})"
            raise ValueError(f"shift_steps must have {rule}, got {len(self.shift_steps)}")
        if len(set(self.landmarks)) != 3:
            raise ValueError(f"landmarks must be three different names, got {self.landmarks!r}")
        steps = zip(self.angle_steps, self.shift_steps, strict=True)
        self.strides = tuple((angle, angle, angle, shift) for angle, shift in steps)  # type: ignore[misc]
        self.samples = with_landmarks(self.load(), self.landmarks) if self.labelled else self.load()
        self.items = len(self.samples)
        self.bank = cut_volumes(self.samples)
        self.across = self.axis_across() if self.axis is None else self.axis
        self.show(
            window=Image(self.slices, self.window),
            plane=Vector(4),
            stage=OneHot(len(self.strides), unless_one=True),
            history=self.set_up_walk(),
        )

    def axis_across(self) -> int:
        """The volume's axis that the views lie across, on average."""
        if not self.labelled:
            raise ValueError("axis must be 0, 1 or 2 where samples have no labels, got None")
        normals = [np.abs(plane_through(in_mm(sample, self.landmarks))[0]) for sample in self.samples]
        return int(np.mean(normals, axis=0).argmax())

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"axis": self.across}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        sample = self.samples[item]
        target = self.plane_sought(sample) if self.labelled else np.full(4, np.nan)
        extent = (np.array(sample.volume.shape[:0:-1]) - 1) * sample.spacing_mm
        low, high = (np.full(4, bound) for bound in ANGLES)
        low[self.across], high[self.across] = -60.0, 60.0
        low[3], high[3] = -0.45 * extent[self.across], 0.45 * extent[self.across]
        across = np.where(np.arange(3) == self.across, 0.0, 90.0)
        start = np.append(across, 0.0) + rng.uniform(-1, 1, 4) * [
            *[self.start_spread_deg] * 3,
            0.25 * extent[self.across],
        ]
        start = np.clip(np.rint(start), low, high)
        return State(
            image=np.int64(item),
            target=np.clip(target, low, high),
            low=low,
            high=high,
            mm=np.asarray(sample.spacing_mm, float),
            middle=(np.array(sample.volume.shape[:0:-1]) - 1) / 2,
            **self.first_walk(start),
        )

    def plane_sought(self, sample: VolumeSample) -> np.ndarray:
        """(4,) numbers of the plane through a sample's landmarks."""
        normal, distance = plane_through(in_mm(sample, self.landmarks))
        sign = np.sign(normal[self.across]) or 1.0
        return np.append(np.degrees(np.arccos(sign * normal)), sign * distance)

    def result(self, state: State) -> Plane:
        sample, normal = self.samples[int(state.image)], plane_normal(state.position[None])
        right, down = (way[0] for way in picture_axes(normal, self.across))
        sides = np.array(sample.volume.shape[:0:-1])
        corners = (np.indices((2, 2, 2)).reshape(3, 8).T - 0.5) * (sides - 1) * state.mm
        pixel = float(state.mm.min())
        spans = [corners @ way / pixel for way in (right, down)]
        first = np.array([np.floor(span.min()) for span in spans])
        wide, high = (int(np.ceil(span.max()) - low) + 1 for span, low in zip(spans, first, strict=True))
        axes = np.stack([right, down, np.cross(right, down)], axis=1) * pixel / state.mm[:, None]
        matrix = np.eye(4)
        matrix[:3, :3] = axes
        matrix[:3, 3] = state.middle + state.position[3] * normal[0] / state.mm + axes[:, :2] @ first
        size = max(wide, high)
        centre = matrix[:3, 3] + axes[:, :2].sum(axis=1) * (size - 1) / 2
        ways = (centre[None], axes[None, :, 0], axes[None, :, 1])
        image = plane(self.bank, np.asarray(state.image)[None], *ways, size)[0, :high, :wide]
        return Plane.at(np.ascontiguousarray(image), matrix, sample.affine)

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def observe(self, state: State) -> dict[str, Array]:
        across = (state.position - state.low) / (state.high - state.low)
        # a rest is rounded to whole millimetres, which may lie a little beyond the limits
        window, plane = self.pictures(state), xp_of(across).clip(2 * across - 1, -1.0, 1.0)
        return self.seen(window=window, plane=plane, stage=state.stage, history=state.actions)

    def reward(self, before: State, action: Array, after: State) -> Array:
        closer = rewards.improved(-self.gap_to(before, before.position), -self.gap_to(after, after.position))
        return xp_of(closer).where(after.outside, -1.0, closer)

    def metrics(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.position)
        here, there = plane_normal(state.position), plane_normal(state.target)
        cosine = xp.clip(xp.sum(here * there, axis=-1), -1.0, 1.0)
        angle = xp.acos(cosine) * (180 / np.pi)
        shift = xp.abs(state.position[:, 3] - state.target[:, 3])
        return {"angle_deg": angle, "distance_mm": shift, "is_success": (angle <= 4) & (shift <= 3)}

    def expert(self, state: State) -> Array:
        return self.nearest_move(state, lambda plane: self.gap_to(state, plane))

    def gap_to(self, state: State, position: Array) -> Array:
        """Distance, (B,), of planes (B, 4) from the one sought, by their numbers."""
        return ops.norm((position - state.target) / const(UNITS, position))

    def pictures(self, state: State) -> Array:
        """The plane and its parallels, (B, slices, w, w) uint8."""
        xp = xp_of(state.position)
        normal = plane_normal(state.position)
        right, down = picture_axes(normal, self.across)
        apart = const(tuple((k - self.slices // 2) * self.gap_mm for k in range(self.slices)), normal)
        offset = state.position[:, 3, None] + apart[None, :]
        centre = state.middle[:, None, :] + offset[..., None] * (normal / state.mm)[:, None, :]
        right, down = (way * self.pixel_mm / state.mm for way in (right, down))
        index, right, down = (xp.repeat(x, self.slices, axis=0) for x in (state.image, right, down))
        cuts = plane(self.bank, index, xp.reshape(centre, (-1, 3)), right, down, self.window)
        return xp.reshape(cuts, (-1, self.slices, self.window, self.window))

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        rows = {name: np.asarray(value)[None] for name, value in vars(state).items()}
        now, side = replace(state, **rows), self.window
        shown = [now, replace(now, position=now.target)] if self.labelled else [now]
        cuts = [self.pictures(one)[0, self.slices // 2] for one in shown]
        canvas = Canvas(np.concatenate(cuts, axis=1)[None])
        canvas.box((0, 0, side, side), "agent")
        if self.labelled:
            canvas.box((side, 0, 2 * side, side), "truth")
        canvas.text(f"through {', '.join(self.landmarks)}")
        return canvas.pixels


def with_landmarks(samples: Sequence[VolumeSample], names: Sequence[str]) -> Any:
    """The samples that have all of some landmarks.

    Raises:
        ValueError: there is none.
    """
    found = choose(samples, [n for n, sample in enumerate(samples) if set(names) <= set(sample.points)])
    if not found:
        raise ValueError(f"landmarks must be in a sample or more, none has {', '.join(names)}")
    return found


def in_mm(sample: VolumeSample, names: Sequence[str]) -> np.ndarray:
    """(N, 3) points (x, y, z) of a sample, millimetres from the middle of its volume."""
    points = np.array([sample.points[name] for name in names], float)
    return (points - (np.array(sample.volume.shape[:0:-1]) - 1) / 2) * sample.spacing_mm
