"""Active pose estimation: look through one more camera, or say that the triangulated pose is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge
from gymnasium import spaces

from visionrl import ops
from visionrl.banks.views import view_bank
from visionrl.core import arguments, register
from visionrl.core.observables import Vector
from visionrl.core.results import PoseInSpace
from visionrl.datasets import ViewSample
from visionrl.envs.pose.view_features import CONTEXT, FEATURES, describe_pose, describe_views, outlook
from visionrl.envs.pose.view_picture import draw_views
from visionrl.envs.select import Select, Selection
from visionrl.ops import Array, xp_of
from visionrl.ops.triangulation import information, spread_of, triangulate

AZIMUTHS, ELEVATIONS = 9, 5  # bins of the canvas of cameras
GARTNER = {"reward_type": "share", "shows": "canvas", "view_cost": 0.0625, "repeat_cost": 2.5, "budget": 10}


@dataclass(frozen=True)
class State(Selection):
    """Cameras looked through, in ``taken``, -1 beyond, and the pose that they give; B episodes, V cameras, J points.

    Places are in the frame of the scene: radii from its middle, the third axis up; see ``ops.triangulation``.

    Attributes:
        capture: (B,) int64, number of the capture.
        points: (B, J, 3) float64, true places; NaN where unknown.
        places: (B, V, J, 2) float64, detections in all pictures, pixels; the agent knows those of cameras it has seen.
        scores: (B, V, J) float64, of the detections; 0 where there is none.
        pose: (B, J, 3) float64, the triangulated points.
        fit: (B, V, J) float64, weights of the detections at the end of the triangulation.
        error: (B,) float64, mean distance of the points from their true places, millimetres; NaN where unknown.
        start_error: (B,) float64, of the first pose.
        finished: (B,) bool, whether the agent has said that it is done, or the budget is spent.
    """

    capture: Array
    points: Array
    places: Array
    scores: Array
    pose: Array
    fit: Array
    error: Array
    start_error: Array
    finished: Array


@register(
    "ViewSelection-v0",
    max_steps=None,
    tags=("pose", "3d", "discrete", "selection"),
    presets={"gartner2020": GARTNER},
    # the detector may be wrong in the best cameras, too; with the paper's costs the oracle stops early
    expert_success_rate={None: 0.75, "gartner2020": 0.2},
)
@arguments
class ViewSelection(Select[State]):
    """The agent looks at a body through one calibrated camera after another, until its points are well known in space.

    | Item        | Value |
    |-------------|-------|
    | Observation | "candidates": ``candidates`` (V + 1, 12): of each camera, by the pose so far, how much more certain the points would be, how many should be in the picture and not behind others, how near its direction is to those seen; of the end, in the last row, whether it is allowed; ``context`` (7,): share of the budget, uncertainty of the points, how well detections fit. "canvas": ``canvas`` (45,): the seen cameras by azimuth and elevation about the body; ``pose`` (J * 3,) from its middle, shares of its size; ``spread`` (J,): the logarithm of each point's standard deviation; ``scores`` (J,): the mean of the detector's; ``step``: share of the budget |
    | Action      | Discrete(V + 1), see below |
    | Reward      | "log": the logarithm of the share by which the mean error of the points falls, so that halving it is always worth the same; "share": the error gained, in shares of the first error (Gärtner et al., 2020, at the end; here at every step); less ``view_cost`` for each look and ``repeat_cost`` for one that shows nothing new |
    | Ends        | when the agent says that it is done, or after ``budget`` cameras |

    | Action | Meaning |
    |--------|---------|
    | 0 to V - 1 | look through this camera |
    | V | done; before ``least`` cameras it is a look that shows nothing |

    The first camera is chosen at random. After each look the points are triangulated from all detections in the cameras
    seen, robustly; see ``visionrl.ops.triangulation``. Detections come with the data. Where there are true points alone,
    a made-up detector finds them anew in each episode, with errors that are larger where a limb hides a joint
    (``visionrl.banks.joint_detector``), and the body is turned at random about the upright line through its own middle.
    ``info`` has ``error_mm``, the mean distance of the points whose places are known,
    ``pck`` (share of them within ``pck_mm``) and ``views``, cameras looked through; one seen twice counts twice. An
    episode succeeds below ``success_mm``.

    Source: Gärtner et al. (2020), "Deep reinforcement learning for active human pose estimation", with a network for poses
    in single images, and learning from its features, in the place of detections.
    """

    target: str | Sequence[str] | None = None
    """Names of the points used, in their order; None uses all."""
    cameras: str | None = None
    """Beginning of the names of the cameras used, such as "00_"; None uses all."""
    offered: Annotated[int, Ge(2)] | None = None
    """Number of cameras to choose from, V; None: as many as the largest capture has. Smaller captures offer fewer."""
    budget: Annotated[int, Ge(2)] = 8
    """Most cameras, the first among them; a capture with fewer has no more to show."""
    least: Annotated[int, Ge(1)] = 2
    """Fewest cameras before the agent may be done; with ``budget`` alike, an episode always has as many."""
    reward_type: Literal["log", "share"] = "log"
    """What is rewarded: the logarithm of the error, or the error in shares of the first."""
    view_cost: Annotated[float, Ge(0.0)] = 0.05
    """Cost of a look; with "log" one is worth while that lowers the error by this share or more."""
    repeat_cost: Annotated[float, Ge(0.0)] = 0.0
    """Cost of a look that shows nothing new, beside that of a look; the mask forbids such looks."""
    shows: Literal["candidates", "canvas"] = "candidates"
    """What the agent sees: a description of each camera to choose from, or where it has looked and the pose itself."""
    success_mm: Annotated[float, Ge(0.0)] = 10.0
    """An episode succeeds below this mean error, millimetres."""
    pck_mm: Annotated[float, Ge(0.0)] = 50.0
    """A point is right within this distance, millimetres."""

    sample_type, embedded, primary_metric = ViewSample, "c-arm-views", ("error_mm", False)
    hidden = ("points", "error", "start_error")

    def setup(self) -> None:
        if self.least > self.budget:
            raise ValueError(f"least must be <= budget ({self.budget}), got {self.least}")
        held = self.load()
        used = tuple(self.used(sample) for sample in held)
        self.samples = held if all(a is b for a, b in zip(held, used, strict=True)) else used
        names = self.samples[0].joint_names
        for sample in self.samples:
            if sample.joint_names != names:
                raise ValueError(
                    f"joint_names must be the same in all samples, {sample.name!r} has {sample.joint_names}"
                )
            if (sample.points is None and self.labelled) or (sample.detections is None and not self.labelled):
                need = "points" if self.labelled else "detections"
                raise ValueError(f"samples must have {need}, {sample.name!r} has none")
        largest = max(len(sample.cameras) for sample in self.samples)
        self.count = self.offered or largest
        if largest > self.count:
            raise ValueError(f"offered must be >= the cameras of a capture ({largest}), got {self.count}")
        self.bank = view_bank(self.samples, self.count)
        self.names, self.items, joints = tuple(names), len(self.samples), len(names)
        self.action_space = spaces.Discrete(self.count + 1)
        told = self.shows == "candidates"
        self.show(
            candidates=Vector((self.count + 1, FEATURES), -5, 5) if told else None,
            context=Vector(CONTEXT, -5, 5) if told else None,
            canvas=None if told else Vector(AZIMUTHS * ELEVATIONS, 0),
            pose=None if told else Vector(joints * 3, -5, 5),
            spread=None if told else Vector(joints, -10, 10),
            scores=None if told else Vector(joints, 0),
            step=None if told else Vector(1, 0),
        )

    def used(self, sample: ViewSample) -> ViewSample:
        """A sample with the cameras and points that are used.

        Raises:
            ValueError: it lacks a point, or has fewer than two of the cameras.
        """
        rows = np.arange(len(sample.joint_names))
        if self.target is not None:
            wanted = (self.target,) if isinstance(self.target, str) else tuple(self.target)
            if lost := [name for name in wanted if name not in sample.joint_names]:
                known = ", ".join(sample.joint_names)
                raise ValueError(f"target must be among {known} of {sample.name!r}, got {', '.join(lost)}")
            if len(set(wanted)) < len(wanted) or not wanted:
                raise ValueError(f"target must name each point once, got {', '.join(wanted)}")
            rows = np.array([sample.joint_names.index(name) for name in wanted])
        views = [k for k, name in enumerate(sample.camera_names) if name.startswith(self.cameras or "")]
        if len(views) < 2:
            raise ValueError(
                f"cameras must be the beginning of two names or more of {sample.name!r}, got {self.cameras!r}"
            )
        if self.target is None and len(views) == len(sample.cameras):
            return sample
        place = {int(row): number for number, row in enumerate(rows)}
        links = [
            (place[a], place[b]) for a, b in np.asarray(sample.links).tolist() if a in place and b in place
        ]
        return replace(
            sample,
            cameras=sample.cameras[views],
            joint_names=tuple(sample.joint_names[row] for row in rows.tolist()),
            detections=None if sample.detections is None else sample.detections[views][:, rows],
            scores=None if sample.scores is None else sample.scores[views][:, rows],
            points=None if sample.points is None else sample.points[rows],
            resolution=sample.resolution[views],
            camera_names=tuple(sample.camera_names[view] for view in views),
            links=np.array(links, np.int64).reshape(-1, 2),
        )

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"offered": self.count, "target": list(self.names)}

    def source_of(self, item: int, start: State) -> int:
        return int(start.capture)

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        capture = np.array([item])
        points = self.bank.points[item]
        if self.labelled and self.samples[item].detections is None:
            points = self.bank.turned(rng, item)
        points = points if self.labelled else np.full_like(points, np.nan)
        places, scores = self.bank.detections(rng, item, points)
        first = int(rng.integers(len(self.samples[item].cameras)))
        taken = np.full((1, self.longest), -1)
        taken[0, 0] = first
        pose, fit = self.solved(capture, taken, places[None], scores[None])
        error = self.error_of(capture, points[None], pose)[0]
        return State(
            taken=taken[0],
            step=np.int64(1),
            capture=np.int64(item),
            points=points,
            places=places,
            scores=scores,
            pose=pose[0],
            fit=fit[0],
            error=error,
            start_error=error,
            finished=np.False_,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    @property
    def longest(self) -> int:
        """Most cameras of an episode."""
        return self.budget

    def looked(self, taken: Array) -> Array:
        """(B, V) bool, the cameras seen."""
        xp = xp_of(taken)
        views = xp.arange(self.count, dtype=xp.int64, device=taken.device)
        return xp.any(taken[:, :, None] == views[None, None, :], axis=1)

    def solved(self, capture: Array, taken: Array, places: Array, scores: Array) -> tuple[Array, Array]:
        """The points (B, J, 3) from the cameras taken, and the weights of the detections (B, V, J)."""
        seen = xp_of(scores).astype(self.looked(taken), scores.dtype)
        weights = scores * seen[:, :, None]
        return triangulate(self.bank.cameras.rows(capture), places, weights, self.bank.scales.rows(capture))

    def error_of(self, capture: Array, points: Array, pose: Array) -> Array:
        """(B,), mean distance of the points whose places are known, millimetres."""
        xp = xp_of(pose)
        known = ~xp.isnan(points[..., 0])
        gap = xp.where(
            known, ops.norm(xp.where(known[..., None], points, pose) - pose), xp.zeros_like(pose[..., 0])
        )
        count = xp.sum(xp.astype(known, gap.dtype), axis=1)
        count = xp.where(count > 0, count, xp.full_like(count, xp.nan))
        return self.bank.radii.rows(capture) * xp.sum(gap, axis=1) / count

    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.pose)
        action, view = (
            xp.astype(action, xp.int64),
            xp.minimum(xp.astype(action, xp.int64), xp.full_like(state.step, self.count - 1)),
        )
        done = (action == self.count) & self.action_mask(state)[:, -1]
        looks = ~state.finished & ~done & (action < self.count)
        looks = looks & xp.take_along_axis(self.bank.real.rows(state.capture), view[:, None], axis=1)[:, 0]
        taken = xp.where(looks[:, None], self.take(state, view), state.taken)
        step = state.step + xp.astype(~state.finished & ~done, xp.int64)
        pose, fit = self.solved(state.capture, taken, state.places, state.scores)
        return replace(
            state,
            taken=taken,
            step=step,
            pose=pose,
            fit=fit,
            error=self.error_of(state.capture, state.points, pose),
            finished=state.finished | done | (step >= self.budget),
        )

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.pose)
        seen, share = self.looked(state.taken), xp.astype(state.step, xp.float64) / self.budget
        if self.shows == "canvas":
            return self.canvas(state, seen, share)
        found = self.outlook(state)
        mask = self.action_mask(state)
        ways = self.ways(state)
        return self.seen(
            candidates=describe_views(found, ways, seen, mask[:, :-1], mask[:, -1]),
            context=describe_pose(found["spread"], state.scores, state.fit, seen, share),
        )

    def canvas(self, state: State, seen: Array, share: Array) -> dict[str, Array]:
        """The observation of ``shows`` "canvas"."""
        xp = xp_of(state.pose)
        ways = self.ways(state)
        turn = xp.atan2(ways[..., 1], ways[..., 0]) / (2 * np.pi) + 0.5
        rise = xp.asin(xp.clip(ways[..., 2], -1.0, 1.0)) / np.pi + 0.5
        column = xp.clip(xp.floor(turn * AZIMUTHS), 0.0, AZIMUTHS - 1.0)
        row = xp.clip(xp.floor(rise * ELEVATIONS), 0.0, ELEVATIONS - 1.0)
        cell = xp.astype(row * AZIMUTHS + column, xp.int64)
        cells = xp.arange(AZIMUTHS * ELEVATIONS, dtype=xp.int64, device=cell.device)
        marks = xp.any((cell[:, :, None] == cells[None, None, :]) & seen[:, :, None], axis=1)
        used = xp.astype(seen, xp.float64)[:, :, None]
        info = xp.sum((used * state.fit)[..., None, None] * self.info(state), axis=1)
        gap = state.pose - xp.mean(state.pose, axis=1)[:, None, :]
        size = xp.sqrt(xp.mean(xp.sum(gap * gap, axis=-1), axis=1)) + 1e-6
        mean = xp.sum(used * state.scores, axis=1) / xp.sum(used, axis=1)
        return self.seen(
            canvas=marks,
            pose=xp.clip(gap / size[:, None, None], -5.0, 5.0),
            spread=xp.clip(xp.log(spread_of(info)), -10.0, 10.0),
            scores=mean,
            step=share,
        )

    def info(self, state: State) -> Array:
        """(B, V, J, 3, 3), what each camera says of each point, see ``ops.triangulation.information``."""
        return information(
            self.bank.cameras.rows(state.capture), state.pose, self.bank.scales.rows(state.capture)
        )

    def ways(self, state: State) -> Array:
        """(B, V, 3), directions from the body to the cameras."""
        xp = xp_of(state.pose)
        way = self.bank.centres.rows(state.capture) - xp.mean(state.pose, axis=1)[:, None, :]
        return way / ops.norm(way)[..., None]

    def outlook(self, state: State) -> dict[str, Array]:
        """What the pose says of each camera, see ``view_features.outlook``."""
        bank, seen = self.bank, self.looked(state.taken)
        return outlook(
            bank.cameras.rows(state.capture),
            bank.sizes.rows(state.capture),
            bank.scales.rows(state.capture),
            state.pose,
            seen,
            state.fit,
            bank.centres.rows(state.capture),
        )

    def action_mask(self, state: State) -> Array:
        """(B, V + 1) bool, cameras not seen yet, and the end once ``least`` are; the end alone where no camera is left."""
        xp = xp_of(state.pose)
        free = self.bank.real.rows(state.capture) & ~self.looked(state.taken)
        done = (state.step >= self.least) | ~xp.any(free, axis=1)
        return xp.concat([free, done[:, None]], axis=1)

    def reward(self, before: State, action: Array, after: State) -> Array:
        xp = xp_of(after.pose)
        if self.reward_type == "log":
            tiny = xp.full_like(after.error, 1e-3)
            gain = xp.log(xp.maximum(before.error, tiny)) - xp.log(xp.maximum(after.error, tiny))
        else:
            gain = (before.error - after.error) / after.start_error
        looked = after.step > before.step
        new = xp.sum(xp.astype(self.looked(after.taken), xp.int64), axis=1) > xp.sum(
            xp.astype(self.looked(before.taken), xp.int64), axis=1
        )
        cost = xp.astype(looked, xp.float64) * self.view_cost
        return gain - cost - xp.astype(looked & ~new, xp.float64) * self.repeat_cost

    def terminated(self, state: State) -> Array:
        return xp_of(state.pose).asarray(state.finished, copy=True)

    def metrics(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.pose)
        known = ~xp.isnan(state.points[..., 0])
        gap = ops.norm(xp.where(known[..., None], state.points, state.pose) - state.pose)
        right = known & (gap * self.bank.radii.rows(state.capture)[:, None] <= self.pck_mm)
        share = xp.sum(xp.astype(right, xp.float64), axis=1) / xp.sum(xp.astype(known, xp.float64), axis=1)
        return {
            "error_mm": state.error + 0,
            "pck": share,
            "views": state.step + 0,
            "is_success": state.error <= self.success_mm,
        }

    def expert(self, state: State) -> Array:
        """(B,) int64, the camera that lowers the true error most; the end where none is worth its cost."""
        xp = xp_of(state.pose)
        gains = self.action_gains(state)
        allowed = xp.where(self.action_mask(state), gains, xp.full_like(gains, -xp.inf))
        return xp.argmax(allowed, axis=1)

    def action_gains(self, state: State) -> Array:
        """(B, V + 1) float64, what each action earns at once."""
        xp = xp_of(state.pose)
        rewards = []
        for view in range(self.count):
            action = xp.full_like(state.step, view)
            after = self.step(replace(state, finished=xp.zeros_like(state.finished)), action)
            rewards.append(self.reward(state, action, after))
        end = xp.zeros_like(rewards[0])
        spent = end - self.view_cost
        return xp.stack([*rewards, xp.where(self.action_mask(state)[:, -1], end, spent)], axis=1)

    def good_actions(self, state: State) -> Array:
        """(B, V + 1) bool, what earns something and is allowed; the best where nothing is."""
        xp = xp_of(state.pose)
        gains = self.action_gains(state)
        gains = xp.where(self.action_mask(state), gains, xp.full_like(gains, -xp.inf))
        return (gains > 0) | (gains == xp.max(gains, axis=1)[:, None])

    # -- edge ------------------------------------------------------------------------------------------------------
    def result(self, state: State) -> PoseInSpace:
        number = int(state.capture)
        row = State(**{key: np.asarray(value)[None] for key, value in vars(state).items()})
        used = self.looked(row.taken).astype(float)[:, :, None] * row.fit
        info = (used[..., None, None] * self.info(row)).sum(axis=1)
        found = used[0].sum(axis=0) > 0
        places = np.where(found[:, None], self.bank.millimetres(number, state.pose), np.nan)
        called, looks = self.samples[number].camera_names, state.taken[state.taken >= 0].tolist()
        return PoseInSpace(self.names, places, spread_of(info)[0] * self.bank.radii.array[number], tuple(called[k] for k in looks))

    def draw(self, state: State) -> np.ndarray:
        number, bank = int(state.capture), self.bank
        looks = state.taken[state.taken >= 0]
        words = f"{len(looks)} camera{'s' * (len(looks) != 1)}"
        words += f": {state.error:.0f} mm" if self.labelled else ""
        real = bank.real.array[number]
        return draw_views(
            bank.centres.array[number][real],
            looks,
            state.pose,
            state.points,
            np.asarray(self.samples[number].links),
            words,
        )
