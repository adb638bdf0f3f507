"""Base of the models that answer questions about images: data, loss, answers, metrics."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import torch
from annotated_types import MinLen
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.banks.questions import same_images
from visionrl.datasets import QuestionSample
from visionrl.datasets.words import SPECIAL, Vocabulary, tokenize
from visionrl.layers.recurrent import init_recurrent, last_output
from visionrl.metrics.vqa import AnswerScores
from visionrl.models._images import device_of
from visionrl.models._model import Model, Split
from visionrl.models.language._base import LanguageModel, Positive

CHUNK = 64  # images at a time where nothing is learnt
LONGEST = 24  # words of a question at most, where nothing else is said
TOP = 1000  # answers at most, where nothing else is said


class Answer(NamedTuple):
    """An answer to one question.

    Attributes:
        text: the answer.
        probability: that the model gives it.
        attention: (K, h, w), where the model looked, step by step; None where it attends to nothing.
        steps: what each step is called: words of the question, or hops.
    """

    text: str
    probability: float
    attention: np.ndarray | None
    steps: tuple[str, ...]


class Answerer(LanguageModel):
    """A network that chooses one of the answers that it knows to a question about an image.

    A subclass has ``fuse``. It learns to give the best answer the highest probability (cross-entropy); all questions
    about an image share one pass through its trunk.

    Args:
        words: of the questions' vocabulary, without the special ones.
        answers: those that it can give.
        length: words of a question; more are cut.
        options: see ``LanguageModel``.
    """

    kind = QuestionSample
    of_samples: ClassVar[Mapping[str, Any]] = {
        **LanguageModel.of_samples,
        "top_answers": Positive,
    }
    data = "scene-questions"
    score_name = "accuracy"

    def __init__(
        self,
        words: Sequence[str],
        answers: Annotated[Sequence[str], MinLen(1)],
        length: Positive = 12,
        **options: Any,
    ) -> None:
        super().__init__(words, length, **options)
        self.answers, width = tuple(answers), self.width
        self.read = nn.GRU(width, width, batch_first=True)
        init_recurrent(self.read)
        self.out = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(self.drop.p), nn.Linear(width, len(self.answers))
        )

    @classmethod
    def for_samples(cls, samples: Sequence[Any], options: Mapping[str, Any]) -> Model:
        """A model for the words and answers of training samples, with some options given.

        Of the options ``min_count`` leaves out rarer words, ``top_answers`` all but the most frequent answers.
        """
        given = dict(options)
        counts = Counter(answer for sample in samples for answer in sample.answers)
        if not counts:
            raise ValueError("samples must have answers to learn from, got none")
        top = given.pop("top_answers", TOP)
        answers = sorted(counts, key=lambda answer: (-counts[answer], answer))[:top]
        texts = [sample.question for sample in samples]
        vocabulary = Vocabulary.build(texts, given.pop("min_count", 1))
        length = min(max(len(tokenize(text)) for text in texts), LONGEST)
        words = list(vocabulary.words[len(SPECIAL) :])
        return cls.of({"words": words, "answers": answers, "length": length, **given})

    @abstractmethod
    def fuse(self, places: Any, questions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Vectors of image and question, (M, width), and where the model looked, (M, K, h, w) or None.

        Args:
            places: of ``see``, one row a question.
            questions: (M, L) int64.
        """

    def see(self, places: Tensor) -> Tensor:
        """Encodes the maps of images (B, width, h, w) before the question is asked."""
        return places

    def look(self, images: Tensor) -> Tensor:
        """Encodes images (B, C, S, S) before the question is asked."""
        return self.see(self.map_of({"images": images}))

    def steps(self, question: Tensor, count: int) -> tuple[str, ...]:
        """Names of the maps of ``fuse`` for a question (L,)."""
        return tuple(f"look {number + 1}" for number in range(count))

    def hear(self, questions: Tensor) -> Tensor:
        """(M, width), the state of the recurrent layer after the last word of questions (M, L)."""
        return last_output(self.read, self.drop(self.embed(questions)), questions)

    def ask(self, seen: Tensor, questions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (M, A) of the answers, and the maps of ``fuse``."""
        known, maps = self.fuse(seen, questions)
        return self.out(self.drop(known)), maps

    def encode(self, samples: Sequence[Any]) -> Split:
        """Each image once (N, C, S, S), its "questions" (N, Q, L), "answers" (N, Q) int64, -1 where there is none."""
        rows, columns = places_of(samples)
        first = same_images(samples)[1]
        images = self.prepare(samples[number].image for number in first)
        shape = len(first), int(columns.max()) + 1
        questions, answers = np.zeros((*shape, self.length), np.int64), np.full(shape, -1, np.int64)
        best = AnswerScores([sample.answers for sample in samples], self.answers).best.array
        answers[rows, columns] = best
        for number, sample in enumerate(samples):
            words = self.vocabulary.encode(sample.question, self.length, end=False)
            questions[rows[number], columns[number]] = words
        return {
            "images": images,
            "questions": torch.from_numpy(questions),
            "answers": torch.from_numpy(answers),
        }

    def loss(self, batch: Split) -> Tensor:
        """Cross-entropy of the best answers to all questions that have one."""
        row, column = (batch["answers"] >= 0).nonzero(as_tuple=True)
        logits, _ = self.ask(self.see(self.map_of(batch))[row], batch["questions"][row, column])
        return F.cross_entropy(logits.float(), batch["answers"][row, column])

    @torch.inference_mode()
    def predict(self, images: Tensor, questions: Tensor) -> Tensor:
        """(N, Q, A) probabilities of the answers to questions (N, Q, L) about images (N, C, S, S)."""
        self.eval()
        home, found = device_of(self), []
        for some, asked in zip(images.split(CHUNK), questions.split(CHUNK), strict=True):
            seen = self.look(some.to(home)).repeat_interleave(asked.shape[1], 0)
            logits, _ = self.ask(seen, asked.flatten(0, 1).to(home))
            found.append(logits.softmax(1).view(*asked.shape[:2], -1).cpu())
        return torch.cat(found)

    def evaluate(self, samples: Sequence[Any], split: Split) -> dict[str, float]:
        """Accuracy as the VQA challenge has it: the mean over the kinds of questions, overall, and of each kind."""
        rows, columns = places_of(samples)
        best = self.predict(split["images"], split["questions"]).argmax(2).numpy()[rows, columns]
        scores = AnswerScores([sample.answers for sample in samples], self.answers)
        right = np.asarray(scores.accuracy(best, np.arange(len(samples))))
        return accuracy_by_kind(right, [sample.kind for sample in samples])

    @torch.inference_mode()
    def answer(self, images: Iterable[np.ndarray], questions: Sequence[str]) -> list[Answer]:
        """Answers to one question about each image, (C, H, W) uint8 of any size.

        Raises:
            ValueError: a question has no word that the model knows, or there is not one for each image.
        """
        self.eval()
        fitted = self.prepare(images)
        if len(fitted) != len(questions):
            raise ValueError(f"questions must be one an image, got {len(questions)} for {len(fitted)} images")
        words = [torch.from_numpy(self.known_words(question)) for question in questions]
        home, found = device_of(self), []
        for one, asked in zip(fitted, words, strict=True):
            logits, maps = self.ask(self.look(one[None].to(home)), asked[None].to(home))
            likely, number = logits.softmax(1)[0].max(0)
            seen = None if maps is None else maps[0].cpu().numpy()
            steps = () if seen is None else self.steps(asked, len(seen))
            found.append(Answer(self.answers[int(number)], float(likely), seen, steps))
        return found


def places_of(samples: Sequence[QuestionSample]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) int64 twice: the number of each sample's image among those that differ, and which of its questions it is."""
    if not len(samples):
        raise ValueError("samples must be one or more, got none")
    rows, asked = same_images(samples)[0], Counter[int]()
    columns = np.zeros(len(samples), np.int64)
    for number, row in enumerate(rows.tolist()):
        columns[number] = asked[row]
        asked[row] += 1
    return rows, columns


def accuracy_by_kind(right: np.ndarray, kinds: Sequence[str]) -> dict[str, float]:
    """The mean over the kinds, "accuracy", over all questions, "overall", and of each kind where there are several."""
    names = list(dict.fromkeys(kinds))
    each = {name: float(right[np.array(kinds) == name].mean()) for name in names}
    found = {"accuracy": float(np.mean([*each.values()])), "overall": float(right.mean())}
    return {**found, **(each if len(names) > 1 else {})}
