"""Whatever a decoder raises names the file in one line; several bad samples are named together, or left out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from visionrl.datasets import Entry, ImageSample, clear_cache, load
from visionrl.datasets.guard import decoding


def png(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((40, 60), 90, np.uint8)).save(path)


def pts_folder(root, count, bad=()):
    for k in range(count):
        png(root / f"{k:02d}.png")
        points = "x" if k in bad else "9"
        (root / f"{k:02d}.pts").write_text(f"n_points: 1\n{{\n{points} 9\n}}\n")
    clear_cache()
    return f"pts:{root}"


@pytest.mark.parametrize(
    "error",
    [EOFError, KeyError("a"), RuntimeError("one\ntwo"), MemoryError(), RecursionError(), LookupError("x")],
)
def test_any_exception_of_a_decoder_becomes_one_line_with_the_file(error):
    with pytest.raises(ValueError, match=r"^/a/b\.nii must be readable, got: [^\n]+$"), decoding("/a/b.nii"):
        raise error


def test_a_missing_package_is_not_a_bad_file():
    with pytest.raises(ImportError), decoding("/a/b.nii"):
        raise ImportError("nibabel")


class Broken:
    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index == 1:
            raise OverflowError("too large")
        return ImageSample(np.zeros((1, 4, 4), np.uint8))


def test_a_sequence_that_fails_is_named_or_left_out():
    with pytest.raises(ValueError, match="sample 1: must be readable, got: OverflowError: too large"):
        load(Broken(), kind=ImageSample)
    with pytest.warns(UserWarning, match="1 of 3 samples of the Broken are bad"):
        assert [sample.name for sample in load(Broken(), kind=ImageSample, skip_bad=True)] == ["0", "2"]


def test_one_bad_sample_is_named_alone(tmp_path):
    with pytest.raises(ValueError, match=r"^sample 3 \('03'\): must be readable, got: .*03.pts, point 0"):
        load(pts_folder(tmp_path, 5, {3}), kind=ImageSample, split="all")


def test_up_to_ten_bad_samples_are_named_and_the_others_counted(tmp_path):
    with pytest.raises(ValueError, match=r"12 of 14 samples of pts:.* are bad: ") as caught:
        load(pts_folder(tmp_path, 14, range(1, 13)), kind=ImageSample, split="all")
    text = str(caught.value)
    assert "'10'" in text and "'11'" not in text
    assert "; and 2 more (skip_bad=True leaves them out)" in text
    assert "\n" not in text


def test_bad_samples_are_left_out_with_a_count(tmp_path):
    data = pts_folder(tmp_path, 5, {0, 3})
    with pytest.warns(UserWarning, match="2 of 5 samples of pts:.*'00'.*'03'.*they are left out"):
        samples = load(data, kind=ImageSample, split="all", skip_bad=True)
    assert [sample.name for sample in samples] == ["01", "02", "04"]
    with pytest.raises(ValueError, match="2 of 5 samples"):
        load(data, kind=ImageSample, split="all")


def test_a_set_without_a_good_sample_is_refused(tmp_path):
    with pytest.raises(ValueError, match="3 of 3 samples"):
        load(pts_folder(tmp_path, 3, range(3)), kind=ImageSample, split="all", skip_bad=True)


def test_two_boxes_without_area_leave_the_rest_of_a_coco_file(tmp_path):
    for k in range(5):
        png(tmp_path / f"{k}.png")
    boxes = [[1, 2, 3, 4], [1, 2, 0, 4], [1, 2, 3, 4], [1, 2, 3, -1], [1, 2, 3, 4]]
    content = {
        "images": [{"id": k, "file_name": f"{k}.png"} for k in range(5)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"image_id": k, "category_id": 1, "bbox": box} for k, box in enumerate(boxes)],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"2 of 5 samples.*annotations\[1\].*annotations\[3\]"):
        load(f"coco:{tmp_path}", kind=ImageSample, split="all")
    with pytest.warns(UserWarning, match="2 of 5"):
        samples = load(f"coco:{tmp_path}", kind=ImageSample, split="all", skip_bad=True)
    assert [sample.name for sample in samples] == ["0", "2", "4"]


@pytest.mark.parametrize("content", [{"annotations": []}, {}, {"categories": [], "annotations": []}])
def test_a_coco_file_without_annotations_has_images_without_objects(tmp_path, content):
    png(tmp_path / "a.png")
    images = {"images": [{"id": 1, "file_name": "a.png", "split": "Train"}]}
    (tmp_path / "a.json").write_text(json.dumps(images | content))
    (sample,) = load(f"coco:{tmp_path}", kind=ImageSample, split="train")
    assert sample.boxes.shape == (0, 4)


@pytest.mark.parametrize("name", ["../secret.png", "{root}/secret.png", "link.png"])
def test_a_picture_of_coco_outside_of_the_folder_is_refused(tmp_path, name):
    inside = tmp_path / "set"
    png(tmp_path / "secret.png")
    png(inside / "a.png")
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    content = {"images": [{"id": 1, "file_name": name.format(root=tmp_path)}]}
    (inside / "a.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="must lie in the data set's folder"):
        load(f"coco:{inside}", kind=ImageSample, split="all")


@pytest.mark.parametrize("comment", ["# 68 points\n", "// by hand\n"])
def test_comments_in_pts_files_are_skipped(tmp_path, comment):
    png(tmp_path / "a.png")
    text = f"{comment}version: 1\n{comment}n_points: 1 {comment}{{\n{comment}9 8 {comment}}}\n{comment}"
    (tmp_path / "a.pts").write_text(text)
    (sample,) = load(f"pts:{tmp_path}", kind=ImageSample, split="all")
    assert sample.points["0"].tolist() == [8, 7]


def test_a_whole_number_names_a_target(tmp_path):
    data = [
        ImageSample(np.zeros((1, 60, 60), np.uint8), points={"13": (9, 9), "5": (20, 9)}, name=str(k))
        for k in range(2)
    ]
    from visionrl.envs.localization.landmark import LandmarkLocalization

    assert LandmarkLocalization(data=data, target=13).names == ("13",)
    assert LandmarkLocalization(data=data, target=[5, "13"]).names == ("5", "13")


def test_entries_that_a_reader_gives_are_guarded(tmp_path):
    def read():
        raise ZeroDivisionError("division by zero")

    with pytest.raises(ValueError, match=r"sample 0 \('a'\): must be readable, got: ZeroDivisionError"):
        from visionrl.datasets.load import _read

        _read(Entry("a", "a", read), 0, ImageSample)
