"""Active labelling by hand: what is offered, what a label changes, how it is scored, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from visionrl.agents import compare
from visionrl.core import batch, make_task
from visionrl.core.testing import start
from visionrl.datasets import ImageSample, ImageSet

ID = "visionrl/ActiveLabelling-v0"
SMALL = {"region": 8, "candidates": 4, "budget": 3, "budget_spread": 1, "scored_pixels": 500}


def picture(seed: int, classes: int = 3, mask: bool = True, side: int = 24) -> ImageSample:
    """Noise with a bright and a middling square in it, classes 1 and 2."""
    rng = np.random.default_rng(seed)
    image, labels = rng.integers(0, 60, (1, side, side), dtype=np.uint8), np.zeros((side, side), int)
    for k in range(1, classes):
        x, y = rng.integers(0, side - 8, 2)
        image[0, y : y + 7, x : x + 7] += np.uint8(90 * k // (classes - 1) + 60)
        labels[y : y + 7, x : x + 7] = k
    return ImageSample(image, mask=labels if mask else None, name=f"p{seed}")


def pictures(count: int = 6, **more) -> list[ImageSample]:
    return [picture(k, **more) for k in range(count)]


@pytest.fixture(scope="module")
def task():
    return make_task(ID, data=pictures(), **SMALL)


def test_every_second_image_of_a_sequence_is_the_pool_and_the_others_score(task):
    assert [sample.name for sample in task.samples] == ["p0", "p2", "p4"]
    assert [sample.name for sample in task.examples] == ["p1", "p3", "p5"]
    assert len(task.pool) == 3 * 9 and task.names == ("background", "1", "2")


def test_splits_label_different_images_and_are_scored_on_their_own():
    pools, scored = {}, {}
    for split in ("train", "val", "test"):
        one = make_task(ID, split=split)
        pools[split] = {sample.name for sample in one.samples}
        scored[split] = {sample.name for sample in one.examples}
    assert pools["train"] == pools["val"] and not pools["train"] & pools["test"]
    assert scored["train"] == scored["val"] and not scored["train"] & scored["test"]
    assert not (pools["train"] | pools["test"]) & (scored["train"] | scored["test"])


def test_a_label_adds_the_sums_of_its_region_and_the_weights_solve_them(task):
    before = start(task, rows=2)
    after = task.step(before, np.array([1, 3]))
    for row, action in enumerate((1, 3)):
        region = before.offers[row, 0, action]
        assert after.taken[row].tolist() == [region, -1, -1, -1]
        gram = task.bank.gram.array[region] + np.eye(18)
        np.testing.assert_allclose(after.gram[row], gram)
        np.testing.assert_allclose(gram @ after.weights[row], task.bank.moment.array[region], atol=1e-9)
        assert after.count[row].sum() == 64


def test_rewards_telescope_to_the_gain_of_the_mean_iou(task):
    state, earned = start(task, rows=3), np.zeros(3)
    first = state.miou
    for _ in range(3):
        action = np.array([0, 1, 2])
        after = task.step(state, action)
        earned, state = earned + task.reward(state, action, after), after
    np.testing.assert_allclose(earned, 100 * (state.miou - first))
    np.testing.assert_allclose(task.metrics(state)["area"], state.area / 3)


def test_a_region_that_is_taken_again_changes_nothing_and_is_forbidden(task):
    before = start(task)
    again = replace(before, taken=before.taken.copy(), step=before.step)
    again.taken[0, 0] = before.offers[0, 0, 2]
    assert task.action_mask(again)[0].tolist() == [True, True, False, True]
    after = task.step(again, np.array([2]))
    np.testing.assert_array_equal(after.gram, before.gram)
    assert task.reward(again, np.array([2]), after)[0] == after.miou[0] - again.miou[0]


def test_the_expert_takes_what_gains_the_most(task):
    state = start(task, rows=4)
    gains = np.stack([task.step(state, np.full(4, k)).miou - state.miou for k in range(4)], axis=1)
    np.testing.assert_allclose(task.gains(state), 100 * gains)
    assert (task.expert(state) == gains.argmax(axis=1)).all()
    assert (task.good_actions(state)[np.arange(4), task.expert(state)]).all()


def test_budgets_differ_by_the_spread_and_item_zero_has_the_budget_itself(task):
    assert sorted({int(start(task, item=k).budget[0]) for k in range(task.items)}) == [2, 3, 4]
    assert int(start(task, item=0).budget[0]) == 3


def test_no_region_is_offered_twice_where_the_pool_is_large_enough(task):
    offers = start(task, rows=5).offers.reshape(5, -1)
    assert all(len(set(row.tolist())) == 16 for row in offers)


def test_classes_join_structures_by_the_beginnings_of_their_names():
    names = {1: "rib_1", 2: "rib_2", 3: "lung"}
    samples = [replace(picture(k, classes=4), names=names) for k in range(4)]
    joined = make_task(ID, data=samples, groups={"ribs": ["rib"]}, **SMALL)
    assert joined.names == ("rest", "ribs") and joined.table == (0, 1, 1, 0)
    plain = make_task(ID, data=samples, **SMALL)
    assert plain.names == ("background", "rib_1", "rib_2", "lung")


def test_the_observation_is_of_one_shape_whatever_the_classes():
    few, many = (make_task(ID, data=pictures(classes=k), **SMALL) for k in (2, 5))
    assert few.observation_space == many.observation_space and len(many.names) == 5


def test_images_of_one_intensity_are_labelled_without_a_warning():
    flat = [replace(one, image=np.full_like(one.image, 90)) for one in pictures()]
    task = make_task(ID, data=flat, **SMALL)
    state = task.step(start(task), np.array([0]))
    assert all(np.isfinite(value).all() for value in task.observe(state).values())
    assert task.draw(batch.take(state, 0)).shape[2] == 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"budget": 27}, r"budget must be <= the number of items in the pool \(27\), got 28"),
        ({"candidates": 28}, r"candidates must be <= the number of items in the pool \(27\), got 28"),
        ({"budget_spread": 3}, r"budget_spread must be < budget \(3\), got 3"),
        ({"region": 25}, "region must be <= the shorter side of image 'p0', 24 pixels, got 25"),
        ({"groups": "bones"}, "groups must be one of organs, skeleton or a mapping, got 'bones'"),
        ({"groups": {"skin": ["x"]}}, "groups must name structures of the masks, 'skin' has none"),
        ({"data": pictures(classes=1)}, "data must have two classes or more, got background"),
        ({"data": pictures(1)}, "data must have two images or more to be labelled, got 1"),
        ({"data": pictures(mask=False)}, "samples must have masks, 'p0' of the training split has none"),
    ],
)
def test_bad_inputs_are_one_clear_error(given, words):
    with pytest.raises(ValueError, match=words):
        make_task(ID, **{"data": pictures(), **SMALL, **given})


def test_without_labels_the_segmenter_learns_from_the_masks_there_are_and_stays_as_it_is():
    images = [picture(0), *[picture(k, mask=False) for k in range(1, 5)]]
    task = make_task(ID, data=[ImageSet(images, name="mine")], labelled=False, **SMALL)
    state = start(task)
    assert state.count.sum() == 24 * 24 and len(task.pool) == 4 * 9
    after = task.step(state, np.array([1]))
    np.testing.assert_allclose(after.weights, state.weights, atol=1e-9)
    assert np.trace(after.inverse[0]) < np.trace(state.inverse[0])
    found = task.result(batch.take(after, 0)).to_json()["regions"]
    assert len(found) == 1 and found[0]["order"] == 1 and found[0]["image"] in {"p1", "p2", "p3", "p4"}
    assert 0 < found[0]["score"] <= 1 and found[0]["x1"] - found[0]["x0"] == 8
    assert task.draw(batch.take(after, 0)).shape[2] == 3


def test_without_any_mask_every_region_is_as_unsure():
    task = make_task(ID, data=[ImageSet(pictures(3, mask=False))], labelled=False, **SMALL)
    state = task.step(start(task), np.array([0]))
    assert task.result(batch.take(state, 0)).scores.tolist() == [1.0]


def test_a_set_that_is_labelled_already_is_refused():
    with pytest.raises(
        ValueError, match="images must be without masks, some at least, to be labelled, all 2 have one"
    ):
        make_task(ID, data=[ImageSet(pictures(2))], labelled=False, **SMALL)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([], "images must be one or more, got none"),
        ([picture(1), picture(1)], "names of their own, got 'p1' twice"),
    ],
)
def test_a_bad_set_is_one_clear_error(images, words):
    with pytest.raises(ValueError, match=words):
        make_task(ID, data=[ImageSet(images)], labelled=False, **SMALL)


@pytest.mark.slow
def test_rules_beat_chance_and_the_oracle_beats_the_rules():
    table = compare(ID, episodes=12)
    miou = {row.name: row.metrics["miou"].value for row in table.rows}
    assert miou["random"] + 0.05 < miou["entropy"] < miou["expert"] - 0.05
    assert miou["random"] < miou["BALD"] and miou["random"] < miou["variance"] < miou["expert"]
    assert miou["all labels"] < miou["expert"]
