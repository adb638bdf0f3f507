"""Similarity to a target image in the maps of a backbone, place by place and in style."""

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
from visionrl.reward_models import GramDistance, LearnedReward, PerceptualDistance, VecLearnedReward

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


def texture(wide: int, high: int, side: int = 48) -> np.ndarray:
    """(3, S, S) uint8, red and blue tiles of a width and a height, pixels."""
    y, x = np.mgrid[:side, :side]
    on = (x // wide + y // high) % 2
    return np.stack([220 * on, 40 + 0 * on, 200 * (1 - on)]).astype(np.uint8)


@pytest.fixture(scope="module")
def style() -> GramDistance:
    torch.manual_seed(0)
    return GramDistance(make_backbone("small", 3, image_size=48), texture(8, 2))


def test_style_is_what_there_is_and_not_where(style: GramDistance) -> None:
    moved = np.roll(texture(8, 2), (2, 8), (1, 2))
    images = [texture(8, 2), moved, texture(6, 2), texture(2, 8), np.full((3, 48, 48), 128, np.uint8)]
    found = style({"window": np.stack(images)})
    assert found.dtype == np.float64 and found[0] == pytest.approx(0, abs=1e-9)
    assert found[1] > 0.2 * found[2]  # nearly the same style in other places
    assert found[1] > found[2] > found[3] and found[1] > found[2] > found[4]


def test_the_nearer_a_mixture_is_to_the_style_the_more_it_scores(style: GramDistance) -> None:
    other = np.random.default_rng(0).integers(0, 255, (3, 48, 48))
    shares = np.linspace(0, 1, 5)[:, None, None, None]
    mixtures = (shares * texture(8, 2) + (1 - shares) * other).astype(np.uint8)
    assert (np.diff(style({"window": mixtures})) > 0).all()


def test_images_of_other_sizes_have_a_style_too(style: GramDistance) -> None:
    larger, coarser = texture(8, 2, 96)[None], texture(16, 4, 96)[None]
    assert style({"window": larger})[0] > style({"window": coarser})[0]


def test_each_gram_matrix_counts_by_its_share(style: GramDistance) -> None:
    images = {"window": np.random.default_rng(3).integers(0, 255, (4, 3, 48, 48), np.uint8)}
    each = [GramDistance(style.network, texture(8, 2), [name])(images) for name in ("conv1", "conv2")]
    np.testing.assert_allclose(np.mean(each, 0), style(images), atol=1e-12)
    black = {"window": np.zeros((1, 3, 48, 48), np.uint8)}
    assert np.isfinite(GramDistance(style.network, black["window"][0])(images)).all()


def test_a_painter_is_rewarded_by_style_in_both_wrappers() -> None:
    torch.manual_seed(0)
    score = GramDistance(make_backbone("small", 3, image_size=32), texture(8, 2, 32), key="canvas")
    kwargs = {"side": 32, "steps": 3}
    venv = VecLearnedReward(make_vec_env("visionrl/Painting-v0", 2, **kwargs), score, difference=True)
    venv.seed(5)
    singles = [
        LearnedReward(gym.make("visionrl/Painting-v0", **kwargs), score, difference=True) for _ in "ab"
    ]
    starts = [env.reset(seed=5 + row)[1]["score"] for row, env in enumerate(singles)]
    venv.reset()
    total = np.zeros(2)
    for action in ([700, 50], [300, 800], [900, 900]):
        steps = [env.step(one) for env, one in zip(singles, action, strict=True)]
        own = np.array([step[1] for step in steps])
        np.testing.assert_allclose(venv.step(np.array(action))[1], own, atol=1e-6)
        total += own
    np.testing.assert_allclose(total, [step[4]["score"] - at for step, at in zip(steps, starts, strict=True)])


def test_wrong_arguments_of_a_style_are_refused(style: GramDistance) -> None:
    with pytest.raises(ValueError, match="layers must be one or more of conv1, conv2, got"):
        GramDistance(style.network, texture(8, 2), ["conv9"])
    with pytest.raises(ValueError, match=r"target must be \(C, H, W\) uint8"):
        GramDistance(style.network, texture(8, 2) / 255)
