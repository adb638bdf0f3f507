"""The decisions of multi-object tracking in their order: who decides next, among which detections; NumPy.

``Detections``, ``Tracks`` and ``Turn`` group the fields of a state, of B episodes; an ``Episode`` holds one row of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from visionrl import ops
from visionrl.metrics.mot import MATCH
from visionrl.ops import Array

ACTIONS = 4
ACCEPT, NEXT, LOSE, END = range(ACTIONS)
FREE, TRACKED, LOST, ENDED = range(4)  # status of a track
NEW = 2  # phases of a frame: tracked tracks in turn, then lost ones, then detections that nobody took
PREDICTED, NONE = (
    -1,
    -2,
)  # candidates that are no detection: the box predicted by the track's motion, and none

CANDIDATES = 3  # detections that a track is offered, best first
SEARCH_RADIUS = 1.5  # how far from its prediction a track searches for detections, in its own sides
RADIUS_GROWTH = 0.5  # and how much farther for every frame without one
MAX_COAST = 4  # frames without a detection in which a tracked track is offered its prediction
FEATURES = 19
VELOCITY_FRAMES = 5  # frames over which a track's velocity is taken


@dataclass(frozen=True)
class Detections:
    """Detections in a clip of T frames, at most M boxes in each.

    Attributes:
        detections: (B, T, M, 5) float64, (x0, y0, x1, y1) in pixels and score; NaN where there is none.
        source: (B, T, M) int64, the object that each shows; -1 none.
        windows: (B, M, C, w, w) uint8, the windows of the present frame's detections.
        assigned: (B, M) bool, no track may take the detection any more in this frame.
    """

    detections: Array
    source: Array
    windows: Array
    assigned: Array


@dataclass(frozen=True)
class Tracks:
    """K tracks in a clip of T frames.

    Attributes:
        boxes: (B, T, K, 4) float64, edges in pixels; NaN where a track is not in a frame.
        status: (B, K) int64, 0 not begun, 1 tracked, 2 lost, 3 ended.
        decided: (B, K) bool, the track has had its turn in this frame.
        born: (B, K) int64, frame in which the track began.
        last_seen: (B, K) int64, frame of its last detection.
        owner: (B, K) int64, the object that this showed; -1 none.
        templates: (B, K, C, w, w) uint8, its window there.
    """

    boxes: Array
    status: Array
    decided: Array
    born: Array
    last_seen: Array
    owner: Array
    templates: Array


@dataclass(frozen=True)
class Turn:
    """A decision that is due, with Q candidates; the defaults are those of one episode before its first.

    Attributes:
        time: (B,) int64, the present frame of the clip.
        finished: (B,) bool, the clip is over, and no decision is due.
        phase: (B,) int64, 0 if the turn is a tracked track's, 1 a lost one's, 2 a detection's.
        subject: (B,) int64, number of the track or detection.
        rank: (B,) int64, candidates that were passed over.
        candidates: (B, Q) int64, detections that it may go on with; -1 its predicted box, -2 none.
        correlations: (B, Q) float64, their correlation with its template, -1 to 1.
        predicted: (B, 4) float64, the box of the track by its motion, in pixels; 0 for a detection.
    """

    time: Array = 0
    finished: Array = False
    phase: Array = 0
    subject: Array = 0
    rank: Array = 0
    candidates: Array = field(default_factory=lambda: np.full(CANDIDATES + 1, NONE))
    correlations: Array = field(default_factory=lambda: np.zeros(CANDIDATES + 1))
    predicted: Array = field(default_factory=lambda: np.zeros(4))


@dataclass(frozen=True)
class Clip:
    """The clip that an episode is about; L frames, N objects.

    Attributes:
        truth: (L, N, 4) float64, edges in pixels; NaN where an object is not in a frame.
        sides: (2,) width and height of the frames, pixels.
        patience: frames for which a lost track may be found again.
        look: number of a frame, boxes (n, 4) -> their windows, (n, C, w, w) uint8.
    """

    truth: np.ndarray
    sides: np.ndarray
    patience: int
    look: Callable[[int, np.ndarray], np.ndarray]


@dataclass
class Episode:
    """One episode, its arrays without the axis B; methods write into those of ``found`` and ``tracks``."""

    clip: Clip
    found: Detections
    tracks: Tracks
    turn: Turn

    @classmethod
    def begin(
        cls, clip: Clip, detections: np.ndarray, source: np.ndarray, window: tuple[int, ...], max_tracks: int
    ) -> Episode:
        """An episode at its first decision.

        Args:
            clip: what it is about.
            detections: (T, M, 5), see ``Detections``.
            source: (T, M), likewise.
            window: (C, w, w), the shape of a window.
            max_tracks: room for tracks, K.
        """
        length, count = source.shape
        found = Detections(detections, source, np.zeros((count, *window), np.uint8), np.ones(count, bool))
        tracks = Tracks(
            boxes=np.full((length, max_tracks, 4), np.nan),
            status=np.full(max_tracks, FREE),
            decided=np.zeros(max_tracks, bool),
            born=np.zeros(max_tracks, int),
            last_seen=np.zeros(max_tracks, int),
            owner=np.full(max_tracks, -1),
            templates=np.zeros((max_tracks, *window), np.uint8),
        )
        episode = cls(clip, found, tracks, Turn())
        episode.show_frame(0)
        episode.advance()
        return episode

    @property
    def time(self) -> int:
        """The present frame of the clip."""
        return self.turn.time

    # -- the order of decisions ------------------------------------------------------------------------------------
    def decide(self, action: int) -> None:
        """Make one decision, and go on to the next."""
        turn = self.turn
        if turn.phase == NEW:
            self.found.assigned[turn.subject] = True
            room = np.flatnonzero(self.tracks.status == FREE)
            if action == ACCEPT and len(room):
                self.tracks.born[room[0]] = self.time
                self.extend_track(room[0])
        elif action == ACCEPT:
            self.extend_track(turn.subject)
        elif action == NEXT and turn.rank < CANDIDATES and turn.candidates[turn.rank + 1] != NONE:
            self.turn = replace(turn, rank=turn.rank + 1)
            return
        else:
            self.leave_track(turn.subject, ENDED if action == END else LOST)
        self.advance()

    def advance(self) -> None:
        """Go on to the next decision: those of a frame in order, then the next frame's, until the clip is over."""
        while not self.turn.finished:
            if (subject := self.next_subject()) is None:
                self.next_frame()
                continue
            self.turn = self.turn_of(*subject)
            if self.turn.candidates[0] != NONE:
                return
            self.leave_track(
                self.turn.subject, LOST
            )  # nothing to decide: without a candidate a track is lost

    def next_subject(self) -> tuple[int, int] | None:
        """Phase and number of who decides next in this frame; None where all have."""
        for phase, status in ((0, TRACKED), (1, LOST)):
            waiting = np.flatnonzero((self.tracks.status == status) & ~self.tracks.decided)
            if len(waiting):
                return phase, int(waiting[0])
        left = np.flatnonzero(~self.found.assigned)
        return (NEW, int(left[0])) if len(left) else None

    def next_frame(self) -> None:
        """Begin the next frame, or end the clip."""
        if self.time + 1 >= len(self.clip.truth):
            self.turn = Turn(self.time, True, self.turn.phase, self.turn.subject)
            return
        self.show_frame(self.time + 1)
        late = self.time - self.tracks.last_seen > self.clip.patience
        self.tracks.status[(self.tracks.status == LOST) & late] = ENDED

    def show_frame(self, time: int) -> None:
        """Show a frame's detections; nobody has decided yet."""
        self.turn, self.tracks.decided[:] = replace(self.turn, time=time), False
        boxes = self.found.detections[time, :, :4]
        self.found.assigned[:] = np.isnan(boxes[:, 0])
        there = np.flatnonzero(~self.found.assigned)
        self.found.windows[there] = self.clip.look(time, boxes[there])

    def extend_track(self, track: int) -> None:
        """Continue a track at the present candidate; a detection's window, not a prediction's, becomes its template."""
        tracks, found, number = self.tracks, self.found, self.turn.candidates[self.turn.rank]
        tracks.boxes[self.time, track] = self.candidate()[:4]
        tracks.status[track], tracks.decided[track] = TRACKED, True
        if number >= 0:
            found.assigned[number], tracks.last_seen[track] = True, self.time
            tracks.owner[track] = found.source[self.time, number]
            tracks.templates[track] = found.windows[number]

    def leave_track(self, track: int, status: int) -> None:
        """Leave a track without a box in this frame."""
        self.tracks.status[track], self.tracks.decided[track] = status, True

    # -- candidates ------------------------------------------------------------------------------------------------
    def turn_of(self, phase: int, subject: int) -> Turn:
        """A turn with its candidates, best first, and their correlation with the template."""
        turn = Turn(self.time, False, phase, subject)
        chosen, alike = turn.candidates, turn.correlations
        if phase == NEW:
            chosen[0] = subject
            return turn
        template = self.tracks.templates[subject]
        guess, late = predict_box(self.tracks.boxes[: self.time, subject]), self.frames_unseen(subject)
        free = np.flatnonzero(~self.found.assigned)
        boxes = self.found.detections[self.time, free, :4]
        reach = (SEARCH_RADIUS + RADIUS_GROWTH * (late - 1)) * np.sqrt(ops.area(guess))
        near = ops.norm(ops.center(boxes) - ops.center(guess)) < reach
        free, boxes = free[near], boxes[near]
        similar = window_correlation(template, self.found.windows[free])
        order = np.argsort(-similar - ops.iou(boxes, guess), kind="stable")[:CANDIDATES]
        chosen[: len(order)], alike[: len(order)] = free[order], similar[order]
        if phase == 0 and late <= MAX_COAST and overlaps_frame(guess, self.clip.sides):
            chosen[len(order)] = PREDICTED
            alike[len(order)] = window_correlation(template, self.clip.look(self.time, guess[None]))[0]
        return replace(turn, predicted=guess)

    def frames_unseen(self, track: int) -> int:
        """Frames since the last detection of a track."""
        return self.time - self.tracks.last_seen[track]

    def candidate(self) -> np.ndarray:
        """The box and the score of the present candidate, (5,); zeros where there is none."""
        number = self.turn.candidates[self.turn.rank]
        if number >= 0:
            return self.found.detections[self.time, number]
        return np.append(self.turn.predicted, 0) if number == PREDICTED else np.zeros(5)

    # -- what the truth says ---------------------------------------------------------------------------------------
    def action_labels(self) -> tuple[float, float, float, float]:
        """The label of each action by the truth, ``ACCEPT`` to ``END``: 1 right, 0 neutral, -1 wrong."""
        tracks, turn = self.tracks, self.turn
        if turn.finished:
            return (0, 0, 0, 0)
        if turn.phase == NEW:
            whose = self.found.source[self.time, turn.subject]
            live = (tracks.status == TRACKED) | (tracks.status == LOST)
            fresh = whose >= 0 and not (live & (tracks.owner == whose)).any()
            return (1, -1, -1, -1) if fresh else (-1, 1, 1, 1)
        owner = tracks.owner[turn.subject]
        gone = owner < 0 or bool(np.isnan(self.clip.truth[self.time :, owner, 0]).all())
        right = [self.shows_object(number, owner) for number in turn.candidates[turn.rank :]]
        return (
            1 if right[0] else -1,
            0 if any(right) and not right[0] else -1,
            -1 if any(right) else 0 if gone else 1,
            1 if gone else -1,
        )

    def shows_object(self, number: int, owner: int) -> bool:
        """True if a candidate shows the object that the track is on."""
        if owner < 0 or number == NONE:
            return False
        if number >= 0:
            return bool(self.found.source[self.time, number] == owner)
        overlap = ops.iou(self.turn.predicted, self.clip.truth[self.time, owner])
        return bool(overlap >= MATCH)  # NaN where it is not in the frame

    # -- what the agent sees ---------------------------------------------------------------------------------------
    def observation(self) -> dict[str, np.ndarray]:
        """The values of the observables; see ``MultiObjectTracking``."""
        turn, blank = self.turn, np.zeros_like(self.tracks.templates[0])
        number = turn.candidates[turn.rank]
        window = blank if number == NONE else self.found.windows[number]
        if number == PREDICTED:
            window = self.clip.look(self.time, turn.predicted[None])[0]
        own = turn.phase != NEW and number != NONE
        template = self.tracks.templates[turn.subject] if own else blank
        return {"window": window, "template": template, "features": self.features(own)}

    def features(self, own: bool) -> np.ndarray:
        """(19,) float32 in [-1, 1]; ``own`` says whether the candidate is compared with a track."""
        turn, box = self.turn, self.candidate()
        rank, edges, left = turn.rank, box[:4], turn.candidates[turn.rank + 1 :]
        values = np.zeros(FEATURES)
        values[turn.phase], values[3], values[4] = 1, turn.candidates[rank] == PREDICTED, box[4]
        if own:
            guess = turn.predicted
            values[5] = ops.iou(edges, guess)
            values[6] = ops.norm(ops.center(edges) - ops.center(guess)) / np.sqrt(ops.area(guess)) / 3
            values[7:9] = np.log(ops.size(edges) / ops.size(guess))
            alike, runner_up = turn.correlations[rank], turn.correlations[rank + 1] if len(left) else 0.0
            values[9], values[10] = alike, alike - runner_up
            values[11] = (self.time - self.tracks.born[turn.subject]) / 20
            values[12] = self.frames_unseen(turn.subject) / self.clip.patience
        others = self.tracks.boxes[self.time, self.tracks.status == TRACKED]
        values[13] = np.nan_to_num(ops.iou(others, edges)).max(initial=0)
        values[14] = (left != NONE).mean() if len(left) else 0
        values[15:17], values[17:] = ops.center(edges) / self.clip.sides, ops.size(edges) / self.clip.sides
        return np.clip(values, -1, 1).astype(np.float32)


