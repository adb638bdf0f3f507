"""Segmentation by seeds: what a seed does, what it earns, the robot user, other segmenters, bad data."""

from __future__ import annotations

import numpy as np
import pytest

from visionrl.core import BASELINES, make_task
from visionrl.core.testing import act, roll_out, start
from visionrl.datasets import ImageSample

ID = "visionrl/Segmentation-v0"
GRID = 10


def picture(high: int = 40, wide: int = 50, seed: int = 0) -> ImageSample:
    """A bright rectangle, another beside it, and noise."""
    image = np.random.default_rng(seed).integers(0, 40, (3, high, wide), dtype=np.uint8)
    mask = np.zeros((high, wide), np.uint8)
    mask[8:28, 6:22], mask[10:30, 30:44] = 1, 2
    image[:, mask == 1] += 150
    image[0, mask == 2] += 120
    return ImageSample(image, mask=mask, names={1: "door", 2: "window"}, name="house")


def task(**more):
    return make_task(ID, **{"data": [picture()], "size": 50, "grid": GRID, "seeds": 4, **more})


def cell_at(made, x: float, y: float) -> int:
    """The cell whose middle is nearest to a place in the square."""
    places = np.stack(np.divmod(made.pixels, made.size), axis=1)
    return int(np.hypot(*(places - [y, x]).T).argmin())


def test_the_user_clicks_the_middle_of_the_object_and_far_from_it():
    made = task()
    for item in (0, 1):
        first = start(made, item=item)
        assert first.cells[0, :2].tolist() == [cell for cell, _ in made.clicks[item]]
        assert first.signs[0, :3].tolist() == [1, -1, -1] and first.cells[0, 2] == -1
        assert made.on_object.array[item, first.cells[0, 0]]
        assert not made.on_object.array[item, first.cells[0, 1]]


def test_a_seed_takes_its_side_of_the_image():
    made = task(first_clicks=0)
    state = start(made, item=0)
    assert not state.mask.any() and state.quality[0, 0] == 0
    after, reward, _ = act(made, state, cell_at(made, 14, 18))
    assert after.mask[0, :40].all()  # nothing says otherwise
    last, more, _ = act(made, after, GRID**2 + cell_at(made, 45, 5))
    assert last.quality[0, 2] > 0.95
    assert reward + more == pytest.approx(last.quality[0, 2])
    assert not last.mask[:, 40:].any()  # beyond the image


def test_a_cell_that_has_a_seed_or_lies_beyond_the_image_changes_nothing():
    made = task()
    state = start(made, item=0)
    allowed = made.action_mask(state)[0]
    used, beyond = int(state.cells[0, 0]), cell_at(made, 25, 48)
    assert not allowed[used] and not allowed[used + GRID**2] and not allowed[beyond]
    for action in (used, beyond):
        after, reward, _ = act(made, state, action)
        assert (after.mask == state.mask).all() and reward == 0 and after.steps == 1
        assert (after.cells == state.cells).all()


def test_rewards_telescope_in_both_forms():
    for form, last in (
        ("gain", lambda q: q),
        ("exponential", lambda q: (np.exp(5 * q) - 1) / (np.exp(5) - 1)),
    ):
        made = task(reward_type=form)
        moments = list(roll_out(made, "mixed", steps=4, seed=2))
        assert moments[-1].terminated.all()
        before, end = moments[0].state.quality[:, 0], made.metrics(moments[-1].after)["iou"]
        total = sum(moment.reward for moment in moments)
        assert total == pytest.approx(last(end) - last(before)) and np.abs(total).min() > 1e-3


def test_strict_rules_punish_what_is_wrong_for_certain_alone():
    made, plain = task(strict=True, first_clicks=0, grid=20), task(first_clicks=0, grid=20)
    state = start(made, item=0)
    for x, y, sign, cost in (
        (14, 18, -1, 1),
        (24, 20, 1, 0),
        (48, 35, 1, 1),
        (14, 18, 1, 0),
        (48, 35, -1, 0),
    ):
        action = cell_at(made, x, y) + (0 if sign > 0 else 400)
        punished = act(plain, state, action).reward - act(made, state, action).reward
        assert punished == pytest.approx(cost), (x, y, sign)


def test_episodes_end_by_seeds_by_stopping_and_by_what_is_good_enough():
    made = task(stop=True, until=0.9)
    state = start(made, item=0)
    stopped = act(made, state, 2 * GRID**2)
    assert stopped.terminated.all() and stopped.reward == 0 and stopped.state.steps == 0
    made = task(stop=True, until=0.9, first_clicks=0)
    state, over = start(made, item=0), np.zeros(1, bool)
    while not over.all():
        assert not state.quality[0, int(state.steps[0])] >= 0.9
        state, _, over = act(made, state, made.expert(state))
    assert state.quality[0, int(state.steps[0])] >= 0.9 and state.steps < 4
    made = task()
    lengths = [moment.after.steps[moment.terminated] for moment in roll_out(made, "chance", steps=20)]
    assert set(np.concatenate(lengths)) == {4}


