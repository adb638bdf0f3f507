"""ShapePose-v0: moves by hand, rewards, starts, the user's own points, baselines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from visionrl.core import BASELINES, batch, make_task
from visionrl.core.testing import act, at, start
from visionrl.datasets import ImageSample

ID = "visionrl/ShapePose-v0"
NAMES = ("a", "b", "c", "d", "e")
SHAPE = np.array([[-1.0, -1], [1, -1], [1.1, 1], [-1, 1], [0, 0.2]])


def pictures(count: int = 12, side: int = 96, **more: Any) -> list[ImageSample]:
    """Bright discs at the points of a shape that varies, on noise."""
    rng, found = np.random.default_rng(0), []
    rows, columns = np.mgrid[:side, :side]
    for number in range(count):
        shape = SHAPE.copy()
        shape[4, 1] += rng.normal(0, 0.15)
        points = side / 2 + rng.uniform(-6, 6, 2) + shape * rng.uniform(16, 22)
        image = rng.integers(0, 30, (side, side)).astype(float)
        for x, y in points:
            image += 200 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 18)
        sample = {"points": dict(zip(NAMES, points, strict=True)), "name": f"p{number}", **more}
        found.append(ImageSample(np.clip(image, 0, 255).astype(np.uint8)[None], **sample))
    return found


def task_on(samples: list[ImageSample] | None = None, **more: Any) -> Any:
    data = pictures() if samples is None else samples
    return make_task(ID, data=data, **{"train_data": data, "window": 9, **more})


def test_each_action_changes_its_parameter_by_the_stage_s_step() -> None:
    task = task_on(modes=2)
    assert task.action_space.n == 12
    state = start(task)
    for action in range(12):
        after, _, _ = act(task, state, action)
        wanted = np.zeros(6)
        wanted[action // 2] = (5, -5)[action % 2]
        assert after.position[0].tolist() == wanted.tolist()
    right = task.points(state, act(task, state, 0).state.position) - task.points(state, state.position)
    assert np.allclose(right[0], [5 * 0.02 * state.size[0], 0])
    grown = task.points(state, act(task, state, 4).state.position)[0]
    before = task.points(state, state.position)[0]
    assert np.ptp(grown[:, 0]) / np.ptp(before[:, 0]) == pytest.approx(np.exp(0.1))


def test_rewards_are_hundredths_gained_and_telescope_within_a_stage() -> None:
    task = task_on(jitter=0.2)
    state = start(task)
    first, total = float(task.distance(state, state.position)[0]), 0.0
    for action in (0, 3, 5, 6):
        state, reward, _ = act(task, state, action)
        total += float(reward[0])
    assert total == pytest.approx(100 * (first - float(task.distance(state, state.position)[0])))


def test_a_move_out_of_bounds_is_not_made() -> None:
    task = task_on()
    state = at(task, position=np.array([58.0, *[0] * (len(task.reach) - 1)]))
    after, reward, _ = act(task, state, 0)
    assert reward[0] == -1 and after.outside[0] and np.allclose(after.position, state.position)


def test_the_true_pose_has_little_error_and_counts_as_such() -> None:
    task = task_on(normalizer=("a", "b"))
    state = start(task)
    gap = np.linalg.norm(state.truth[0, 0] - state.truth[0, 1])
    assert state.norm[0] == pytest.approx(gap)
    found = task.metrics(state)
    places = task.points(state, state.position)[0]
    nme = np.linalg.norm(places - state.truth[0], axis=1).mean() / gap
    assert found["nme"][0] == pytest.approx(nme) and found["auc"][0] == pytest.approx(max(1 - nme / 0.08, 0))


def test_a_start_without_jitter_fills_the_true_box() -> None:
    task = task_on(jitter=0.0)
    state = start(task)
    places = task.points(state, state.position)[0]
    true = state.truth[0]
    assert np.ptp(places, axis=0).max() == pytest.approx(np.ptp(true, axis=0).max(), rel=1e-6)


def test_images_that_lack_a_point_are_left_out_and_told_of() -> None:
    samples = pictures()
    bare = ImageSample(samples[0].image, points={"a": (10, 10)}, name="bare")
    with pytest.warns(UserWarning, match="1 images lack a point and are left out"):
        task = make_task(ID, data=[*samples, bare], train_data=samples, window=9)
    assert task.items == 12


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"scales": (1,)}, r"scales must have one entry a step size \(3\), got 1"),
        ({"target": ("a", "b", "tail")}, "data must have images with all of a, b, tail, got none"),
        ({"target": ("a", "a", "b")}, "target must name points that all images have, each once"),
        ({"target": ("a", "b")}, "target must be 3 or more values, each a string or None"),
        ({"target": "heart"}, "target must be 3 or more values, each a string or None, got 'heart'"),
        ({"normalizer": ("a", "tail")}, "normalizer must be two of the points, got tail"),
        ({"labelled": False, "train_data": None}, "train_data must be given where data has no labels"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task_on(**more)


def test_points_at_one_place_and_one_training_image_are_refused() -> None:
    flat = [ImageSample(s.image, points=dict.fromkeys(NAMES, (9.0, 9.0)), name=s.name) for s in pictures(3)]
    with pytest.raises(ValueError, match="must not all be at one place"):
        task_on(flat)
    with pytest.raises(ValueError, match="two or more with three points or more, got 1"):
        task_on(pictures(1))


def test_classical_methods_find_the_discs_and_write_places_of_the_image() -> None:
    samples = pictures(16, side=200)
    train, test = task_on(samples[:12]), task_on(samples[12:], train_data=samples[:12])
    errors = {}
    for name, row in BASELINES[ID].items():
        run = row.fit(train if row.learns else None)
        errors[name] = np.mean([task_error(test, run, item) for item in range(test.items)])
    assert errors["mean shape in the true box"] < errors["mean shape"]
    assert errors["cascaded regression"] < 0.6 * errors["mean shape"]
    end = run(test, start(test, item=0))
    found = test.result(batch.take(end, 0)).points
    assert np.abs(np.array(found["a"]) - samples[12].points["a"]).max() < 8


def task_error(task: Any, run: Any, item: int) -> float:
    return float(task.metrics(run(task, start(task, item=item)))["nme"][0])


def test_without_labels_a_box_says_where_to_start() -> None:
    samples = pictures()
    low, high = (
        np.array(list(samples[0].points.values())).min(axis=0),
        np.array(list(samples[0].points.values())).max(axis=0),
    )
    boxed = ImageSample(samples[0].image, boxes=np.array([[*(low + 0.5), *(high + 0.5)]]), name="boxed")
    task = task_on([boxed, ImageSample(samples[1].image, name="plain")], train_data=samples, labelled=False)
    assert task.items == 2
    places = np.array(list(task.result(batch.take(start(task, item=0), 0)).points.values()))
    assert np.abs(places.min(axis=0) - low).max() < 4
    assert task.draw(batch.take(start(task, item=1), 0)).ndim == 3


def test_a_model_without_modes_moves_turns_and_scales_alone() -> None:
    task = task_on(modes=0)
    state = start(task)
    assert task.action_space.n == 8 and task.model.modes.shape == (0, 5, 2)
    turned = task.points(state, act(task, state, 6).state.position)[0]
    assert np.isfinite(turned).all() and np.ptp(turned) > 1


def test_the_true_box_is_not_asked_of_images_without_labels() -> None:
    samples = pictures()
    new = task_on([ImageSample(samples[0].image, name="new")], train_data=samples, labelled=False)
    for name, row in BASELINES[ID].items():
        run = row.fit(task_on())
        if name == "mean shape in the true box":
            with pytest.raises(
                ValueError, match="images must have points for the mean shape in the true box"
            ):
                run(new, start(new))
        else:
            assert np.isfinite(new.points(run(new, start(new)), start(new).position)).all()
