"""The bank of masks: letterboxing, the way back to the file, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from visionrl.banks.masks import MaskBank, mask_bank
from visionrl.datasets import ImageSample, load


def picture(high: int = 30, wide: int = 50, **labels: tuple[slice, slice]) -> ImageSample:
    """A grey image with rectangles, each a label of its own, from 1."""
    mask = np.zeros((high, wide), np.int64)
    for number, place in enumerate(labels.values(), 1):
        mask[place] = number
    image = np.random.default_rng(high).integers(0, 256, (1, high, wide), dtype=np.uint8)
    return ImageSample(image, mask=mask, names=dict(enumerate(labels, 1)), name="picture")


TWO = picture(cat=(slice(5, 25), slice(10, 20)), dog=(slice(0, 30), slice(30, 50)))


def test_every_label_is_an_item_and_one_square_serves_all_of_an_image():
    bank = MaskBank([TWO, picture(60, 60, dog=(slice(20, 50), slice(20, 50)))], 20)
    assert bank.names == ("cat", "dog")
    assert bank.items == ((0, 0), (0, 1), (1, 1))
    assert bank.square.array.tolist() == [0, 0, 1]
    assert bank.images.array.shape == (2, 1, 20, 20)
    assert bank.image(np.array([1, 2])).shape == (2, 1, 20, 20)


def test_what_is_beyond_the_image_is_black_and_not_valid():
    bank = MaskBank([TWO], 20)
    valid = bank.known(np.array([0]))[0]
    assert valid[:12].all() and not valid[12:].any()
    assert not bank.images.array[0, :, 12:].any()
    assert bank.factors.array[0] == pytest.approx([2.5, 2.5])


@pytest.mark.parametrize(("high", "wide"), [(30, 50), (50, 30), (37, 53), (10, 9)])
def test_the_way_to_the_file_and_back_keeps_the_mask(high, wide):
    sample = picture(high, wide, box=(slice(2, high - 2), slice(3, wide - 3)))
    bank = MaskBank([sample], 64)
    back = bank.to_file(0, bank.truth.array[0], sample.mask.shape)
    both, either = (back & (sample.mask == 1)).sum(), (back | (sample.mask == 1)).sum()
    assert both / either == 1.0  # the square has more pixels than the file


def test_small_and_large_objects_are_left_out_with_a_count():
    sample = picture(40, 40, dot=(slice(0, 2), slice(0, 2)), cat=(slice(10, 30), slice(10, 30)))
    with pytest.warns(UserWarning, match="1 of 2 objects are left out: they do not fill 3 % to 90 %"):
        bank = MaskBank([sample], 32)
    assert [bank.names[k] for _, k in bank.items] == ["cat"]
    with pytest.raises(ValueError, match=r"objects must fill 3 % to 90 % .* got 1 of which none does"):
        MaskBank([picture(40, 40, sky=(slice(0, 40), slice(0, 40)))], 32)


@pytest.mark.parametrize(
    ("samples", "asked", "message"),
    [
        ([ImageSample(TWO.image)], None, "data must have masks with a label > 0, got 1 samples without any"),
        ([TWO], ("bird",), "classes must be among cat, dog; got bird"),
        ([TWO], ("cat", "cat"), "classes must name each object once, got cat, cat"),
    ],
)
def test_what_cannot_be_asked_is_refused(samples, asked, message):
    with pytest.raises(ValueError, match=message):
        MaskBank(samples, 16, asked)


def test_labels_without_names_are_called_by_their_number():
    sample = ImageSample(TWO.image, mask=np.where(TWO.mask == 2, 255, 0))
    assert MaskBank([sample], 16).names == ("255",)


def test_without_labels_an_item_is_an_image():
    plain = ImageSample(TWO.image, boxes=np.array([[0, 0, 10, 10], [5, 5, 25, 25.5]]))
    whole = MaskBank([plain], 16, labelled=False)
    assert whole.items == ((0, 0),) and whole.names == ("object",) and not whole.truth.array.any()


def test_the_bank_of_the_same_samples_is_shared():
    samples = [TWO]
    assert mask_bank(samples, 16) is mask_bank(samples, 16)
    assert mask_bank(samples, 16) is not mask_bank(samples, 20)


def test_composites_have_a_mask_a_name_and_a_box_for_each_object():
    parts = {split: load("composites", split=split, kind=ImageSample) for split in ("train", "val", "test")}
    assert [len(samples) for samples in parts.values()] == [240, 24, 48]
    for samples in parts.values():
        for sample in samples[:9]:
            labels = np.unique(sample.mask)
            assert set(labels) - {0} == set(sample.names)
            for label, box in zip(sample.names, sample.boxes.astype(int), strict=True):
                rows, columns = np.nonzero(sample.mask == label)
                assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                assert (sample.mask == label).mean() >= 0.03
    names = [{name for sample in samples for name in sample.names.values()} for samples in parts.values()]
    assert names[0] & names[2] == {"patch"} and "cat" in names[0] and "astronaut" in names[2]


def test_coins_have_a_mask_that_fills_their_boxes():
    for sample in load("coins", split="test", kind=ImageSample)[:6]:
        assert set(sample.names.values()) == {"coin"} and len(sample.names) == len(sample.boxes)
        for label, (x0, y0, x1, y1) in zip(sample.names, sample.boxes.astype(int), strict=True):
            rows, columns = np.nonzero(sample.mask == label)
            assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == [x0, y0, x1, y1]
            assert len(rows) / ((x1 - x0) * (y1 - y0)) == pytest.approx(np.pi / 4, abs=0.08)
