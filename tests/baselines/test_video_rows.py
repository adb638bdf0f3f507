"""Classical summaries and ways to fast-forward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from visionrl.baselines.video import clusters, jumps
from visionrl.core import BASELINES, batch, make_task
from visionrl.core.testing import start
from visionrl.datasets import ClipSample

SUMMARY, FORWARD = "visionrl/VideoSummarization-v0", "visionrl/FastForward-v0"


def shots(count: int = 4, length: int = 20) -> ClipSample:
    """Return a clip of features: shots that differ, with movement in the second, which people like."""
    rng = np.random.default_rng(0)
    rows = np.repeat(np.eye(count, 6), length, axis=0) + rng.normal(0, 0.01, (count * length, 6))
    rows[length : 2 * length, 5] += 0.3 * (-1.0) ** np.arange(length)
    scores = rng.normal(0, 0.1, (3, count * length))
    scores[:, length : 2 * length] += 2
    moved = [[float(length), 2.0 * length]]
    return ClipSample(features=rows, scores=scores, segments=moved, fps=1.0, name="shots")


def run(task: Any, name: str) -> Any:
    """Return the last state of a row."""
    row = BASELINES[f"visionrl/{task_name(task)}"][name]
    return row.fit(task if row.learns else None)(task, start(task))


def task_name(task: Any) -> str:
    """Return the name of the id."""
    return f"{type(task).__name__}-v0"


@pytest.mark.parametrize("name", BASELINES[SUMMARY])
def test_each_summary_keeps_to_the_budget_and_scores_every_piece(name: str) -> None:
    task = make_task(SUMMARY, data=[shots()], budget=0.2, seconds=2.0)
    end = run(task, name)
    assert task.terminated(end)[0] and task.metrics(end)["kept"][0] == pytest.approx(0.2)
    assert np.isfinite(end.scores).all() and len(task.result(batch.take(end, 0)).frames) == 16


def test_one_piece_of_each_shot_is_kept_by_the_clusters() -> None:
    task = make_task(SUMMARY, data=[shots()], budget=0.1, seconds=2.0)
    for name in ("k-means", "VSUMM", "uniform"):
        kept = np.flatnonzero(run(task, name).kept[0]) // 10
        assert len(set(kept.tolist())) == 4, name


def test_movement_and_regression_find_what_people_like() -> None:
    task = make_task(SUMMARY, data=[shots()], budget=0.2, seconds=2.0)
    for name in ("motion energy", "ridge regression", "mean of the people"):
        kept = np.flatnonzero(run(task, name).kept[0])
        assert ((kept >= 10) & (kept < 20)).sum() >= 6, f"{name}; a cut moves, too"
    assert abs(task.metrics(run(task, "constant"))["tau"][0]) == 0


def test_clusters_of_points_are_those_one_sees() -> None:
    points = np.array([[0.0, 0], [0, 1], [9, 9], [9, 8]])
    label, far = clusters(points, 2)
    assert label[0] == label[1] != label[2] == label[3] and np.allclose(far, 0.5)


def test_slow_jumps_follow_changes() -> None:
    rows = np.zeros((30, 1))
    rows[10:16, 0] = [1, 2, 3, 4, 5, 6]
    assert jumps(rows, 1, 5, 0.5).tolist() == [0, 5, 10, 11, 12, 13, 14, 15, 16, 17, 22, 27]


@pytest.mark.parametrize("name", BASELINES[FORWARD])
def test_each_row_sees_frames_of_the_clip(name: str) -> None:
    task = make_task(FORWARD, data=[shots()])
    end = run(task, name)
    found = task.metrics(end)
    assert task.terminated(end)[0] and 0 < found["processed"][0] <= 0.2


def test_the_people_are_not_known_without_labels() -> None:
    task = make_task(SUMMARY, data=[shots()], labelled=False)
    with pytest.raises(ValueError, match="must be given samples with scores"):
        run(task, "mean of the people")
