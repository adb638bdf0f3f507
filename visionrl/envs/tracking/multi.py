"""Tracking of many objects: who goes on with which detection, who begins, who is lost, who ends."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from visionrl import ops
from visionrl.banks.videos import frame_bank
from visionrl.core import Task, batch, check_range, register
from visionrl.datasets import MotSample, load
from visionrl.envs.tracking import turns
from visionrl.envs.tracking.sightings import SCORES, Detector, Sightings
from visionrl.envs.tracking.turns import (
    ACCEPT,
    CANDIDATES,
    END,
    ENDED,
    FEATURES,
    GUESS,
    LOST,
    NEW,
    NEXT,
    NONE,
    Row,
)
from visionrl.ops import Array
from visionrl.rendering import Canvas

ACTIONS = ("accept", "next", "lose", "end")
GOOD = 0.5  # HOTA that counts as success


@dataclass(frozen=True)
class State:
    """What the tracker knows and whose turn it is; B episodes of T frames, with M detections, K tracks, Q candidates.

    Attributes:
        item: (B,) int64, the video.
        start: (B,) int64, its frame with which the clip begins.
        length: (B,) int64, frames of the clip; T in all but short videos.
        time: (B,) int64, the present frame of the clip.
        detections: (B, T, M, 5) float64, (x0, y0, x1, y1) in pixels and score; NaN where there is none.
        source: (B, T, M) int64, the object that each shows; -1 none.
        looks: (B, M, C, w, w) uint8, what the present frame's detections look like.
        taken: (B, M) bool, no track may take the detection any more in this frame.
        boxes: (B, T, K, 4) float64, what was said, in pixels; NaN where a track is not in a frame.
        status: (B, K) int64, 0 not begun, 1 tracked, 2 lost, 3 ended.
        decided: (B, K) bool, the track has had its turn in this frame.
        born: (B, K) int64, frame in which the track began.
        found: (B, K) int64, frame of its last detection.
        owner: (B, K) int64, the object that this showed; -1 none.
        templates: (B, K, C, w, w) uint8, what it looked like there.
        phase: (B,) int64, 0 if the turn is a tracked track's, 1 a lost one's, 2 a detection's.
        subject: (B,) int64, number of the track or detection.
        candidates: (B, Q) int64, detections that it may go on with; -1 its motion's guess, -2 none.
        scores: (B, Q) float64, how alike they are to its template, -1 to 1.
        guess: (B, 4) float64, where the motion of the track leads, in pixels.
        rank: (B,) int64, candidates that were passed over.
        worth: (B, 4) float64, what the truth says of each action: 1, 0 or -1.
        result: (B, 6) float64, ``SCORES`` of the clip; 0 until it is over.
        finished: (B,) bool, the clip is over.
    """

    item: Array
    start: Array
    length: Array
    time: Array
    detections: Array
    source: Array
    looks: Array
    taken: Array
    boxes: Array
    status: Array
    decided: Array
    born: Array
    found: Array
    owner: Array
    templates: Array
    phase: Array
    subject: Array
    candidates: Array
    scores: Array
    guess: Array
    rank: Array
    worth: Array
    result: Array
    finished: Array


@register("MultiObjectTracking-v0", max_steps=None, tags=("tracking", "video", "discrete", "many"))
class MultiObjectTracking(Task[State]):
    """The agent decides, track after track and frame after frame, how the objects found by a detector belong together.

    Each object is a Markov decision process of its own: a track is tracked, lost or ended. In every frame the tracked
    ones have their turns, then the lost ones, then the detections that none of them took. A track is offered up to three
    detections near where it should be, those that overlap and look like it most first; a tracked one after them
    the place where its motion leads.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C, w, w) uint8: the candidate; ``template``, of the same shape: the track's last detection, black for a new one; ``features`` (19,): whose turn it is (tracked, lost, new), whether the candidate is a guess, its score, its overlap with where the track should be, distance, widths' and heights' log ratio, correlation with the template and lead over the next candidate's, age, frames since the last detection, overlap with other tracks, candidates left, place and size in the frame |
    | Action      | 0 accept: keep the track with a shift to the candidate, find it again, or activate a new one; 1 show the next candidate; 2 lose the track, or leave it lost; 3 end the track; for a new detection 1, 2 and 3 reject it |
    | Reward      | 1 for a decision that the truth confirms, -1 for one that it contradicts, 0 for going on to the next candidate when the right one is still to come |
    | Ends        | after the last decision in the clip's last frame |

    A track that was not found for ``patience`` frames ends. ``info`` has, once the clip is over, ``hota``, ``det_a``,
    ``ass_a``, ``mota``, ``idf1`` and ``id_switches`` of the tracks, as the benchmarks count them.

    Args:
        data: None for the embedded videos, "FORMAT:PATH", or a sequence of ``MotSample``.
        split: "train", "val" or "test".
        clip: frames of an episode, from a random one on; None for whole videos from their first frame on.
        window: side of the windows, pixels.
        context: side of what a window shows, in sides of the box.
        misses: share of the objects in sight that the drawn detector overlooks.
        false_alarms: its false detections in a frame, on average.
        jitter: standard deviation of the edges that it finds, in sides of the box. Where the data have detections,
            those are used, and these three arguments are not.
        patience: frames for which a lost track may be found again.
        tracks: most tracks of an episode; beyond, detections are rejected.
        channels: 1 shows all frames grey, 3 in RGB; None is RGB if a video of the split is.
        loading: ``split_file``, ``split_ratios``, ``split_seed``; see ``visionrl.datasets.load``.

    Source: Xiang, Alahi & Savarese (2015), "Learning to track: online multi-object tracking by decision making".
    """

    backends = ("numpy",)
    primary_metric = ("hota", True)
    hidden = ("source", "owner", "worth")
    evaluation: ClassVar[dict[str, Any]] = {"clip": None}

    def __init__(
        self,
        data: Any = None,
        split: str = "train",
        clip: int | None = 10,
        window: int = 32,
        context: float = 1.2,
        misses: float = 0.1,
        false_alarms: float = 0.5,
        jitter: float = 0.04,
        patience: int = 15,
        tracks: int = 48,
        channels: int | None = None,
        **loading: Any,
    ) -> None:
        check_range("clip", 2 if clip is None else clip, 2)
        check_range("window", window, 8)
        check_range("context", context, 0.1)
        check_range("misses", misses, 0.0, 1.0)
        check_range("false_alarms", false_alarms, 0.0)
        check_range("jitter", jitter, 0.0, 1.0)
        check_range("patience", patience, 1)
        check_range("tracks", tracks, 1)
        self.window, self.context, self.patience, self.tracks = window, context, patience, tracks
        samples = load(data, kind=MotSample, default="cutout-crowds", split=split, **loading)
        self.bank = frame_bank([sample.frames for sample in samples], window, channels)
        sides, detector = self.bank.sizes.array[self.bank.first], Detector(misses, false_alarms, jitter)
        self.videos = [Sightings(*given, detector) for given in zip(samples, sides, strict=True)]
        self.items, longest = len(samples), int(self.bank.lengths.max())
        self.clip, self.most = min(clip or longest, longest), max(video.most for video in self.videos)
        image = spaces.Box(0, 255, (self.bank.channels, window, window), np.uint8)
        features = spaces.Box(-1, 1, (FEATURES,), np.float32)
        self.observation_space = spaces.Dict({"window": image, "template": image, "features": features})
        self.action_space = spaces.Discrete(len(ACTIONS))

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"channels": self.bank.channels}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        length = min(self.clip, int(self.bank.lengths[item]))
        start = int(rng.integers(int(self.bank.lengths[item]) - length + 1))
        detections, source = self.videos[item].clip(rng, start, length, (self.clip, self.most))
        window = (self.bank.channels, self.window, self.window)
        row = Row(
            item=np.int64(item),
            start=np.int64(start),
            length=np.int64(length),
            detections=detections,
            source=source,
            looks=np.zeros((self.most, *window), np.uint8),
            taken=np.ones(self.most, bool),
            boxes=np.full((self.clip, self.tracks, 4), np.nan),
            templates=np.zeros((self.tracks, *window), np.uint8),
            decided=np.zeros(self.tracks, bool),
            candidates=np.full(CANDIDATES + 1, NONE),
            scores=np.zeros(CANDIDATES + 1),
            guess=np.zeros(4),
            worth=np.zeros(len(ACTIONS)),
            result=np.zeros(len(SCORES)),
            finished=np.False_,
            **{name: np.int64(0) for name in ("phase", "subject", "rank")},
            **{name: np.full(self.tracks, value) for name, value in BLANK.items()},
        )
        turns.open_frame(row, self, 0)
        turns.advance(row, self)
        row.worth[:] = turns.judge(row, self)
        return State(**vars(row))

    # -- middle: B episodes, NumPy ---------------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        copied = batch.each(state, np.copy)
        rows = opened(copied)
        for row, choice in zip(rows, action, strict=True):
            if not row.finished:
                self.decide(row, int(choice))
                row.worth[:] = turns.judge(row, self)
        return State(**{name: np.array([getattr(row, name) for row in rows]) for name in NAMES})

    def decide(self, row: Row, action: int) -> None:
        """One decision of one episode, made in place."""
        if row.phase == NEW:
            row.taken[row.subject] = True
            if action == ACCEPT:
                turns.begin(row)
        elif action == ACCEPT:
            turns.follow(row, row.subject, row.rank)
        elif action == NEXT and row.rank < CANDIDATES and row.candidates[row.rank + 1] != NONE:
            row.rank += 1
            return
        else:
            row.status[row.subject], row.decided[row.subject] = (ENDED if action == END else LOST), True
        turns.advance(row, self)

    def observe(self, state: State) -> dict[str, Array]:
        seen = [self.shown(row) for row in opened(state)]
        return {name: np.array([one[name] for one in seen]) for name in ("window", "template", "features")}

    def shown(self, row: Row) -> dict[str, np.ndarray]:
        """What is seen at one decision."""
        number, blank = row.candidates[row.rank], np.zeros_like(row.templates[0])
        box = turns.candidate(row, row.rank)
        own = row.phase != NEW and number != NONE
        window = (
            self.look(row, box[None, :4])[0]
            if number == GUESS
            else blank
            if number == NONE
            else row.looks[number]
        )
        template = row.templates[row.subject] if own else blank
        return {"window": window, "template": template, "features": turns.features(row, self, box, own)}

    def reward(self, before: State, action: Array, after: State) -> Array:
        return np.take_along_axis(before.worth, np.asarray(action)[:, None], axis=1)[:, 0]

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        found = {name: state.result[:, k].copy() for k, name in enumerate(SCORES)}
        return {**found, "is_success": found["hota"] >= GOOD}

    def expert(self, state: State) -> Array:
        return np.argmax(state.worth, axis=1)

    def good_actions(self, state: State) -> Array:
        return state.worth == state.worth.max(axis=1, keepdims=True)

    def look(self, row: Row, boxes: np.ndarray) -> np.ndarray:
        """What boxes (N, 4) in the present frame look like, (N, C, w, w)."""
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
            ("look", turns.candidate(row, row.rank)[None, :4]),
        ):
            for box in boxes[ops.area(boxes) > 0]:
                canvas.box(box, meaning)
        return canvas.pixels


NAMES = tuple(field.name for field in fields(State))
BLANK = {"status": turns.FREE, "born": 0, "found": 0, "owner": -1}


def opened(state: State) -> list[Row]:
    """The episodes of a state, one by one; their arrays are parts of the state's."""
    return [Row(**{name: getattr(state, name)[b] for name in NAMES}) for b in range(len(state.time))]
