"""The embedded scenes show what their captions, questions and facts say."""

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from visionrl.datasets import CaptionSample, QuestionSample, disk_cache, validate
from visionrl.datasets.embedded.scene_words import ANSWERS, COLOURS, KINDS, NOUNS, PLURALS, Facts, captions_of
from visionrl.datasets.embedded.scenes import RGB, SceneQuestions, Scenes, _questions, facts_of, stock
from visionrl.datasets.splits import SPLITS
from visionrl.datasets.words import Vocabulary, tokenize


def test_a_scene_is_a_function_of_split_and_index() -> None:
    first, again, other = Scenes("train")[7], Scenes("train", 8)[7], Scenes("test")[7]
    np.testing.assert_array_equal(first.image, again.image)
    assert first.captions == again.captions
    assert (first.image != other.image).any()
    assert first.image.shape == (3, 96, 96) and len(Scenes("val")) == 200


def test_captions_name_what_lies_where() -> None:
    for number in range(40):
        facts = facts_of("train", number)
        first, second = facts.groups[:2]
        rows, columns = zip(
            *(np.mean([divmod(c, 3) for c in g.cells], axis=0) for g in (first, second)), strict=True
        )
        apart = {"left": columns[1] - columns[0], "above": rows[1] - rows[0]}
        apart |= {"right": -apart["left"], "below": -apart["above"]}
        assert apart[facts.relation] == 2
        long = Scenes("train")[number].captions[0].split()
        assert long[1:4] == [first.size, first.colour, first.named]
        assert long[0] == ("a", "two", "three")[len(first.cells) - 1]


def test_an_object_has_its_colour_in_its_cell() -> None:
    found = []
    for number in range(60):
        sample = Scenes("val")[number]
        for group in Facts.of(sample.facts).groups:
            if group.size == "large" and group.noun in ("bag", "pullover"):
                for cell in group.cells:
                    y, x = (32 * part + 16 for part in divmod(cell, 3))
                    seen = sample.image[:, y - 6 : y + 6, x - 6 : x + 6].reshape(3, -1).mean(1)
                    tones = np.array([RGB[colour] for colour in COLOURS])
                    near = tones @ seen / np.linalg.norm(tones, axis=1)
                    found.append(COLOURS[int(near.argmax())] == group.colour)
    assert len(found) > 20 and np.mean(found) > 0.85


def test_the_words_are_few() -> None:
    texts = [text for number in range(400) for text in captions_of(facts_of("train", number))]
    assert len(Vocabulary.build(texts)) == 48
    assert max(len(tokenize(text)) for text in texts) <= 14


def test_answers_are_balanced_within_each_kind() -> None:
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for number in range(2000):
        for asked in _questions("train", number):
            counts[asked.kind][asked.answer] += 1
            assert asked.answer in ANSWERS and len(tokenize(asked.text)) <= 10
    share = {kind: max(found.values()) / found.total() for kind, found in counts.items()}
    assert max(share[kind] for kind in ("exists", "relation", "more", "same-colour")) < 0.54
    assert share["count"] < 0.3 and share["colour"] < 0.2 and share["what-colour"] < 0.12
    assert np.mean(list(share.values())) == pytest.approx(0.33, abs=0.015)


def test_answers_are_true() -> None:
    singular = {plural: noun for noun, plural in PLURALS.items()} | {noun: noun for noun in NOUNS}
    for number in range(300):
        groups = {group.noun: group for group in facts_of("test", number).groups}
        for asked in _questions("test", number):
            words = asked.text.split()
            named = [singular[word] for word in words if word in singular]
            if asked.kind == "exists":
                there = named[0] in groups and groups[named[0]].colour == words[3]
                assert asked.answer == ("yes" if there else "no")
            elif asked.kind == "count":
                count = len(groups[named[0]].cells) if named[0] in groups else 0
                assert asked.answer == ("no", "one", "two", "three")[count]
            elif asked.kind == "colour":
                assert asked.answer == groups[named[0]].colour
            elif asked.kind == "what-colour":
                assert [noun for noun, group in groups.items() if group.colour == words[2]] == [asked.answer]
            elif asked.kind == "more":
                more, fewer = (len(groups[noun].cells) for noun in named)
                assert more != fewer and asked.answer == ("yes" if more > fewer else "no")
            elif asked.kind == "same-colour":
                assert asked.answer == ("yes" if len({groups[noun].colour for noun in named}) == 1 else "no")
            elif asked.kind == "relation":
                assert asked.answer == ("yes" if _holds(groups, named[0], words, named[1]) else "no")
            else:
                fitting = [
                    noun for noun in groups if noun != named[0] and _holds(groups, noun, words, named[0])
                ]
                assert fitting == [asked.answer]


