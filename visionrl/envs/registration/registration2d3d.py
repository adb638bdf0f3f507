"""Registration of a CT with an X-ray: turn and shift the volume until its render looks like the X-ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from visionrl import ops, rewards
from visionrl.banks.c_arm import CHEST_TONE, PLAIN_TONE, Geometry, c_arm, exposed
from visionrl.core import Task, check_choice, check_range, register
from visionrl.datasets import VolumeSample, load
from visionrl.envs.registration.controls import (
    CONTROLS,
    Controls,
    encode_proposals,
    proposal_quality,
    rests,
    select_proposal,
)
from visionrl.envs.registration.proposals import PoseGaussNewton
from visionrl.ops import Array, const, transforms, xp_of
from visionrl.ops.transforms import REACH_DEG, REACH_MM, move_pose, pose_in_reach, pose_residual
from visionrl.rendering import Canvas

MEMORY = 20  # steps that are looked back on for rest
SHOWN = 4  # of them the agent is told
SPREAD = 15.0  # millimetres and degrees of the true poses along and about each axis
HALF = 75.0  # millimetres; scales the 11 steps
EASY = 0.1  # share of the offsets at difficulty 0
CLOSE_MM = 1.0  # error within which the expert trusts proposals


@dataclass(frozen=True)
class State:
    """How the CT lies under the C-arm, and how it lay when the X-ray was taken; B episodes.

    Poses take places (x, y, z) of the volume, in millimetres from its middle, to places in the room, whose origin the
    C-arm turns about.

    Attributes:
        image: (B,) int64, index of the volume.
        xray: (B, views, size, size) uint8, taken once an episode.
        target: (B, 3, 4) float64, the true pose.
        pose: (B, 3, 4) float64, the pose now.
        trail: (B, 20, 3, 4) float64, poses before this one, newest last; NaN before the start.
        first: (B,) float64, mean target registration error at the start, millimetres.
        fits: (B, F, 8) float64, what ``proposals.PoseGaussNewton`` propose now; (B, 0) without control "fits".
        finished: (B,) bool, the volume rests.
    """

    image: Array
    xray: Array
    target: Array
    pose: Array
    trail: Array
    first: Array
    fits: Array
    finished: Array


@register(
    "Registration2D3D-v0",
    max_steps=100,
    tags=("registration", "2d", "3d", "discrete", "continuous"),
    presets={"fits": {"control": "fits"}},
)
class Registration2D3D(Task[State]):
    """The agent moves a CT under a rendered C-arm until what it renders looks like an X-ray of the same body.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``xray`` (views, s, s) uint8; ``render`` (views, s, s) uint8: the volume as it lies now; ``pose`` (6,) in [-1, 1]: shifts and turns now, shares of 80 mm and 45 degrees; ``history`` (24,) in [-1, 1]: the way from each of the last 4 poses to this one, shares of the same; with "fits" also ``fits`` (2 * 8,) float32: for each of two scales, coarse first, the six numbers of the motion that least squares propose, in ``step``, and the shares of the variance that is explained without and with it |
    | Action      | "steps": one of 11 steps, coarse to fine, for each number at once: shift along x, y, z (0.25 to 20 mm to either side, or none) and turn about x, y, z (0.2 to 15 degrees); "unit": 2k + 0 / 1 one millimetre or degree more / less of number k; or "continuous"; or "fits": six numbers as in "continuous", then two: the proposal of the scale whose number is larger is made, if that is above 0, else the six |
    | Reward      | mean target registration error gained, in multiples of ``radius`` |
    | Ends        | when the agent rests: it is for the 4th time in 20 steps where it was, to a quarter of a millimetre or degree |

    Axes are those of the room: x to the patient's left, y to the back, z to the head; the volume turns about its middle.
    A move beyond 80 mm or 45 degrees is not made. Each step renders the volume along the rays of a cone beam: see
    ``visionrl.ops.radiograph``. The X-ray is a render of the true pose with a contrast, brightness, heel effect, blur
    and noise of its own. ``info`` has ``mtre_mm``, the mean distance of the fiducials from where they truly are,
    ``mtre_start_mm``, and ``reprojection_mm``, their mean distance from the rays through where they truly are, which
    leaves out what one view can hardly tell: the depth. An episode succeeds below 5 mm of the first.

    Args:
        data: None for the embedded chest CT, "FORMAT:PATH", or a sequence of ``VolumeSample``. Their points are the
            fiducials; without any, 27 places on a lattice are.
        split: "train", "val" or "test".
        control: "steps", "unit", "continuous": every number by up to ``step``; or "fits": this, or one of the motions
            that a Gauss-Newton step proposes, for which each step makes seven renders more.
        step: largest continuous move and proposal, millimetres and degrees.
        views: degrees by which the C-arm is turned, one a picture: 0 from behind, 90 from the patient's left.
        offset_mm: largest random shift of the start along each axis.
        offset_deg: largest random turn of it about each axis.
        change: how much X-rays differ from renders; 0 not at all.
        radius: an episode succeeds below this error, millimetres.
        size: pixels along each side of the detector, 32 or more with "fits".
        pixel_mm: side of its pixels.
        source_mm: from the source to the origin.
        detector_mm: from the origin to the detector.
        spacing: side of the voxels held, millimetres.
        tone: knots (grey level, attenuation; 1 is water's) that turn voxels into attenuation; None is the embedded
            set's own, and a straight line from 0 to 2 for other data.
        loading: ``split_file``, ``split_ratios``, ``split_seed``; see ``visionrl.datasets.load``.

    Source: Miao et al. (2018), "Dilated FCN for multi-agent 2D/3D medical image registration", for the task; there many
    agents with steps of 1 mm and 1 degree. The 11 steps are of Bauer et al. (2021), "ReAgent". Lucas & Kanade (1981) for "fits".
    """

    primary_metric = ("mtre_mm", False)
    difficulty: float = 1.0

    def __init__(
        self,
        data: Any = None,
        split: str = "train",
        control: Literal["steps", "unit", "continuous", "fits"] = "steps",
        step: float = 10.0,
        views: Sequence[float] = (0.0,),
        offset_mm: float = 20.0,
        offset_deg: float = 10.0,
        change: float = 1.0,
        radius: float = 5.0,
        size: int = 64,
        pixel_mm: float = 6.4,
        source_mm: float = 700.0,
        detector_mm: float = 300.0,
        spacing: float = 5.0,
        tone: Sequence[Sequence[float]] | None = None,
        **loading: Any,
    ) -> None:
        check_choice("control", control, (*CONTROLS, "fits"))
        for name, number, low in (
            *(("step", step, 0.5), ("change", change, 0.0), ("radius", radius, 0.01)),
            *(("pixel_mm", pixel_mm, 0.01), ("source_mm", source_mm, 400.0), ("spacing", spacing, 0.1)),
            ("detector_mm", detector_mm, 0.0),
        ):
            check_range(name, number, low)
        check_range("offset_mm", offset_mm, 0.0, REACH_MM - SPREAD)
        check_range("offset_deg", offset_deg, 0.0, 15.0)
        check_range("size", size, 32 if control == "fits" else 16)
        check_views(views)
        self.samples = load(data, kind=VolumeSample, default="chest-ct-volumes", split=split, **loading)
        if tone is None:
            tone = CHEST_TONE if data in (None, "chest-ct-volumes") else PLAIN_TONE
        geometry = Geometry(source_mm, detector_mm, pixel_mm, size, tuple(map(float, views)))
        self.bank = c_arm(self.samples, geometry, spacing, checked_tone(tone))
        self.items, self.change, self.radius = len(self.samples), change, radius
        self.controls = Controls("continuous" if control == "fits" else control, "rigid", 3, step, HALF)
        self.proposer = PoseGaussNewton(self.bank, step)
        self.offset = np.array([offset_mm] * 3 + [offset_deg] * 3)
        self.proposes = control == "fits"
        if self.proposes:
            self.clone_action_values = False  # each action that is tried means seven renders
        self.set_spaces()

    def set_spaces(self) -> None:
        """What an agent is shown, and what it can do."""
        geometry = self.bank.geometry
        picture = spaces.Box(0, 255, (len(geometry.views), geometry.size, geometry.size), np.uint8)
        boxes: dict[str, spaces.Space] = {
            "xray": picture,
            "render": picture,
            "pose": spaces.Box(-1, 1, (6,), np.float32),
            "history": spaces.Box(-1, 1, (SHOWN * 6,), np.float32),
        }
        self.action_space = self.controls.space
        if self.proposes:
            boxes["fits"] = spaces.Box(-1, 1, (self.proposer.size,), np.float32)
            self.action_space = spaces.Box(-1, 1, (6 + self.proposer.count,), np.float32)
        self.observation_space = spaces.Dict(boxes)

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        share = EASY + (1 - EASY) * self.difficulty
        target = transforms.to_matrix(rng.uniform(-SPREAD, SPREAD, (1, 6)), "rigid", 3)
        pose = move_pose(target, rng.uniform(-1, 1, (1, 6)) * self.offset * share)
        image = np.array([item])
        xray = exposed(rng, self.bank.thickness(image, target)[0], self.change)
        return State(
            image=np.int64(item),
            xray=xray,
            target=target[0],
            pose=pose[0],
            trail=np.full((MEMORY, 3, 4), np.nan),
            first=self.error(image, pose, target)[0],
            fits=self.proposed(image, xray[None], pose)[0],
            finished=np.False_,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.pose)
        motion = self.controls.motion(action[:, :6] if self.proposes else action, state.pose)
        if self.proposes:
            motion = select_proposal(action[:, 6:], motion, state.fits)
        pose = move_pose(state.pose, motion)
        pose = xp.where(pose_in_reach(pose)[:, None, None], pose, state.pose)
        trail = xp.concat([state.trail[:, 1:, ...], state.pose[:, None, ...]], axis=1)
        fits = self.proposed(state.image, state.xray, pose)
        return replace(state, pose=pose, trail=trail, fits=fits, finished=rests(pose, state.trail))

    def observe(self, state: State) -> dict[str, Array]:
        xp, rows = xp_of(state.pose), state.pose.shape[0]
        limits = const((REACH_MM,) * 3 + (REACH_DEG,) * 3, state.pose)
        ways = []
        for number in range(MEMORY - SHOWN, MEMORY):
            way = pose_residual(state.trail[:, number, ...], state.pose) / limits
            ways.append(xp.where(xp.isnan(way), 0.0, way))
        numbers = {
            "pose": transforms.to_numbers(state.pose, "rigid") / limits,
            "history": xp.reshape(xp.stack(ways, axis=1), (rows, -1)),
        }
        seen = {
            "xray": xp.asarray(state.xray, copy=True),
            "render": self.bank.renders(state.image, state.pose),
            **{key: xp.astype(xp.clip(value, -1.0, 1.0), xp.float32) for key, value in numbers.items()},
        }
        return seen | {"fits": encode_proposals(state.fits, self.proposer.largest)} if self.proposes else seen

    def reward(self, before: State, action: Array, after: State) -> Array:
        first, last = (self.error(state.image, state.pose, state.target) for state in (before, after))
        return rewards.progress(first, last, scale=self.radius)

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        error = self.error(state.image, state.pose, state.target)
        points, weights = self.bank.fiducials(state.image)
        there, here = (transforms.carry(pose, points) for pose in (state.target, state.pose))
        return {
            "mtre_mm": error,
            "mtre_start_mm": state.first + 0.0,
            "reprojection_mm": xp_of(error).sum(weights * self.bank.reprojection(there, here), axis=-1),
            "is_success": error < self.radius,
        }

    def expert(self, state: State) -> Array:
        own = self.controls.towards(pose_residual(state.pose, state.target))
        if not self.proposes:
            return own
        xp, (pose, target) = xp_of(own), (state.pose, state.target)
        ends = [move_pose(pose, state.fits[:, look, :6]) for look in range(self.proposer.count)]
        after = xp.stack([self.error(state.image, end, target) for end in ends], axis=-1)
        return xp.concat(
            [own, proposal_quality(self.error(state.image, pose, target), after, CLOSE_MM)], axis=1
        )

    def proposed(self, image: Array, xray: Array, pose: Array) -> Array:
        """What the fits propose, see ``State``."""
        return (
            self.proposer.made(image, xray, pose) if self.proposes else xp_of(pose).zeros_like(pose[:, 0, :0])
        )

    def error(self, image: Array, pose: Array, target: Array) -> Array:
        """Mean target registration error, (B,) millimetres."""
        points, weights = self.bank.fiducials(image)
        gaps = ops.norm(transforms.carry(pose, points) - transforms.carry(target, points))
        return xp_of(pose).sum(weights * gaps, axis=-1)

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        image, pose = np.asarray(state.image)[None], np.asarray(state.pose)[None]
        now = self.bank.renders(image, pose)[0]
        wide = np.concatenate([chequered(*pair) for pair in zip(state.xray, now, strict=True)], axis=1)
        side = self.bank.geometry.size
        canvas = Canvas(np.concatenate([wide, np.concatenate(list(state.xray), axis=1)], axis=1)[None])
        points = self.bank.points.array[int(state.image)][self.bank.weights.array[int(state.image)] > 0]
        for view in range(len(state.xray)):
            left = (len(state.xray) + view) * side + 0.5
            for matrix, meaning in ((state.target, "truth"), (state.pose, "agent")):
                places = self.bank.geometry.project(view, transforms.carry(matrix[None], points[None])[0])
                for place in places[((places >= 0) & (places <= side - 1)).all(axis=1)]:
                    canvas.cross(place + np.array([left, 0.5]), meaning)
        return canvas.pixels


def chequered(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(size, size) uint8, two pictures in the squares of a chequerboard."""
    y, x = np.indices(first.shape) // max(len(first) // 6, 1)
    return np.where((x + y) % 2 == 0, first, second)


def check_views(views: Sequence[float]) -> None:
    """Refuse what are no angles.

    Raises:
        ValueError: there is none, or one is not finite.
    """
    if isinstance(views, str) or not len(views) or not np.isfinite(np.asarray(views, float)).all():
        raise ValueError(f"views must be one angle or more, degrees, got {views!r}")


def checked_tone(tone: Sequence[Sequence[float]]) -> tuple[tuple[float, float], ...]:
    """Knots (grey level, attenuation).

    Raises:
        ValueError: there are fewer than two, grey levels do not rise, or an attenuation is negative.
    """
    knots = np.asarray(tone, float)
    good = knots.ndim == 2 and knots.shape[1:] == (2,) and len(knots) > 1 and np.isfinite(knots).all()
    if not good or (np.diff(knots[:, 0]) <= 0).any() or (knots[:, 1] < 0).any():
        raise ValueError(
            f"tone must be two knots (grey level, attenuation >= 0) or more, grey levels rising, got {tone!r}"
        )
    return tuple((float(grey), float(value)) for grey, value in knots)
