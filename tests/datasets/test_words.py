"""Words become numbers and come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionrl.datasets.words import BOS, EOS, PAD, UNK, Vocabulary, tokenize


def test_a_text_is_parted_at_all_but_letters_digits_and_apostrophes() -> None:
    assert tokenize("A man's RED-hat, 2 dogs!") == ["a", "man's", "red", "hat", "2", "dogs"]
    assert tokenize(" ' -- ... ") == []


def test_frequent_words_come_first_and_ties_go_by_alphabet() -> None:
    words = Vocabulary.build(["a dog and a cat", "a dog"])
    assert words.words == ("<pad>", "<bos>", "<eos>", "<unk>", "a", "dog", "and", "cat")
    assert Vocabulary.build(["a dog and a cat", "a dog"], min_count=2).words[4:] == ("a", "dog")
    assert Vocabulary.build(["a dog and a cat", "a dog"], max_size=5).words[4:] == ("a",)


@given(st.lists(st.sampled_from(["red", "bag", "two", "coins"]), max_size=6))
def test_what_fits_comes_back_as_it_was(words: list[str]) -> None:
    vocabulary = Vocabulary(["red", "bag", "two", "coins"])
    numbers = vocabulary.encode(" ".join(words), 8)
    assert numbers.shape == (8,) and list(numbers).count(EOS) == 1
    assert vocabulary.decode(numbers) == " ".join(words)


def test_a_long_text_is_cut_and_still_ends() -> None:
    vocabulary = Vocabulary(["red", "bag"])
    assert vocabulary.encode("red red red bag", 3).tolist() == [4, 4, EOS]
    assert vocabulary.encode("red red red bag", 3, end=False).tolist() == [4, 4, 4]
    assert vocabulary.encode("blue", 3).tolist() == [UNK, EOS, PAD]
    assert vocabulary.decode([BOS, 4, PAD, 5, EOS, 4]) == "red bag"


def test_vocabularies_of_the_same_words_in_the_same_order_are_equal() -> None:
    vocabulary = Vocabulary(["red", "man's"])
    assert Vocabulary(vocabulary.words[4:]) == vocabulary
    assert hash(Vocabulary(vocabulary.words[4:])) == hash(vocabulary)
    assert Vocabulary(["man's", "red"]) != vocabulary
    assert "red" in vocabulary and "<unk>" not in vocabulary


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "1 to 32763 words, got 0"),
        (["Red"], "lower-case letters, digits and apostrophes, got 'Red'"),
        (["red", ""], "lower-case letters, digits and apostrophes, got ''"),
        (["red", "red"], "must differ, got 'red' twice"),
        (["two words"], "lower-case letters"),
        ("red", "must be a sequence of words"),
        ([f"w{number}" for number in range(2**15)], "1 to 32763 words, got 32768"),
    ],
)
def test_a_bad_vocabulary_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary(words)


def test_a_count_that_leaves_no_word_is_refused() -> None:
    with pytest.raises(
        ValueError, match="min_count must leave a word, got 3; the most frequent comes 2 times"
    ):
        Vocabulary.build(["a b", "a"], min_count=3)
    with pytest.raises(ValueError, match="min_count must be >= 1, got 0"):
        Vocabulary.build(["a"], min_count=0)
    with pytest.raises(ValueError, match="max_size must be > 4, got 4"):
        Vocabulary.build(["a"], max_size=4)
