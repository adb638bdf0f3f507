"""Whose turn it is among many tracks, and which detections it may take: the bookkeeping of ``multi``, for one episode.

A *row* is the state of one episode, its fields open to writing.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from visionrl import ops
from visionrl.metrics.mot import MATCH

ACCEPT, NEXT, LOSE, END = range(4)  # actions
FREE, TRACKED, LOST, ENDED = range(4)  # what a track is
NEW = 2  # phases of a frame: tracked tracks in turn, then lost ones, then detections that nobody took
GUESS, NONE = -1, -2  # candidates that are no detection: where the track's motion leads, and none

CANDIDATES = 3  # detections that a track is offered, best first
REACH = 1.5  # how far from where it should be a track looks for detections, in its own sides
WIDER = 0.5  # and how much farther for every frame without one
COAST = 4  # frames without a detection in which a tracked track is offered its motion's guess
FEATURES = 19
MEMORY = 5  # frames over which a track's velocity is taken

Row = SimpleNamespace


def advance(row: Row, task: Any) -> None:
    """Go on to the next decision: those of a frame in their order, then the next frame, until the clip is over."""
    while not row.finished:
        row.rank = np.int64(0)
        if (turn := _next(row)) is None:
            _turn_page(row, task)
            continue
        row.phase, row.subject = (np.int64(number) for number in turn)
        row.candidates[:], row.scores[:] = offered(row, task)
        if row.candidates[0] != NONE:
            return
        row.decided[row.subject] = True  # nothing to decide: without a candidate a track is lost
        row.status[row.subject] = LOST


def _next(row: Row) -> tuple[int, int] | None:
    """Phase and number of who decides next in this frame; None where all have."""
    for phase, status in ((0, TRACKED), (1, LOST)):
        waiting = np.flatnonzero((row.status == status) & ~row.decided)
        if len(waiting):
            return phase, int(waiting[0])
    left = np.flatnonzero(~row.taken)
    return (NEW, int(left[0])) if len(left) else None


def _turn_page(row: Row, task: Any) -> None:
    """The next frame begins, or the clip ends."""
    if row.time + 1 >= row.length:
        row.finished, row.candidates[:] = np.True_, NONE
        row.result[:] = task.videos[row.item].scored(row.start, row.length, said(row))
        return
    open_frame(row, task, row.time + 1)
    row.status[(row.status == LOST) & (row.time - row.found > task.patience)] = ENDED


def open_frame(row: Row, task: Any, time: int) -> None:
    """Show a frame's detections; nobody has decided yet."""
    row.time, row.decided[:] = np.int64(time), False
    row.taken[:] = np.isnan(row.detections[time, :, 0])
    there = np.flatnonzero(~row.taken)
    row.looks[there] = task.look(row, row.detections[time, there, :4])


def offered(row: Row, task: Any) -> tuple[np.ndarray, np.ndarray]:
    """Who the subject may go on with, best first, and how much each looks like it: (Q,) int64, (Q,) float64."""
    chosen, likeness = np.full(CANDIDATES + 1, NONE), np.zeros(CANDIDATES + 1)
    if row.phase == NEW:
        chosen[0] = row.subject
        return chosen, likeness
    guess, late = predicted(row, row.subject), row.time - row.found[row.subject]
    row.guess[:] = guess
    free = np.flatnonzero(~row.taken)
    boxes = row.detections[row.time, free, :4]
    reach = (REACH + WIDER * (late - 1)) * np.sqrt(ops.area(guess))
    near = ops.norm(ops.center(boxes) - ops.center(guess)) < reach
    free, boxes = free[near], boxes[near]
    alike = correlation(row.templates[row.subject], row.looks[free])
    order = np.argsort(-alike - ops.iou(boxes, guess), kind="stable")[:CANDIDATES]
    chosen[: len(order)], likeness[: len(order)] = free[order], alike[order]
    if row.phase == 0 and late <= COAST and in_frame(guess, task.videos[row.item].sides):
        chosen[len(order)] = GUESS
        likeness[len(order)] = correlation(row.templates[row.subject], task.look(row, guess[None]))[0]
    return chosen, likeness


def candidate(row: Row, rank: int) -> np.ndarray:
    """The box and the score of a candidate, (5,); zeros where there is none."""
    number = row.candidates[rank]
    if number >= 0:
        return row.detections[row.time, number]
    return np.append(row.guess, 0) if number == GUESS else np.zeros(5)


