"""The reader of MVTec-AD's folders, drawn defects, and the embedded sets of defects."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from visionrl.datasets import ImageSample, load
from visionrl.datasets.embedded.defects import REGIONS, Defects, UnseenDefects
from visionrl.datasets.synthetic_defects import DEFECTS, with_defect


def write(file: Path, value: int = 90, side: int = 40, spot: int = 0) -> None:
    """A grey picture, with a white square in it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((side, side), value, np.uint8)
    pixels[4 : 4 + spot, 4 : 4 + spot] = 255
    cv2.imwrite(str(file), pixels)


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """A folder with ten good training images, two good and two cracked test images."""
    for number in range(10):
        write(tmp_path / f"train/good/{number:03}.png")
    for number in range(2):
        write(tmp_path / f"test/good/{number:03}.png")
        write(tmp_path / f"test/crack/{number:03}.png", spot=8)
        write(tmp_path / f"ground_truth/crack/{number:03}_mask.png", 0, spot=8)
    return tmp_path


def test_folders_are_splits_and_kinds(product: Path) -> None:
    found = {s: load(f"mvtec:{product}", kind=ImageSample, split=s) for s in ("train", "val", "test")}
    assert [len(found[s]) for s in ("train", "val", "test")] == [8, 2, 4]
    assert [one.name for one in found["val"]] == ["train/good/004", "train/good/009"]
    kinds = {one.name: one.labels[0] for one in found["test"]}
    assert kinds["test/crack/001"] == "crack" and kinds["test/good/000"] == "good"
    cracked = next(one for one in found["test"] if one.labels == ("crack",))
    assert cracked.mask is not None and cracked.mask.sum() == 64 and cracked.mask[4, 4] == 1
    good = found["train"][0]
    assert good.mask is not None and not good.mask.any()


def test_a_split_file_cuts_anew(product: Path, tmp_path: Path) -> None:
    names = [one.name for one in load(f"mvtec:{product}", kind=ImageSample, split="all")]
    file = tmp_path / "cut.csv"
    file.write_text("".join(f"{name},{('val', 'train', 'test')[k % 3]}\n" for k, name in enumerate(names)))
    train = load(f"mvtec:{product}", kind=ImageSample, split="train", split_file=file)
    assert {one.labels[0] for one in train} == {"crack", "good"}


def test_a_defect_without_a_mask_has_an_unknown_place(product: Path) -> None:
    (product / "ground_truth/crack/000_mask.png").unlink()
    test = {one.name: one for one in load(f"mvtec:{product}", kind=ImageSample, split="test")}
    assert test["test/crack/000"].mask is None and test["test/crack/001"].mask is not None


def test_what_is_wrong_is_named(product: Path) -> None:
    write(product / "ground_truth/crack/007_mask.png", 0, spot=3)
    with pytest.raises(
        ValueError, match=r"every mask must have an image of its name, found none for .*007_mask"
    ):
        load(f"mvtec:{product}", kind=ImageSample, split="test")
    (product / "ground_truth/crack/007_mask.png").unlink()
    write(product / "ground_truth/crack/001_mask.png", 0)
    with pytest.raises(
        ValueError, match=r"001_mask\.png must show the defect of its image, got an empty one"
    ):
        load(f"mvtec:{product}", kind=ImageSample, split="test")
    with pytest.warns(UserWarning, match="left out"):
        assert len(load(f"mvtec:{product}", kind=ImageSample, split="test", skip_bad=True)) == 3
    write(product / "ground_truth/crack/001_mask.png", 0, side=41, spot=3)
    with pytest.raises(ValueError, match="must have the size of its image, 40 x 40, got 41 x 41"):
        load(f"mvtec:{product}", kind=ImageSample, split="test")


def test_folders_that_are_missing_are_named(product: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must hold the folders train/good and test"):
        load(f"mvtec:{product / 'test'}", kind=ImageSample)
    for file in (product / "train/good").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="must hold images of good parts, found none"):
        load(f"mvtec:{product}", kind=ImageSample)


@pytest.mark.parametrize("kind", list(DEFECTS))
def test_a_drawn_defect_changes_what_its_mask_marks(kind: str) -> None:
    image = np.random.default_rng(0).integers(60, 160, (3, 90, 120)).astype(np.uint8)
    kept = image.copy()
    for seed in range(5):
        drawn, mask, name = with_defect(np.random.default_rng(seed), image, [kind])
        assert name == kind and drawn.shape == image.shape and mask.any() and mask.mean() < 0.2
        changed = (drawn != image).any(axis=0)
        assert changed[mask > 0].mean() > 0.6 and changed[cv2.dilate(mask, np.ones((9, 9))) == 0].mean() == 0
    assert (image == kept).all()


def test_embedded_images_are_of_regions_apart() -> None:
    one, other = Defects("val")[1], Defects("val")[1]
    assert (one.image == other.image).all() and one.mask is not None and one.mask.any()
    kinds = [Defects("train")[k].labels[0] for k in range(8)]
    assert kinds[::2] == ["good"] * 4 and "good" not in kinds[1::2]
    assert UnseenDefects("train").kinds == Defects("test").kinds and "hole" in UnseenDefects("test").kinds
    places = list(REGIONS.values())
    for k, (x0, y0, x1, y1) in enumerate(places):
        for a0, b0, a1, b1 in places[k + 1 :]:
            assert min(x1, a1) <= max(x0, a0) or min(y1, b1) <= max(y0, b0)
