"""Classical multi-object trackers: greedy overlap, a Kalman filter with optimal assignment (SORT), and a plain rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from visionrl import ops
from visionrl.core import baseline
from visionrl.envs.tracking.decisions import ACCEPT, LOSE, NEXT
from visionrl.envs.tracking.multi import MultiObjectTracking, State
from visionrl.metrics.mot import assign

Run = Callable[[Any, State], State]
Frames = list[dict[int, np.ndarray]]  # per frame: identity -> box


@dataclass(frozen=True)
class GreedyConfig:
    """Constants of the greedy tracker, chosen on the validation split of the embedded videos.

    Attributes:
        overlap: least IoU with the box of the frame before, from 0.1, 0.2, 0.3 and 0.5.
        sure: a track has a detection of at least this score, from 0, 0.5 and 0.7.
        frames: a track is at least this long, from 1, 2 and 3.
    """

    overlap: float = 0.1
    sure: float = 0.5
    frames: int = 2


@dataclass(frozen=True)
class SortConfig:
    """Constants of the Kalman tracker, chosen likewise.

    Attributes:
        overlap: least IoU with the predicted box, from 0.1, 0.2 and 0.3.
        score: least score of a detection, from 0, 0.4, 0.5 and 0.6.
        hits: frames in a row before a track counts, from 1, 2 and 3.
        age: frames that a track outlives without a detection, from 1, 3, 6 and 10.
    """

    overlap: float = 0.1
    score: float = 0.5
    hits: int = 1
    age: int = 3


@dataclass(frozen=True)
class RuleConfig:
    """Constants of the rule, chosen likewise.

    Attributes:
        alike: accept a candidate if correlation and overlap add up to this, from 0.5, 0.7, 0.9 and 1.1.
        score: activate a track at a detection of this score, from 0.5, 0.6 and 0.7.
    """

    alike: float = 0.9
    score: float = 0.7


@baseline("MultiObjectTracking-v0", "greedy IoU", learns=False)
def greedy_iou(train: Any, config: GreedyConfig = GreedyConfig()) -> Run:
    """Every track continues at the detection that overlaps its last box most, or ends.

    Source: Bochinski, Eiselein & Sikora (2017), "High-speed tracking-by-detection without using image information".
    """

    def run(task: MultiObjectTracking, state: State) -> State:
        tracks: list[dict[int, np.ndarray]] = []
        alive: list[dict[int, np.ndarray]] = []
        for time, found in enumerate(detections(state)):
            left, kept = list(range(len(found))), []
            for track in alive:
                overlap = ops.iou(found[left, :4], track[time - 1][:4])
                if len(left) and overlap.max() >= config.overlap:
                    track[time] = found[left.pop(int(overlap.argmax()))]
                    kept.append(track)
            alive = kept + [{time: found[number]} for number in left]
            tracks += alive[len(kept) :]
        good = [
            track
            for track in tracks
            if len(track) >= config.frames and max(box[4] for box in track.values()) >= config.sure
        ]
        length = int(state.length[0])
        return end_with(
            task, state, [{k: t[time] for k, t in enumerate(good) if time in t} for time in range(length)]
        )

    return run


@baseline("MultiObjectTracking-v0", "Hungarian and Kalman (SORT)", learns=False)
def sort(train: Any, config: SortConfig = SortConfig()) -> Run:
    """A Kalman filter of constant velocity predicts every track, and tracks continue by the assignment of most overlap.

    Source: Bewley et al. (2016), "Simple online and realtime tracking".
    """

    def run(task: MultiObjectTracking, state: State) -> State:
        tracks: list[KalmanFilter] = []
        frames: Frames = []
        begun = 0
        for time, found in enumerate(detections(state)):
            found = found[found[:, 4] >= config.score, :4]
            guesses = np.array([track.predict() for track in tracks]).reshape(-1, 4)
            overlap = ops.iou(guesses[:, None], found[None])
            rows, columns = assign(overlap)
            pairs = {
                int(c): int(r) for r, c in zip(rows, columns, strict=True) if overlap[r, c] >= config.overlap
            }
            for number, box in enumerate(found):
                if number in pairs:
                    tracks[pairs[number]].update(box)
                else:
                    tracks.append(KalmanFilter(box, begun))
                    begun += 1
            tracks = [track for track in tracks if track.missed <= config.age]
            sure = [t for t in tracks if not t.missed and (t.hits >= config.hits or time < config.hits)]
            frames.append({track.identity: track.box() for track in sure})
        return end_with(task, state, frames)

    return run


@baseline("MultiObjectTracking-v0", "rule on look and overlap", learns=False)
def rule(train: Any, config: RuleConfig = RuleConfig()) -> Run:
    """The task's own decisions by two thresholds: on correlation and overlap, and for new tracks on detector score."""

    def run(task: MultiObjectTracking, state: State) -> State:
        while not state.finished[0]:
            seen = task.observe(state)["features"][0]
            new, guess, score, overlap, alike, left = seen[[2, 3, 4, 5, 9, 14]]
            good = score >= config.score if new else guess or overlap + alike >= config.alike
            state = task.step(state, np.array([ACCEPT if good else NEXT if left and not new else LOSE]))
        return state

    return run


