"""Captioners and question answerers on the test split, beside rows that learn nothing.

    python benchmarks/language.py captions runs/many-scenes-show_and_tell-s0 ...
    python benchmarks/language.py questions runs/many-scene-questions-vqa_film-s0 ...
    python benchmarks/language.py names runs/many-scenes-dual_encoder-s0 ...
    python benchmarks/language.py reward answers-scenes

The rows that learn nothing are chosen from samples alone; those of the tasks, which choose a little differently, are in
`visionrl/baselines/language.py`.

`names` asks dual encoders which of a few names fits an image, without training for the names; `reward` compares the
probability that AnswerReward pays with what is true. With `--weights`, a file of MobileNetV2's published weights,
images are compared by its features too.

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
from scipy.stats import rankdata, spearmanr

from visionrl.backbones import make_backbone
from visionrl.datasets import CaptionSample, QuestionSample, load
from visionrl.datasets.words import Vocabulary
from visionrl.metrics.captions import References, corpus_bleu
from visionrl.metrics.scene_tuples import SceneTuples
from visionrl.metrics.vqa import AnswerScores
from visionrl.models import load_model
from visionrl.models._images import fit_images
from visionrl.models.language.answerer import places_of
from visionrl.reward_models import AnswerReward

RESAMPLES = 2000
TINY = 12  # pixels a side at which scenes are compared
SOME = 200  # captions among which the one for all is chosen
STATES = 500  # of the table of the reward


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


@torch.inference_mode()
def features(samples: Sequence[Any], weights: str, side: int = 192) -> np.ndarray:
    """(N, 1280) float32 of length 1, what a published MobileNetV2 makes of images."""
    net = make_backbone("mobilenet_v2", 3, weights=weights, frozen=True).eval()
    images = fit_images([s.image for s in samples], 3, side)
    found = torch.cat([net.forward_features(some).mean((2, 3)) for some in images.split(64)])
    return torch.nn.functional.normalize(found, dim=1).numpy()


def nearest(
    train: Sequence[Any], test: Sequence[Any], seen: Callable[[Sequence[Any]], np.ndarray] = tiny
) -> np.ndarray:
    """(N,) the training sample whose image is nearest to each test sample's."""
    known, new = seen(train), seen(test)
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
        split_file: its splits, see ``load``.
        weights: file of MobileNetV2's weights, by which images are compared; None compares pixels alone.
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

    def __init__(self, data: str, split_file: str | None = None, weights: str | None = None) -> None:
        self.train, self.test = parts(data, CaptionSample, split_file)
        self.weights = weights
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
            *self.near_by_features(),
            self.row("the first reference", [s.captions[0] for s in self.test]),
        ]

    def near_by_features(self) -> list[str]:
        """The row of the nearest training image by features."""
        if self.weights is None:
            return []
        found = nearest(self.train, self.test, partial(features, weights=self.weights))
        said = [self.train[k].captions[0] for k in found]
        return [self.row("nearest training image, MobileNetV2's features", said)]

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
        split_file: its splits, see ``load``.
        weights: without effect.
    """

    def __init__(self, data: str, split_file: str | None = None, weights: str | None = None) -> None:
        self.train, self.test = parts(data, QuestionSample, split_file)
        self.kinds = list(dict.fromkeys(s.kind for s in self.test))
        self.names = sorted({answer for s in (*self.train, *self.test) for answer in s.answers})
        self.scores = AnswerScores([s.answers for s in self.test], self.names)
        self.images = places_of(self.test)[0]
        named = self.kinds if len(self.kinds) > 1 else []
        heads = ["row", "mean over kinds" if named else "accuracy", *named, "parameters", "ms"]
        self.title = "| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|"

    def row(self, name: str, texts: Sequence[str], about: str = "| | |") -> str:
        """One line of the table; the interval is that of the mean over the kinds, by image."""
        known = {text: number for number, text in enumerate(self.names)}
        numbers = np.array([known.get(text, -1) for text in texts])
        right = np.asarray(self.scores.accuracy(numbers, np.arange(len(texts))))
        kind = np.array([self.kinds.index(s.kind) for s in self.test])
        share = len(right) / (len(self.kinds) * np.bincount(kind)[kind])  # each kind counts the same
        each = [f"{right[kind == number].mean():.2f}" for number in range(len(self.kinds))]
        cells = [name, interval(right * share, self.images), *(each if len(each) > 1 else [])]
        return "| " + " | ".join(cells) + " " + about

    def plain(self) -> list[str]:
        """Rows that learn nothing."""
        answers: dict[str, Counter[str]] = defaultdict(Counter)
        asked: dict[str, Counter[str]] = defaultdict(Counter)
        by_kind: dict[str, list[int]] = defaultdict(list)
        for number, sample in enumerate(self.train):
            answers[sample.kind].update(sample.answers[:1])
            asked[sample.question].update(sample.answers[:1])
            by_kind[sample.kind].append(number)
        top, prior = (
            {key: counts.most_common(1)[0][0] for key, counts in one.items()} for one in (answers, asked)
        )
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
            self.row(
                "most frequent answer to the question",
                [prior.get(s.question, top[s.kind]) for s in self.test],
            ),
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


class NameRows:
    """The table of dual encoders that name what a scene shows, without training for the names.

    Each scene has two or three groups of things; right is a name of any of them. The names are the nouns, colours and
    nouns, or the first captions of all scenes of the split.

    Args:
        data: a data set of captions with facts.
        split_file: its splits, see ``load``.
        weights: without effect.
    """

    title = "| row | noun of 12 | colour and noun of 72 | own caption among all: at 1 | at 5 |\n|---|---|---|---|---|"

    def __init__(self, data: str, split_file: str | None = None, weights: str | None = None) -> None:
        self.test = load(data, kind=CaptionSample, split="test", split_file=split_file)
        groups = [[fact for fact in s.facts if not isinstance(fact, str)] for s in self.test]
        self.nouns = [{noun for noun, *_ in some} for some in groups]
        self.things = [{f"{colour} {noun}" for noun, colour, *_ in some} for some in groups]

    def plain(self) -> list[str]:
        """The row of chance."""
        parts = [interval(np.array([len(some) for some in right]) / count) for right, count in self.right()]
        return ["| by chance | " + " | ".join(parts) + " | | |"]

    def right(self) -> list[tuple[list[set[str]], int]]:
        """The right names of each scene, and how many names there are."""
        return [(right, len(set().union(*right))) for right in (self.nouns, self.things)]

    def trained(self, folder: str) -> list[str]:
        """The row of a dual encoder."""
        model: Any = load_model(folder)
        split, found = model.encode(self.test), []
        for right, _ in self.right():
            names = sorted(set().union(*right))
            best = model.similarity(split["images"], names).argmax(1).tolist()
            found.append(
                interval(np.array([names[k] in own for k, own in zip(best, right, strict=True)], float))
            )
        recall = model.evaluate(self.test, split)
        found += [f"{recall[name]:.3f}" for name in ("recall_1", "recall_5")]
        return [f"| `{folder.rsplit('/', 1)[-1]}` | " + " | ".join(found) + " |"]


class RewardRows:
    """The table of AnswerReward: the rank correlation of what it pays with what is true, over states.

    A state is an image, with a question about it and an answer that is wanted: half of the time the right one, else
    another one of those to questions of this kind.

    Args:
        data: a data set of questions.
        split_file: its splits, see ``load``.
        weights: without effect.
    """

    title = "| row | states | Spearman | AUC | the kinds' Spearman |\n|---|---|---|---|---|"

    def __init__(self, data: str, split_file: str | None = None, weights: str | None = None) -> None:
        rng, test = (
            np.random.default_rng(0),
            load(data, kind=QuestionSample, split="test", split_file=split_file),
        )
        kinds: dict[str, set[str]] = defaultdict(set)
        for sample in test:
            kinds[sample.kind].update(sample.answers[:1])
        self.states = []
        for k in rng.permutation(len(test))[:STATES].tolist():
            right, others = test[k].answers[0], sorted(kinds[test[k].kind] - {test[k].answers[0]})
            self.states.append((test[k], right if rng.random() < 0.5 else str(rng.choice(others))))
        self.truth = np.array([wanted == sample.answers[0] for sample, wanted in self.states])

    def plain(self) -> list[str]:
        """No rows."""
        return []

    def trained(self, folder: str) -> list[str]:
        """The row of an answerer."""
        model: Any = load_model(folder)
        paid = np.array(
            [
                AnswerReward(model, sample.question, wanted, "image")(
                    {"image": np.array(sample.image[None])}
                )[0]
                for sample, wanted in self.states
            ]
        )
        kind = np.array([sample.kind for sample, _ in self.states])
        draws = np.random.default_rng(0).integers(len(paid), size=(RESAMPLES, len(paid)))
        low, high = np.percentile([spearmanr(paid[k], self.truth[k])[0] for k in draws], (2.5, 97.5))
        rank = rankdata(paid)[self.truth]
        auc = (rank.mean() - (len(rank) + 1) / 2) / (~self.truth).sum()
        each = [
            f"{one or 'all'} {spearmanr(paid[kind == one], self.truth[kind == one])[0]:.2f}"
            for one in dict.fromkeys(kind.tolist())
        ]
        found = spearmanr(paid, self.truth)[0]
        cells = [
            f"`{folder.rsplit('/', 1)[-1]}`",
            str(len(paid)),
            f"{found:.2f} [{low:.2f}, {high:.2f}]",
            f"{auc:.2f}",
        ]
        return ["| " + " | ".join([*cells, ", ".join(each)]) + " |"]


def parts(data: str, kind: type, split_file: str | None) -> list[Any]:
    """The training and the test split."""
    return [load(data, kind=kind, split=split, split_file=split_file) for split in ("train", "test")]


TABLES: dict[str, tuple[type, str]] = {
    "captions": (CaptionRows, "many-scenes"),
    "questions": (AnswerRows, "many-scene-questions"),
    "names": (NameRows, "many-scenes"),
    "reward": (RewardRows, "many-scene-questions"),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=sorted(TABLES), help="which table")
    parser.add_argument(
        "runs", nargs="*", help="folders of runs, or names of models that come with the library"
    )
    parser.add_argument("--data", help="data set of captions or of questions; by default the embedded one")
    parser.add_argument("--split-file", help="file that says which samples are for training and testing")
    parser.add_argument("--weights", help="file of MobileNetV2's weights, by which images are compared")
    parser.add_argument("--no-plain", action="store_true", help="only the rows of the runs")
    args = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    made, data = TABLES[args.table]
    rows: Any = made(args.data or data, args.split_file, args.weights)
    print(rows.title)
    for line in [] if args.no_plain else rows.plain():
        print(line, flush=True)
    for folder in args.runs:
        for line in rows.trained(folder):
            print(line, flush=True)


if __name__ == "__main__":
    main()
