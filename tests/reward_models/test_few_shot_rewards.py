"""Goals by example and by attributes: what fits the goal scores more."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import visionrl  # noqa: F401
from visionrl.agents import make_vec_env
from visionrl.backbones import make_backbone
from visionrl.datasets import ImageSample
from visionrl.models import model_class
from visionrl.reward_models import (
    AttributeMatch,
    LearnedReward,
    PrototypeSimilarity,
    SiameseSimilarity,
    VecLearnedReward,
)

TASK, KWARGS = "visionrl/LandmarkLocalization-v0", {"window": 28}
KINDS = ("with negatives", "cosine", "alone", "siamese", "attributes")


def stripes(period: int, count: int, seed: int = 0) -> np.ndarray:
    """(N, 1, 28, 28) uint8, stripes of one period (classes), shifted and with grain; 0 is noise."""
    rng = np.random.default_rng(seed)
    grain = rng.normal(0, 20, (count, 1, 28, 28))
    if not period:
        return rng.integers(0, 256, (count, 1, 28, 28)).astype(np.uint8)
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1, 1))
    wave = 128 + 90 * np.sin(2 * np.pi * np.arange(28) / period + phase)
    return np.clip(wave + grain, 0, 255).astype(np.uint8)


def trained(name: str, **options: Any) -> Any:
    """A model that knows stripes by their period."""
    samples = [ImageSample(x, labels=(f"p{p}",)) for p in (4, 7, 14) for x in stripes(p, 12)]
    torch.manual_seed(0)
    model: Any = model_class(name).for_samples(samples, options)
    split, optimizer = model.encode(samples), torch.optim.AdamW(model.parameters(), 3e-3)
    for rows in model.train().batches(split, 36, torch.Generator().manual_seed(0)):
        for _ in range(2 if name == "siamese" else 40):
            optimizer.zero_grad()
            model.loss({key: part[rows] for key, part in split.items()}).backward()
            optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def scores() -> dict[str, Any]:
    """Each with stripes of period 4 as the goal."""
    siamese = trained("siamese", way=3, query=4, episodes=25)
    attributes = trained("attributes", classes=["p4=fine", "p7=fine,odd", "p14=coarse"])
    good, bad = stripes(4, 5, 1), np.concatenate([stripes(14, 5, 1), stripes(7, 5, 1)])
    return {
        "with negatives": PrototypeSimilarity(siamese, good, bad, temperature=5.0),
        "cosine": PrototypeSimilarity(siamese, good, bad, distance="cosine"),
        "alone": PrototypeSimilarity(siamese.image.trunk, good),
        "siamese": SiameseSimilarity(siamese, good[0]),
        "attributes": AttributeMatch(attributes, {"fine": True, "odd": False}),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_planted_scores_more_than_another_class(scores: Any, kind: str) -> None:
    right, wrong, noise = (scores[kind]({"window": stripes(p, 8, 5)}) for p in (4, 14, 0))
    assert right.dtype == np.float64 and right.shape == (8,)
    assert right.min() > wrong.max() and right.mean() > noise.mean()
    assert wrong.min() >= 0 and right.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_score_is_the_same_for_tensors_and_in_parts(scores: Any, kind: str) -> None:
    images = np.concatenate([stripes(4, 3, 6), stripes(7, 4, 6)])
    score = scores[kind]
    whole = score({"window": images})
    score.batch = 2
    np.testing.assert_allclose(score({"window": torch.from_numpy(images)}), whole, atol=1e-5)
    score.batch = 256


@pytest.mark.parametrize("kind", ["with negatives", "siamese", "attributes"])
def test_rows_earn_what_single_environments_earn(scores: Any, kind: str) -> None:
    env = LearnedReward(gym.make(TASK, **KWARGS), scores[kind], difference=True)
    env.reset(seed=7)
    venv = VecLearnedReward(make_vec_env(TASK, 2, seed=7, **KWARGS), scores[kind], difference=True)
    venv.reset()
    for action in (0, 1, 2):
        _, rewards, *_ = venv.step(np.array([action, action]))
        _, reward, *_ = env.step(action)
        assert rewards[0] == pytest.approx(reward, abs=1e-5)


def test_a_wrapped_environment_keeps_the_rules(scores: Any) -> None:
    check_env(LearnedReward(gym.make(TASK, **KWARGS), scores["siamese"]).unwrapped, skip_render_check=True)


class Broken(torch.nn.Module):
    """Maps in place of vectors, or NaN."""

    def __init__(self, nan: bool) -> None:
        super().__init__()
        self.nan = nan

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) * float("nan") if self.nan else images


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: PrototypeSimilarity(Broken(False), stripes(4, 2)), r"encoder must give finite vectors"),
        (lambda s: PrototypeSimilarity(Broken(True), stripes(4, 2)), r"encoder must give finite vectors"),
        (
            lambda s: PrototypeSimilarity(Broken(False), stripes(4, 2)[0]),
            r"support must be one or more uint8 images \(N, C, H, W\), got uint8 \(1, 28, 28\)",
        ),
        (lambda s: PrototypeSimilarity(Broken(False), stripes(4, 2)[:0]), "support must be one or more"),
        (lambda s: PrototypeSimilarity(Broken(False), stripes(4, 2) / 255), "support must be .*got float64"),
        (
            lambda s: PrototypeSimilarity(s["siamese"].network, stripes(4, 2), stripes(4, 2)[:0]),
            "negatives must be one or more",
        ),
        (
            lambda s: PrototypeSimilarity(s["siamese"].network, stripes(4, 2), stripes(4, 2)[..., :9]),
            "negatives must be images like support",
        ),
        (
            lambda s: PrototypeSimilarity(Broken(False), stripes(4, 2), distance="city"),
            "distance must be one",
        ),
        (
            lambda s: PrototypeSimilarity(Broken(False), stripes(4, 2), temperature=0),
            "temperature must be > 0",
        ),
        (lambda s: PrototypeSimilarity(Broken(False), stripes(4, 2), batch=0), "batch must be >= 1, got 0"),
        (
            lambda s: s["alone"]({"window": stripes(4, 2)[..., :20]}),
            r"support must be of the observation's size \(1, 28, 20\), got \(1, 28, 28\)",
        ),
        (
            lambda s: s["siamese"]({"window": np.zeros((2, 6, 28, 28), np.uint8)}),
            "channels must leave 1 or 3",
        ),
        (lambda s: s["siamese"]({"window": np.zeros((2, 4))}), "key must name an image"),
        (lambda s: s["siamese"]({"image": stripes(4, 2)}), "key must be one of image, got 'window'"),
        (
            lambda s: SiameseSimilarity(make_backbone("conv4", 1), stripes(4, 1)[0]),
            "network must be a siamese",
        ),  # type: ignore[arg-type]
        (lambda s: SiameseSimilarity(s["siamese"].network, stripes(4, 1)), "reference must be one or more"),
        (
            lambda s: AttributeMatch(s["attributes"].network, {}),
            "attributes must be one or more of coarse, fine",
        ),
        (lambda s: AttributeMatch(s["attributes"].network, {"red": True}), "got red"),
        (
            lambda s: AttributeMatch(s["siamese"].network, {"red": True}),
            "network must know attributes, got Sia",
        ),
    ],
)
def test_wrong_goals_are_refused(scores: Any, make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(scores)
