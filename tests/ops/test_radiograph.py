"""Renders agree with the plain rule, on every library, and with what a ray through a box must add up to."""

from __future__ import annotations

import array_api_strict as strict
import numpy as np
import pytest
import torch

from visionrl.ops import reference, to_numpy
from visionrl.ops.radiograph import AXES, Beam, Densities, render, render_torch

RNG = np.random.default_rng(8)
HELD = [RNG.random(shape).astype(np.float32) for shape in ((9, 11, 13), (14, 7, 10))]
SPACINGS = np.array([[4.0, 5.0, 6.0], [5.0, 8.0, 3.0]])


def beams(across, rows=4, size=10):
    """Sources before the volumes, and tilted detectors behind them."""
    axis, beside = AXES[across]
    source = RNG.normal(0, 15, (rows, 3))
    source[:, axis] = 300
    centre = RNG.normal(0, 10, (rows, 3))
    centre[:, axis] = -150
    right, down = RNG.normal(0, 0.5, (2, rows, 3))
    right[:, beside], down[:, 2] = 9, -9
    return Beam(source, centre - (right + down) * (size - 1) / 2, right, down)


@pytest.mark.parametrize("across", AXES)
def test_renders_agree_with_the_plain_rule(across):
    index, size = np.array([0, 1, 1, 0]), 10
    densities, beam = Densities(HELD, SPACINGS, across), beams(across)
    axis = AXES[across][0]
    want = [
        reference.render(HELD[k], SPACINGS[k], tuple(way[b] for way in beam), size, axis)
        for b, k in enumerate(index)
    ]
    assert np.std(want) > 3
    assert np.min(want) == 0
    got = render(densities, index, beam, size)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, atol=2e-3)
    tensors = Beam(*map(torch.asarray, beam))
    for run in (render, render_torch):
        there = run(densities, torch.asarray(index), tensors, size)
        assert there.dtype == torch.float32
        np.testing.assert_allclose(there.numpy(), want, atol=2e-3)
    device = strict.Device("device1")
    other = Beam(*(strict.asarray(way, device=device) for way in beam))
    there = render(densities, strict.asarray(index, device=device), other, size)
    np.testing.assert_array_equal(to_numpy(there), got)


def test_rays_through_a_box_add_up_to_their_way_in_it():
    box = np.ones((40, 30, 40), np.float32)
    densities, beam = Densities([box], np.array([[3.0, 2.0, 3.0]])), _straight()
    seen = render(densities, np.array([0]), beam, 5)[0]
    line = (np.arange(5) - 2) * 10.0
    ray = np.hypot(np.hypot(line[:, None], line), 400.0)
    np.testing.assert_allclose(
        seen, 60 * ray / 400, rtol=1e-6
    )  # 60 mm deep, longer where it is crossed at a slant


def test_what_is_nearer_to_the_source_looks_larger():
    ball = np.zeros((41, 41, 41), np.float32)
    z, y, x = np.indices(ball.shape) - 20
    ball[x**2 + y**2 + z**2 <= 64] = 1.0
    densities, far = Densities([ball], np.ones((1, 3))), _straight(size=41, pixel=1.0)
    near = far._replace(source=far.source - [0, 100, 0], corner=far.corner - [0, 100, 0])
    areas = [(render(densities, np.array([0]), beam, 41) > 0.5).sum() for beam in (far, near)]
    assert areas[1] > 1.3 * areas[0]


def _straight(size=5, pixel=10.0):
    """A source 200 mm behind the middle, a detector 200 mm in front of it."""
    half = (size - 1) / 2 * pixel
    ways = ([0, 200, 0], [-half, -200, half], [pixel, 0, 0], [0, 0, -pixel])
    return Beam(*(np.array([way], float) for way in ways))
