"""Metrics of captions against references: CIDEr-D, BLEU, ROUGE-L and exact match, for B captions at once.

Captions are word numbers of a ``Vocabulary``, (B, L) int64, words first, then ``EOS`` or padding; ``References`` holds
what people wrote about M images. METEOR and SPICE, which need WordNet and Java, are left out. Array-API code.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from visionrl.datasets.words import EOS, Vocabulary, tokenize
from visionrl.ops import Array, DeviceTable, Recalled, const, xp_of

GRAMS = 4
"""Longest n-grams."""

SIGMA = 6.0  # of the penalty of length in CIDEr-D
BETA = 1.2  # weight of recall in ROUGE-L
BITS = 62
"""Words of a reference that ROUGE-L looks at."""


class References(Recalled):
    """The captions of M images as tables, and the metrics against them.

    Args:
        captions: of each image one or more; their number may differ.
        vocabulary: of all words; one that is not in it is unknown, and all unknown words are taken for one.
        end: count the end of a caption as a word, for rewards: else captions that end in "a" cost nothing (Rennie et
            al., 2017).

    Attributes:
        count: M.
        most: the most references of an image, R.

    Raises:
        ValueError: an image has no caption with a word.
    """

    def __init__(self, captions: Sequence[Sequence[str]], vocabulary: Vocabulary, end: bool = False) -> None:
        missing = next((k for k, texts in enumerate(captions) if not any(map(tokenize, texts))), None)
        if missing is not None or not len(captions):
            raise ValueError(f"each image must have a caption with a word, got none for image {missing or 0}")
        self.vocabulary, self.end, self.count = vocabulary, end, len(captions)
        self.most = max(map(len, captions))
        numbers = [[self._numbers(text) for text in texts] for texts in captions]
        grams = [[_grams(one, len(vocabulary)) for one in of_image] for of_image in numbers]
        self._weights(grams)
        self._tables(grams)
        self.words = DeviceTable(
            _padded([_padded([*map(np.array, one)]) for one in numbers]).astype(np.int32)
        )
        lengths = [np.array([len(one) for one in of_image]) for of_image in numbers]
        self.lengths = DeviceTable(_padded(lengths, -1))
        self.numbers = DeviceTable(np.array([len(one) for one in numbers], float))

    def _numbers(self, text: str) -> list[int]:
        """Word numbers of a caption."""
        return [self.vocabulary.number(word) for word in tokenize(text)] + [EOS] * self.end

    def _weights(self, grams: Sequence[Sequence[Sequence[Counter]]]) -> None:
        """State the inverse document frequencies: of each n-gram the logarithm of M over the images that have it."""
        seen: Counter[int] = Counter()
        for of_image in grams:
            seen.update({code for counts in of_image for each in counts for code in each})
        codes = np.array(sorted(seen), np.int64)
        found = np.log(float(self.count)) - np.log([float(seen[int(code)]) for code in codes])
        self.known, self.idf = DeviceTable(codes), DeviceTable(found)
        self._idf_of = dict(zip(codes.tolist(), found.tolist(), strict=True))

    def _tables(self, grams: Sequence[Sequence[Sequence[Counter]]]) -> None:
        """State, for n = 1 to 4, n-grams of an image (M, U), their weights squared, and their counts (M, R, U)."""
        self.codes, self.squares, self.counts = [], [], []
        norms = np.zeros((self.count, self.most, GRAMS))
        for n in range(GRAMS):
            own = [sorted({code for counts in of_image for code in counts[n]}) for of_image in grams]
            codes = _padded([np.array(one, np.int64) for one in own], -1)
            counts = np.zeros((self.count, self.most, codes.shape[1]), np.uint8)
            squares = np.array([[self._idf_of.get(code, 0.0) ** 2 for code in row] for row in codes.tolist()])
            for image, of_image in enumerate(grams):
                place = {code: column for column, code in enumerate(own[image])}
                for row, each in enumerate(of_image):
                    for code, number in each[n].items():
                        counts[image, row, place[code]] = min(number, 255)
            norms[:, :, n] = np.sqrt(
                (counts.astype(float) ** 2 * squares.reshape(codes.shape)[:, None]).sum(-1)
            )
            self.codes.append(DeviceTable(codes))
            self.squares.append(DeviceTable(squares.reshape(codes.shape)))
            self.counts.append(DeviceTable(counts))
        self.norms = DeviceTable(norms)

    def hypotheses(self, words: Array) -> tuple[Array, Array]:
        """(B, L + 1) int64, the words of captions, 0 behind them, with ``EOS`` if that counts; (B,) int64, how many."""
        xp = xp_of(words)
        real = words > EOS
        length = xp.sum(xp.astype(real, xp.int64), axis=1)
        plain = xp.concat([xp.where(real, words, 0 * words), 0 * words[:, :1]], axis=1)
        if not self.end:
            return plain, length
        at = xp.arange(plain.shape[1], device=words.device)[None, :] == length[:, None]
        return xp.where(at, xp.full_like(plain, EOS), plain), length + 1

    def cider_d(self, words: Array, image: Array) -> Array:
        """(B,) float64 in [0, 10]: CIDEr-D of captions (Vedantam et al., 2015, as COCO's evaluation computes it).

        N-grams weigh by how rare they are in these references, as in COCO; where there is one image all weigh 0.

        Args:
            words: (B, L) int64.
            image: (B,) int64, numbers of the images.
        """
        xp = xp_of(words)
        plain, length = self.hypotheses(words)
        scores = xp.zeros((words.shape[0], self.most), dtype=xp.float64, device=words.device)
        norms = self.norms.rows(image)
        for n, codes in enumerate(_codes(plain, len(self.vocabulary))):
            counts, own = self._found(codes, image, n), xp.astype(self.counts[n].rows(image), xp.float64)
            shared = xp.minimum(xp.astype(counts, xp.float64)[:, None, :], own) * own
            dots = xp.sum(shared * self.squares[n].rows(image)[:, None, :], axis=-1)
            product = self._norm(codes)[:, None] * norms[:, :, n]
            scores = scores + dots / xp.where(product > 0, product, xp.ones_like(product))
        theirs = self.lengths.rows(image)
        apart = _pairs(length)[:, None] - _pairs(theirs)
        penalty = xp.exp(-(xp.astype(apart, xp.float64) ** 2) / (2 * SIGMA**2))
        total = xp.sum(xp.where(theirs >= 0, scores * penalty, 0 * scores), axis=1)
        return 10 / GRAMS * total / self.numbers.rows(image)

    def _found(self, codes: Array, image: Array, n: int) -> Array:
        """(B, U) int64, how often each n-gram of an image's references comes in a caption."""
        xp = xp_of(codes)
        same = self.codes[n].rows(image)[:, :, None] == codes[:, None, :]
        return xp.sum(xp.astype(same, xp.int64), axis=-1)

    def _norm(self, codes: Array) -> Array:
        """(B,) float64, the norm of captions' weighted n-grams; an n-gram that no reference has weighs most."""
        xp = xp_of(codes)
        known, idf = self.known.on(codes), self.idf.on(codes)
        place = xp.clip(xp.searchsorted(known, xp.reshape(codes, (-1,))), 0, known.shape[0] - 1)
        there = xp.reshape(xp.take(known, place, axis=0), codes.shape) == codes
        weight = xp.reshape(xp.take(idf, place, axis=0), codes.shape)
        weight = xp.where(there, weight, xp.full_like(weight, math.log(self.count)))
        same = codes[:, :, None] == codes[:, None, :]
        times = xp.sum(xp.astype(same, xp.float64), axis=-1)
        return xp.sqrt(xp.sum(xp.where(codes > 0, times * weight**2, 0 * weight), axis=-1))

    def bleu_statistics(self, words: Array, image: Array) -> Array:
        """(B, 10) int64, what BLEU is made of: 4 clipped matches, 4 numbers of n-grams, length, closest length.

        Of two references that are equally close the shorter one counts, as in COCO's evaluation.
        """
        xp = xp_of(words)
        plain, length = self.hypotheses(words)
        matches, totals = [], []
        for n, codes in enumerate(_codes(plain, len(self.vocabulary))):
            most = xp.max(xp.astype(self.counts[n].rows(image), xp.int64), axis=1)
            matches.append(xp.sum(xp.minimum(self._found(codes, image, n), most), axis=1))
            totals.append(xp.sum(xp.astype(codes > 0, xp.int64), axis=1))
        theirs = self.lengths.rows(image)
        cost = xp.abs(theirs - length[:, None]) * (1 << 20) + theirs
        closest = xp.min(xp.where(theirs >= 0, cost, xp.full_like(cost, 1 << 60)), axis=1) % (1 << 20)
        return xp.stack([*matches, *totals, length, closest], axis=1)

    def bleu(self, words: Array, image: Array) -> Array:
        """(B,) float64 in [0, 1]: BLEU-4 of single captions, for n > 1 with one added to both counts.

        Source: Lin & Och (2004); ``corpus_bleu`` is the metric of papers.
        """
        xp = xp_of(words)
        found = xp.astype(self.bleu_statistics(words, image), xp.float64)
        more = const((0.0, 1.0, 1.0, 1.0), found)
        total = found[:, 4:8] + more
        shares = (found[:, :4] + more) / xp.where(total > 0, total, xp.ones_like(total))
        some = xp.min(shares, axis=1) > 0
        means = xp.exp(xp.mean(xp.log(xp.where(some[:, None], shares, xp.ones_like(shares))), axis=1))
        length = xp.where(found[:, 8] > 0, found[:, 8], xp.ones_like(means))
        brevity = xp.exp(xp.minimum(1 - found[:, 9] / length, xp.zeros_like(means)))
        return xp.where(some & (found[:, 8] > 0), means * brevity, 0 * means)

    def rouge_l(self, words: Array, image: Array) -> Array:
        """(B,) float64 in [0, 1]: ROUGE-L of captions (Lin, 2004), with the best precision and the best recall.

        The longest common subsequence is found with one bit a word (Hyyro, 2004); of a reference the first ``BITS``
        words count.
        """
        xp = xp_of(words)
        plain, length = self.hypotheses(words)
        theirs = xp.astype(self.words.rows(image), xp.int64)[:, :, :BITS]
        bits = xp.asarray([1 << place for place in range(theirs.shape[2])], device=words.device)
        free = xp.full_like(theirs[:, :, 0], (1 << theirs.shape[2]) - 1)
        for place in range(plain.shape[1]):
            word = plain[:, place][:, None, None]
            match = xp.sum(xp.where((theirs == word) & (word > 0), bits, 0 * bits), axis=-1)
            free = ((free + (free & match)) | (free & ~match)) & ((1 << theirs.shape[2]) - 1)
        common = theirs.shape[2] - xp.sum((free[:, :, None] & bits) // bits, axis=-1)
        common, one = xp.astype(common, xp.float64), xp.ones_like(common[:, 0])
        sizes = xp.clip(self.lengths.rows(image), 1, None)
        precision = xp.max(common, axis=1) / xp.maximum(length, one)
        recall = xp.max(common / sizes, axis=1)
        below = recall + BETA**2 * precision
        return xp.where(
            below > 0, (1 + BETA**2) * precision * recall / xp.where(below > 0, below, 1 + below), below
        )

    def exact(self, words: Array, image: Array) -> Array:
        """(B,) float64, 1 where a caption is one of the references, word by word, else 0."""
        xp = xp_of(words)
        plain, length = self.hypotheses(words)
        theirs = xp.astype(self.words.rows(image), xp.int64)
        width = max(plain.shape[1], theirs.shape[2])
        rows = xp.zeros((words.shape[0], width), dtype=xp.int64, device=words.device)
        plain = xp.concat([plain, rows[:, plain.shape[1] :]], axis=1)
        more = xp.broadcast_to(rows[:, None, theirs.shape[2] :], (*theirs.shape[:2], width - theirs.shape[2]))
        same = xp.all(xp.concat([theirs, more], axis=2) == plain[:, None, :], axis=2)
        return xp.astype(xp.any(same & (length > 0)[:, None], axis=1), xp.float64)


def corpus_bleu(statistics: np.ndarray) -> dict[str, float]:
    """BLEU-1 to BLEU-4 of a corpus, in [0, 1], without smoothing (Papineni et al., 2002).

    Args:
        statistics: (N, 10) of ``References.bleu_statistics``.
    """
    total = statistics.sum(axis=0).astype(float)
    shares = total[:GRAMS] / np.maximum(total[GRAMS : 2 * GRAMS], 1)
    brevity = min(1.0, math.exp(1 - total[9] / max(total[8], 1e-9))) if total[8] else 0.0
    with np.errstate(divide="ignore"):
        means = np.exp(np.cumsum(np.log(shares)) / np.arange(1, GRAMS + 1))
    return {f"bleu_{n + 1}": float(brevity * means[n]) for n in range(GRAMS)}


def score_captions(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Mapping[str, float]:
    """The metrics of papers: CIDEr-D, BLEU-1 to BLEU-4 and ROUGE-L of one caption an image.

    Args:
        captions: one of each image.
        references: of each image one or more.

    Raises:
        ValueError: there are not as many captions as images, or none, or an image has no reference with a word.
    """
    if len(captions) != len(references) or not len(captions):
        raise ValueError(f"captions must be one an image, got {len(captions)} for {len(references)} images")
    vocabulary = Vocabulary.build([*captions, *(text for texts in references for text in texts)])
    held, longest = References(references, vocabulary), max(len(tokenize(text)) for text in captions)
    words = np.stack([vocabulary.encode(text, longest + 1) for text in captions])
    image = np.arange(len(captions))
    return {
        "cider_d": float(held.cider_d(words, image).mean()),
        **corpus_bleu(held.bleu_statistics(words, image)),
        "rouge_l": float(held.rouge_l(words, image).mean()),
    }


def _grams(numbers: Sequence[int], base: int) -> list[Counter]:
    """Counts of the n-grams, for n = 1 to 4, by their codes: the words as digits."""
    found = []
    codes = list(numbers)
    for n in range(GRAMS):
        found.append(Counter(codes))
        codes = [code * base + word for code, word in zip(codes, numbers[n + 1 :], strict=False)]
    return found


def _codes(plain: Array, base: int) -> list[Array]:
    """(B, L) int64 of each n from 1 to 4: the code of the n-gram that begins at a word; 0 where it is not whole."""
    xp, found = xp_of(plain), [plain]
    for n in range(1, GRAMS):
        next_ = xp.concat([plain[:, n:], 0 * plain[:, :n]], axis=1)
        found.append(xp.where(next_ > 0, found[-1] * base + next_, 0 * plain))
    return found


def _pairs(length: Array) -> Array:
    """Number of bigrams of captions of some lengths, which CIDEr-D takes for the length."""
    xp = xp_of(length)
    return xp.maximum(length - 1, xp.zeros_like(length))


def _padded(rows: Sequence[np.ndarray], value: int = 0) -> np.ndarray:
    """Arrays of one number of axes in one block, filled up with a value."""
    sides = np.max([row.shape for row in rows], axis=0)
    block = np.full((len(rows), *sides), value, np.int64)
    for number, row in enumerate(rows):
        block[number][tuple(slice(side) for side in row.shape)] = row
    return block
