"""Captioners and question answerers on the test split, beside rows that learn nothing.

    python benchmarks/language.py runs/many-scenes-show_and_tell-s0 ...
    python benchmarks/language.py --data scene-questions runs/many-scene-questions-vqa_film-s0 ...

The rows that learn nothing are chosen from samples alone; those of the tasks, which choose a little differently, are in
`visionrl/baselines/language.py`.

Prints Markdown. Intervals are 95 % percentile bootstrap over images; milliseconds an image are greedy, 64 at a time, on
one thread.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch

from visionrl.datasets import CaptionSample, QuestionSample, load
from visionrl.datasets.words import Vocabulary
from visionrl.metrics.captions import References, corpus_bleu
from visionrl.metrics.scene_tuples import SceneTuples
from visionrl.metrics.vqa import AnswerScores
from visionrl.models import load_model
from visionrl.models.language.answerer import places_of

RESAMPLES = 2000
TINY = 12  # pixels a side at which scenes are compared
SOME = 200  # captions among which the one for all is chosen


def interval(values: np.ndarray, groups: np.ndarray | None = None) -> str:
    """Mean of (N,) and its interval, resampled by group."""
    groups = np.arange(len(values)) if groups is None else groups
    sums, counts = np.bincount(groups, values), np.bincount(groups)
    draws = np.random.default_rng(0).integers(len(sums), size=(RESAMPLES, len(sums)))
    means = sums[draws].sum(1) / counts[draws].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def tiny(samples: Sequence[Any]) -> np.ndarray:
    """(N, 432) float32, images of 12 x 12 pixels."""
    small = [
        cv2.resize(s.image.transpose(1, 2, 0), (TINY, TINY), interpolation=cv2.INTER_AREA) for s in samples
    ]
    return np.stack(small).reshape(len(samples), -1).astype(np.float32)


def nearest(train: Sequence[Any], test: Sequence[Any]) -> np.ndarray:
    """(N,) the training sample whose tiny image is nearest to each test sample's."""
    known, new = tiny(train), tiny(test)
    distance = (known**2).sum(1)[None] - 2 * new @ known.T
    return distance.argmin(1)


def milliseconds(work: Callable[[], Any], images: int) -> float:
    """CPU time an image, the least of three."""
    spent = []
    for _ in range(3):
        began = time.process_time()
        work()
        spent.append((time.process_time() - began) * 1e3 / images)
    return min(spent)


class CaptionRows:
    """The table of captioners.

    Args:
        data: a data set of captions.
    """

    heads = (
        "row",
        "CIDEr-D",
        "BLEU-1",
        "BLEU-4",
        "ROUGE-L",
        "tuple F1",
        "exact",
        "words",
        "parameters",
        "ms",
    )
    title = "| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|"

    def __init__(self, data: str) -> None:
        self.train, self.test = (load(data, kind=CaptionSample, split=split) for split in ("train", "test"))
        self.words = Vocabulary.build(text for s in (*self.train, *self.test) for text in s.captions)
        self.held = References([s.captions for s in self.test], self.words)
        facts = [s.facts for s in self.test]
        self.tuples = SceneTuples(facts, self.words) if all(facts) else None

    def row(self, name: str, texts: Sequence[str], about: str = "| | |") -> str:
        """One line of the table."""
        words, image = np.stack([self.words.encode(text, 64) for text in texts]), np.arange(len(texts))
        bleu = corpus_bleu(self.held.bleu_statistics(words, image))
        found = [interval(self.held.cider_d(words, image)), f"{bleu['bleu_1']:.3f}", f"{bleu['bleu_4']:.3f}"]
        found.append(f"{self.held.rouge_l(words, image).mean():.3f}")
        found.append("" if self.tuples is None else interval(self.tuples.f1(words, image)))
        found.append(f"{self.held.exact(words, image).mean():.3f}")
        found.append(f"{np.mean([len(text.split()) for text in texts]):.1f}")
        return f"| {name} | " + " | ".join(found) + " " + about

    def plain(self) -> list[str]:
        """Rows that learn nothing."""
        rng, count = np.random.default_rng(0), len(self.test)
        own = References([s.captions for s in self.train[:SOME]], self.words)
        best, most = "", -1.0
        for sample in self.train[:SOME]:
            words = np.stack([self.words.encode(sample.captions[0], 64)] * SOME)
            if (score := float(own.cider_d(words, np.arange(SOME)).mean())) > most:
                best, most = sample.captions[0], score
        chance = [self.train[k].captions[0] for k in rng.integers(len(self.train), size=count)]
        near = [self.train[k].captions[0] for k in nearest(self.train, self.test)]
        return [
            self.row("a random training caption", chance),
            self.row(f'one caption for all: "{best}"', [best] * count),
            self.row("nearest training image, 12 x 12 pixels", near),
            self.row("the first reference", [s.captions[0] for s in self.test]),
        ]

    def trained(self, folder: str) -> list[str]:
        """Rows of a captioner: greedy, and beam search."""
        model: Any = load_model(folder)
        images, found = [s.image for s in self.test], []
        batch = model.encode(self.test[:64])["images"]
        for how in ("greedy", "beam"):
            spent = milliseconds(partial(model.say, batch, how), 64)
            about = f"| {model.parameter_count:,} | {spent:.1f} |"
            found.append(self.row(f"`{folder.rsplit('/', 1)[-1]}`, {how}", model.caption(images, how), about))
        return found


