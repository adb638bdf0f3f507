"""Question answerers learn what the image adds to the question."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from toy_language import ANSWERERS, SIDE, SMALL, fit, questions, worlds

from visionrl.datasets import QuestionSample
from visionrl.models import model_class
from visionrl.models.language.answerer import places_of

CASES = [*[(name, {}) for name in ANSWERERS], ("vqa_cnn_rnn", {"fusion": "product"})]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: " ".join([case[0], *case[1].values()]))
def answerer(request: pytest.FixtureRequest) -> Any:
    return fit(request.param[0], questions(32), **request.param[1])


def test_each_answers_about_new_pictures_and_the_blind_one_guesses(answerer: Any) -> None:
    new = questions(40, seed=9)
    found = answerer.evaluate(new, answerer.encode(new))
    assert set(found) == {"accuracy", "overall", "colour", "left"}
    if answerer.name == "vqa_question_only":
        assert found["accuracy"] == pytest.approx(0.5, abs=0.01)
    else:
        assert found["accuracy"] > 0.9


def test_an_answer_has_a_probability_and_maps_that_sum_to_one(answerer: Any) -> None:
    _, _, image = worlds(1)[0]
    found = answerer.answer([image], ["what colour is it"])[0]
    assert found.text in answerer.answers and 0 < found.probability <= 1
    if answerer.name in ("vqa_stacked_attention", "vqa_transformer"):
        assert len(found.steps) == len(found.attention)
        np.testing.assert_allclose(found.attention.sum((1, 2)), 1, rtol=1e-5)
    else:
        assert found.attention is None and found.steps == ()


def test_a_transformers_maps_are_those_of_the_words() -> None:
    net: Any = model_class("vqa_transformer").for_samples(questions(4), SMALL)
    found = net.answer([worlds(1)[0][2]], ["is it left"])[0]
    assert found.steps == ("is", "it", "left", "(answer)")


@pytest.mark.parametrize("name", ANSWERERS)
def test_padding_of_a_question_changes_nothing(name: str) -> None:
    net: Any = model_class(name).for_samples(questions(4), {**SMALL, "length": 9}).eval()
    words = torch.from_numpy(np.stack([net.known_words("is it left"), net.known_words("what colour is it")]))
    seen = net.look(torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8))
    both, _ = net.ask(seen, words)
    one, _ = net.ask(seen[:1], words[:1])
    torch.testing.assert_close(both[:1], one)


def test_questions_about_one_image_share_it() -> None:
    rows, columns = places_of(questions(3))
    assert rows.tolist() == [0, 0, 1, 1, 2, 2] and columns.tolist() == [0, 1, 0, 1, 0, 1]
    net: Any = model_class("vqa_cnn_rnn").for_samples(questions(3), SMALL)
    split = net.encode(questions(3))
    assert split["images"].shape[0] == 3 and split["answers"].shape == (3, 2)


def test_predictions_come_in_the_order_of_the_samples() -> None:
    samples = [one for one in questions(30)]
    net: Any = fit("vqa_cnn_rnn", samples, steps=60)
    mixed = [samples[k] for k in np.random.default_rng(0).permutation(len(samples))]
    assert net.evaluate(mixed, net.encode(mixed)) == pytest.approx(net.evaluate(samples, net.encode(samples)))


def test_an_answer_that_is_not_known_counts_as_wrong() -> None:
    net: Any = fit("vqa_question_only", questions(8), steps=5)
    strange = [QuestionSample(np.zeros((3, SIDE, SIDE), np.uint8), "is it left", ("perhaps",), "left")]
    split = net.encode(strange)
    assert split["answers"].tolist() == [[-1]]
    assert net.evaluate(strange, split)["accuracy"] == 0


def test_rare_answers_are_left_out_on_demand() -> None:
    net: Any = model_class("vqa_cnn_rnn").for_samples(questions(8), {**SMALL, "top_answers": 2})
    assert len(net.answers) == 2


def test_a_question_without_a_known_word_is_refused() -> None:
    net: Any = model_class("vqa_cnn_rnn").for_samples(questions(4), SMALL)
    with pytest.raises(ValueError, match="question must have a word that the model knows, got 'quo vadis'"):
        net.answer([np.zeros((3, SIDE, SIDE), np.uint8)], ["quo vadis"])


def test_no_question_has_no_answer_and_each_image_needs_one() -> None:
    net: Any = model_class("vqa_stacked_attention").for_samples(questions(4), SMALL)
    assert net.answer([], []) == []
    with pytest.raises(ValueError, match="questions must be one an image, got 1 for 2 images"):
        net.answer([np.zeros((3, SIDE, SIDE), np.uint8)] * 2, ["is it left"])


def test_samples_without_answers_teach_nothing() -> None:
    blank = [QuestionSample(np.zeros((3, SIDE, SIDE), np.uint8), "is it left")]
    with pytest.raises(ValueError, match="samples must have answers to learn from, got none"):
        model_class("vqa_cnn_rnn").for_samples(blank, SMALL)
