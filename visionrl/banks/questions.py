"""The questions of one split as tables, held once for all episodes: their words, answers, and what they ask about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from visionrl.banks.patches import shared
from visionrl.datasets.load import Loaded, choose
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
        grid: cells along each side of the grid on the images.

    Attributes:
        words: (M, L) int64, numbers of the words; 0 beyond the last.
        scores: accuracy of answers.
        image: (M,) int64, index of each question's image into ``pictures``.
        pictures: numbers of the first question about each image.
        kinds: names of the kinds of questions, sorted; empty where none are known.
        kind: (M,) int64, number of each question's kind; -1 where it is unknown.
        asked: (M, grid * grid) bool, cells of a grid that the question asks about; none where that is unknown.
        cut: how many questions are longer.
        unknown: how many questions have no known word.
    """

    def __init__(
        self,
        samples: Sequence[QuestionSample],
        words: tuple[str, ...],
        answers: tuple[str, ...],
        length: int,
        grid: int,
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
        self.asked = DeviceTable(asked_cells(samples, grid))
        self.cut = sum(len(tokenize(sample.question)) > length for sample in samples)
        self.unknown = int((encoded < len(SPECIAL)).all(axis=1).sum())


def question_bank(
    samples: Sequence[QuestionSample],
    words: tuple[str, ...],
    answers: tuple[str, ...],
    length: int,
    grid: int,
) -> QuestionBank:
    """The bank of some questions; environments over the same samples share it."""
    whole = isinstance(samples, Loaded)  # then they are known as a whole
    parts = () if whole else ((s.image, s.question, s.answers, s.places, s.kind) for s in samples)
    held = [part for one in parts for part in one]
    return shared(QuestionBank, held, samples, words, answers, length, grid)


def asked_cells(samples: Sequence[QuestionSample], grid: int) -> np.ndarray:
    """(M, grid * grid) bool, cells in which something lies that a question asks about."""
    asked = np.zeros((len(samples), grid**2), bool)
    for row, sample in zip(asked, samples, strict=True):
        if sample.places is not None:
            share = (np.asarray(sample.places) + 0.5) / sample.image.shape[:0:-1]
            column, line = np.clip((share * grid).astype(int), 0, grid - 1).T
            row[line * grid + column] = True
    return asked


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


@lru_cache(maxsize=4)
def question_words(samples: tuple[QuestionSample, ...]) -> tuple[str, ...]:
    """The words of some questions, without the special ones."""
    return Vocabulary.build(sample.question for sample in samples).words[len(SPECIAL) :]


@lru_cache(maxsize=4)
def common_answers(samples: tuple[QuestionSample, ...], most: int | None) -> tuple[str, ...]:
    """The most frequent answers to some questions, or all; each question counts with the one most people gave."""
    counts = Counter(Counter(sample.answers).most_common(1)[0][0] for sample in samples if sample.answers)
    return tuple(sorted(counts, key=lambda answer: (-counts[answer], answer))[:most])