def predicted(row: Row, track: int) -> np.ndarray:
    """Where a track should be in this frame if it moves on as it did: (4,)."""
    times = np.flatnonzero(~np.isnan(row.boxes[: row.time, track, 0]))
    last = row.boxes[times[-1], track]
    times = times[times > times[-1] - MEMORY]
    span = times[-1] - times[0]
    if not span:
        return last.copy()
    moved = ops.center(last) - ops.center(row.boxes[times[0], track])
    return last + np.tile(moved / span, 2) * min(row.time - times[-1], MEMORY)


def follow(row: Row, track: int, rank: int) -> None:
    """A track goes on at a candidate; the look of a detection, not of a guess, becomes its template."""
    number = row.candidates[rank]
    row.boxes[row.time, track] = candidate(row, rank)[:4]
    row.status[track], row.decided[track] = TRACKED, True
    if number >= 0:
        row.taken[number], row.found[track] = True, row.time
        row.owner[track] = row.source[row.time, number]
        row.templates[track] = row.looks[number]


def begin(row: Row) -> None:
    """A track starts at the detection whose turn it is, where there is room for one more."""
    room = np.flatnonzero(row.status == FREE)
    if len(room):
        row.born[room[0]] = row.time
        follow(row, int(room[0]), 0)


def said(row: Row) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every frame's identities and boxes."""
    frames = row.boxes[: row.length]
    there = [np.flatnonzero(~np.isnan(boxes[:, 0])) for boxes in frames]
    return [(ids, boxes[ids]) for ids, boxes in zip(there, frames, strict=True)]


def correlation(one: np.ndarray, many: np.ndarray) -> np.ndarray:
    """How alike (C, w, w) and (N, C, w, w) windows are: (N,), -1 to 1; 0 where a window is of one grey."""
    flat = np.concatenate([one[None], many]).reshape(len(many) + 1, -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    lengths = np.maximum(np.sqrt((flat * flat).sum(axis=1)), 1e-6)
    return (flat[1:] @ flat[0] / (lengths[1:] * lengths[0])).astype(float)


def in_frame(box: np.ndarray, sides: np.ndarray) -> bool:
    """Whether a box overlaps a frame of (width, height)."""
    return bool((box[:2] < sides).all() and (box[2:] > 0).all())


def judge(row: Row, task: Any) -> tuple[float, float, float, float]:
    """What the truth says of each action, ``ACCEPT`` to ``END``: 1, 0 or -1."""
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
    right = [is_right(row, task, rank, owner) for rank in range(row.rank, CANDIDATES + 1)]
    return (
        1 if right[0] else -1,
        0 if any(right) and not right[0] else -1,
        -1 if any(right) else 0 if gone else 1,
        1 if gone else -1,
    )


def is_right(row: Row, task: Any, rank: int, owner: int) -> bool:
    """Whether a candidate shows the object that the track is on."""
    number = row.candidates[rank]
    if owner < 0 or number == NONE:
        return False
    if number >= 0:
        return bool(row.source[row.time, number] == owner)
    truth = task.videos[row.item].truth[row.start + row.time, owner]
    return bool(ops.iou(row.guess, truth) >= MATCH)  # NaN where it is not in the frame


def features(row: Row, task: Any, box: np.ndarray, own: bool) -> np.ndarray:
    """(19,) float32 in [-1, 1]; see ``MultiObjectTracking``."""
    values, sides = np.zeros(FEATURES), task.videos[row.item].sides
    number, edges = row.candidates[row.rank], box[:4]
    values[row.phase], values[3], values[4] = 1, number == GUESS, box[4]
    if own:
        guess, track = row.guess, row.subject
        after = row.scores[row.rank + 1] if row.rank < CANDIDATES else 0.0
        values[5] = ops.iou(edges, guess)
        values[6] = ops.norm(ops.center(edges) - ops.center(guess)) / np.sqrt(ops.area(guess)) / 3
        values[7:9] = np.log(ops.size(edges) / ops.size(guess))
        values[9], values[10] = row.scores[row.rank], row.scores[row.rank] - after
        values[11] = (row.time - row.born[track]) / 20
        values[12] = (row.time - row.found[track]) / task.patience
    others = row.boxes[row.time, row.status == TRACKED]
    values[13] = np.nan_to_num(ops.iou(others, edges)).max(initial=0)
    values[14] = (row.candidates[row.rank + 1 :] != NONE).mean() if row.rank < CANDIDATES else 0
    values[15:] = np.concatenate([ops.center(edges) / sides, ops.size(edges) / sides])
    return np.clip(values, -1, 1).astype(np.float32)
