"""The decisions of multi-object tracking in their order: who decides next, among which detections; for one episode.

A *row* is the state of one episode, its fields open to writing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from visionrl import ops
from visionrl.metrics.mot import MATCH, Boxes

ACCEPT, NEXT, LOSE, END = range(4)  # actions
FREE, TRACKED, LOST, ENDED = range(4)  # what a track is
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

ACTIONS = 4
Row = SimpleNamespace


def split_rows(fields: Mapping[str, np.ndarray]) -> list[Row]:
    """Split the fields of a state into its episodes; their arrays are views of the state's."""
    return [Row(**{name: value[b] for name, value in fields.items()}) for b in range(len(fields["time"]))]


def decide(row: Row, task: Any, action: int) -> None:
    """Make one decision, in place, and go on to the next."""
    if row.phase == NEW:
        row.assigned[row.subject] = True
        if action == ACCEPT:
            start_track(row)
    elif action == ACCEPT:
        extend_track(row, row.subject, row.rank)
    elif action == NEXT and row.rank < CANDIDATES and row.candidates[row.rank + 1] != NONE:
        row.rank += 1
        return
    else:
        row.status[row.subject], row.decided[row.subject] = (ENDED if action == END else LOST), True
    advance(row, task)


def advance(row: Row, task: Any) -> None:
    """Go on to the next decision: those of a frame in their order, then the next frame, until the clip is over."""
    while not row.finished:
        row.rank = np.int64(0)
        if (turn := next_subject(row)) is None:
            next_frame(row, task)
            continue
        row.phase, row.subject = (np.int64(number) for number in turn)
        row.candidates[:], row.scores[:] = rank_candidates(row, task)
        if row.candidates[0] != NONE:
            return
        row.decided[row.subject] = True  # nothing to decide: without a candidate a track is lost
        row.status[row.subject] = LOST


def next_subject(row: Row) -> tuple[int, int] | None:
    """Phase and number of who decides next in this frame; None where all have."""
    for phase, status in ((0, TRACKED), (1, LOST)):
        waiting = np.flatnonzero((row.status == status) & ~row.decided)
        if len(waiting):
            return phase, int(waiting[0])
    left = np.flatnonzero(~row.assigned)
    return (NEW, int(left[0])) if len(left) else None


def next_frame(row: Row, task: Any) -> None:
    """Begin the next frame, or end the clip."""
    if row.time + 1 >= row.length:
        row.finished, row.candidates[:] = np.True_, NONE
        row.result[:] = task.videos[row.item].score(row.start, row.length, tracks_per_frame(row))
        return
    show_frame(row, task, row.time + 1)
    row.status[(row.status == LOST) & (row.time - row.last_seen > task.patience)] = ENDED


def show_frame(row: Row, task: Any, time: int) -> None:
    """Show a frame's detections; nobody has decided yet."""
    row.time, row.decided[:] = np.int64(time), False
    row.assigned[:] = np.isnan(row.detections[time, :, 0])
    there = np.flatnonzero(~row.assigned)
    row.windows[there] = task.look(row, row.detections[time, there, :4])


def rank_candidates(row: Row, task: Any) -> tuple[np.ndarray, np.ndarray]:
    """The candidates of the subject, best first, and their correlation with its template: (Q,) int64, (Q,) float64."""
    chosen, scores = np.full(CANDIDATES + 1, NONE), np.zeros(CANDIDATES + 1)
    if row.phase == NEW:
        chosen[0] = row.subject
        return chosen, scores
    guess, late = predict_box(row, row.subject), row.time - row.last_seen[row.subject]
    row.predicted[:] = guess
    free = np.flatnonzero(~row.assigned)
    boxes = row.detections[row.time, free, :4]
    reach = (SEARCH_RADIUS + RADIUS_GROWTH * (late - 1)) * np.sqrt(ops.area(guess))
    near = ops.norm(ops.center(boxes) - ops.center(guess)) < reach
    free, boxes = free[near], boxes[near]
    similar = window_correlation(row.templates[row.subject], row.windows[free])
    order = np.argsort(-similar - ops.iou(boxes, guess), kind="stable")[:CANDIDATES]
    chosen[: len(order)], scores[: len(order)] = free[order], similar[order]
    if row.phase == 0 and late <= MAX_COAST and overlaps_frame(guess, task.videos[row.item].sides):
        chosen[len(order)] = PREDICTED
        scores[len(order)] = window_correlation(row.templates[row.subject], task.look(row, guess[None]))[0]
    return chosen, scores


def candidate_box(row: Row, rank: int) -> np.ndarray:
    """The box and the score of a candidate, (5,); zeros where there is none."""
    number = row.candidates[rank]
    if number >= 0:
        return row.detections[row.time, number]
    return np.append(row.predicted, 0) if number == PREDICTED else np.zeros(5)


def predict_box(row: Row, track: int) -> np.ndarray:
    """The box of a track in this frame if it moves on at constant velocity: (4,)."""
    times = np.flatnonzero(~np.isnan(row.boxes[: row.time, track, 0]))
    last = row.boxes[times[-1], track]
    times = times[times > times[-1] - VELOCITY_FRAMES]
    span = times[-1] - times[0]
    if not span:
        return last.copy()
    moved = ops.center(last) - ops.center(row.boxes[times[0], track])
    return last + np.tile(moved / span, 2) * min(row.time - times[-1], VELOCITY_FRAMES)


