"""Caption metrics equal those of COCO's evaluation, on every array library, and behave at the edges.

``captions.json`` was recorded with pycocoevalcap 1.2: ``CiderScorer(n=4, sigma=6.0)`` and ``BleuScorer(n=4)`` fed with
``scorer += (caption, references)`` of each row, ``BleuScorer.compute_score("closest")``, and ``Rouge().calc_score``.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visionrl.datasets.embedded.scene_words import captions_of
from visionrl.datasets.embedded.scenes import facts_of
from visionrl.datasets.words import Vocabulary
from visionrl.metrics.captions import References, corpus_bleu, score_captions
from visionrl.metrics.scene_tuples import SceneTuples

GOLDEN = json.loads((Path(__file__).parent / "captions.json").read_text())
CAPTIONS = [row["caption"] for row in GOLDEN["rows"]]
REFERENCES = [row["references"] for row in GOLDEN["rows"]]
WORDS = Vocabulary.build([*CAPTIONS, *(text for texts in REFERENCES for text in texts)])
HELD = References(REFERENCES, WORDS)
IMAGES = np.arange(len(CAPTIONS))
METRICS = ("cider_d", "bleu_statistics", "bleu", "rouge_l", "exact")


def encoded(texts: list[str]) -> np.ndarray:
    """(B, 20) word numbers."""
    return np.stack([WORDS.encode(text, 20) for text in texts])


@pytest.mark.parametrize("metric", ["cider_d", "rouge_l"])
def test_scores_of_captions_equal_cocos(metric: str) -> None:
    wanted = [row[metric] for row in GOLDEN["rows"]]
    np.testing.assert_allclose(getattr(HELD, metric)(encoded(CAPTIONS), IMAGES), wanted, atol=1e-12)


def test_bleu_of_the_corpus_equals_cocos() -> None:
    found = corpus_bleu(HELD.bleu_statistics(encoded(CAPTIONS), IMAGES))
    np.testing.assert_allclose(list(found.values()), GOLDEN["bleu"], atol=1e-9)
    scores = score_captions(CAPTIONS, REFERENCES)
    assert scores["bleu_4"] == found["bleu_4"]
    assert scores["cider_d"] == pytest.approx(np.mean([row["cider_d"] for row in GOLDEN["rows"]]))


@pytest.mark.parametrize("metric", METRICS)
def test_torch_agrees(metric: str) -> None:
    import torch

    words = encoded(CAPTIONS)
    found = getattr(HELD, metric)(torch.as_tensor(words), torch.as_tensor(IMAGES))
    np.testing.assert_allclose(found.numpy(), getattr(HELD, metric)(words, IMAGES), atol=1e-12)


@given(st.integers(0, 49), st.integers(0, 19), st.integers(4, len(WORDS) - 1))
@settings(max_examples=20, deadline=None)
def test_no_single_edit_beats_the_only_reference(number: int, place: int, word: int) -> None:
    text = REFERENCES[number][0]
    held = References([[text], *REFERENCES[:9]], WORDS)
    numbers = encoded([text, text])
    numbers[1, place % len(text.split())] = word
    best, edited = held.cider_d(numbers, np.array([0, 0]))
    assert best == pytest.approx(10) and edited <= best + 1e-9


@given(st.permutations(range(5)))
@settings(max_examples=5, deadline=None)
def test_the_order_of_references_does_not_matter(order: list[int]) -> None:
    row = next(number for number, texts in enumerate(REFERENCES) if len(texts) == 5)
    turned = [*REFERENCES]
    turned[row] = [REFERENCES[row][k] for k in order]
    words, held = encoded(CAPTIONS), References(turned, WORDS)
    for metric in METRICS:
        found = getattr(held, metric)(words, IMAGES)
        np.testing.assert_allclose(found, getattr(HELD, metric)(words, IMAGES), atol=1e-12)


def test_the_closest_reference_is_found_however_far_it_is() -> None:
    held = References([["a bag", "a bag " * 1500]], WORDS)
    assert held.bleu_statistics(WORDS.encode("a bag " * 400, 801)[None], np.zeros(1, int))[
        0, 8:
    ].tolist() == [800, 2]
    assert held.bleu_statistics(WORDS.encode("a bag " * 900, 1801)[None], np.zeros(1, int))[0, 9] == 3000


def test_an_empty_caption_scores_nothing() -> None:
    words = encoded([""])
    for metric in ("cider_d", "bleu", "rouge_l", "exact"):
        assert getattr(HELD, metric)(words, IMAGES[:1]) == [0]
        assert getattr(References(REFERENCES, WORDS, end=True), metric)(words, IMAGES[:1])[0] < 0.3


def test_the_end_is_a_word_of_a_reward_and_not_of_the_metric() -> None:
    whole, cut = REFERENCES[1][0], " ".join(REFERENCES[1][0].split()[:-2])
    with_end = References(REFERENCES, WORDS, end=True)
    image = np.array([1, 1])
    plain, ended = (held.cider_d(encoded([whole, cut]), image) for held in (HELD, with_end))
    assert ended[0] - ended[1] > plain[0] - plain[1] > 0


def test_exact_means_one_of_the_references() -> None:
    texts = [REFERENCES[1][-1], REFERENCES[2][0], f"{REFERENCES[1][0]} coin"]
    np.testing.assert_array_equal(HELD.exact(encoded(texts), np.array([1, 1, 1])), [1, 0, 0])


def test_an_image_without_captions_is_refused() -> None:
    for texts in ([], ["?!"]):
        with pytest.raises(
            ValueError, match="each image must have a caption with a word, got none for image 1"
        ):
            References([["a bag"], texts], WORDS)
    with pytest.raises(ValueError, match="captions must be one an image, got 1 for 2 images"):
        score_captions(["a"], [["a"], ["b"]])


def test_true_captions_claim_nothing_false() -> None:
    facts = [facts_of("val", number) for number in range(60)]
    vocabulary = Vocabulary.build([text for one in facts for text in captions_of(one)])
    tuples = SceneTuples([one.to_tuple() for one in facts], vocabulary)
    share = {0: 1.0, 1: 1.0, 2: 1.0, 3: 14 / 16, 4: 16 / 17}
    for number, wanted in share.items():
        words = np.stack([vocabulary.encode(captions_of(one)[number], 16) for one in facts])
        np.testing.assert_allclose(tuples.f1(words, np.arange(60)), wanted)


@pytest.mark.parametrize(
    ("caption", "right", "claimed"),
    [
        ("a large red bag left of two small blue coins", 9, 9),
        ("two small blue coins right of a large red bag", 9, 9),
        ("a large red bag right of two small blue coins", 8, 9),
        ("a bag and a bag and a bag", 2, 2),
        ("coins", 1, 1),
        ("red left of", 0, 0),
        ("a small red bag above three green faces", 3, 8),
    ],
)
def test_claims_are_counted_once_and_against_the_truth(caption: str, right: int, claimed: int) -> None:
    import torch

    facts = ("left", ("bag", "red", "large", (0,)), ("coin", "blue", "small", (2, 5)))
    texts = [text for number in range(99) for text in captions_of(facts_of("val", number))]
    vocabulary = Vocabulary.build(texts)
    tuples, numbers = SceneTuples([facts], vocabulary), vocabulary.encode(caption, 16)[None]
    wanted = 2 * right / (9 + claimed)
    np.testing.assert_allclose(tuples.f1(numbers, np.zeros(1, int)), [wanted])
    assert tuples.f1(torch.as_tensor(numbers), torch.zeros(1, dtype=torch.int64)).item() == pytest.approx(
        wanted
    )
