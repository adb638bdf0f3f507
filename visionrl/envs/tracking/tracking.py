"""Tracking: keep a box on one object through a video by moving it a little at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium import spaces

from visionrl import ops, rewards
from visionrl.core import Task, check_choice, check_range, register
from visionrl.datasets import VideoSample, load
from visionrl.datasets.video_bank import video_bank
from visionrl.metrics import success_score, within
from visionrl.ops import Array, const, one_hot, xp_of
from visionrl.rendering import Canvas

# (dx, dy, growth) in units of the step: left, 2 left, right, 2 right, up, 2 up, down, 2 down, smaller, bigger, stop
MOVES = (
    *((-1, 0, 0), (-2, 0, 0), (1, 0, 0), (2, 0, 0), (0, -1, 0), (0, -2, 0), (0, 1, 0), (0, 2, 0)),
    *((0, 0, -1), (0, 0, 1), (0, 0, 0)),
)
STOP = len(MOVES) - 1
ACTIONS_KEPT = 10  # past actions in the observation
GOOD = 0.7  # overlap that earns the reward at the end of a clip
EXACT = 0.93  # overlap at which the expert stops


@dataclass(frozen=True)
class State:
    """Where the box is and which frame is on; B episodes.

    Attributes:
        frame: (B,) int64, index into the bank.
        last: (B,) int64, index of the episode's last frame.
        box: (B, 4) float64, (x0, y0, x1, y1) edges in pixels.
        moves: (B,) int64, moves made in this frame.
        template: (B, C, w, w) uint8, what the window shows at the start; (B, 0) if the agent is not shown it.
        visited: (B, moves + 1) int64, the boxes of this frame, ``packed``, newest last; -1 where there is none yet.
        actions: (B, 10) int64, newest last; -1 before the start.
        frames: (B,) float64, frames that are done.
        overlaps: (B,) float64, their success scores added up.
        near: (B,) float64, how many of them ended within 20 pixels.
        iou: (B,) float64, the box's overlap with the object in the present frame.
        gap: (B,) float64, pixels between their midpoints.
        reached: (B,) float64, the overlap that the last move came to, in the frame in which it was made.
        finished: (B,) bool, the last frame is done.
    """

    frame: Array
    last: Array
    box: Array
    moves: Array
    template: Array
    visited: Array
    actions: Array
    frames: Array
    overlaps: Array
    near: Array
    iou: Array
    gap: Array
    reached: Array
    finished: Array


@register(
    "Tracking-v0",
    max_steps=None,
    tags=("tracking", "video", "discrete"),
    presets={"yun2017": {"clip": 10, "window": 112, "template": False, "reward": "clip"}},
)
class Tracking(Task[State]):
    """The agent moves and scales a box, frame after frame, so that it stays on the object it starts on.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C, w, w) uint8: the box with its surroundings; ``template``, of the same shape: the window at the start; ``history``: the last 10 actions, one-hot, newest last |
    | Action      | 0 left, 1 twice left, 2 right, 3 twice right, 4 up, 5 twice up, 6 down, 7 twice down, 8 smaller, 9 bigger, 10 stop; a step is 0.03 of the box's side, at least one pixel |
    | Reward      | sign of the change of the overlap (IoU) with the object, or at the end of a clip alone: +1 if the overlap exceeds 0.7, else -1 |
    | Ends        | after the clip's last frame; a frame is over at "stop", after 20 moves, or when a box comes back to where it was in this frame |

    ``info`` has ``iou`` and ``center_error_px`` in the present frame, and over the frames that are done ``success_auc``
    (21 thresholds) and ``precision_20px``, the numbers of the OTB benchmark when the clip is a whole video.

    Args:
        data: None for the embedded videos, "FORMAT:PATH", or a sequence of ``VideoSample``.
        split: "train", "val" or "test".
        clip: frames of an episode, from a random one on; None for whole videos from their first frame on.
        window: side of the window, pixels.
        context: side of what the window shows, in sides of the box.
        template: show what the object looked like at first; Yun et al. do not, and adapt the network instead.
        reward: "sign" per move, or "clip" at the end, as Yun et al. train.
        max_moves: moves per frame.
        step: step size in sides of the box.
        smallest: boxes do not become narrower or lower than this, pixels.
        channels: 1 shows all frames grey, 3 in RGB; None is RGB if a video of the split is.
        loading: ``classes``, ``split_file``, ``split_ratios``, ``split_seed``; see ``visionrl.datasets.load``.

    Source: Yun et al. (2017), ADNet; the overlap (OTB) metrics are those of Wu, Lim & Yang (2013).
    """

    headline = ("success_auc", True)
    evaluation: ClassVar[dict[str, Any]] = {"clip": None}

    def __init__(
        self,
        data: Any = None,
        split: str = "train",
        clip: int | None = 10,
        window: int = 112,
        context: float = 1.4,
        template: bool = True,
        reward: Literal["sign", "clip"] = "sign",
        max_moves: int = 20,
        step: float = 0.03,
        smallest: float = 5.0,
        channels: Literal[1, 3] | None = None,
        **loading: Any,
    ) -> None:
        check_choice("reward", reward, ("sign", "clip"))
        check_range("clip", 2 if clip is None else clip, 2)
        check_range("window", window, 8)
        check_range("max_moves", max_moves, 1)
        check_range("context", context, 0.1)
        check_range("step", step, 0.001, 1.0)
        check_range("smallest", smallest, 1.0)
        self.clip, self.context, self.max_moves, self.template = clip, context, max_moves, template
        self.step_size, self.smallest, self.by_clip = step, smallest, reward == "clip"
        self.bank = video_bank(
            load(data, kind=VideoSample, default="cutout-videos", split=split, **loading), window, channels
        )
        self.items, self.window = len(self.bank.first), window
        image = spaces.Box(0, 255, (self.bank.channels, window, window), np.uint8)
        history = spaces.Box(0, 1, (ACTIONS_KEPT * len(MOVES),), np.float32)
        keys: dict[str, spaces.Space] = {"window": image, "template": image, "history": history}
        self.observation_space = spaces.Dict(
            {k: box for k, box in keys.items() if template or k != "template"}
        )
        self.action_space = spaces.Discrete(len(MOVES))

    @property
    def settled(self) -> dict[str, Any]:
        return {"channels": self.bank.channels}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        length = int(self.bank.lengths[item])
        clip = min(self.clip or length, length)
        frame = self.bank.first[item] + int(rng.integers(length - clip + 1))
        box = self.bank.boxes.array[frame]
        visited = np.full(self.max_moves + 1, -1)
        visited[-1] = packed(box)
        return State(
            frame=np.int64(frame),
            last=np.int64(frame + clip - 1),
            box=box,
            moves=np.int64(0),
            template=self.look(np.array([frame]), box[None])[0] if self.template else np.zeros(0, np.uint8),
            visited=visited,
            actions=np.full(ACTIONS_KEPT, -1),
            frames=np.float64(0),
            overlaps=np.float64(0),
            near=np.float64(0),
            iou=np.float64(1),
            gap=np.float64(0),
            reached=np.float64(1),
            finished=np.False_,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.box)
        box, moves = self.moved(state, action), state.moves + 1
        place = packed(box)[:, None]
        over = (action == STOP) | xp.any(state.visited == place, axis=-1) | (moves >= self.max_moves)
        finished = over & (state.frame == state.last)
        frame, ended = state.frame + xp.astype(over & ~finished, xp.int64), xp.astype(over, box.dtype)
        truth = xp.reshape(self.truth(xp.concat([state.frame, frame])), (2, -1, 4))
        iou, gap = ops.iou(box[None, ...], truth), center_error(box[None, ...], truth)
        past = xp.where(over[:, None], -1, state.visited[:, 1:])
        return replace(
            state,
            frame=frame,
            box=box,
            moves=xp.where(over, 0, moves),
            visited=xp.concat([past, place], axis=1),
            actions=xp.concat([state.actions[:, 1:], action[:, None]], axis=1),
            frames=state.frames + ended,
            overlaps=state.overlaps + ended * success_score(iou[0, :]),
            near=state.near + ended * within(gap[0, :], 20.0),
            iou=iou[1, :],
            gap=gap[1, :],
            reached=iou[0, :],
            finished=finished,
        )

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.box)
        history = one_hot(state.actions, len(MOVES))
        seen = {
            "window": self.look(state.frame, state.box),
            "history": xp.reshape(history, (history.shape[0], -1)),
        }
        return {**seen, "template": xp.asarray(state.template, copy=True)} if self.template else seen

    def reward(self, before: State, action: Array, after: State) -> Array:
        if not self.by_clip:
            return rewards.improved(before.iou, after.reached)
        xp, ones = xp_of(after.reached), xp_of(after.reached).ones_like(after.reached)
        return xp.where(after.finished, xp.where(after.reached > GOOD, ones, -ones), 0.0)

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.box)
        done = xp.maximum(state.frames, 1.0)
        auc = state.overlaps / done
        return {
            "iou": xp.asarray(state.iou, copy=True),
            "center_error_px": xp.asarray(state.gap, copy=True),
            "success_auc": auc,
            "precision_20px": state.near / done,
            "is_success": auc >= 0.5,
        }

    def expert(self, state: State) -> Array:
        return self.toward(state, self.truth(state.frame))

    def toward(self, state: State, target: Array) -> Array:
        """The action after which the box fits best to another, (B,); stop where it fits or nothing is better."""
        xp = xp_of(state.box)
        fits = []
        for action in range(len(MOVES)):
            box = self.moved(state, xp.full_like(state.moves, action))
            gap = ops.norm(ops.center(box) - ops.center(target)) / ops.norm(ops.size(target))
            fits.append(ops.iou(box, target) - 0.01 * gap)  # the gap leads where there is no overlap
        best = xp.argmax(xp.stack(fits[::-1], axis=-1), axis=-1)  # from the back, so that stop wins a tie
        good = ops.iou(state.box, target) > EXACT
        return xp.where(good, xp.full_like(best, STOP), STOP - best)

    def moved(self, state: State, action: Array) -> Array:
        """The box after an action, (B, 4); its centre stays in the frame, its shape stays as it is."""
        xp = xp_of(state.box)
        move = xp.take(const(MOVES, state.box), action, axis=0)
        limit = xp.take(self.bank.sizes.on(state.box), state.frame, axis=0)
        size = ops.size(state.box)
        stride = xp.maximum(self.step_size * size, 1.0)
        shape = size / xp.minimum(size[:, :1], size[:, 1:])
        wanted = size + move[:, 2:] * xp.minimum(stride[:, :1], stride[:, 1:]) * shape
        low, high = wanted >= xp.minimum(size, self.smallest), wanted <= xp.maximum(size, limit)
        fits = ops.every(low & high)
        center = xp.minimum(xp.maximum(ops.center(state.box) + move[:, :2] * stride, 0.0), limit)
        return ops.box_around(center, xp.where(fits[:, None], wanted, size))

    def look(self, frame: Array, box: Array) -> Array:
        """What the window shows of frames around boxes, (B, C, w, w)."""
        seen = ops.box_around(ops.center(box), self.context * ops.size(box))
        return ops.resize(self.bank.pyramid, frame, seen, self.window)

    def truth(self, frame: Array) -> Array:
        """The object's boxes in frames, (B, 4)."""
        return xp_of(frame).take(self.bank.boxes.on(frame), frame, axis=0)

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        frame = int(state.frame)
        canvas = Canvas(self.bank.image(frame).transpose(2, 0, 1))
        canvas.box(self.bank.boxes.array[frame], "truth")
        canvas.box(state.box, "agent")
        return canvas.pixels


def packed(box: Array) -> Array:
    """Boxes rounded to whole pixels, each as one number, 16 bits an edge: (..., 4) -> (...) int64."""
    xp = xp_of(box)
    return reduce(lambda code, edge: code * 2**16 + edge, ops.columns(xp.astype(xp.round(box), xp.int64)))


def center_error(box: Array, truth: Array) -> Array:
    """Between the midpoints of boxes, (...) pixels."""
    return ops.norm(ops.center(box) - ops.center(truth))
