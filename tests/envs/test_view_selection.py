"""ViewSelection-v0: rewards, the end, repeated cameras, captures of the user, what a made-up detector does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.test_triangulation import ring
from visionrl.banks.joint_detector import hidden, other_sides
from visionrl.core import BASELINES, batch, make_task
from visionrl.core.testing import act, at, start
from visionrl.datasets import ViewSample, load

ID = "visionrl/ViewSelection-v0"
NAMES = ("head", "left_hand", "right_hand", "hip", "foot")
BODY = np.array([[0, 0, 700.0], [300, 100, 300], [-300, 0, 300], [0, 0, 0], [50, 0, -800]])
LINKS = np.array([(0, 3), (3, 4)])


def capture(count: int = 6, **more: Any) -> ViewSample:
    """A body in the middle of a ring of cameras, found exactly where it is."""
    cameras = ring(count)
    seen = BODY @ cameras[:, :, :3].transpose(0, 2, 1) + cameras[:, None, :, 3]
    given: dict[str, Any] = {
        **{"cameras": cameras, "joint_names": NAMES, "detections": seen[..., :2] / seen[..., 2:]},
        **{"points": BODY, "resolution": (1000, 1000), "links": LINKS, "name": "body"},
    }
    return ViewSample(**{**given, **more})


def task_on(*samples: ViewSample, **more: Any) -> Any:
    return make_task(ID, data=list(samples or [capture()]), **{"budget": 4, **more})


def test_two_exact_views_find_the_points_and_the_reward_is_the_logarithm_of_the_share() -> None:
    task = task_on()
    state = start(task)
    after, reward, over = act(task, state, (int(state.taken[0, 0]) + 2) % 6)
    assert after.error[0] < 5 < 50 < state.error[0] and not over[0]
    assert reward[0] == pytest.approx(np.log(state.error[0] / after.error[0]) - 0.05)
    assert task.metrics(after)["pck"][0] == 1 and task.metrics(after)["views"][0] == 2


def test_shares_add_up_to_one_less_the_last_over_the_first_error() -> None:
    task = task_on(reward_type="share", view_cost=0.0, budget=5)
    state, total = start(task), 0.0
    for _ in range(4):
        view = int(np.flatnonzero(task.action_mask(state)[0, :-1])[0])
        state, reward, over = act(task, state, view)
        total += float(reward[0])
    assert over[0] and total == pytest.approx(1 - state.error[0] / state.start_error[0])


def test_done_ends_only_once_enough_cameras_are_seen() -> None:
    task = task_on(least=2, repeat_cost=2.5)
    state = start(task)
    assert not task.action_mask(state)[0, 6]
    early, reward, over = act(task, state, 6)
    assert not over[0] and early.step[0] == 2 and reward[0] == pytest.approx(-0.05 - 2.5)
    state, _, _ = act(task, state, (int(state.taken[0, 0]) + 1) % 6)
    assert task.action_mask(state)[0, 6]
    end, reward, over = act(task, state, 6)
    assert over[0] and reward[0] == 0 and end.step[0] == 2


def test_a_camera_seen_twice_costs_and_shows_nothing_and_the_budget_ends() -> None:
    task = task_on(repeat_cost=2.5, budget=3)
    state = start(task)
    first = int(state.taken[0, 0])
    again, reward, over = act(task, state, first)
    assert reward[0] == pytest.approx(-2.55) and not over[0] and np.allclose(again.pose, state.pose)
    _, _, over = act(task, again, first)
    assert over[0]


def test_a_capture_with_fewer_cameras_than_the_budget_ends_when_all_are_seen() -> None:
    task = task_on(capture(3), budget=8, least=5)
    state = start(task)
    for view in range(3):
        state, _, _ = act(task, state, view)
    assert task.action_mask(state)[0].tolist() == [False] * 3 + [True]
    assert act(task, state, 3).terminated[0]


def test_points_without_a_known_place_do_not_count() -> None:
    points = BODY.copy()
    points[4] = np.nan
    state = start(task := task_on(capture(points=points)))
    gap = np.linalg.norm(state.pose[0, :4] - state.points[0, :4], axis=1).mean()
    assert state.error[0] == pytest.approx(gap * task.bank.radii.array[0])


def test_cameras_and_points_can_be_chosen_and_small_captures_are_filled() -> None:
    named = capture(camera_names=("a0", "a1", "a2", "b0", "b1", "b2"))
    task = task_on(named, cameras="a", target=("foot", "hip"), budget=3)
    assert task.action_space.n == 4 and task.names == ("foot", "hip")
    assert task.samples[0].links.tolist() == [[1, 0]]
    both = task_on(capture(), capture(4, name="small"))
    mask = both.action_mask(start(both, item=1))[0]
    assert not mask[4:6].any() and mask[:4].sum() == 3
    state = start(both, item=1)
    after, _, _ = act(both, state, 5)
    assert after.step[0] == 2 and np.allclose(after.pose, state.pose)


def test_the_expert_takes_the_best_camera_and_beats_chance() -> None:
    rng = np.random.default_rng(0)
    noisy = capture()
    places = noisy.detections + rng.normal(0, 15, noisy.detections.shape)
    task = task_on(capture(detections=places))
    state = start(task)
    gains = task.action_gains(state)[0]
    assert int(task.expert(state)[0]) == int(gains.argmax())
    for view in range(6):
        _, reward, _ = act(task, state, view)
        assert reward[0] == pytest.approx(gains[view])


def test_a_limb_between_camera_and_joint_hides_it() -> None:
    points = np.array([[0.0, 0, 0], [-100, 500, 0], [100, 500, 0]])
    links = np.array([(1, 2)])
    seen_from = np.array([[0.0, 2000, 0], [0, -2000, 0]])
    assert hidden(points, seen_from, links).tolist() == [[True, False, False], [False, False, False]]
    assert other_sides(("left_hand", "right_hand", "head", "left_foot")).tolist() == [1, 0, 2, 3]


def test_true_points_alone_are_detected_anew_in_each_episode() -> None:
    task = task_on(capture(detections=None))
    first, second = start(task, seed=0), start(task, seed=1)
    assert not np.allclose(first.places, second.places) and not np.allclose(first.points, second.points)
    gaps = [np.linalg.norm(s.points[0] - s.points[0].mean(axis=0), axis=1) for s in (first, second)]
    assert np.allclose(*gaps)  # it is the same body, turned


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"cameras": ring(6)[:1]}, "cameras must be 2 or more, got 1"),
        ({"cameras": np.zeros((6, 3, 4))}, "camera 0: must not be singular"),
        ({"points": BODY + np.array([0, 0, 9000])}, "points must lie before all cameras"),
        ({"points": np.full((5, 3), np.nan)}, "all are NaN"),
        ({"detections": np.full((6, 5, 2), np.nan)}, "one place or more"),
        ({"detections": np.zeros((6, 4, 2))}, r"detections must be \(cameras, points, 2\)"),
        ({"scores": np.full((6, 5), 2.0)}, r"scores must be in \[0, 1\], got 2"),
        ({"detections": None, "points": None}, "detections or points must be given"),
        ({"joint_names": ("a",) * 5}, "joint_names must be one or more words, none twice"),
        ({"links": [(0, 9)]}, "links must be"),
        ({"resolution": (0, 9)}, "resolution must be"),
        ({"camera_names": ("a", "b")}, "camera_names must be one a camera"),
        ({"detector_px": 0.0}, "detector_px must be finite and > 0, got 0.0"),
    ],
)
def test_bad_captures_are_refused_by_name(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task_on(capture(**more))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"least": 5}, r"least must be <= budget \(4\), got 5"),
        ({"offered": 4}, r"offered must be >= the cameras of a capture \(6\), got 4"),
        ({"target": "tail"}, "target must be among head"),
        ({"cameras": "x"}, "cameras must be the beginning of two names"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task_on(**more)


def test_without_labels_detections_are_needed_and_a_pose_comes_out() -> None:
    with pytest.raises(ValueError, match="samples must have detections"):
        task_on(capture(detections=None), labelled=False)
    task = task_on(capture(points=None), labelled=False)
    state = start(task)
    for name, row in BASELINES[ID].items():
        end = row.fit(task_on() if row.learns else None)(task, state)
        if name != "all cameras":
            found = task.result(batch.take(end, 0))
            assert np.abs(found.points_mm - BODY).max() < 20 and len(found.cameras) == 4, name
    assert task.draw(batch.take(end, 0)).shape == (300, 600, 3)


def test_the_embedded_captures_err_by_what_overlaps() -> None:
    samples = load(None, kind=ViewSample, default="c-arm-views", split="val")
    gaps = []
    for sample in samples:
        seen = sample.points @ sample.cameras[:, :, :3].transpose(0, 2, 1) + sample.cameras[:, None, :, 3]
        gaps.append(np.linalg.norm(sample.detections - seen[..., :2] / seen[..., 2:], axis=-1))
    assert 1 < np.nanmedian(gaps) < 5 < np.nanmax(gaps)


def test_a_row_can_be_put_anywhere() -> None:
    state = at(task_on(), step=np.int64(3))
    assert state.step[0] == 3
