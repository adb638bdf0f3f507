"""Accuracy of answers to questions about images, as the VQA challenge computes it (Antol et al., 2015).

An answer that n of ten people gave counts min(n / 3, 1), meant over the ten ways to leave one person out; with fewer
people the same rule holds with at most as many as there are, so one answer is right or wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from visionrl.ops import Array, DeviceTable, Recalled, xp_of

AGREED = 3
"""People whose common answer counts in full."""

ARTICLES = ("a", "an", "the")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {"none": "0", **{word: str(number) for number, word in enumerate(DIGITS)}}
PUNCTUATION = ';/[]"{}()=+\\_-<>@`,?!'
_PERIOD = re.compile(r"\.(?!\d)")
_COMMA = re.compile(r"\d,\d")
_APOSTROPHES = {
    "cant": "can't",
    "dont": "don't",
    "doesnt": "doesn't",
    "isnt": "isn't",
    "wont": "won't",
    "arent": "aren't",
    "didnt": "didn't",
    "thats": "that's",
    "whats": "what's",
    "theyre": "they're",
    "youre": "you're",
}


def normalise_answer(answer: str) -> str:
    """An answer in lower case, without articles and punctuation, number words as digits.

    These are the rules of the challenge's own tool; of its list of contractions the common ones. A mark parts words,
    but is taken out where the answer has it beside a space, or has a comma between digits.
    """
    given = answer.lower().replace("\n", " ").replace("\t", " ").strip()
    text, joined = given, _COMMA.search(given) is not None
    for mark in PUNCTUATION:
        beside = f"{mark} " in given or f" {mark}" in given
        text = text.replace(mark, "" if joined or beside else " ")
    text = _PERIOD.sub("", text)
    words = [_NUMBERS.get(word, word) for word in text.split() if word not in ARTICLES]
    return " ".join(_APOSTROPHES.get(word, word) for word in words)


def answer_scores(answers: Sequence[str]) -> dict[str, float]:
    """The accuracy of every answer that somebody gave, by its normalised text; any other answer has 0."""
    counts, people = Counter(map(normalise_answer, answers)), len(answers)
    return {answer: _accuracy(count, people) for answer, count in counts.items()}


def vqa_accuracy(answer: str, answers: Sequence[str]) -> float:
    """The accuracy of an answer, in [0, 1].

    Args:
        answer: in question.
        answers: of people, one or more.

    Raises:
        ValueError: there are no answers.
    """
    if isinstance(answers, str) or not len(answers):
        raise ValueError(f"answers must be one or more texts, got {answers!r:.80}")
    return answer_scores(answers).get(normalise_answer(answer), 0.0)


def _accuracy(count: int, people: int) -> float:
    """Mean over the people left out of min(n / needed, 1), n of the others who gave this answer."""
    if people == 1:
        return float(count)
    needed = min(AGREED, people - 1)
    without = count * min((count - 1) / needed, 1) + (people - count) * min(count / needed, 1)
    return without / people


class AnswerScores(Recalled):
    """The accuracy of K answers to M questions, as a table of the few that are not 0.

    Args:
        given: people's answers to each question; none where they are unknown.
        names: the K answers.

    Attributes:
        best: (M,) int64, the number of the answer with the highest accuracy; -1 where none of the K has any.
        unanswerable: number of questions of which no right answer is among the K.
    """

    def __init__(self, given: Sequence[Sequence[str]], names: Sequence[str]) -> None:
        numbers: dict[str, list[int]] = {}
        for number, name in enumerate(names):
            numbers.setdefault(normalise_answer(name), []).append(number)
        found = [
            [(k, score) for text, score in answer_scores(one).items() for k in numbers.get(text, ())]
            for one in given
        ]
        width = max(1, max(map(len, found), default=1))
        answers, scores = np.full((len(given), width), -1, np.int64), np.zeros((len(given), width))
        for row, pairs in enumerate(found):
            for column, (number, score) in enumerate(sorted(pairs, key=lambda pair: -pair[1])):
                answers[row, column], scores[row, column] = number, score
        self.answers, self.scores = DeviceTable(answers), DeviceTable(scores)
        self.best = DeviceTable(answers[:, 0])
        self.unanswerable = int((answers[:, 0] < 0).sum())

    def accuracy(self, answer: Array, question: Array) -> Array:
        """(B,) float64 in [0, 1], accuracy of answers; 0 for -1, no answer.

        Args:
            answer: (B,) int64, numbers of answers.
            question: (B,) int64, numbers of questions.
        """
        xp = xp_of(answer)
        same = (self.answers.rows(question) == answer[:, None]) & (answer >= 0)[:, None]
        scores = self.scores.rows(question)
        return xp.sum(xp.where(same, scores, 0 * scores), axis=1)