def predict_box(path: np.ndarray) -> np.ndarray:
    """The box after a path if it moves on at constant velocity: (T, 4), NaN in frames without one -> (4,)."""
    times = np.flatnonzero(~np.isnan(path[:, 0]))
    last, late = path[times[-1]], len(path) - times[-1]
    times = times[times > times[-1] - VELOCITY_FRAMES]
    span = times[-1] - times[0]
    if not span:
        return last.copy()
    moved = ops.center(last) - ops.center(path[times[0]])
    return last + np.tile(moved / span, 2) * min(late, VELOCITY_FRAMES)


def window_correlation(one: np.ndarray, many: np.ndarray) -> np.ndarray:
    """The normalised correlation of a window (C, w, w) with (N, C, w, w): (N,), -1 to 1; 0 where one is flat."""
    flat = np.concatenate([one[None], many]).reshape(len(many) + 1, -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    lengths = np.maximum(np.sqrt((flat * flat).sum(axis=1)), 1e-6)
    return (flat[1:] @ flat[0] / (lengths[1:] * lengths[0])).astype(float)


def overlaps_frame(box: np.ndarray, sides: np.ndarray) -> bool:
    """True if a box overlaps a frame of (width, height)."""
    return bool((box[:2] < sides).all() and (box[2:] > 0).all())