class AnswerRows:
    """The table of question answerers.

    Args:
        data: a data set of questions.
    """

    def __init__(self, data: str) -> None:
        self.train, self.test = (load(data, kind=QuestionSample, split=split) for split in ("train", "test"))
        self.kinds = list(dict.fromkeys(s.kind for s in self.test))
        self.names = sorted({answer for s in (*self.train, *self.test) for answer in s.answers})
        self.scores = AnswerScores([s.answers for s in self.test], self.names)
        self.images = places_of(self.test)[0]
        heads = ["row", "mean over kinds", *self.kinds, "parameters", "ms"]
        self.title = "| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|"

    def row(self, name: str, texts: Sequence[str], about: str = "| | |") -> str:
        """One line of the table; the interval is that of the mean over the kinds, by image."""
        known = {text: number for number, text in enumerate(self.names)}
        numbers = np.array([known.get(text, -1) for text in texts])
        right = np.asarray(self.scores.accuracy(numbers, np.arange(len(texts))))
        kind = np.array([self.kinds.index(s.kind) for s in self.test])
        share = len(right) / (len(self.kinds) * np.bincount(kind)[kind])  # each kind counts the same
        each = [f"{right[kind == number].mean():.2f}" for number in range(len(self.kinds))]
        return f"| {name} | {interval(right * share, self.images)} | " + " | ".join(each) + " " + about

    def plain(self) -> list[str]:
        """Rows that learn nothing."""
        answers: dict[str, Counter[str]] = defaultdict(Counter)
        by_kind: dict[str, list[int]] = defaultdict(list)
        for number, sample in enumerate(self.train):
            answers[sample.kind].update(sample.answers[:1])
            by_kind[sample.kind].append(number)
        top = {kind: counts.most_common(1)[0][0] for kind, counts in answers.items()}
        rng, near = np.random.default_rng(0), [""] * len(self.test)
        for kind in self.kinds:
            rows = [k for k, s in enumerate(self.test) if s.kind == kind]
            some = [self.train[k] for k in by_kind[kind]]
            for row, k in zip(rows, nearest(some, [self.test[k] for k in rows]), strict=True):
                near[row] = some[k].answers[0]
        return [
            self.row(
                "a random answer", [self.names[k] for k in rng.integers(len(self.names), size=len(near))]
            ),
            self.row("most frequent answer of the kind", [top[s.kind] for s in self.test]),
            self.row("nearest training image of the kind, 12 x 12 pixels", near),
        ]

    def trained(self, folder: str) -> list[str]:
        """The row of an answerer."""
        model: Any = load_model(folder)
        split = model.encode(self.test)
        rows, columns = places_of(self.test)
        best = model.predict(split["images"], split["questions"]).argmax(2).numpy()[rows, columns]
        some = {key: part[:64] for key, part in split.items()}
        spent = milliseconds(lambda: model.predict(some["images"], some["questions"]), 64)
        about = f"| {model.parameter_count:,} | {spent:.1f} |"
        return [self.row(f"`{folder.rsplit('/', 1)[-1]}`", [model.answers[k] for k in best], about)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "runs", nargs="*", help="folders of runs, or names of models that come with the library"
    )
    parser.add_argument("--data", default="many-scenes", help="data set of captions or of questions")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows: Any = (AnswerRows if "question" in args.data else CaptionRows)(args.data)
    print(rows.title)
    for line in rows.plain():
        print(line, flush=True)
    for folder in args.runs:
        for line in rows.trained(folder):
            print(line, flush=True)


if __name__ == "__main__":
    main()
