"""Masks of polygons against a reference that asks pixel by pixel, on NumPy and torch, and against OpenCV's area."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from visionrl.ops.polygons import (
    closed_spline,
    crosses,
    edge_mask,
    polygon_mask,
    signed_area,
    triangle_mask,
)

HIGH, WIDE = 7, 9
GRID = st.integers(-1, 10)


def corners(least: int = 1, most: int = 9) -> Any:
    return st.integers(least, most).flatmap(lambda n: arrays(np.int64, (n, 2), elements=GRID))


def even_odd(vertices: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixel by pixel in fractions: how many edges lie to the right of a centre."""
    found = np.zeros((height, width), bool)
    places = [(Fraction(int(x)), Fraction(int(y))) for x, y in vertices]
    for row in range(height):
        for column in range(width):
            x, y = Fraction(2 * column + 1, 2), Fraction(2 * row + 1, 2)
            for (x0, y0), (x1, y1) in zip(places, places[1:] + places[:1], strict=True):
                if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                    found[row, column] = not found[row, column]
    return found


def on_an_edge(vertices: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels whose centre lies on the line of an edge, where rounding may decide."""
    y, x = np.mgrid[:height, :width] + 0.5
    ends = np.roll(vertices, -1, axis=0)
    lines = [
        (x1 - x0) * (y - y0) == (y1 - y0) * (x - x0)
        for (x0, y0), (x1, y1) in zip(vertices, ends, strict=True)
    ]
    return np.any(lines, axis=0)


@settings(max_examples=60, deadline=None)
@given(corners())
def test_a_polygon_s_mask_is_that_of_the_reference(vertices: np.ndarray) -> None:
    found, wanted = (
        polygon_mask(vertices.astype(float), HIGH, WIDE),
        even_odd(vertices, HIGH, WIDE),
    )
    sure = ~on_an_edge(vertices, HIGH, WIDE)
    assert np.array_equal(found[sure], wanted[sure])


@settings(max_examples=60, deadline=None)
@given(corners())
def test_triangles_give_the_polygon_to_the_last_pixel(vertices: np.ndarray) -> None:
    places, mask = vertices.astype(float), np.zeros((HIGH, WIDE), bool)
    for k in range(1, len(places)):
        mask ^= triangle_mask(places[0], places[k - 1], places[k], HIGH, WIDE)
        assert np.array_equal(mask, polygon_mask(places[: k + 1], HIGH, WIDE))


@settings(max_examples=40, deadline=None)
@given(corners(3), st.integers(0, 8), st.booleans())
def test_first_vertex_and_direction_do_not_matter(vertices: np.ndarray, turn: int, back: bool) -> None:
    other = np.roll(vertices[::-1] if back else vertices, turn, axis=0)
    masks = [polygon_mask(one.astype(float), HIGH, WIDE) for one in (vertices, other)]
    assert np.array_equal(*masks)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, (4, 6, 2), elements=st.floats(-1, 10, width=32)))
def test_torch_gives_the_masks_of_numpy(vertices: np.ndarray) -> None:
    found = polygon_mask(torch.tensor(vertices), HIGH, WIDE)
    assert np.array_equal(found.numpy(), polygon_mask(vertices, HIGH, WIDE))


def test_one_and_two_vertices_hold_no_pixel_and_flat_edges_cross_no_ray() -> None:
    place = np.array([[1.0, 1], [6, 5]])
    assert not polygon_mask(place[:1], HIGH, WIDE).any() and not polygon_mask(place, HIGH, WIDE).any()
    assert not edge_mask(np.array([0.0, 3]), np.array([9.0, 3]), HIGH, WIDE).any()


def test_a_rectangle_holds_the_pixels_between_its_edges() -> None:
    mask = polygon_mask(np.array([[2.0, 1], [7, 1], [7, 4], [2, 4]]), HIGH, WIDE)
    assert mask.sum() == 15 and mask[1:4, 2:7].all()


def test_segments_cross_but_not_at_a_common_end() -> None:
    starts, ends = np.array([[0.0, 2], [0, 0], [3, 3]]), np.array([[2.0, 0], [5, 0], [4, 4]])
    found = crosses(np.array([0.0, 0]), np.array([2.0, 2]), starts, ends)
    assert found.tolist() == [True, False, False]


def test_a_closed_spline_goes_through_its_points() -> None:
    points = np.random.default_rng(0).uniform(0, 9, (5, 12, 2))
    curve = closed_spline(points, 8)
    assert curve.shape == (5, 96, 2)
    assert np.allclose(curve[:, ::8], points)


def test_a_spline_through_a_circle_is_close_to_it() -> None:
    turn = 2 * np.pi * np.arange(12) / 12
    curve = closed_spline(np.stack([np.cos(turn), np.sin(turn)], 1))
    assert np.abs(np.linalg.norm(curve, axis=1) - 1).max() < 0.005


@pytest.mark.parametrize("clockwise", [True, False])
def test_the_sign_of_the_area_tells_the_direction(clockwise: bool) -> None:
    square = np.array([[0.0, 0], [4, 0], [4, 3], [0, 3]])
    assert signed_area(square if clockwise else square[::-1]) == (12 if clockwise else -12)
