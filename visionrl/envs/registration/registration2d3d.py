"""Registration of a CT with an X-ray: turn and shift the volume until its render looks like the X-ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Interval, MinLen

from visionrl import rewards
from visionrl.banks.c_arm import (
    CHEST_TONE,
    PLAIN_TONE,
    Geometry,
    c_arm,
    checked_tone,
    detector_films,
    exposed,
)
from visionrl.core import Task, arguments, register
from visionrl.core.observables import Image, Vector
from visionrl.core.results import ScanPose
from visionrl.datasets import VolumeSample, XraySample
from visionrl.envs.registration.align import EASY, MEMORY
from visionrl.envs.registration.controls import make_control, oscillates, remember
from visionrl.envs.registration.overlay import overlay_xray
from visionrl.envs.registration.proposals import PoseGaussNewton
from visionrl.ops import Array, const, transforms, xp_of
from visionrl.ops.transforms import REACH_DEG, REACH_MM, move_pose, pose_in_reach, pose_residual

SHOWN = 4  # poses before this one that the agent is told of
SPREAD = 15.0  # millimetres and degrees of the true poses along and about each axis
HALF = 75.0  # millimetres; scales the 11 steps


@dataclass(frozen=True)
class State:
    """Pose of the CT under the C-arm, and its pose when the X-ray was taken; B episodes.

    Poses take places (x, y, z) of the volume, in millimetres from its middle, to places in the room, whose origin the
    C-arm turns about.

    Attributes:
        image: (B,) int64, index of the volume.
        xray: (B, views, size, size) uint8, taken once an episode.
        target: (B, 3, 4) float64, the true pose; NaN where it is unknown.
        pose: (B, 3, 4) float64, the pose now.
        trail: (B, 20, 3, 4) float64, poses before this one, newest last; NaN before the start.
        start_error: (B,) float64, mean target registration error at the start, millimetres.
        proposals: (B, F, 8) float64, what ``PoseGaussNewton`` proposes now; (B, 0) for other controls.
        finished: (B,) bool, the volume rests.
    """

    image: Array
    xray: Array
    target: Array
    pose: Array
    trail: Array
    start_error: Array
    proposals: Array
    finished: Array


@register(
    "Registration2D3D-v0",
    max_steps=100,
    tags=("registration", "2d", "3d", "discrete", "continuous"),
    presets={"gauss_newton": {"control": "gauss_newton"}},
)
@arguments
class Registration2D3D(Task[State]):
    """The agent moves a CT under a rendered C-arm until what it renders looks like an X-ray of the same body.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``xray`` (views, s, s) uint8; ``render`` (views, s, s) uint8: the volume as it lies now; ``pose`` (6,) in [-1, 1]: shifts and turns now, shares of 80 mm and 45 degrees; ``history`` (24,) in [-1, 1]: the way from each of the last 4 poses to this one, shares of the same; with "gauss_newton" also ``proposals`` (2 * 8,) float32: for each of two scales, coarse first, the six numbers of the motion that least squares propose, in ``max_step``, and the shares of the variance that is explained without and with it |
    | Action      | "steps": one of 11 steps, coarse to fine, for each number at once: shift along x, y, z (0.25 to 20 mm to either side, or none) and turn about x, y, z (0.2 to 15 degrees); "unit": Discrete(12), see below; or "continuous"; or "gauss_newton": six numbers as in "continuous", then two: the proposal of the scale whose number is larger is made, if that is above 0, else the six |
    | Reward      | mean target registration error gained, in multiples of ``success_radius`` |
    | Ends        | when the agent rests or oscillates: the pose is, to a quarter of a millimetre or degree, 3 or more of the 20 before the last one; so the fifth equal pose ends an episode at rest, the fourth one that goes to and fro |

    | Action | Meaning of an action of control "unit" |
    |--------|---------|
    | 0 | increase x shift, by 1 millimetre |
    | 1 | decrease x shift, by 1 millimetre |
    | 2 | increase y shift, by 1 millimetre |
    | 3 | decrease y shift, by 1 millimetre |
    | 4 | increase z shift, by 1 millimetre |
    | 5 | decrease z shift, by 1 millimetre |
    | 6 | increase turn about x, by 1 degree |
    | 7 | decrease turn about x, by 1 degree |
    | 8 | increase turn about y, by 1 degree |
    | 9 | decrease turn about y, by 1 degree |
    | 10 | increase turn about z, by 1 degree |
    | 11 | decrease turn about z, by 1 degree |

    Axes are those of the room: x to the patient's left, y to the back, z to the head; the volume turns about its
    middle. A move beyond 80 mm or 45 degrees is not made. Each step renders the volume along the rays of a cone beam:
    see ``visionrl.ops.radiograph``. The X-ray is a render of the true pose with a contrast, brightness, heel effect,
    blur and noise of its own. ``info`` has ``mtre_mm``, the mean distance of the fiducials from where they truly are,
    ``mtre_start_mm``, and ``reprojection_mm``, their mean distance from the rays through where they truly are, which
    leaves out what one view can hardly tell: the depth. An episode succeeds below 5 mm of the first.

    Without labels the X-rays are real: samples are ``XraySample``, a CT with a picture of each of the ``views``, which is
    taken to show the whole detector, ``size * pixel_mm`` millimetres wide, from a C-arm of ``source_mm`` and
    ``detector_mm``, with dense things white; it is scaled to ``size``. The scan's middle starts at the origin, unturned.
    X-rays must be cropped or padded to the field of the agent's training; of another distance, or of a detector that is
    not at right angles to its beam, they cannot be registered. Scatter and distortion are not simulated.

    Source: Miao et al. (2018), "Dilated FCN for multi-agent 2D/3D medical image registration", for the task; there
    many agents with steps of 1 mm and 1 degree. The 11 steps are of Bauer et al. (2021), "ReAgent". Lucas & Kanade
    (1981) for "gauss_newton".
    """

    control: Literal["steps", "unit", "continuous", "gauss_newton"] = "steps"
    """"steps" changes each number by one of 11 steps, "unit" one number by 1, "continuous" each by up to
    ``max_step``; "gauss_newton" offers also the motions that a Gauss-Newton step proposes, for which each step makes
    seven renders more."""
    max_step: Annotated[float, Ge(0.5)] = 10.0
    """Largest continuous move and proposal, millimetres and degrees."""
    views: Annotated[Sequence[float], MinLen(1)] = (0.0,)
    """Angles of the C-arm, degrees, one a picture: 0 from behind, 90 from the patient's left."""
    offset: tuple[
        Annotated[float, Interval(ge=0.0, le=REACH_MM - SPREAD)], Annotated[float, Interval(ge=0.0, le=15.0)]
    ] = (20.0, 10.0)
    """Largest random shift of the start along each axis, millimetres, and turn about each axis, degrees."""
    intensity_jitter: Annotated[float, Ge(0.0)] = 1.0
    """How much X-rays differ from renders in contrast, brightness, blur and noise; 0 not at all."""
    success_radius: Annotated[float, Ge(0.01)] = 5.0
    """An episode succeeds below this mean target registration error, millimetres."""
    size: Annotated[int, Ge(16)] = 64
    """Pixels along each side of the detector, 32 or more with "gauss_newton"."""
    pixel_mm: Annotated[float, Ge(0.01)] = 6.4
    """Side of the detector's pixels, millimetres."""
    source_mm: Annotated[float, Ge(400.0)] = 700.0
    """Distance from the source to the origin, millimetres."""
    detector_mm: Annotated[float, Ge(0.0)] = 300.0
    """Distance from the origin to the detector, millimetres."""
    spacing_mm: Annotated[float, Ge(0.1)] = 5.0
    """Side of the cubic voxels held, millimetres."""
    tone: Sequence[Sequence[float]] | None = None
    """Knots (intensity, attenuation; 1 is water's) that turn voxels into attenuation; None is the embedded set's own,
    and a straight line from 0 to 2 for other data."""

    sample_type, embedded, primary_metric = VolumeSample, "chest-ct-volumes", ("mtre_mm", False)
    unlabelled_type = XraySample
    difficulty = 1.0

    def setup(self) -> None:
        if self.control == "gauss_newton" and self.size < 32:
            raise ValueError(f"size must be >= 32 with control 'gauss_newton', got {self.size}")
        self.samples = self.load() if self.labelled else self.load(kind=XraySample)
        self.items = len(self.samples)
        plain = CHEST_TONE if self.data in (None, self.embedded) else PLAIN_TONE
        tone = plain if self.tone is None else checked_tone(self.tone)
        geometry = Geometry(self.source_mm, self.detector_mm, self.pixel_mm, self.size, tuple(self.views))
        self.bank = c_arm(self.samples, geometry, self.spacing_mm, tone)
        self.proposer = PoseGaussNewton(self.bank, self.max_step)
        self.moves = make_control(self.control, "rigid", 3, self.max_step, HALF, self.proposer)
        self.spread = np.repeat(self.offset, 3)
        self.films = [] if self.labelled else detector_films(self.samples, len(self.views), self.size)
        picture = Image(len(self.views), self.size)
        self.show(
            xray=picture,
            render=picture,
            pose=Vector(6),
            history=Vector(SHOWN * 6),
            proposals=self.moves.proposals,
        )
        self.action_space = self.moves.space

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        image, share = np.array([item]), EASY + (1 - EASY) * self.difficulty
        if self.labelled:
            target = transforms.to_matrix(rng.uniform(-SPREAD, SPREAD, (1, 6)), "rigid", 3)
            pose = move_pose(target, rng.uniform(-1, 1, (1, 6)) * self.spread * share)
            xray = exposed(rng, self.bank.thickness(image, target)[0], self.intensity_jitter)
        else:
            target, pose, xray = np.full((1, 3, 4), np.nan), np.eye(3, 4)[None], self.films[item]
        return State(
            image=np.int64(item),
            xray=xray,
            target=target[0],
            pose=pose[0],
            trail=np.full((MEMORY, 3, 4), np.nan),
            start_error=self.bank.error(image, pose, target)[0],
            proposals=self.moves.propose(image, xray[None], pose)[0],
            finished=np.False_,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        pose = move_pose(state.pose, self.moves.motion(action, state.proposals))
        pose = xp_of(pose).where(pose_in_reach(pose)[:, None, None], pose, state.pose)
        return replace(
            state,
            pose=pose,
            trail=remember(state.trail, state.pose),
            proposals=self.moves.propose(state.image, state.xray, pose),
            finished=oscillates(pose, state.trail),
        )

    def observe(self, state: State) -> dict[str, Array]:
        xp, rows = xp_of(state.pose), state.pose.shape[0]
        limits = const((REACH_MM,) * 3 + (REACH_DEG,) * 3, state.pose)
        ways = []
        for number in range(MEMORY - SHOWN, MEMORY):
            way = pose_residual(state.trail[:, number, ...], state.pose) / limits
            ways.append(xp.where(xp.isnan(way), 0.0, way))
        pose = transforms.to_numbers(state.pose, "rigid") / limits
        history = xp.reshape(xp.stack(ways, axis=1), (rows, -1))
        return self.seen(
            xray=xp.asarray(state.xray, copy=True),
            render=self.bank.renders(state.image, state.pose),
            pose=xp.clip(pose, -1.0, 1.0),
            history=xp.clip(history, -1.0, 1.0),
            proposals=state.proposals,
        )

    def reward(self, before: State, action: Array, after: State) -> Array:
        first, last = (self.bank.error(state.image, state.pose, state.target) for state in (before, after))
        return rewards.progress(first, last, scale=self.success_radius)

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        poses = state.image, state.pose, state.target
        error, start = self.bank.error(*poses), state.start_error + 0.0
        found = {"mtre_mm": error, "mtre_start_mm": start, "is_success": error < self.success_radius}
        return {**found, "reprojection_mm": self.bank.reprojection_error(*poses)}

    def expert(self, state: State) -> Array:
        quality = self.moves.quality(state.proposals, state.image, state.pose, state.target)
        return self.moves.toward(pose_residual(state.pose, state.target), quality)

    # -- edge ------------------------------------------------------------------------------------------------------
    def result(self, state: State) -> ScanPose:
        pose, scan = state.pose[None], self.samples[int(state.image)]
        shown = self.bank.renders(state.image[None], pose)[0]
        return ScanPose.of(transforms.to_numbers(pose, "rigid")[0], pose[0], scan, shown)

    def draw(self, state: State) -> np.ndarray:
        image, pose = np.asarray(state.image)[None], np.asarray(state.pose)[None]
        now = self.bank.renders(image, pose)[0]
        return overlay_xray(self.bank, int(state.image), (state.xray, now), (state.target, state.pose))