def test_the_robot_user_clicks_in_the_largest_wrong_region():
    made = task(first_clicks=1)
    state = start(made, item=0)  # one click on the object: all is taken for it
    action = int(made.expert(state)[0])
    assert action >= GRID**2
    column = int(made.pixels[action - GRID**2]) % made.size
    assert column > 25  # the door is left
    rest = act(made, state, action).state
    assert rest.quality[0, 1] > state.quality[0, 0]


def test_wrong_labels_are_counted_and_clicks_to_a_quality_too():
    made = task()
    state = start(made, item=0)
    state = act(made, state, cell_at(made, 47, 3)).state  # "object" beside it
    assert made.metrics(state)["wrong_labels"] == 1
    ends = start(made, item=0)
    for _ in range(4):
        ends = act(made, ends, made.expert(ends)).state
    records = made.dataset_metrics[1].record(ends)
    assert records["noc85"] == 2 + int(np.argmax(ends.quality[0] >= 0.85))


def test_boundary_metrics_are_taken_in_the_pixels_of_the_file():
    made = task(data=[picture(80, 100)], size=50)
    state = start(made, item=0)
    masks, truths = made.file_masks(state)
    assert masks[0].shape == truths[0].shape == (80, 100)
    assert made.result(type(state)(**{k: v[0] for k, v in vars(state).items()})).masks.shape == (1, 80, 100)


@pytest.mark.parametrize("segmenter", ["grabcut", "watershed"])
def test_other_segmenters_run_on_numpy_and_learn_from_the_robot(segmenter):
    made = task(segmenter=segmenter)
    assert made.backends == ("numpy",) and task().backends == ("numpy", "torch")
    state = start(made, item=0)
    for _ in range(4):
        state = act(made, state, made.expert(state)).state
    assert made.metrics(state)["iou"] > 0.7


def test_columns_are_made_as_they_are_needed_at_larger_sizes():
    made = task(size=96, grid=20)
    state = start(made, item=0)
    for _ in range(3):
        state = act(made, state, made.expert(state)).state
    assert made.metrics(state)["iou"] > 0.9


def broken(**changes) -> list[ImageSample]:
    return [ImageSample(**{"image": picture().image, "mask": picture().mask, "name": "a", **changes})]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"data": broken(mask=picture(30, 50).mask)}, r"mask must be integers of shape \(40, 50\)"),
        ({"data": broken(mask=np.full((40, 50), np.nan))}, "mask must be integers of shape .* got float64"),
        ({"data": broken(mask=picture().mask * 0.5)}, "mask must be integers of shape .* got float64"),
        ({"data": broken(mask=None)}, "data must have masks with a label > 0, got 1 samples without any"),
        ({"data": broken(mask=picture().mask * 0)}, "data must have masks with a label > 0"),
        ({"classes": ("roof",)}, "classes must be among door, window; got roof"),
        ({"size": 16, "grid": 20}, "size must be >= grid, 20, got 16"),
        ({"smallest": 0.5}, "objects must fill 50 % to 90 % of the image.* got 2 of which none does"),
        (
            {"data": broken(mask=np.eye(40, 50, dtype=np.uint8) * np.uint8(7)), "smallest": 0.03},
            "of which none does",
        ),
        ({"data": broken(mask=np.ones((40, 50), int))}, "of which none does"),
        ({"until": 0.0}, r"until must be a number in \(0.0, 1.0\] or None, got 0.0"),
        ({"segmenter": "magic"}, "segmenter must be one of"),
        ({"beta": 0.0}, "beta must be a number > 0.0, got 0.0"),
    ],
)
def test_bad_data_and_arguments_are_one_clear_error(more, message):
    with pytest.raises(ValueError, match=message):
        task(**more)


def test_a_mask_of_one_pixel_is_left_out_with_a_count():
    mask = picture().mask.copy()
    mask[0, 0] = 9
    with pytest.warns(UserWarning, match="1 of 3 objects are left out"):
        made = task(data=broken(mask=mask))
    assert made.items == 2


def test_two_objects_of_one_label_are_one():
    mask = np.where(picture().mask > 0, 5, 0)
    made = task(data=broken(mask=mask, names={5: "opening"}))
    assert made.items == 1 and made.names == ("opening",)
    state = start(made)
    for _ in range(4):
        state = act(made, state, made.expert(state)).state
    assert made.metrics(state)["iou"] > 0.9


