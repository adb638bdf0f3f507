"""The accuracy of answers follows the VQA challenge's rules."""

import numpy as np
import pytest

from visionrl.metrics.vqa import AnswerScores, normalise_answer, vqa_accuracy


@pytest.mark.parametrize(
    ("answer", "plain"),
    [
        ("The Dog.", "dog"),
        ("two", "2"),
        ("None", "0"),
        ("1,000", "1000"),
        ("3.5", "3.5"),
        (".5", ".5"),
        ("an apple, a pear", "apple pear"),
        ("dont know", "don't know"),
        ("black/white", "black white"),
        ("x-ray", "x ray"),
        ("x-ray - hand", "xray hand"),
        ("1,2,3", "123"),
        ("10,000-ton", "10000ton"),
    ],
)
def test_answers_are_brought_to_one_form(answer: str, plain: str) -> None:
    assert normalise_answer(answer) == plain


@pytest.mark.parametrize(("same", "accuracy"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_an_answer_counts_by_how_many_of_ten_gave_it(same: int, accuracy: float) -> None:
    answers = ["Two"] * same + [f"other {number}" for number in range(10 - same)]
    assert vqa_accuracy("2", answers) == pytest.approx(accuracy)


def test_one_answer_is_right_or_wrong() -> None:
    assert vqa_accuracy("a bag", ["bag"]) == 1 and vqa_accuracy("coin", ["bag"]) == 0
    with pytest.raises(ValueError, match="answers must be one or more texts"):
        vqa_accuracy("bag", [])


def test_the_table_says_what_the_rule_says() -> None:
    import torch

    given = [["yes"] * 7 + ["no"] * 3, ["bag"], ["unheard of"], []]
    scores = AnswerScores(given, ["yes", "no", "bag"])
    assert scores.best.array.tolist() == [0, 2, -1, -1] and scores.unanswerable == 2
    answer, question = np.array([0, 1, 2, 0, -1, 0]), np.array([0, 0, 1, 1, 2, 3])
    wanted = [1, vqa_accuracy("no", given[0]), 1, 0, 0, 0]
    np.testing.assert_allclose(scores.accuracy(answer, question), wanted)
    found = scores.accuracy(torch.as_tensor(answer), torch.as_tensor(question))
    np.testing.assert_allclose(found.numpy(), wanted)
