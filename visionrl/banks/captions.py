"""The captions of one split as tables, held once for all episodes: what people said, and scores against it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from visionrl.banks.patches import shared
from visionrl.datasets.load import Loaded
from visionrl.datasets.samples import CaptionSample
from visionrl.datasets.words import EOS, SPECIAL, UNK, Vocabulary, tokenize
from visionrl.metrics.captions import References
from visionrl.metrics.scene_tuples import SceneTuples
from visionrl.ops import Array, DeviceTable, Recalled, xp_of

SCORES = ("cider_d", "bleu_4", "rouge_l", "tuple_f1")


class CaptionBank(Recalled):
    """The captions of M images.

    Words that are not in the vocabulary get numbers behind it, so that they count in the scores and are never said.

    Args:
        samples: with captions.
        words: of the vocabulary, without the special ones.
        length: most words of a caption that is said, the end among them, L.

    Attributes:
        metric: the references without ends, for the metrics of papers.
        reward: the references with ends as words, for rewards.
        tuples: the facts, where all samples have them; else None.
        ways: (M, R, L) int64, the captions as an expert says them: without unknown words and repetitions, cut to L - 1
            words, ``EOS`` behind them; those that are whole come first.
        cut: how many captions cannot be said whole, for their length.
    """

    def __init__(self, samples: Sequence[CaptionSample], words: tuple[str, ...], length: int) -> None:
        vocabulary = Vocabulary(words)
        captions = [sample.captions for sample in samples]
        spoken = {word: None for texts in captions for text in texts for word in tokenize(text)}
        lexicon = Vocabulary((*words, *(word for word in spoken if word not in vocabulary)))
        self.metric = References(captions, lexicon)
        self.reward = References(captions, lexicon, end=True)
        facts = [sample.facts for sample in samples]
        self.tuples = SceneTuples(facts, lexicon) if all(facts) else None
        self.cut = sum(len(tokenize(text)) >= length for texts in captions for text in texts)
        most = max(map(len, captions))
        ways = np.zeros((len(samples), most, length), np.int64)
        for number, texts in enumerate(captions):
            said = sorted((_sayable(text, vocabulary, length) for text in texts), key=lambda pair: pair[1])
            for row in range(most):
                ways[number, row] = said[min(row, len(said) - 1)][0]
        self.ways = DeviceTable(ways)

    def score(self, name: str, words: Array, image: Array) -> Array:
        """(B,) float64 in [0, 1]: a metric of captions as a reward; 0 for no words.

        Args:
            name: one of ``SCORES``; CIDEr-D is divided by 10, BLEU is that of single captions.
            words: (B, L) int64.
            image: (B,) int64.
        """
        xp, some = xp_of(words), xp_of(words).any(words > EOS, axis=1)
        if name == "tuple_f1":
            assert self.tuples is not None
            return self.tuples.f1(words, image)
        if name == "cider_d":
            found = self.reward.cider_d(words, image) / 10
        else:
            found = self.reward.bleu(words, image) if name == "bleu_4" else self.reward.rouge_l(words, image)
        return xp.where(some, found, 0 * found)


def caption_bank(samples: Sequence[CaptionSample], words: tuple[str, ...], length: int) -> CaptionBank:
    """The bank of some captions; environments over the same samples share it."""
    whole = isinstance(samples, Loaded)  # then they are known as a whole
    held = [] if whole else [part for sample in samples for part in (sample.captions, sample.facts)]
    return shared(CaptionBank, held, samples, words, length)


@lru_cache(maxsize=4)
def vocabulary_of(
    samples: tuple[CaptionSample, ...], min_count: int, max_size: int | None
) -> tuple[str, ...]:
    """The words of some captions, without the special ones; see ``Vocabulary.build``."""
    texts = (text for sample in samples for text in sample.captions)
    return Vocabulary.build(texts, min_count, max_size).words[len(SPECIAL) :]


def _sayable(text: str, vocabulary: Vocabulary, length: int) -> tuple[list[int], bool]:
    """A caption as an expert says it, L numbers, and whether it differs from what was written."""
    numbers = [vocabulary.number(word) for word in tokenize(text)]
    known = [number for number in numbers if number != UNK] or [len(SPECIAL)]
    plain = [number for k, number in enumerate(known) if k == 0 or number != known[k - 1]]
    said = [*plain[: length - 1], EOS]
    return said + [0] * (length - len(said)), len(plain) < len(numbers) or len(plain) >= length
