"""The readers on real files: good ones, broken ones, and the optional real data sets."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from visionrl.datasets import ImageSample, VideoSample, clear_cache, load
from visionrl.datasets.readers.files import ImageFiles, read_image
from visionrl.datasets.readers.otb import read_boxes
from visionrl.datasets.readers.pts import read_points

RGB = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


def write_png(path, image=RGB):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def cut(path, share):
    """Cuts a file off after a share of its bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


@pytest.fixture
def pts_folder(tmp_path):
    """Ten pictures with two points each."""
    for j in range(10):
        write_png(tmp_path / "in" / f"{j}.png")
        (tmp_path / "in" / f"{j}.pts").write_text(f"version: 1\nn_points:  2\n{{\n1 1\n{j + 1}.5 40\n}}\n")
    return tmp_path


@pytest.fixture
def otb_folder(tmp_path):
    """Two sequences of eleven frames, numbered without leading zeros."""
    for name, gap in (("Cat", ","), ("Dog", "\t")):
        for j in range(1, 12):
            write_png(tmp_path / name / "img" / f"{j}.png", np.full((20, 30), 10 * j, np.uint8))
        lines = [gap.join(map(str, (j, 2, 4, 5))) for j in range(1, 12)]
        (tmp_path / name / "groundtruth_rect.txt").write_text("\n".join(lines) + "\n\n")
    return tmp_path


@pytest.fixture
def csv_folder(tmp_path):
    """Four pictures of two subjects."""
    names = ["Ann_1.png", "Ann_2.png", "Bob_1.png", "Bob_2.png"]
    for name in names:
        write_png(tmp_path / "images" / name)
    (tmp_path / "points.csv").write_text(",0,1,2,3\n" + "".join(f"{name},1,2,3.5,4\n" for name in names))
    return tmp_path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_rgb_pictures_are_channel_first(tmp_path, suffix):
    np.testing.assert_array_equal(read_image(write_png(tmp_path / f"a{suffix}")), RGB.transpose(2, 0, 1))


def test_opencv_and_the_reader_agree_on_a_jpeg(tmp_path):
    smooth = cv2.GaussianBlur(RGB, (0, 0), 3)
    cv2.imwrite(str(tmp_path / "a.jpg"), smooth[..., ::-1])
    difference = read_image(tmp_path / "a.jpg").astype(int) - smooth.transpose(2, 0, 1)
    assert np.abs(difference).mean() < 3


MODES = {
    "L": lambda rgb: rgb.convert("L"),
    "1": lambda rgb: rgb.convert("1"),
    "LA": lambda rgb: rgb.convert("LA"),
    "P": lambda rgb: rgb.convert("P"),
    "RGBA": lambda rgb: rgb.convert("RGBA"),
    "CMYK": lambda rgb: rgb.convert("CMYK"),
}


@pytest.mark.parametrize("mode", MODES)
def test_other_colours_follow_the_stated_rule(tmp_path, mode):
    picture = MODES[mode](Image.fromarray(RGB))
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture.save(path)
    grey = mode in ("L", "1", "LA")
    wanted = np.asarray(picture.convert("L" if grey else "RGB"))
    wanted = wanted[None] if grey else wanted.transpose(2, 0, 1)
    np.testing.assert_array_equal(read_image(path), wanted)


def test_a_palette_with_transparency_becomes_rgb(tmp_path):
    picture = Image.fromarray(RGB).convert("P")
    picture.save(tmp_path / "a.png", transparency=bytes(range(256)))
    assert read_image(tmp_path / "a.png").shape == (3, 40, 60)


def test_sixteen_bit_grey_keeps_its_high_byte(tmp_path):
    deep = np.arange(2400, dtype=np.uint16).reshape(40, 60) * 27
    cv2.imwrite(str(tmp_path / "a.png"), deep)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0], deep >> 8)
    cv2.imwrite(str(tmp_path / "dark.png"), deep // 27)
    with pytest.raises(ValueError, match=r"dark.png: 16-bit grey must fill its range .* got 0 to 2399"):
        read_image(tmp_path / "dark.png")


def test_float_pixels_are_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a.tif: images are uint8 0-255, got float pixels"):
        read_image(tmp_path / "a.tif")


def test_exif_orientation_turns_the_picture_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(RGB, -1).transpose(2, 0, 1))


