"""FastForward-v0: coverage, rewards, both controls, and clips of the user."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from visionrl.banks.events import important_frames
from visionrl.core import batch, make_task
from visionrl.core.testing import act, start
from visionrl.datasets import ClipSample

ID = "visionrl/FastForward-v0"


def clip(count: int = 60, **more: Any) -> ClipSample:
    """Return a clip of noise with an event from frame 20 to 29."""
    frames = np.random.default_rng(count).integers(0, 256, (count, 1, 6, 6)).astype(np.uint8)
    return ClipSample(**{"frames": frames, "segments": [[20.0, 30.0]], "name": "a", **more})


@pytest.mark.parametrize("tolerance", [0, 1, 2])
def test_coverage_is_that_of_the_frames_seen_and_rewards_are_its_gains(tolerance: int) -> None:
    task = make_task(ID, data=[clip(), clip(45, name="b")], tolerance=tolerance, longest=7)
    rng, state = np.random.default_rng(tolerance), start(task, rows=4)
    total, seen = np.zeros(4), np.zeros(4)
    while not task.terminated(state).all():
        after, reward, _ = act(task, state, rng.integers(0, 7, 4))
        total, seen = total + reward, seen + (after.seen.sum(axis=1) - state.seen.sum(axis=1))
        state = after
    found = task.metrics(state)
    for row, number in enumerate(state.clip):
        length = len(task.samples[number])
        important, seen_times = range(20, 30), np.flatnonzero(state.seen[row, :length])
        near = [np.abs(seen_times - time).min() <= tolerance for time in important]
        assert found["coverage"][row] == np.mean(near)
        assert found["processed"][row] == pytest.approx(state.seen[row].sum() / length)
        covered = found["coverage"][row] * 10 / (2 * tolerance + 1)
        assert total[row] == pytest.approx(covered - task.frame_cost * seen[row])


def test_jumps_pay_by_what_they_miss_and_where_they_land() -> None:
    task = make_task(ID, preset="lan2018", data=[clip()])
    _, far, _ = act(task, start(task), 9)  # to frame 10: 9 unimportant ones are skipped
    assert far[0] == pytest.approx(0.8 * 9 / 25)
    _, into, _ = act(task, start(task), 24)  # to frame 25: misses 5, skips 19, lands in the middle
    assert into[0] == pytest.approx((0.8 * 19 - 5) / 25 + 1, abs=1e-3)


def test_a_jump_beyond_the_end_ends_the_episode() -> None:
    task = make_task(ID, data=[clip(10, segments=[[1.0, 2.0]])])
    after, reward, over = act(task, start(task), 24)
    assert over[0] and reward[0] == 0 and after.time[0] == 10 and after.seen.sum() == 1
    still = task.step(after, np.array([3]))
    assert still.time[0] == 10 and task.reward(after, np.array([3]), still)[0] == 0


def test_a_speed_grows_faster_and_faster() -> None:
    task = make_task(ID, preset="ramos2020", data=[clip(120)])
    state, times = start(task), []
    for action in (2, 2, 2, 1, 0, 0):
        state = task.step(state, np.array([action]))
        times.append(int(state.time[0]))
    assert np.diff([0, *times]).tolist() == [2, 4, 7, 7, 3, 1]


def test_the_expert_covers_all_at_the_fewest_frames() -> None:
    task = make_task(ID, data=[clip()], frame_cost=0.1)
    state = start(task)
    while not task.terminated(state).all():
        state = task.step(state, task.expert(state))
    found = task.metrics(state)
    assert found["coverage"][0] == 1 and state.seen.sum() == 6, (
        "the first, four in the event, and one on the way to the end"
    )


def test_without_important_frames_the_coverage_is_one() -> None:
    task = make_task(ID, data=[clip(segments=np.zeros((0, 2)))])
    assert task.metrics(start(task))["coverage"][0] == 1


def test_scores_of_people_stand_for_segments() -> None:
    scores = np.zeros((2, 40))
    scores[:, 10:16] = 1
    assert np.flatnonzero(important_frames(ClipSample(np.zeros((40, 1, 2, 2)), scores=scores))).tolist() == [
        *range(10, 16)
    ]


def test_clips_without_segments_and_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="samples must have segments or scores, 'a' has neither"):
        make_task(ID, data=[clip(segments=None)])


def test_a_clip_without_labels_gives_the_frames_that_were_seen() -> None:
    task = make_task(ID, data=[clip(segments=None)], labelled=False)
    state = start(task)
    while not task.terminated(state).all():
        state = task.step(state, np.array([19]))
    found = task.result(batch.take(state, 0))
    assert found.to_json() == {"frames": 60, "fps": None, "kept": [0, 20, 40]}
    assert task.draw(batch.take(state, 0)).ndim == 3
