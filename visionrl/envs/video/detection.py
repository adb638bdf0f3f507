"""Detection in videos under a cost: run the detector on this frame, or carry the boxes over from the last one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval
from gymnasium import spaces

from visionrl import ops
from visionrl.banks.detections import visible_objects
from visionrl.banks.motion import GRID, mean_in, motion_bank
from visionrl.core import arguments, register, results
from visionrl.core.observables import Vector
from visionrl.envs.detected_videos import DetectedVideos
from visionrl.envs.video.boxes import PER_BOX, SUMMARY, Carried, boxes_inside, describe, detect, moved
from visionrl.metrics.matching import FrameAP, frame_quality
from visionrl.ops import Array, DeviceTable, const, xp_of
from visionrl.rendering import Canvas

DETECT, PREDICT, FOLLOW = range(3)
CELLS, BOXES = 8, 8  # of the difference along a side; boxes that are shown
FADE = 0.97  # per frame since the detector ran, of the scores
AHEAD = 3  # frames that the expert looks ahead
GOAL_QUALITY, GOAL_COST = 0.7, 0.5 + 1e-9  # sums of costs differ in their last digits


@dataclass(frozen=True, kw_only=True)
class State(Carried):
    """Boxes known in frame ``time`` of a clip, and what happened before; B episodes of T frames, M boxes.

    Attributes:
        item: (B,) int64, the video.
        start: (B,) int64, its frame with which the clip begins.
        length: (B,) int64, frames of the clip.
        time: (B,) int64, the last frame that is done.
        detections: (B, T, M, 5) float64, what the detector finds where it runs: edges in pixels and score, NaN for none.
        actions: (B, T) int64, for each frame; -1 for those to come.
        found: (B, T, M, 5) float64, the result: edges and score, NaN for none and in frames to come.
        quality: (B,) float64, sum over the frames done.
    """

    item: Array
    start: Array
    length: Array
    time: Array
    detections: Array
    actions: Array
    found: Array
    quality: Array


@register(
    "VideoDetection-v0", max_steps=None, tags=("video", "detection", "discrete"), expert_success_rate=0.5
)
@arguments
class VideoDetection(DetectedVideos[State]):
    """The agent decides for every frame of a video whether a costly detector runs or the boxes it has are moved on.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``difference`` (64,): of this frame from the last one on which the detector ran, on a grid of 8 x 8; ``boxes`` (96,): of the 8 boxes of highest score, centre, sides, velocity, score, detections in a row, difference in the box, overlap with other boxes, drift of the mean intensity in the box since the detector ran, and the same in this frame if the box goes on with its velocity; ``summary`` (12,): how many boxes, and which were continued, lost and new when the detector ran, their mean speed, score and drifts, frames since then, mean difference, cost so far, frames left |
    | Action      | Discrete(3), see below |
    | Reward      | quality of the frame's boxes, less ``cost_weight`` times the cost of the action |
    | Ends        | with the clip's last frame |

    | Action | Meaning | Cost |
    |--------|---------|------|
    | 0 | detect: run the detector on this frame; its boxes replace all others | 1 |
    | 1 | predict: move every box on with its velocity | ``predict_cost`` |
    | 2 | follow: move every box on with the optical flow in it, which becomes its velocity | ``follow_cost`` |

    The detector runs on the first frame. The velocity of a box is that of its centre since the last detection, if one
    of the boxes there continues in it; else the mean velocity of the others. Quality is the sum of the IoUs from 0.5 on
    of boxes with objects, over half the number of both; objects of which less than 40 % is seen do not count. ``info``
    has the means over the frames of ``quality`` and ``cost``, ``value``, the quality less ``cost_weight`` times the cost, and
    ``detector_share``; a whole split has ``ap_50``, the average precision of all frames' boxes together. An episode is
    a success with a quality of 0.7 at a cost of 0.5 a frame, or better.

    Detections of a data set are taken as they are; without them a detector is simulated, see the arguments.
    """

    cost_weight: Annotated[float, Ge(0.0)] = 0.5
    """What a run of the detector costs, in quality of one frame."""
    predict_cost: Annotated[float, Interval(ge=0.0, le=1.0)] = 0.05
    """Cost of moving the boxes on with their velocities, in runs of the detector."""
    follow_cost: Annotated[float, Interval(ge=0.0, le=1.0)] = 0.1
    """Cost of moving them on with the optical flow, in runs of the detector."""

    primary_metric = ("value", True)
    hidden = ("detections", "quality")

    def setup(self) -> None:
        self.motion = motion_bank(samples := self.load_videos(GRID))
        if (shortest := int(self.bank.lengths.min())) < 2:
            name = self.sample_names[int(self.bank.lengths.argmin())]
            raise ValueError(f"videos must have 2 frames or more, {name!r} has {shortest}")
        self.first = DeviceTable(self.bank.first)
        self.truth = visible_objects(samples, self.labelled).boxes
        self.costs = 1.0, self.predict_cost, self.follow_cost
        metric = FrameAP(self.first, self.truth)
        self.dataset_metrics: Sequence[FrameAP] = (metric,) if self.labelled else ()
        self.show(
            difference=Vector(CELLS * CELLS, 0), boxes=Vector(BOXES * PER_BOX), summary=Vector(SUMMARY + 4, 0)
        )
        self.action_space = spaces.Discrete(3)

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        start, length, found, _ = self.draw_clip(rng, item, max(BOXES, self.max_detections))
        state = State(
            item=np.int64(item),
            start=np.int64(start),
            length=np.int64(length),
            time=np.int64(0),
            detections=found,
            actions=np.where(np.arange(self.length) == 0, DETECT, -1),
            found=np.full_like(found, np.nan),
            quality=np.float64(0),
            **vars(Carried.begin(found[0])),
        )
        state.found[0] = boxes_inside(state.boxes, state.scores, self.bank.sizes.array[self.bank.first[item]])
        if self.labelled:
            truth = self.truth.array[self.bank.first[item] + start]
            return replace(state, quality=frame_quality(state.found[None, 0, :, :4], truth[None])[0])
        return state

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def frame(self, state: State, time: Array) -> Array:
        """(B,) int64, numbers of frames in the bank."""
        return self.first.rows(state.item) + state.start + time

    def step(self, state: State, action: Array) -> State:
        xp, over = xp_of(state.time), self.terminated(state)
        action = xp.astype(action, xp.int64)
        time = xp.where(over, state.time, state.time + 1)
        frame, count = self.frame(state, time), state.detections.shape[1]
        sides = self.bank.sizes.rows(frame)[:, None, :]
        boxes = state.boxes / xp.concat([sides, sides], axis=-1)
        flow = self.motion.flow_in(frame, boxes) * sides
        follows = (action == FOLLOW)[:, None, None]
        carried = moved(state, xp.where(follows, flow, state.velocity), sides)
        row = xp.arange(time.shape[0], device=time.device) * count + time
        seen = xp.take(xp.reshape(state.detections, (-1, *state.detections.shape[2:])), row, axis=0)
        carried = detect(carried, seen, (action == DETECT) & ~over)
        shown = boxes_inside(
            carried.boxes, carried.scores * FADE ** xp.astype(carried.since, xp.float64)[:, None], sides
        )
        now = (xp.arange(count, device=time.device)[None, :] == time[:, None]) & ~over[:, None]
        quality = state.quality
        if self.labelled:
            gain = frame_quality(shown[..., :4], self.truth.rows(frame))
            quality = quality + xp.where(over, xp.zeros_like(gain), gain)
        return replace(
            state,
            time=time,
            actions=xp.where(now, action[:, None], state.actions),
            found=xp.where(now[:, :, None, None], shown[:, None, ...], state.found),
            quality=quality,
            **vars(carried),
        )

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.time)
        next_time = xp.minimum(state.time + 1, state.length - 1)
        frame, last = self.frame(state, next_time), self.frame(state, state.time - state.since)
        sides = self.bank.sizes.rows(frame)[:, None, :]
        change = xp.astype(self.motion.difference(frame, last), xp.float64)
        cell = GRID // CELLS
        coarse = xp.mean(xp.reshape(change, (-1, CELLS, cell, CELLS, cell)), axis=(2, 4))
        share = state.boxes / xp.concat([sides, sides], axis=-1)
        inside = mean_in(change[..., None], share)[..., 0]
        boxes, summary = describe(state, share, sides, inside, *self.drift(state, frame, last, sides))
        old, spent = xp.astype(state.since, xp.float64) / 10, self.spent(state)
        left = xp.astype(state.length - 1 - state.time, xp.float64) / xp.astype(state.length, xp.float64)
        cost = spent / xp.astype(state.time + 1, xp.float64)
        summary = [*summary, old, 4 * xp.mean(change, axis=(1, 2)), cost, left]
        return self.seen(
            difference=xp.clip(4 * coarse, 0, 1),
            boxes=boxes[:, :BOXES, :],
            summary=xp.clip(xp.stack(summary, axis=1), 0, 1),
        )

    def drift(self, state: State, frame: Array, last: Array, sides: Array) -> list[Array]:
        """Two of (B, M): how far the mean intensities in the boxes are from those where the detector ran.

        The first is that of the boxes now, the second of the boxes moved on with their velocities in the next frame.
        """
        xp, size = xp_of(frame), ops.size(state.boxes)
        ahead = state.boxes + xp.concat([state.velocity, state.velocity], axis=-1)
        views = (
            (last, ops.box_around(state.anchor, size)),
            (self.frame(state, state.time), state.boxes),
            (frame, ahead),
        )
        edges = xp.concat([sides, sides], axis=-1)
        first, *others = (
            mean_in(self.motion.small.rows(number)[..., None], boxes / edges)[..., 0]
            for number, boxes in views
        )
        return [4 * xp.abs(other - first) for other in others]

    def reward(self, before: State, action: Array, after: State) -> Array:
        return after.quality - before.quality - self.cost_weight * (self.spent(after) - self.spent(before))

    def spent(self, state: State) -> Array:
        """(B,) float64, cost so far, in runs of the detector."""
        xp = xp_of(state.time)
        table = const((0.0, *self.costs), state.quality)
        flat = xp.take(table, xp.reshape(state.actions + 1, (-1,)), axis=0)
        return xp.sum(xp.reshape(flat, state.actions.shape), axis=1)

    def terminated(self, state: State) -> Array:
        return state.time >= state.length - 1

    def metrics(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.time)
        done = xp.astype(state.time + 1, xp.float64)
        quality, cost = state.quality / done, self.spent(state) / done
        ran = xp.sum(xp.astype(state.actions == DETECT, xp.float64), axis=1)
        return {
            "quality": quality,
            "cost": cost,
            "value": quality - self.cost_weight * cost,
            "detector_share": ran / done,
            "is_success": (quality >= GOAL_QUALITY) & (cost <= GOAL_COST),
        }

    def expert(self, state: State) -> Array:
        xp = xp_of(state.time)
        values = [self.outlook(state, xp.full_like(state.time, action)) for action in range(3)]
        return xp.argmax(xp.stack(values, axis=1), axis=1)

    def outlook(self, state: State, action: Array) -> Array:
        """(B,) what an action and following the boxes for the frames after it earn, in ``AHEAD`` frames."""
        xp, total = xp_of(state.time), 0.0
        for number in range(AHEAD):
            after = self.step(state, action if number == 0 else xp.full_like(action, FOLLOW))
            total, state = total + self.reward(state, action, after), after
        return total

    # -- edge ------------------------------------------------------------------------------------------------------
    def result(self, state: State) -> results.VideoBoxes:
        frames, rows = np.nonzero(~np.isnan(state.found[..., 4]))
        found = state.found[frames, rows]
        return results.VideoBoxes(frames, found[:, :4], found[:, 4], np.flatnonzero(state.actions == DETECT))

    def draw(self, state: State) -> np.ndarray:
        number = int(self.bank.first[state.item] + state.start + state.time)
        canvas = Canvas(self.bank.image(number).transpose(2, 0, 1))
        for box in self.truth.array[number] if self.labelled else ():
            canvas.box(box, "truth")
        ran = state.actions[state.time] == DETECT
        for box in state.found[state.time, :, :4]:
            canvas.box(box, "look" if ran else "agent")
        canvas.text(("detect", "predict", "follow")[int(state.actions[state.time])], (2, 2))
        return canvas.pixels