@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.5, 0.9, 0.97])
@pytest.mark.parametrize(
    "options", [{"suffix": "png"}, {"suffix": "jpg"}, {"suffix": "jpg", "progressive": True}]
)
def test_a_truncated_picture_is_refused(tmp_path, options, share):
    path = tmp_path / f"a.{options['suffix']}"
    Image.fromarray(RGB).save(path, progressive=options.get("progressive", False))
    cut(path, share)
    with pytest.raises(ValueError, match=rf"{path} is truncated or no image"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp"])
def test_a_picture_that_lacks_its_last_byte_is_refused(tmp_path, suffix):
    path = write_png(tmp_path / f"a.{suffix}")
    read_image(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{path} is truncated or no image"):
        read_image(path)


def test_a_missing_picture_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"a.png must exist"):
        read_image(tmp_path / "a.png")


def test_frames_load_from_their_files_each_time(tmp_path):
    frames = ImageFiles([write_png(tmp_path / f"{j}.png", np.full((2, 3), j, np.uint8)) for j in range(3)])
    assert [int(frame.max()) for frame in frames[1:]] == [1, 2]
    write_png(tmp_path / "1.png", np.full((2, 3), 77, np.uint8))
    assert frames[1].max() == 77


def test_pts_are_counted_from_one_and_named_from_zero(pts_folder):
    samples = load(f"pts:{pts_folder}", kind=ImageSample, split="all")
    assert [sample.name for sample in samples] == [f"in/{j}" for j in range(10)]
    assert list(samples[3].points) == ["0", "1"]
    np.testing.assert_array_equal(samples[3].points["0"], [0, 0])
    np.testing.assert_array_equal(samples[3].points["1"], [3.5, 39])
    np.testing.assert_array_equal(samples[3].image, RGB.transpose(2, 0, 1))


def test_a_folder_is_split_and_read_once(pts_folder):
    data = f"pts:{pts_folder}"
    parts = [load(data, kind=ImageSample, split=split) for split in ("train", "val", "test")]
    names = [sample.name for part in parts for sample in part]
    assert [len(part) for part in parts] == [6, 2, 2]
    assert sorted(names) == [f"in/{j}" for j in range(10)]
    assert load(data, kind=ImageSample, split="train") is parts[0]
    clear_cache()
    assert load(data, kind=ImageSample, split="train") is not parts[0]


def test_a_relative_path_follows_the_working_folder(pts_folder, monkeypatch):
    monkeypatch.chdir(pts_folder)
    assert load("pts:in", kind=ImageSample, split="all") is load(
        f"pts:{pts_folder / 'in'}", kind=ImageSample, split="all"
    )


def test_a_split_file_decides(pts_folder):
    file = pts_folder / "split.json"
    names = [f"in/{j}" for j in range(10)]
    file.write_text(json.dumps({"train": names[2:], "test": names[:2]}))
    test = load(f"pts:{pts_folder}", kind=ImageSample, split="test", split_file=str(file))
    assert [sample.name for sample in test] == names[:2]
    with pytest.raises(
        ValueError, match=r"the val split of pts:.* is empty: 10 sample.*split.json; give split=\"all\""
    ):
        load(f"pts:{pts_folder}", kind=ImageSample, split="val", split_file=str(file))


def test_split_folders_are_honoured(pts_folder):
    (pts_folder / "in").rename(pts_folder / "train")
    write_png(pts_folder / "test" / "0.png")
    (pts_folder / "test" / "0.pts").write_text("version: 1\nn_points: 1\n{\n1 1\n}\n")
    data = f"pts:{pts_folder}"
    assert len(load(data, kind=ImageSample, split="train")) == 10
    assert [sample.name for sample in load(data, kind=ImageSample, split="test")] == ["test/0"]
    assert len(load(data, kind=ImageSample, split="all")) == 11
    with pytest.raises(ValueError, match="must have a folder 'val' for that split, it has train, test"):
        load(data, kind=ImageSample, split="val")
    with pytest.raises(ValueError, match="has split folders of its own"):
        load(data, kind=ImageSample, split_seed=1)


def test_an_empty_split_says_what_to_do(otb_folder):
    with pytest.raises(
        ValueError, match=r'2 sample.s. of 2 subject.s., split by subject .* give split="all"'
    ):
        load(f"otb:{otb_folder}", kind=VideoSample, split="test")


BAD_PTS = {
    'must read "version: 1", "n_points: N"': "1 1\n2 2\n",
    "n_points must be the number of points and >= 1, got 3 and 2": "version: 1\nn_points: 3\n{\n1 1\n2 2\n}",
    "point 1: must hold 2 numbers, got 3": "version: 1\nn_points: 2\n{\n1 1\n2 2 2\n}",
    "point 0: must hold numbers, got 'a 1'": "version: 1\nn_points: 2\n{\na 1\n2 2\n}",
    "point 0: numbers must be finite, got 'nan 1'": "version: 1\nn_points: 2\n{\nnan 1\n2 2\n}",
}


@pytest.mark.parametrize(("message", "content"), BAD_PTS.items(), ids=range(len(BAD_PTS)))
def test_a_bad_pts_file_is_named(tmp_path, message, content):
    (tmp_path / "a.pts").write_text(content)
    with pytest.raises(ValueError, match=rf"a\.pts.*{message}"):
        read_points(tmp_path / "a.pts")


def test_bad_pts_folders_are_explained(pts_folder):
    data = f"pts:{pts_folder}"
    inside = pts_folder / "in"
    cut(inside / "4.png", 0.5)
    with pytest.raises(
        ValueError, match=r"sample 4 \('in/4'\): must be readable, got: image file .*4.png is truncated"
    ):
        load(data, kind=ImageSample, split="all")
    (inside / "4.pts").write_text("version: 1\nn_points: 2\n{\n1 1\n62 40\n}")
    write_png(inside / "4.png")
    with pytest.raises(
        ValueError, match=r"sample 4 \('in/4'\): point '1' must lie inside the image of width 60"
    ):
        load(data, kind=ImageSample, split="all")
    (inside / "4.pts").write_text("version: 1\nn_points: 1\n{\n1 1\n}")
    with pytest.raises(ValueError, match=r"4.pts must have as many points as .*0.pts, 2, got 1"):
        load(data, kind=ImageSample)
    (inside / "4.pts").write_text((inside / "3.pts").read_text())
    (inside / "4.png").unlink()
    with pytest.raises(
        ValueError, match=r"4.pts must have one picture of the same stem beside it, found none"
    ):
        load(data, kind=ImageSample)


@pytest.mark.parametrize(
    ("form", "kind", "message"),
    [
        ("pts", ImageSample, r"looked for \*\*/\*.pts, found none"),
        ("csv", ImageSample, r"must hold points.csv or a single \*.csv, found none"),
        ("otb", VideoSample, r"looked for img/\*.jpg \(or .png\) with groundtruth_rect.txt"),
    ],
)
def test_an_empty_folder_says_what_was_looked_for(tmp_path, form, kind, message):
    with pytest.raises(ValueError, match=message):
        load(f"{form}:{tmp_path}", kind=kind)


@pytest.mark.parametrize(("form", "kind"), [("pts", ImageSample), ("otb", VideoSample)])
def test_a_file_in_place_of_a_folder_is_refused(tmp_path, form, kind):
    file = write_png(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"the path must be a folder, got the file .*a.png"):
        load(f"{form}:{file}", kind=kind)


def test_csv_columns_may_have_any_or_named_headers(csv_folder):
    samples = load(f"csv:{csv_folder}", kind=ImageSample, split="all")
    assert [sample.name for sample in samples] == ["Ann_1", "Ann_2", "Bob_1", "Bob_2"]
    assert [sample.subject for sample in samples] == ["Ann", "Ann", "Bob", "Bob"]
    np.testing.assert_array_equal(samples[0].points["1"], [3.5, 4])
    table = csv_folder / "named.csv"
    table.write_text(
        "file,eye_y,eye_x,subject,chin_x,chin_y\nimages/Ann_1.png,2,1,Cat,,\nimages/Bob_1.png,2,1,Cat,5,6\n"
    )
    first, second = load(f"csv:{table}", kind=ImageSample, split="all")
    assert (list(first.points), list(second.points)) == (["eye"], ["eye", "chin"])
    np.testing.assert_array_equal(second.points["eye"], [1, 2])
    assert (first.name, first.subject) == ("images/Ann_1", "Cat")


def test_plain_counts_are_no_subjects(tmp_path):
    for j in range(5):
        write_png(tmp_path / f"img_{j}.png")
    (tmp_path / "p.csv").write_text("file,x0,y0\n" + "".join(f"img_{j}.png,1,2\n" for j in range(5)))
    sizes = [
        len(load(f"csv:{tmp_path}", kind=ImageSample, split=split)) for split in ("train", "val", "test")
    ]
    assert sizes == [3, 1, 1]


BAD_TABLES = {
    "must have a header and one row or more, got 1": "file,x0,y0\n",
    "must start with a header line, got 'Ann_1.png,1,2'": "Ann_1.png,1,2\nAnn_2.png,1,2\n",
    "must have two columns a point, got 3": "file,x0,y0,x1\nAnn_1.png,1,2,3\n",
    "line 3: must be a file name and 2 cells, got": "file,x0,y0\nAnn_1.png,1,2\nAnn_2.png,1\n",
    "line 2: must be a file name and 2 cells, got": "file,x0,y0\n,1,2\n",
    "NAME_x and NAME_y once for every point, got eye_x, chin_y": "file,eye_x,chin_y\nAnn_1.png,1,2\n",
    "points.csv must be a CSV file in UTF-8": "file,x0,y0\nAnn_1.png,\udcff,2\n",
    "line 2, point '0': must hold numbers, got 'a 2'": "file,x0,y0\nAnn_1.png,a,2\n",
    "line 2, point '0': numbers must be finite, got 'nan 2'": "file,x0,y0\nAnn_1.png,nan,2\n",
    "line 2, point '0': must hold numbers, got ' 2'": "file,x0,y0\nAnn_1.png,,2\n",
    r"sample 0 \('Zoe'\): must be readable, got: .* picture 'Zoe.png' must lie": "f,x,y\nZoe.png,1,2\n",
    "sample names must be unique, got 'Ann_1'": "file,x0,y0\nAnn_1.png,1,2\nAnn_1.png,1,2\n",
    r"sample 0 \('Ann_1'\): point '0' must lie inside": "file,x0,y0\nAnn_1.png,-2,2\n",
}


@pytest.mark.parametrize(("message", "content"), BAD_TABLES.items(), ids=range(len(BAD_TABLES)))
def test_a_bad_table_is_explained(csv_folder, message, content):
    (csv_folder / "points.csv").write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=message):
        load(f"csv:{csv_folder}", kind=ImageSample, split="all")