def extend_track(row: Row, track: int, rank: int) -> None:
    """Continue a track at a candidate; the window of a detection, not of a prediction, becomes its template."""
    number = row.candidates[rank]
    row.boxes[row.time, track] = candidate_box(row, rank)[:4]
    row.status[track], row.decided[track] = TRACKED, True
    if number >= 0:
        row.assigned[number], row.last_seen[track] = True, row.time
        row.owner[track] = row.source[row.time, number]
        row.templates[track] = row.windows[number]


def start_track(row: Row) -> None:
    """Start a track at the detection whose turn it is, where there is room for one more."""
    room = np.flatnonzero(row.status == FREE)
    if len(room):
        row.born[room[0]] = row.time
        extend_track(row, int(room[0]), 0)


def tracks_per_frame(row: Row) -> Boxes:
    """The identities and boxes of every frame, (N,) and (N, 4)."""
    frames = row.boxes[: row.length]
    there = [np.flatnonzero(~np.isnan(boxes[:, 0])) for boxes in frames]
    return [(ids, boxes[ids]) for ids, boxes in zip(there, frames, strict=True)]


def window_correlation(one: np.ndarray, many: np.ndarray) -> np.ndarray:
    """The normalised correlation of a window (C, w, w) with (N, C, w, w): (N,), -1 to 1; 0 where one is flat."""
    flat = np.concatenate([one[None], many]).reshape(len(many) + 1, -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    lengths = np.maximum(np.sqrt((flat * flat).sum(axis=1)), 1e-6)
    return (flat[1:] @ flat[0] / (lengths[1:] * lengths[0])).astype(float)


def overlaps_frame(box: np.ndarray, sides: np.ndarray) -> bool:
    """True if a box overlaps a frame of (width, height)."""
    return bool((box[:2] < sides).all() and (box[2:] > 0).all())


def action_labels(row: Row, task: Any) -> tuple[float, float, float, float]:
    """The label of each action by the truth, ``ACCEPT`` to ``END``: 1 right, 0 neutral, -1 wrong."""
    if row.finished:
        return (0, 0, 0, 0)
    if row.phase == NEW:
        whose = row.source[row.time, row.subject]
        live = (row.status == TRACKED) | (row.status == LOST)
        fresh = whose >= 0 and not (live & (row.owner == whose)).any()
        return (1, -1, -1, -1) if fresh else (-1, 1, 1, 1)
    owner = row.owner[row.subject]
    path = task.videos[row.item].truth[row.start + row.time : row.start + row.length, owner, 0]
    gone = owner < 0 or bool(np.isnan(path).all())
    right = [shows_object(row, task, rank, owner) for rank in range(row.rank, CANDIDATES + 1)]
    return (
        1 if right[0] else -1,
        0 if any(right) and not right[0] else -1,
        -1 if any(right) else 0 if gone else 1,
        1 if gone else -1,
    )


def shows_object(row: Row, task: Any, rank: int, owner: int) -> bool:
    """True if a candidate shows the object that the track is on."""
    number = row.candidates[rank]
    if owner < 0 or number == NONE:
        return False
    if number >= 0:
        return bool(row.source[row.time, number] == owner)
    truth = task.videos[row.item].truth[row.start + row.time, owner]
    return bool(ops.iou(row.predicted, truth) >= MATCH)  # NaN where it is not in the frame


def see(row: Row, task: Any) -> dict[str, np.ndarray]:
    """The values of the observables at the present decision."""
    number, blank = row.candidates[row.rank], np.zeros_like(row.templates[0])
    box, own = candidate_box(row, row.rank), row.phase != NEW and number != NONE
    window = blank if number == NONE else row.windows[number]
    if number == PREDICTED:
        window = task.look(row, box[None, :4])[0]
    template = row.templates[row.subject] if own else blank
    return {"window": window, "template": template, "features": features(row, task, box, own)}


def features(row: Row, task: Any, box: np.ndarray, own: bool) -> np.ndarray:
    """(19,) float32 in [-1, 1]; see ``MultiObjectTracking``."""
    values, sides = np.zeros(FEATURES), task.videos[row.item].sides
    number, edges = row.candidates[row.rank], box[:4]
    values[row.phase], values[3], values[4] = 1, number == PREDICTED, box[4]
    if own:
        guess, track = row.predicted, row.subject
        after = row.scores[row.rank + 1] if row.rank < CANDIDATES else 0.0
        values[5] = ops.iou(edges, guess)
        values[6] = ops.norm(ops.center(edges) - ops.center(guess)) / np.sqrt(ops.area(guess)) / 3
        values[7:9] = np.log(ops.size(edges) / ops.size(guess))
        values[9], values[10] = row.scores[row.rank], row.scores[row.rank] - after
        values[11] = (row.time - row.born[track]) / 20
        values[12] = (row.time - row.last_seen[track]) / task.patience
    others = row.boxes[row.time, row.status == TRACKED]
    values[13] = np.nan_to_num(ops.iou(others, edges)).max(initial=0)
    values[14] = (row.candidates[row.rank + 1 :] != NONE).mean() if row.rank < CANDIDATES else 0
    values[15:] = np.concatenate([ops.center(edges) / sides, ops.size(edges) / sides])
    return np.clip(values, -1, 1).astype(np.float32)
