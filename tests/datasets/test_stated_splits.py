"""Splits that data sets state: spellings of folders, lists, lists of exports; one function for every format."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from visionrl.datasets import ImageSample, VideoSample, load
from visionrl.datasets.stated_splits import listed_splits, split_folders, split_of


def png(path, grey=90, size=(40, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, grey, np.uint8)).save(path)


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def names(data, split, kind=ImageSample):
    return [sample.name for sample in load(data, kind=kind, split=split)]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(("train", "train"), ("Training", "train"), ("TRAIN2017", "train"), ("trainImages", "train")),
        *(
            ("obj_train_data", "train"),
            ("valid", "val"),
            ("Validation", "val"),
            ("dev", "val"),
            ("val_set", "val"),
        ),
        *(("Testing", "test"), ("obj_Test_data", "test"), ("test-images", "test"), ("images", "")),
        *(("trainval", ""), ("test_tube", ""), ("invalid", ""), ("train_labels", ""), ("", "")),
    ],
)
def test_names_of_splits_are_known_in_any_usual_spelling(name, split):
    assert split_of(name) == split


def test_two_folders_of_one_split_are_refused(tmp_path):
    (tmp_path / "val").mkdir()
    (tmp_path / "Valid").mkdir()
    with pytest.raises(ValueError, match="one folder for the split 'val'"):
        split_folders(tmp_path)


@pytest.mark.parametrize(
    "spelling", [("train", "val"), ("Train", "Valid"), ("Training", "validation"), ("trn", "Dev")]
)
@pytest.mark.parametrize("form", ["imagefolder", "csv", "pts"])
def test_split_folders_of_any_spelling_are_the_splits(tmp_path, spelling, form):
    for split in spelling:
        for k in range(3):
            png(tmp_path / split / "glioma" / f"{k}.png")
            put(tmp_path / split / "glioma" / f"{k}.pts", "n_points: 1\n{\n3 3\n}\n")
        put(
            tmp_path / split / "points.csv", "file,x,y\n" + "".join(f"glioma/{k}.png,1,2\n" for k in range(3))
        )
    for split in ("train", "val"):
        assert names(f"{form}:{tmp_path}", split) == [
            f"{split}/glioma/{k}{'.png' * (form == 'imagefolder')}" for k in range(3)
        ]


def test_classes_that_look_like_a_split_are_classes(tmp_path):
    for label in ("valid", "invalid"):
        png(tmp_path / label / "1.png")
    assert {
        sample.labels[0] for sample in load(f"imagefolder:{tmp_path}", kind=ImageSample, split="all")
    } == {
        "valid",
        "invalid",
    }


def test_splits_inside_the_classes_are_the_splits(tmp_path):
    for label in ("cat", "dog"):
        for split in ("train", "test"):
            png(tmp_path / label / split / "good" / "1.png")
    assert names(f"imagefolder:{tmp_path}", "test") == ["test/cat/good/1.png", "test/dog/good/1.png"]


def test_splits_beside_classes_or_one_folder_too_deep_are_refused(tmp_path):
    for place in ("data/train/cat/1.png", "data/test/cat/1.png"):
        png(tmp_path / place)
    with pytest.raises(ValueError, match="is it the data set"):
        load(f"imagefolder:{tmp_path}", kind=ImageSample)
    png(tmp_path / "data" / "cat" / "1.png")
    with pytest.raises(ValueError, match="splits train, test beside cat"):
        load(f"imagefolder:{tmp_path / 'data'}", kind=ImageSample)


def otb(folder, count=4):
    for name in ("a", "b", "c", "d")[:count]:
        for k in range(2):
            png(folder / name / "img" / f"{k}.png")
        put(folder / name / "groundtruth_rect.txt", "3,3,9,9\n3,3,9,9\n")


@pytest.mark.parametrize("place", ["", "splits/", "ImageSets/", "ImageSets/2017/"])
def test_lists_of_samples_are_the_splits_and_the_rest_is_left_out(tmp_path, place):
    otb(tmp_path)
    put(tmp_path / f"{place}Train.txt", "a\n./b\n")
    put(tmp_path / f"{place}valid.txt", "root/c/img\n")
    data = f"otb:{tmp_path}"
    assert (names(data, "train", VideoSample), names(data, "val", VideoSample)) == (["a", "b"], ["c"])
    assert names(data, "all", VideoSample) == ["a", "b", "c"]


def test_lists_that_contradict_or_name_what_is_not_there_are_refused(tmp_path):
    otb(tmp_path)
    put(tmp_path / "train.txt", "a\nb\n")
    put(tmp_path / "test.txt", "b\n")
    with pytest.raises(
        ValueError, match=r"test.txt, line 1: 'b' must be in one list, it is in that of 'train'"
    ):
        load(f"otb:{tmp_path}", kind=VideoSample)
    put(tmp_path / "test.txt", "zoe\n")
    with pytest.raises(ValueError, match=r"test.txt, line 1: 'zoe' must be a sample of the data set"):
        load(f"otb:{tmp_path}", kind=VideoSample)


def test_a_given_cut_takes_the_place_of_lists(tmp_path):
    otb(tmp_path)
    put(tmp_path / "train.txt", "a\n")
    found = load(f"otb:{tmp_path}", kind=VideoSample, split="train", split_ratios=(1, 0, 0))
    assert len(found) == 4


def test_no_list_states_nothing(tmp_path):
    assert listed_splits(tmp_path, [("a", "a")]) == {}


def yolo(folder, places, kind="png"):
    for place in places:
        png(folder / f"{place}.{kind}")
        put(folder / f"{place}.txt", "0 0.5 0.5 0.2 0.4\n")


@pytest.mark.parametrize("subsets", [("train", "valid", "test"), ("Train", "Validation", "Test")])
def test_the_subsets_of_an_export_of_cvat_are_the_splits(tmp_path, subsets):
    for split, count in zip(subsets, (6, 3, 2), strict=True):
        places = [f"obj_{split}_data/{split}_{k}" for k in range(count)]
        yolo(tmp_path, places)
        put(tmp_path / f"{split}.txt", "".join(f"data/{place}.png\n" for place in places))
    put(tmp_path / "obj.names", "cat\n")
    put(
        tmp_path / "obj.data",
        "classes = 1\n" + f"train = data/{subsets[0]}.txt\nvalid = data/{subsets[1]}.txt\n",
    )
    counts = [len(names(f"yolo:{tmp_path}", split)) for split in ("train", "val", "test", "all")]
    assert counts in ([6, 3, 2, 11], [6, 3, 2, 11])


def test_the_only_folder_of_darknet_is_cut_by_ratios(tmp_path):
    places = [f"obj_train_data/{k}" for k in range(5)]
    yolo(tmp_path, places)
    put(tmp_path / "train.txt", "".join(f"data/{place}.png\n" for place in places))
    assert [len(names(f"yolo:{tmp_path}", split)) for split in ("train", "val", "test")] == [3, 1, 1]


def test_a_yaml_may_state_several_folders_for_a_split(tmp_path):
    yolo(tmp_path, ["a/1", "b/2", "c/3"])
    put(tmp_path / "data.yaml", "names: [cat]\ntrain: [a, b]\nval: c\n")
    assert names(f"yolo:{tmp_path}", "train") == ["train/1", "train/2"]


def test_split_files_know_the_same_words(tmp_path):
    otb(tmp_path)
    put(tmp_path / "cut.csv", "name,Split\na,Training\nb,valid\nc,TEST\nd,train\n")
    found = load(f"otb:{tmp_path}", kind=VideoSample, split="train", split_file=str(tmp_path / "cut.csv"))
    assert [sample.name for sample in found] == ["a", "d"]


@pytest.mark.parametrize("inner", ["", "seg_train/"])
def test_folders_that_differ_in_the_split_alone_are_the_splits(tmp_path, inner):
    for label in ("sea", "street"):
        png(tmp_path / "seg_train" / inner / label / "1.png")
        png(tmp_path / "seg_test" / inner.replace("train", "test") / label / "2.png")
    assert names(f"imagefolder:{tmp_path}", "test") == ["test/sea/2.png", "test/street/2.png"]
    png(tmp_path / "seg_pred" / "3.png")
    with pytest.raises(ValueError, match="splits train, test beside seg_pred"):
        load(f"imagefolder:{tmp_path}", kind=ImageSample)


def test_classes_with_a_word_of_a_split_are_classes(tmp_path):
    for label in ("steam_train", "crash_test", "cat"):
        png(tmp_path / label / "1.png")
    samples = load(f"imagefolder:{tmp_path}", kind=ImageSample, split="all")
    assert {sample.labels[0] for sample in samples} == {"steam_train", "crash_test", "cat"}
