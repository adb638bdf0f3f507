"""Readers of masks: folders, labelme, COCO's segmentations, frames of DAVIS; and what each refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from faster_coco_eval import mask as coco
from PIL import Image

from visionrl.datasets import ImageSample, load
from visionrl.ops.rle import run_lengths

LABELS = np.zeros((12, 16), np.uint8)
LABELS[2:6, 3:9], LABELS[7:11, 8:15] = 1, 2


def write(file: Path, pixels: np.ndarray, palette: bool = False) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    if palette:
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
    picture.save(file)
    return file


def photo(file: Path, shape: tuple[int, ...] = (12, 16, 3)) -> Path:
    return write(file, np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def folder(tmp_path: Path, mask: np.ndarray = LABELS, **options: Any) -> Path:
    photo(tmp_path / "images/a.jpg")
    write(tmp_path / "masks/a.png", mask, **options)
    return tmp_path


def read(path: Path, form: str = "masks", **options: Any) -> ImageSample:
    return load(f"{form}:{path}", kind=ImageSample, **{"split": "all", **options})[0]


@pytest.mark.parametrize("palette", [False, True])
def test_masks_of_palette_indices_and_greys_are_labels(tmp_path: Path, palette: bool) -> None:
    sample = read(folder(tmp_path, palette=palette))
    assert np.array_equal(sample.mask, LABELS) and sample.names == {1: "1", 2: "2"}


@pytest.mark.parametrize("scale", [60, 255])
def test_one_object_of_any_value_is_kept_and_0_and_255_are_label_1(tmp_path: Path, scale: int) -> None:
    sample = read(folder(tmp_path, (LABELS == 1) * np.uint8(scale)))
    label = 1 if scale == 255 else scale
    assert np.array_equal(sample.mask == label, LABELS == 1) and sample.names == {label: str(label)}


def test_255_beside_smaller_labels_is_background(tmp_path: Path) -> None:
    mask = LABELS.copy()
    mask[mask == 2] = 255
    assert np.array_equal(read(folder(tmp_path, mask)).mask, (LABELS == 1).astype(np.uint8))


@pytest.mark.parametrize(
    "text",
    ["cat\ndog\n", "background\ncat\ndog", "1 cat\n2 dog", "1: cat\n2: dog", "0 background\n1,cat\n2,dog"],
)
def test_names_come_from_a_list(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.txt").write_text(text)
    assert read(folder(tmp_path)).names == {1: "cat", 2: "dog"}


@pytest.mark.parametrize("line", ["{} {} {} {}", "{3} {0} {1} {2}"])
def test_colours_are_labels_where_a_list_states_them(tmp_path: Path, line: str) -> None:
    colours = {"background": (0, 0, 0), "cat": (250, 10, 3), "dog": (9, 200, 10)}
    text = "\n".join(line.format(*rgb, name) for name, rgb in colours.items())
    (tmp_path / "labels.txt").write_text(text)
    sample = read(folder(tmp_path, np.array([*colours.values()], np.uint8)[LABELS]))
    assert np.array_equal(sample.mask, LABELS) and sample.names == {1: "cat", 2: "dog"}


def test_images_and_masks_may_lie_in_one_folder(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    write(tmp_path / "a_mask.png", LABELS)
    sample = read(tmp_path)
    assert sample.name == "a" and np.array_equal(sample.mask, LABELS)


@pytest.mark.parametrize("order", ["images/{}", "{}/images"])
def test_folders_may_be_splits(tmp_path: Path, order: str) -> None:
    for split in ("train", "val"):
        place = tmp_path / order.format(split)
        photo(place / f"{split}.png")
        write(Path(str(place).replace("images", "masks")) / f"{split}.png", LABELS)
    assert [s.name for s in load(f"masks:{tmp_path}", kind=ImageSample, split="val")] == ["val/val"]


def bad(tmp_path: Path, words: str, form: str = "masks") -> None:
    with pytest.raises(ValueError, match=words) as caught:
        read(tmp_path, form)
    assert "\n" not in str(caught.value)


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    bad(folder(tmp_path, LABELS[:, :-1]), "a.png must have the size of its image, 16 x 12, got 15 x 12")


def test_a_mask_of_float_pixels_is_refused(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.jpg")
    write(tmp_path / "masks/a.tiff", np.where(LABELS > 0, np.nan, 0).astype(np.float32))
    bad(tmp_path, "mask .*a.tiff must have palette indices or greys, got float pixels")


def test_colours_without_a_list_are_refused(tmp_path: Path) -> None:
    bad(
        folder(tmp_path, np.stack([LABELS, LABELS * 2, LABELS], -1)),
        "must have palette indices or greys, got colours",
    )


def test_a_colour_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("0 0 0 background\n1 2 3 cat")
    bad(
        folder(tmp_path, np.stack([LABELS * 9] * 3, -1)),
        "must have the colours that .*labels.txt lists, got 9 9 9",
    )


def test_a_mask_of_soft_edges_is_refused(tmp_path: Path) -> None:
    ramp = np.tile(np.clip(np.arange(16) * 30 - 100, 0, 255).astype(np.uint8), (12, 1))
    bad(folder(tmp_path, ramp), "looks like soft edges")


def test_a_jpeg_mask_is_refused(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.png")
    write(tmp_path / "masks/a.jpg", LABELS)
    bad(tmp_path, "must be stored without loss")


def test_an_image_without_a_mask_and_a_mask_without_an_image_are_refused(tmp_path: Path) -> None:
    photo(folder(tmp_path) / "images/b.jpg")
    bad(tmp_path, "every image must have a mask of its name .* found none for .*b.jpg")
    (tmp_path / "images/b.jpg").unlink()
    write(tmp_path / "masks/c.png", LABELS)
    bad(tmp_path, "every mask must have an image of its name .* found none for .*c.png")


def test_a_folder_of_images_alone_is_refused(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.jpg")
    bad(tmp_path, "must hold a folder of masks")


def test_a_label_without_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat")
    bad(folder(tmp_path), "must have labels that .*labels.txt names, got 2")


@pytest.mark.parametrize("text", ["1 cat\n1 dog", "1", "0 cat", "300 1 1 cat", "1 2 cat", ""])
def test_a_list_that_is_malformed_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.txt").write_text(text)
    bad(folder(tmp_path), "labels.txt")


def shapes(tmp_path: Path, *rows: dict[str, Any], **more: Any) -> Path:
    photo(tmp_path / "a.jpg")
    content = {"imagePath": "a.jpg", "imageHeight": 12, "imageWidth": 16, "shapes": list(rows), **more}
    (tmp_path / "a.json").write_text(json.dumps(content))
    return tmp_path


CAT = {"label": "cat", "points": [[3, 2], [9, 2], [9, 6], [3, 6]], "shape_type": "polygon"}
DOG = {"label": "dog", "points": [[15, 11], [8, 7]], "shape_type": "rectangle"}


def test_labelme_s_shapes_are_objects(tmp_path: Path) -> None:
    sample = read(shapes(tmp_path, CAT, DOG), "labelme")
    assert np.array_equal(sample.mask, LABELS) and sample.names == {1: "cat", 2: "dog"}


def test_labelme_s_groups_are_one_object_and_circles_hold_what_is_near(tmp_path: Path) -> None:
    ball = {"label": "cat", "points": [[12, 8], [15, 8]], "shape_type": "circle", "group_id": 4}
    sample = read(shapes(tmp_path, {**CAT, "group_id": 4}, ball), "labelme")
    assert sample.names == {1: "cat"} and (sample.mask == 1).sum() == 24 + 32


def test_labelme_s_points_are_left_out_with_a_warning(tmp_path: Path) -> None:
    point = {"label": "eye", "points": [[1, 1]], "shape_type": "point"}
    with pytest.warns(UserWarning, match=r"shapes\[1\]: a point holds no pixels"):
        assert read(shapes(tmp_path, CAT, point), "labelme").names == {1: "cat"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"points": [[0, 0]]}, "must be an object with a label"),
        ({**CAT, "points": [[0, 0], [1, 1]]}, "points must be 3 or more finite pairs"),
        ({**CAT, "points": [[0, 0], [1, None], [3, 3]]}, "points must be 3 or more finite pairs"),
        ({**CAT, "shape_type": "heart"}, "shape_type must be one of polygon"),
    ],
)
def test_bad_shapes_of_labelme_are_refused(tmp_path: Path, row: dict[str, Any], words: str) -> None:
    bad(shapes(tmp_path, row), words, "labelme")


def test_labelme_s_image_must_be_there_and_of_the_stated_size(tmp_path: Path) -> None:
    bad(shapes(tmp_path, CAT, imagePath="b.jpg"), "the image 'b.jpg' must lie beside it", "labelme")
    bad(shapes(tmp_path, CAT, imageWidth=17), "the stated size must be the picture's", "labelme")
    photo(tmp_path / "x.jpg")
    bad(shapes(tmp_path / "set", CAT, imagePath="../x.jpg"), "must lie in the data set's folder", "labelme")


def coco_set(tmp_path: Path, *segmentations: Any, crowd: int = 0) -> Path:
    photo(tmp_path / "a.jpg")
    rows = [
        {
            "image_id": 1,
            "category_id": 1,
            "bbox": [3, 2, 6, 4],
            "segmentation": one,
            "iscrowd": crowd * (k > 0),
        }
        for k, one in enumerate(segmentations)
    ]
    images = [{"id": 1, "file_name": "a.jpg", "width": 16, "height": 12}]
    whole = {"images": images, "categories": [{"id": 1, "name": "cat"}], "annotations": rows}
    (tmp_path / "set.json").write_text(json.dumps(whole))
    return tmp_path


def runs(mask: np.ndarray, text: bool) -> dict[str, Any]:
    packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    return {"size": [12, 16], "counts": packed if text else run_lengths(mask)}


@pytest.mark.parametrize("text", [False, True])
def test_coco_s_polygons_and_run_lengths_are_masks(tmp_path: Path, text: bool) -> None:
    sample = read(coco_set(tmp_path, [[3, 2, 9, 2, 9, 6, 3, 6]], runs(LABELS == 2, text)), "coco")
    assert np.array_equal(sample.mask, LABELS) and sample.names == {1: "cat", 2: "cat"}
    assert len(sample.boxes) == 2


def test_coco_s_crowds_are_background_and_annotations_without_outline_have_no_pixels(tmp_path: Path) -> None:
    sample = read(coco_set(tmp_path, runs(LABELS == 1, False), runs(LABELS == 2, False), crowd=1), "coco")
    assert np.array_equal(sample.mask, LABELS * (LABELS == 1)) and sample.names == {1: "cat"}
    sample = read(coco_set(tmp_path / "b", [], runs(LABELS == 2, False)), "coco")
    assert np.array_equal(sample.mask, LABELS * (LABELS == 2)) and sample.names == {1: "cat", 2: "cat"}


def test_coco_without_outlines_has_no_mask(tmp_path: Path) -> None:
    assert read(coco_set(tmp_path, [], None), "coco").mask is None


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([[1, 2, 3, 4]], "a polygon must be 6 or more finite numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "a polygon must be 6 or more finite numbers"),
        ([[1, 2, 3, 4, float("nan"), 6]], "a polygon must be 6 or more finite numbers"),
        ("cat", "segmentation must be a list of polygons, or an object with size and counts"),
        ({"size": [9, 9], "counts": [81]}, r"size of the segmentation must be the image's, \[12, 16\]"),
        ({"size": [12, 16], "counts": [81]}, "counts must add up to 12 x 16 = 192 pixels, got 81"),
        ({"size": [12, 16], "counts": "a b"}, "counts must be characters"),
    ],
)
def test_bad_segmentations_of_coco_are_refused(tmp_path: Path, segmentation: Any, words: str) -> None:
    bad(coco_set(tmp_path, segmentation), words, "coco")


def davis(tmp_path: Path) -> Path:
    for number in range(2):
        photo(tmp_path / f"JPEGImages/480p/bear/0000{number}.jpg")
        write(tmp_path / f"Annotations/480p/bear/0000{number}.png", LABELS, palette=True)
    return tmp_path


def test_frames_of_davis_are_images_with_masks_of_one_subject(tmp_path: Path) -> None:
    samples = load(f"davis-frames:{davis(tmp_path)}", kind=ImageSample, split="all")
    assert [s.name for s in samples] == ["bear/00000", "bear/00001"] and {s.subject for s in samples} == {
        "bear"
    }
    assert np.array_equal(samples[1].mask, LABELS) and samples[0].names == {1: "object 1", 2: "object 2"}


def test_a_frame_of_nothing_but_void_shows_no_object(tmp_path: Path) -> None:
    write(davis(tmp_path) / "Annotations/480p/bear/00001.png", (LABELS == 2) * np.uint8(255), palette=True)
    samples = load(f"davis-frames:{tmp_path}", kind=ImageSample, split="all")
    assert samples[0].mask.any() and not samples[1].mask.any() and samples[1].names == {}


def test_thin_objects_of_a_palette_are_no_soft_edges(tmp_path: Path) -> None:
    mask = LABELS * (LABELS == 1)
    mask[8, 2:12], mask[9, 2:12] = 2, 255
    write(davis(tmp_path) / "Annotations/480p/bear/00001.png", mask, palette=True)
    sample = load(f"davis-frames:{tmp_path}", kind=ImageSample, split="all")[1]
    assert np.array_equal(sample.mask, mask * (mask < 255)) and set(sample.names) == {1, 2}


def test_a_mask_of_davis_without_a_frame_and_of_another_size_are_refused(tmp_path: Path) -> None:
    (davis(tmp_path) / "JPEGImages/480p/bear/00001.jpg").unlink()
    bad(tmp_path, "00001.png must have a frame of its name", "davis-frames")
    photo(tmp_path / "JPEGImages/480p/bear/00001.jpg", (9, 9, 3))
    bad(tmp_path, "must have the frame's shape", "davis-frames")


def test_slices_of_volumes_with_labels_are_images(tmp_path: Path) -> None:
    voxels, labels = np.zeros((8, 9, 10), np.int16), np.zeros((8, 9, 10), np.uint8)
    voxels[2:5], labels[2:5, 3:6, 4:7] = 900, 2
    for name, array in (("a", voxels), ("a_label", labels)):
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}.nii.gz")
    (tmp_path / "labels.csv").write_text("label,name\n2,liver\n")
    samples = load(f"nifti-slices:{tmp_path}", kind=ImageSample, split="all")
    assert [s.name for s in samples] == ["a/0004", "a/0005", "a/0006"] and {s.subject for s in samples} == {
        "a"
    }
    assert samples[0].image.shape == (1, 9, 8) and samples[0].names[2] == "liver"
    assert (samples[0].mask == 2).sum() == 9 and samples[0].spacing_mm == 1.0
    assert (samples[0].image[0][samples[0].mask == 2] > 200).all()


def test_volumes_without_labels_give_no_slices(tmp_path: Path) -> None:
    voxels = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii.gz")
    bad(tmp_path, "must hold volumes with label maps, found no slice", "nifti-slices")
