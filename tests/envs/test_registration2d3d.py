"""Registration of a CT with an X-ray: the geometry of the C-arm, what moves, what is measured, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from visionrl.banks.c_arm import Geometry, exposed
from visionrl.baselines.registration import correlation
from visionrl.core import BASELINES, batch, make_task
from visionrl.datasets import VolumeSample
from visionrl.envs.registration.controls import oscillates, remember
from visionrl.envs.registration.proposals import block_means
from visionrl.ops import transforms
from visionrl.ops.transforms import move_pose, pose_in_reach, pose_residual

ID = "visionrl/Registration2D3D-v0"
REST = np.eye(3, 4)[None]


def body(**kwargs):
    """A volume of 200 mm with a ball on the patient's left, near his back and head, and a rod before him."""
    z, y, x = np.indices((40, 40, 40)) - 19.5
    volume = np.full((40, 40, 40), 40.0)
    volume[(x - 8) ** 2 + (y - 8) ** 2 + (z - 8) ** 2 < 16] = 255
    volume[(np.abs(x + 6) < 2) & (np.abs(y + 8) < 2)] = 200
    points = {"ball": (27.5, 27.5, 27.5), "a": (10, 10, 5), "b": (30, 5, 20), "c": (5, 30, 30)}
    return VolumeSample(volume.astype(np.uint8)[None], (5.0, 5.0, 5.0), points, **kwargs)


def task(**kwargs):
    return make_task(ID, data=[body()], **{"size": 48, "pixel_mm": 8.0, **kwargs})


def start(made, seed=0):
    return batch.stack([made.sample(np.random.default_rng(seed), 0)])


def test_moves_add_up_and_turn_about_the_middle():
    rng = np.random.default_rng(0)
    pose = transforms.to_matrix(rng.uniform(-15, 15, (32, 6)), "rigid", 3)
    numbers = rng.uniform(-15, 15, (32, 6))
    after = move_pose(pose, numbers)
    np.testing.assert_allclose(pose_residual(pose, after), numbers, atol=1e-9)
    np.testing.assert_allclose(after[:, :, 3] - pose[:, :, 3], numbers[:, :3], atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(after[:, :, :3]), 1.0)
    assert pose_in_reach(pose).all()
    assert not pose_in_reach(move_pose(REST, np.array([[0.0, 0, 81, 0, 0, 0]])))[0]
    assert not pose_in_reach(move_pose(REST, np.array([[0.0, 0, 0, 0, 46, 0]])))[0]


@pytest.mark.parametrize("view", [0, 1, 2])
def test_a_ball_is_seen_where_it_is_projected(view):
    made = task(views=(0.0, 90.0, -30.0))
    pose = move_pose(REST, np.array([[10.0, -15, 5, 10, -5, 8]]))
    seen = made.bank.thickness(np.array([0]), pose)[0, view]
    sample = body()
    plain = replace(sample, volume=np.minimum(sample.volume, 200))
    without = make_task(ID, data=[plain], size=48, pixel_mm=8.0, views=(0.0, 90.0, -30.0))
    ball = seen * made.bank.full.array[0] - (
        without.bank.thickness(np.array([0]), pose)[0, view] * without.bank.full.array[0]
    )
    row, column = np.indices(ball.shape)
    centre = np.array([(ball * column).sum(), (ball * row).sum()]) / ball.sum()
    place = transforms.carry(pose, np.full((1, 1, 3), 40.0))[0]
    wanted = made.bank.geometry.project(view, place)[0]
    np.testing.assert_allclose(centre, wanted, atol=0.15)


def test_sides_of_the_picture():
    made = task()
    place = made.bank.geometry.project(0, np.array([[50.0, 0, 50]]))[0]
    assert place[0] > 24  # the patient's left is on the right
    assert place[1] < 23  # the head is up
    assert Geometry(700, 300, 6.4, 64, (0.0, 90.0)).across(1) == "x"


def test_errors_and_rewards_by_hand():
    made = task(control="unit")
    state = replace(start(made), target=REST, pose=REST)
    moved = replace(state, pose=move_pose(REST, np.array([[0.0, 30, 0, 0, 0, 0]])))
    found = made.metrics(moved)
    assert found["mtre_mm"][0] == pytest.approx(30)
    assert found["reprojection_mm"][0] < 5  # mostly depth
    assert not found["is_success"][0]
    across = replace(state, pose=move_pose(REST, np.array([[0.0, 0, 4, 0, 0, 0]])))
    assert made.metrics(across)["reprojection_mm"][0] == pytest.approx(4, abs=0.1)
    assert made.metrics(across)["is_success"][0]
    closer = np.array([3])  # back along y by a millimetre
    after = made.step(moved, closer)
    assert made.reward(moved, closer, after)[0] == pytest.approx(1 / made.success_radius)
    assert made.expert(moved)[0] == 3


def test_x_rays_are_renders_where_nothing_changes():
    made = task(intensity_jitter=0.0)
    state = start(made)
    np.testing.assert_array_equal(state.xray, made.bank.renders(state.image, state.target))
    other = start(task(intensity_jitter=1.0))
    assert np.abs(other.xray.astype(int) - state.xray).mean() > 2
    rng, thickness = np.random.default_rng(0), np.full((2, 16, 16), 0.5)
    assert exposed(rng, thickness, 1.0).std() > exposed(rng, thickness, 0.0).std() == 0


