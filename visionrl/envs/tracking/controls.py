"""Controls of the tracked box: by steps, by one continuous move, or to a peak of a filter; array-API code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from gymnasium import Space, spaces

from visionrl import ops
from visionrl.core.observables import ActionHistory, Observable, Vector, push
from visionrl.ops import Array, const, xp_of
from visionrl.ops.correlation_filter import MAPS, SCALES

# (dx, dy, growth) in units of the step: left, 2 left, right, 2 right, up, 2 up, down, 2 down, smaller, bigger, stop
MOVES = (
    *((-1, 0, 0), (-2, 0, 0), (1, 0, 0), (2, 0, 0), (0, -1, 0), (0, -2, 0), (0, 1, 0), (0, 2, 0)),
    *((0, 0, -1), (0, 0, 1), (0, 0, 0)),
)
STOP = len(MOVES) - 1
UPDATE, RESTART = STOP + 1, STOP + 2  # of template control; neither moves the box by a step
EDGE_PLACES = (2**48, 2**32, 2**16, 1)  # of the edges of a box in one number
KEPT = 10  # past actions in the observation
MAX_GROWTH = 0.05  # larger changes of size in one frame are not made
STOP_IOU = 0.93  # overlap at which the expert stops

SIZE_DISCOUNT = 0.98  # what a peak counts at another size than the present one
LEARN_IOU = 0.5  # overlap from which the expert has the filter learn
MIN_GAIN = 0.03  # overlap that the expert must gain to choose another peak than the strongest,
MIN_GAIN_WIDE = 0.1  # and where one may be the wide window's: smaller gains cannot be seen in the peaks


@dataclass(frozen=True)
class BoxMoves:
    """A box and how it came where it is; B episodes.

    Attributes:
        box: (B, 4) float64, (x0, y0, x1, y1) edges in pixels.
        frame_box: (B, 4) float64, the box with which this frame began.
        moves: (B,) int64, moves made in this frame.
        visited: (B, moves + 1) int64, the boxes of this frame, ``pack_box``, newest last; -1 where there is none yet.
        actions: (B, 10) int64, newest last, -1 before the start; with continuous control (B, 10, 3) float64, 0.
    """

    box: Array
    frame_box: Array
    moves: Array
    visited: Array
    actions: Array


class TrackControl(ABC):
    """A way to move the box that follows an object; one move a frame, unless a control says otherwise.

    Attributes:
        space: the action space.
        history: the observable of the last actions.
        blank: the history of actions at the start of one episode.
        hold: (1, ...) the action that leaves the box where it is and ends the frame.
        view: what the agent must be shown to use the control; None is nothing in particular.
        template: whether the agent decides when the template is updated.
        wide: whether the control needs the peak of a wide window.
        max_moves: most moves in a frame.
    """

    space: Space
    history: Observable
    blank: np.ndarray
    hold: np.ndarray
    view: str | None = None
    template, wide, max_moves = False, False, 1

    def __init__(self, min_size: float) -> None:
        self.min_size = min_size

    def number_actions(self, count: int) -> None:
        """Set the space and the history to those of so many discrete actions."""
        self.space, self.history = spaces.Discrete(count), (kept := ActionHistory(count, KEPT))
        self.blank = kept.blank

    def start(self, box: np.ndarray) -> BoxMoves:
        """A box (4,) before its first move, in one episode."""
        visited = np.full(self.max_moves + 1, -1)
        visited[-1] = pack_box(box)
        return BoxMoves(box.copy(), box.copy(), np.int64(0), visited, self.blank.copy())

    def move(
        self, before: BoxMoves, limit: Array, action: Array, peaks: Array = None
    ) -> tuple[BoxMoves, Array]:
        """The box after an action, and whether the frame is over, (B,) bool; for the arguments see ``motion``.

        A frame is over at an action that ends it, after ``max_moves``, and where a box comes back to where it was.
        """
        xp, restarts = xp_of(before.box), self.restarts(action)
        moved = self.motion(before.box, limit, action, peaks)
        box = xp.where(restarts[:, None], before.frame_box, moved)
        place, moves = pack_box(box)[:, None], before.moves + 1
        back = xp.any(before.visited == place, axis=-1) & ~restarts
        over = self.ends_frame(action) | back | (moves >= self.max_moves)
        past = xp.where((over | restarts)[:, None], -1, before.visited[:, 1:])
        after = BoxMoves(
            box=box,
            frame_box=xp.where(over[:, None], box, before.frame_box),
            moves=xp.where(over, 0, moves),
            visited=xp.concat([past, place], axis=1),
            actions=push(before.actions, xp.astype(action, before.actions.dtype)),
        )
        return after, over

    def ends_frame(self, action: Array) -> Array:
        """(B,) bool, whether an action ends the frame."""
        return every_row(action)

    def restarts(self, action: Array) -> Array:
        """(B,) bool, whether an action goes back to the box with which the frame began."""
        return no_row(action)

    def updates(self, action: Array) -> Array:
        """(B,) bool, whether an action updates the template."""
        return no_row(action)

    def learns(self, action: Array) -> Array:
        """(B,) bool, whether the filter learns from where an action puts the box."""
        return every_row(action)

    @abstractmethod
    def motion(self, box: Array, limit: Array, action: Array, peaks: Array = None) -> Array:
        """The box after an action, (B, 4); its aspect ratio stays as it is.

        Args:
            box: (B, 4) edges in pixels.
            limit: (B, 2) width and height of the frames, pixels.
            action: (B, ...).
            peaks: (B, 4, 5), see ``CorrelationFilter.peaks``, or (B, 5, 5) with that of the wide window, the last.
        """

    def with_updates(self, action: Array, sure: Array) -> Array:
        """The actions (B,), with an update in the place of a stop where the box is right, ``sure`` (B,) bool."""
        return action

    @abstractmethod
    def toward(self, box: Array, limit: Array, target: Array, peaks: Array = None) -> Array:
        """The action after which a box fits best to the target (B, 4)."""


class DiscreteMotion(TrackControl):
    """Steps, several a frame, and ``STOP``.

    Source: Yun et al. (2017), "Action-decision networks for visual tracking with deep reinforcement learning".

    Args:
        min_size: boxes do not become narrower or lower than this, pixels.
        step_size: in sides of the box.
        max_moves: most moves in a frame.
    """

    moves: tuple[tuple[int, int, int], ...] = MOVES

    def __init__(self, min_size: float, step_size: float, max_moves: int) -> None:
        super().__init__(min_size)
        self.step_size, self.max_moves = step_size, max_moves
        self.number_actions(len(self.moves))
        self.hold = np.array([STOP])

    def motion(self, box: Array, limit: Array, action: Array, peaks: Array = None) -> Array:
        """The box after a step, of ``step_size`` and at least a pixel."""
        xp = xp_of(box)
        move = xp.take(const(self.moves, box), action, axis=0)
        size = ops.size(box)
        stride = xp.maximum(self.step_size * size, 1.0)
        shape = size / xp.minimum(size[:, :1], size[:, 1:])
        wanted = size + move[:, 2:] * xp.minimum(stride[:, :1], stride[:, 1:]) * shape
        return place_box(box, move[:, :2] * stride, wanted, limit, self.min_size)

    def ends_frame(self, action: Array) -> Array:
        """(B,) bool, whether an action is stop."""
        return action == STOP

    def toward(self, box: Array, limit: Array, target: Array, peaks: Array = None) -> Array:
        """The step after which a box fits best; stop where it fits or nothing is better."""
        xp, fits = xp_of(box), []
        still = xp.zeros_like(limit[:, 0], dtype=xp.int64)
        for action in range(len(MOVES)):
            after = self.motion(box, limit, still + action)
            gap = ops.norm(ops.center(after) - ops.center(target)) / ops.norm(ops.size(target))
            fits.append(ops.iou(after, target) - 0.01 * gap)  # the gap leads where there is no overlap
        best = xp.argmax(xp.stack(fits[::-1], axis=-1), axis=-1)  # from the back, so that stop wins a tie
        return xp.where(ops.iou(box, target) > STOP_IOU, still + STOP, STOP - best)


class TemplateMotion(DiscreteMotion):
    """Steps, ``STOP``, ``UPDATE`` (stop and update the template), ``RESTART`` (go back to the frame's first box).

    Source: Ren et al. (2018), "Deep reinforcement learning with iterative shift for visual tracking".
    """

    view, template = "template", True
    moves = (*MOVES, (0, 0, 0), (0, 0, 0))

    def ends_frame(self, action: Array) -> Array:
        """(B,) bool, whether an action is stop or update."""
        return (action == STOP) | (action == UPDATE)

    def restarts(self, action: Array) -> Array:
        """(B,) bool, whether an action is restart."""
        return action == RESTART

    def updates(self, action: Array) -> Array:
        """(B,) bool, whether an action is update."""
        return action == UPDATE

    def with_updates(self, action: Array, sure: Array) -> Array:
        """The actions with an update in the place of a stop where the box is right."""
        return xp_of(action).where((action == STOP) & sure, UPDATE, action)


class ContinuousMotion(TrackControl):
    """One move a frame: (dx, dy) in sides of the box, and the share by which it grows, at most ``MAX_GROWTH``.

    Source: Chen et al. (2018), "Real-time 'actor-critic' tracking".

    Args:
        min_size: boxes do not become narrower or lower than this, pixels.
    """

    def __init__(self, min_size: float) -> None:
        super().__init__(min_size)
        self.space = spaces.Box(-1, 1, (3,), np.float32)
        self.history = Vector(KEPT * 3)
        self.blank = np.zeros((KEPT, 3))
        self.hold = np.zeros((1, 3), np.float32)

    def motion(self, box: Array, limit: Array, action: Array, peaks: Array = None) -> Array:
        """The box after a move (B, 3)."""
        xp = xp_of(box)
        move, size = xp.astype(action, box.dtype), ops.size(box)
        # float32 rounds 0.05 up
        growth = xp.where(xp.abs(move[:, 2:]) <= MAX_GROWTH + 1e-6, move[:, 2:], 0.0)
        return place_box(box, move[:, :2] * size, size * (1 + growth), limit, self.min_size)

    def toward(self, box: Array, limit: Array, target: Array, peaks: Array = None) -> Array:
        """The action, (B, 3) float32, that brings a box onto the target, as far as one can."""
        xp, size = xp_of(box), ops.size(box)
        shift = xp.clip((ops.center(target) - ops.center(box)) / size, -1.0, 1.0)
        growth = xp.clip(xp.sqrt(ops.area(target) / ops.area(box)) - 1, -MAX_GROWTH, MAX_GROWTH)
        return xp.astype(xp.concat([shift, growth[:, None]], axis=1), xp.float32)


class PeakSelection(TrackControl):
    """One choice a frame: to which filter's peak the box goes, and whether the filter learns from what is there.

    After Choi, Kwon & Lee (2018), "Real-time visual tracking by deep reinforced decision making", whose policy chooses
    among templates by their responses.

    Args:
        min_size: boxes do not become narrower or lower than this, pixels.
        wide: there is the peak of a wide window too.

    Attributes:
        choices: number of ways to go: to the strongest of the filter's own peaks, or to one of the peaks by number.
            Actions below it learn, those from it on do not.
        stay: the action that neither moves nor learns.
        min_gain: overlap that the expert must gain to choose another peak than the strongest.
    """

    view = "response"

    def __init__(self, min_size: float, wide: bool = False) -> None:
        super().__init__(min_size)
        self.wide, self.choices = wide, MAPS + 1 + wide
        self.stay, self.min_gain = 2 * self.choices, MIN_GAIN_WIDE if wide else MIN_GAIN
        self.number_actions(self.stay + 1)
        self.hold = np.array([self.stay])

    def motion(self, box: Array, limit: Array, action: Array, peaks: Array = None) -> Array:
        """The box at the peak chosen."""
        xp = xp_of(box)
        choice = action % self.choices
        which = xp.where(choice == 0, strongest(peaks), choice - 1)
        place = xp.take_along_axis(peaks, which[:, None, None], axis=1)[:, 0, :]
        after = place_box(box, place[:, :2], ops.size(box) * place[:, 2:3], limit, self.min_size)
        return xp.where((action == self.stay)[:, None], box, after)

    def learns(self, action: Array) -> Array:
        """(B,) bool, whether the filter learns from where an action puts the box."""
        return action < self.choices

    def toward(self, box: Array, limit: Array, target: Array, peaks: Array = None) -> Array:
        """The choice after which a box fits best; it learns where that is well.

        Others than the strongest peak must be clearly better, so that the choice can be seen in the responses.
        """
        xp = xp_of(box)
        still = xp.zeros_like(limit[:, 0], dtype=xp.int64)
        places = [
            self.motion(box, limit, still + action, peaks) for action in (*range(self.choices), self.stay)
        ]
        first, *others = [ops.iou(place, target) for place in places]
        fits = xp.stack([first + self.min_gain, *others], axis=-1)
        best, fit = xp.argmax(fits, axis=-1), xp.max(fits, axis=-1)
        moving = best + xp.where(fit >= LEARN_IOU, still, still + self.choices)
        return xp.where(best == self.choices, still + self.stay, moving)


def make_control(name: str, min_size: float, step_size: float, max_moves: int) -> TrackControl:
    """The control that an argument names; each takes the numbers that concern it."""
    if name == "continuous":
        return ContinuousMotion(min_size)
    if name in ("follow", "redetect"):
        return PeakSelection(min_size, wide=name == "redetect")
    return (TemplateMotion if name == "update" else DiscreteMotion)(min_size, step_size, max_moves)


def every_row(action: Array) -> Array:
    """(B,) bool, all True."""
    xp, flat = xp_of(action), action if action.ndim == 1 else action[:, 0]
    return xp.ones_like(flat, dtype=xp.bool)


def no_row(action: Array) -> Array:
    """(B,) bool, all False."""
    xp, flat = xp_of(action), action if action.ndim == 1 else action[:, 0]
    return xp.zeros_like(flat, dtype=xp.bool)


def strongest(peaks: Array) -> Array:
    """(B,) which of the filter's own peaks, (B, 4, 5), is highest; another size than the present one counts less."""
    xp = xp_of(peaks)
    own = peaks[:, : len(SCALES), :]
    return xp.argmax(xp.where(own[..., 2] == 1, own[..., 3], SIZE_DISCOUNT * own[..., 3]), axis=-1)


def place_box(box: Array, shift: Array, wanted: Array, limit: Array, min_size: float) -> Array:
    """The box shifted by pixels and of another size, if that is allowed; its centre stays in the frame, (B, 4)."""
    xp, size = xp_of(box), ops.size(box)
    low, high = wanted >= xp.minimum(size, min_size), wanted <= xp.maximum(size, limit)
    center = xp.minimum(xp.maximum(ops.center(box) + shift, 0.0), limit)
    return ops.box_around(center, xp.where(ops.every(low & high)[:, None], wanted, size))


def pack_box(box: Array) -> Array:
    """Boxes rounded to whole pixels, each as one number, 16 bits an edge: (..., 4) -> (...) int64."""
    xp = xp_of(box)
    edges = xp.astype(xp.round(box), xp.int64)
    return xp.sum(edges * const(EDGE_PLACES, edges), axis=-1)
