"""AnomalyStream-v0: rewards, streams in training and evaluation, metrics over a split, new images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.envs.test_anomaly import SMALL, parts
from visionrl.baselines.anomaly_stream import with_answers
from visionrl.core import BASELINES, batch, make_task
from visionrl.core.testing import act, start

ID = "visionrl/AnomalyStream-v0"
PLACES = {"grid": SMALL["grid"], "cell": SMALL["cell"], "overview": SMALL["overview"]}


def task_of(**more: Any) -> Any:
    """The task on noise; every second image has a dent in cell 5 alone."""
    return make_task(ID, **{"data": parts(), **PLACES, **more})


def whole(**more: Any) -> Any:
    return task_of(defect_share=None, **more)


def test_answers_are_paid_by_the_truth() -> None:
    task = whole(miss_cost=2.0, alarm_cost=0.5)
    state = start(task, item=1)
    assert state.truth[0].tolist() == [int(cell == 5) for cell in range(16)]
    earned = []
    for answer in (1, 0, 0, 0, 0, 0):
        state, reward, over = act(task, state, answer)
        earned.append(float(reward[0]))
    assert earned == [-0.5, 0, 0, 0, 0, -2.0] and not over[0]
    other = start(task, item=1)
    for _ in range(5):
        other = act(task, other, 0).state
    assert task.action_gains(other)[0].tolist() == [-2.0, 1.0]
    assert act(task, other, 1).reward[0] == 1.0
    for _ in range(10):
        state = act(task, state, 0).state
    assert task.terminated(state)[0] and task.metrics(state)["accuracy"][0] == pytest.approx(14 / 16)


def test_training_streams_have_a_share_of_defects_from_all_images() -> None:
    task = task_of(length=4000, defect_share=0.25)
    state = start(task, item=3)
    assert state.truth[0, 1:].mean() == pytest.approx(0.25, abs=0.03) and state.stream[0, 0] // 16 == 3
    assert set(state.stream[0] // 16) == set(range(12))
    assert set(state.stream[0, 1:][state.truth[0, 1:] == 1] % 16) == {5}


def test_evaluation_and_new_images_go_through_one_image_row_by_row() -> None:
    task = whole()
    assert start(task, item=2).stream[0].tolist() == list(range(32, 48))
    new = [replace(one, labels=(), mask=None) for one in parts(2, seed=3)]
    task = make_task(ID, data=new, train_data=parts(), labelled=False, **PLACES)
    run = BASELINES[ID]["threshold on the detector"].fit(whole())
    found = [task.result(batch.take(run(task, start(task, item=item)), 0)) for item in range(2)]
    assert [one.label for one in found] == ["normal", "defect"]
    assert found[0].score < -70 < found[1].score and found[1].to_json()["place"] == [16, 16, 16, 16]
    assert task.draw(batch.take(start(task, item=1), 0)).ndim == 3


def test_pixels_and_scores_are_those_of_the_cell() -> None:
    task = whole()
    state = start(task, item=1)
    for cell in range(5):
        assert task.observe(state)["window"][0].mean() > 100, cell
        state = act(task, state, 0).state
    seen = task.observe(state)
    assert (
        seen["window"][0].mean() < 80
        and seen["score"][0, 0] == task.scores.array.reshape(-1, 16)[1].max() / 24
    )
    assert "score" not in whole(score=False).observe(start(task, item=1))


def test_metrics_of_a_split() -> None:
    task = whole()
    metric = task.dataset_metrics[0]
    start_ = batch.stack([task.sample(np.random.default_rng(0), item) for item in range(12)])
    right = metric.compute(metric.record(with_answers(start_, start_.truth)))
    assert right == {"precision": 1, "recall": 1, "f1": 1, "auroc": 1}
    every = metric.compute(metric.record(with_answers(start_, np.ones_like(start_.truth))))
    assert every["precision"] == pytest.approx(1 / 32) and every["recall"] == 1 and every["auroc"] == 0.5
    none = metric.compute(metric.record(with_answers(start_, 0 * start_.truth)))
    assert np.isnan(none["precision"]) and none["recall"] == 0 and none["f1"] == 0


def test_a_place_that_is_unknown_is_not_counted() -> None:
    task = whole(data=parts(known=False), train_data=parts())
    state = start(task, item=1)
    assert (state.truth == -1).all() and act(task, state, 1).reward[0] == 0 and task.expert(state)[0] == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"data": parts()[::2], "synthetic": "never", "train_data": parts()},
            "defect_share must be None where",
        ),
        ({"cell": 12}, "cell must be a multiple of 8"),
        ({"labelled": False}, "train_data must be given where data has no labels"),
        ({"length": 0}, "length must be a whole number >= 1"),
    ],
)
def test_what_gives_no_stream_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task_of(**more)
