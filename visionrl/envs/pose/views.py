"""Active pose estimation: look through one more camera, or say that the triangulated pose is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, MinLen
from gymnasium import spaces

from visionrl import ops
from visionrl.banks.views import view_bank
from visionrl.core import arguments, batch, register
from visionrl.core.capabilities import tried_actions
from visionrl.core.observables import Vector
from visionrl.core.results import PoseInSpace
from visionrl.datasets import ViewSample
from visionrl.envs.pose.view_features import (
    AZIMUTHS,
    CONTEXT,
    ELEVATIONS,
    FEATURES,
    canvas_of,
    centred,
    describe_pose,
    describe_views,
    outlook,
)
from visionrl.envs.pose.view_picture import draw_views
from visionrl.envs.select import Select, Selection
from visionrl.ops import Array, one_hot, xp_of
from visionrl.ops.triangulation import information, spread_of, triangulate

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
        fit: (B, V, J) float64, weights of the detections at the end of the triangulation; 0 in cameras not seen.
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
    | Observation | "candidates": ``candidates`` (V + 1, 12): of each camera, by the pose so far, how much more certain the points would be, how many should be in the picture and not behind others, how near its direction is to those seen; of the end, in the last row, whether it is allowed; ``context`` (7,): share of the budget, uncertainty of the points, how well detections fit. "canvas": ``canvas`` (45,): the seen cameras by azimuth and elevation about the body, 9 by 5 cells; ``pose`` (J * 3,) from its middle, shares of its size, the third axis up; ``spread`` (J,): the logarithm of each point's standard deviation; ``scores`` (J,): the mean of the detector's; ``step``: share of the budget |
    | Action      | Discrete(V + 1), see below |
    | Reward      | "log": the logarithm of the share by which the mean error of the points falls, so that halving it is always worth the same; "share": the error gained, in shares of the first error (Gärtner et al., 2020, at the end; here at every step); less ``view_cost`` for each look and ``repeat_cost`` for one that shows nothing new |
    | Ends        | when the agent says that it is done, or after ``budget`` cameras |

    | Action | Meaning |
    |--------|---------|
    | 0 to V - 1 | look through this camera |
    | V | done; before ``least`` cameras it is a look that shows nothing |

    The first camera is chosen at random. After each look the points are triangulated from all detections in the cameras
    seen, robustly; see ``visionrl.ops.triangulation``. Detections come with the data. Where there are true points alone,
    a simulated detector finds them anew in each episode, with errors that are larger where a limb hides a joint
    (``visionrl.banks.joint_detector``), and the body is turned at random about the upright line through its own middle.
    Up is what is up in the pictures on average.
    ``info`` has ``error_mm``, the mean distance of the points whose places are known,
    ``pck`` (share of them within ``pck_mm``) and ``views``, cameras looked through; one seen twice counts twice. An
    episode succeeds with an error up to ``success_mm``.

    Source: Gärtner et al. (2020), "Deep reinforcement learning for active human pose estimation", with a network for poses
    in single images, and learning from its features, in the place of detections.
    """

    target: str | Annotated[Sequence[str], MinLen(1)] | None = None
    """Names of the points used, in their order; None uses all."""
    cameras: str | Annotated[int, Ge(0)] | None = None
    """Beginning of the names of the cameras used, such as "00_" or 1 (1, 10, 11, ...); None uses all."""
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
    """Largest mean error with which an episode succeeds, millimetres."""
    pck_mm: Annotated[float, Ge(0.0)] = 50.0
    """Largest distance of a point that counts as right, millimetres."""

    sample_type, embedded, primary_metric = ViewSample, "c-arm-views", ("error_mm", False)
    hidden = ("points", "error", "start_error")

    def setup(self) -> None:
        if self.least > self.budget:
            raise ValueError(f"least must be <= budget ({self.budget}), got {self.least}")
        self.samples = self.load()
        if self.target is not None or self.cameras is not None:
            self.samples = tuple(self.restrict(sample) for sample in self.samples)
        names = self.samples[0].joint_names
        needed = "points" if self.labelled else "detections"
        for sample in self.samples:
            if sample.joint_names != names:
                raise ValueError(
                    f"joint_names must be the same in all samples, {sample.name!r} has {sample.joint_names}"
                )
            if getattr(sample, needed) is None:
                raise ValueError(f"samples must have {needed}, {sample.name!r} has none")
        largest = max(len(sample.cameras) for sample in self.samples)
        self.count = self.offered or largest
        if largest > self.count:
            raise ValueError(f"offered must be >= the cameras of a capture ({largest}), got {self.count}")
        self.bank = view_bank(self.samples, self.count)
        self.names, self.items = names, len(self.samples)
        self.action_space = spaces.Discrete(self.count + 1)
        if self.shows == "candidates":
            self.show(candidates=Vector((self.count + 1, FEATURES), -5, 5), context=Vector(CONTEXT, -5, 5))
        else:
            self.show(
                canvas=Vector(AZIMUTHS * ELEVATIONS, 0),
                pose=Vector(len(names) * 3, -5, 5),
                spread=Vector(len(names), -10, 10),
                scores=Vector(len(names), 0),
                step=Vector(1, 0),
            )

    def restrict(self, sample: ViewSample) -> ViewSample:
        """A sample with the ``cameras`` and the points of ``target`` alone.

        Raises:
            ValueError: it lacks a point, or has fewer than two of the cameras.
        """
        names = list(sample.joint_names)
        target = [self.target] if isinstance(self.target, str) else list(self.target or names)
        if missing := [name for name in target if name not in names]:
            raise ValueError(
                f"target must be among {', '.join(names)} of {sample.name!r}, got {', '.join(missing)}"
            )
        if len(set(target)) < len(target):
            raise ValueError(f"target must name each point once, got {', '.join(target)}")
        begin = "" if self.cameras is None else str(self.cameras)
        views = [view for view, name in enumerate(sample.camera_names) if name.startswith(begin)]
        if len(views) < 2:
            raise ValueError(
                f"cameras must be the beginning of two names or more of {sample.name!r}, got {self.cameras!r}"
            )
        rows = [names.index(name) for name in target]
        axes = {"detections": (views, rows), "scores": (views, rows), "points": (rows,)}
        arrays: dict[str, Any] = {
            key: None if (array := getattr(sample, key)) is None else array[np.ix_(*some)]
            for key, some in axes.items()
        }
        return replace(
            sample,
            **arrays,
            cameras=sample.cameras[views],
            joint_names=tuple(target),
            resolution=sample.resolution[views],
            camera_names=tuple(sample.camera_names[view] for view in views),
            links=np.array(
                [
                    [rows.index(end) for end in link]
                    for link in sample.links.tolist()
                    if set(link) <= set(rows)
                ],
                np.int64,
            ).reshape(-1, 2),
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
        pose, fit = self.pose_of(capture, taken, places[None], scores[None])
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

    def view_mask(self, taken: Array) -> Array:
        """(B, V) bool, the cameras looked through."""
        return self.taken_of(taken, self.count)

    def pose_of(self, capture: Array, taken: Array, places: Array, scores: Array) -> tuple[Array, Array]:
        """The points (B, J, 3) from the cameras taken, and the weights of the detections (B, V, J)."""
        weights = scores * xp_of(scores).astype(self.view_mask(taken), scores.dtype)[:, :, None]
        return triangulate(self.bank.cameras.rows(capture), places, weights, self.bank.scales.rows(capture))

    def error_of(self, capture: Array, points: Array, pose: Array) -> Array:
        """(B,), mean distance of the points whose places are known, millimetres; NaN where none is."""
        xp, gap = xp_of(pose), ops.norm(points - pose)
        labelled = ~xp.isnan(gap)
        count = xp.sum(xp.astype(labelled, gap.dtype), axis=1)
        total = xp.sum(xp.where(labelled, gap, xp.zeros_like(gap)), axis=1)
        return self.bank.radii.rows(capture) * total / xp.where(count > 0, count, xp.full_like(count, xp.nan))

    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.pose)
        action = xp.astype(action, xp.int64)
        done = (action == self.count) & self.action_mask(state)[:, -1]
        looks = ~state.finished & ~done
        camera = (one_hot(action, self.count + 1)[:, :-1] > 0) & self.bank.real.rows(state.capture)
        new = (looks & xp.any(camera, axis=1))[:, None]
        taken = xp.where(new, self.take(state, action), state.taken)
        step = state.step + xp.astype(looks, xp.int64)
        pose, fit = self.pose_of(state.capture, taken, state.places, state.scores)
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
        seen, share = self.view_mask(state.taken), xp.astype(state.step, xp.float64) / self.budget
        directions = self.directions(state)
        if self.shows == "candidates":
            forecast, mask = self.outlook(state), self.action_mask(state)
            return self.seen(
                candidates=describe_views(forecast, directions, seen, mask[:, :-1], mask[:, -1]),
                context=describe_pose(forecast["spread"], state.scores, state.fit, seen, share),
            )
        weights = xp.astype(seen, xp.float64)[:, :, None]
        gap, size = centred(state.pose)
        return self.seen(
            canvas=canvas_of(directions, seen),
            pose=xp.clip(gap / size[:, None, None], -5.0, 5.0),
            spread=xp.clip(xp.log(self.spread(state)), -10.0, 10.0),
            scores=xp.sum(weights * state.scores, axis=1) / xp.sum(weights, axis=1),
            step=share,
        )

    def spread(self, state: State) -> Array:
        """(B, J), standard deviation of the points, radii of the scene."""
        cameras, scale = self.bank.cameras.rows(state.capture), self.bank.scales.rows(state.capture)
        info = information(cameras, state.pose, scale)
        return spread_of(xp_of(info).sum(state.fit[..., None, None] * info, axis=1))

    def directions(self, state: State) -> Array:
        """(B, V, 3), from the body to the cameras, of length 1."""
        middle = xp_of(state.pose).mean(state.pose, axis=1)[:, None, :]
        ray = self.bank.centres.rows(state.capture) - middle
        return ray / ops.norm(ray)[..., None]

    def outlook(self, state: State) -> dict[str, Array]:
        """The forecast of each camera by the pose so far, see ``view_features.outlook``."""
        bank, capture = self.bank, state.capture
        cameras, sizes, scale = (x.rows(capture) for x in (bank.cameras, bank.sizes, bank.scales))
        return outlook(cameras, sizes, scale, bank.centres.rows(capture), state.pose, state.fit)

    def action_mask(self, state: State) -> Array:
        """(B, V + 1) bool, cameras not seen yet, and the end once ``least`` are; the end alone where no camera is left."""
        xp = xp_of(state.pose)
        free = self.bank.real.rows(state.capture) & ~self.view_mask(state.taken)
        done = (state.step >= self.least) | ~xp.any(free, axis=1)
        return xp.concat([free, done[:, None]], axis=1)

    def reward(self, before: State, action: Array, after: State) -> Array:
        xp = xp_of(after.pose)
        if self.reward_type == "log":
            tiny = xp.full_like(after.error, 1e-3)
            gain = xp.log(xp.maximum(before.error, tiny)) - xp.log(xp.maximum(after.error, tiny))
        else:
            gain = (before.error - after.error) / after.start_error
        looks = xp.astype(after.step - before.step, xp.float64)
        new = xp.any(self.view_mask(after.taken) & ~self.view_mask(before.taken), axis=1)
        cost = looks * self.view_cost
        return gain - cost - xp.where(new, xp.zeros_like(looks), looks) * self.repeat_cost

    def terminated(self, state: State) -> Array:
        return xp_of(state.pose).asarray(state.finished, copy=True)

    def metrics(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.pose)
        gap = self.bank.radii.rows(state.capture)[:, None] * ops.norm(state.points - state.pose)
        right, labelled = gap <= self.pck_mm, ~xp.isnan(gap)  # NaN is never right
        share = xp.sum(xp.astype(right, xp.float64), axis=1) / xp.sum(xp.astype(labelled, xp.float64), axis=1)
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
        return tried_actions(self, state)

    # -- edge ------------------------------------------------------------------------------------------------------
    def result(self, state: State) -> PoseInSpace:
        number = int(state.capture)
        spread = self.spread(batch.stack([state]))[0] * self.bank.radii.array[number]
        places = np.where(state.fit.any(axis=0)[:, None], self.bank.millimetres(number, state.pose), np.nan)
        names = self.samples[number].camera_names
        cameras = tuple(names[view] for view in state.taken.tolist() if view >= 0)
        return PoseInSpace(self.names, places, spread, cameras)

    def draw(self, state: State) -> np.ndarray:
        number, bank = int(state.capture), self.bank
        looks = state.taken[state.taken >= 0]
        words = f"{len(looks)} camera{'s' * (len(looks) != 1)}"
        words += f": {state.error:.0f} mm" if self.labelled else ""
        centres, links = bank.centres.array[number][bank.real.array[number]], self.samples[number].links
        return draw_views(centres, looks, state.pose, state.points, links, words)
