"""Strokes: how far they cover pixels, the colour that fits best, what they gain; the distance between colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from visionrl.ops import reference_strokes, to_numpy
from visionrl.ops.strokes import fitted_color, paint, stroke_coverage, stroke_gains, stroke_lines
from visionrl.ops.wasserstein import directions, sliced_quantiles, sliced_wasserstein


def drawn(seed: int, count: int = 5) -> np.ndarray:
    """Strokes (count, 10) by chance."""
    rng = np.random.default_rng(seed)
    return np.column_stack(
        [
            rng.uniform(-0.2, 1.2, (count, 6)),
            rng.uniform(0.01, 0.3, (count, 2)),
            rng.uniform(0, 1, (count, 2)),
        ]
    )


@pytest.mark.parametrize("segments", [1, 8])
def test_coverage_is_that_of_the_reference_on_numpy_and_torch(segments: int) -> None:
    lines = stroke_lines(drawn(0), 24, segments)
    found = stroke_coverage(*lines, (24, 24))
    assert found.shape == (5, 24, 24) and found.dtype == np.float32 and found.max() > 0.3
    slow = [reference_strokes.stroke_coverage(*(x[k] for x in lines), (24, 24)) for k in range(5)]
    np.testing.assert_allclose(found, slow, atol=2e-5)
    other = stroke_coverage(*(torch.from_numpy(x) for x in lines), (24, 24))
    np.testing.assert_allclose(to_numpy(other), found, atol=1e-5)


def test_a_dot_covers_its_area() -> None:
    stroke = np.array([[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.2, 0.2, 1.0, 1.0]])
    found = stroke_coverage(*stroke_lines(stroke, 100, 1), (100, 100))
    np.testing.assert_allclose(found.sum(), np.pi * 20**2, rtol=0.01)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_no_other_colour_leaves_less_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target, canvas = rng.uniform(0, 255, (2, 3, 2, 16, 16)).astype(np.float32)
    cover = stroke_coverage(*stroke_lines(drawn(seed, 3), 16, 1), (16, 16))
    best = fitted_color(target, canvas, cover)

    def error(color: np.ndarray) -> np.ndarray:
        return ((target - paint(canvas, cover, color)) ** 2).sum((1, 2, 3), dtype=np.float64)

    least = error(best)
    for _ in range(4):
        assert (least <= error(best + rng.normal(0, 20, best.shape).astype(np.float32)) * (1 + 1e-5)).all()


def test_gains_are_what_painting_takes_away() -> None:
    rng = np.random.default_rng(3)
    target, canvas = rng.uniform(0, 255, (2, 2, 3, 16, 16)).astype(np.float32)
    covers = stroke_coverage(*stroke_lines(drawn(4, 7), 16, 1), (16, 16))
    flat = covers.reshape(7, -1).T
    found = stroke_gains(target, canvas, flat, flat**2, lambda color: np.clip(color, 0, 255))
    for k in range(7):
        cover = np.repeat(covers[k : k + 1], 2, axis=0)
        after = paint(canvas, cover, np.clip(fitted_color(target, canvas, cover), 0, 255))
        gain = ((target - canvas) ** 2 - (target - after) ** 2).sum((1, 2, 3))
        np.testing.assert_allclose(found[:, k], gain, rtol=1e-3, atol=20)


def test_the_sliced_distance_is_the_mean_of_those_of_lines() -> None:
    rng = np.random.default_rng(5)
    picture, style = rng.uniform(0, 255, (2, 3, 8, 8)).astype(np.float32)
    quantiles = sliced_quantiles(picture.reshape(3, -1).T, 64)
    assert float(sliced_wasserstein(picture[None], quantiles)[0]) < 40  # quantiles lie between the values
    quantiles = sliced_quantiles(style.reshape(3, -1).T, 64)
    found = float(sliced_wasserstein(picture[None], quantiles)[0])
    lines = np.array(directions(3)) @ np.stack([picture.reshape(3, -1), style.reshape(3, -1)])
    assert found >= np.mean([wasserstein_distance(a, b) ** 2 for a, b in lines.transpose(1, 0, 2)]) * 0.9
    moved = sliced_wasserstein(style[None] + 50, quantiles)
    np.testing.assert_allclose(moved, np.mean((50 * np.array(directions(3)).sum(1)) ** 2), rtol=0.1)
