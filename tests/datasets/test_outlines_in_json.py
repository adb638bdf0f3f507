"""Outlines and run lengths in JSON: numbers that are none, or too large, and memory for many objects."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_mask_readers import CAT, LABELS, bad, coco_set, photo, read, runs, shapes

from visionrl.ops.rle import mask_of_runs

HUGE = 10**400


@pytest.mark.parametrize(
    "points",
    [[[1e308, 2], [-1e308, 2], [9, 9]], [[HUGE, 2], [1, 2], [3, 4]], [["3", "2"], ["9", "2"], ["9", "6"]]],
)
@pytest.mark.parametrize("kind", ["polygon", "circle", "rectangle"])
def test_outlines_of_labelme_must_be_numbers_within_reach(tmp_path: Path, points: Any, kind: str) -> None:
    rows = {**CAT, "points": points, "shape_type": kind}
    bad(shapes(tmp_path, rows), r"a.json, shapes\[0\]: points must be . or more finite pairs", "labelme")


@pytest.mark.parametrize("side", [HUGE, float("nan")])
def test_a_stated_size_beyond_reach_is_refused_by_file(tmp_path: Path, side: float) -> None:
    bad(shapes(tmp_path, CAT, imageWidth=side), "a.json: the stated size must be the picture's", "labelme")


@pytest.mark.parametrize(
    "polygon", [[10**30, 2, 9, 2, 9, 6], [1e308, 2, -1e308, 2, 9, 6], [True, 2, 9, 2, 9, 6]]
)
def test_polygons_of_coco_must_be_numbers_within_reach(tmp_path: Path, polygon: Any) -> None:
    bad(coco_set(tmp_path, [polygon]), r"set.json, annotations\[0\]: a polygon must be 6 or more", "coco")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("bbox", [HUGE, 1, 1, 1], "bbox must be four finite numbers"),
        ("bbox", [10**5000, 1, 1, 1], "must be valid JSON"),
        ("iscrowd", "0", "iscrowd must be 0 or 1, got '0'"),
    ],
)
def test_a_bad_value_of_coco_is_a_bad_sample_by_its_place(
    tmp_path: Path, key: str, value: Any, words: str
) -> None:
    file = coco_set(tmp_path, None) / "set.json"
    text = f'"{key}": {value!r}'.replace("'", '"') if key != "bbox" or value[0] == HUGE else ""
    text = text or f'"bbox": [1{"0" * 5000}, 1, 1, 1]'
    old = '"bbox": [3, 2, 6, 4]' if key == "bbox" else '"iscrowd": 0'
    content = file.read_text()
    assert old in content
    file.write_text(content.replace(old, text))
    bad(tmp_path, words, "coco")


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ("o" * 1_000_000, "counts must be numbers below 2 to the power of 60"),
        ([10**12], "counts must add up to 12 x 16 = 192 pixels, got 1000000000000"),
        ([HUGE, 0], "got one of 1329 bits"),
        ([-1, 193], "got -1"),
    ],
)
def test_run_lengths_beyond_the_image_are_refused_at_once(tmp_path: Path, counts: Any, words: str) -> None:
    begin = time.perf_counter()
    bad(coco_set(tmp_path, {"size": [12, 16], "counts": counts}), words, "coco")
    assert time.perf_counter() - begin < 2


def test_many_objects_take_the_memory_of_one(tmp_path: Path) -> None:
    photo(coco_set(tmp_path, *[[[3, 2, 9, 2, 9, 6, 3, 6]]] * 300) / "a.jpg", (900, 1000, 3))
    file = tmp_path / "set.json"
    file.write_text(file.read_text().replace('"width": 16, "height": 12', '"width": 1000, "height": 900'))
    tracemalloc.start()
    try:
        mask = read(tmp_path, "coco").mask
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert mask is not None and (mask == 300).sum() == 24
    assert peak < 60e6, "300 masks of 0.9 MB would be 270 MB"


def test_parts_of_an_object_are_joined_and_a_later_object_covers(tmp_path: Path) -> None:
    polygons = [[3, 2, 9, 2, 9, 6, 3, 6], [0, 8, 2, 8, 2, 12, 0, 12]]
    mask = read(coco_set(tmp_path, polygons, runs(LABELS == 2, True)), "coco").mask
    wanted = LABELS.copy()
    wanted[8:12, :2] = 1
    assert np.array_equal(mask, wanted)


def test_runs_go_down_the_columns() -> None:
    assert mask_of_runs([1, 2, 3], 3, 2).tolist() == [[False, False], [True, False], [True, False]]