def detections(state: State) -> list[np.ndarray]:
    """Detections of every frame of an episode, (M, 5) each."""
    frames = state.detections[0, : state.length[0]]
    return [found[~np.isnan(found[:, 0])] for found in frames]


def end_with(task: MultiObjectTracking, state: State, frames: Frames) -> State:
    """Final state of an episode with these boxes as its tracks.

    A state with labels has room for so many, of which the longest are kept; all are scored.
    """
    said = [
        (np.array(list(f), int), np.array([box[:4] for box in f.values()]).reshape(-1, 4)) for f in frames
    ]
    boxes, room = boxes_by_track(said), state.boxes.shape[2]
    if not task.labelled:
        return replace(state, boxes=boxes[None], finished=np.ones(1, bool))
    shown, longest = (
        np.full_like(state.boxes, np.nan),
        np.argsort(np.isnan(boxes[..., 0]).sum(0), kind="stable"),
    )
    shown[0, : len(boxes), : min(boxes.shape[1], room)] = boxes[:, np.sort(longest[:room])]
    result = task.videos[state.item[0]].score(int(state.start[0]), int(state.length[0]), said)
    return replace(state, boxes=shown, result=result[None], finished=np.ones(1, bool))


def boxes_by_track(frames: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Boxes (T, K, 4) of per frame (N,) identities and (N, 4) boxes; NaN where a track is not in a frame."""
    known = np.unique(np.concatenate([ids for ids, _ in frames]))
    boxes = np.full((len(frames), len(known), 4), np.nan)
    for time, (ids, rows) in enumerate(frames):
        boxes[time, np.searchsorted(known, ids)] = rows
    return boxes


@dataclass
class KalmanFilter:
    """A Kalman filter (Kalman, 1960) over centre, area, aspect ratio and the first three's velocities, as SORT sets it.

    Attributes:
        first: (4,) the box that it begins with, edges in pixels.
        identity: what the track is called.
        hits: detections in a row.
        missed: frames since the last one.
    """

    first: np.ndarray
    identity: int
    hits: int = 1
    missed: int = 0
    mean: np.ndarray = field(init=False)
    cov: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is known of the velocities at first."""
        self.mean = np.append(measurement(self.first), np.zeros(3))
        self.cov = np.diag([10.0, 10, 10, 10, 1e4, 1e4, 1e4])

    def predict(self) -> np.ndarray:
        """The box one frame on, (4,)."""
        if self.mean[2] + self.mean[6] <= 0:
            self.mean[6] = 0  # an area does not shrink to nothing
        self.mean = MOTION @ self.mean
        self.cov = MOTION @ self.cov @ MOTION.T + DRIFT
        self.hits = 0 if self.missed else self.hits
        self.missed += 1
        return self.box()

    def update(self, box: np.ndarray) -> None:
        """A detection was found for this frame."""
        gain = self.cov[:, :4] @ np.linalg.inv(self.cov[:4, :4] + ERROR)
        self.mean = self.mean + gain @ (measurement(box) - self.mean[:4])
        self.cov = self.cov - gain @ self.cov[:4]
        self.hits, self.missed = self.hits + 1, 0

    def box(self) -> np.ndarray:
        """Bounding box by the present estimate: (4,) edges in pixels."""
        width = np.sqrt(max(self.mean[2] * self.mean[3], 1e-6))
        return ops.box_around(self.mean[:2], np.array([width, self.mean[2] / width]))


MOTION = np.eye(7) + np.eye(7, k=4)
DRIFT = np.diag([1, 1, 1, 1, 0.01, 0.01, 0.0001])
ERROR = np.diag([1.0, 1, 10, 10])


def measurement(box: np.ndarray) -> np.ndarray:
    """(x, y) of the centre, area and aspect ratio of a box, (4,)."""
    width, height = ops.size(box)
    return np.append(ops.center(box), [width * height, width / height])
