"""YOLO's lines are read as the data set's own file says what they are."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from visionrl.datasets import ImageSample, load

BOX = "0 0.5 0.5 0.2 0.4"  # edges 80 30 120 70 in a picture of 200 x 100


def folder(root, line, about="kpt_shape: [4, 2]\n"):
    for place in ("images/train", "labels/train"):
        (root / place).mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((100, 200, 3), 90, np.uint8)).save(root / "images/train/a.png")
    (root / "labels/train/a.txt").write_text(line + "\n")
    (root / "data.yaml").write_text(f"train: images/train\nnames: [gecko]\n{about}")
    return f"yolo:{root}"


def read(data):
    (sample,) = load(data, kind=ImageSample, split="train")
    return sample.boxes.round(9).tolist()


@pytest.mark.parametrize(
    ("count", "size", "point"),
    [(1, 2, "0.45 0.4"), (4, 2, "0.45 0.4"), (2, 3, "0.45 0.4 1"), (4, 3, "0.45 0.4 2"), (17, 3, "0 0 0")],
)
def test_keypoints_that_the_yaml_states_do_not_change_the_box(tmp_path, count, size, point):
    line = " ".join([BOX, *[point] * count])
    assert read(folder(tmp_path, line, f"kpt_shape: [{count}, {size}]\n")) == [[80, 30, 120, 70]]


def test_a_box_alone_is_one_and_another_number_of_keypoints_is_refused(tmp_path):
    assert read(folder(tmp_path, BOX)) == [[80, 30, 120, 70]]
    with pytest.raises(ValueError, match=r"a.txt, line 1: kpt_shape \[3, 3\] says .* 14 cells, got 13"):
        read(folder(tmp_path / "b", BOX + " 0.4 0.4" * 4, "kpt_shape: [3, 3]\n"))


@pytest.mark.parametrize("shape", ["4", "[4, 4]", "[0, 2]", "[a, 2]", "[4]", "[1.5, 2]", "[1000000000, 3]"])
def test_a_keypoint_shape_that_is_none_is_refused(tmp_path, shape):
    with pytest.raises(ValueError, match=r"data.yaml: kpt_shape must be \[K, 2\] or \[K, 3\]"):
        read(folder(tmp_path, BOX, f"kpt_shape: {shape}\n"))


def test_keypoints_without_a_stated_shape_are_refused_where_they_look_like_it(tmp_path):
    with pytest.raises(ValueError, match=r"looks like a box and 4 keypoints .* kpt_shape: \[4, 3\]"):
        read(folder(tmp_path, BOX + " 0.45 0.4 1" * 4, ""))
    with pytest.raises(ValueError, match=r"must stand in data\.yaml"):
        read(folder(tmp_path / "b", BOX + " 0.45 0.4 1" * 3, ""))


def test_outlines_are_still_outlines(tmp_path):
    assert read(folder(tmp_path, "0 0.1 0.2 0.9 0.2 0.5 0.8", "")) == [[20, 20, 180, 80]]


def test_a_number_of_classes_that_is_not_that_of_the_names_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nc must be the number of names, 1, got 3"):
        read(folder(tmp_path, BOX, "nc: 3\n"))


def test_two_yaml_files_about_the_data_are_refused_and_others_are_not_looked_at(tmp_path):
    data = folder(tmp_path, BOX, "")
    (tmp_path / "data.yaml").rename(tmp_path / "geckos.yaml")
    (tmp_path / "hyp.yaml").write_text("lr0: 0.01\n")
    assert read(data) == [[80, 30, 120, 70]]
    (tmp_path / "more.yaml").write_text("names: [a]\n")
    from visionrl.datasets import clear_cache

    clear_cache()
    with pytest.raises(ValueError, match=r"one yaml file about its data.*got geckos.yaml, more.yaml"):
        read(data)


BOMB = "a: &a [x, x]\n" + "".join(
    f"{q}: &{q} [{', '.join(['*' + p] * 10)}]\n" for p, q in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    "text", [BOMB + "names: *h\n", "names: &x [cat]\n", "names: " + "[" * 500 + "]" * 500]
)
def test_a_yaml_with_aliases_or_deep_nesting_is_refused_at_once(tmp_path, text):
    data = folder(tmp_path, BOX)
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"data.yaml.*(anchors and aliases are not read|64 levels)"):
        read(data)


def test_pictures_of_one_stem_keep_their_suffix(tmp_path):
    data = folder(tmp_path, BOX, "")
    Image.fromarray(np.full((100, 200, 3), 50, np.uint8)).save(tmp_path / "images/train/a.jpg")
    found = load(data, kind=ImageSample, split="train")
    assert [(sample.name, len(sample.boxes)) for sample in found] == [("train/a.jpg", 1), ("train/a.png", 1)]


@pytest.mark.parametrize("value", ["/usr", "../other", "{root}/other"])
def test_pictures_that_the_yaml_seeks_outside_of_the_folder_are_refused(tmp_path, value):
    data = folder(tmp_path / "set", BOX, "")
    (tmp_path / "other").mkdir()
    stated = value.format(root=tmp_path)
    (tmp_path / "set" / "data.yaml").write_text(f"train: {stated}\nnames: [a]\n")
    with pytest.raises(
        ValueError, match=r"data.yaml: the pictures of 'train' must be there, .* lies outside"
    ):
        read(data)


def test_a_list_and_a_path_cannot_lead_outside_of_the_folder(tmp_path):
    data = folder(tmp_path / "set", BOX, "")
    secret = tmp_path / "secret.png"
    (tmp_path / "set/images/train/a.png").rename(secret)
    (tmp_path / "set/train.txt").write_text(f"{secret}\nimages/train/b.png\n")
    (tmp_path / "set/labels/train/b.txt").write_text(BOX)
    (tmp_path / "set/data.yaml").write_text("path: /\ntrain: train.txt\nnames: [a]\n")
    with pytest.raises(ValueError, match=r"secret\.png"):
        read(data)


def test_images_of_formats_that_are_not_read_are_counted_in_a_warning(tmp_path):
    data = folder(tmp_path, BOX, "")
    for name in ("b.gif", "c.gif", "d.heic"):
        (tmp_path / "images/train" / name).write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"left out: 2 .gif, 1 .heic"):
        read(data)
