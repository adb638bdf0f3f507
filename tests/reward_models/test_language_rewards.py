"""Goals in words: what fits the goal scores more."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import visionrl  # noqa: F401
from visionrl.agents import make_vec_env
from visionrl.datasets import CaptionSample, QuestionSample
from visionrl.models import model_class
from visionrl.reward_models import AnswerReward, CaptionReward, LearnedReward, TextMatch, VecLearnedReward

OPTIONS = {"side": 24, "backbone": "small", "width": 32, "dropout": 0.0}
TASK, KWARGS = "visionrl/LandmarkLocalization-v0", {"window": 24}


def pictures(colour: str, count: int, seed: int = 0) -> np.ndarray:
    """(N, 3, 24, 24) uint8, mostly of one colour."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 60, (count, 3, 24, 24), np.uint8)
    found[:, ("red", "green", "blue").index(colour)] += 160
    return found


def trained(name: str) -> Any:
    """A model that knows red from green."""
    samples: list[Any] = []
    for colour in ("red", "green"):
        for image in pictures(colour, 12):
            if name.startswith("vqa"):
                samples.append(QuestionSample(image, "is it red", ("yes" if colour == "red" else "no",)))
                samples.append(QuestionSample(image, "what colour is it", (colour,)))
            else:
                samples.append(CaptionSample(image, (f"all of it is {colour}",)))
    torch.manual_seed(0)
    model = model_class(name).for_samples(samples, OPTIONS)
    split, optimizer = model.encode(samples), torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(110):
        optimizer.zero_grad()
        model.loss(split).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def scores() -> dict[str, Any]:
    """Each with red as the goal."""
    return {
        "caption": CaptionReward(trained("show_and_tell"), ["all of it is red"]),
        "bleu": CaptionReward(trained("show_and_tell"), ["all of it is red", "red it is"], "bleu"),
        "text": TextMatch(trained("dual_encoder"), "all of it is red"),
        "answer": AnswerReward(trained("vqa_cnn_rnn"), "is it red", "yes"),
    }


@pytest.mark.parametrize("kind", ["caption", "bleu", "text", "answer"])
def test_what_was_planted_scores_more_than_another_colour(scores: Any, kind: str) -> None:
    right = scores[kind]({"window": pictures("red", 8, 5)})
    wrong = scores[kind]({"window": pictures("green", 8, 5)})
    assert right.dtype == np.float64 and right.shape == (8,)
    assert right.min() > wrong.max()
    assert wrong.min() >= 0 and right.max() <= 1


@pytest.mark.parametrize("kind", ["caption", "text", "answer"])
def test_the_score_is_the_same_for_tensors_and_in_parts(scores: Any, kind: str) -> None:
    images = np.concatenate([pictures("red", 3, 6), pictures("blue", 4, 6)])
    score = scores[kind]
    whole = score({"window": images})
    score.batch = 2
    np.testing.assert_allclose(score({"window": torch.from_numpy(images)}), whole, atol=1e-6)
    score.batch = 256


def test_a_grey_image_of_another_size_and_one_view_of_several_are_taken(scores: Any) -> None:
    views = np.concatenate([pictures("green", 4), pictures("red", 4)], axis=1)
    score = scores["answer"]
    score.channels = slice(3, 6)
    np.testing.assert_allclose(score({"window": views}), score.score(torch.from_numpy(pictures("red", 4))))
    score.channels = slice(None)
    assert score({"window": np.zeros((2, 1, 40, 60), np.uint8)}).shape == (2,)
    with pytest.raises(ValueError, match="channels must leave 1 or 3 of the image's, got 6"):
        score({"window": views})


def test_rows_earn_what_single_environments_earn(scores: Any) -> None:
    env = LearnedReward(gym.make(TASK, **KWARGS), scores["answer"])
    env.reset(seed=7)
    venv = VecLearnedReward(make_vec_env(TASK, 2, seed=7, **KWARGS), scores["answer"])
    venv.reset()
    for action in (0, 1, 2):
        _, rewards, *_ = venv.step(np.array([action, action]))
        _, reward, *_ = env.step(action)
        assert rewards[0] == pytest.approx(reward, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: CaptionReward(s["caption"].network, []), "references must be one or more sentences"),
        (lambda s: CaptionReward(s["caption"].network, "all is red"), "references must be one or more"),
        (
            lambda s: CaptionReward(s["caption"].network, ["zebra"]),
            "references must have a word that the model",
        ),
        (lambda s: CaptionReward(s["caption"].network, ["red"], "cider_d"), "metric must be one of"),
        (lambda s: TextMatch(s["text"].network, "zebra"), "text must have a word that the model knows"),
        (lambda s: AnswerReward(s["answer"].network, "quo vadis", "yes"), "question must have a word"),
        (
            lambda s: AnswerReward(s["answer"].network, "is it red", "si"),
            "answer must be one of .*, got 'si'",
        ),
        (
            lambda s: AnswerReward(s["answer"].network, "is it red", "yes", batch=0),
            "batch must be >= 1, got 0",
        ),
        (lambda s: s["answer"]({"image": pictures("red", 1)}), "key must be one of image, got 'window'"),
        (
            lambda s: s["answer"]({"window": np.zeros((2, 4))}),
            "key must name an image, 'window' has the shape",
        ),
    ],
)
def test_wrong_goals_are_refused(scores: Any, make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(scores)
