"""Detections of many objects, given or drawn by chance from the truth, and the scores of tracks of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from visionrl import ops
from visionrl.banks.patches import shared
from visionrl.datasets import MotSample
from visionrl.metrics.mot import MATCH, Boxes, assign, mot_scores

CLIP_METRICS = ("hota", "det_a", "ass_a", "mota", "idf1", "id_switches")
MIN_VISIBILITY = 0.4  # part of an object that must be seen for the drawn detector to find it
MAX_FALSE = 4  # its false positives in a frame, at most
FALSE_SIDES = 0.16  # their usual side, in shorter sides of the frame


@dataclass(frozen=True)
class Detector:
    """The errors of a simulated detector.

    Attributes:
        miss_rate: share of the objects in sight that it overlooks.
        false_positives: its false detections in a frame, on average.
        jitter: standard deviation of the edges that it finds, in sides of the box.
    """

    miss_rate: float
    false_positives: float
    jitter: float


class VideoDetections:
    """The objects of one video and what is detected of them.

    Args:
        sample: the video.
        sides: (width, height) of its frames, pixels.
        detector: draws the detections where the sample has none.

    Attributes:
        truth: (T, N, 4) float64, edges in pixels by frame and object; NaN where an object is not in a frame, and where
            nothing is known of any.
        parts: (T, N) float64, the part of each that is seen; likewise.
        max_detections: how many detections a frame may have.
    """

    def __init__(self, sample: MotSample, sides: np.ndarray, detector: Detector) -> None:
        self.sample = replace(sample, frames=())  # the bank has the pixels
        self.sides, self.detector = sides, detector
        self.objects = list(zip(sample.ids or (), sample.boxes or (), strict=True))
        self.truth, self.parts = boxes_by_object(sample)
        simulated = max((len(ids) for ids, _ in self.objects), default=0) + MAX_FALSE
        given = sample.detections
        self.max_detections = simulated if given is None else max(1, *(len(found) for found in given))

    def draw_clip(
        self, rng: np.random.Generator, start: int, length: int, shape: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The detections of a clip, (T, M, 5) filled up with NaN, and the object that each shows, (T, M); -1 none."""
        detections, source = np.full((*shape, 5), np.nan), np.full(shape, -1)
        for time in range(length):
            found, shown = self.draw_frame(rng, start + time)
            detections[time, : len(found)], source[time, : len(found)] = found, shown
        return detections, source

    def draw_frame(self, rng: np.random.Generator, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """The detections of a frame by falling score, (M, 5), and the object that each shows, (M,); -1 none."""
        if self.sample.detections is None:
            found, shown = simulate_detections(
                rng, self.detector, self.truth[frame], self.parts[frame], self.sides
            )
        else:
            found = self.sample.detections[frame]
            shown = match_objects(found, self.truth[frame]) if self.objects else np.full(len(found), -1)
        order = np.argsort(-found[:, 4], kind="stable")
        return found[order], shown[order]

    def score(self, start: int, length: int, tracks: Boxes) -> np.ndarray:
        """``CLIP_METRICS`` of the tracks of a clip, frame by frame (identities, boxes): (6,)."""
        scores = mot_scores(self.objects[start : start + length], tracks)
        return np.array([scores[name] for name in CLIP_METRICS])


def boxes_by_object(sample: MotSample) -> tuple[np.ndarray, np.ndarray]:
    """The ``truth`` (T, N, 4) and the ``parts`` (T, N) of a video, as ``VideoDetections`` has them."""
    objects = list(zip(sample.ids or (), sample.boxes or (), strict=True))
    known = np.unique(np.concatenate([np.zeros(0, int), *(ids for ids, _ in objects)]))
    truth = np.full((len(sample.frames), max(len(known), 1), 4), np.nan)
    parts = np.full(truth.shape[:2], np.nan)
    for time, (ids, boxes) in enumerate(objects):
        places = np.searchsorted(known, ids)
        truth[time, places] = boxes
        parts[time, places] = 1 if sample.visibility is None else sample.visibility[time]
    return truth, parts


def simulate_detections(
    rng: np.random.Generator, detector: Detector, truth: np.ndarray, parts: np.ndarray, sides: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Detections of a simulated detector in a frame, (M, 5), and the object that each of them shows, (M,); -1 none.

    Args:
        rng: chance.
        detector: its errors.
        truth: (N, 4) edges in pixels, NaN where an object is not in the frame.
        parts: (N,) the part of each that is seen.
        sides: (width, height) of the frame, pixels.
    """
    shown = np.flatnonzero((parts >= MIN_VISIBILITY) & (rng.random(len(parts)) >= detector.miss_rate))
    boxes = truth[shown]
    boxes = boxes + rng.normal(0, 1, boxes.shape) * detector.jitter * np.tile(ops.size(boxes), 2)
    wrong = min(int(rng.poisson(detector.false_positives)), MAX_FALSE)
    size = np.exp(rng.normal(0, 0.3, (wrong, 2))) * sides.min() * FALSE_SIDES
    boxes = np.concatenate([boxes, ops.box_around(rng.uniform(0, 1, (wrong, 2)) * sides, size)])
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)  # boxes stay boxes
    scores = np.clip(np.append(rng.normal(0.8, 0.12, len(shown)), rng.normal(0.5, 0.15, wrong)), 0.05, 1)
    return np.column_stack([boxes, scores]), np.append(shown, np.full(wrong, -1))


def match_objects(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The object that each detection shows: the pairs of most overlap in all, from 0.5 on; (M, 5), (N, 4) -> (M,)."""
    known = np.flatnonzero(~np.isnan(truth[:, 0]))
    overlap = ops.iou(found[:, None, :4], truth[known][None])
    rows, columns = assign(np.where(overlap >= MATCH, overlap, 0))
    good = overlap[rows, columns] >= MATCH
    shown = np.full(len(found), -1)
    shown[rows[good]] = known[columns[good]]
    return shown


class VisibleObjects(ops.Recalled):
    """The objects in all F frames of some videos that count: those of which enough is seen.

    Args:
        samples: the videos; their frames lie one after the other.
        labelled: whether their truth is looked at.

    Attributes:
        boxes: (F, N, 4) float64, inside the frame; NaN for none.
    """

    def __init__(self, samples: Sequence[MotSample], labelled: bool) -> None:
        rows = []
        for sample in check_labels(samples, labelled):
            truth, parts = boxes_by_object(sample)
            inside = ops.clip_boxes(truth, np.array([0.0, 0.0, *np.shape(sample.frames[0])[:0:-1]]))
            rows += [boxes[there] for boxes, there in zip(inside, parts >= MIN_VISIBILITY, strict=True)]
        boxes = np.full((len(rows), max(1, *map(len, rows)), 4), np.nan)
        for row, there in zip(boxes, rows, strict=True):
            row[: len(there)] = there
        self.boxes = ops.DeviceTable(boxes)


def visible_objects(samples: Sequence[MotSample], labelled: bool) -> VisibleObjects:
    """The objects of some videos; environments over the same frames share them."""
    return shared(VisibleObjects, [sample.frames for sample in samples], samples, labelled)


def check_labels(samples: Sequence[MotSample], labelled: bool) -> list[MotSample]:
    """The samples as a task takes them: with identities; or with detections, and without the truth.

    Raises:
        ValueError: one lacks what is needed.
    """
    for sample in samples:
        if labelled and sample.ids is None:
            raise ValueError(f"sample {sample.name!r} must have ids and boxes, or labelled must be False")
        if not labelled and sample.detections is None:
            raise ValueError(f"sample {sample.name!r} must have detections where labelled is False, got none")
    if labelled:
        return list(samples)
    return [replace(sample, ids=None, boxes=None, visibility=None) for sample in samples]
