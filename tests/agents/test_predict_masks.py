"""Masks as results: what their JSON and files hold, read back by the libraries of the field."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any

import cv2
import nibabel
import numpy as np
import pytest
from faster_coco_eval import mask as coco
from PIL import Image

from visionrl.agents.prediction.agent import masks_picture
from visionrl.agents.prediction.mask_files import coco_masks, mask_files, voc_palette
from visionrl.agents.prediction.outputs import Done
from visionrl.core.results import Mask
from visionrl.datasets import ImageSample, VolumeSample

HALF = np.zeros((6, 9), bool)
HALF[1:4, 2:7] = True
CORNER = np.zeros((6, 9), bool)
CORNER[3:, 6:] = True


def prediction(result: Mask, sample: Any) -> Any:
    return SimpleNamespace(result=result, sample=sample)


def image() -> ImageSample:
    return ImageSample(np.zeros((3, 6, 9), np.uint8), name="a")


def test_run_lengths_of_the_json_are_those_of_coco() -> None:
    row = Mask.of(HALF, "cat", 0.5).to_json()["masks"][0]
    segmentation = coco.frPyObjects(row["segmentation"], 6, 9)
    assert np.array_equal(coco.decode(segmentation).astype(bool), HALF)
    assert (row["label"], row["score"], row["area"], row["bbox"]) == ("cat", 0.5, 15, [2, 1, 5, 3])


def test_polygons_of_the_json_are_lists_of_numbers() -> None:
    square = np.array([[2, 1], [7, 1], [7, 4], [2, 4.0]])
    row = json.loads(json.dumps(Mask.of(HALF, "cat", polygon=square).to_json()))["masks"][0]
    assert row["segmentation"] == [[2, 1, 7, 1, 7, 4, 2, 4]]


def test_an_empty_mask_has_an_empty_box() -> None:
    assert Mask.of(~HALF & HALF, "cat").to_json()["masks"][0]["bbox"] == [0, 0, 0, 0]


def test_one_region_is_a_png_of_0_and_255() -> None:
    files = mask_files(prediction(Mask.of(HALF, "cat"), image()))
    assert list(files) == ["-mask.png"]
    read = cv2.imdecode(np.frombuffer(files["-mask.png"], np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(read, HALF * np.uint8(255))


def test_several_regions_are_a_palette_png_in_which_the_surest_covers() -> None:
    result = Mask.of(HALF, "cat", 0.9).joined([Mask.of(CORNER, "dog", 0.2)])
    content = mask_files(prediction(result, image()))["-mask.png"]
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.mode == "P"
        read = np.asarray(picture)
    assert read[3, 6] == 1 and (read[CORNER & ~HALF] == 2).all() and (read[HALF] == 1).all()
    assert voc_palette()[[1, 2, 3, 8]].tolist() == [[128, 0, 0], [0, 128, 0], [128, 128, 0], [64, 0, 0]]


def test_the_mask_of_a_volume_is_nifti_on_the_volume_s_grid() -> None:
    mask = np.zeros((3, 4, 5), bool)
    mask[1, 2, 3] = True
    affine = np.array([[2.0, 0, 0, 5], [0, 3, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])
    scan = VolumeSample(np.zeros((1, 3, 4, 5), np.uint8), (2, 3, 4), affine=affine)
    content = mask_files(prediction(Mask.of(mask, "spleen"), scan))["-mask.nii.gz"]
    import gzip

    read = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
    assert np.argwhere(np.asarray(read.dataobj) == 1).tolist() == [[3, 2, 1]]
    assert np.allclose(read.affine, np.diag([-1, -1, 1, 1]) @ affine)


def test_all_images_are_one_coco_file() -> None:
    square = np.array([[2, 1], [7, 1], [7, 4], [2, 4.0]])
    done = [
        Done("a.png", Mask.of(HALF, "cat", polygon=square), (6, 9), ("cat", "dog")),
        Done("b.png", Mask.of(CORNER, "dog"), (6, 9), ("cat", "dog")),
    ]
    whole = json.loads(coco_masks(done)["coco.json"])
    assert [row["category_id"] for row in whole["annotations"]] == [1, 2]
    for row, mask in zip(whole["annotations"], (HALF, CORNER), strict=True):
        runs = coco.frPyObjects(row["segmentation"], 6, 9)
        runs = coco.merge(runs) if isinstance(runs, list) else runs
        assert np.array_equal(coco.decode(runs).astype(bool), mask)


def test_the_picture_shows_the_outline() -> None:
    picture = masks_picture(image().image, Mask.of(HALF, "cat"))
    assert (picture != 0).any() and picture.shape[2] == 3


@pytest.mark.parametrize("mask", [HALF.astype(np.uint8), HALF[0]])
def test_a_mask_is_of_bool_and_has_two_or_three_axes(mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"mask must be \(H, W\) or \(D, H, W\) bool, got"):
        Mask.of(mask, "cat")