def test_two_tables_without_points_csv_are_ambiguous(tmp_path):
    (tmp_path / "a.csv").write_text("")
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(ValueError, match=r"must hold points.csv or a single \*.csv, found a.csv, b.csv"):
        load(f"csv:{tmp_path}", kind=ImageSample)


def test_otb_frames_are_in_order_of_number_and_boxes_counted_from_one(otb_folder):
    cat, dog = load(f"otb:{otb_folder}", kind=VideoSample, split="all")
    assert (cat.name, dog.name, len(cat.frames)) == ("Cat", "Dog", 11)
    assert isinstance(cat.frames, ImageFiles)
    assert [int(frame.max()) for frame in cat.frames] == [10 * j for j in range(1, 12)]
    assert cat.frames[0].shape == (1, 20, 30)
    np.testing.assert_array_equal(cat.boxes[2], [2, 1, 6, 6])
    np.testing.assert_array_equal(cat.boxes, dog.boxes)
    (alone,) = load(f"otb:{otb_folder / 'Cat'}", kind=VideoSample, split="all")
    assert alone.name == "Cat"


def test_two_targets_in_one_sequence_are_two_videos_of_one_subject(otb_folder):
    truth = otb_folder / "Dog" / "groundtruth_rect.txt"
    (otb_folder / "Dog" / "groundtruth_rect.2.txt").write_text(truth.read_text())
    truth.rename(otb_folder / "Dog" / "groundtruth_rect.1.txt")
    videos = load(f"otb:{otb_folder}", kind=VideoSample, split="all")
    assert [(video.name, video.subject) for video in videos] == [
        ("Cat", "Cat"),
        ("Dog.1", "Dog"),
        ("Dog.2", "Dog"),
    ]


