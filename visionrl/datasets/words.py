"""Words as numbers: the tokenizer and the vocabulary of captions, questions and answers.

The tokenizer is the same in data, rewards and metrics: lower case, runs of ``[a-z0-9']``; everything else parts words.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

PAD, BOS, EOS, UNK = range(4)
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
LARGEST = 2**15 - 1
"""Most words of a vocabulary, so that four of them fit one whole number of 64 bits."""

_WORD = re.compile(r"[a-z0-9']*[a-z0-9][a-z0-9']*")


def tokenize(text: str) -> list[str]:
    """The words of a text."""
    return _WORD.findall(text.lower())


class Vocabulary:
    """Words and their numbers: 0 padding, 1 begin, 2 end of a sentence, 3 an unknown word, 4 and up the words.

    Two vocabularies are equal when their words are.

    Args:
        words: each word once, as ``tokenize`` gives it, without the four special ones.

    Attributes:
        words: all words by their number, the special ones first.

    Raises:
        ValueError: a word is empty, has other characters or comes twice; there are none or too many.
    """

    def __init__(self, words: Sequence[str]) -> None:
        if isinstance(words, str):
            raise ValueError(f"words must be a sequence of words, got the text {words!r:.80}")
        own = [str(word) for word in words]
        if bad := [word for word in own if tokenize(word) != [word]]:
            raise ValueError(f"words must be lower-case letters, digits and apostrophes, got {bad[0]!r:.80}")
        if not own or len(own) + len(SPECIAL) > LARGEST:
            raise ValueError(f"a vocabulary must have 1 to {LARGEST - len(SPECIAL)} words, got {len(own)}")
        self.words = (*SPECIAL, *own)
        self._numbers = {word: number for number, word in enumerate(self.words)}
        if len(self._numbers) < len(self.words):
            twice = Counter(own).most_common(1)[0][0]
            raise ValueError(f"words must differ, got {twice!r:.80} twice")

    @classmethod
    def build(cls, texts: Iterable[str], min_count: int = 1, max_size: int | None = None) -> Vocabulary:
        """The vocabulary of some texts; more frequent words have lower numbers, equally frequent ones go by alphabet.

        Args:
            texts: sentences.
            min_count: a word that is rarer is unknown.
            max_size: most words, the special ones included; None as many as there are.

        Raises:
            ValueError: an argument is too small, or no word is left.
        """
        if operator.index(min_count) < 1:
            raise ValueError(f"min_count must be >= 1, got {min_count}")
        if max_size is not None and operator.index(max_size) <= len(SPECIAL):
            raise ValueError(f"max_size must be > {len(SPECIAL)}, got {max_size}")
        counts = Counter(word for text in texts for word in tokenize(text))
        common = [word for word in counts if counts[word] >= min_count]
        if not common:
            most = max(counts.values(), default=0)
            raise ValueError(
                f"min_count must leave a word, got {min_count}; the most frequent comes {most} times"
            )
        common.sort(key=lambda word: (-counts[word], word))
        room = LARGEST if max_size is None else min(max_size, LARGEST)
        return cls(common[: room - len(SPECIAL)])

    def __len__(self) -> int:
        """The number of words, the special ones included."""
        return len(self.words)

    def __eq__(self, other: object) -> bool:
        """True for the same words in the same order."""
        return isinstance(other, Vocabulary) and self.words == other.words

    def __hash__(self) -> int:
        """A hash of the words."""
        return hash(self.words)

    def __contains__(self, word: object) -> bool:
        """True for a word that has a number of its own."""
        return word in self._numbers and word not in SPECIAL

    def number(self, word: str) -> int:
        """The number of a word, ``UNK`` of one that is not among them."""
        return self._numbers.get(word, UNK)

    def encode(self, text: str, length: int, end: bool = True) -> np.ndarray:
        """(length,) int64: the numbers of a text's words, ``EOS`` and padding.

        Args:
            text: a sentence; what is too long is cut.
            length: numbers in all.
            end: put ``EOS`` behind the words; a text that is cut then has it as its last number.
        """
        numbers = [self.number(word) for word in tokenize(text)][: length - int(end)] + [EOS] * int(end)
        return np.array(numbers + [PAD] * (length - len(numbers)), np.int64)

    def decode(self, numbers: Iterable[int]) -> str:
        """The words of some numbers up to ``EOS``, apart by a space; padding and ``BOS`` are left out."""
        found = []
        for number in map(int, numbers):
            if number == EOS:
                break
            if number not in (PAD, BOS):
                found.append(self.words[number])
        return " ".join(found)
