"""Planes through volumes agree with the plain rule, on every library."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from visionrl.ops.volumes import Volumes, plane

RNG = np.random.default_rng(4)
HELD = [RNG.integers(0, 256, shape, dtype=np.uint8) for shape in ((9, 11, 13), (14, 7, 10))]


def value(volume, x, y, z):
    """The value between voxel centres; voxels outside count as 0."""
    low, total = np.floor([x, y, z]).astype(int), 0.0
    for corner in np.ndindex(2, 2, 2):
        i, j, k = low + corner
        if 0 <= i < volume.shape[2] and 0 <= j < volume.shape[1] and 0 <= k < volume.shape[0]:
            total += volume[k, j, i] * (1 - abs(x - i)) * (1 - abs(y - j)) * (1 - abs(z - k))
    return total


def case(rows=6):
    index = RNG.integers(0, 2, rows)
    centre = RNG.uniform(0, 1, (rows, 3)) * [11, 8, 10]
    ways = np.linalg.qr(RNG.normal(size=(rows, 3, 3)))[0] * 1.3
    return index, centre, np.ascontiguousarray(ways[:, 0]), np.ascontiguousarray(ways[:, 1])


def test_planes_agree_with_the_plain_rule():
    import array_api_strict as strict

    volumes, (index, centre, right, down), size = Volumes(HELD), case(), 7
    want = np.empty((6, size, size))
    for b, row, column in np.ndindex(want.shape):
        at = centre[b] + (row - 3) * down[b] + (column - 3) * right[b]
        want[b, row, column] = value(HELD[index[b]], *at)
    assert want.std() > 20 and (want == 0).any()
    got = plane(volumes, index, centre, right, down, size)
    assert got.dtype == np.uint8 and np.abs(got - want).max() <= 0.501
    on_torch = plane(volumes, *map(torch.from_numpy, (index, centre, right, down)), size)
    assert np.abs(on_torch.numpy().astype(int) - got).max() <= 1
    device = strict.Device("device1")
    on_strict = plane(
        volumes, *(strict.asarray(a, device=device) for a in (index, centre, right, down)), size
    )
    assert on_strict.device == device and on_strict.dtype == strict.uint8
    meta = plane(volumes, *(torch.asarray(a, device="meta") for a in (index, centre, right, down)), size)
    assert meta.device.type == "meta" and meta.shape == (6, size, size)


@pytest.mark.parametrize("number", [0, 1])
def test_a_plane_along_the_axes_is_a_slice(number):
    volume = HELD[number]
    one = np.array([[1.0, 0, 0]]), np.array([[0, 1.0, 0]])
    got = plane(Volumes(HELD), np.array([number]), np.array([[3.0, 3.0, 5.0]]), *one, 5)
    np.testing.assert_array_equal(got[0], volume[5, 1:6, 1:6])
