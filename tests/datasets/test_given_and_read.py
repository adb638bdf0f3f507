"""Files given are compared with files read: frames of videos, flags of frames, files of pairs, their stated splits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from visionrl.datasets import MotSample, PairSample, VideoSample, clear_cache, load


def photo(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(file)


def text(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


def bad(data: str, kind: Any, words: str) -> None:
    clear_cache()
    with pytest.raises(ValueError, match=words) as caught:
        load(data, kind=kind, split="all")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("0001.jpg", "0003.jpg", "thumb.jpg"), "must hold frames alone, which have a number, got thumb.jpg"),
        (("0001.jpg", "0001.png", "0002.jpg"), "must hold each frame once, got 0001.jpg and 0001.png"),
    ],
)
def test_a_picture_that_is_no_frame_of_a_video_is_refused(
    tmp_path: Path, names: tuple[str, ...], words: str
) -> None:
    for name in names:
        photo(tmp_path / "Cat/img" / name)
    text(tmp_path / "Cat/groundtruth_rect.txt", "1,1,4,4\n" * 3)
    bad(f"otb:{tmp_path}", VideoSample, words)


def test_frames_without_any_number_are_taken_by_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        photo(tmp_path / f"Cat/img/{name}.jpg")
    text(tmp_path / "Cat/groundtruth_rect.txt", "1,1,4,4\n" * 2)
    assert len(load(f"otb:{tmp_path}", kind=VideoSample, split="all")[0].frames) == 2


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absence.label", "0\n2\n0\n", "whole numbers from 0 to 1, got 2 for frame 2"),
        ("cover.label", "8\n0.5\n0\n", "whole numbers from 0 to 8, got 0.5 for frame 2"),
    ],
)
def test_flags_of_got10k_beyond_its_range_are_refused(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    for k in (1, 2, 3):
        photo(tmp_path / f"cat/{k:08}.jpg")
    text(tmp_path / "cat/groundtruth.txt", "1,1,4,4\n" * 3)
    text(tmp_path / "cat" / name, content)
    bad(f"got10k:{tmp_path}", VideoSample, words)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("last", "warns"), [(2, True), (3, False)])
def test_frames_of_mot_that_could_be_off_by_one_are_told(
    tmp_path: Path, last: int, warns: bool, recwarn: pytest.WarningsRecorder
) -> None:
    """Images from 0: lines up to frame 2 fit both ways of counting, one of frame 3 only that of the format."""
    for k in range(3):
        photo(tmp_path / f"A/img1/{k:06}.jpg")
    text(tmp_path / "A/gt/gt.txt", f"1,1,2,2,4,4,1,1,1\n{last},1,2,2,4,4,1,1,1\n")
    load(f"mot:{tmp_path}", kind=MotSample, split="all")
    told = [str(one.message) for one in recwarn if "000000.jpg" in str(one.message)]
    assert bool(told) == warns and all("1 frames off" in one for one in told)


def test_splits_of_a_table_of_pairs_are_its_own(tmp_path: Path) -> None:
    for name in "abc":
        photo(tmp_path / f"{name}.png")
    text(tmp_path / "pairs.csv", "Fixed,Moving,Split\na.png,b.png,Training\na.png,c.png,Testing\n")
    for split, name in (("train", "b"), ("test", "c")):
        assert [one.name for one in load(f"pairs:{tmp_path}", kind=PairSample, split=split)] == [name]
    text(tmp_path / "bad/pairs.csv", "fixed,moving,split\na.png,b.png,monday\n")
    bad(f"pairs:{tmp_path / 'bad'}", PairSample, "line 2: split must be train, val or test, got 'monday'")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("fixed_images/a.jpg", "must have one file a name, got a.jpg and a.png"),
        ("moving_labels/a_seg.png", "a_seg.png must have the name of a pair"),
    ],
)
def test_a_file_beside_pairs_that_would_not_be_read_is_refused(tmp_path: Path, file: str, words: str) -> None:
    for side in ("fixed", "moving"):
        photo(tmp_path / f"{side}_images/a.png")
    assert len(load(f"pairs:{tmp_path}", kind=PairSample, split="all")) == 1
    photo(tmp_path / file)
    bad(f"pairs:{tmp_path}", PairSample, words)


def learn2reg(folder: Path, **other: Any) -> str:
    """A task of one pair."""
    names = [f"./imagesTr/A_000{k}_0000.nii.gz" for k in (1, 2)]
    (folder / "imagesTr").mkdir(parents=True)
    for name in names:
        voxels = np.random.default_rng(0).integers(0, 99, (8, 8, 8)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / name)
    pair = {"fixed": names[0], "moving": names[1]}
    (folder / "task.json").write_text(json.dumps({"training_paired_images": [pair], **other}))
    return f"learn2reg:{folder / 'task.json'}"


def test_a_pair_of_learn2reg_that_lacks_a_side_is_refused(tmp_path: Path) -> None:
    data = learn2reg(tmp_path, registration_val=[{"fixed": "./imagesTr/A_0001_0000.nii.gz"}])
    bad(data, PairSample, "a pair of registration_val must name fixed and moving")


def test_label_maps_of_learn2reg_that_are_not_there_are_told(tmp_path: Path) -> None:
    row = {"image": "./imagesTr/A_0001_0000.nii.gz", "label": "./labelsTr/none.nii.gz"}
    with pytest.warns(
        UserWarning, match=r"1 files that it lists are not there, the first is '\./labelsTr/none"
    ):
        assert load(learn2reg(tmp_path, training=[row]), kind=PairSample, split="all")[0].fixed_mask is None
