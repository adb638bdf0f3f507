"""Readers of keypoints: COCO's JSON and photographs of several sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from visionrl.datasets import ImageSample, load

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "pose" / "photos"
NAMES = ["nose", "left_eye", "right_eye"]


def written(folder: Path, **more: Any) -> Path:
    """A data set of one image with two people, the second without a labelled point."""
    cv2.imwrite(str(folder / "a.png"), np.zeros((40, 60, 3), np.uint8))
    row = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "keypoints": [10.5, 20.5, 2, 0, 0, 0, 30.5, 5.5, 1],
        "num_keypoints": 2,
    }
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}],
        "categories": [{"id": 1, "name": "person", "keypoints": NAMES}],
        "annotations": [{**row, **more}, {**row, "id": 2, "keypoints": [0] * 9}],
    }
    (folder / "person_keypoints_x.json").write_text(json.dumps(content))
    return folder


def read(path: Path, form: str = "coco-keypoints") -> tuple[ImageSample, ...]:
    return load(f"{form}:{path}", kind=ImageSample, split="all")


def test_an_instance_is_a_sample_and_unlabelled_points_are_left_out(tmp_path: Path) -> None:
    (found,) = read(written(tmp_path))
    assert {name: tuple(at) for name, at in found.points.items()} == {"nose": (10, 20), "right_eye": (30, 5)}
    assert found.name == "a/0" and found.subject == "a"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"keypoints": [1, 2]}, "keypoints must be x, y and a flag for each of 3 names"),
        ({"keypoints": [1, 2, 7] * 3}, "the flag of a keypoint must be 0, 1 or 2"),
        ({"category_id": 9}, "category_id must be one of the file, got 9"),
        ({"image_id": 9}, "image_id must be among those of the file"),
        ({"keypoints": [0] * 9}, "must have an annotation with a labelled keypoint"),
        ({"keypoints": [900, 20, 2] * 3}, "point"),
    ],
)
def test_bad_annotations_are_refused(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(written(tmp_path, **more))


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs are not here")
def test_photographs_of_many_sets_are_read() -> None:
    found = read(PHOTOS, "keypoint-photos")
    assert len(found) > 90 and all(sample.points for sample in found)
