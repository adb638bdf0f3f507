"""Overlap of masks, boundaries, depth."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from visionrl.ops import masks

EMPTY, FULL = np.zeros((4, 5), bool), np.ones((4, 5), bool)
HALF = np.arange(20).reshape(4, 5) < 10


@pytest.mark.parametrize(
    ("first", "second", "iou"),
    [(EMPTY, EMPTY, 1), (EMPTY, HALF, 0), (HALF, EMPTY, 0), (HALF, FULL, 1 / 2)],
)
def test_the_overlap_of_masks_and_of_empty_ones(first, second, iou):
    assert masks.iou(first[None], second[None]).tolist() == [iou]


@pytest.mark.parametrize("shape", [(9, 12), (2, 7), (1, 6), (6, 1)])
def test_the_boundary_is_what_opencv_erodes_on_any_backend(shape):
    import torch

    mask = np.random.default_rng(3).random((5, *shape)) < 0.8
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inside = [
        cv2.erode(one.astype(np.uint8), cross, borderType=cv2.BORDER_CONSTANT, borderValue=0) for one in mask
    ]
    want = mask & (np.stack(inside) == 0)
    np.testing.assert_array_equal(masks.boundary(mask), want)
    np.testing.assert_array_equal(masks.boundary(torch.asarray(mask)).numpy(), want)


def test_dilation_adds_the_four_neighbours():
    dot = np.zeros((1, 5, 5), bool)
    dot[0, 0, 2] = True
    assert np.argwhere(masks.dilate(dot)[0]).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2]]


@pytest.mark.parametrize("shape", [(9, 12), (2, 7), (16, 16)])
def test_depth_is_the_number_of_erosions_that_a_pixel_survives(shape):
    mask = np.random.default_rng(1).random((4, *shape)) < 0.9
    found = masks.depth(mask)
    np.testing.assert_array_equal(found, masks.depth_by_erosion(mask))
    assert (found[mask & masks.boundary(mask)] == 1).all() and not found[~mask].any()
