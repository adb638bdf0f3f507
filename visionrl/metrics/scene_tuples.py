"""Claims of a caption of an embedded scene, as tuples, and how much of them is true.

Tuples are (noun), (noun, colour), (noun, size), (noun, number) of up to three groups, and (noun, relation, noun) of
the first two; "a bag left of a coin" and "a coin right of a bag" claim the same. This takes the place of SPICE, which
needs WordNet, where the grammar of the captions is known. Array-API code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrl.datasets.embedded.scene_words import (
    COLOURS,
    NOUNS,
    NUMBERS,
    PLURALS,
    RELATIONS,
    SIZES,
    Facts,
    captions_of,
)
from visionrl.datasets.words import EOS, Vocabulary
from visionrl.ops import Array, DeviceTable, Recalled, xp_of

GROUPS = 3  # that a caption may name
ATTRIBUTES = (COLOURS, SIZES, NUMBERS)
BASE = 16  # of the codes: more than nouns, colours, sizes, numbers or relations


class SceneTuples(Recalled):
    """The tuples of M scenes, and the F1 of captions against them.

    Args:
        facts: of each scene, as samples hold them.
        vocabulary: of the captions.
    """

    def __init__(self, facts: Sequence[tuple], vocabulary: Vocabulary) -> None:
        words = vocabulary.words
        singular = {**{noun: noun for noun in NOUNS}, **{plural: noun for noun, plural in PLURALS.items()}}
        self.nouns = _table(words, {word: NOUNS.index(noun) for word, noun in singular.items()})
        self.attributes = [_table(words, {w: k for k, w in enumerate(of_kind)}) for of_kind in ATTRIBUTES]
        self.relations = _table(words, {word: number for number, word in enumerate(RELATIONS)})
        captions = [captions_of(Facts.of(one))[0] for one in facts]
        longest = max((len(caption.split()) for caption in captions), default=0) + 1
        encoded = np.array([vocabulary.encode(caption, longest) for caption in captions])
        self.truth = DeviceTable(self.claims(encoded))

    def claims(self, words: Array) -> Array:
        """(B, 13) int64, codes of the tuples of captions, (B, L) int64 word numbers; -1 where there is no tuple."""
        xp = xp_of(words)
        words = xp.where(words > EOS, words, 0 * words)
        noun = _values(self.nouns, words)
        named = xp.astype(noun >= 0, xp.int64)
        group = xp.cumulative_sum(named, axis=1) - named
        groups, found = [], []
        for number in range(GROUPS):
            here = group == number
            groups.append(_last(noun, here))
            found.append(xp.where(groups[-1] >= 0, groups[-1], -1 + 0 * groups[-1]))
            for kind, table in enumerate(self.attributes, 1):
                value = _last(_values(table, words), here)
                code = ((kind * BASE) + groups[-1]) * BASE + value
                found.append(xp.where((value >= 0) & (groups[-1] >= 0), code, -1 + 0 * code))
        relation = _last(_values(self.relations, words), group == 1)
        swapped = relation % 2 == 1  # right and below are left and above the other way round
        first = xp.where(swapped, groups[1], groups[0])
        second = xp.where(swapped, groups[0], groups[1])
        code = ((4 * BASE + first) * BASE + second) * BASE + relation // 2
        whole = (relation >= 0) & (groups[0] >= 0) & (groups[1] >= 0)
        return xp.stack([*found, xp.where(whole, code, -1 + 0 * code)], axis=1)

    def f1(self, words: Array, image: Array) -> Array:
        """(B,) float64 in [0, 1]: harmonic mean of the shares of true claims and of claimed truths; 0 for no claims."""
        xp = xp_of(words)
        claims, truth = self.claims(words), self.truth.rows(image)
        size = claims.shape[1]
        earlier = xp.asarray(np.tri(size, size, -1, dtype=bool).tolist(), device=words.device)
        again = xp.any((claims[:, :, None] == claims[:, None, :]) & earlier, axis=2)
        claimed = xp.sum(xp.astype((claims >= 0) & ~again, xp.float64), axis=1)
        there = xp.any((truth[:, :, None] == claims[:, None, :]) & (truth >= 0)[:, :, None], axis=2)
        right = xp.sum(xp.astype(there, xp.float64), axis=1)
        return 2 * right / (claimed + xp.sum(xp.astype(truth >= 0, xp.float64), axis=1))


def _table(words: Sequence[str], values: dict[str, int]) -> DeviceTable:
    """(V,) int64, the value of each word, -1 where it has none."""
    return DeviceTable(np.array([values.get(word, -1) for word in words], np.int64))


def _values(table: DeviceTable, words: Array) -> Array:
    """(B, L) int64, the value of each word."""
    xp = xp_of(words)
    return xp.reshape(table.rows(xp.reshape(words, (-1,))), words.shape)


def _last(values: Array, here: Array) -> Array:
    """(B,) int64, the last value >= 0 of the places in question, (B, L) bool; -1 where there is none."""
    xp = xp_of(values)
    place = xp.arange(values.shape[1], device=values.device)[None, :]
    keyed = xp.where(here & (values >= 0), place * BASE + values, -1 + 0 * values)
    best = xp.max(keyed, axis=1)
    return xp.where(best >= 0, best % BASE, best)
