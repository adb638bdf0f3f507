"""Image files: formats that are read, sizes, a JPEG without its end marker."""

from __future__ import annotations

import warnings
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from visionrl.datasets import ImageSample, load
from visionrl.datasets.readers.files import list_images, numbers, read_image
from visionrl.datasets.readers.greys import read_greys
from visionrl.datasets.readers.voc import read_voc
from visionrl.datasets.readers.vot import region

NOISE = np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype(np.uint8)
PICTURES = {
    "noise": NOISE,
    "smooth": cv2.GaussianBlur(NOISE, (0, 0), 3),
    "flat": np.full((60, 90, 3), 128, np.uint8),
    "grey": NOISE[..., 0],
}


def jpeg(name, progressive=False):
    stream = BytesIO()
    Image.fromarray(PICTURES[name]).save(stream, "JPEG", quality=90, progressive=progressive)
    return stream.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("name", PICTURES)
def test_a_jpeg_without_its_end_marker_is_read_as_opencv_does_with_a_warning(tmp_path, name, progressive):
    file = tmp_path / "a.jpg"
    file.write_bytes(jpeg(name, progressive))
    whole = read_image(file)
    file.write_bytes(jpeg(name, progressive)[:-2])
    with pytest.warns(UserWarning, match=r"a.jpg lacks its end marker"):
        np.testing.assert_array_equal(read_image(file), whole)
    assert cv2.imread(str(file)).shape[:2] == whole.shape[1:]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("name", ["noise", "smooth", "grey"])
@pytest.mark.parametrize("lost", [3, 5, 8, 20, 100])
def test_a_jpeg_that_lacks_more_is_refused(tmp_path, name, lost, progressive):
    file = tmp_path / "a.jpg"
    file.write_bytes(jpeg(name, progressive))
    whole = read_image(file)
    file.write_bytes(jpeg(name, progressive)[:-lost])
    try:
        with warnings.catch_warnings(action="ignore"):
            np.testing.assert_array_equal(read_image(file), whole)  # what was lost held no pixel
    except ValueError as error:
        assert f"image file {file} is truncated" in str(error)


OTHERS = (*(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"GIF89a" + bytes(99), b"P7\n", b""),)


@pytest.mark.parametrize("content", OTHERS)
def test_formats_that_are_not_listed_are_not_opened(tmp_path, content, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a program was started"))
    (tmp_path / "a.jpg").write_bytes(content)
    for read in (read_image, read_greys):
        with pytest.raises(ValueError, match=r"a.jpg is truncated or no image"):
            read(tmp_path / "a.jpg")


def test_the_size_of_an_image_is_limited_before_it_is_decoded(tmp_path, monkeypatch):
    Image.new("L", (16000, 16800)).save(tmp_path / "a.png", compress_level=1)
    with pytest.raises(ValueError, match=r"a.png must take at most 256 MiB \(VISIONRL_IMAGE_LIMIT\)"):
        read_image(tmp_path / "a.png")
    Image.fromarray(NOISE).save(tmp_path / "b.png")
    monkeypatch.setenv("VISIONRL_IMAGE_LIMIT", "none")
    with pytest.raises(
        ValueError, match="VISIONRL_IMAGE_LIMIT must be a whole number of MiB >= 1, got 'none'"
    ):
        read_image(tmp_path / "b.png")


def test_odd_names_of_frames_are_sorted(tmp_path):
    for name in ("²2.png", "10.png", "9.png", f"{'1' * 200}.png"):
        Image.fromarray(NOISE).save(tmp_path / name)
    assert [file.name[:4] for file in list_images(tmp_path)] == ["9.pn", "10.p", "1111", "²2.p"]


@pytest.mark.parametrize("cell", ["1_0", "", "0x10", "nan", "1e999", "9" * 5000])
def test_what_only_python_takes_for_a_number_is_refused(cell):
    with pytest.raises(ValueError, match=r"a, line 1: (must hold numbers|numbers must be finite)"):
        numbers([cell], 1, "a, line 1")


RUNS = (
    *(
        "m0,0,9,9,1e30",
        "m0,0,9,9,10000000000",
        "m0,0,9,9,-3,5",
        "m0,0,1e9,1e9,5",
        "m0,0,2,2,9",
        "m0,0,9,9,1.5",
    ),
)


@pytest.mark.parametrize("runs", RUNS)
def test_runs_that_cannot_be_are_refused(runs):
    with pytest.raises(ValueError, match="a, line 1"):
        region(runs.split(","), "a, line 1")


def voc(root, declared, text="Katze", encoding="utf-8"):
    xml = (
        f"<?xml version='1.0'{declared}?><annotation><object><name>{text}</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
        "<xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"
    )
    (root / "a.xml").write_bytes(xml.encode(encoding))
    Image.fromarray(NOISE).save(root / "a.png")
    (entry,) = read_voc(root, None)
    return entry.read().labels


WORDS = (*(("GB2312", "猫"), ("shift_jis", "ねこ"), ("cp1252", "Kätzchen"), ("utf-8", "кот")),)


@pytest.mark.parametrize(("name", "word"), WORDS)
def test_xml_in_any_encoding_that_it_declares_is_read(tmp_path, name, word):
    assert voc(tmp_path, f" encoding='{name}'", word, name) == [word]


def test_xml_in_an_unknown_encoding_is_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"a.xml, line 1: must be in the encoding that it declares, 'klingon'"
    ):
        voc(tmp_path, " encoding='klingon'")


def save(file, pixels=NOISE):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def test_images_without_labels_are_named_by_path_and_kept_in_their_splits(tmp_path):
    for name in ("train/a.png", "train/more/b.JPG", "val/a.png", "val/a.bmp"):
        save(tmp_path / name)
    (tmp_path / "train" / "folder.png").mkdir()
    names = {
        split: [sample.name for sample in load(f"images:{tmp_path}", kind=ImageSample, split=split)]
        for split in ("train", "val")
    }
    assert names == {"train": ["train/a", "train/more/b"], "val": ["val/a.bmp", "val/a.png"]}
    sample = load(f"images:{tmp_path}", kind=ImageSample, split="train")[0]
    assert np.array_equal(sample.image, NOISE.transpose(2, 0, 1)) and sample.mask is None


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match="must hold pictures: looked for"):
        load(f"images:{tmp_path}", kind=ImageSample)
