"""The readers of tracking benchmarks: sequences as each lays them out, gaps, broken ones, and the real ones."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from visionrl.core import batch, make_task
from visionrl.datasets import VideoSample, clear_cache, load, validate
from visionrl.datasets.readers.davis import read_mask
from visionrl.datasets.readers.files import ImageFiles
from visionrl.datasets.readers.vot import region

NAN = [np.nan] * 4
HEIGHT, WIDTH = 20, 30


def write_frames(folder, count, name="{:08d}.jpg", first=1):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        cv2.imwrite(str(folder / name.format(number)), np.full((HEIGHT, WIDTH, 3), 10 * number, np.uint8))
    return folder


def sequence(folder, lines, pictures=".", name="groundtruth.txt", frames=None):
    write_frames(folder / pictures, len(lines) if frames is None else frames)
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def read(form, path):
    clear_cache()
    return load(f"{form}:{path}", kind=VideoSample, split="all")


RECTS = ["1,2,4,5", "2,2,4,5", "3.5,2,4,5", "4,2,4,5"]


def test_got10k_boxes_begin_at_the_numbers(tmp_path):
    sequence(tmp_path / "GOT-10k_Val_000001", RECTS)
    sequence(tmp_path / "GOT-10k_Val_000002", RECTS)
    (tmp_path / "list.txt").write_text("GOT-10k_Val_000001\n")
    first, second = read("got10k", tmp_path)
    assert (first.name, second.name) == ("GOT-10k_Val_000001", "GOT-10k_Val_000002")
    assert isinstance(first.frames, ImageFiles)
    assert abs(int(first.frames[2].mean()) - 30) < 2
    np.testing.assert_array_equal(first.boxes[2], [3.5, 2, 7.5, 7])


def test_got10k_parts_are_splits(tmp_path):
    for part, count in (("train", 2), ("val", 1)):
        for number in range(count):
            sequence(tmp_path / part / f"S{number}", RECTS)
    data = f"got10k:{tmp_path}"
    assert [video.name for video in load(data, kind=VideoSample, split="train")] == ["train/S0", "train/S1"]
    assert len(load(data, kind=VideoSample, split="val")) == 1


def test_got10k_frames_without_the_object_have_no_box(tmp_path):
    sequence(tmp_path, RECTS)
    (tmp_path / "absence.label").write_text("0\n1\n0\n0\n")
    (tmp_path / "cover.label").write_text("8\n8\n0\n3\n")
    (video,) = read("got10k", tmp_path)
    assert np.isnan(video.boxes).all(axis=1).tolist() == [False, True, True, False]
    (tmp_path / "cover.label").write_text("8\n8\n")
    with pytest.raises(
        ValueError, match=r"cover.label must have one line a line of groundtruth.txt, got 2 for 4"
    ):
        read("got10k", tmp_path)


@pytest.mark.parametrize("pictures", [".", "color"])
def test_vot_lays_its_frames_out_in_two_ways(tmp_path, pictures):
    sequence(tmp_path / "bag", ["1,2,4,5", "2,2,8,2,8,6,2,6", "m3,4,5,3,2,3,2,3", "0"], pictures)
    (video,) = read("vot", tmp_path)
    wanted = [[1, 2, 5, 7], [2, 2, 8, 6], [5, 4, 8, 6], NAN]
    np.testing.assert_array_equal(video.boxes, wanted)
    assert len(video.frames) == 4


def test_vot_may_have_several_objects(tmp_path):
    sequence(tmp_path / "bag", ["1,2,4,5", "2,2,4,5"], "color", "groundtruth_1.txt")
    sequence(tmp_path / "bag", ["9,2,4,5", "2,2,4,5"], "color", "groundtruth_2.txt")
    videos = read("vot", tmp_path)
    assert [(v.name, v.subject, v.boxes[0, 0]) for v in videos] == [("bag_1", "bag", 1), ("bag_2", "bag", 9)]


REGIONS = {
    "10,20,30,40": (10, 20, 40, 60),
    "5,1,9,4,6,8,1,3": (1, 1, 9, 8),  # the smallest upright box around the corners
    "0,0,3.5,0,0,2": (0, 0, 3.5, 2),
    "m1,2,4,3,5,2,5": (2, 3, 4, 4),  # of 4 x 3 pixels, those in the middle of the second row
    "m0,0,2,2,0,4": (0, 0, 2, 2),
    "m0,0,2,2,4": NAN,
    "m0,0,0,0": NAN,
    "nan,nan,nan,nan": NAN,
    "nan,nan,nan,nan,nan,nan,nan,nan": NAN,
    "0,0,0,0": NAN,
    "1": NAN,
}


@pytest.mark.parametrize(("text", "box"), REGIONS.items())
def test_vot_regions_become_upright_boxes(text, box):
    np.testing.assert_array_equal(region(text.split(","), "here"), box)


BAD_REGIONS = {
    "1,2,3": "here: must hold 4 numbers, or 6 or more in pairs, got 3",
    "1,2,3,4,5,6,7": "here: must hold 4 numbers, or 6 or more in pairs, got 7",
    "1,2,-3,4": "here: width and height must be > 0, got -3 and 4",
    "1,2,nan,4": "here: numbers must be finite, got '1 2 nan 4'",
    "1,1,2,2,a,3": "here: must hold numbers",
    "1,1,1,2,1,3": "here: a polygon must have an area, got '1 1 1 2 1 3'",
    "m1,2": "here: a mask must begin with x, y, width and height, got 2 numbers",
    "m0,0,2,2,0,5": "here: runs must fill 2 x 2 pixels at most, got 5",
}


@pytest.mark.parametrize(("text", "words"), BAD_REGIONS.items())
def test_bad_vot_regions_are_named(text, words):
    with pytest.raises(ValueError, match=words):
        region(text.split(","), "here")


def davis(tmp_path, masks, resolution="480p"):
    write_frames(tmp_path / "JPEGImages" / resolution / "judo", len(masks), "{:05d}.jpg", first=0)
    folder = tmp_path / "Annotations" / resolution / "judo"
    folder.mkdir(parents=True)
    for number, mask in enumerate(masks):
        picture = Image.fromarray(mask)
        picture.putpalette([7, 8, 9] * 256)  # colours say nothing
        picture.save(folder / f"{number:05d}.png")
    return tmp_path


def mask_of(*boxes):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for label, x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = label
    return mask


@pytest.mark.parametrize("resolution", ["480p", "."])
def test_davis_boxes_are_the_extents_of_masks(tmp_path, resolution):
    masks = [mask_of(), mask_of((2, 1, 2, 5, 9)), mask_of(), mask_of((2, 3, 2, 4, 3), (2, 8, 5, 9, 6))]
    (video,) = read("davis", davis(tmp_path, masks, resolution))
    assert video.name == "judo"
    assert len(video.frames) == 3  # from the first box on
    assert abs(int(video.frames[0].mean()) - 10) < 2
    np.testing.assert_array_equal(video.boxes, [[1, 2, 5, 9], NAN, [3, 2, 9, 6]])


def test_davis_objects_are_videos_of_one_subject(tmp_path):
    masks = [mask_of((1, 1, 2, 5, 9), (3, 10, 2, 15, 9)), mask_of((3, 10, 2, 15, 9), (4, 0, 0, 2, 2))]
    videos = read("davis", davis(tmp_path, masks))
    assert [(v.name, v.subject, len(v.frames)) for v in videos] == [
        ("judo.1", "judo", 2),
        ("judo.3", "judo", 2),
    ]
    assert np.isnan(videos[0].boxes[1]).all()


def test_bad_davis_folders_are_explained(tmp_path):
    with pytest.raises(
        ValueError, match="must hold DAVIS: looked for the folders JPEGImages and Annotations"
    ):
        read("davis", tmp_path)
    davis(tmp_path, [mask_of((1, 1, 2, 5, 9))] * 3)
    folder = tmp_path / "Annotations" / "480p" / "judo"
    (folder / "00001.png").unlink()
    with pytest.raises(
        ValueError, match=r"one mask a frame of .*judo, got 2 masks for 3 frames: 00001 without"
    ):
        read("davis", tmp_path)
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / "00001.png")
    with pytest.raises(ValueError, match=r"mask .*00001.png must have palette indices or greys, got colours"):
        read("davis", tmp_path)
    (folder / "00001.png").write_bytes((folder / "00002.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"mask .*00001.png is truncated or no image"):
        read("davis", tmp_path)
    for file in folder.iterdir():
        Image.fromarray(mask_of()).save(file)
    with pytest.raises(ValueError, match=r"the masks in .*judo must show an object, got none in 3"):
        read("davis", tmp_path)


def test_otb_frames_without_the_object_have_no_box(tmp_path):
    lines = ["0,0,0,0", "1,1,4,5", "NaN,NaN,NaN,NaN", "0\t0\t0\t0", "2 2 4 5"]
    sequence(tmp_path, lines, "img", "groundtruth_rect.txt")
    (video,) = read("otb", tmp_path)
    assert len(video.frames) == 4
    assert abs(int(video.frames[0].mean()) - 20) < 2
    np.testing.assert_array_equal(video.boxes, [[0, 0, 4, 5], NAN, NAN, [1, 1, 5, 6]])


BROKEN = {
    "groundtruth.txt must have one line a frame, got 4 lines for 5 frames in": (RECTS, 5),
    "groundtruth.txt must have one line a frame, got 4 lines for 3 frames in": (RECTS, 3),
    "groundtruth.txt must have one line a frame, got 4 lines for 0 frames beside it": (RECTS, 0),
    "groundtruth.txt: a video must have one frame or more, got 0": ([""], 0),
    "groundtruth.txt must show the object in one frame or more, got none": (["0,0,0,0"] * 3, 3),
    "groundtruth.txt, line 2: width and height must be > 0, got 0 and 5": (["1,2,4,5", "1,2,0,5"], 2),
    "groundtruth.txt, line 2: numbers must be finite, got '1 nan 4 5'": (["1,2,4,5", "1,nan,4,5"], 2),
    "groundtruth.txt, line 3: the box must overlap the frame of width 30 and height 20": (
        ["1,2,4,5", "-3,2,4,5", "-5,2,4,5"],
        3,
    ),
    "groundtruth.txt, line 1: the box must overlap the frame": (["30,2,4,5"], 1),
}


@pytest.mark.parametrize("form", ["got10k", "vot"])
@pytest.mark.parametrize("words", BROKEN)
def test_broken_sequences_name_file_and_line(tmp_path, form, words):
    lines, frames = BROKEN[words]
    sequence(tmp_path / "S", lines, frames=frames)
    with pytest.raises(ValueError, match=rf"sample 0 \('S'\): must be readable, got: .*{words}"):
        read(form, tmp_path)


@pytest.mark.parametrize("form", ["got10k", "vot"])
def test_bad_frames_are_named(tmp_path, form):
    sequence(tmp_path, RECTS)
    cv2.imwrite(str(tmp_path / "00000003.jpg"), np.zeros((HEIGHT, WIDTH + 1, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r"frame 2 \(.*00000003.jpg\): all frames must have the shape of the first"
    ):
        read(form, tmp_path)
    (tmp_path / "00000003.jpg").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"frame 2: must be readable, got: image file .*00000003.jpg is truncated"
    ):
        read(form, tmp_path)


@pytest.mark.parametrize("form", ["got10k", "vot"])
def test_an_empty_folder_says_what_was_looked_for(tmp_path, form):
    with pytest.raises(ValueError, match=r"must be or hold sequences: looked for .*groundtruth.txt"):
        read(form, tmp_path)


def test_a_video_must_begin_with_its_object():
    frames = np.zeros((2, 1, HEIGHT, WIDTH), np.uint8)
    gap = VideoSample(frames, np.array([[1, 1, 5, 5], NAN], float))
    assert np.isnan(validate(gap, 0).boxes[1]).all()
    with pytest.raises(
        ValueError, match=r"sample 0 .*, frame 0: the first frame must show the object, got no box"
    ):
        validate(VideoSample(frames, gap.boxes[::-1]), 0)
    with pytest.raises(ValueError, match="frame 1: a box must be finite"):
        validate(VideoSample(frames, np.array([[1, 1, 5, 5], [1, 1, np.nan, 5]], float)), 0)


def test_greys_are_labels_as_palette_indices_are(tmp_path):
    Image.fromarray(mask_of((255, 1, 2, 5, 9))).save(tmp_path / "a.png")
    assert np.unique(read_mask(tmp_path / "a.png")).tolist() == [0, 255]


def test_the_task_runs_on_frames_that_do_not_fit_into_memory(tmp_path, monkeypatch):
    for number in range(6):
        sequence(tmp_path / f"S{number}", [f"{x},2,8,8" for x in range(1, 13)])
    args = {"data": f"got10k:{tmp_path}", "split": "all", "window": 16, "clip": None}
    runs = []
    for _ in range(2):
        task = make_task("visionrl/Tracking-v0", **args)
        state = batch.stack([task.sample(np.random.default_rng(0), item) for item in range(6)])
        seen = []
        for _ in range(30):
            seen.append(task.observe(state)["window"])
            state = task.step(state, task.expert(state))
        runs.append(np.stack(seen))
        monkeypatch.setattr("visionrl.datasets.frames.MEMORY_LIMIT", 20_000)  # of 181,440
        clear_cache()
    assert type(task.bank.pyramid).__name__ == "LazyPyramid"
    np.testing.assert_array_equal(*runs)


@pytest.mark.slow
def test_real_davis_sequences_are_read(shared_data):
    videos = load(f"davis:{shared_data / 'tracking' / 'davis'}", kind=VideoSample, split="all")
    found = {video.name: (len(video.frames), video.frames[0].shape) for video in videos}
    shape = (3, 480, 854)
    assert found == {
        "blackswan": (50, shape),
        "drift-chicane": (52, shape),
        "kite-surf": (50, shape),
        "motocross-jump": (40, shape),
    }
    for video in videos:
        assert np.isfinite(video.boxes).all()
        assert (video.boxes >= 0).all()
        assert (video.boxes <= [854, 480, 854, 480]).all()
        mask = read_mask(
            shared_data / "tracking" / "davis" / "Annotations" / "480p" / video.name / "00007.png"
        )
        y, x = np.nonzero(mask)
        np.testing.assert_array_equal(video.boxes[7], [x.min(), y.min(), x.max() + 1, y.max() + 1])
