"""Tracking of many objects: which detection continues, starts, loses or ends which track."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Interval
from gymnasium import spaces

from visionrl import ops
from visionrl.banks.videos import frame_bank
from visionrl.core import Task, arguments, batch, register
from visionrl.core.observables import Image, Vector
from visionrl.datasets import MotSample
from visionrl.envs.tracking import decisions
from visionrl.envs.tracking.decisions import CANDIDATES, NONE, Row
from visionrl.envs.tracking.detections import SCORES, Detector, VideoDetections
from visionrl.ops import Array
from visionrl.rendering import Canvas

NEW_TRACKS = {"status": decisions.FREE, "born": 0, "last_seen": 0, "owner": -1, "decided": False}
GOOD_HOTA = 0.5  # HOTA that counts as success


@dataclass(frozen=True)
class State:
    """Tracks, candidates and the present decision; B episodes of T frames, with M detections, K tracks, Q candidates.

    Attributes:
        item: (B,) int64, the video.
        start: (B,) int64, its frame with which the clip begins.
        length: (B,) int64, frames of the clip; T in all but short videos.
        time: (B,) int64, the present frame of the clip.
        detections: (B, T, M, 5) float64, (x0, y0, x1, y1) in pixels and score; NaN where there is none.
        source: (B, T, M) int64, the object that each shows; -1 none.
        windows: (B, M, C, w, w) uint8, the windows of the present frame's detections.
        assigned: (B, M) bool, no track may take the detection any more in this frame.
        boxes: (B, T, K, 4) float64, the tracks, in pixels; NaN where a track is not in a frame.
        status: (B, K) int64, 0 not begun, 1 tracked, 2 lost, 3 ended.
        decided: (B, K) bool, the track has had its turn in this frame.
        born: (B, K) int64, frame in which the track began.
        last_seen: (B, K) int64, frame of its last detection.
        owner: (B, K) int64, the object that this showed; -1 none.
        templates: (B, K, C, w, w) uint8, its window there.
        phase: (B,) int64, 0 if the turn is a tracked track's, 1 a lost one's, 2 a detection's.
        subject: (B,) int64, number of the track or detection.
        candidates: (B, Q) int64, detections that it may go on with; -1 its predicted box, -2 none.
        scores: (B, Q) float64, their correlation with its template, -1 to 1.
        predicted: (B, 4) float64, the box of the track by its motion, in pixels.
        rank: (B,) int64, candidates that were passed over.
        action_labels: (B, 4) float64, of each action by the truth: 1 right, 0 neutral, -1 wrong.
        result: (B, 6) float64, ``SCORES`` of the clip; 0 until it is over.
        finished: (B,) bool, the clip is over.
    """

    item: Array
    start: Array
    length: Array
    time: Array
    detections: Array
    source: Array
    windows: Array
    assigned: Array
    boxes: Array
    status: Array
    decided: Array
    born: Array
    last_seen: Array
    owner: Array
    templates: Array
    phase: Array
    subject: Array
    candidates: Array
    scores: Array
    predicted: Array
    rank: Array
    action_labels: Array
    result: Array
    finished: Array


@register("MultiObjectTracking-v0", max_steps=None, tags=("tracking", "video", "discrete", "many"))
@arguments
class MultiObjectTracking(Task[State]):
    """The agent decides, track after track and frame after frame, how the objects found by a detector belong together.

    Each object is a Markov decision process of its own: a track is tracked, lost or ended. In every frame the tracked
    ones have their turns, then the lost ones, then the detections that none of them took. A track is offered up to
    three detections near its predicted box, those that overlap with it and resemble the template most first; a tracked
    one after them the prediction itself.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C, w, w) uint8: the candidate; ``template``, of the same shape: the track's last detection, black for a new one; ``features`` (19,): whose turn it is (tracked, lost, new), whether the candidate is a prediction, its score, its overlap with the predicted box, distance, widths' and heights' log ratio, correlation with the template and lead over the next candidate's, age, frames since the last detection, overlap with other tracks, candidates left, place and size in the frame |
    | Action      | Discrete(4), see below |
    | Reward      | 1 for a decision that the truth confirms, -1 for one that it contradicts, 0 for going on to the next candidate when the right one is still to come |
    | Ends        | after the last decision in the clip's last frame |

    | Action | Meaning |
    |--------|---------|
    | 0 | accept: continue the track at the candidate, re-identify a lost one, or activate a new one |
    | 1 | next: show the next candidate; reject a new detection |
    | 2 | lose: mark the track lost, or leave it so; reject a new detection |
    | 3 | end: end the track; reject a new detection |

    A track without a detection for ``patience`` frames ends. ``info`` has, once the clip is over, ``hota``, ``det_a``,
    ``ass_a``, ``mota``, ``idf1`` and ``id_switches`` of the tracks, as the benchmarks count them.

    Source: Xiang, Alahi & Savarese (2015), "Learning to track: online multi-object tracking by decision making".
    """

    clip: Annotated[int, Ge(2)] | None = 10
    """Frames of an episode, from a random one on; None for whole videos from their first frame on."""
    window: Annotated[int, Ge(8)] = 32
    """Side of the windows, pixels."""
    context: Annotated[float, Ge(0.1)] = 1.2
    """Side of what a window shows, in sides of the box."""
    miss_rate: Annotated[float, Interval(ge=0.0, le=1.0)] = 0.1
    """Share of the objects in sight that the simulated detector overlooks; data with detections need no simulation."""
    false_positives: Annotated[float, Ge(0.0)] = 0.5
    """False detections of the simulated detector in a frame, on average."""
    jitter: Annotated[float, Interval(ge=0.0, le=1.0)] = 0.04
    """Standard deviation of the edges that the simulated detector finds, in sides of the box."""
    patience: Annotated[int, Ge(1)] = 15
    """Frames for which a lost track may be found again."""
    max_tracks: Annotated[int, Ge(1)] = 48
    """Most tracks of an episode; beyond, detections are rejected."""
    channels: Literal[1, 3] | None = None
    """1 shows all frames grey, 3 in RGB; None is RGB if a video of the split is."""

    backends = ("numpy",)
    sample_type, embedded = MotSample, "cutout-crowds"
    primary_metric = ("hota", True)
    hidden = ("source", "owner", "action_labels")
    evaluation: ClassVar[dict[str, Any]] = {"clip": None}

    def setup(self) -> None:
        samples = self.load()
        self.bank = frame_bank(samples, self.window, self.channels)
        detector = Detector(self.miss_rate, self.false_positives, self.jitter)
        sides = self.bank.sizes.array[self.bank.first]
        self.videos = [VideoDetections(*given, detector) for given in zip(samples, sides, strict=True)]
        self.items, longest = len(samples), int(self.bank.lengths.max())
        self.length = min(self.clip or longest, longest)
        self.max_detections = max(video.max_detections for video in self.videos)
        image = Image(self.bank.channels, self.window)
        self.show(window=image, template=image, features=Vector(decisions.FEATURES))
        self.action_space = spaces.Discrete(decisions.ACTIONS)

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"channels": self.bank.channels}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        length = min(self.length, int(self.bank.lengths[item]))
        start = int(rng.integers(int(self.bank.lengths[item]) - length + 1))
        shape = (self.length, self.max_detections)
        detections, source = self.videos[item].draw_clip(rng, start, length, shape)
        window = (self.bank.channels, self.window, self.window)
        row = Row(
            **{name: np.full(self.max_tracks, value) for name, value in NEW_TRACKS.items()},
            **{name: np.int64(0) for name in ("phase", "subject", "rank")},
            item=np.int64(item),
            start=np.int64(start),
            length=np.int64(length),
            detections=detections,
            source=source,
            windows=np.zeros((self.max_detections, *window), np.uint8),
            assigned=np.ones(self.max_detections, bool),
            boxes=np.full((self.length, self.max_tracks, 4), np.nan),
            templates=np.zeros((self.max_tracks, *window), np.uint8),
            candidates=np.full(CANDIDATES + 1, NONE),
            scores=np.zeros(CANDIDATES + 1),
            predicted=np.zeros(4),
            action_labels=np.zeros(decisions.ACTIONS),
            result=np.zeros(len(SCORES)),
            finished=np.False_,
        )
        decisions.show_frame(row, self, 0)
        decisions.advance(row, self)
        row.action_labels[:] = decisions.action_labels(row, self)
        return State(**vars(row))

    # -- middle: B episodes, NumPy ---------------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        rows = decisions.split_rows(vars(batch.each(state, np.copy)))
        for row, choice in zip(rows, action, strict=True):
            if not row.finished:
                decisions.decide(row, self, int(choice))
                row.action_labels[:] = decisions.action_labels(row, self)
        return State(**{name: np.array([getattr(row, name) for row in rows]) for name in vars(state)})

    def observe(self, state: State) -> dict[str, Array]:
        rows = [decisions.see(row, self) for row in decisions.split_rows(vars(state))]
        return self.seen(**{name: np.array([row[name] for row in rows]) for name in self.observables})

    def reward(self, before: State, action: Array, after: State) -> Array:
        return np.take_along_axis(before.action_labels, np.asarray(action)[:, None], axis=1)[:, 0]

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        found = {name: state.result[:, k].copy() for k, name in enumerate(SCORES)}
        return {**found, "is_success": found["hota"] >= GOOD_HOTA}

    def expert(self, state: State) -> Array:
        return np.argmax(state.action_labels, axis=1)

    def good_actions(self, state: State) -> Array:
        return state.action_labels == state.action_labels.max(axis=1, keepdims=True)

    def look(self, row: Row, boxes: np.ndarray) -> np.ndarray:
        """The windows of boxes (N, 4) in the present frame, (N, C, w, w)."""
        frame = np.full(len(boxes), self.bank.first[row.item] + row.start + row.time)
        around = ops.box_around(ops.center(boxes), self.context * ops.size(boxes))
        return ops.resize(self.bank.pyramid, frame, around, self.window)

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        row = Row(**vars(state))
        frame = int(self.bank.first[row.item] + row.start + row.time)
        canvas = Canvas(self.bank.image(frame).transpose(2, 0, 1))
        for meaning, boxes in (
            ("truth", self.videos[row.item].truth[row.start + row.time]),
            ("agent", row.boxes[row.time]),
            ("look", decisions.candidate_box(row, row.rank)[None, :4]),
        ):
            for box in boxes[ops.area(boxes) > 0]:
                canvas.box(box, meaning)
        return canvas.pixels
