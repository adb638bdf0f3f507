"""Run lengths of masks against the library of COCO, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from faster_coco_eval import mask as coco

from visionrl.ops.rle import mask_of_runs, run_lengths, runs_of_text


def masks() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(1, 1), (3, 7), (40, 30), (200, 311)]
    return [rng.random(shape) < share for shape in shapes for share in (0.0, 0.03, 0.5, 1.0)]


@pytest.mark.parametrize("mask", masks())
def test_run_lengths_go_there_and_back(mask: np.ndarray) -> None:
    counts = run_lengths(mask)
    assert np.array_equal(mask_of_runs(counts, *mask.shape), mask)
    assert sum(counts) == mask.size


@pytest.mark.parametrize("mask", masks())
def test_compressed_text_is_that_of_coco(mask: np.ndarray) -> None:
    packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert runs_of_text(packed["counts"].decode()) == run_lengths(mask)


def test_damaged_run_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="counts must add up to 2 x 3 = 6 pixels, got 7"):
        mask_of_runs([3, 4], 2, 3)
    with pytest.raises(ValueError, match="counts must be whole numbers >= 0"):
        mask_of_runs([7, -1], 2, 3)
    with pytest.raises(ValueError, match="the last one does not end"):
        runs_of_text("Q")
    with pytest.raises(ValueError, match="characters from '0' to 'o'"):
        runs_of_text("a b")
