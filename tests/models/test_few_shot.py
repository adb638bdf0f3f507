"""Models of classes known by a few images: episodes, training, classes of any number, zero-shot."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import visionrl  # noqa: F401
from visionrl.agents import VisionExtractor
from visionrl.datasets import ImageSample
from visionrl.datasets.embedded.instances import Instances
from visionrl.models import load_model, model_class, save_model
from visionrl.models.fewshot.attributes import dap, eszsl, signatures_of
from visionrl.models.fewshot.episodes import EpisodeSampler

OPTIONS = {"way": 4, "shot": 1, "query": 3, "episodes": 6}
NAMES = ["prototypical", "matching", "siamese", "maml"]


def patterns(classes: int = 8, images: int = 9, seed: int = 0, noise: float = 45) -> list[ImageSample]:
    """Grey images of noise, each class another pattern."""
    rng = np.random.default_rng(seed)
    bases = rng.integers(0, 256, (classes, 1, 28, 28))
    return [
        ImageSample(
            np.clip(bases[c] + rng.normal(0, noise, (1, 28, 28)), 0, 255).astype(np.uint8), labels=(f"c{c}",)
        )
        for c in range(classes)
        for _ in range(images)
    ]


def learnt(name: str, **options: Any) -> Any:
    """A model after a few episodes."""
    torch.manual_seed(0)
    samples = patterns()
    model: Any = model_class(name).for_samples(samples, {**OPTIONS, **options})
    split = model.augmented(model.encode(samples))
    optimizer, chance = torch.optim.AdamW(model.parameters(), 2e-3), torch.Generator().manual_seed(0)
    for rows in model.train().batches(split, 0, chance):
        optimizer.zero_grad()
        model.loss({key: part[rows] for key, part in split.items()}).backward()
        optimizer.step()
    return model.eval()


def test_an_episode_has_images_of_each_class_none_twice() -> None:
    labels = np.repeat(["b", "a", "c"], [5, 9, 6])
    sampler = EpisodeSampler(labels, 2, 2, 3, np.random.default_rng(0))
    seen = set()
    for _ in range(50):
        episode = sampler.sample()
        assert episode.support.shape == (2, 2) and episode.query.shape == (2, 3)
        both = np.concatenate([episode.support, episode.query], 1)
        assert all(len(set(labels[row])) == 1 and len(set(row.tolist())) == 5 for row in both)
        assert len({labels[row[0]] for row in both}) == 2
        np.testing.assert_array_equal(episode.rows, both.ravel())
        seen |= set(both.ravel().tolist())
    assert seen == set(range(20))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((4, 1, 1), "way must be at most the number of classes, 3, got 4"),
        ((1, 1, 1), "way must be >= 2, got 1"),
        ((2, 0, 1), "shot must be >= 1, got 0"),
        ((2, 1, 0), "query must be >= 1, got 0"),
        ((2, 1, 4), "each class must have shot .* = 5 images or more, 'b' has 4"),
    ],
)
def test_episodes_that_cannot_be_drawn_are_refused(numbers: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EpisodeSampler(["a"] * 5 + ["b"] * 4 + ["c"] * 7, *numbers, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in NAMES),
        ("siamese", {"criterion": "contrastive"}),
        ("maml", {"first_order": False}),
    ],
)
def test_new_classes_are_told_apart_after_a_few_episodes(name: str, options: dict[str, Any]) -> None:
    model = learnt(name, distort=0.2, **options)
    split = model.encode(patterns(6, 8, seed=5))
    found = model.accuracies(split, 5, 1, 4, count=8)
    assert found.shape == (8,) and found.mean() > 0.7
    np.testing.assert_array_equal(found, model.accuracies(split, 5, 1, 4, count=8))


def test_the_gradient_of_maml_goes_through_the_statistics_of_batchnorm() -> None:
    torch.manual_seed(0)
    samples = patterns()
    model: Any = model_class("maml").for_samples(samples, {**OPTIONS, "tasks": 1, "inner_rate": 1e-9})
    split = model.encode(samples)
    model.row.data.normal_()
    rows = next(iter(model.train().batches(split, 0, torch.Generator().manual_seed(0))))
    model.loss({key: part[rows] for key, part in split.items()}).backward()
    weights = [weight for name, weight in model.named_parameters() if weight.ndim == 4]
    assert len(weights) == 4
    for weight in weights:  # what BatchNorm follows has no scale: the gradient is orthogonal to it
        slope, kept = weight.grad, weight.detach()
        assert slope.norm() > 0
        assert abs(float((slope * kept).sum() / (slope.norm() * kept.norm()))) < 0.02


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_follow_the_classes_and_no_other_image(name: str, tmp_path: Any) -> None:
    model = learnt(name)
    images = [sample.image for sample in patterns(3, 4, seed=6)]
    support, labels, asked = images[::2], [0, 0, 1, 1, 2, 2], images[1::2]
    found = model.classify(support, labels, asked)
    assert found.shape == (6, 3) and found.dtype == np.float64
    np.testing.assert_allclose(found.sum(1), 1)
    assert (found.argmax(1) == labels).mean() > 0.6
    np.testing.assert_allclose(model.classify(support, labels, asked[:1]), found[:1], atol=1e-4)
    other = model.classify(support, [2, 2, 0, 0, 1, 1], asked)
    np.testing.assert_allclose(other[:, [2, 0, 1]], found, atol=1e-4)
    save_model(model, tmp_path)
    np.testing.assert_allclose(load_model(tmp_path).classify(support, labels, asked), found, atol=1e-6)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0], "labels must be one a support image, got 1 for 2"),
        ([0, 2], r"labels must be 0 to way - 1, each there, got \[0, 2\]"),
    ],
)
def test_support_without_its_classes_is_refused(labels: list[int], message: str) -> None:
    model: Any = model_class("prototypical").of({"channels": 1})
    images = [sample.image for sample in patterns(2, 1)]
    with pytest.raises(ValueError, match=message):
        model.classify(images, labels, images)


def test_classes_of_a_single_image_are_left_out_of_the_evaluation() -> None:
    model = learnt("prototypical")
    samples, lone = patterns(3, 4, seed=8), ImageSample(np.zeros((1, 28, 28), np.uint8), labels=("b",))
    found = model.evaluate((), model.encode([lone, *samples]))
    assert found == model.evaluate((), model.encode(samples)) and list(found) == ["accuracy_1"]
    with pytest.raises(ValueError, match="two classes or more of two images or more, got 1"):
        model.evaluate((), model.encode([lone, *samples[:4]]))


def test_turned_and_mirrored_images_are_further_classes() -> None:
    samples = patterns(3, 2)
    model: Any = model_class("prototypical").of({"channels": 1, "turns": 8})
    plain = model.encode(samples)
    more = model.augmented(plain)
    assert more["images"].shape == (48, 1, 28, 28) and more["labels"].bincount().tolist() == [2] * 24
    assert len(torch.unique(more["images"], dim=0)) == 48
    assert torch.equal(more["images"][:6], plain["images"])


def test_the_trunk_is_a_backbone_of_agents_and_weights_of_its_file_fit(tmp_path: Any) -> None:
    model = learnt("prototypical")
    space = gym.spaces.Dict({"window": gym.spaces.Box(0, 255, (1, 28, 28), np.uint8)})
    images = torch.rand(3, 1, 28, 28)
    whole = VisionExtractor(space, backbone=model.image.trunk, frozen=True)
    save_model(model, tmp_path)
    read = VisionExtractor(space, backbone="conv4", weights=str(tmp_path / "model.pt"), frozen=True)
    wanted = model.embed(images).detach()
    for extractor in (whole, read):
        np.testing.assert_allclose(extractor.encode("window", images).detach(), wanted, atol=1e-5)


def test_the_shipped_network_tells_new_objects_apart() -> None:
    model: Any = load_model("few-shot-instances")
    samples = [Instances("test")[which * 20 + view] for which in range(0, 240, 12) for view in range(6)]
    found = model.accuracies(model.encode(samples), 5, 1, 4, count=60)
    assert found.mean() > 0.6  # pixels: 0.29


def test_prototypical_logits_are_those_of_easyfsl() -> None:
    methods = pytest.importorskip("easyfsl.methods")
    model = learnt("prototypical")
    split = model.encode(patterns(5, 4, seed=7))
    rows = torch.arange(20).view(5, 4)
    support, query = rows[:, :2].flatten(), rows[:, 2:].flatten()
    labels = torch.arange(5).repeat_interleave(2)
    theirs = methods.PrototypicalNetworks(model.image)
    theirs.process_support_set(split["images"][support].float() / 255, labels)
    kept = model.remember(split["images"])
    ours = model.logits(kept[support], labels, kept[query])
    distances = theirs(split["images"][query].float() / 255)
    np.testing.assert_allclose(ours, -distances.square().detach(), rtol=1e-3, atol=1e-4)


CLASSES = ("cat=fur,legs", "dog=fur,legs,barks", "fish=scales", "snake=scales,barks")


def test_signatures_are_read_and_bad_ones_refused() -> None:
    names, attributes, table = signatures_of(CLASSES)
    assert names == ["cat", "dog", "fish", "snake"] and attributes == ["barks", "fur", "legs", "scales"]
    assert table[1].tolist() == [True, True, True, False]
    for wrong, message in (
        (("cat",), "must be CLASS=ATTRIBUTE"),
        (("a=x", "a=y"), "of different names"),
        (("a=x,y", "b=y,x"), "two or more of different attributes"),
    ):
        with pytest.raises(ValueError, match=message):
            signatures_of(wrong)


def test_dap_and_eszsl_name_classes_that_were_never_seen() -> None:
    rng = np.random.default_rng(0)
    table = np.array([[i >> k & 1 for k in range(4)] for i in range(1, 13)], bool)
    seen, unseen = np.arange(8), np.arange(8, 12)
    mix = rng.normal(size=(4, 20))
    labels = np.repeat(np.arange(12), 30)
    features = (2.0 * table - 1)[labels] @ mix + rng.normal(0, 0.5, (360, 20))
    known = np.isin(labels, seen)
    matrix = eszsl(features[known], labels[known], table[seen], 1.0, 1.0)
    scores = features[~known] @ matrix @ table[unseen].T.astype(float)
    assert (unseen[scores.argmax(1)] == labels[~known]).mean() > 0.7
    likely = np.where(table[labels[~known]], 0.8, 0.2)
    posterior = dap(likely, table[unseen], table[seen].mean(0))
    assert (unseen[posterior.argmax(1)] == labels[~known]).all()
    with pytest.raises(ValueError, match=r"gamma and lam must be > 0, got 0.0 and 1.0"):
        eszsl(features, labels, table, 0.0, 1.0)


def test_attributes_are_learnt_from_classes() -> None:
    torch.manual_seed(0)
    samples = [s for s in patterns(4, 10) if s.labels]
    classes = [text.replace(text.split("=")[0], f"c{k}") for k, text in enumerate(CLASSES)]
    model: Any = model_class("attributes").for_samples(samples, {"classes": classes})
    split, optimizer = model.encode(samples), torch.optim.AdamW(model.parameters(), 5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        model.loss(split).backward()
        optimizer.step()
    found = model.evaluate(samples, split)
    assert found["accuracy"] > 0.8 and found["attributes"] > 0.8
    with pytest.raises(ValueError, match=r"options of attributes must have classes"):
        model_class("attributes").for_samples(samples, {})
    with pytest.raises(ValueError, match="the class of sample 0 must be one of x, y, got 'c0'"):
        model_class("attributes").of({"classes": ["x=a", "y=b"]}).encode(samples)
