"""Recognition of actions at few frames: look at one more frame of a clip, or say its class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Interval
from gymnasium import spaces

from visionrl.banks.events import inside
from visionrl.banks.frame_sets import PARTS, event_ends, frame_set_classifier, frame_times, summarised
from visionrl.core import arguments, register
from visionrl.core.observables import Image, OneHot, Vector
from visionrl.core.results import ClipClass
from visionrl.datasets import ClipSample
from visionrl.envs.select import Select, Selection
from visionrl.envs.video.clip import ClassifiedClips, ClipState
from visionrl.ops import Array, DeviceTable, one_hot, xp_of

GLANCES = 4  # frames of a glance


@dataclass(frozen=True)
class State(ClipState, Selection):
    """Frames looked at; ``taken`` has their positions, ``time`` the last one. B episodes.

    Attributes:
        summary: (B, 3 * D) float64, of the frames seen, see ``banks.frame_sets``.
        scores: (B, C) float64, the classifier's.
        margin: (B,) float64, largest so far of the score of the right class less the best other.
        said: (B,) int64, number of the class that was said; -1: none.
        finished: (B,) bool, whether a class was said, or one frame more was wanted than may be seen.
    """

    summary: Array
    scores: Array
    margin: Array
    said: Array
    finished: Array


WU = {"reward_type": "margin", "answer": "classifier", "frame_cost": 0.0}


@register(
    "FrameSelection-v0",
    max_steps=None,
    tags=("video", "recognition", "discrete", "selection"),
    presets={"wu2019": WU},
    expert_success_rate={"wu2019": 0.2},  # it shows the best frames; the classifier may still be wrong
)
@arguments
class FrameSelection(ClassifiedClips[State], Select[State]):
    """The agent looks at a few of a clip's frames, in any order, and says which action the clip shows.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``scores`` (C,): of a classifier of the frames seen, the probability of each class; ``seen`` (N,): which positions; ``last`` one-hot: the position seen last; with ``features`` (3 * D,) the mean, the range and the last less the first of the features of the frames seen, scaled; with ``window`` the frame seen last, (C, S, S) uint8; with ``glance`` the features of four frames, free of cost |
    | Action      | Discrete(positions + classes), with ``answer`` "classifier" Discrete(positions + 1); see below |
    | Reward      | answer: 1 for the right class, less ``frame_cost`` for each frame; margin: what a frame adds to the largest margin of the right class's score over the others' so far, less the same cost (Wu et al., 2019) |
    | Ends        | when a class is said, or a frame is wanted beyond the ``budget`` |

    | Action | Meaning |
    |--------|---------|
    | 0 to positions - 1 | look at the frame there; positions are at equal distances, short clips repeat frames |
    | the other numbers | say this class; with ``answer`` "classifier" the one with the highest score |

    The first frame, in the middle, is seen from the start; it counts and costs nothing. The classifier learns from sets
    of frames of the training clips in closed form, in about a second. Training clips are scored by one that has not
    learnt from them. ``info`` has ``accuracy`` (1 or 0) and ``frames``, how many were looked at; one seen twice counts
    twice.

    Source: Wu et al. (2019), "AdaFrame: adaptive frame selection for fast video recognition", with a recurrent network
    in the place of the classifier, and a predicted gain in that of the answer.
    """

    positions: Annotated[int, Interval(ge=2, le=64)] = 16
    """Number of frames of a clip, at equal distances, that the agent may choose from."""
    budget: Annotated[int, Interval(ge=1, le=64)] = 16
    """Most frames that it may look at, the first among them."""
    answer: Literal["class", "classifier"] = "class"
    """Whether the agent says a class itself, or ends and leaves that to the classifier."""
    reward_type: Literal["answer", "margin"] = "answer"
    """What is rewarded: the right answer, or the classifier's growing sureness of the right class."""
    frame_cost: Annotated[float, Ge(0.0)] = 0.02
    """Cost of a look."""
    window: Annotated[int, Interval(ge=8, le=96)] | None = None
    """Side of the picture of the last frame, pixels; None shows none."""
    features: bool = False
    """Show what the frames seen look like. From few clips an agent learns these by heart, and then answers too soon."""
    glance: bool = False
    """Show the features of four frames of the clip from the start."""

    embedded = "motions"
    primary_metric = ("accuracy", True)
    hidden = ("margin",)

    def setup(self) -> None:
        if self.budget > self.positions:
            raise ValueError(f"budget must be <= positions ({self.positions}), got {self.budget}")
        training = self.training_samples()
        self.load_clips("label", side=self.window)
        self.fit(training)
        numbers = [self.number_of(sample) for sample in self.samples]
        events = [sample.segments if self.labelled else None for sample in self.samples]
        self.labels = DeviceTable(np.array(numbers))
        self.times = DeviceTable(frame_times(self.bank.lengths.array, self.positions))
        self.ends = DeviceTable(event_ends(self.bank.lengths.array, events, self.positions))
        if self.window and self.bank.thumbnails is None:
            raise ValueError("window must be None where clips have features alone, got a side")
        self.endings = len(self.names) if self.answer == "class" else 1  # actions that end an episode
        count = self.positions + self.endings
        self.action_space = spaces.Discrete(count)
        self.answers = range(self.positions, count) if self.answer == "class" else None
        wide = self.bank.width
        self.show(
            features=Vector(PARTS * wide, -5, 5) if self.features else None,
            scores=Vector(len(self.names), 0),
            seen=Vector(self.positions, 0),
            last=OneHot(self.positions),
            window=Image(self.bank.channels, self.window) if self.window else None,
            glance=Vector(GLANCES * wide, -10, 10) if self.glance else None,
        )

    def fit(self, training: Sequence[ClipSample]) -> None:
        """Fit the classifier.

        Raises:
            ValueError: there are not two classes, or the clips' features are not those of the training clips.
        """
        if bare := [sample.name for sample in training if not sample.label]:
            raise ValueError(f"samples must have label, {bare[0]!r} of the training clips has none")
        self.names = tuple(sorted({sample.label for sample in training}))
        if len(self.names) < 2:
            raise ValueError(f"training clips must have two classes or more, got {self.names[0]!r} alone")
        self.classifier = frame_set_classifier(training, self.names, self.positions)
        self.part_clips(training, self.classifier.fold, self.classifier.folds)

    def number_of(self, sample: ClipSample) -> int:
        """The number of a clip's class; -1 where it has none.

        Raises:
            ValueError: no training clip has it.
        """
        if not self.labelled:
            return -1
        if sample.label not in self.names:
            listed = ", ".join(self.names)
            raise ValueError(
                f"label of {sample.name!r} must be of a training clip, {listed}, got {sample.label!r}"
            )
        return self.names.index(sample.label)

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        clip, middle, taken = np.array([item]), self.positions // 2, np.full((1, self.longest), -1)
        taken[0, 0] = middle
        summary, scores = self.known(clip, taken)
        return State(
            clip=np.int64(item),
            time=np.int64(middle),
            taken=taken[0],
            step=np.int64(1),
            summary=summary[0],
            scores=scores[0],
            margin=self.lead(clip, scores)[0],
            said=np.int64(-1),
            finished=np.False_,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    @property
    def longest(self) -> int:
        """Most looks of an episode."""
        return self.budget

    def looked(self, taken: Array) -> Array:
        """(B, N) bool, the positions seen."""
        return self.taken_of(taken, self.positions)

    def known(self, clip: Array, taken: Array) -> tuple[Array, Array]:
        """(B, 3 * D) and (B, C), summary and scores of the frames at some positions."""
        xp = xp_of(clip)
        features = self.bank.rows(clip, self.times.rows(clip))
        summary = summarised(xp.astype(features, xp.float64), self.looked(taken))
        return summary, self.classifier.scores(summary, self.fold.rows(clip))

    def lead(self, clip: Array, scores: Array) -> Array:
        """(B,), the score of the right class less that of the best other."""
        xp = xp_of(clip)
        right = one_hot(self.labels.rows(clip), len(self.names)) > 0.5
        own = xp.sum(xp.where(right, scores, xp.zeros_like(scores)), axis=1)
        return own - xp.max(xp.where(right, xp.zeros_like(scores), scores), axis=1)

    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.clip)
        action, wants = xp.astype(action, xp.int64), xp.astype(action, xp.int64) < self.positions
        looks = ~state.finished & wants & (state.step < self.budget)
        taken = xp.where(looks[:, None], self.take(state, action), state.taken)
        summary, scores = self.known(state.clip, taken)
        margin = xp.maximum(state.margin, self.lead(state.clip, scores))
        said = action - self.positions if self.answer == "class" else xp.argmax(state.scores, axis=1)
        return replace(
            state,
            time=xp.where(looks, action, state.time),
            taken=taken,
            step=state.step + xp.astype(looks, xp.int64),
            summary=summary,
            scores=scores,
            margin=xp.where(looks, margin, state.margin),
            said=xp.where(state.finished | wants, state.said, said),
            finished=state.finished | ~looks,
        )

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.clip)
        shown: dict[str, Array] = {}
        if self.features:
            shown["features"] = xp.clip(self.classifier.scaled(state.summary), -5, 5)
        if self.window:
            here = xp.take_along_axis(self.times.rows(state.clip), state.time[:, None], axis=1)
            shown["window"] = self.bank.pictures(state.clip, here[:, 0])
        if self.glance:
            times = frame_times(self.bank.lengths.rows(state.clip), GLANCES)
            shown["glance"] = xp.clip(5 * self.bank.rows(state.clip, times), -10, 10)
        return self.seen(scores=state.scores, seen=self.looked(state.taken), last=state.time, **shown)

    def action_mask(self, state: State) -> Array:
        """(B, n) bool, all answers, and the positions not seen yet while the budget lasts."""
        xp = xp_of(state.clip)
        free = ~self.looked(state.taken) & (state.step < self.budget)[:, None]
        return xp.concat([free, *[xp.ones_like(free[:, :1])] * self.endings], axis=1)

    def reward(self, before: State, action: Array, after: State) -> Array:
        xp = xp_of(after.clip)
        looked = xp.astype(after.step - before.step, xp.float64)
        if self.reward_type == "margin":
            return after.margin - before.margin - self.frame_cost * looked
        return self.right(after) - self.right(before) - self.frame_cost * looked

    def right(self, state: State) -> Array:
        """(B,) float64, 1 where the right class was said."""
        xp = xp_of(state.clip)
        return xp.astype(state.finished & (state.said == self.labels.rows(state.clip)), xp.float64)

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        accuracy = self.right(state)
        return {"accuracy": accuracy, "is_success": accuracy > 0, "frames": state.step + 0}

    def expert(self, state: State) -> Array:
        """(B,) int64: the two ends of the event, then the class; or the frame that helps the classifier most."""
        xp = xp_of(state.clip)
        if self.answer == "classifier":
            leads = xp.stack([self.lead_with(state, place) for place in range(self.positions)], axis=1)
            wanted = (xp.max(leads, axis=1) > state.margin + 1e-6) & (state.step < self.budget)
            return xp.where(wanted, xp.argmax(leads, axis=1), xp.full_like(state.clip, self.positions))
        ends = self.ends.rows(state.clip)
        seen = xp.take_along_axis(self.looked(state.taken), ends, axis=1)
        done = (seen[:, 0] & seen[:, 1]) | (state.step >= self.budget)
        label = self.positions + self.labels.rows(state.clip)
        return xp.where(done, label, xp.where(seen[:, 0], ends[:, 1], ends[:, 0]))

    def lead_with(self, state: State, place: int) -> Array:
        """(B,), the lead of the right class once a position more is seen."""
        taken = self.take(state, xp_of(state.clip).full_like(state.clip, place))
        return self.lead(state.clip, self.known(state.clip, taken)[1])

    # -- edge ------------------------------------------------------------------------------------------------------
    def result(self, state: State) -> ClipClass:
        sample, times = self.samples[int(state.clip)], self.times.array[int(state.clip)]
        said = self.names[int(state.said)] if state.said >= 0 else None
        return ClipClass(said, times[state.taken[state.taken >= 0]], len(sample), sample.fps)

    def draw(self, state: State) -> np.ndarray:
        clip, times = int(state.clip), self.times.array[int(state.clip)]
        looks, now = state.taken[state.taken >= 0], int(state.time)
        best = self.names[int(state.scores.argmax())]
        said = f"says {self.names[int(state.said)]}" if state.said >= 0 else f"thinks {best}"
        truth = f", is {self.names[int(self.labels.array[clip])]}" if self.labelled else ""
        seen = np.zeros(self.positions, bool)
        seen[looks] = True
        events = self.samples[clip].segments if self.labelled else None
        curves = {} if events is None else {"truth": 0.9 * inside(times, np.asarray(events))}
        words = f"{len(looks)} frame{'s' * (len(looks) != 1)}: {said}{truth}"
        share = now / self.positions
        return self.draw_timeline(clip, int(times[now]), times[looks], curves, seen, share, words)