def unlabelled(**changes):
    plain = ImageSample(picture().image, name="a", **changes)
    return task(data=[plain], labelled=False)


def test_without_labels_the_clicks_are_points_of_the_sample():
    made = unlabelled(points={"+1": (14, 18), "-1": (45, 5), "-2": (36, 20), "nose": (3, 3)})
    state = start(made)
    assert (state.cells >= 0).sum() == 3 and state.signs[0, :3].tolist() == [1, -1, -1]
    found = made.result(type(state)(**{key: value[0] for key, value in vars(state).items()}))
    truth = picture().mask == 1
    assert (found.masks[0] & truth).sum() / (found.masks[0] | truth).sum() > 0.95
    assert found.labels == ("object",)
    after = made.step(state, np.array([cell_at(made, 40, 38) + GRID**2]))
    assert (after.cells >= 0).sum() == 4


def test_without_clicks_the_middle_of_the_box_or_of_the_image_is_taken():
    boxed = start(unlabelled(boxes=np.array([[6, 8, 22, 28]])))
    assert boxed.cells[0, 0] == cell_at(unlabelled(), 14, 18) and boxed.signs[0, :2].tolist() == [1, -1]
    plain = start(unlabelled())
    assert plain.cells[0, 0] in (cell_at(unlabelled(), 22, 22), cell_at(unlabelled(), 27, 22))


def test_clicks_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="points must lie in different cells of the grid, 10 x 10"):
        unlabelled(points={"+1": (14, 18), "-1": (14, 18)})


@pytest.mark.parametrize("stop", [False, True])
def test_an_episode_goes_on_where_no_cell_is_left(stop):
    made = task(grid=4, seeds=20, stop=stop)
    state = start(made, item=0)
    while made._free(state).any():
        state = act(made, state, int(made.action_mask(state)[0].argmax())).state
    assert made.action_mask(state).any() and not made.terminated(state).any()
    after, reward, _ = act(made, state, 0)
    assert reward == 0 and after.steps == state.steps + 1
    assert made.terminated(BASELINES[ID]["random seeds, right labels"].fit(None)(made, start(made))).all()


@pytest.mark.parametrize("name", sorted(BASELINES[ID]))
def test_every_baseline_finds_something_of_the_door(name):
    made = task()
    end = BASELINES[ID][name].fit(None)(made, start(made, item=0))
    assert made.terminated(end).all() and made.metrics(end)["iou"] > 0.5


@pytest.mark.parametrize(
    "name", ["GrabCut in the object's box", "GrabCut, the first clicks", "Otsu, the first clicks"]
)
def test_baselines_without_the_truth_work_on_files(name):
    made = unlabelled(boxes=np.array([[6, 8, 22, 28]]))
    end = BASELINES[ID][name].fit(None)(made, start(made))
    truth = picture().mask == 1
    mask = made.result(type(end)(**{key: value[0] for key, value in vars(end).items()})).masks[0]
    assert (mask & truth).sum() / (mask | truth).sum() > 0.5


def test_grabcut_gives_the_box_where_the_colours_in_it_are_those_around_it():
    image = np.tile(np.arange(48, dtype=np.uint8)[None, None] % 2 * 200, (3, 48, 1))  # stripes everywhere
    mask = np.zeros((48, 48), np.uint8)
    mask[14:34, 10:38] = 1
    made = task(data=[ImageSample(image, mask=mask, names={1: "zebra"}, name="plain")], size=48)
    end = BASELINES[ID]["GrabCut in the object's box"].fit(None)(made, start(made))
    assert made.metrics(end)["iou"] == 1.0


def test_similarity_is_that_of_the_nearest_colour_of_each_kind_of_seed():
    made = task(similarity=True)
    state = act(made, start(made, item=0), cell_at(made, 16, 22)).state
    shown = made.observe(state)
    pixels = shown["image"][0].reshape(3, -1).astype(float)
    for kind, sign in enumerate((1, -1)):
        seeds = made.pixels[state.cells[0][(state.cells[0] >= 0) & (state.signs[0] == sign)]]
        gaps = np.sqrt(((pixels[:, :, None] - pixels[:, None, seeds]) ** 2).mean(0)).min(1)
        wanted = np.rint(255 * np.clip(1 - gaps / 178.5, 0, 1))
        assert np.array_equal(shown["similarity"][0, kind].ravel(), wanted)
        assert (shown["similarity"][0, kind].ravel()[seeds] == 255).all() and wanted.std() > 10


def test_without_a_seed_nothing_is_similar():
    made = task(similarity=True, first_clicks=0)
    assert not made.observe(start(made))["similarity"].any()
