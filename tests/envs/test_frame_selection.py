"""FrameSelection-v0: rewards, answers, the classifier of what was seen, and clips of the user."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from visionrl.banks.fourier_ridge import FOLDS
from visionrl.banks.frame_sets import frame_times, summarised
from visionrl.baselines.frame_selection import halving, until_sure
from visionrl.core import BASELINES, batch, make_task
from visionrl.core.testing import act, start
from visionrl.datasets import ClipSample

ID = "visionrl/FrameSelection-v0"


def clips(count: int = 24, length: int = 20, noise: float = 0.3, **more: Any) -> list[ClipSample]:
    """Clips of four features; the class is whether the first of them rises or falls."""
    rng, found = np.random.default_rng(0), []
    for number in range(count):
        rising = number % 2
        rows = rng.normal(0, noise, (length, 4)).astype(np.float32)
        rows[:, 0] += np.linspace(-1, 1, length) * (1 if rising else -1)
        label = ("down", "up")[rising]
        found.append(ClipSample(None, rows, label, name=f"c{number}", **more))
    return found


def test_positions_lie_at_equal_distances_and_a_short_clip_repeats_frames() -> None:
    times = frame_times(np.array([32, 16, 5, 1]), 16)
    assert times[0].tolist() == list(range(1, 32, 2)) and times[1].tolist() == list(range(16))
    assert times[2].min() == 0 and times[2].max() == 4 and len(set(times[2].tolist())) == 5
    assert not times[3].any()


def test_a_summary_is_mean_range_and_change_of_what_was_seen() -> None:
    features = np.array([[[1.0, 5.0], [9.0, 9.0], [4.0, 0.0], [2.0, 2.0]]])
    seen = np.array([[True, False, True, False]])
    assert summarised(features, seen)[0].tolist() == [2.5, 2.5, 3, 5, 3, -5]
    assert not summarised(features, ~seen & seen).any()
    assert summarised(features, np.array([[False, True, False, False]]))[0].tolist() == [9, 9, 0, 0, 0, 0]


def test_a_look_costs_and_the_right_class_earns_one() -> None:
    task = make_task(ID, data=clips())
    state = start(task, item=1)
    after, reward, over = act(task, state, 3)
    assert reward[0] == pytest.approx(-0.02) and not over[0] and after.taken[0, :2].tolist() == [8, 3]
    end, reward, over = act(task, after, task.positions + task.names.index("up"))
    assert reward[0] == 1 and over[0] and task.metrics(end)["frames"][0] == 2
    wrong, reward, over = act(task, after, task.positions + task.names.index("down"))
    assert reward[0] == 0 and over[0] and not task.metrics(wrong)["is_success"][0]


def test_one_frame_too_many_ends_without_an_answer() -> None:
    task = make_task(ID, data=clips(), budget=2)
    state, _, over = act(task, start(task), 0)
    assert not over[0] and not task.action_mask(state)[0, : task.positions].any()
    end, reward, over = act(task, state, 1)
    assert over[0] and reward[0] == 0 and end.said[0] == -1 and task.result(batch.take(end, 0)).label is None


def test_the_mask_forbids_what_was_seen_and_no_answer() -> None:
    task = make_task(ID, data=clips())
    mask = task.action_mask(act(task, start(task), 2).state)[0]
    assert np.flatnonzero(~mask).tolist() == [2, 8]


def test_margins_add_up_to_the_largest_and_the_classifier_answers() -> None:
    task = make_task(ID, preset="wu2019", data=clips())
    state, total = start(task), 0.0
    first = float(state.margin[0])
    for place in (0, 15, 7):
        state, reward, _ = act(task, state, place)
        total += float(reward[0])
        assert reward[0] >= 0
    assert total == pytest.approx(float(state.margin[0]) - first)
    end, reward, over = act(task, state, task.positions)
    assert over[0] and reward[0] == 0 and end.said[0] == state.scores[0].argmax()


def test_both_ends_tell_what_one_frame_does_not() -> None:
    task = make_task(ID, data=clips(40))
    state = batch.stack([task.sample(np.random.default_rng(0), item) for item in range(40)])
    one = (state.scores.argmax(axis=1) == task.labels.array).mean()
    for place in (0, 15):
        state = task.step(state, np.full(40, place))
    two = (state.scores.argmax(axis=1) == task.labels.array).mean()
    assert two >= 0.9 and one <= 0.75, "scores are of a classifier that has not learnt from the clip"
    assert np.bincount(task.fold.array).tolist() == [40 // FOLDS] * FOLDS
    assert np.allclose(state.scores.sum(axis=1), 1)


def test_the_expert_looks_at_the_ends_of_the_event() -> None:
    task = make_task(ID, data=clips(length=32, segments=[[6.0, 20.0]]))
    state = start(task)
    first = int(task.expert(state)[0])
    state = task.step(state, np.array([first]))
    second = int(task.expert(state)[0])
    times = frame_times(np.array([32]), 16)[0]
    assert times[first] < 6 <= times[first + 1] and times[second - 1] < 20 <= times[second]
    state = task.step(state, np.array([second]))
    assert task.expert(state)[0] == task.positions + task.labels.array[0]


def test_an_early_stop_takes_more_frames_where_it_must_be_surer() -> None:
    task = make_task(ID, data=clips())
    state = batch.stack([task.sample(np.random.default_rng(0), item) for item in range(task.items)])
    found = [
        task.metrics(until_sure(task, state, level, False))["frames"].mean() for level in (0.0, 0.9, 2.0)
    ]
    assert found[0] == 1 and found[0] < found[1] < found[2] == 16
    assert halving(16)[:3] == [8, 4, 12] and sorted(halving(16)) == list(range(16))


def test_new_clips_are_recognised_with_what_the_training_clips_taught() -> None:
    known = clips(40)
    new = [ClipSample(None, one.features, name=f"new {one.name}") for one in clips(6, noise=0.2)]
    task = make_task(ID, data=new, train_data=known, labelled=False)
    run = BASELINES[ID]["uniform 3"].fit(task)
    ends = [run(task, start(task, item=item)) for item in range(6)]
    found = [task.result(batch.take(end, 0)) for end in ends]
    assert [one.label for one in found] == ["down", "up"] * 3
    assert found[0].frames.tolist() == [3, 10, 16] and found[0].to_json()["looked_at"] == [3, 10, 16]


def test_frames_of_any_size_can_be_shown_and_glanced_at() -> None:
    rng = np.random.default_rng(0)
    shapes = [(20, 3, 12, 16), (9, 1, 30, 10)] * 3
    mixed = [
        ClipSample(rng.integers(0, 256, shape).astype(np.uint8), label="ab"[k % 2], name=str(k))
        for k, shape in enumerate(shapes)
    ]
    task = make_task(ID, data=mixed, window=8, glance=True, features=True)
    seen = task.observe(start(task, item=1))
    assert seen["window"].shape == (1, 3, 8, 8) and seen["glance"].shape == (1, 4 * 96)
    assert seen["features"].shape == (1, 3 * 96) and np.abs(seen["features"]).max() <= 5
    assert task.observation_space.contains({key: value[0] for key, value in seen.items()})


def test_a_class_with_one_clip_is_no_error() -> None:
    task = make_task(ID, data=[*clips(), ClipSample(None, np.ones((3, 4), np.float32), "odd", name="o")])
    assert task.names == ("down", "odd", "up") and np.isfinite(start(task, item=24).scores).all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"budget": 20}, r"budget must be <= positions \(16\), got 20"),
        ({"window": 16}, "window must be None where clips have features alone"),
        ({"data": clips(1)}, "must have two classes or more, got 'down' alone"),
        ({"data": [ClipSample(None, np.ones((4, 4), np.float32), name="x")]}, "must have label, 'x'"),
        ({"labelled": False}, "train_data must be given where data has no labels"),
        (
            {"data": [ClipSample(None, np.ones((4, 4), np.float32), "run", name="x")], "train_data": clips()},
            "label of 'x' must be of a training clip, down, up, got 'run'",
        ),
        (
            {"data": [ClipSample(None, np.ones((4, 5), np.float32), "up", name="x")], "train_data": clips()},
            "must be as many as the training clips', 4, got 5",
        ),
    ],
)
def test_what_cannot_be_recognised_is_refused(more: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(ID, **{"data": clips(), **more})