def _holds(groups: dict, first: str, words: list[str], second: str) -> bool:
    """Whether the relation among the words holds, by the cells."""
    (word,) = {"left", "right", "above", "below"} & set(words)
    axis, sign = {"left": (1, 1), "right": (1, -1), "above": (0, 1), "below": (0, -1)}[word]
    places = [np.mean([divmod(cell, 3)[axis] for cell in groups[noun].cells]) for noun in (first, second)]
    lined = all(len({divmod(cell, 3)[axis] for cell in groups[noun].cells}) == 1 for noun in (first, second))
    return lined and sign * (places[1] - places[0]) > 0


def test_no_cutout_is_in_two_splits() -> None:
    names = [{(noun, cut.name) for noun, cuts in stock(split).items() for cut in cuts} for split in SPLITS]
    assert all(not first & second for first, second in combinations(names, 2))
    assert all(len(stock(split)) == 12 for split in SPLITS)


def test_questions_about_one_scene_share_its_pixels(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIONRL_CACHE", str(tmp_path))
    questions = SceneQuestions("val", 3)
    samples = disk_cache.stored("test-questions", "val", QuestionSample, lambda: list(questions))
    assert sum(file.stat().st_size for file in tmp_path.rglob("arrays.bin")) < 3 * 96 * 96 * 3 + 20000
    for stored, made in zip(samples, questions, strict=True):
        np.testing.assert_array_equal(stored.image, made.image)
        np.testing.assert_array_equal(stored.places, made.places)
        assert (stored.question, stored.answers, stored.subject) == (
            made.question,
            made.answers,
            made.subject,
        )


IMAGE = np.zeros((3, 8, 9), np.uint8)
WRONG: Any = 3
BAG = ("bag", "red", "large", (0, 3))


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (CaptionSample(IMAGE, "a dog"), "captions must be a sequence of texts, got 'a dog'"),
        (CaptionSample(IMAGE, ["a dog", " "]), r"caption 1 must have a word .*got ' '"),
        (CaptionSample(IMAGE, ["?!"]), r"caption 0 must have a word"),
        (CaptionSample(IMAGE, [WRONG]), "captions must be texts, got 3 of type int"),
        (CaptionSample(IMAGE.astype(float), ["a dog"]), "images are uint8"),
        (CaptionSample(IMAGE, ["a dog"], ("left", BAG)), "facts must be a relation and two or more of"),
        (CaptionSample(IMAGE, ["a dog"], ("near", BAG, BAG)), "facts must be .*got .'near'"),
        (CaptionSample(IMAGE, ["a dog"], ("left", BAG, ("dog", *BAG[1:]))), "facts must be .*'dog'"),
        (CaptionSample(IMAGE, ["a dog"], ("left", BAG, "dog")), "facts must be .*'dog'"),
        (QuestionSample(IMAGE, ""), "question must have a word"),
        (QuestionSample(IMAGE, WRONG), "question must be a text, got int"),
        (QuestionSample(IMAGE, "what", ["yes", WRONG]), "answers must be texts, got 3 of type int"),
        (QuestionSample(IMAGE, "what", [" "]), "answers must not be empty"),
        (QuestionSample(IMAGE, "what", ["yes"], places=[[3, 9]]), "width 9 and height 8, got"),
        (QuestionSample(IMAGE, "what", ["yes"], places=[3, 4]), r"places must be \(N, 2\)"),
        (QuestionSample(IMAGE, "what", ["yes"], kind=WRONG), "kind must be a string"),
    ],
)
def test_a_bad_sample_is_named(sample: CaptionSample | QuestionSample, message: str) -> None:
    with pytest.raises(ValueError, match=f"sample 4 .*{message}"):
        validate(sample, 4)
