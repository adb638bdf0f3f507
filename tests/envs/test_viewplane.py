"""View planning: cases that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from visionrl.core import batch, make_task
from visionrl.datasets import VolumeSample
from visionrl.envs.localization.viewplane import ViewPlane3D
from visionrl.ops.volumes import plane_normal, plane_through

ID = "visionrl/ViewPlane3D-v0"


def sample(points, spacing=(1.0, 1.0, 1.0), shape=(1, 41, 41, 41)):
    voxels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return VolumeSample(voxels, spacing, dict(zip("abc", points, strict=True)))


LEVEL = ((10.0, 10.0, 25.0), (30.0, 10.0, 25.0), (20.0, 30.0, 25.0))  # 5 above the middle, across z


@pytest.fixture
def task():
    return make_task(ID, data=[sample(LEVEL)], landmarks=["a", "b", "c"], window=9, pixel_mm=1.0, gap_mm=2.0)


def start(task, *plane, stage=0):
    state = batch.stack([task.sample(np.random.default_rng(0), 0)])
    here = np.array([plane], float)
    trail = np.full_like(state.trail, np.nan)
    trail[:, -1] = here
    return replace(state, position=here, trail=trail, stage=np.array([stage]))


def act(task, state, action):
    action = np.array([action])
    after = task.step(state, action)
    return after, float(task.reward(state, action, after)[0])


def test_the_target_is_the_plane_through_the_landmarks(task):
    state = start(task, 90, 90, 0, 0)
    assert task.across == 2
    np.testing.assert_allclose(state.target[0], (90, 90, 0, 5), atol=1e-9)
    normal, distance = plane_through(np.array([[3.0, 0, 0], [3, 1, 0], [3, 0, 1]]))
    np.testing.assert_allclose(np.abs([*normal, distance]), (1, 0, 0, 3))
    with pytest.raises(ValueError, match="landmarks must span a plane"):
        plane_through(np.array([[0.0, 0, 0], [1, 1, 1], [2, 2, 2]]))


def test_moves_and_rewards(task):
    state = start(task, 90, 90, 0, 0)
    for action, way in enumerate(ViewPlane3D.moves):
        after, reward = act(task, state, action)
        np.testing.assert_allclose(after.position[0] - state.position[0], np.array(way) * (8, 8, 8, 4))
        assert reward == (1 if action == 6 else -1)
    assert act(task, start(task, 90, 90, 0, 16), 6)[1] == -1, "out of range"
    assert int(task.expert(state)[0]) == 6


def test_the_picture_is_the_slice_and_its_parallels(task):
    volume = task.samples[0].volume[0]
    window = task.observe(start(task, 90, 90, 0, 5))["window"][0]
    for number, z in enumerate((23, 25, 27)):
        np.testing.assert_array_equal(window[number], volume[z, 16:25, 16:25])


def test_metrics_are_angles_and_millimetres(task):
    found = task.metrics(start(task, 80, 90, 10, 3))
    np.testing.assert_allclose(found["angle_deg"], 10, atol=1e-6)
    np.testing.assert_allclose(found["distance_mm"], 2)
    assert not found["is_success"][0] and task.metrics(start(task, 88, 90, 1, 4))["is_success"][0]


def test_normals_have_length_one():
    planes = np.array([[60.0, 70, 50, 0], [90, 90, 0, 4]])
    np.testing.assert_allclose(np.linalg.norm(plane_normal(planes), axis=1), 1)


def test_spacing_counts_in_the_plane():
    """The angle is that in millimetres, not in voxels."""
    points = ((10.0, 10.0, 25.0), (30.0, 10.0, 25.0), (20.0, 30.0, 30.0))
    task = make_task(ID, data=[sample(points, (1.0, 1.0, 2.0))], landmarks=["a", "b", "c"], window=9)
    state = start(task, 90, 90, 0, 0)
    angle = np.degrees(np.arctan2(5 * 2.0, 20 * 1.0))
    np.testing.assert_allclose(task.metrics(state)["angle_deg"], angle, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"landmarks": ["a", "b"]}, "landmarks must be 3 values, each a string"),
        ({"landmarks": ["a", "b", "tip"]}, "landmarks must be in a sample or more, none has a, b, tip"),
        ({"shift_steps": (4, 2)}, "shift_steps must have one entry an angle step"),
        ({"pixel_mm": 0.0}, "pixel_mm must be a number >= 0.01"),
        ({"axis": 3}, r"axis must be a whole number in \[0, 2\] or None, got 3"),
        ({"start_spread_deg": 90.0}, r"start_spread_deg must be a number in \[0.0, 40.0\]"),
    ],
)
def test_wrong_arguments_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        make_task(ID, data=[sample(LEVEL)], **{"landmarks": ["a", "b", "c"], **wrong})
