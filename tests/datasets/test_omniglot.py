"""The reader of Omniglot: folders and zip files, splits by alphabet, what it refuses."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from visionrl.datasets import ImageSample, load
from visionrl.datasets.load import clear_cache

SMALL = {
    "images_background_small1": ("Greek", "Korean", "Latin", "Balinese", "Hebrew"),
    "images_background_small2": ("Greek", "Tagalog"),
}


def drawing(kind: str = "PNG", inverted: bool = False) -> bytes:
    """A black stroke on white, of one bit a pixel."""
    pixels = np.ones((20, 24), bool)
    pixels[4:16, 8:11] = False
    content = BytesIO()
    Image.fromarray(pixels ^ inverted).save(content, kind)
    return content.getvalue()


def files_of(alphabets: tuple[str, ...]) -> dict[str, bytes]:
    """Two characters an alphabet, two drawings each."""
    return {f"{a}/character0{c}/0{d}.png": drawing() for a in alphabets for c in (1, 2) for d in (1, 2)}


def write_zip(path: Path, files: dict[str, bytes], wrapped: bool = True) -> None:
    with ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{path.stem}/{name}" if wrapped else name, content)
        archive.writestr("__MACOSX/._x.png", b"")


def write_folder(path: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


def alphabets(path: Path, split: str) -> set[str]:
    return {sample.subject for sample in load(f"omniglot:{path}", kind=ImageSample, split=split)}


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pair_of_parts_states_splits_and_a_shared_alphabet_is_no_test(tmp_path: Path, zipped: bool) -> None:
    clear_cache()
    for name, some in SMALL.items():
        place = tmp_path / (f"{name}.zip" if zipped else name)
        (write_zip if zipped else write_folder)(place, files_of(some))
    train, val, test = (alphabets(tmp_path, split) for split in ("train", "val", "test"))
    assert test == {"Tagalog"} and len(val) == 1 and len(train) == 4
    assert train | val == set(SMALL["images_background_small1"])
    sample = load(f"omniglot:{tmp_path}", kind=ImageSample, split="test")[0]
    assert sample.labels == ("Tagalog/character01",) and sample.name == "Tagalog/character01/01"
    assert sample.image.shape == (1, 20, 24) and sample.image[0, 0, 0] == 255 and sample.image[0, 8, 9] == 0


def test_one_part_or_a_folder_of_alphabets_is_cut_by_alphabet(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", files_of(("Greek", "Korean", "Latin", "Balinese", "Hebrew")))
    write_zip(tmp_path / "images_evaluation.zip", files_of(("Greek", "Latin", "Korean")), wrapped=False)
    for path in (tmp_path / "a", tmp_path / "images_evaluation.zip", tmp_path):
        if path == tmp_path:
            (tmp_path / "a").rename(tmp_path.parent / f"{tmp_path.name}-a")
        parts = [alphabets(path, split) for split in ("train", "val", "test")]
        assert all(parts) and sum(map(len, parts)) == len(set.union(*parts))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"Greek/character01/a.jpg": drawing("JPEG")}, r"a\.jpg must be a PNG file"),
        ({"Greek/character01/a.png": drawing("BMP")}, r"a\.png .*must be PNG, got BMP"),
        ({"Greek/character01/a.png": b"no picture"}, r"a\.png is truncated or no image"),
        (
            {"Greek/character01/a.png": drawing(inverted=True)},
            r"a\.png must be dark strokes .* is it inverted",
        ),
        ({"Greek/a.png": drawing()}, r"a\.png must lie in ALPHABET/CHARACTER, it lies in Greek"),
        ({}, "must hold ALPHABET/CHARACTER/DRAWING.png, found no file"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_no_drawing_is_named(tmp_path: Path, files: Any, message: str, zipped: bool) -> None:
    path = tmp_path / "some"
    path.mkdir()
    if zipped:
        path = tmp_path / "some.zip"
        write_zip(path, files, wrapped=False)
    else:
        write_folder(path, files)
    with pytest.raises(ValueError, match=message):
        load(f"omniglot:{path}", kind=ImageSample, split="all")


def test_a_damaged_archive_and_half_a_pair_of_each_are_refused(tmp_path: Path) -> None:
    (tmp_path / "images_background.zip").write_bytes(b"PK no zip")
    with pytest.raises(ValueError, match="must be a folder or a whole zip file"):
        load(f"omniglot:{tmp_path}", kind=ImageSample)
    write_zip(tmp_path / "images_background_small2.zip", files_of(("Greek",)))
    with pytest.raises(ValueError, match="must hold images_background and images_evaluation or"):
        load(f"omniglot:{tmp_path}", kind=ImageSample, split="val")
