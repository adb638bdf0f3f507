"""Visual question answering: look where the question asks, then answer; or see the whole image and answer at once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Interval, MinLen
from gymnasium import spaces

from visionrl.banks.mosaic import Mosaic
from visionrl.banks.patches import patch_bank
from visionrl.banks.questions import common_answers, pictures_of, question_bank, question_words
from visionrl.banks.squares import square_bank
from visionrl.core import arguments, register
from visionrl.core.observables import Image, Observable, OneHot, Vector, Words
from visionrl.core.results import Answer
from visionrl.datasets import QuestionSample
from visionrl.datasets.words import SPECIAL, Vocabulary
from visionrl.envs.language.pictures import with_lines
from visionrl.envs.select import Select, Selection
from visionrl.ops import Array, one_hot, xp_of
from visionrl.rendering import Canvas


@dataclass(frozen=True)
class State(Selection):
    """Looks so far and the answer; B episodes of at most T looks. ``taken`` are the cells looked at, -1 beyond.

    Attributes:
        question: (B,) int64, index into the bank of questions.
        image: (B,) int64, index into the bank of images.
        size: (B, 2) float64, (width, height) of the image as it is held, pixels.
        answer: (B,) int64, number of the answer; -1 before it, and where the agent looked once too often.
        finished: (B,) bool, whether the episode is over.
        random_cells: (B, T) int64, where it looks if the gaze is random.
    """

    question: Array
    image: Array
    size: Array
    answer: Array
    finished: Array
    random_cells: Array


@register(
    "VisualQuestionAnswering-v0",
    max_steps=64,
    tags=("language", "recognition", "2d", "discrete", "attention", "selection"),
    presets={"antol2015": {"looks": 0}},
)
@arguments
class VisualQuestionAnswering(Select[State]):
    """The agent reads a question, looks at a few cells of the image, and answers.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``question`` (Q,) int16: numbers of its words, 0 beyond; ``window`` (C * scales, r, r) uint8: the retina at the cell looked at last, sharp, and blurred with what is around; ``seen`` (C + 1, H, W) uint8: all looks so far laid where they were taken, and how sharp; ``position`` (2,) in [-1, 1]; ``looks`` one-hot: how many there were. With ``looks=0`` ``question`` and ``image`` (C, side, side) alone |
    | Action      | Discrete(places * places + answers), with ``looks=0`` Discrete(answers); see below |
    | Reward      | the accuracy of the answer, in [0, 1]; less ``cost`` for each look after the first |
    | Ends        | with an answer, or with one look more than there are |

    | Action | Meaning |
    |--------|---------|
    | the first places * places numbers | look at a cell of the grid, row by row; masked where no look is left |
    | the other numbers | answer |

    The first look falls on the middle cell. The accuracy is that of the VQA challenge: with one known answer it is 1 or
    0, of ten people three must agree. ``info`` has ``accuracy``, also by kind of question, and ``looks``.

    The questions about the embedded scenes are balanced: who does not look is right a third of the time. Source: Antol
    et al. (2015), "VQA: visual question answering", where the whole image is seen (preset "antol2015"); the looks
    are those of Mnih et al. (2014).
    """

    looks: Annotated[int, Interval(ge=0, le=20)] = 6
    """Number of looks, the first among them; 0 shows the whole image, and the episode is one answer."""
    places: Annotated[int, Ge(1)] = 3
    """Cells along each side of the grid."""
    retina: Annotated[int, Ge(4)] = 32
    """Side of the retina, pixels."""
    scales: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (1, 3)
    """Whole pixels of the image per pixel of the retina, finest first."""
    cost: Annotated[float, Ge(0.0)] = 0.01
    """Cost of each look after the first."""
    gaze: Literal["agent", "random"] = "agent"
    """Who chooses the cells: the agent, or chance whatever the agent asks for, to measure what the choice is worth."""
    vocabulary: Sequence[str] | None = None
    """Words of questions that are known, in the order of their numbers; None takes those of the training split."""
    answers_known: Sequence[str] | None = None
    """Answers that can be given, in the order of their numbers; None takes those of the training split."""
    top_answers: Annotated[int, Ge(2)] | None = None
    """Number of the most frequent answers that can be given; None takes all."""
    max_words: Annotated[int, Ge(1)] = 12
    """Number of words of a question that are read, Q."""
    side: Annotated[int, Ge(16)] = 96
    """Images with a longer side are shrunk to it, pixels; of the whole image the side of the square."""
    channels: Literal[1, 3] | None = None
    """1 shows all images grey, 3 in RGB; None is RGB if an image of the split is."""

    sample_type, embedded = QuestionSample, "scene-questions"
    primary_metric = ("accuracy", True)

    def setup(self) -> None:
        if list(self.scales) != sorted(set(self.scales)):
            raise ValueError(f"scales must be whole numbers >= 1 that grow, got {self.scales}")
        self.words, self.answer_names = self.known_words()
        self.samples = self.load()
        self.items = len(self.samples)
        self.load_questions()
        cells = self.places**2 if self.looks else 0
        self.answers = range(cells, cells + len(self.answer_names))
        self.action_space = spaces.Discrete(self.answers.stop)
        self.show(question=Words(len(self.words), self.max_words), **self.load_pixels())

    def known_words(self) -> tuple[Vocabulary, tuple[str, ...]]:
        """The vocabulary of questions, and the answers."""
        given = self.vocabulary, self.answers_known
        if not self.labelled and None in given:
            raise ValueError("vocabulary and answers_known must be given where data has no answers, got None")
        words, answers = (None if one is None else tuple(one) for one in given)
        if words is None or answers is None:
            samples = self.load(split="train") if isinstance(self.data, str | None) else self.load()
            words = question_words(samples) if words is None else words
            answers = common_answers(samples, self.top_answers) if answers is None else answers
        if len(set(answers)) < 2 or len(set(answers)) < len(answers):
            raise ValueError(f"answers_known must be two or more, of different names, got {list(answers)}")
        return Vocabulary(words), answers

    def load_questions(self) -> None:
        """Make the tables of the questions, and check that they can be asked and scored."""
        own = self.words.words[len(SPECIAL) :]
        self.questions = question_bank(self.samples, own, self.answer_names, self.max_words, self.places)
        self.names = self.questions.kinds or ("question",)
        if not self.labelled:
            return
        if bare := next((sample.name for sample in self.samples if not sample.answers), None):
            raise ValueError(f"samples must have answers, {bare!r} has none")
        lost = self.questions.scores.unanswerable
        if lost == len(self.samples):
            raise ValueError(
                f"answers_known must hold an answer to a question, got {list(self.answer_names)!r:.200}"
            )
        counts = {
            f"have more than {self.max_words} words, which are cut": self.questions.cut,
            "have no known word": self.questions.unknown,
            "have no right answer among those that can be given": lost,
        }
        said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        if said:
            warnings.warn(f"of {len(self.samples)} questions {said}", stacklevel=2)

    def load_pixels(self) -> dict[str, Observable]:
        """Make the banks of the images; what the agent sees of them."""
        pictures = pictures_of(self.samples, self.questions)
        if not self.looks:
            self.bank: Any = square_bank(pictures, self.side, self.channels)
            self.sizes = np.full((len(pictures), 2), float(self.side))
            return {"image": Image(self.bank.channels, self.side)}
        held = self.retina, self.scales, self.side
        self.bank = patch_bank(pictures, *held, self.channels)
        self.sizes = self.bank.sizes
        return {
            "window": Image(self.bank.channels * len(self.scales), self.retina),
            "seen": Mosaic.of(pictures, *held, self.bank.channels, self.side),
            "position": Vector(2),
            "looks": OneHot(self.looks),
        }

    @property
    def longest(self) -> int:
        """Most looks of an episode, T; 1 where there are none."""
        return max(self.looks, 1)

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        words = list(self.words.words[len(SPECIAL) :])
        return {"vocabulary": words, "answers_known": list(self.answer_names), "channels": self.bank.channels}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        image = self.questions.image[item]
        cells = rng.integers(0, self.places**2, self.longest)
        taken = np.full(self.longest, -1)
        if self.looks:
            taken[0] = cells[0] if self.gaze == "random" else self.places**2 // 2
        return State(
            taken=taken,
            step=np.int64(self.looks > 0),
            question=np.int64(item),
            image=np.int64(image),
            size=self.sizes[image].copy(),
            answer=np.int64(-1),
            finished=np.False_,
            random_cells=cells,
        )

    def source_of(self, item: int, start: State) -> int:
        return int(start.question)

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.taken)
        action = xp.astype(action, xp.int64)
        answers = action >= self.answers.start
        may_look = state.step < self.looks
        looks = ~answers & may_look & ~state.finished
        cell = action
        if self.gaze == "random":
            at = xp.clip(state.step, None, self.longest - 1)[:, None]
            cell = xp.take_along_axis(state.random_cells, at, axis=1)[:, 0]
        answer = xp.where(answers & ~state.finished, action - self.answers.start, state.answer)
        return replace(
            state,
            taken=xp.where(looks[:, None], self.take(state, cell), state.taken),
            step=state.step + xp.astype(looks, xp.int64),
            answer=answer,
            finished=state.finished | answers | ~may_look,
        )

    def observe(self, state: State) -> dict[str, Array]:
        question = self.questions.words.rows(state.question)
        if not self.looks:
            return self.seen(question=question, image=self.bank.rows(state.image))
        xp, trail = xp_of(state.taken), self.places_of(state)
        here = xp.take_along_axis(trail, xp.clip(state.step - 1, 0, None)[:, None, None], axis=1)[:, 0, :]
        return self.seen(
            question=question,
            window=self.bank.crop(state.image, here),
            seen=(state.image, trail),
            position=2 * (here + 0.5) / state.size - 1,
            looks=state.step - 1,
        )

    def places_of(self, state: State) -> Array:
        """(B, T, 2) float64, (x, y) of the looks in pixels of the image as it is held; NaN beyond the last."""
        xp, cells = xp_of(state.taken), xp_of(state.taken).astype(state.taken, state.size.dtype)
        line = xp.floor(cells / self.places)
        share = (xp.stack([cells - line * self.places, line], axis=2) + 0.5) / self.places
        place = share * state.size[:, None, :] - 0.5
        return xp.where(state.taken[:, :, None] >= 0, place, xp.full_like(place, xp.nan))

    def reward(self, before: State, action: Array, after: State) -> Array:
        xp = xp_of(after.size)
        looked = xp.astype(after.step - before.step, after.size.dtype)
        accuracy = self.metrics(after)["accuracy"]
        return xp.where(before.finished, 0 * accuracy, accuracy) - self.cost * looked

    def terminated(self, state: State) -> Array:
        return state.finished

    def action_mask(self, state: State) -> Array:
        xp = xp_of(state.taken)
        number = xp.arange(self.answers.stop, device=state.taken.device)[None, :]
        return (number >= self.answers.start) | (state.step[:, None] < self.looks)

    def metrics(self, state: State) -> dict[str, Array]:
        accuracy = self.questions.scores.accuracy(state.answer, state.question)
        return {"accuracy": accuracy, "is_success": accuracy > 0.5, "looks": state.step + 0}

    def class_of(self, state: State) -> Array:
        return self.questions.kind.rows(state.question) + 0

    def expert(self, state: State) -> Array:
        xp = xp_of(state.taken)
        best = xp.clip(self.questions.scores.best.rows(state.question), 0, None) + self.answers.start
        if not self.looks:
            return best
        seen = xp.any(one_hot(state.taken, self.places**2) > 0, axis=1)
        left = self.questions.asked.rows(state.question) & ~seen
        looks = xp.any(left, axis=1) & (state.step < self.looks)
        return xp.where(looks, xp.argmax(xp.astype(left, xp.int64), axis=1), best)

    # -- edge ------------------------------------------------------------------------------------------------------
    def result(self, state: State) -> Answer:
        sample = self.samples[int(state.question)]
        said = self.answer_names[int(state.answer)] if state.answer >= 0 else None
        return Answer(sample.question, said, self.looked_at(state))

    def looked_at(self, state: State) -> np.ndarray:
        """(G, 2) float64, (x, y) of the looks of one row in pixels of the file."""
        cells = state.taken[state.taken >= 0]
        share = (np.stack([cells % self.places, cells // self.places], axis=1) + 0.5) / self.places
        return share * self.samples[int(state.question)].image.shape[:0:-1] - 0.5

    def draw(self, state: State) -> np.ndarray:
        sample = self.samples[int(state.question)]
        canvas, places = Canvas(sample.image), self.looked_at(state)
        width, height = (side / self.places for side in sample.image.shape[:0:-1])
        for number, (x, y) in enumerate(places + 0.5):
            edges = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
            canvas.box(edges, "look" if number + 1 == len(places) else "agent")
        said = self.answer_names[int(state.answer)] if state.answer >= 0 else "..."
        truth = [(" / ".join(dict.fromkeys(sample.answers)), "truth")] if sample.answers else []
        lines = [(f"{sample.question.rstrip(' ?')}?", "text"), (said, "agent"), *truth]
        return with_lines(canvas.pixels, lines, max(map(len, self.answer_names)))