BAD_RECTS = {
    "line 2: must hold 4 numbers, got 3": "1,2,3,4\n1,2,3\n",
    "line 1: must hold numbers, got 'a 2 3 4'": "a,2,3,4\n",
    "line 2: numbers must be finite, got 'NaN NaN 3 NaN'": "1 2 3 4\nNaN NaN 3 NaN\n",
    "line 1: width and height must be > 0, got 0 and 4": "1\t2\t0\t4\n",
}


@pytest.mark.parametrize(("message", "content"), BAD_RECTS.items(), ids=range(len(BAD_RECTS)))
def test_a_bad_line_of_boxes_is_named(tmp_path, message, content):
    (tmp_path / "groundtruth_rect.txt").write_text(content)
    with pytest.raises(ValueError, match=rf"groundtruth_rect.txt, {message}"):
        read_boxes(tmp_path / "groundtruth_rect.txt")


def test_bad_sequences_are_explained(otb_folder):
    data = f"otb:{otb_folder}"
    images = otb_folder / "Dog" / "img"
    where = r"sample 1 \('Dog'\)"
    cut(images / "7.png", 0.6)
    with pytest.raises(
        ValueError, match=rf"{where}, frame 6: must be readable, got: image file .*7.png is truncated"
    ):
        load(data, kind=VideoSample, split="all")
    write_png(images / "7.png", np.zeros((20, 31), np.uint8))
    with pytest.raises(
        ValueError, match=rf"{where}, frame 6 .*7.png.: all frames must have the shape of the"
    ):
        load(data, kind=VideoSample, split="all")
    (images / "7.png").unlink()
    with pytest.raises(ValueError, match=rf"{where}: .* one line a frame, got 11 lines for 10 frames in img"):
        load(data, kind=VideoSample, split="all")
    truth = otb_folder / "Dog" / "groundtruth_rect.txt"
    truth.write_text("40,2,3,4\n" + "1,1,3,4\n" * 9)
    with pytest.raises(
        ValueError, match=rf"{where}: .*rect.txt, line 1: the box must overlap the frame of width 30"
    ):
        load(data, kind=VideoSample, split="all")
    for frame in images.iterdir():
        frame.unlink()
    truth.write_text("")
    with pytest.raises(ValueError, match=rf"{where}: .*rect.txt: a video must have one frame or more, got 0"):
        load(data, kind=VideoSample, split="all")
    truth.unlink()
    with pytest.raises(ValueError, match=r"sequence .*Dog must have a file groundtruth_rect.txt"):
        load(data, kind=VideoSample, split="all")
    images.rmdir()
    truth.write_text("1,1,3,4\n")
    with pytest.raises(ValueError, match=r"sequence .*Dog must have a folder img"):
        load(data, kind=VideoSample, split="all")


def test_real_faces_are_read_and_split_by_person(shared_data):
    data = f"csv:{shared_data / 'landmarks' / 'faces'}"
    parts = [load(data, kind=ImageSample, split=split) for split in ("train", "val", "test")]
    people = [{sample.subject for sample in part} for part in parts]
    assert sum(len(part) for part in parts) == 300
    assert len(set.union(*people)) == sum(len(part) for part in people) == 173
    assert all(len(sample.points) == 68 and sample.image.shape[0] == 3 for part in parts for sample in part)


def test_real_sequences_are_read(shared_data):
    videos = load(f"otb:{shared_data / 'tracking' / 'otb'}", kind=VideoSample, split="all")
    found = {video.name: (len(video.frames), video.frames[0].shape) for video in videos}
    assert found == {
        "Freeman1": (326, (1, 240, 360)),
        "Jumping": (313, (1, 288, 352)),
        "Skiing": (81, (3, 360, 640)),
    }
    np.testing.assert_array_equal(videos[1].boxes[0], [146, 109, 180, 142])


def test_importing_the_data_sets_is_light():
    heavy = ("PIL", "scipy", "skimage", "torch")
    code = f"import sys, visionrl.datasets; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
