"""Likeness to a target image in the maps of a backbone."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import visionrl  # noqa: F401
from visionrl.agents import make_vec_env
from visionrl.backbones import as_backbone, make_backbone
from visionrl.reward_models import LearnedReward, PerceptualDistance, VecLearnedReward

TASK, KWARGS = "visionrl/LandmarkLocalization-v0", {"window": 24}


def target(side: int = 24) -> np.ndarray:
    """(3, S, S) uint8, a bright disc on dark noise."""
    y, x = np.mgrid[:side, :side] - side // 2
    noise = np.random.default_rng(0).integers(0, 40, (3, side, side))
    return (noise + 180 * (x**2 + y**2 < (side // 3) ** 2)).astype(np.uint8)


@pytest.fixture(scope="module")
def score() -> PerceptualDistance:
    torch.manual_seed(0)
    return PerceptualDistance(make_backbone("small", 3, image_size=24), target())


def test_the_target_scores_0_a_shifted_one_more_than_noise(score: PerceptualDistance) -> None:
    rng = np.random.default_rng(1)
    shifts = [np.roll(target(), n, axis=2) for n in (0, 1, 3, 8)]
    found = score({"window": np.stack([*shifts, rng.integers(0, 255, (3, 24, 24), np.uint8)])})
    assert found.dtype == np.float64 and found[0] == pytest.approx(0, abs=1e-9)
    assert (np.diff(found) < 0).all()


def test_the_score_is_the_same_for_tensors_and_in_parts(score: PerceptualDistance) -> None:
    images = np.random.default_rng(2).integers(0, 255, (7, 3, 24, 24), np.uint8)
    whole = score({"window": images})
    score.batch = 3
    np.testing.assert_allclose(score({"window": torch.from_numpy(images)}), whole, atol=1e-9)
    score.batch = 64


def test_layers_are_compared_alone_and_their_mean_is_the_score(score: PerceptualDistance) -> None:
    images = {"window": np.random.default_rng(3).integers(0, 255, (4, 3, 24, 24), np.uint8)}
    each = [PerceptualDistance(score.network, target(), [name])(images) for name in ("conv1", "conv2")]
    np.testing.assert_allclose(np.mean(each, 0), score(images), atol=1e-12)
    assert not np.allclose(*each)


def test_brightness_counts_for_less_than_form(score: PerceptualDistance) -> None:
    brighter = (target() * 1.1).clip(0, 255).astype(np.uint8)
    turned = np.ascontiguousarray(np.roll(target(), (6, 6), (1, 2)))
    found = score({"window": np.stack([brighter, turned])})
    assert found[0] > found[1]


def test_both_wrappers_give_the_same_rewards(score: PerceptualDistance) -> None:
    venv = VecLearnedReward(make_vec_env(TASK, 3, **KWARGS), score, difference=True)
    venv.seed(5)
    singles = [LearnedReward(gym.make(TASK, **KWARGS), score, difference=True) for _ in range(3)]
    for row, env in enumerate(singles):
        env.reset(seed=5 + row)
    venv.reset()
    for action in ([0, 1, 2], [3, 2, 1], [1, 1, 0]):
        rewards = venv.step(np.array(action))[1]
        own = [env.step(one)[1] for env, one in zip(singles, action, strict=True)]
        np.testing.assert_allclose(rewards, own, atol=1e-6)


class Broken(nn.Module):
    """A map of NaN."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": ["conv9"]}, "layers must be one or more of conv1, conv2, got"),
        ({"layers": []}, "layers must be one or more of conv1, conv2, got"),
        ({"layers": "conv1"}, "layers must be one or more of conv1, conv2, got 'conv1'"),
        ({"target": target()[:1]}, r"target must be \(C, H, W\) uint8 with the backbone's 3 channels"),
        ({"target": target() / 255}, r"target must be \(C, H, W\) uint8"),
        ({"batch": 0}, "batch must be >= 1, got 0"),
        ({"backbone": as_backbone(Broken(), 3, 24)}, "layers must give maps .* not finite"),
    ],
)
def test_wrong_arguments_are_refused(score: PerceptualDistance, change: dict, message: str) -> None:
    given: dict[str, Any] = {"backbone": score.network, "target": target(), **change}
    with pytest.raises(ValueError, match=message):
        PerceptualDistance(**given)


def test_an_image_of_another_size_is_refused(score: PerceptualDistance) -> None:
    with pytest.raises(ValueError, match=r"key must name an image of the target's \(3, 24, 24\), got"):
        score({"window": np.zeros((2, 3, 32, 32), np.uint8)})
    with pytest.raises(ValueError, match="key must be one of window, got 'picture'"):
        PerceptualDistance(score.network, target(), key="picture")({"window": target()[None]})
