"""TemporalDetection-v0: moves, looks, what is emitted and what it earns, and clips of the user."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from visionrl.banks.windows import nearest_seen, window_places
from visionrl.core import BASELINES, batch, make_task
from visionrl.core.testing import act, at, start
from visionrl.datasets import ClipSample
from visionrl.datasets.embedded.motion_films import REST, MotionFilms
from visionrl.envs.video.window_controls import EMIT, RESTART, STOP, MoveControl

ID = "visionrl/TemporalDetection-v0"
EARLIER, LATER, GROW, SHRINK, FIRST, LAST = range(6)


def clips(count: int = 16, length: int = 64, **more: Any) -> list[ClipSample]:
    """Clips of four features at rest, but for one rise ("up") or fall ("down") of the first, and one of the second."""
    rng, found = np.random.default_rng(0), []
    for number in range(count):
        rows = rng.normal(0, 0.02, (length, 4)).astype(np.float32)
        first, second = int(rng.integers(4, 16)), int(rng.integers(36, 48))
        kinds = ("up", "down") if number % 2 else ("down", "up")
        for column, (begin, kind) in enumerate(zip((first, second), kinds, strict=True)):
            done = np.clip((np.arange(length) - begin + 1) / 10, 0, 1)
            rows[:, column] += 2 * done * (1 if kind == "up" else -1)
        segments = np.array([[first, first + 10], [second, second + 10]], float)
        sample = ClipSample(None, rows, segments=segments, segment_labels=kinds, fps=4.0, name=f"c{number}")
        found.append(sample)
    return found


def windows_after(task: Any, state: Any, *actions: int) -> list[list[float]]:
    """The windows after actions in a row."""
    found = []
    for action in actions:
        state = task.step(state, np.array([action]))
        found.append(state.window[0].round(3).tolist())
    return found


def test_moves_are_shares_of_the_window_and_stay_in_the_clip() -> None:
    task = make_task(ID, data=clips())
    state = start(task)
    assert state.window[0].tolist() == [0, 64]
    assert windows_after(task, state, FIRST, LATER, SHRINK) == [[0, 32], [8, 40], [13.333, 34.667]]
    assert windows_after(task, state, LAST, LATER, GROW, RESTART) == [[32, 64], [32, 64], [16, 64], [0, 64]]
    assert windows_after(task, state, FIRST, FIRST, FIRST, FIRST, FIRST)[-2:] == [[0, 4], [0, 4]]
    assert windows_after(task, state, FIRST, EARLIER) == [[0, 32], [0, 32]]


def test_looks_go_to_places_of_the_window_that_are_far_from_all_seen() -> None:
    task = make_task(ID, data=clips(), jitter=0.0)
    state = start(task)
    assert state.looks[0, :9].tolist() == [4, 12, 20, 28, 36, 44, 52, 60, -1]
    after = task.step(state, np.array([FIRST]))
    new = after.looks[0, 8:][after.looks[0, 8:] >= 0]
    assert 4 <= len(new) <= 8 and (new < 32).all(), "only in the window"
    again = task.step(after, np.array([RESTART]))
    assert (again.looks == after.looks).all(), "all of it has been seen as finely"


def test_places_are_shifted_from_episode_to_episode_by_half_their_distance_at_most() -> None:
    task = make_task(ID, data=clips())
    state = start(task, rows=20, item=0)
    shifted = state.looks[:, :8] - np.arange(4, 64, 8)
    assert shifted.min() >= -4 and shifted.max() <= 4 and len(np.unique(shifted[:, 0])) > 3
    assert type(task).evaluation == {"jitter": 0.0}


def test_the_budget_ends_the_looks_and_not_the_episode() -> None:
    task = make_task(ID, data=clips(), budget=10)
    state = start(task)
    for action in (FIRST, FIRST, LATER, SHRINK):
        state, _, over = act(task, state, action)
    assert (state.looks >= 0).all() and not over[0] and task.metrics(state)["frames"][0] == 10 / 64


def test_nearest_frames_are_of_those_seen_alone() -> None:
    looks = np.array([[4, 20, -1, -1]])
    times, far = nearest_seen(looks, np.array([[0.0, 11.0, 12.0, 19.0]]))
    assert times[0].tolist() == [4, 4, 4, 20] and far[0].tolist() == [4, 7, 8, 1]
    places = window_places(np.array([[8.0, 16.0]]), 4, 1)
    assert places[0].tolist() == [7, 9, 11, 13, 15, 17]


def test_the_observation_does_not_depend_on_frames_that_were_not_seen() -> None:
    known = clips()
    other = [
        ClipSample(None, s.features.copy(), segments=s.segments, segment_labels=s.segment_labels, name=s.name)
        for s in known
    ]
    taught = clips(24)
    seen = start(make_task(ID, data=known, train_data=taught), item=3).looks[0]
    other[3].features[np.setdiff1d(np.arange(64), seen)] += 5
    tasks = [make_task(ID, data=data, train_data=taught) for data in (known, other)]
    told = [task.observe(start(task, item=3)) for task in tasks]
    for key, value in told[0].items():
        assert np.array_equal(value, told[1][key]), key


def test_a_good_segment_earns_its_class_and_a_bad_one_costs() -> None:
    task = make_task(ID, data=clips(), frame_cost=0.0)
    truth = task.truth.array[1]
    scores = np.zeros((1, 3))
    scores[0, task.kinds.array[1, 0]] = 0.9
    state = at(task, start(task, item=1), window=truth[:1], scores=scores)
    before = task.progress(state)[0]
    after, reward, over = act(task, state, EMIT)
    assert before == pytest.approx(1) and not over[0]
    assert after.found[0, 0].tolist() == [*truth[0].tolist(), 0.9] and after.fits[0].tolist() == [True, False]
    assert reward[0] == pytest.approx(1 + 10 / 64), "the class, and the whole clip's overlap with the other"
    twice = at(task, after, window=truth[:1], scores=scores)
    _, reward, _ = act(task, twice, EMIT)
    assert reward[0] == pytest.approx(-0.2 + 10 / 64), "it was found already"
    wrong = at(task, state, scores=np.array([[0.9, 0.9, 0.0]]) * (1 - scores / 0.9 * np.array([1, 1, 0])))
    after, reward, _ = act(task, wrong, EMIT)
    assert after.fits[0, 0] and after.right[0] == 0 and reward[0] == pytest.approx(-0.2 + 10 / 64)


def test_overlap_gained_adds_up_and_new_frames_cost() -> None:
    task = make_task(ID, data=clips())
    state = start(task, item=2)
    first, total, looks = float(task.progress(state)[0]), 0.0, int((state.looks >= 0).sum())
    for action in (FIRST, LATER, SHRINK, EARLIER, GROW, LAST):
        state, reward, _ = act(task, state, action)
        total += float(reward[0])
    used = int((state.looks >= 0).sum()) - looks
    assert used > 0 and total == pytest.approx(float(task.progress(state)[0]) - first - 0.01 * used)


def test_the_expert_finds_all_and_stops() -> None:
    task = make_task(ID, data=clips())
    state = batch.stack([task.sample(np.random.default_rng(0), item) for item in range(task.items)])
    for _ in range(task.longest):
        state = task.step(state, task.expert(state))
    found = task.metrics(state)
    assert found["is_success"].all() and (found["found"] == 2).all() and found["frames"].max() <= 0.75
    assert task.dataset_metrics[0].compute(task.dataset_metrics[0].record(state))["map_50"] >= 0.9


def test_a_clip_without_segments_is_solved_by_a_stop() -> None:
    empty = ClipSample(None, np.zeros((40, 4), np.float32), segments=np.zeros((0, 2)), name="empty")
    task = make_task(ID, data=[*clips(), empty])
    state = start(task, item=16)
    assert task.expert(state)[0] == STOP
    end, reward, over = act(task, state, STOP)
    assert over[0] and reward[0] == 0 and task.metrics(end)["is_success"][0]


def test_the_papers_rewards_come_at_the_end() -> None:
    task = make_task(ID, preset="yeung2016", data=clips(length=64))
    assert task.items == 32 and task.parts.array[1].tolist() == [32, 64]
    state, rewards = start(task, item=0), []
    nothing = np.array([[0.0, -1, 1, -1, -1]], np.float32)
    while not state.finished[0]:
        state, reward, _ = act(task, state, nothing[0])
        rewards.append(float(reward[0]))
    assert rewards == [0.0] * 5 + [-10.0], "all were missed, after six glimpses more than the first"
    state = start(task, item=0)
    good = task.expert(state)
    total = 0.0
    for number in range(6):
        before, action = state, good if number == 0 else nothing
        state = task.step(before, action)
        total += float(task.reward(before, action, state)[0])
    right = state.right[0]
    assert state.fits[0, 0] and total == pytest.approx(1.0 if right else -10.1)
    assert (state.looks >= 0).sum() <= 7


def test_a_stated_segment_may_be_turned_round_and_is_four_frames_long_at_least() -> None:
    task = make_task(ID, preset="yeung2016", data=clips())
    state = start(task, item=0)
    after = task.step(state, np.array([[0.0, 0.5, -0.5, 0.2, 1.0]], np.float32))
    assert after.window[0].tolist() == [8, 24] and after.found[0, 0, :2].tolist() == [8, 24]
    after = task.step(state, np.array([[1.0, 1.0, 1.0, 0.2, -1.0]], np.float32))
    assert after.window[0].tolist() == [28, 32] and after.looks[0, 1] == 31 and np.isnan(after.found).all()


def test_a_segment_cut_by_a_part_counts_where_most_of_it_lies() -> None:
    one = clips(1)[0]
    cut = ClipSample(None, one.features, segments=[[28.0, 38.0]], segment_labels=("up",), fps=4.0, name="cut")
    task = make_task(ID, data=[*clips(), cut], chunk=32)
    assert task.truth.array[33, 0].tolist() == [32, 38] and (task.kinds.array[32] == -1).all()


def test_segments_without_names_are_of_one_class() -> None:
    plain = [ClipSample(None, s.features, segments=s.segments, name=s.name) for s in clips()]
    task = make_task(ID, data=plain)
    assert task.names == ("action",) and start(task).scores.shape == (1, 2)


def test_new_clips_are_searched_with_what_the_training_clips_taught() -> None:
    known = clips(24)
    new = [ClipSample(None, one.features, fps=4.0, name=f"new {one.name}") for one in known[:4]]
    task = make_task(ID, data=new, train_data=known, labelled=False)
    teacher = make_task(ID, data=known)
    run = BASELINES[ID]["sliding windows, 1 in 2"].fit(teacher)
    for number, one in enumerate(known[:4]):
        end = run(task, start(task, item=number))
        found = task.result(batch.take(end, 0))
        best = np.argsort(-found.scores)[:2]
        order = best[np.argsort(found.segments[best, 0])]
        assert [found.labels[k] for k in order] == list(one.segment_labels)
        assert np.abs(found.segments[order] - one.segments).max() <= 4
        assert len(found.frames) == 32 and found.to_json()["segments"][0]["segment"][1] <= 16


def test_rows_of_all_methods_see_what_they_say() -> None:
    longer = [replace(one, name=f"{one.name} longer") for one in clips(8, 80)]
    task = make_task(ID, data=[*clips(8), *longer])
    shares = {}
    for name, method in BASELINES[ID].items():
        run = method.fit(task)
        ends = [run(task, start(task, item=item)) for item in (0, 1, 8, 9)]
        joined = batch.stack([batch.take(end, 0) for end in ends])  # as evaluation does
        shares[name] = task.metrics(joined)["frames"].tolist()
    assert shares["sliding windows, all frames"] == [1] * 4
    assert shares["sliding windows, 1 in 4"] == [0.25] * 4
    assert shares["whole clip"] == shares["mean segment"] == [8 / 64, 8 / 64, 8 / 80, 8 / 80]


def test_masks_forbid_moves_that_change_nothing() -> None:
    task = make_task(ID, data=clips())
    mask = task.action_mask(start(task))[0]
    assert mask.tolist() == [False, False, False, True, True, True, False, True, True]
    least = at(task, window=(0.0, 4.0))
    assert (
        not task.action_mask(least)[0, [EARLIER, SHRINK, FIRST]].any() and task.action_mask(least)[0, LATER]
    )
    with pytest.raises(ValueError, match="control must be 'moves' for masks"):
        task = make_task(ID, preset="yeung2016", data=clips())
        task.action_mask(start(task))


def test_the_expert_prefers_a_restart_to_being_stuck() -> None:
    control = MoveControl(8)
    part, far = np.array([[0.0, 64.0]]), np.array([[0.0, 4.0]])
    action = control.toward(far, part, np.array([[50.0, 60.0]]), np.ones(1, bool))
    assert action[0] in (LATER, GROW, RESTART)


def test_motion_films_have_rest_about_every_motion() -> None:
    films = MotionFilms("val", 12)
    for film in films:
        edges = np.concatenate([[0.0], film.segments.ravel(), [len(film)]])
        assert (np.diff(edges)[::2] >= REST).all() and len(film.segment_labels) == len(film.segments) <= 3
        assert film.frames.shape == (len(film), 3, 40, 40) and 96 <= len(film) <= 144
        change = np.abs(np.diff(film.frames.astype(float), axis=0)).mean(axis=(1, 2, 3))
        within = np.zeros(len(film), bool)
        for first, last in film.segments.astype(int):
            within[first:last] = True
        if within.any():
            assert change[within[1:]].mean() > change[~within[1:]].mean()
    assert np.array_equal(MotionFilms("val", 2)[1].frames, MotionFilms("val", 5)[1].frames)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segments": [[9.0, 4.0]]}, "segment 0: start must be < end, got 9 and 4"),
        ({"segments": [[9.0, 70.0]]}, "segment 0: a segment must lie within the 64 frames, got 9 to 70"),
        (
            {"segments": [[20.0, 30.0], [5.0, 21.0]], "segment_labels": ("up", "up")},
            "segments of one class must not overlap, 'bad' has 'up' from 5 to 21 and from 20 to 30",
        ),
        ({"segments": None}, "samples must have segments, 'bad' has none"),
    ],
)
def test_segments_that_make_no_sense_are_refused(change: dict, message: str) -> None:
    bad = ClipSample(None, np.zeros((64, 4), np.float32), **change, name="bad")
    with pytest.raises(ValueError, match=message):
        make_task(ID, data=[*clips(), bad])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"labelled": False}, "train_data must be given where data has no labels"),
        ({"budget": 1}, r"budget must be a whole number in \[2, 512\], got 1"),
        (
            {
                "train_data": [s for s in clips() if s.segment_labels[0] == "x"] or clips(),
                "data": "wrong kind",
            },
            "wrong kind",
        ),
    ],
)
def test_arguments_that_make_no_sense_are_refused(more: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(ID, **{"data": clips(), **more})


def test_a_class_that_no_training_clip_has_is_refused() -> None:
    odd = ClipSample(
        None, np.zeros((64, 4), np.float32), segments=[[1.0, 9.0]], segment_labels=("jump",), name="odd"
    )
    with pytest.raises(
        ValueError, match="segment_labels of 'odd' must be of a training clip, down, up, got 'jump'"
    ):
        make_task(ID, data=[odd], train_data=clips())
    with pytest.raises(ValueError, match="training clips must have a segment or more, got none in 1 clips"):
        none = ClipSample(None, np.zeros((64, 4), np.float32), segments=np.zeros((0, 2)), name="none")
        make_task(ID, data=[none])
    other = ClipSample(
        None, np.zeros((64, 5), np.float32), segments=[[1.0, 9.0]], segment_labels=("up",), name="o"
    )
    with (
        pytest.raises(ValueError, match="must be as many as the training clips', 4, got 5"),
        warnings.catch_warnings(),
    ):
        make_task(ID, data=[other], train_data=clips())
