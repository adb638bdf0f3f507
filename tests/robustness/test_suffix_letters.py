"""Suffixes are known in small letters, capitals, and both."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_sets import SETS
from test_fuzz import KINDS

from visionrl.datasets import ImageSample, VolumeSample, clear_cache, load
from visionrl.datasets.readers.files import find_beside, has_suffix
from visionrl.datasets.unlabelled import read_unlabelled

FREE = [
    *(
        "csv",
        "pts",
        "masks",
        "labelme",
        "imagefolder",
        "images",
        "coco",
        "voc",
        "yolo",
        "davis",
        "davis-frames",
    ),
    *("nifti", "nifti-slices", "nrrd", "mha", "dicom", "pairs"),
]
"""Formats whose files have names of their own; those that ask for ``groundtruth.txt`` ask for that name."""


def odd(name: str) -> str:
    """``a.nii.gz`` as ``a.Nii.Gz``; lists of pairs and of labels have to have their names."""
    if name in ("pairs.csv", "labels.txt"):
        return name
    head, *parts = name.split(".")
    return ".".join([head, *(part.capitalize() for part in parts)])


@pytest.mark.parametrize("name", FREE)
def test_a_set_with_odd_letters_in_all_suffixes_is_the_same(name: str, tmp_path: Path) -> None:
    plain, strange = tmp_path / "plain" / "set", tmp_path / "strange" / "set"
    plain.mkdir(parents=True)
    SETS[name](plain)
    shutil.copytree(plain, strange)
    files = [file for file in strange.rglob("*") if file.is_file()]
    for file in files:
        if file.suffix in (".csv", ".json", ".yaml", ".mhd", ".nhdr", ".xml"):
            text = file.read_text()
            for other in files:
                text = text.replace(other.name, odd(other.name))
            file.write_text(text)
        file.rename(file.with_name(odd(file.name)))
    clear_cache()
    first, second = (load(f"{name}:{folder}", kind=KINDS[name], split="all") for folder in (plain, strange))
    assert [sample.name.lower() for sample in first] == [sample.name.lower() for sample in second]
    for one, other in zip(first, second, strict=True):
        for field, value in vars(one).items():
            if isinstance(value, np.ndarray):
                assert np.array_equal(value, getattr(other, field), equal_nan=True), field


@pytest.mark.parametrize("suffix", [".Nii.GZ", ".nii.Gz", ".NIi", ".Mgz"])
@pytest.mark.parametrize("edition", ["Nifti1Image", "Nifti2Image"])
def test_a_scan_with_odd_letters_is_read(suffix: str, edition: str, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    voxels = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    kind = nibabel.MGHImage if suffix == ".Mgz" else getattr(nibabel, edition)
    content = kind(voxels, np.diag([1.0, 2, 3, 1])).to_bytes()
    packed = suffix.lower() in (".nii.gz", ".mgz")
    (tmp_path / f"a{suffix}").write_bytes(gzip.compress(content) if packed else content)
    sample = read_unlabelled(tmp_path / f"a{suffix}", VolumeSample)
    assert sample.volume.shape == (1, 6, 5, 4) and sample.name == "a"
    assert tuple(sample.spacing_mm) == (1, 2, 3)


def test_the_file_beside_another_is_found_whatever_its_letters(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.pNg")
    assert find_beside(tmp_path / "a.xml", (".jpg", ".png")) == tmp_path / "a.pNg"
    assert find_beside(tmp_path / "A.xml", (".jpg", ".png")) is None
    assert find_beside(tmp_path / "nowhere" / "a.xml", (".png",)) is None
    (tmp_path / "a.JPG").touch()
    assert find_beside(tmp_path / "a.xml", (".jpg", ".png")) == tmp_path / "a.JPG"
    assert has_suffix(tmp_path / "x.Nii.GZ", (".nii.gz",)) and not has_suffix(tmp_path / "x.gz", (".nii.gz",))


def test_a_photograph_with_odd_letters_is_read(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 7).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.PnG")
    assert (read_unlabelled(tmp_path / "a.PnG", ImageSample).image == 7).all()
