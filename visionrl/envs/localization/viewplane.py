"""View planning: turn and shift a plane through a volume until it shows a standard view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium import spaces

from visionrl import ops, rewards
from visionrl.banks.patches import shared
from visionrl.core import Task, check_range, register
from visionrl.datasets import VolumeSample, load
from visionrl.envs.localization.walking import check_walk, come_to, first_trail
from visionrl.ops import Array, const, one_hot, xp_of
from visionrl.ops.volumes import Volumes, plane
from visionrl.rendering import Canvas

MOVES = tuple(tuple(sign * (k == axis) for k in range(4)) for axis in range(4) for sign in (1, -1))
ACTIONS_KEPT = 10  # past actions in the observation
ANGLES = (
    20.0,
    160.0,
)  # degrees that an angle to a volume's axis across the view may have; 60 around the view's own
UNITS = (8.0, 8.0, 8.0, 4.0)  # degrees and millimetres that count alike in the distance of two planes
ACROSS = ((1, 2), (0, 2), (0, 1))  # axes that run right and down in a picture of the plane across x, y and z


@dataclass(frozen=True)
class State:
    """Which plane the agent looks at and which it looks for; B episodes.

    A plane is (a, b, c, d): its normal is (cos a, cos b, cos c), scaled to length 1, along (x, y, z), angles in degrees;
    d is how far it lies from the middle of the volume along the normal, millimetres.

    Attributes:
        image: (B,) int64, index of the volume.
        target: (B, 4) float64, the plane sought.
        low: (B, 4) float64, least plane allowed.
        high: (B, 4) float64, largest.
        mm: (B, 3) float64, (x, y, z), millimetres per voxel.
        middle: (B, 3) float64, (x, y, z) in voxels, the middle of the volume.
        position: (B, 4) float64, the plane looked at.
        stage: (B,) int64, number of the step size in use.
        trail: (B, memory, 4) float64, planes of this stage, newest last; NaN before its start.
        actions: (B, 10) int64, newest last; -1 before the start.
        finished: (B,) bool, the last stage has ended.
    """

    image: Array
    target: Array
    low: Array
    high: Array
    mm: Array
    middle: Array
    position: Array
    stage: Array
    trail: Array
    actions: Array
    finished: Array


@register("ViewPlane3D-v0", max_steps=200, tags=("localization", "3d", "discrete"))
class ViewPlane3D(Task[State]):
    """The agent turns and shifts a plane through a volume until it shows a standard view, in ever smaller steps.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (slices, w, w) uint8: the plane and parallel ones on both sides; ``plane`` (4,) in [-1, 1]; ``stage`` one-hot; ``history``: the last 10 actions, one-hot, newest last |
    | Action      | 0 / 1 more / less of the angle between the plane's normal and x, 2 / 3 and y, 4 / 5 and z, 6 / 7 of its distance from the middle; by the stage's step, 8, 4, 2, 1 degrees and 4, 2, 1, 0.5 millimetres |
    | Reward      | 1 where the plane came closer to the one sought, by its four numbers, -1 where it moved away, 0 else; -1 for a move out of range, which is not made |
    | Ends        | when the agent comes to one plane for the 4th time within 20 steps at the finest stage; at coarser ones that starts the next stage |

    ``info`` has ``angle_deg``, between the planes' normals, and ``distance_mm``, between their distances from the middle
    of the volume. An episode succeeds within 4 degrees and 3 millimetres.

    Args:
        data: None for the embedded brain, "FORMAT:PATH", or a sequence of ``VolumeSample`` with points.
        split: "train", "val" or "test".
        landmarks: names of three points that span the view; the default is the brain's mid-sagittal plane.
        window: side of the pictures, pixels.
        pixel: side of a pixel, millimetres.
        slices: how many parallel planes are shown, an odd number.
        gap: millimetres between them.
        angles: step of each stage, degrees.
        shifts: step of each stage, millimetres.
        spread: how far starts are from the volume's axis nearest to the view, degrees along each angle at most.
        visits: visits of one plane that make an oscillation.
        memory: steps that are looked back on for it.
        axis: the volume's axis (0 x, 1 y, 2 z) that the view lies across; None finds it.
        loading: see ``visionrl.datasets.load``.

    Source: Alansary et al. (2018), "Automatic view planning with multi-scale deep reinforcement learning agents"; there
    planes that leave the volume end an episode, and the largest Q-values choose where an oscillation ends.
    """

    primary_metric = ("angle_deg", False)

    def __init__(
        self,
        data: Any = None,
        split: str = "train",
        landmarks: Sequence[str] = ("AC", "PC", "PMJ"),
        window: int = 48,
        pixel: float = 3.0,
        slices: int = 3,
        gap: float = 6.0,
        angles: Sequence[int] = (8, 4, 2, 1),
        shifts: Sequence[float] = (4, 2, 1, 0.5),
        spread: float = 25.0,
        visits: int = 4,
        memory: int = 20,
        axis: int | None = None,
        **loading: Any,
    ) -> None:
        check_walk(angles, [1] * len(shifts), visits, memory, 1, 0.0, 0.0)
        if len(set(landmarks)) != 3 or isinstance(landmarks, str):
            raise ValueError(f"landmarks must be three names, got {landmarks!r}")
        check_range("window", window, 8)
        check_range("slices", slices, 1)
        for name, value in (("pixel", pixel), ("gap", gap), *(("shifts", float(n)) for n in shifts)):
            check_range(name, value, 0.01)
        check_range("spread", spread, 0.0, 40.0)
        self.size, self.pixel, self.gap, self.slices = window, pixel, gap, slices
        self.steps, self.spread = tuple(zip(angles, shifts, strict=True)), spread
        self.visits, self.memory, self.landmarks = visits, memory, tuple(landmarks)
        loaded = load(data, kind=VolumeSample, default="mni", split=split, **loading)
        self.samples = [sample for sample in loaded if set(landmarks) <= set(sample.points)]
        if not self.samples:
            raise ValueError(f"landmarks must be in a sample or more, none has {', '.join(landmarks)}")
        self.items = len(self.samples)
        volumes = [sample.volume[0] for sample in self.samples]
        self.bank: Volumes = shared(Volumes, [sample.volume for sample in self.samples], volumes)
        normals = [np.abs(spanned(in_mm(sample, self.landmarks))[0]) for sample in self.samples]
        self.axis = int(np.mean(normals, axis=0).argmax()) if axis is None else axis
        check_range("axis", self.axis, 0, 2)
        keys: dict[str, spaces.Space] = {
            "window": spaces.Box(0, 255, (slices, window, window), np.uint8),
            "plane": spaces.Box(-1, 1, (4,), np.float32),
            "stage": spaces.Box(0, 1, (len(self.steps),), np.float32),
            "history": spaces.Box(0, 1, (ACTIONS_KEPT * len(MOVES),), np.float32),
        }
        self.observation_space = spaces.Dict({k: box for k, box in keys.items() if box.shape != (1,)})
        self.action_space = spaces.Discrete(len(MOVES))

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"axis": self.axis}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        sample = self.samples[item]
        normal, distance = spanned(in_mm(sample, self.landmarks))
        sign = np.sign(normal[self.axis]) or 1.0
        target = np.append(np.degrees(np.arccos(sign * normal)), sign * distance)
        extent = (np.array(sample.volume.shape[:0:-1]) - 1) * sample.spacing_mm
        low, high = (np.full(4, bound) for bound in ANGLES)
        low[self.axis], high[self.axis] = -60.0, 60.0
        low[3], high[3] = -0.45 * extent[self.axis], 0.45 * extent[self.axis]
        across = np.where(np.arange(3) == self.axis, 0.0, 90.0)
        start = np.append(across, 0.0) + rng.uniform(-1, 1, 4) * [
            *[self.spread] * 3,
            0.25 * extent[self.axis],
        ]
        start = np.clip(np.rint(start), low, high)
        return State(
            image=np.int64(item),
            target=np.clip(target, low, high),
            low=low,
            high=high,
            mm=np.asarray(sample.spacing_mm, float),
            middle=(np.array(sample.volume.shape[:0:-1]) - 1) / 2,
            position=start,
            stage=np.int64(0),
            trail=first_trail(start, self.memory),
            actions=np.full(ACTIONS_KEPT, -1),
            finished=np.False_,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.position)
        moved, inside = self.move(state, action)
        moved = xp.where(inside[:, None], moved, state.position)
        position, trail, rests = come_to(moved, state.trail, self.visits)
        stage = state.stage + xp.astype(rests, xp.int64)
        return replace(
            state,
            position=position,
            stage=xp.minimum(stage, len(self.steps) - 1),
            trail=trail,
            actions=xp.concat([state.actions[:, 1:], action[:, None]], axis=1),
            finished=stage == len(self.steps),
        )

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.position)
        across = (state.position - state.low) / (state.high - state.low)
        history = xp.reshape(one_hot(state.actions, len(MOVES)), (state.actions.shape[0], -1))
        # a rest is rounded to whole millimetres, which may lie a little beyond the limits
        numbers = xp.astype(xp.clip(2 * across - 1, -1.0, 1.0), xp.float32)
        stage = one_hot(state.stage, len(self.steps))
        seen = {"window": self.pictures(state), "plane": numbers, "stage": stage, "history": history}
        return {key: seen[key] for key in self.observation_space}

    def reward(self, before: State, action: Array, after: State) -> Array:
        closer = rewards.improved(-self.gap_to(before, before.position), -self.gap_to(after, after.position))
        return xp_of(closer).where(self.move(before, action)[1], closer, -1.0)

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.position)
        here, there = normal_of(state.position), normal_of(state.target)
        cosine = xp.clip(xp.sum(here * there, axis=-1), -1.0, 1.0)
        angle = xp.acos(cosine) * (180 / np.pi)
        shift = xp.abs(state.position[:, 3] - state.target[:, 3])
        return {"angle_deg": angle, "distance_mm": shift, "is_success": (angle <= 4) & (shift <= 3)}

    def expert(self, state: State) -> Array:
        xp = xp_of(state.position)
        gaps = []
        for action in range(len(MOVES)):
            moved, inside = self.move(state, xp.full_like(state.stage, action))
            gap = self.gap_to(state, moved)
            gaps.append(xp.where(inside, gap, xp.full_like(gap, xp.inf)))
        return xp.argmin(xp.stack(gaps, axis=-1), axis=-1)

    def move(self, state: State, action: Array) -> tuple[Array, Array]:
        """Where an action leads, (B, 4), and whether that is in range, (B,)."""
        xp = xp_of(state.position)
        table = tuple((a, a, a, s) for a, s in self.steps)
        step = xp.take(const(table, state.position), state.stage, axis=0)
        moved = state.position + xp.take(const(MOVES, state.position), action, axis=0) * step
        return moved, ops.every((moved >= state.low) & (moved <= state.high))

    def gap_to(self, state: State, position: Array) -> Array:
        """How far planes (B, 4) are from the one sought, by their numbers, (B,)."""
        return ops.norm((position - state.target) / const(UNITS, position))

    def pictures(self, state: State) -> Array:
        """The plane and its parallels, (B, slices, w, w) uint8."""
        xp = xp_of(state.position)
        normal = normal_of(state.position)
        first, second = (const(tuple(float(k == a) for k in range(3)), normal) for a in ACROSS[self.axis])
        right = unit(first - xp.sum(first * normal, axis=-1)[:, None] * normal)
        down = second - xp.sum(second * normal, axis=-1)[:, None] * normal
        down = unit(down - xp.sum(down * right, axis=-1)[:, None] * right)
        if self.axis < 2:
            down = -down  # the head is up
        apart = const(tuple((k - self.slices // 2) * self.gap for k in range(self.slices)), normal)
        offset = state.position[:, 3, None] + apart[None, :]
        centre = state.middle[:, None, :] + offset[..., None] * (normal / state.mm)[:, None, :]
        right, down = (way * self.pixel / state.mm for way in (right, down))
        index, right, down = (xp.repeat(x, self.slices, axis=0) for x in (state.image, right, down))
        cuts = plane(self.bank, index, xp.reshape(centre, (-1, 3)), right, down, self.size)
        return xp.reshape(cuts, (-1, self.slices, self.size, self.size))

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        rows = {name: np.asarray(value)[None] for name, value in vars(state).items()}
        now = replace(state, **rows)
        wanted = replace(now, position=now.target)
        pair = [self.pictures(one)[0, self.slices // 2] for one in (now, wanted)]
        canvas, side = Canvas(np.concatenate(pair, axis=1)[None]), self.size
        canvas.box((0, 0, side, side), "agent")
        canvas.box((side, 0, 2 * side, side), "truth")
        return canvas.pixels


def normal_of(position: Array) -> Array:
    """Normals of length 1, (B, 3), of planes (B, 4)."""
    return unit(xp_of(position).cos(position[:, :3] * (np.pi / 180)))


def unit(vector: Array) -> Array:
    """Vectors (B, n) scaled to length 1."""
    return vector / ops.norm(vector)[:, None]


def in_mm(sample: VolumeSample, names: Sequence[str]) -> np.ndarray:
    """(N, 3) points (x, y, z) of a sample, millimetres from the middle of its volume."""
    points = np.array([sample.points[name] for name in names], float)
    return (points - (np.array(sample.volume.shape[:0:-1]) - 1) / 2) * sample.spacing_mm


def spanned(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Normal of length 1, (3,), of the plane through three points (3, 3), and its distance from the origin along it.

    Raises:
        ValueError: they lie on a line.
    """
    normal = np.cross(points[1] - points[0], points[2] - points[0])
    length = np.linalg.norm(normal)
    if length < 1e-6 * max(float(np.abs(points).max()), 1.0) ** 2:
        raise ValueError(f"landmarks must span a plane, these lie on a line: {points.round(2).tolist()}")
    normal = normal / length
    return normal, float(normal @ points[0])
