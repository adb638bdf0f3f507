"""Captions and answers without a network: one for all, and those of the nearest training image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from visionrl.banks.patches import colored
from visionrl.banks.squares import squeezed
from visionrl.core import baseline
from visionrl.datasets.words import tokenize
from visionrl.envs.language.caption import CaptionGeneration
from visionrl.envs.language.caption import State as CaptionState
from visionrl.envs.language.vqa import State as AnswerState
from visionrl.envs.language.vqa import VisualQuestionAnswering

SIDE = 12  # images are compared at this size, pixels
CANDIDATES, JUDGES = 60, 400  # captions that may be the one for all, and images that judge them

CaptionRun = Callable[[CaptionGeneration, CaptionState], CaptionState]
AnswerRun = Callable[[VisualQuestionAnswering, AnswerState], AnswerState]


@baseline("CaptionGeneration-v0", "one caption for all")
def one_caption(train: CaptionGeneration) -> CaptionRun:
    """The training caption, of 60 drawn ones, that scores best, on average, against those of 400 training images."""
    rng, held = np.random.default_rng(0), train.references.metric
    texts = list(dict.fromkeys(text for sample in train.samples for text in sample.captions))
    chosen = [texts[k] for k in rng.permutation(len(texts))[:CANDIDATES]]
    image = rng.permutation(train.items)[:JUDGES]
    words = [train.words.encode(text, train.longest) for text in chosen]
    scores = [held.cider_d(np.tile(one, (len(image), 1)), image).mean() for one in words]
    best = chosen[int(np.argmax(scores))]
    return lambda task, state: said(task, state, best)


@baseline("CaptionGeneration-v0", "caption of the nearest image")
def nearest_caption(train: CaptionGeneration) -> CaptionRun:
    """The first caption of the training image that is nearest in 12 x 12 pixels (Devlin et al., 2015)."""
    known = thumbnails(train.samples)

    def run(task: CaptionGeneration, state: CaptionState) -> CaptionState:
        nearest = int(np.argmax(known @ thumbnail(task.samples[int(state.image[0])].image)))
        return said(task, state, train.samples[nearest].captions[0])

    return run


def said(task: CaptionGeneration, state: CaptionState, text: str) -> CaptionState:
    """The state once a caption has been said; unknown words are left out."""
    words = task.words.encode(" ".join(word for word in tokenize(text) if word in task.words), task.longest)
    over = np.ones(1, bool)
    return replace(state, taken=words[None], step=np.array([(words > 0).sum()]), finished=over)


@baseline("VisualQuestionAnswering-v0", "majority answer")
def majority(train: VisualQuestionAnswering) -> AnswerRun:
    """The most frequent answer to the training questions of the same kind, or to all where kinds are unknown."""
    counts = answers_by(train, lambda sample: sample.kind)

    def run(task: VisualQuestionAnswering, state: AnswerState) -> AnswerState:
        kind = task.samples[int(state.question[0])].kind
        return answered(task, state, most_frequent(counts.get(kind) or sum(counts.values(), Counter())))

    return run


@baseline("VisualQuestionAnswering-v0", "whole-question prior")
def question_prior(train: VisualQuestionAnswering) -> AnswerRun:
    """The most frequent answer to the same training question, of a question that is new to those of its kind."""
    counts, kinds = (
        answers_by(train, lambda sample: sample.question),
        answers_by(train, lambda sample: sample.kind),
    )

    def run(task: VisualQuestionAnswering, state: AnswerState) -> AnswerState:
        sample = task.samples[int(state.question[0])]
        known = counts.get(sample.question) or kinds.get(sample.kind) or sum(kinds.values(), Counter())
        return answered(task, state, most_frequent(known))

    return run


@baseline("VisualQuestionAnswering-v0", "nearest image with the same question")
def nearest_answer(train: VisualQuestionAnswering) -> AnswerRun:
    """The answer to the same question about the training image that is nearest in 12 x 12 pixels."""
    known, prior = thumbnails([train.samples[k] for k in train.questions.pictures]), question_prior(train)
    asked: dict[str, list[int]] = {}
    for number, sample in enumerate(train.samples):
        asked.setdefault(sample.question, []).append(number)

    def run(task: VisualQuestionAnswering, state: AnswerState) -> AnswerState:
        sample = task.samples[int(state.question[0])]
        same = asked.get(sample.question)
        if not same:
            return prior(task, state)
        similarity = known[train.questions.image[same]] @ thumbnail(sample.image)
        return answered(task, state, train.samples[same[int(np.argmax(similarity))]].answers[0])

    return run


def answers_by(train: VisualQuestionAnswering, key: Callable[[Any], str]) -> dict[str, Counter[str]]:
    """Counts of the answers to training questions, by a key of these."""
    found: dict[str, Counter[str]] = {}
    for sample in train.samples:
        found.setdefault(key(sample), Counter()).update(sample.answers)
    return found


def most_frequent(counts: Counter[str]) -> str:
    """The most frequent answer, of equals the first by alphabet."""
    return min(counts, key=lambda answer: (-counts[answer], answer))


def answered(task: VisualQuestionAnswering, state: AnswerState, answer: str) -> AnswerState:
    """The state once an answer has been given; none where the task does not know it."""
    number = task.answer_names.index(answer) if answer in task.answer_names else -1
    return replace(state, answer=np.full(1, number), finished=np.ones(1, bool))


def thumbnails(samples: Sequence[Any]) -> np.ndarray:
    """(M, 12 * 12 * 3) float32, images as vectors of length 1."""
    return np.stack([thumbnail(sample.image) for sample in samples])


def thumbnail(image: np.ndarray) -> np.ndarray:
    """(12 * 12 * 3,) float32, an image (C, H, W) as a vector of length 1, brightness taken off."""
    flat = squeezed(colored(image, 3), SIDE).astype(np.float32).ravel()
    flat -= flat.mean()
    return flat / max(float(np.linalg.norm(flat)), 1e-6)
