"""Boxes and points: cases known by hand, properties, and torchvision's opinion."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_iou

from visionrl import ops

coordinate = st.floats(-100, 100, allow_nan=False, width=32)
side = st.floats(0.5, 80, width=32)


@st.composite
def boxes(draw):
    x, y = draw(coordinate), draw(coordinate)
    return np.array([x, y, x + draw(side), y + draw(side)])


def test_iou_by_hand():
    a = np.array([0.0, 0, 2, 2])
    others = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2], [5, 5, 6, 6], [0, 0, 1, 1]], float)
    np.testing.assert_allclose(ops.iou(a, others), [1, 1 / 3, 0, 0, 0.25])


def test_iou_of_empty_boxes_is_zero():
    empty = np.array([1.0, 1, 1, 1])
    assert ops.iou(empty, empty) == 0


@given(boxes(), boxes())
def test_iou_is_symmetric_in_range_and_torchvisions(a, b):
    got = ops.iou(a, b)
    assert 0 <= got <= 1
    np.testing.assert_allclose(got, ops.iou(b, a), atol=1e-12)
    np.testing.assert_allclose(
        got, box_iou(torch.from_numpy(a[None]), torch.from_numpy(b[None]))[0, 0], atol=1e-9
    )


@given(boxes(), st.tuples(coordinate, coordinate), st.floats(0.1, 10))
def test_iou_is_kept_by_shifts_and_scalings(a, shift, scale):
    b = a + np.array([1.0, -2.0, 3.0, 1.0])
    move = np.array([*shift, *shift])
    np.testing.assert_allclose(ops.iou(scale * a + move, scale * b + move), ops.iou(a, b), atol=1e-6)


@given(boxes())
def test_a_box_is_rebuilt_from_its_center_and_size(box):
    np.testing.assert_allclose(ops.box_around(ops.center(box), ops.size(box)), box, atol=1e-9)


def test_norm_is_numpys():
    vectors = np.random.default_rng(0).normal(size=(5, 4, 3))
    np.testing.assert_allclose(ops.norm(vectors), np.linalg.norm(vectors, axis=-1))


def test_points_are_the_same_where_all_their_components_are():
    a, b = np.array([[[1.0, 2], [3, 4], [np.nan, 0]]]), np.array([[[1.0, 2], [3, 5], [np.nan, 0]]])
    assert ops.same(a, b).tolist() == [[True, False, False]]


def test_one_hot_leaves_what_is_outside_empty():
    got = ops.one_hot(np.array([[0, 2], [-1, 3]]), 3)
    np.testing.assert_array_equal(got, [[[1, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, 0]]])
    assert got.dtype == np.float32


def test_constants_live_where_they_are_asked_for():
    table = ((1, 2), (3, 4))
    here = ops.const(table, np.zeros(1))
    there = ops.const(table, torch.zeros(1, device="meta", dtype=torch.float64))
    assert here.dtype == np.float64
    assert not here.flags.writeable
    assert there.device.type == "meta"
    assert there.dtype == torch.float64
    assert ops.const(table, np.zeros(1)) is here


def test_a_resident_is_copied_once_to_each_home():
    resident = ops.DeviceTable(np.arange(3))
    meta = torch.zeros(1, device="meta")
    assert resident.on(np.zeros(1)) is resident.array
    assert resident.on(meta) is resident.on(meta)
