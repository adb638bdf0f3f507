"""Point models: exact cases, fits, the same numbers in torch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visionrl.ops import like, namespace, to_numpy
from visionrl.ops.point_model import PointModel, fit_point_model

SQUARE = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1.0]]) / np.sqrt(2)


def shapes(count: int = 20) -> np.ndarray:
    """Squares of many sizes, places and turns whose first point wanders along x."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        one = SQUARE + rng.normal(0, 0.005, SQUARE.shape)
        one[0, 0] += rng.normal(0, 0.1)
        angle, size = rng.normal(0, 0.2), rng.uniform(5, 20)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        found.append(size * one @ turn.T + rng.uniform(-50, 50, 2))
    return np.array(found)


def test_one_wandering_point_is_one_mode() -> None:
    model = fit_point_model(shapes(), 4)
    sizes = np.sqrt((model.modes**2).sum(axis=(1, 2)))
    assert len(model.modes) == 4 and sizes[0] > 8 * sizes[1]
    assert np.abs(model.mean - SQUARE).max() < 0.1 and np.abs(model.mean.mean(axis=0)).max() < 1e-9


def test_few_shapes_have_few_modes() -> None:
    assert len(fit_point_model(shapes(3), 6).modes) <= 2


def test_a_pose_by_hand() -> None:
    model = PointModel(SQUARE, np.zeros((1, 4, 2)))
    found = model.points(np.array([[10.0, 20, np.log(np.sqrt(2)), np.pi / 2, 0]]))[0]
    assert np.allclose(found, [[11, 19], [11, 21], [9, 21], [9, 19]])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_a_fit_finds_the_pose(seed: int) -> None:
    model, rng = fit_point_model(shapes(), 1), np.random.default_rng(seed)
    pose = np.array([*rng.uniform(-50, 50, 2), rng.uniform(1, 3), rng.uniform(-3, 3), rng.uniform(-2, 2)])
    shape = model.points(pose[None])[0]
    assert np.abs(model.points(model.fit(shape)[None])[0] - shape).max() < 0.05 * np.exp(pose[2])


def test_torch_agrees() -> None:
    pytest.importorskip("torch")
    model, pose = fit_point_model(shapes(), 3), np.random.default_rng(0).normal(0, 1, (5, 7))
    other = model.points(like(pose, namespace("torch").zeros(1)))
    assert np.allclose(to_numpy(other), model.points(pose))
