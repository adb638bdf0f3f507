"""The embedded classes for few-shot learning: views of one object each, no object in two splits."""

import numpy as np
import pytest

from visionrl.datasets import ImageSample, load
from visionrl.datasets.embedded.instances import SIDE, VIEWS, Instances, objects_of
from visionrl.datasets.splits import SPLITS


def test_a_view_is_a_function_of_split_class_and_number() -> None:
    first, again, more = Instances("val")[25], Instances("val")[25], Instances("val", views=30)[35]
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.image, more.image)  # view 5 of class 1 either way
    assert first.labels == more.labels and first.image.shape == (1, SIDE, SIDE)
    assert (first.image != Instances("val")[26].image).any()


def test_no_object_is_in_two_splits_and_nouns_are_in_all() -> None:
    names = {split: set(Instances(split).names) for split in SPLITS}
    assert [len(names[split]) for split in SPLITS] == [598, 150, 249]
    assert not names["train"] & names["val"] and not (names["train"] | names["val"]) & names["test"]
    pixels = {split: {one.image.tobytes() for one in objects_of(split).values()} for split in SPLITS}
    assert sum(map(len, pixels.values())) == len(set.union(*pixels.values())) == 598 + 150 + 249
    nouns = {split: {name.split("/")[0] for name in names[split]} for split in SPLITS}
    assert nouns["train"] == nouns["val"] == nouns["test"] and len(nouns["train"]) == 12


def test_a_class_is_many_views_of_the_same_object() -> None:
    samples = load("instances", kind=ImageSample, split="val")
    labels = np.array([sample.labels[0] for sample in samples])
    assert len(samples) == 150 * VIEWS and set(np.unique(labels, return_counts=True)[1]) == {VIEWS}
    flat = np.stack([sample.image.ravel() for sample in samples]).astype(float)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    means = flat.reshape(150, VIEWS, -1)[:, : VIEWS // 2].mean(
        axis=1
    )  # of half of the views, tested on the other
    alike = flat.reshape(150, VIEWS, -1)[:, VIEWS // 2 :] @ means.T
    right = (alike.argmax(axis=2) == np.arange(150)[:, None]).mean()
    assert 4 / 150 < right < 0.6  # more than chance, and pixels alone do not do


def test_other_splits_and_no_views_are_refused() -> None:
    with pytest.raises(ValueError, match="split must be one of"):
        Instances("all")
    with pytest.raises(ValueError, match="views must be >= 1, got 0"):
        Instances(views=0)
