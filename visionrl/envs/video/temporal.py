"""Temporal detection: find the segments of actions in a clip by looking at few of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Interval

from visionrl.banks.events import inside
from visionrl.banks.windows import (
    INSIDE,
    NUMBERS,
    nearest_seen,
    window_bank,
    window_classifier,
    window_places,
)
from visionrl.core import arguments, register
from visionrl.core.observables import Vector
from visionrl.core.results import Segments
from visionrl.envs.video.clip import ClassifiedClips, ClipState
from visionrl.envs.video.segment_truth import SegmentPrecision, class_names, parts_of, segment_tables
from visionrl.envs.video.window_controls import MoveControl, SegmentControl, WindowControl
from visionrl.metrics.segments import interval_iou
from visionrl.ops import Array, DeviceTable, one_hot, xp_of

BINS = 24  # of the map of the whole part
LONGEST = 60  # steps of an episode with moves


@dataclass(frozen=True)
class State(ClipState):
    """The window, what was seen and what was emitted; ``time`` is the frame in the window's middle. B episodes.

    S frames may be looked at, K segments emitted, a part of a clip has at most M segments of C classes.

    Attributes:
        item: (B,) int64, number of the part of a clip.
        window: (B, 2) float64, first frame and the one after the last.
        shift: (B,) float64, of the places looked at in a window, in their distance.
        looks: (B, S) int64, frames looked at, in order; -1 beyond the last.
        scores: (B, C + 1) float64, the classifier's of the window; the last is for "none".
        described: (B, N) float64, the window's changes, see ``banks.windows``.
        found: (B, K, 3) float64, start, end and score of segments emitted; NaN beyond the last.
        labels: (B, K) int64, their classes; -1 beyond the last.
        fits: (B, M) bool, segments of the truth that were found.
        gained: (B,) float64, sum of the overlaps with which they were.
        right: (B,) float64, how many were found with the right class.
        wrong: (B,) float64, segments emitted that fit none.
        actions: (B, H) int64 or (B, H, 5) float64, the last ones, newest last.
        step: (B,) int64, steps done.
        finished: (B,) bool.
    """

    item: Array
    window: Array
    shift: Array
    looks: Array
    scores: Array
    described: Array
    found: Array
    labels: Array
    fits: Array
    gained: Array
    right: Array
    wrong: Array
    actions: Array
    step: Array
    finished: Array


YEUNG = {
    "control": "segments",
    "reward_type": "matches",
    "chunk": 50,
    "budget": 7,
    "frame_cost": 0.0,
    "most": 3,
}


@register(
    "TemporalDetection-v0",
    max_steps=None,
    tags=("video", "detection", "discrete"),
    presets={"yeung2016": YEUNG},
)
@arguments
class TemporalDetection(ClassifiedClips[State]):
    """The agent looks for the segments of actions in a clip, and at as few of its frames as it can.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``changes`` (N,): what changes between the frames seen nearest to twelve places in and about the window, scaled; ``scores`` (C + 1,): a classifier's of the window, the last for "none"; ``map`` (72,): for 24 places of the whole part, changes between the frames seen there, how far they are, and what was emitted; ``place`` (6,): start, end and length of the window, frames looked at, frames and steps left; ``history``: the last four actions |
    | Action      | control "moves": Discrete(9), "segments": Box(5); see below |
    | Reward      | gain: what the overlap (temporal IoU) with the best segment not found yet gains, which a segment found keeps; +1 for one found with the right class, less ``false_cost`` for any other emitted, and ``frame_cost`` for each frame looked at; matches: at the end +1 for each segment found with the right class, -0.1 for each other emitted, -10 if there were segments and none was found (Yeung et al., 2016) |
    | Ends        | with a stop, with ``most`` segments emitted, after 60 steps, or with control "segments" after ``budget`` - 1 |

    | Action | Meaning |
    |--------|---------|
    | moves 0, 1 | earlier, later, by a quarter of the window |
    | moves 2, 3 | grow to 3/2, shrink to 2/3 |
    | moves 4, 5 | the first half, the last half of the window |
    | moves 6 | restart: the whole part |
    | moves 7 | emit the window as a segment of the class with the highest score, and restart |
    | moves 8 | stop |
    | segments 0 | place of the frame to look at next, -1 to 1 from the part's start to its end |
    | segments 1, 2 | start and end of a segment, likewise |
    | segments 3 | confidence in it, -1 to 1, from 0 to 1 |
    | segments 4 | emit it if above 0 |

    After a move the agent looks at ``glimpses`` places of the window, but not where a frame within half their distance
    was seen before. With control "segments" it looks at one frame a step. Frames seen at the start count. The classifier
    learns from windows of the training clips in closed form, with more and less seen of them; training clips are scored
    by one that has not learnt from them. A segment is found by an overlap of ``iou_threshold``. ``info`` has ``found``,
    ``missed``, ``false_positives``, ``frames``, the share of the frames looked at; a whole split has ``map_50``, the
    mean average precision at an overlap of 0.5. Success is all segments found, whatever the class, and nothing else.

    Source: Yeung, Russakovsky, Mori & Fei-Fei (2016), "End-to-end learning of action detection from frame glimpses in
    videos", with a recurrent network in the place of the classifier; moves after Huang et al. (2017), "A self-adaptive
    proposal model for temporal action detection based on reinforcement learning".
    """

    control: Literal["moves", "segments"] = "moves"
    """Move the window, or state segments outright."""
    glimpses: Annotated[int, Interval(ge=2, le=16)] = INSIDE
    """Places of a window at which the agent looks, for control "moves"."""
    budget: Annotated[int, Interval(ge=2, le=512)] = 48
    """Most frames that it may look at, those at the start among them."""
    jitter: Annotated[float, Interval(ge=0.0, le=0.5)] = 0.5
    """Most by which the places of an episode's windows are shifted by chance, in their distance: a clip then looks another
    way each time, and is not learnt by heart. Evaluation shifts none."""
    most: Annotated[int, Interval(ge=1, le=64)] = 8
    """Segments emitted that end the episode."""
    chunk: Annotated[int, Interval(ge=8)] | None = None
    """Frames of the parts into which clips are cut; None takes whole clips."""
    iou_threshold: Annotated[float, Interval(ge=0.05, le=0.95)] = 0.5
    """Overlap with a segment from which on it is found."""
    reward_type: Literal["gain", "matches"] = "gain"
    """What is rewarded: overlap as it grows and what is found, or matches at the end."""
    false_cost: Annotated[float, Ge(0.0)] = 0.2
    """Cost of a segment emitted that fits none or has the wrong class, for ``reward_type`` "gain"."""
    frame_cost: Annotated[float, Ge(0.0)] = 0.01
    """Cost of a look at a new frame, for ``reward_type`` "gain"."""

    embedded = "motion-films"
    primary_metric = ("map_50", True)
    hidden = ("fits", "gained", "right", "wrong")
    evaluation: ClassVar[dict[str, Any]] = {"jitter": 0.0}

    def setup(self) -> None:
        training = self.training_samples()
        self.load_clips("segments")
        self.names = class_names(training)
        self.classifier = window_classifier(training, self.names)
        self.part_clips(training, self.classifier.fold, self.classifier.folds)
        self.windows = window_bank(self.samples)
        parts = [parts_of(len(sample), self.chunk) for sample in self.samples]
        self.clip_of = np.repeat(np.arange(len(parts)), [len(one) for one in parts])
        self.parts, self.items = DeviceTable(np.concatenate(parts)), len(self.clip_of)
        clips = [self.samples[number] for number in self.clip_of.tolist()] if self.labelled else None
        truth, kinds = segment_tables(clips, self.parts.array, self.names)
        self.truth, self.kinds = DeviceTable(truth), DeviceTable(kinds)
        metric = SegmentPrecision(truth, kinds, len(self.names))
        self.dataset_metrics: Sequence[SegmentPrecision] = (metric,) if self.labelled else ()
        self.controller: WindowControl = (
            MoveControl(self.glimpses) if self.control == "moves" else SegmentControl()
        )
        self.action_space = self.controller.space
        self.longest = LONGEST if self.control == "moves" else self.budget - 1
        self.show(
            changes=Vector(NUMBERS, -5, 5),
            scores=Vector(len(self.names) + 1, 0),
            map=Vector(3 * BINS, 0),
            place=Vector(6, 0),
            history=self.controller.history,
        )

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        clip, part = self.clip_of[item : item + 1], self.parts.array[item : item + 1]
        count = self.glimpses if self.control == "moves" else 1
        shift = rng.uniform(-self.jitter, self.jitter, 1)
        looks = self.look(np.full((1, self.budget), -1), window_places(part, count, 0, shift), part)
        scores, described = self.classify(clip, looks, part)
        return State(
            clip=clip[0],
            time=np.int64(part[0].mean()),
            item=np.int64(item),
            window=part[0].copy(),
            shift=shift[0],
            looks=looks[0],
            scores=scores[0],
            described=described[0],
            found=np.full((self.most, 3), np.nan),
            labels=np.full(self.most, -1),
            fits=np.zeros(self.truth.array.shape[1], bool),
            gained=np.float64(0),
            right=np.float64(0),
            wrong=np.float64(0),
            actions=self.controller.blank.copy(),
            step=np.int64(0),
            finished=np.False_,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def classify(self, clip: Array, looks: Array, window: Array) -> tuple[Array, Array]:
        """Scores of windows, (B, C + 1), and their changes, (B, N), by the frames seen."""
        return self.classifier.window_scores(self.windows, clip, self.fold.rows(clip), looks, window)

    def look(self, looks: Array, places: Array, window: Array) -> Array:
        """(B, S) int64, frames seen once the agent has looked at places (B, G) of a window, where it has to."""
        xp, count = xp_of(looks), places.shape[1]
        share = 0.5 / count if count > 1 else 0.0  # of a window, between two looks: half their distance
        apart = (window[:, 1] - window[:, 0]) * share
        apart = xp.maximum(apart, xp.full_like(apart, 0.5))
        slots = xp.arange(looks.shape[1], dtype=xp.int64, device=looks.device)[None, :]
        for number in range(count):
            place = places[:, number : number + 1]
            far = nearest_seen(looks, place)[1][:, 0] >= apart
            used = xp.sum(xp.astype(looks >= 0, xp.int64), axis=1)[:, None]
            looks = xp.where(far[:, None] & (slots == used), xp.astype(place, xp.int64), looks)
        return looks

    def step(self, state: State, action: Array) -> State:
        xp, control, part = xp_of(state.window), self.controller, self.parts.rows(state.item)
        over = state.finished
        window = control.move(state.window, part, action)
        segment, scores = state.window, state.scores
        if control.states_segments:
            segment, scores = window, self.classify(state.clip, state.looks, window)[0]
        best = scores[:, :-1]
        score = control.confidence(action, xp.max(best, axis=1))
        after = self.emit(state, control.emits(action) & ~over, segment, xp.argmax(best, axis=1), score)
        looks = self.look(state.looks, control.places(window, part, action, state.shift), window)
        stops = control.stops(action)
        looks = xp.where((over | stops)[:, None], state.looks, looks)
        window = xp.where((over | stops)[:, None], state.window, window)
        scores, described = self.classify(state.clip, looks, window)
        steps = state.step + xp.astype(~over, xp.int64)
        full = after.labels[:, -1] >= 0
        return replace(
            after,
            time=xp.astype(xp.floor(xp.mean(window, axis=1)), xp.int64),
            window=window,
            looks=looks,
            scores=scores,
            described=described,
            actions=control.push(state.actions, action),
            step=steps,
            finished=over | stops | full | (steps >= self.longest),
        )

    def emit(self, state: State, emits: Array, window: Array, label: Array, score: Array) -> State:
        """The state with a segment (B, 2) of a class (B,) and a score (B,) emitted where ``emits``, (B,) bool."""
        xp = xp_of(window)
        count = xp.sum(xp.astype(state.labels >= 0, xp.int64), axis=1)[:, None]
        slots = xp.arange(state.labels.shape[1], dtype=xp.int64, device=window.device)[None, :]
        slot = emits[:, None] & (slots == count)
        row = xp.concat([window, score[:, None]], axis=1)
        overlaps = self.overlaps(state, window)
        best, place = xp.max(overlaps, axis=1), xp.argmax(overlaps, axis=1)
        fits = emits & (best >= self.iou_threshold)
        hit = one_hot(place, overlaps.shape[1]) > 0.5
        kinds = xp.take_along_axis(self.kinds.rows(state.item), place[:, None], axis=1)[:, 0]
        number = xp.float64
        return replace(
            state,
            found=xp.where(slot[..., None], row[:, None, :], state.found),
            labels=xp.where(slot, label[:, None], state.labels),
            fits=state.fits | (hit & fits[:, None]),
            gained=state.gained + xp.where(fits, best, xp.zeros_like(best)),
            right=state.right + xp.astype(fits & (kinds == label), number),
            wrong=state.wrong + xp.astype(emits & ~fits, number),
        )

    def overlaps(self, state: State, window: Array) -> Array:
        """(B, M) float64, overlaps of windows (B, 2) with the segments not found yet; 0 for others."""
        found = interval_iou(window[:, None, :], self.truth.rows(state.item))
        return xp_of(window).where(state.fits, 0 * found, found)

    def observe(self, state: State) -> dict[str, Array]:
        xp, part = xp_of(state.window), self.parts.rows(state.item)
        low, length = part[:, :1], part[:, 1:] - part[:, :1]
        rows, classifier = state.described, self.classifier
        changes = (rows - classifier.centre.on(rows)[:NUMBERS]) / classifier.scale.on(rows)[:NUMBERS]
        edges = (state.window - low) / length
        size = 1 + xp.log(edges[:, 1:] - edges[:, :1]) / 6
        used = xp.astype(xp.sum(xp.astype(state.looks >= 0, xp.int64), axis=1), xp.float64)[:, None]
        left = 1 - xp.astype(state.step, xp.float64)[:, None] / self.longest
        place = [edges, size, used / length, 1 - used / self.budget, left]
        return self.seen(
            changes=xp.clip(changes, -5, 5),
            scores=state.scores,
            map=self.overview(state, part),
            place=xp.clip(xp.concat(place, axis=1), 0, 1),
            history=state.actions,
        )

    def overview(self, state: State, part: Array) -> Array:
        """(B, 3, 24) in [0, 1]: changes between frames seen over the part, how far these are, what was emitted."""
        xp = xp_of(state.window)
        places = window_places(part, BINS, 0)
        times, far = nearest_seen(state.looks, places)
        again = xp.concat([times[:, :1], times], axis=1)
        size = self.windows.moments(state.clip, again)[..., 0] / 4
        gaps = far / (part[:, 1:] - part[:, :1]) * 8
        middle = places[:, None, :] + 0.5
        emitted = (middle >= state.found[..., :1]) & (middle < state.found[..., 1:2])
        covered = xp.astype(xp.any(emitted, axis=1), xp.float64)
        return xp.clip(xp.stack([size, gaps, covered], axis=1), 0, 1)

    def action_mask(self, state: State) -> Array:
        """(B, 9) bool, for control "moves": moves that change the window, and all else.

        Raises:
            ValueError: the control has no numbered actions.
        """
        if not isinstance(self.controller, MoveControl):
            raise ValueError(f"control must be 'moves' for masks of actions, got {self.control!r}")
        return self.controller.allowed(state.window, self.parts.rows(state.item))

    def reward(self, before: State, action: Array, after: State) -> Array:
        xp = xp_of(before.window)
        wrong = self.emissions(after) - after.right
        if self.reward_type == "matches":
            there = xp.any(self.kinds.rows(after.item) >= 0, axis=1)
            total = after.right - 0.1 * wrong - 10.0 * xp.astype(there & (after.right < 1), xp.float64)
            return xp.where(after.finished & ~before.finished, total, xp.zeros_like(total))
        looks = xp.sum(
            xp.astype(after.looks >= 0, xp.float64) - xp.astype(before.looks >= 0, xp.float64), axis=1
        )
        false = wrong - self.emissions(before) + before.right
        gain = self.progress(after) - self.progress(before) + after.right - before.right
        return gain - self.false_cost * false - self.frame_cost * looks

    def emissions(self, state: State) -> Array:
        """(B,) float64, how many segments were emitted."""
        xp = xp_of(state.window)
        return xp.sum(xp.astype(state.labels >= 0, xp.float64), axis=1)

    def progress(self, state: State) -> Array:
        """(B,) float64, overlaps of what was found, and of the window with the best segment that was not."""
        return state.gained + xp_of(state.window).max(self.overlaps(state, state.window), axis=1)

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        xp, part = xp_of(state.window), self.parts.rows(state.item)
        found = xp.sum(xp.astype(state.fits, xp.float64), axis=1)
        missed = xp.sum(xp.astype(self.kinds.rows(state.item) >= 0, xp.float64), axis=1) - found
        used = xp.sum(xp.astype(state.looks >= 0, xp.float64), axis=1)
        return {
            "found": found,
            "missed": missed,
            "false_positives": state.wrong + 0.0,
            "right_class": state.right + 0.0,
            "frames": used / (part[:, 1] - part[:, 0]),
            "is_success": (missed == 0) & (state.wrong == 0),
        }

    def expert(self, state: State) -> Array:
        """Actions that go to the segment nearest to the window, emit it, and stop when none is left."""
        xp = xp_of(state.window)
        truth, left = self.truth.rows(state.item), (self.kinds.rows(state.item) >= 0) & ~state.fits
        overlaps = self.overlaps(state, state.window)
        apart = xp.abs(xp.sum(truth - state.window[:, None, :], axis=2))
        worth = xp.where(left, xp.where(overlaps > 0, overlaps, -apart), xp.full_like(overlaps, -xp.inf))
        place = xp.argmax(worth, axis=1)
        target = xp.take_along_axis(truth, place[:, None, None], axis=1)[:, 0, :]
        there = xp.any(left, axis=1)
        part = self.parts.rows(state.item)
        target = xp.where(there[:, None], target, part)
        return self.controller.toward(state.window, part, target, there)

    # -- edge ------------------------------------------------------------------------------------------------------
    def source_of(self, item: int, start: State) -> int:
        return int(start.clip)

    def result(self, state: State) -> Segments:
        sample, there = self.samples[int(state.clip)], state.labels >= 0
        names = tuple(self.names[number] for number in state.labels[there])
        found = state.found[there]
        return Segments(
            found[:, :2], names, found[:, 2], state.looks[state.looks >= 0], len(sample), sample.fps
        )

    def draw(self, state: State) -> np.ndarray:
        clip, part = int(state.clip), self.parts.array[int(state.item)]
        first, last = part.astype(int)
        times = np.arange(first, last) + 0.5
        seen = np.isin(np.arange(first, last), state.looks)
        truth = self.truth.array[int(state.item)]
        curves = {"truth": 0.95 * inside(times, truth)} if self.labelled else {}
        curves["look"] = 0.75 * inside(times, state.found[:, :2])
        curves["agent"] = 0.5 * inside(times, state.window[None])
        looks = state.looks[state.looks >= 0]
        best, now = int(state.scores.argmax()), int(looks[np.abs(looks - state.time).argmin()])
        thinks = (*self.names, "none")[best]
        words = f"{int(seen.sum())} of {last - first} frames: {thinks} {state.scores[best]:.2f}"
        shown = np.sort(looks[(looks >= state.window[0]) & (looks < state.window[1])])
        return self.draw_timeline(clip, now, shown, curves, seen, (now - first) / (last - first), words)
