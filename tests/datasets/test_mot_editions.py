"""Ground truth of the editions of the MOTChallenge, and what seqinfo.ini states."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from visionrl.datasets import MotSample, load


def sequence(root, line, frames=(1, 2, 3), info=""):
    for place in ("img1", "gt"):
        (root / place).mkdir(parents=True, exist_ok=True)
    for k in frames:
        Image.fromarray(np.full((60, 80), 9 * k, np.uint8)).save(root / "img1" / f"{k:06d}.jpg")
    rows = [f"{k},{one},{10 * one},5,20,30,{line}" for k in range(1, len(frames) + 1) for one in (1, 2)]
    (root / "gt" / "gt.txt").write_text("\n".join(rows) + "\n")
    if info:
        (root / "seqinfo.ini").write_text(f"[Sequence]\n{info}\n", encoding="utf-8-sig")
    return f"mot:{root}"


def read(data):
    (sample,) = load(data, kind=MotSample, split="all")
    return sample


@pytest.mark.parametrize(
    ("line", "visible"),
    [
        ("1,-1,-1,-1", 1),  # 2015, in two dimensions
        ("1,2.5,0.3,-7", 1),  # 2015, in three: a place in the world
        ("1,4,0,2", 1),  # VisDrone: class, truncation, occlusion
        ("1,1,0.25", 0.25),  # 2016 to 2020
        ("1,1,1", 1),  # DanceTrack
        ("1,1,-1", 1),
        ("1", 1),
    ],
)
def test_the_visibility_is_that_of_the_edition(tmp_path, line, visible):
    sample = read(sequence(tmp_path, line))
    assert [part.tolist() for part in sample.visibility] == [[visible, visible]] * 3
    assert sample.boxes[0].tolist() == [[9, 4, 29, 34], [19, 4, 39, 34]]


@pytest.mark.parametrize("value", ["1.5", "-0.5", "100"])
def test_a_visibility_out_of_range_is_refused_not_clipped(tmp_path, value):
    with pytest.raises(
        ValueError, match=r"gt.txt, line 1: the visibility, the ninth number, must be in 0 to 1"
    ):
        read(sequence(tmp_path, f"1,1,{value}"))


@pytest.mark.parametrize(
    ("info", "rule"),
    [
        ("seqLength=4", "as many frames as seqinfo.ini says, 4"),
        (
            "imWidth=1920\nimHeight=1080",
            "imWidth and imHeight must be the frames', 80 and 60, got 1920 and 1080",
        ),
        ("imWidth=wide", "INI file with whole numbers"),
        ("imDir=../other", "must lie in the data set's folder"),
    ],
)
def test_what_seqinfo_states_is_compared_with_the_frames(tmp_path, info, rule):
    with pytest.raises(ValueError, match=rule):
        read(sequence(tmp_path / "a", "1,1,1", info=info))


def test_seqinfo_that_is_right_is_read_whatever_its_mark(tmp_path):
    assert len(read(sequence(tmp_path, "1,1,1", info="seqLength=3\nimWidth=80\nimHeight=60")).frames) == 3


def test_a_missing_frame_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"every frame of the sequence, got 000004.jpg after 000002.jpg"):
        read(sequence(tmp_path, "1,1,1", frames=(1, 2, 4)))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "must have a box in the image or more, got none"),
        ("1,1,5,5,2000000000,3,1,1,1\n", "a box must lie within 10 times the frame of 80 x 60"),
        ("1,1e300,5,5,20,30,1,1,1\n", "identities must be whole and once in a frame"),
        ("1,-1,5,5,20,30,1,1,1\n", "identities must be whole and once in a frame"),
    ],
)
def test_a_truth_that_cannot_be_is_refused(tmp_path, text, rule):
    data = sequence(tmp_path, "1,1,1")
    (tmp_path / "gt" / "gt.txt").write_text(text)
    with pytest.raises(ValueError, match=rule):
        read(data)