@pytest.mark.parametrize("name", sorted(BASELINES[ID]))
def test_optimisers_find_the_pose(name):
    made = task(intensity_jitter=0.0, views=(0.0, 90.0), offset=(8.0, 4.0), size=32, pixel_mm=12.0)
    state = start(made)
    before, after = (float(made.metrics(s)["mtre_mm"][0]) for s in (state, _run(name, made, state)))
    assert after == before if name == "identity" else after < min(2.0, before)


def _run(name, made, state):
    return BASELINES[ID][name].fit(None)(made, state)


def test_correlation():
    picture = np.random.default_rng(0).random((1, 8, 8))
    assert correlation(picture, 3 * picture + 1) == pytest.approx(1)
    assert correlation(picture, -picture) == pytest.approx(-1)
    assert correlation(picture, np.ones((1, 8, 8))) == 0


def test_volumes_without_points_have_a_lattice_of_fiducials():
    plain = VolumeSample(body().volume, (5.0, 5.0, 5.0))
    made = make_task(ID, data=[plain], size=32, pixel_mm=12.0)
    points = made.bank.points.array[0]
    assert points.shape == (27, 3)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-9)
    assert points.max() == pytest.approx(0.3 * 39 * 5)


@pytest.mark.parametrize(
    ("kwargs", "rule"),
    [
        ({"control": "all"}, "control must be one of"),
        ({"control": "gauss_newton", "size": 24}, "size must be >= 32 with control"),
        ({"views": ()}, "views must be 1 or more values, each a number"),
        ({"views": (np.nan,)}, "views must be 1 or more values, each a number"),
        ({"source_mm": 100.0}, "source_mm must be"),
        ({"offset": (20.0, 40.0)}, "offset must be"),
        ({"tone": ((0, 0),)}, "tone must be two knots"),
        ({"tone": ((0, 0), (0, 1))}, "tone must be two knots"),
        ({"tone": ((0, 0), (255, -1))}, "tone must be two knots"),
        ({"size": 8}, "size must be"),
    ],
)
def test_refusals(kwargs, rule):
    with pytest.raises(ValueError, match=rule):
        task(**kwargs)


@pytest.mark.parametrize("views", [(0.0,), (0.0, 90.0)])
@pytest.mark.parametrize("change", [0.0, 1.0])
def test_the_motion_that_is_missing_is_proposed(views, change):
    """As far as can be seen: one view hardly shows the depth."""
    made = task(views=views, intensity_jitter=change, control="gauss_newton")
    state = start(made)
    state = replace(state, pose=move_pose(state.target, np.array([[4.0, -3, 5, 2, -3, 2]])))
    fits = made.moves.propose(state.image, state.xray, state.pose)
    before = made.metrics(state)["reprojection_mm"][0]
    for look in range(made.proposer.count):
        after = replace(state, pose=move_pose(state.pose, fits[:, look, :6]))
        assert made.metrics(after)["reprojection_mm"][0] < 0.5 * before
    assert (fits[0, :, 7] > fits[0, :, 6]).all()
    still = made.moves.propose(state.image, state.xray, state.target)[0, :, :6]
    shown = still if len(views) > 1 else np.delete(still, 1, axis=1)
    assert np.abs(shown).max() < (2.5 if change else 1.0)


def test_a_proposal_is_made_where_it_is_trusted():
    made = task(control="gauss_newton")
    state, action = start(made), np.full((1, 8), -1, np.float32)
    action[0, :6] = 0.5
    np.testing.assert_allclose(made.step(state, action).pose, move_pose(state.pose, np.full((1, 6), 5.0)))
    action[0, 7] = 0.1
    np.testing.assert_allclose(
        made.step(state, action).pose, move_pose(state.pose, state.proposals[:, 1, :6])
    )
    for _ in range(2):
        after = made.step(state, made.expert(state))
        assert made.metrics(after)["mtre_mm"][0] < 0.9 * made.metrics(state)["mtre_mm"][0]
        state = after


def test_numpy_and_torch_propose_the_same_motions():
    made = task(views=(0.0, 90.0), control="gauss_newton")
    state = start(made)
    there = made.moves.propose(*(torch.as_tensor(part) for part in (state.image, state.xray, state.pose)))
    np.testing.assert_allclose(there.numpy(), state.proposals, atol=1e-3)


def test_means_of_blocks_leave_the_last_pixels_out():
    np.testing.assert_allclose(block_means(9, 4) @ np.arange(9.0), [1.5, 5.5])


def test_the_fifth_equal_pose_ends_an_episode_at_rest_and_the_fourth_one_that_goes_to_and_fro() -> None:
    pose = np.broadcast_to(np.eye(3, 4), (1, 3, 4))
    other = pose + np.array([0, 0, 0, 9.0])
    for poses, end in (([pose] * 9, 4), ([pose, other] * 9, 6)):
        trail, ended = np.full((1, 20, 3, 4), np.nan), []
        for before, after in pairwise(poses):  # as ``step`` does
            ended.append(bool(oscillates(after, trail)[0]))
            trail = remember(trail, before)
        assert ended.index(True) == end - 1, poses
