"""Tracking of many objects: which detection continues, starts, loses or ends which track."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from gymnasium import spaces

from visionrl import ops
from visionrl.banks.detections import CLIP_METRICS
from visionrl.core import arguments, batch, register, results
from visionrl.core.observables import Image, Vector
from visionrl.envs.detected_videos import DetectedVideos
from visionrl.envs.tracking.decisions import ACTIONS, FEATURES, Clip, Detections, Episode, Tracks, Turn
from visionrl.metrics.mot import MATCH, boxes_per_frame
from visionrl.ops import Array
from visionrl.rendering import Canvas

GOOD_HOTA = 0.5  # HOTA that counts as success
ROOM = 8  # tracks of a video without labels, in detections of its fullest frame


@dataclass(frozen=True, kw_only=True)
class State(Turn, Tracks, Detections):
    """The decision that is due, the tracks, and what is detected (see these three); B episodes of T frames.

    Attributes:
        item: (B,) int64, the video.
        start: (B,) int64, its frame with which the clip begins.
        length: (B,) int64, frames of the clip; T in all but short videos.
        action_labels: (B, 4) float64, of each action by the truth: 1 right, 0 neutral, -1 wrong.
        result: (B, 6) float64, ``CLIP_METRICS`` of the clip; 0 until it is over, and without labels.
    """

    item: Array
    start: Array
    length: Array
    action_labels: Array
    result: Array


@register("MultiObjectTracking-v0", max_steps=None, tags=("tracking", "video", "discrete", "many"))
@arguments
class MultiObjectTracking(DetectedVideos[State]):
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
    patience: Annotated[int, Ge(1)] = 15
    """Frames for which a lost track may be found again."""
    max_tracks: Annotated[int, Ge(1)] = 48
    """Most tracks of an episode; beyond, detections are rejected."""

    backends = ("numpy",)
    primary_metric = ("hota", True)
    hidden = ("source", "owner", "action_labels")

    def setup(self) -> None:
        self.load_videos(self.window)
        self.room = self.max_tracks if self.labelled else max(self.max_tracks, ROOM * self.max_detections)
        image = Image(self.bank.channels, self.window)
        self.show(window=image, template=image, features=Vector(FEATURES))
        self.action_space = spaces.Discrete(ACTIONS)

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        start, length, detections, source = self.draw_clip(rng, item, self.max_detections)
        window, clip = (self.bank.channels, self.window, self.window), self.clip_of(item, start, length)
        episode = Episode.begin(clip, detections, source, window, self.room)
        return State(
            item=np.int64(item),
            start=np.int64(start),
            length=np.int64(length),
            action_labels=self.labels_of(episode),
            result=self.outcome(item, start, episode),
            **vars(episode.found),
            **vars(episode.tracks),
            **vars(episode.turn),
        )

    # -- middle: B episodes, NumPy ---------------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        after = batch.each(state, np.copy)
        turns = batch.part(after, Turn)
        for row, episode in enumerate(self.episodes(after)):
            if not state.finished[row]:
                episode.decide(int(action[row]))
                batch.put(turns, row, episode.turn)
                after.action_labels[row] = self.labels_of(episode)
                after.result[row] = self.outcome(state.item[row], state.start[row], episode)
        return after

    def observe(self, state: State) -> dict[str, Array]:
        rows = [episode.observation() for episode in self.episodes(state)]
        return self.seen(**{name: np.array([row[name] for row in rows]) for name in self.observables})

    def reward(self, before: State, action: Array, after: State) -> Array:
        return np.take_along_axis(before.action_labels, np.asarray(action)[:, None], axis=1)[:, 0]

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        found = {name: state.result[:, k].copy() for k, name in enumerate(CLIP_METRICS)}
        return {**found, "is_success": found["hota"] >= GOOD_HOTA}

    def expert(self, state: State) -> Array:
        return np.argmax(state.action_labels, axis=1)

    def good_actions(self, state: State) -> Array:
        return state.action_labels == state.action_labels.max(axis=1, keepdims=True)

    # -- rules -----------------------------------------------------------------------------------------------------
    def episodes(self, state: State) -> list[Episode]:
        """The rows of a state, whose arrays they share."""
        clips = enumerate(map(self.clip_of, state.item, state.start, state.length))
        kinds: Any = (Detections, Tracks, Turn)
        return [Episode(clip, *(batch.part(state, kind, row) for kind in kinds)) for row, clip in clips]

    def clip_of(self, item: int, start: int, length: int) -> Clip:
        """Some frames of a video."""
        video, first = self.videos[item], self.bank.first[item] + start

        def look(time: int, boxes: np.ndarray) -> np.ndarray:
            return self.bank.windows(np.full(len(boxes), first + time), boxes, self.context)

        return Clip(video.truth[start : start + length], video.sides, self.patience, look)

    def labels_of(self, episode: Episode) -> np.ndarray:
        """The label of each action by the truth, (4,); NaN where there is none."""
        return np.array(episode.action_labels(), float) if self.labelled else np.full(ACTIONS, np.nan)

    def outcome(self, item: int, start: int, episode: Episode) -> np.ndarray:
        """``CLIP_METRICS`` of an episode, (6,); 0 until it is over, and without labels."""
        if not (episode.turn.finished and self.labelled):
            return np.zeros(len(CLIP_METRICS))
        length = len(episode.clip.truth)
        return self.videos[item].score(start, length, boxes_per_frame(episode.tracks.boxes[:length]))

    # -- edge ------------------------------------------------------------------------------------------------------
    def result(self, state: State) -> results.Tracks:
        frames, tracks = np.nonzero(~np.isnan(state.boxes[..., 0]))
        boxes = state.boxes[frames, tracks]
        found = state.detections[frames]
        overlap = np.nan_to_num(ops.iou(found[..., :4], boxes[:, None]))
        best = overlap.argmax(axis=1)[:, None]
        scores = np.take_along_axis(found[..., 4], best, axis=1)
        sure = np.where(np.take_along_axis(overlap, best, axis=1) >= MATCH, scores, 0.0)[:, 0]
        return results.Tracks(frames, tracks + 1, boxes, sure)

    def draw(self, state: State) -> np.ndarray:
        (episode,) = self.episodes(batch.stack([state]))
        frame = int(self.bank.first[state.item] + state.start + state.time)
        canvas = Canvas(self.bank.image(frame).transpose(2, 0, 1))
        for meaning, boxes in (
            ("truth", episode.clip.truth[episode.time]),
            ("agent", state.boxes[episode.time]),
            ("look", episode.candidate()[None, :4]),
        ):
            for box in boxes[ops.area(boxes) > 0]:
                canvas.box(box, meaning)
        return canvas.pixels
