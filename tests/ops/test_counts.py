"""Counting numbers in rows."""

from __future__ import annotations

import numpy as np
import torch

from visionrl import ops


def test_counts_by_hand():
    rows = np.array([[0, 2, 2, 1], [3, 3, 3, 3]], np.uint8)
    want = [[1, 1, 2, 0, 0], [0, 0, 0, 4, 0]]
    for found in (ops.counts(rows, 5), ops.counts(torch.as_tensor(rows), 5)):
        assert np.asarray(found).tolist() == want


def test_counts_off_the_cpu_have_the_same_shape():
    there = ops.counts(torch.zeros((2, 7), dtype=torch.uint8, device="meta"), 5)
    assert there.shape == (2, 5) and there.dtype == torch.int64 and there.device.type == "meta"
