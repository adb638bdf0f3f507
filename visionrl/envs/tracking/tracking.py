"""Tracking: keep a box on one object through a video by moving it a little at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Interval, MinLen

from visionrl import rewards
from visionrl.banks.videos import video_bank
from visionrl.core import Task, arguments, register
from visionrl.core.observables import Image
from visionrl.core.results import BoxTrack
from visionrl.datasets import VideoSample
from visionrl.envs.tracking.controls import make_control
from visionrl.envs.tracking.responses import Responses
from visionrl.envs.tracking.state import State
from visionrl.metrics.tracking import (
    GOOD_IOU,
    STARTS,
    episode_span,
    perturb_box,
    start_scores,
    tracking_metrics,
    update_scores,
    verdict,
)
from visionrl.ops import Array, DeviceTable, xp_of
from visionrl.rendering import Canvas

FOLLOW = {"control": "follow", "views": ("response",), "reward_type": "overlap", "clip": 40}


@register(
    "Tracking-v0",
    max_steps=None,
    tags=("tracking", "video", "discrete"),
    presets={
        "yun2017": {"clip": 10, "window": 112, "views": ("window",), "reward_type": "clip"},
        "chen2018": {"control": "continuous", "window": 107, "views": ("window",), "reward_type": "frame"},
        "ren2018": {"control": "update"},
        "follow": FOLLOW,
        "redetect": FOLLOW | {"control": "redetect"},
        "cpu": {"window": 32, "context": 1.6},
    },
    expert_success_rate={"follow": 0.9, "redetect": 0.9},  # no peak may be on the object
)
@arguments
class Tracking(Task[State]):
    """The agent moves and scales a box, frame after frame, so that it stays on the object it starts on.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C, w, w) uint8: the box with its surroundings; ``template``, of the same shape: the window at the start; ``history``: the last 10 actions, one-hot, newest last; with the view "response" also ``response`` (4, r/2, r/2) uint8: responses of a correlation filter at three sizes, and of the first frame's filter; ``peaks`` (20,): of each of the four the strongest place (dx, dy in sides of the box), its height, its sharpness, and by how many tenths it is higher than the first; (25,) with control "redetect", the last five of the wide window |
    | Action      | "discrete": Discrete(11), "update": Discrete(13), "continuous": Box(3), "follow": Discrete(11), "redetect": Discrete(13); see below |
    | Reward      | sign of the change of the overlap (IoU) with the object, and for an update +1 if the overlap exceeds 0.7, else -1; or at the end of each frame, or of the clip alone, that +1 or -1; or at the end of each frame the overlap; 0 for what is done in a frame in which the object is not seen |
    | Ends        | after the clip's last frame; a frame is over at "stop", after ``max_moves`` moves, or when a box comes back to where it was in this frame; with control "continuous", "follow" or "redetect" after one move |

    | Action | Meaning |
    |--------|---------|
    | 0 | left, by a step of ``step_size`` of the box's side, at least one pixel |
    | 1 | twice left |
    | 2 | right |
    | 3 | twice right |
    | 4 | up |
    | 5 | twice up |
    | 6 | down |
    | 7 | twice down |
    | 8 | smaller |
    | 9 | bigger |
    | 10 | stop: go on to the next frame |
    | 11 | update ("update" alone has it): stop, and the template is the window from then on |
    | 12 | restart (likewise): go back to the box with which the frame began |
    | continuous (dx, dy, ds) | a shift in sides of the box, and a growth, of which more than 0.05 either way is ignored |
    | follow 0 | to the strongest peak of the correlation filter |
    | follow 1, 2, 3, 4 | to its peak at the present size, at a smaller one, at a bigger one; to that of the first frame's filter |
    | follow 5 to 9, 10 | the same choices, but the filter does not learn from this frame; 10 stay, and do not learn |
    | redetect 0 to 5 | those of "follow", and to the peak in a window three times as wide; 6 to 11 do not learn, 12 is stay |

    ``info`` has ``iou`` and ``center_error_px`` in the present frame, and over the frames that are done in which the
    object is seen the metrics of OTB (``success_auc``, ``precision_20px``), of TrackingNet (``norm_precision``) and of
    GOT-10k (``ao``, ``sr_50``, ``sr_75``). Where the object is not seen, its box is interpolated.

    Source: Yun et al. (2017), ADNet; Chen et al. (2018), ACT, without their second, wider crop; Ren et al. (2018), the
    decisions to update and to restart; starts of OTB: Wu, Lim & Yang (2013); the filter: ``ops.correlation_filter``.
    """

    clip: Annotated[int, Ge(2)] | None = 10
    """Frames of an episode, from a random one on in which the object is seen; None for whole videos."""
    control: Literal["discrete", "update", "continuous", "follow", "redetect"] = "discrete"
    """Steps; steps and updates of the template (Ren et al.); one free move a frame (Chen et al.); one choice a frame
    among the peaks of a correlation filter; or also its peak in a wider window, to find a lost object again."""
    views: Annotated[Sequence[Literal["window", "template", "response"]], MinLen(1)] = ("window", "template")
    """Show the window, what it showed at first, and what a correlation filter responds that learns from each frame."""
    window: Annotated[int, Ge(8)] = 112
    """Side of the window, pixels."""
    context: Annotated[float, Ge(0.1)] = 1.4
    """Side of what the window shows, in sides of the box."""
    response_side: Annotated[int, Ge(16)] = 64
    """Side of the window that the correlation filter searches, pixels, even."""
    reward_type: Literal["sign", "clip", "frame", "overlap"] = "sign"
    """Sign of each move's gain; verdict after the clip (Yun et al.) or each frame (Chen et al.); overlap after each."""
    start: Literal["first", "temporal", "spatial"] = "first"
    """Start at the video's first box, at 20 times of it (TRE), or with 12 boxes shifted or scaled (SRE)."""
    step_size: Annotated[float, Interval(ge=0.001, le=1.0)] = 0.03
    """Step of controls "discrete" and "update", in sides of the box."""
    max_moves: Annotated[int, Ge(1)] = 20
    """Moves per frame with control "discrete" or "update"."""
    min_size: Annotated[float, Ge(1.0)] = 5.0
    """Boxes do not become narrower or lower than this, pixels."""
    channels: Literal[1, 3] | None = None
    """1 shows all frames grey, 3 in RGB; None is RGB if a video of the split is."""

    sample_type, embedded = VideoSample, "cutout-videos"
    primary_metric = ("success_auc", True)
    hidden = ("iou", "center_error", "reached_iou", "scores")
    evaluation: ClassVar[dict[str, Any]] = {"clip": None}

    def setup(self) -> None:
        control = make_control(self.control, self.min_size, self.step_size, self.max_moves)
        self.controller, self.hold, self.action_space = control, control.hold, control.space
        if control.view and control.view not in self.views:
            rule = f"have {control.view!r} with control {self.control!r}"
            raise ValueError(f"views must {rule}, got {self.views}")
        if self.response_side % 2:
            raise ValueError(f"response_side must be even, got {self.response_side}")
        self.bank = video_bank(self.load(), self.window, self.channels, self.labelled)
        side = self.response_side * ("response" in self.views)
        self.responses = Responses(side, self.bank.pyramid, control.wide)
        self.span = (self.clip, self.start) if self.labelled else (None, "first")  # of files: all of it
        self.items = len(self.bank.first) * STARTS[self.span[1]]
        self.times = DeviceTable(np.arange(0 if self.span[0] else self.bank.lengths.max()))
        self.time = DeviceTable(np.concatenate([np.arange(length) for length in self.bank.lengths]))
        image = Image(self.bank.channels, self.window)
        self.show(
            window=image if "window" in self.views else None,
            template=image if "template" in self.views else None,
            history=control.history,
            **self.responses.observables(),
        )

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"channels": self.bank.channels}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        clip, start = self.span
        video, part = divmod(int(item), STARTS[start])
        first, length = int(self.bank.first[video]), int(self.bank.lengths[video])
        seen = self.bank.seen.array[first : first + length]
        begins, ends = episode_span(rng, seen, clip, start, part)
        truth = self.bank.boxes.array[first + begins]
        box = perturb_box(truth, part) if start == "spatial" else truth
        frame = np.array([first + begins])
        return State(
            image=np.int64(video),
            frame=frame[0],
            last=np.int64(first + ends),
            template=self.look(frame, box[None])[0] if "template" in self.views else np.zeros(0, np.uint8),
            finished=np.False_,
            path=np.full((len(self.times.array), 4), np.nan),
            **vars(self.controller.start(box)),
            **vars(start_scores(box, truth)),
            **vars(self.responses.start(frame, box[None])),
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp, limit = xp_of(state.box), self.bank.sizes.rows(state.frame)
        moved, over = self.controller.move(state, limit, action, self.responses.peaks(state, state.box))
        finished = over & (state.frame == state.last)
        frame = state.frame + xp.astype(over & ~finished, xp.int64)
        truth = xp.reshape(self.bank.boxes.rows(xp.concat([state.frame, frame])), (2, -1, 4))
        learn = over & self.controller.learns(action)
        return replace(
            state,
            frame=frame,
            template=self.templates(state, action, moved.box),
            finished=finished,
            path=self.extend_path(state, moved.box, over & ~state.finished),
            **vars(moved),
            **vars(update_scores(state, moved.box, truth, over, self.bank.seen.rows(frame))),
            **self.responses.update(state, (state.frame, moved.box), frame, learn),
        )

    def observe(self, state: State) -> dict[str, Array]:
        seen = self.responses.seen(state, state.box)
        if "window" in self.views:
            seen["window"] = self.look(state.frame, state.box)
        if "template" in self.views:
            seen["template"] = xp_of(state.box).asarray(state.template, copy=True)
        return self.seen(history=state.actions, **seen)

    def reward(self, before: State, action: Array, after: State) -> Array:
        xp, iou = xp_of(after.reached_iou), after.reached_iou
        if self.reward_type == "sign":
            earned = rewards.improved(before.iou, iou)
            if self.controller.template:
                earned = xp.where(self.controller.updates(action), verdict(iou), earned)
        else:
            over = after.finished | (after.frame != before.frame) & (self.reward_type != "clip")
            earned = xp.where(over, iou if self.reward_type == "overlap" else verdict(iou), 0.0)
        return earned * before.seen

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        found = tracking_metrics(state)
        return {**found, "is_success": found["success_auc"] >= 0.5}

    def expert(self, state: State) -> Array:
        limit, truth = (table.rows(state.frame) for table in (self.bank.sizes, self.bank.boxes))
        best = self.controller.toward(state.box, limit, truth, self.responses.peaks(state, state.box))
        return self.controller.with_updates(best, (state.iou > GOOD_IOU) & (state.seen > 0))

    def templates(self, state: State, action: Array, box: Array) -> Array:
        """Template after an action, (B, C, w, w)."""
        if not self.controller.template:
            return state.template
        renew = self.controller.updates(action)[:, None, None, None]
        return xp_of(box).where(renew, self.look(state.frame, box), state.template)

    def extend_path(self, state: State, box: Array, over: Array) -> Array:
        """The boxes of all frames, (B, T, 4), once those of the present frames are done where ``over``."""
        if self.span[0]:
            return state.path
        now = self.times.on(state.frame)[None, :] == self.time.rows(state.frame)[:, None]
        return xp_of(box).where((now & over[:, None])[..., None], box[:, None, :], state.path)

    def look(self, frame: Array, box: Array) -> Array:
        """The window around boxes of frames, (B, C, w, w)."""
        return self.bank.windows(frame, box, self.context)

    def result(self, state: State) -> BoxTrack:
        if self.span[0]:
            raise NotImplementedError("result needs whole videos, with clip=None")
        done = np.flatnonzero(~np.isnan(state.path[:, 0]))
        return BoxTrack(state.path[done], int(done.min(initial=len(state.path))))

    def draw(self, state: State) -> np.ndarray:
        frame = int(state.frame)
        canvas = Canvas(self.bank.image(frame).transpose(2, 0, 1))
        canvas.box(self.bank.boxes.array[frame], "truth")
        canvas.box(state.box, "agent")
        return canvas.pixels
