"""Triangulation of points from several cameras: exact places, a slow reference, outliers, properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visionrl.ops import like, namespace, reference, to_numpy
from visionrl.ops.triangulation import in_scene, information, project, scene_of, spread_of, triangulate


def ring(count: int, distance: float = 3000.0) -> np.ndarray:
    """Cameras (count, 3, 4) about the origin, at two heights, that look at it; z is up."""
    found = []
    for number in range(count):
        angle, height = 2 * np.pi * number / count, (0.2, 0.5)[number % 2]
        centre = distance * np.array([np.cos(angle), np.sin(angle), height])
        ahead = -centre / np.linalg.norm(centre)
        right = np.cross(ahead, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        turn = np.stack([right, np.cross(ahead, right), ahead])
        inner = np.array([[1000.0, 0, 500], [0, 1000, 500], [0, 0, 1]])
        found.append(inner @ np.c_[turn, -turn @ centre])
    return np.array(found)


def scene(count: int) -> np.ndarray:
    """The same cameras in radii of their scene, with a batch axis."""
    cameras = ring(count)
    return in_scene(cameras, *scene_of(cameras))[None]


def test_the_frame_of_a_scene_is_upright_in_every_world() -> None:
    cameras = ring(6)
    middle, radius, _ = scene_of(cameras)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    world = cameras.copy()
    world[:, :, :3] = cameras[:, :, :3] @ turn.T  # of the same cameras, places turned
    moved, same, frame = scene_of(world)
    assert np.allclose(moved, turn @ middle, atol=1e-6) and same == pytest.approx(radius)
    assert np.allclose(frame[2], turn[:, 2], atol=1e-6) and np.allclose(frame @ frame.T, np.eye(3))
    place = np.array([100.0, -50.0, 300.0])
    height = (frame @ (turn @ place - moved))[2]
    assert height == pytest.approx(place[2] - middle[2], abs=1e-6)


def test_cameras_that_look_at_a_place_have_it_for_their_middle() -> None:
    middle, radius, frame = scene_of(ring(6))
    assert np.allclose(middle, 0, atol=20) and radius == pytest.approx(1590, rel=0.05)
    assert np.array_equal(frame, np.eye(3))
    parallel = np.repeat(ring(1), 2, axis=0)
    parallel[1, 0, 3] += 1000.0 * 100  # the same view, shifted
    assert np.isfinite(scene_of(parallel)[0]).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 8))
def test_exact_detections_give_the_exact_points(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    cameras, points = scene(count), rng.normal(0, 0.2, (1, 5, 3))
    places, depth = project(cameras, points)
    assert (depth > 0).all()
    found, fit = triangulate(cameras, places, np.ones(depth.shape), np.array([6.0]))
    assert np.abs(found - points).max() < 2e-4  # of a radius; the pull to the middle is all that is left
    assert fit.min() > 0.99


def test_the_batch_equals_the_plain_rule_and_torch() -> None:
    rng = np.random.default_rng(0)
    cameras, points = np.repeat(scene(6), 3, axis=0), rng.normal(0, 0.2, (3, 4, 3))
    places = project(cameras, points)[0] + rng.normal(0, 8, (3, 6, 4, 2))
    weights = rng.random((3, 6, 4)) * (rng.random((3, 6, 4)) < 0.7)
    scale = np.array([6.0, 3.0, 12.0])
    found, fit = triangulate(cameras, places, weights, scale)
    for row in range(3):
        plain = reference.triangulate(cameras[row], places[row], weights[row], float(scale[row]))
        assert np.allclose(found[row], plain, atol=1e-8)
    pytest.importorskip("torch")
    home = namespace("torch").zeros(1)
    other = triangulate(*(like(x, home) for x in (cameras, places, weights, scale)))
    assert np.allclose(to_numpy(other[0]), found, atol=1e-7) and np.allclose(
        to_numpy(other[1]), fit, atol=1e-6
    )


def test_a_gross_error_is_left_aside() -> None:
    cameras, points = scene(8), np.array([[[0.1, -0.1, 0.2]]])
    places = project(cameras, points)[0]
    places[0, 2, 0] += 300.0
    plain, _ = triangulate(cameras, places, np.ones((1, 8, 1)), np.array([6.0]), rounds=0)
    robust, fit = triangulate(cameras, places, np.ones((1, 8, 1)), np.array([6.0]))
    assert np.linalg.norm(robust - points) < 0.01 < 0.05 < np.linalg.norm(plain - points)
    assert fit[0, 2, 0] < 0.01 and np.delete(fit[0, :, 0], 2).min() > 0.9


def test_one_camera_leaves_the_depth_to_the_pull() -> None:
    cameras, points = scene(4), np.array([[[0.1, 0.0, 0.1], [0.0, 0.1, -0.1]]])
    places, _ = project(cameras, points)
    weights = np.zeros((1, 4, 2))
    weights[:, 1] = 1
    found, _ = triangulate(cameras, places, weights, np.array([6.0]))
    assert np.abs(project(cameras, found)[0][:, 1] - places[:, 1]).max() < 6
    assert np.linalg.norm(found) < 1


def test_information_is_the_derivative_and_more_of_it_leaves_less_spread() -> None:
    cameras, points = scene(3), np.array([[[0.1, 0.05, -0.1]]])
    info = information(cameras, points, np.array([2.0]))
    step, slopes = 1e-6, []
    for axis in range(3):
        moved = points.copy()
        moved[..., axis] += step
        slopes.append((project(cameras, moved)[0] - project(cameras, points)[0]) / step / 2.0)
    jacobian = np.stack(slopes, axis=-1)[0, :, 0]  # (V, 2, 3)
    assert np.allclose(info[0, :, 0], jacobian.transpose(0, 2, 1) @ jacobian, rtol=1e-3)
    some, more = spread_of(info[:, 0]), spread_of(info.sum(axis=1))
    assert (more < some).all()
    whole = info.sum(axis=1)[0, 0] + 16 * np.eye(3)
    assert more[0, 0] == pytest.approx(np.sqrt(np.trace(np.linalg.inv(whole))))
