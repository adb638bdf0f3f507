"""What a sample must be, how sets are split, and what ``load`` takes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visionrl.datasets import ImageSample, VideoSample, load, register_format, split_subjects, validate
from visionrl.datasets import formats as formats_module
from visionrl.datasets.formats import find_format, list_formats, parse
from visionrl.datasets.splits import SPLITS, SplitRule, assign, read_split_file

IMAGE = np.arange(3 * 20 * 30, dtype=np.uint8).reshape(3, 20, 30)
GOOD = ImageSample(
    IMAGE, points={"tip": (29.5, -0.5)}, boxes=np.array([[0, 0, 30, 20]]), labels=["cat"], name="a"
)
VIDEO = VideoSample(np.zeros((2, 1, 20, 30), np.uint8), np.array([[0, 0, 5, 5], [-3, -3, 4, 40]]), name="v")


def test_a_good_image_comes_back_in_plain_form():
    checked = validate(replace(GOOD, name=""), 3)
    assert checked.image is IMAGE
    assert (checked.name, checked.subject, checked.labels) == ("3", "3", ("cat",))
    assert checked.boxes.dtype == np.float64
    np.testing.assert_array_equal(checked.points["tip"], [29.5, -0.5])


BAD_IMAGES = {
    "images are uint8 0-255, got float64": {"image": IMAGE / 255.0},
    "images are uint8 0-255, got int64": {"image": IMAGE.astype(np.int64)},
    r"C = 1 or 3, got shape \(20, 30\)$": {"image": IMAGE[0]},
    r"got shape \(20, 30, 3\); move the channels to the front": {"image": IMAGE.transpose(1, 2, 0)},
    r"C = 1 or 3, got shape \(4, 20, 30\)": {"image": np.zeros((4, 20, 30), np.uint8)},
    r"one pixel or more, got shape \(3, 0, 30\)": {"image": IMAGE[:, :0]},
    "an image must be an array, got str": {"image": "cat.png"},
    r"point 'tip' must be finite, got \[nan, 1.0\]": {"points": {"tip": (np.nan, 1)}},
    r"point 'tip' must lie inside the image of width 30 and height 20, got \[30.0, 1.0\]": {
        "points": {"tip": (30, 1)}
    },
    r"point 'tip' must be \(x, y\), got shape \(3,\)": {"points": {"tip": (1, 2, 3)}},
    "point 'tip' must be numbers, got 'here'": {"points": {"tip": "here"}},
    "points must be a mapping of name to": {"points": np.zeros((4, 2))},
    r"box 1: a box must lie inside the image of width 30 and height 20, got \[0.0, 0.0, 30.5, 9.0\]": {
        "boxes": [[0, 0, 5, 5], [0, 0, 30.5, 9]],
        "labels": (),
    },
    r"box 0: a box must have x0 < x1 and y0 < y1, got \[4.0, 4.0, 4.0, 9.0\]": {"boxes": [[4, 4, 4, 9]]},
    r"box 0: a box must be finite, got \[nan, 0.0, 4.0, 9.0\]": {"boxes": [[np.nan, 0, 4, 9]]},
    r"boxes must have shape \(N, 4\), got \(4,\)": {"boxes": [0, 0, 4, 9]},
    "labels must be one a box, got 2 for 1 boxes": {"labels": ["cat", "dog"]},
    r"mask must be integers of shape \(20, 30\), got float64": {"mask": np.zeros((20, 30))},
    r"of shape \(20, 30\), got int64 of shape \(30, 20\)": {"mask": np.zeros((30, 20), int)},
    "names must be a mapping of label to name, got list": {"names": ["cat"]},
    "names must be of labels that are whole numbers > 0, got 0": {"names": {0: "sky"}},
    "the name of label 2 must be a word, got ''": {"names": {2: ""}},
    "mask must be >= 0, got -1": {"mask": np.full((20, 30), -1)},
    "spacing_mm must be finite and > 0, got 0": {"spacing_mm": 0},
}


@pytest.mark.parametrize(("message", "change"), BAD_IMAGES.items(), ids=range(len(BAD_IMAGES)))
def test_a_bad_image_sample_is_named_with_its_rule(message, change):
    with pytest.raises(ValueError, match=rf"^sample 1 \('bad'\).*{message}"):
        load([GOOD, replace(GOOD, name="bad", **change)], kind=ImageSample)


class BrokenFrames(list):
    """Frames of which one cannot be read."""

    def __getitem__(self, index):
        if index == 1:
            raise OSError("disk on fire")
        return super().__getitem__(index)


FRAME = np.zeros((1, 20, 30), np.uint8)
BAD_VIDEOS = {
    "a video must have one frame or more, got 0": {"frames": []},
    "frames must have a length and items, got generator": {"frames": (frame for frame in [FRAME])},
    "boxes must be one a frame, got 2 boxes for 1 frames": {"frames": [FRAME]},
    "frame 1: images are uint8 0-255, got float32": {"frames": [FRAME, FRAME.astype(np.float32)]},
    r"frame 1: all frames must have the shape of the first, \(1, 20, 30\), got \(1, 20, 31\)": {
        "frames": [FRAME, np.zeros((1, 20, 31), np.uint8)]
    },
    "frame 1: must be readable, got: disk on fire": {"frames": BrokenFrames([FRAME, FRAME])},
    r"frame 1: the box must overlap the frame of width 30 and height 20, got \[30.0": {
        "boxes": [[0, 0, 5, 5], [30, 0, 35, 5]]
    },
    r"frame 0: the box must overlap .*, got \[0.0, -9.0": {"boxes": [[0, -9, 5, 0], [0, 0, 5, 5]]},
    "frame 1: a box must be finite": {"boxes": [[0, 0, 5, 5], [0, 0, np.inf, 5]]},
    "frame 0: a box must have x0 < x1": {"boxes": [[5, 0, 4, 5], [0, 0, 5, 5]]},
}


@pytest.mark.parametrize(("message", "change"), BAD_VIDEOS.items(), ids=range(len(BAD_VIDEOS)))
def test_a_bad_video_sample_is_named_with_its_rule(message, change):
    with pytest.raises(ValueError, match=rf"^sample 1 \('bad'\).*{message}"):
        load([VIDEO, replace(VIDEO, name="bad", **change)], kind=VideoSample)


def test_a_video_box_may_reach_out_of_the_frame():
    np.testing.assert_array_equal(validate(VIDEO, 0).boxes[1], [-3, -3, 4, 40])


def test_each_frame_is_read_once_and_none_is_kept():
    reads = []

    class Frames:
        def __len__(self):
            return 2

        def __getitem__(self, index):
            reads.append(index)
            return FRAME

    frames: Any = Frames()
    (video,) = load([replace(VIDEO, frames=frames)], kind=VideoSample)
    assert reads == [0, 1]
    assert video.frames is frames


def test_a_torch_dataset_works_as_it_is():
    torch = pytest.importorskip("torch")
    base: Any = torch.utils.data.Dataset

    class Pictures(base):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return ImageSample(torch.full((1, 4, 5), index, dtype=torch.uint8))

    samples = load(Pictures(), kind=ImageSample, split="test")
    assert [sample.name for sample in samples] == ["0", "1"]
    assert isinstance(samples[1].image, np.ndarray)
    assert samples[1].image.max() == 1


class MissingFile(list):
    """A data set whose second file is gone."""

    def __getitem__(self, index):
        if index == 1:
            raise FileNotFoundError("b.png")
        return super().__getitem__(index)


BAD_SEQUENCES = {
    "got an empty list": [],
    r"sample 1: must be of type ImageSample, got tuple": [GOOD, (IMAGE, 3)],
    "sample 0: must be of type ImageSample, got VideoSample": [VIDEO],
    "sample names must be unique, got 'a' for samples 0 and 1": [GOOD, GOOD],
    r"sequence of ImageSample \(len and items\), got generator": (sample for sample in [GOOD]),
    r"sequence of ImageSample \(len and items\), got dict": {0: GOOD},
    "sample 1: must be readable, got: b.png": MissingFile([GOOD, GOOD]),
    "sample 0: name and subject must be strings, got 7": [ImageSample(IMAGE, name=7)],  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("message", "data"), BAD_SEQUENCES.items(), ids=range(len(BAD_SEQUENCES)))
def test_a_bad_sequence_is_refused(message, data):
    with pytest.raises(ValueError, match=message):
        load(data, kind=ImageSample)


@pytest.mark.parametrize("cut", [{"split_file": "s.json"}, {"split_ratios": (1, 0, 0)}, {"split_seed": 1}])
def test_a_sequence_is_the_split_asked_for(cut):
    assert len(load([GOOD], kind=ImageSample, split="test")) == 1
    with pytest.raises(ValueError, match="a sequence of samples is the split asked for: leave split_file"):
        load([GOOD], kind=ImageSample, **cut)


def test_without_data_and_default_load_says_what_to_give():
    with pytest.raises(ValueError, match='data must be given: "FORMAT:PATH"'):
        load(None, kind=ImageSample)


def test_classes_keep_named_points_and_boxes():
    two = replace(GOOD, boxes=np.array([[0, 0, 5, 5], [1, 1, 9, 9]]), labels=["cat", "dog"], name="two")
    bare = ImageSample(IMAGE, name="bare")
    kept = load([GOOD, two, bare], kind=ImageSample, classes=["dog"])
    assert [sample.name for sample in kept] == ["two"]
    assert kept[0].labels == ("dog",)
    np.testing.assert_array_equal(kept[0].boxes, [[1, 1, 9, 9]])
    assert not kept[0].points
    assert list(load([GOOD, two], kind=ImageSample, classes=["tip"])[1].points) == ["tip"]


@pytest.mark.parametrize(
    ("data", "classes", "message"),
    [
        ([GOOD], ["tip", "tail"], "got tail; known: cat, tip"),
        ([GOOD], "tip", "sequence of one name or more, got 'tip'"),
        ([GOOD], [], r"sequence of one name or more, got \[\]"),
        ([VIDEO], ["cat"], "left out for videos"),
    ],
)
def test_bad_classes_are_refused(data, classes, message):
    with pytest.raises(ValueError, match=message):
        load(data, kind=type(data[0]), classes=classes)


@pytest.fixture
def own_format(monkeypatch):
    """A scratch copy of the registry."""
    monkeypatch.setattr(formats_module, "_FORMATS", dict(formats_module._FORMATS))


def test_one_decorated_function_adds_a_format(own_format, tmp_path):
    @register_format("numbered", kind=ImageSample)
    def read(path, options):
        return [replace(GOOD, name=f"{path.name}-{j}") for j in range(10)]

    split = {name: load(f"numbered:{tmp_path}", kind=ImageSample, split=name) for name in SPLITS}
    assert [len(split[name]) for name in SPLITS] == [6, 2, 2]
    assert load(f"numbered:{tmp_path}", kind=ImageSample, split="val") is split["val"]
    with pytest.raises(ValueError, match="format 'numbered' is registered already, by"):
        register_format("numbered", kind=VideoSample)


def test_a_bad_registration_is_refused():
    with pytest.raises(ValueError, match="letters, digits, - and _, got 'a:b'"):
        register_format("a:b", kind=ImageSample)
    with pytest.raises(ValueError, match="kind must be ImageSample or VideoSample"):
        register_format("ab", kind=dict)  # type: ignore[arg-type]


def test_an_embedded_format_obeys_the_split_and_takes_no_path(own_format):
    @register_format("inside", kind=ImageSample, embedded=True)
    def read(path, options):
        return [replace(GOOD, name=options.split)]

    assert [s.name for s in load(None, kind=ImageSample, default="inside", split="val")] == ["val"]
    assert [s.name for s in load("inside", kind=ImageSample, split="all")] == list(SPLITS)
    with pytest.raises(ValueError, match="'inside' has splits of its own: leave split_file"):
        load("inside", kind=ImageSample, split_seed=3)
    with pytest.raises(ValueError, match="'inside' is an embedded data set and takes no path"):
        load("inside:/some/where", kind=ImageSample)


def test_the_readers_errors_and_findings_are_checked(own_format, tmp_path):
    register_format("none", kind=ImageSample)(lambda path, options: [])
    register_format("wrong", kind=ImageSample)(lambda path, options: [{"image": IMAGE}])
    with pytest.raises(ValueError, match="format 'none' found no sample in"):
        load(f"none:{tmp_path}", kind=ImageSample)
    with pytest.raises(ValueError, match="sample 0: must be of type ImageSample, got dict"):
        load(f"wrong:{tmp_path}", kind=ImageSample)


def test_format_and_path_part_at_the_first_colon():
    assert parse(r"pts:C:\x") == ("pts", r"C:\x")
    assert parse("otb:../a:b") == ("otb", "../a:b")
    assert parse("chest-xray") == ("chest-xray", "")


def test_unknown_and_unfitting_formats_are_explained():
    with pytest.raises(ValueError, match=r"got 'C'; known: .*otb \(VideoSample\), .*pts \(ImageSample\)"):
        load(r"C:\faces", kind=ImageSample)
    with pytest.raises(ValueError, match=r"'otb' yields VideoSample, but ImageSample is needed; .*csv"):
        load("otb:x", kind=ImageSample)
    with pytest.raises(ValueError, match="'pts' needs a path"):
        load("pts", kind=ImageSample)
    with pytest.raises(ValueError, match="path of 'pts' must exist, got '/no/where'"):
        load("pts:/no/where", kind=ImageSample)


def test_the_registry_lists_by_kind():
    assert {"csv", "pts", "chest-xray"} <= {form.name for form in list_formats(ImageSample)}
    assert {"otb", "cutout-videos"} <= {form.name for form in list_formats(VideoSample)}
    assert find_format("otb", VideoSample).kind is VideoSample


RATIOS = (
    st.tuples(*[st.integers(0, 9)] * 3).filter(sum).map(lambda parts: tuple(p / sum(parts) for p in parts))
)


@settings(deadline=None)
@given(st.lists(st.text(max_size=4), max_size=60), RATIOS, st.none() | st.integers(0, 99), st.randoms())
def test_splits_are_complete_stable_and_of_the_right_size(subjects, ratios, seed, random):
    split = split_subjects(subjects, ratios, seed)
    assert set(split) == set(subjects)
    assert set(split.values()) <= set(SPLITS)
    shuffled = subjects * 2
    random.shuffle(shuffled)
    assert split_subjects(shuffled, ratios, seed) == split
    counts = [list(split.values()).count(name) for name in SPLITS]
    wanted = sum(ratio > 0 for ratio in ratios)
    for count, ratio in zip(counts, ratios, strict=True):
        assert abs(count - ratio * len(split)) < 2 + 1e-9
        assert count == 0 or ratio > 0
        assert count >= 1 or ratio == 0 or len(split) < wanted


@settings(deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=40), st.integers(0, 99))
def test_subjects_never_part(subjects, seed):
    items = [(f"item {j}", f"subject {s}") for j, s in enumerate(subjects)]
    splits = assign(items, SplitRule(seed=seed))
    assert len({(subject, split) for (_, subject), split in zip(items, splits, strict=True)}) == len(
        set(subjects)
    )


def test_the_seed_decides_and_none_keeps_sorted_order():
    names = [f"s{j}" for j in range(10)]
    assert split_subjects(names, seed=0) != split_subjects(names, seed=1)
    assert list(split_subjects(names, seed=None).values()) == ["train"] * 6 + ["val"] * 2 + ["test"] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "valid"}, 'split must be "train", "val", "test" or "all", got \'valid\''),
        ({"ratios": (0.5, 0.5)}, "three shares >= 0 that sum to 1"),
        ({"ratios": (0.9, 0.2, -0.1)}, "three shares >= 0 that sum to 1"),
        ({"ratios": (0.5, 0.2, 0.2)}, "three shares >= 0 that sum to 1"),
        ({"file": "x.json", "seed": 3}, "takes the place of split_ratios and split_seed"),
    ],
)
def test_a_bad_split_rule_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        SplitRule(**change)


ITEMS = [("a_1", "a"), ("a_2", "a"), ("b_1", "b"), ("c", "c")]


def test_split_files_name_samples_or_subjects(tmp_path):
    file = tmp_path / "split.json"
    file.write_text(json.dumps({"train": ["a"], "test": ["b_1", "c"]}))
    assert assign(ITEMS, SplitRule(file=str(file))) == ["train", "train", "test", "test"]
    table = tmp_path / "split.csv"
    table.write_text("name,split\na_1,val\na_2,val\nb_1, test\nc,train\n")
    assert assign(ITEMS, SplitRule(file=str(table))) == ["val", "val", "test", "train"]


BAD_SPLIT_FILES = {
    "names 1 that the data set lacks: 'z'; it has 'a', 'a_1'": {"train": ["a", "b", "c", "z"]},
    "must name every sample, but misses 1: 'c'": {"train": ["a"], "test": ["b"]},
    "'b' stands twice, in train and test": {"train": ["a", "b"], "test": ["b", "c"]},
    "must be train, val or test, got 'invalid'": {"invalid": ["a", "b", "c"]},
    "subject must share a split, got train and test for subject 'a'": {
        "train": ["a_1"],
        "test": ["a_2", "b", "c"],
    },
    "a JSON split file must be": ["a", "b", "c"],
    "a JSON split file must be .*names": {"train": "abc"},
}


@pytest.mark.parametrize(("message", "content"), BAD_SPLIT_FILES.items(), ids=range(len(BAD_SPLIT_FILES)))
def test_a_bad_split_file_is_explained(message, content, tmp_path):
    file = tmp_path / "split.json"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        assign(ITEMS, SplitRule(file=str(file)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("split.csv", "a,train,x\n", "line 1: must be name,split, got 'a,train,x'"),
        ("split.json", "{", "must be valid JSON"),
        ("split.txt", "a train", "must end in .json or .csv"),
        ("gone/split.csv", None, "split_file must exist"),
    ],
)
def test_a_malformed_split_file_is_refused(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_split_file(tmp_path / name)
