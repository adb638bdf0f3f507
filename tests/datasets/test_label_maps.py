"""Labels must look like labels; masks of pairs are read as indices, not as colours."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from visionrl.datasets import PairSample, VideoSample, clear_cache, load
from visionrl.datasets.readers.label_maps import labels_of, read_label_map


def square(value, at=50):
    mask = np.zeros((100, 200), np.uint8)
    mask[30:60, at : at + 40] = value
    return mask


def davis(root, *masks, palette=False):
    for place in ("JPEGImages", "Annotations"):
        (root / place / "480p/bear").mkdir(parents=True, exist_ok=True)
    for k, mask in enumerate(masks):
        Image.fromarray(np.full((100, 200, 3), 90, np.uint8)).save(root / f"JPEGImages/480p/bear/{k:05d}.jpg")
        picture = Image.fromarray(mask)
        if palette:
            picture.putpalette([k % 256 for k in range(768)])
        picture.save(root / f"Annotations/480p/bear/{k:05d}.png")
    clear_cache()
    return {s.name: s.boxes[0].tolist() for s in load(f"davis:{root}", kind=VideoSample, split="all")}


def soft(mask):
    return cv2.GaussianBlur(mask, (3, 3), 0.8)


BOX = [50, 30, 90, 60]


@pytest.mark.parametrize("palette", [False, True])
@pytest.mark.parametrize("value", [1, 255, 38])
def test_one_value_is_one_object(tmp_path, value, palette):
    assert davis(tmp_path, square(value), palette=palette) == {"bear": BOX}


@pytest.mark.parametrize("palette", [False, True])
def test_255_beside_smaller_labels_is_void(tmp_path, palette):
    mask = square(1)
    mask[:, 196:] = 255
    assert davis(tmp_path, mask, palette=palette) == {"bear": BOX}


def test_greys_that_are_labels_stay_objects(tmp_path):
    assert set(davis(tmp_path, square(38) + square(75, 100) + square(113, 150))) == {
        "bear.38",
        "bear.75",
        "bear.113",
    }


def jpeg_like():
    """Values around 0 and around 255, as the compression of a mask leaves them."""
    noise = np.random.default_rng(0).integers(0, 8, (100, 200)).astype(np.uint8)
    return np.where(square(1) > 0, 255 - noise, noise)


@pytest.mark.parametrize(
    "mask", [soft(square(255)), soft(square(200)), jpeg_like()], ids=["255", "200", "jpeg"]
)
def test_soft_edges_are_refused_by_their_values(tmp_path, mask):
    with pytest.raises(ValueError, match=r"00000.png must hold labels, it looks like soft edges: the values"):
        davis(tmp_path, mask)


def test_a_small_object_is_no_soft_edge():
    mask = square(1)
    mask[0, 0] = 2
    assert labels_of(mask, "a") == [1, 2]


def test_a_mask_of_another_size_than_its_frame_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"mask .*00000.png must have the frames' shape \(100, 200\)"):
        davis(tmp_path, square(1)[:50])


def test_label_maps_of_pairs_are_indices_not_colours(tmp_path):
    labels = square(1) + square(2, 120)
    for side in ("fixed", "moving"):
        Image.fromarray(np.full((100, 200), 90, np.uint8)).save(tmp_path / f"{side}.png")
        picture = Image.fromarray(labels)
        picture.putpalette([0, 0, 0, 0, 200, 0, 0, 0, 200])  # green and blue: their red is 0
        picture.save(tmp_path / f"{side}_label.png")
    (pair,) = load(f"pairs:{tmp_path}", kind=PairSample, split="all")
    np.testing.assert_array_equal(pair.fixed_mask, labels)


@pytest.mark.parametrize("kind", ["L", "RGB", "1"])
def test_a_label_map_may_be_grey_in_any_mode(tmp_path, kind):
    Image.fromarray(square(255)).convert(kind).save(tmp_path / "a.png")
    assert (read_label_map(tmp_path / "a.png") > 0).sum() == 30 * 40


def test_a_path_of_a_pair_outside_of_the_folder_is_refused(tmp_path):
    (tmp_path / "set").mkdir()
    for name in ("a.png", "set/b.png"):
        Image.fromarray(np.full((9, 9), 90, np.uint8)).save(tmp_path / name)
    (tmp_path / "set/pairs.csv").write_text("fixed,moving\n../a.png,b.png\n")
    with pytest.raises(ValueError, match=r"pairs.csv, line 2: .*a.png must lie in the data set's folder"):
        load(f"pairs:{tmp_path / 'set'}", kind=PairSample, split="all")


def test_titles_of_point_files_of_pairs_are_heeded(tmp_path):
    for side, header in (("fixed", "name,Row,Col"), ("moving", "name,x,y")):
        Image.fromarray(np.full((20, 20), 90, np.uint8)).save(tmp_path / f"{side}.png")
        (tmp_path / f"{side}.csv").write_text(f"{header}\ntip,3,9\n")
    (pair,) = load(f"pairs:{tmp_path}", kind=PairSample, split="all")
    assert (pair.fixed_points.tolist(), pair.moving_points.tolist()) == ([[9, 3]], [[3, 9]])
    (tmp_path / "fixed.csv").write_text("name,a,b\ntip,3,9\n")
    clear_cache()
    with pytest.raises(
        ValueError, match=r"fixed.csv must have a header with x and y \(or col and row\), got 'name,a,b'"
    ):
        load(f"pairs:{tmp_path}", kind=PairSample, split="all")


@pytest.mark.parametrize("number", ["1e300", "-2e6", "nan"])
@pytest.mark.parametrize("place", ["transform.txt", "moving.csv"])
def test_numbers_of_a_pair_that_cannot_be_are_refused(tmp_path, place, number):
    for side in ("fixed", "moving"):
        Image.fromarray(np.full((20, 20), 90, np.uint8)).save(tmp_path / f"{side}.png")
        (tmp_path / f"{side}.csv").write_text("name,x,y\ntip,3,9\n")
    text = f"1 0 {number}\n0 1 0\n" if place == "transform.txt" else f"name,x,y\ntip,3,{number}\n"
    (tmp_path / place).write_text(text)
    with pytest.raises(ValueError, match="finite"):
        load(f"pairs:{tmp_path}", kind=PairSample, split="all")
