"""The questions of one split as tables, held once for all episodes: their words, answers, and what they ask about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from visionrl.banks.patches import shared
from visionrl.datasets.load import choose
from visionrl.datasets.samples import QuestionSample
from visionrl.datasets.words import SPECIAL, Vocabulary, tokenize
from visionrl.metrics.vqa import AnswerScores
from visionrl.ops import DeviceTable, Recalled


class QuestionBank(Recalled):
    """M questions about images.

    Args:
        samples: the questions.
        words: of the questions that are known, without the special ones.
        answers: that can be given.
        length: most words of a question, L; longer ones are cut.

    Attributes:
        words: (M, L) int64, numbers of the words; 0 beyond the last.
        scores: accuracy of answers.
        image: (M,) int64, index of each question's image into ``pictures``.
        pictures: numbers of the first question about each image.
        kinds: names of the kinds of questions, sorted; empty where none are known.
        kind: (M,) int64, number of each question's kind; -1 where it is unknown.
        cut: how many questions are longer.
        unknown: how many questions have no known word.
    """

    def __init__(
        self, samples: Sequence[QuestionSample], words: tuple[str, ...], answers: tuple[str, ...], length: int
    ) -> None:
        vocabulary = Vocabulary(words)
        encoded = np.stack([vocabulary.encode(sample.question, length, end=False) for sample in samples])
        self.words = DeviceTable(encoded)
        self.scores = AnswerScores([sample.answers for sample in samples], answers)
        self.image, self.pictures = same_images(samples)
        self.kinds = tuple(sorted({sample.kind for sample in samples if sample.kind}))
        self.kind = DeviceTable(
            np.array([self.kinds.index(sample.kind) if sample.kind else -1 for sample in samples], np.int64)
        )
        self.cut = sum(len(tokenize(sample.question)) > length for sample in samples)
        self.unknown = int((encoded < len(SPECIAL)).all(axis=1).sum())


def question_bank(
    samples: Sequence[QuestionSample], words: tuple[str, ...], answers: tuple[str, ...], length: int
) -> QuestionBank:
    """The bank of some questions; environments over the same samples share it."""
    return shared(QuestionBank, _texts(samples), samples, words, answers, length)


def pictures_of(samples: Sequence[QuestionSample], bank: QuestionBank) -> tuple[Any, ...]:
    """The first question about each image, for banks of pixels."""
    return choose(samples, bank.pictures)


def same_images(samples: Sequence[QuestionSample]) -> tuple[np.ndarray, tuple[int, ...]]:
    """The index of each sample's image among the different ones, and the first sample of each.

    Images are the same where they are one array, or views of one place in memory.
    """
    numbers: dict[tuple, int] = {}
    image: list[int] = []
    first: list[int] = []
    for number, sample in enumerate(samples):
        key = sample.image.__array_interface__["data"][0], sample.image.shape
        if key not in numbers:
            numbers[key] = len(first)
            first.append(number)
        image.append(numbers[key])
    return np.array(image, np.int64), tuple(first)


def question_words(samples: Sequence[QuestionSample]) -> tuple[str, ...]:
    """The words of some questions, without the special ones."""
    return shared(_words, _texts(samples), samples)


def common_answers(samples: Sequence[QuestionSample], most: int | None) -> tuple[str, ...]:
    """The most frequent answers to some questions, or all; each question counts with the one most people gave."""
    return shared(_answers, _texts(samples), samples, most)


def _texts(samples: Sequence[QuestionSample]) -> list[Any]:
    """What a table of words depends on."""
    return [part for sample in samples for part in (sample.image, sample.question, sample.answers)]


def _words(samples: Sequence[QuestionSample]) -> tuple[str, ...]:
    return Vocabulary.build(sample.question for sample in samples).words[len(SPECIAL) :]


def _answers(samples: Sequence[QuestionSample], most: int | None) -> tuple[str, ...]:
    counts = Counter(Counter(sample.answers).most_common(1)[0][0] for sample in samples if sample.answers)
    return tuple(sorted(counts, key=lambda answer: (-counts[answer], answer))[:most])
