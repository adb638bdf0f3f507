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
        ({"category_id": [1]}, r"annotations\[0\]: category_id must be one of the file, got \[1\]"),
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


@pytest.mark.parametrize("key", [[1], {"a": 1}, None])
def test_a_category_without_a_number_is_refused(tmp_path: Path, key: Any) -> None:
    file = written(tmp_path) / "person_keypoints_x.json"
    content = json.loads(file.read_text())
    content["categories"].append({"id": key, "keypoints": NAMES})
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"x.json, categories\[1\]: id must be a whole number"):
        read(tmp_path)


GOOD: dict[str, Any] = {
    "sets": {"hand": {"joints": ["wrist", "thumb"]}},
    "images": [{"file": "a.png", "set": "hand", "instances": [{"points": [[3, 4, 2], [9, 9, 0]]}]}],
}


def photos(folder: Path, **more: Any) -> Path:
    """A folder of one photograph; ``more`` replaces keys of the first image, "sets" and "images" whole parts."""
    cv2.imwrite(str(folder / "a.png"), np.zeros((40, 60, 3), np.uint8))
    content = {key: more.pop(key, value) for key, value in GOOD.items()}
    if more:
        content["images"] = [{**GOOD["images"][0], **more}]
    (folder / "points.json").write_text(json.dumps(content))
    return folder


def test_points_of_photographs_are_read(tmp_path: Path) -> None:
    (found,) = read(photos(tmp_path), "keypoint-photos")
    assert {name: tuple(at) for name, at in found.points.items()} == {"wrist": (3, 4)}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"sets": []}, "points.json: sets must be an object of one set or more"),
        ({"sets": {"hand": []}}, r"sets\['hand'\]: joints must be names"),
        ({"sets": {"hand": {"joints": 5}}}, r"sets\['hand'\]: joints must be names, got 5"),
        ({"images": {}}, "points.json: images must be a list of one or more"),
        ({"images": [3]}, r"images\[0\]: must have a file"),
        ({"set": ["hand"]}, r"images\[0\]: set must be one of hand, got \['hand'\]"),
        ({"instances": {}}, r"images\[0\]: instances must be a list"),
        ({"instances": [7]}, r"instances\[0\]: points must be x, y, flag of 2 joints"),
        ({"instances": [{"points": 5}]}, r"instances\[0\]: points must be x, y, flag of 2 joints, got 5"),
    ],
)
def test_bad_photographs_are_refused(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(photos(tmp_path, **more), "keypoint-photos")
