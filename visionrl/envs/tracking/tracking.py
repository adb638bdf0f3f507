"""Tracking: keep a box on one object through a video by moving it a little at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium import spaces

from visionrl import ops, rewards
from visionrl.banks.videos import video_bank
from visionrl.core import Task, check_choice, check_range, register
from visionrl.datasets import VideoSample, load
from visionrl.envs.tracking.follow import control_of
from visionrl.envs.tracking.moves import RESTART, STOP, UPDATE, packed
from visionrl.envs.tracking.responses import Responses, check_filters
from visionrl.envs.tracking.starts import PARTS, shifted, span
from visionrl.envs.tracking.state import State
from visionrl.metrics.tracking import SCORES, frame_scores, means
from visionrl.ops import Array, xp_of
from visionrl.rendering import Canvas

GOOD = 0.7  # overlap that earns the reward of a clip, a frame, or an update
FOLLOW = {"control": "follow", "response": 64, "pixels": False, "reward": "overlap", "clip": 40}


@register(
    "Tracking-v0",
    max_steps=None,
    tags=("tracking", "video", "discrete"),
    presets={
        "yun2017": {"clip": 10, "window": 112, "template": False, "reward": "clip"},
        "chen2018": {"control": "continuous", "window": 107, "template": False, "reward": "frame"},
        "ren2018": {"updates": True},
        "follow": FOLLOW,
        "redetect": FOLLOW | {"redetect": True},
        "small": {"window": 32, "context": 1.6},
    },
    # where no peak is on the object there is nothing to choose
    expert_success_rate={"follow": 0.9, "redetect": 0.9},
)
class Tracking(Task[State]):
    """The agent moves and scales a box, frame after frame, so that it stays on the object it starts on.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C, w, w) uint8: the box with its surroundings; ``template``, of the same shape: the window at the start; ``history``: the last 10 actions, one-hot, newest last; with ``response`` also ``response`` (4, r/2, r/2) uint8: what the correlation filter makes of the surroundings at three sizes, and that of the first frame; ``peaks`` (20,): of each of the four where it is strongest (dx, dy in sides of the box), how strong, how sharp, and by how many tenths stronger than the first of them; with ``redetect`` (25,), the last five of the wide window |
    | Action      | 0 left, 1 twice left, 2 right, 3 twice right, 4 up, 5 twice up, 6 down, 7 twice down, 8 smaller, 9 bigger, 10 stop; a step is 0.03 of the box's side, at least one pixel; with ``updates`` 11 stop and update the template, 12 restart from the box with which the frame began. Continuous: (dx, dy, ds), a shift in sides of the box and a growth, of which more than 0.05 either way is ignored. Follow: 0 go to the strongest peak of the correlation filter, 1 to 3 to its peak at the present size, a smaller and a bigger one, 4 to that of the first frame's filter; 5 to 9 the same, but the filter does not learn; 10 stay. With ``redetect`` 5 goes to its peak in a wide window, 6 to 11 do not learn, 12 is stay |
    | Reward      | sign of the change of the overlap (IoU) with the object, and for an update +1 if the overlap exceeds 0.7, else -1; or at the end of each frame, or of the clip alone, that +1 or -1; or at the end of each frame the overlap; 0 for what is done in a frame in which the object is not seen |
    | Ends        | after the clip's last frame; a frame is over at "stop", after 20 moves, or when a box comes back to where it was in this frame; with continuous control or "follow" after one move |

    ``info`` has ``iou`` and ``center_error_px`` in the present frame, and over the frames that are done in which the
    object is seen ``success_auc`` (21 thresholds) and ``precision_20px``, the numbers of the OTB benchmark when the clip
    is a whole video; ``norm_precision``, that of TrackingNet; ``ao``, ``sr_50`` and ``sr_75``, those of GOT-10k.
    Where the object is not seen, its box is taken to go straight from where it was to where it will be.

    Args:
        data: None for the embedded videos, "FORMAT:PATH", or a sequence of ``VideoSample``.
        split: "train", "val" or "test".
        clip: frames of an episode, from a random one on in which the object is seen; None for whole videos.
        window: side of the window, pixels.
        context: side of what the window shows, in sides of the box.
        template: show what the object looked like at first; Yun et al. do not, and adapt the network instead.
        pixels: show the window and the template; False needs ``response``.
        response: side of the window that a correlation filter searches, pixels, even; 0 is no filter. The filter learns
            from each frame that is done, with "follow" if the agent says so.
        reward: "sign" per move; "clip" at the end, as Yun et al. train; "frame" at the end of each, as Chen et al. do;
            "overlap" likewise, but the overlap itself.
        control: "discrete", or "continuous", one move per frame, as Chen et al. have it; their second, wider crop is
            not shown; or "follow", one choice per frame among the peaks of the responses.
        updates: the agent decides when the template is updated, and may start a frame again. Of Ren et al. (2018) these
            decisions are taken, beside steps; their shifts by regression, their rewards and their update by training
            are not.
        redetect: the filter also searches a window three times as wide, and its strongest peak there can be gone to,
            so that an object that got lost may be found again; needs control "follow".
        start: "first" begins with the video and the object's box; "temporal" at 20 times of a video (TRE), "spatial"
            with the box shifted or scaled in 12 ways (SRE), each an item of its own.
        max_moves: moves per frame.
        step: step size in sides of the box.
        smallest: boxes do not become narrower or lower than this, pixels.
        channels: 1 shows all frames grey, 3 in RGB; None is RGB if a video of the split is.
        loading: ``classes``, ``split_file``, ``split_ratios``, ``split_seed``; see ``visionrl.datasets.load``.

    Source: Yun et al. (2017), ADNet; Chen et al. (2018), ACT; Ren et al. (2018), "Deep reinforcement learning with
    iterative shift for visual tracking"; the metrics and robustness starts of OTB are those of Wu, Lim & Yang (2013).
    """

    primary_metric = ("success_auc", True)
    hidden = ("iou", "gap", "reached", "scores")
    evaluation: ClassVar[dict[str, Any]] = {"clip": None}

    def __init__(
        self,
        data: Any = None,
        split: str = "train",
        clip: int | None = 10,
        window: int = 112,
        context: float = 1.4,
        template: bool = True,
        pixels: bool = True,
        response: int = 0,
        reward: Literal["sign", "clip", "frame", "overlap"] = "sign",
        control: Literal["discrete", "continuous", "follow"] = "discrete",
        updates: bool = False,
        redetect: bool = False,
        start: Literal["first", "temporal", "spatial"] = "first",
        max_moves: int = 20,
        step: float = 0.03,
        smallest: float = 5.0,
        channels: Literal[1, 3] | None = None,
        **loading: Any,
    ) -> None:
        check_choice("reward", reward, ("sign", "clip", "frame", "overlap"))
        check_choice("control", control, ("discrete", "continuous", "follow"))
        check_choice("start", start, tuple(PARTS))
        if updates and (control != "discrete" or not template):
            raise ValueError("updates must be False without discrete control or a template, got True")
        check_filters(response, redetect, control, pixels)
        check_range("clip", 2 if clip is None else clip, 2)
        check_range("window", window, 8)
        check_range("max_moves", max_moves, 1)
        check_range("context", context, 0.1)
        check_range("step", step, 0.001, 1.0)
        check_range("smallest", smallest, 1.0)
        self.clip, self.context, self.template, self.start = clip, context, template and pixels, start
        self.smallest, self.pixels = smallest, pixels
        self.kind, self.max_moves = reward, max_moves if control == "discrete" else 1
        self.control: Any = control_of(control, step, smallest, updates, redetect)
        self.bank = video_bank(
            load(data, kind=VideoSample, default="cutout-videos", split=split, **loading), window, channels
        )
        self.responses = Responses(response, self.bank.pyramid, redetect)
        self.parts, self.window = PARTS[start], window
        self.items = len(self.bank.first) * self.parts
        self.observation_space = spaces.Dict(self.shown())
        self.action_space = self.control.space
        # (1, ...), the action that leaves the box where it is and ends the frame
        self.hold = self.control.hold

    def shown(self) -> dict[str, spaces.Space]:
        """The spaces of what the agent sees."""
        image = spaces.Box(0, 255, (self.bank.channels, self.window, self.window), np.uint8)
        keys: dict[str, spaces.Space] = {"window": image} if self.pixels else {}
        keys |= {"template": image} if self.template else {}
        return keys | {"history": self.control.history} | self.responses.spaces()

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"channels": self.bank.channels}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        video, part = divmod(int(item), self.parts)
        first, length = int(self.bank.first[video]), int(self.bank.lengths[video])
        begins, ends = span(rng, self.bank.seen.array[first : first + length], self.clip, self.start, part)
        truth = self.bank.boxes.array[first + begins]
        box = shifted(truth, part) if self.start == "spatial" else truth
        frame, visited = np.array([first + begins]), np.full(self.max_moves + 1, -1)
        visited[-1] = packed(box)
        return State(
            image=np.int64(video),
            frame=frame[0],
            last=np.int64(first + ends),
            box=box,
            begin=box.copy() if self.control.updates else np.zeros(0),
            moves=np.int64(0),
            template=self.look(frame, box[None])[0] if self.template else np.zeros(0, np.uint8),
            visited=visited,
            actions=self.control.blank.copy(),
            frames=np.float64(0),
            scores=np.zeros(len(SCORES)),
            seen=np.float64(1),
            iou=np.float64(ops.iou(box, truth)),
            gap=np.float64(ops.norm(ops.center(box) - ops.center(truth))),
            reached=np.float64(ops.iou(box, truth)),
            finished=np.False_,
            **self.responses.begun(frame, box[None]),
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.box)
        box, moves = self.moved(state, action), state.moves + 1
        place = packed(box)[:, None]
        back = xp.any(state.visited == place, axis=-1)
        if self.control.updates:
            back = back & (action != RESTART)
        over = self.control.ends(action) | back | (moves >= self.max_moves)
        finished = over & (state.frame == state.last)
        frame, ended = state.frame + xp.astype(over & ~finished, xp.int64), xp.astype(over, box.dtype)
        truth = xp.reshape(self.truth(xp.concat([state.frame, frame])), (2, -1, 4))
        iou, apart = ops.iou(box[None, ...], truth), ops.center(box)[None, ...] - ops.center(truth)
        gap, scored = ops.norm(apart), ended * state.seen
        scores = frame_scores(apart[0, ...], ops.size(truth[0, ...]), iou[0, :], gap[0, :], state.frames == 0)
        forgotten = over | (action == RESTART) if self.control.updates else over
        past = xp.where(forgotten[:, None], -1, state.visited[:, 1:])
        return replace(
            state,
            frame=frame,
            box=box,
            begin=xp.where(over[:, None], box, state.begin) if self.control.updates else state.begin,
            moves=xp.where(over, 0, moves),
            template=self.updated(state, action, box),
            visited=xp.concat([past, place], axis=1),
            actions=xp.concat([state.actions[:, 1:, ...], self.control.kept(action, box)], axis=1),
            frames=state.frames + scored,
            scores=state.scores + scored[:, None] * scores,
            seen=self.visible(frame),
            iou=iou[1, :],
            gap=gap[1, :],
            reached=iou[0, :],
            finished=finished,
            **self.responses.after(state, box, frame, over & self.control.learns(action)),
        )

    def observe(self, state: State) -> dict[str, Array]:
        seen = {"history": self.control.told(state.actions)}
        if self.pixels:
            seen["window"] = self.look(state.frame, state.box)
        if self.template:
            seen["template"] = xp_of(state.box).asarray(state.template, copy=True)
        return seen | self.responses.told(state)

    def reward(self, before: State, action: Array, after: State) -> Array:
        if self.kind == "sign" and not self.control.updates:
            return rewards.improved(before.iou, after.reached) * before.seen
        xp, ones = xp_of(after.reached), xp_of(after.reached).ones_like(after.reached)
        verdict = xp.where(after.reached > GOOD, ones, -ones)
        if self.kind == "sign":
            earned = xp.where(action == UPDATE, verdict, rewards.improved(before.iou, after.reached))
        else:
            over = after.finished if self.kind == "clip" else after.finished | (after.frame != before.frame)
            earned = xp.where(over, after.reached if self.kind == "overlap" else verdict, 0.0)
        return earned * before.seen

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.box)
        found = means(state.scores, state.frames)
        return {
            "iou": xp.asarray(state.iou, copy=True),
            "center_error_px": xp.asarray(state.gap, copy=True),
            **found,
            "is_success": found["success_auc"] >= 0.5,
        }

    def expert(self, state: State) -> Array:
        xp = xp_of(state.box)
        best = self.control.toward(
            state.box, self.limit(state), self.truth(state.frame), *self.responses.peaks(state)
        )
        if not self.control.updates:
            return best
        sure = (best == STOP) & (state.iou > GOOD) & (state.seen > 0)
        return xp.where(sure, xp.full_like(best, UPDATE), best)

    def moved(self, state: State, action: Array) -> Array:
        """The box after an action, (B, 4)."""
        box = self.control.moved(state.box, self.limit(state), action, *self.responses.peaks(state))
        if not self.control.updates:
            return box
        return xp_of(box).where((action == RESTART)[:, None], state.begin, box)

    def updated(self, state: State, action: Array, box: Array) -> Array:
        """The templates after an action; see ``State``."""
        if not self.control.updates:
            return state.template
        xp = xp_of(box)
        return xp.where((action == UPDATE)[:, None, None, None], self.look(state.frame, box), state.template)

    def limit(self, state: State) -> Array:
        """(width, height) of the frames, (B, 2)."""
        return xp_of(state.box).take(self.bank.sizes.on(state.box), state.frame, axis=0)

    def look(self, frame: Array, box: Array) -> Array:
        """What the window shows of frames around boxes, (B, C, w, w)."""
        seen = ops.box_around(ops.center(box), self.context * ops.size(box))
        return ops.resize(self.bank.pyramid, frame, seen, self.window)

    def truth(self, frame: Array) -> Array:
        """The object's boxes in frames, (B, 4)."""
        return xp_of(frame).take(self.bank.boxes.on(frame), frame, axis=0)

    def visible(self, frame: Array) -> Array:
        """(B,) float64, 1 in frames in which the object is seen, else 0."""
        xp = xp_of(frame)
        return xp.astype(xp.take(self.bank.seen.on(frame), frame, axis=0), xp.float64)

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        frame = int(state.frame)
        canvas = Canvas(self.bank.image(frame).transpose(2, 0, 1))
        canvas.box(self.bank.boxes.array[frame], "truth")
        canvas.box(state.box, "agent")
        return canvas.pixels
