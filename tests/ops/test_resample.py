"""The fast kernels agree with the plain reference; NumPy/OpenCV and torch alike."""

import numpy as np
import pytest
import torch

from visionrl import ops
from visionrl.ops import reference, resample_torch

RNG = np.random.default_rng(7)
IMAGES = RNG.integers(0, 256, (3, 3, 41, 57), dtype=np.uint8)
IMAGES[1] = np.linspace(0, 255, 57).astype(np.uint8)


@pytest.fixture(scope="module")
def pyramid():
    shape = (3, 41, 57, 3)
    total = sum(int(np.prod(s)) for s in ops.pyramid.level_shapes(shape, 3))
    made = ops.Pyramid(np.zeros(total, np.uint8), shape, 3)
    for item, image in enumerate(IMAGES):
        made.fill(item, image)
    return made


def boxes(count):
    low = RNG.uniform(-12, 40, (count, 2))
    return np.concatenate([low, low + RNG.uniform(0.2, 50, (count, 2))], axis=1)


@pytest.mark.parametrize("size", [7, 16])
def test_resize_agrees(pyramid, size):
    box, index = boxes(40), RNG.integers(0, 3, 40)
    level, edges = pyramid.locate(box, size)
    assert len(set(level.tolist())) > 1
    want = np.stack(
        [
            reference.resize(pyramid.levels[k][i], tuple(e), size)
            for i, k, e in zip(index, level, edges, strict=True)
        ]
    )
    fast = ops.resize(pyramid, index, box, size)
    t = [torch.from_numpy(a) for a in (index, level, edges)]
    on_torch = resample_torch.resize(pyramid, *t, size).numpy()
    assert want.std() > 10
    assert np.abs(fast.astype(int) - want).max() <= 1
    assert np.abs(on_torch.astype(int) - want).max() <= 1


def test_resize_of_an_aligned_box_is_a_copy(pyramid):
    got = ops.resize(pyramid, np.array([2]), np.array([[5.0, 6.0, 21.0, 22.0]]), 16)
    np.testing.assert_array_equal(got[0], IMAGES[2][:, 6:22, 5:21])


def test_pyramid_levels_are_block_means(pyramid):
    blocks = IMAGES[0][:, :40, :56].reshape(3, 20, 2, 28, 2).mean((2, 4)).transpose(1, 2, 0)
    assert np.abs(pyramid.levels[1][0] - blocks).max() <= 0.5


def test_locate_picks_the_coarsest_level_that_is_fine_enough(pyramid):
    box = np.array([[0, 0, 15.9, 30], [0, 0, 16, 16], [0, 0, 31.9, 40], [0, 0, 32, 40], [3, 3, 3.1, 3.1]])
    level, edges = pyramid.locate(box, 8)
    np.testing.assert_array_equal(level, [0, 1, 1, 2, 0])
    np.testing.assert_array_equal(edges[3], [0, 0, 8, 10])
    np.testing.assert_array_equal(edges[4], [3, 3, 4, 4])


@pytest.mark.parametrize("size", [5, 24])
def test_warp_agrees(size):
    index, turn = RNG.integers(0, 3, 20), RNG.uniform(-3, 3, 20)
    scale = RNG.uniform(0.5, 2, 20)
    matrix = np.stack(
        [
            np.array([[s * np.cos(a), -s * np.sin(a), x], [s * np.sin(a), s * np.cos(a), y]])
            for a, s, x, y in zip(turn, scale, RNG.uniform(-5, 50, 20), RNG.uniform(-5, 40, 20), strict=True)
        ]
    )
    stored = np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1))
    want = np.stack([reference.warp(stored[i], m, size) for i, m in zip(index, matrix, strict=True)])
    fast = ops.warp(stored, index, matrix, size)
    on_torch = resample_torch.warp(*[torch.from_numpy(a) for a in (stored, index, matrix)], size).numpy()
    assert want.std() > 10
    assert np.abs(fast.astype(int) - want).max() <= 1
    assert np.abs(on_torch.astype(int) - want).max() <= 1


def test_warp_by_whole_pixels_is_a_shift():
    stored = np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1))
    got = ops.warp(stored, np.array([0]), np.array([[[1.0, 0, 3], [0, 1, 4]]]), 10)
    np.testing.assert_array_equal(got[0], IMAGES[0][:, 4:14, 3:13])


@pytest.mark.parametrize("shape", [(3, 2, 20, 25), (2, 1, 12, 13, 14)])
def test_patch_agrees(shape):
    store, size = RNG.integers(0, 256, shape, dtype=np.uint8), 6
    index = RNG.integers(0, shape[0], (4, 2))
    start = [RNG.integers(0, n - size + 1, (4, 2)) for n in shape[2:]]
    want = np.stack(
        [
            [reference.patch(store, index[i, j], tuple(s[i, j] for s in start), size) for j in range(2)]
            for i in range(4)
        ]
    )
    got = ops.patch(ops.windows(store, size), index, *start)
    tensors = [torch.from_numpy(a) for a in (index, *start)]
    on_torch = ops.patch(ops.windows(torch.from_numpy(store), size), *tensors)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(on_torch.numpy(), want)


def test_many_rows_by_threads_equal_few_rows(pyramid):
    box, index = boxes(64), RNG.integers(0, 3, 64)
    together = ops.resize(pyramid, index, box, 12)
    alone = np.concatenate([ops.resize(pyramid, index[i : i + 1], box[i : i + 1], 12) for i in range(64)])
    np.testing.assert_array_equal(together, alone)
