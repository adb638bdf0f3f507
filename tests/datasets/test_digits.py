"""The embedded digits, alone and in clutter; folders of classes; the class of an image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from visionrl.datasets import ImageSample, load, validate
from visionrl.datasets.classes import class_names, image_class
from visionrl.datasets.embedded.digits import COPIES, INK, ClutteredDigits, Digits, enlarge, read_archive

SIZES = {"train": 1258, "val": 180, "test": 359}


def test_the_archive_holds_every_digit_once():
    archive = read_archive()
    assert archive["images"].shape == (1797, 8, 8)
    assert archive["images"].max() == 16
    assert len(np.unique(archive["images"].reshape(1797, 64), axis=0)) == 1797
    np.testing.assert_array_equal(
        np.bincount(archive["labels"]), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    )
    assert not archive["images"].flags.writeable


@pytest.mark.parametrize("split", SIZES)
def test_splits_are_disjoint_and_stratified(split):
    digits = Digits(split)
    assert len(digits) == SIZES[split]
    labels = [int(sample.labels[0]) for sample in digits]
    assert np.ptp(np.bincount(labels, minlength=10)) <= 6
    others = {sample.name for other in SIZES if other != split for sample in Digits(other)}
    assert others.isdisjoint(sample.name for sample in digits)


def test_a_digit_lies_in_the_middle_white_on_black():
    sample = Digits("test")[0]
    assert (sample.image.shape, sample.image.dtype, sample.boxes) == ((1, 28, 28), np.uint8, None)
    assert sample.image[0, 4:24, 4:24].max() > 200
    frame = sample.image.copy()
    frame[0, 4:24, 4:24] = 0
    assert frame.max() == 0


def test_enlarging_keeps_flat_greys_and_the_place_of_ink():
    assert (enlarge(np.full((8, 8), 4, np.uint8)) == 64).all()  # 4 * 255 / 16 = 63.75
    one = np.zeros((8, 8), np.uint8)
    one[2, 5] = 16
    y, x = np.unravel_index(enlarge(one).argmax(), (INK, INK))
    assert (x, y) in [
        (13, 6),
        (13, 5),
        (14, 6),
        (14, 5),
    ]  # pixel 5 covers 12.5 to 15, pixel 2 covers 5 to 7.5


def test_indices():
    digits = Digits("val")
    assert digits[-1].name == digits[179].name
    assert [sample.name for sample in digits[:2]] == [digits[0].name, digits[1].name]
    with pytest.raises(IndexError, match=r"index must be in \[-180, 180\), got 180"):
        digits[180]
    with pytest.raises(ValueError, match="split must be one of train, val, test, got 'all'"):
        Digits("all")


def test_a_cluttered_digit_lies_in_its_box():
    clean, full = ClutteredDigits("test", clutter=0), ClutteredDigits("test")
    alone = Digits("test")
    for index in (0, 7, 358):
        sample = full[index]
        validate(sample, index)
        assert sample.image.shape == (1, 60, 60)
        assert sample.labels == alone[index].labels
        x0, y0, x1, y1 = sample.boxes[0].astype(int)
        inside = clean[index].image[0, y0:y1, x0:x1]
        np.testing.assert_array_equal(inside, alone[index].image[0, 4:24, 4:24])
        assert inside.sum() == clean[index].image.sum()
        assert (sample.image >= clean[index].image).all()
        assert (sample.image > clean[index].image).any()


def test_a_canvas_is_fixed_by_split_and_number():
    np.testing.assert_array_equal(ClutteredDigits("train")[5].image, ClutteredDigits("train")[5].image)
    train = ClutteredDigits("train")
    assert len(train) == 1258 * COPIES["train"]
    assert train[0].subject == train[3].subject != train[4].subject
    assert not np.array_equal(train[0].image, train[1].image)


def test_clutter_refuses_what_cannot_be():
    with pytest.raises(ValueError, match="canvas must be >= 20, got 19"):
        ClutteredDigits(canvas=19)
    with pytest.raises(ValueError, match="clutter must be >= 0, got -1"):
        ClutteredDigits(clutter=-1)


@pytest.fixture
def folder(tmp_path):
    """Two classes of three and two pictures, one of them deeper down."""
    for place, grey in (("cat/1.png", 10), ("cat/2.png", 20), ("cat/far/1.png", 30), ("dog/1.png", 40)):
        write(tmp_path / place, grey)
    write(tmp_path / "dog" / "2.png", 50)
    (tmp_path / ".hidden").mkdir()
    return tmp_path


def write(path, grey):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((6, 5), grey, np.uint8))


def test_a_folder_is_a_class(folder):
    samples = load(f"imagefolder:{folder}", kind=ImageSample, split="all")
    found = {sample.name: (sample.labels, sample.image[0, 0, 0]) for sample in samples}
    assert found == {
        "cat/1.png": (("cat",), 10),
        "cat/2.png": (("cat",), 20),
        "cat/far/1.png": (("cat",), 30),
        "dog/1.png": (("dog",), 40),
        "dog/2.png": (("dog",), 50),
    }
    assert samples[0].image.shape == (1, 6, 5)


def test_split_folders_are_the_splits_and_classes_are_those_of_all(tmp_path):
    for place in ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png"):
        write(tmp_path / place, 1)
    data = f"imagefolder:{tmp_path}"
    assert [s.name for s in load(data, kind=ImageSample, split="test")] == ["test/cat/1.png"]
    assert class_names(data) == ("cat", "dog")
    assert class_names(data, classes=["dog", "cat"]) == ("dog", "cat")


def test_folders_that_hold_no_classes_are_refused(folder):
    with pytest.raises(ValueError, match="must hold one folder a class"):
        load(f"imagefolder:{folder / 'dog'}", kind=ImageSample)
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"class folder .*empty must hold pictures"):
        load(f"imagefolder:{folder}", kind=ImageSample)


def test_an_image_has_one_class():
    image = np.zeros((1, 4, 4), np.uint8)
    assert image_class(ImageSample(image, labels=("cat",))) == "cat"
    with pytest.raises(
        ValueError, match=r"sample 3 \('a'\): labels must hold the one class of the image, got \[\]"
    ):
        image_class(ImageSample(image, name="a"), 3)
    with pytest.raises(ValueError, match="two classes or more, of different names, got \\['cat'\\]"):
        class_names([ImageSample(image, labels=("cat",))])
