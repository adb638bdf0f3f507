"""Scans of the user's own: orientation, spacing, landmarks, and one clear error for each thing that can be wrong."""

from __future__ import annotations

import locale
import warnings
from dataclasses import replace

import numpy as np
import pytest

from visionrl.core import batch, make_task
from visionrl.datasets import VolumeSample, clear_cache, load
from visionrl.datasets.readers.scan_points import read_points
from visionrl.datasets.readers.scans import match

nibabel = pytest.importorskip("nibabel")
itk = pytest.importorskip("SimpleITK")

SHAPE = (12, 15, 9)  # (i, j, k) of the files
MARK = (3, 10, 6)  # the middle of the brightest 3 x 3 x 3 voxels
AFFINES = {
    "RAS": np.array([[1.0, 0, 0, -5], [0, 2, 0, 7], [0, 0, 3, 11], [0, 0, 0, 1]]),
    "LAS": np.array([[-1.0, 0, 0, 5], [0, 2, 0, 7], [0, 0, 3, 11], [0, 0, 0, 1]]),
    "PSR": np.array([[0, 0, 3.0, 4], [-1, 0, 0, 2], [0, 2, 0, 8], [0, 0, 0, 1]]),
}


def voxels(seed=0, dtype=np.int16):
    made = np.random.default_rng(seed).integers(0, 200, SHAPE).astype(dtype)
    made[tuple(slice(k - 1, k + 2) for k in MARK)] = 900
    return made


def world(affine, voxel=MARK):
    return (affine @ (*voxel, 1))[:3]


def save(path, array, affine=AFFINES["RAS"], code=1):
    image = nibabel.Nifti1Image(array, affine)
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def read(data, split="all", **kwargs):
    return load(data, kind=VolumeSample, split=split, **kwargs)


def brightest(sample):
    """(x, y, z) of the middle of the brightest voxels."""
    return np.argwhere(sample.volume[0] == 255).mean(axis=0)[::-1]


@pytest.mark.parametrize("codes", AFFINES)
def test_every_orientation_comes_out_alike(tmp_path, codes):
    affine = AFFINES[codes]
    assert "".join(nibabel.aff2axcodes(affine)) == codes
    save(tmp_path / "a.nii.gz", voxels(), affine)
    x, y, z = world(affine)
    (tmp_path / "a.csv").write_text(f"# RAS\nname,x,y,z\ntip,{x},{y},{z}\n")
    (sample,) = read(f"nifti:{tmp_path}")
    np.testing.assert_allclose(sample.points["tip"], brightest(sample))
    turned = nibabel.as_closest_canonical(nibabel.load(tmp_path / "a.nii.gz"))
    np.testing.assert_allclose(sample.spacing_mm, turned.header.get_zooms())
    plain = np.asarray(turned.dataobj)[::-1, ::-1].transpose(2, 1, 0)  # to the left, to the back
    assert sample.volume.shape[1:] == plain.shape
    inner = (plain > np.percentile(plain, 1)) & (plain < np.percentile(plain, 99))
    assert np.corrcoef(sample.volume[0][inner], plain[inner])[0, 1] > 0.999


def test_voxel_indices_count_in_the_array_of_the_file(tmp_path):
    for codes, affine in AFFINES.items():
        save(tmp_path / codes / "images" / "a.nii", voxels(), affine)
        (tmp_path / codes / "landmarks").mkdir()
        (tmp_path / codes / "landmarks" / "a.txt").write_text("# voxel\n3 10 6\n0 0 0\n")
        (sample,) = read(f"nifti:{tmp_path / codes}")
        np.testing.assert_allclose(sample.points["0"], brightest(sample))


def test_distances_in_millimetres_are_those_of_the_world(tmp_path):
    """On an anisotropic, turned volume."""
    affine = AFFINES["PSR"]
    save(tmp_path / "a.nii.gz", voxels(), affine)
    other = (9, 2, 1)
    lines = [",".join(map(str, world(affine, at))) for at in (MARK, other)]
    (tmp_path / "a.txt").write_text("# RAS\n" + "\n".join(lines))
    (sample,) = read(f"nifti:{tmp_path}")
    gap = np.linalg.norm((sample.points["0"] - sample.points["1"]) * sample.spacing_mm)
    np.testing.assert_allclose(gap, np.linalg.norm(world(affine) - world(affine, other)))
    task = make_task("visionrl/LandmarkLocalization3D-v0", data=[sample], window=5, target="0")
    state = batch.stack([task.sample(np.random.default_rng(0), 0)])
    there = replace(state, position=sample.points["1"][None])
    np.testing.assert_allclose(task.metrics(there)["error_mm"], gap)


def test_an_oblique_scan_stays_oblique(tmp_path):
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * [1, 2, 3], (3, 4, 5)
    save(tmp_path / "a.nii.gz", voxels(), affine)
    x, y, z = world(affine)
    (tmp_path / "a.fcsv").write_text(
        f"# CoordinateSystem = LPS\n# columns = id,x,y,z,label\n1,{-x},{-y},{z},tip\n"
    )
    (sample,) = read(f"nifti:{tmp_path}")
    np.testing.assert_allclose(sample.points["tip"], brightest(sample), atol=1e-5)
    np.testing.assert_allclose(sample.spacing_mm, (1, 2, 3), atol=1e-6)


def test_a_label_map_gives_centroids_and_a_mask(tmp_path):
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:5, 9:12, 5:8] = 1
    labels[8, 2, 1] = 7
    save(tmp_path / "images" / "a.nii.gz", voxels(), AFFINES["LAS"])
    save(tmp_path / "labels" / "a.nii.gz", labels, AFFINES["LAS"])
    (tmp_path / "labels.csv").write_text("id,name\n1,heart\n")
    (sample,) = read(f"nifti:{tmp_path}")
    assert set(sample.points) == {"heart", "label_7"}
    np.testing.assert_allclose(sample.points["heart"], brightest(sample))
    x, y, z = sample.points["label_7"].astype(int)
    assert sample.mask[z, y, x] == 7 and sample.names == {1: "heart", 7: "label_7"}
    (kept,) = read(f"nifti:{tmp_path}", classes=["heart"])
    assert set(kept.points) == {"heart"}


def test_nnunet_folders_are_understood(tmp_path):
    save(tmp_path / "imagesTr" / "case_001_0000.nii.gz", voxels())
    save(tmp_path / "labelsTr" / "case_001.nii.gz", (voxels() > 500).astype(np.uint8))
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "tip": 1}}')
    (sample,) = read(f"nifti:{tmp_path}")
    assert sample.name == "case_001"
    np.testing.assert_allclose(sample.points["tip"], brightest(sample))


def test_a_trailing_axis_of_one_is_taken_off_and_odd_values_survive(tmp_path):
    array = voxels(dtype=np.float32)
    array[0, 0, 0] = np.nan
    save(tmp_path / "a.nii.gz", array[..., None])
    (tmp_path / "a.txt").write_text("3,10,6")
    (sample,) = read(f"nifti:{tmp_path}")
    assert sample.volume.shape == (1, 9, 15, 12) and sample.volume.max() == 255
    np.testing.assert_allclose(sample.points["0"], brightest(sample))


def test_what_numbers_are_is_decided_for_the_whole_folder(tmp_path):
    for name, at in (("a", (3, 10, 6)), ("b", (-2, 9, 14))):
        save(tmp_path / f"{name}.nii.gz", voxels())
        (tmp_path / f"{name}.txt").write_text("{},{},{}".format(*at))
    save(tmp_path / "a.nii.gz", voxels(), AFFINES["RAS"])
    with pytest.raises(
        ValueError, match=r"a.txt: landmark '0' must lie inside .*a.nii.gz of 12 x 15 x 9 voxels"
    ):
        read(f"nifti:{tmp_path}")  # -2 is no index, and 6 mm is below the scan's 11
    (tmp_path / "a.txt").write_text("-2,9,20")
    a, _ = read(f"nifti:{tmp_path}")
    np.testing.assert_allclose(a.points["0"], (11 - 3, 14 - 1, 3))


def test_a_doubtful_unit_gives_a_warning(tmp_path):
    save(tmp_path / "a.nii.gz", voxels(), np.diag([1.0, 1, 1, 1]))
    (tmp_path / "a.txt").write_text("3.5,10,6")
    with pytest.warns(
        UserWarning, match=r"inside as voxel indices and as millimetres \(RAS\); they are taken as RAS"
    ):
        read(f"nifti:{tmp_path}")
    (tmp_path / "a.txt").write_text("# voxel\n3.5,10,6")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clear_cache()
        (sample,) = read(f"nifti:{tmp_path}")
    np.testing.assert_allclose(sample.points["0"], (11 - 3.5, 14 - 10, 6))


def good(tmp_path, name="a", affine=AFFINES["RAS"]):
    save(tmp_path / f"{name}.nii.gz", voxels(), affine)
    (tmp_path / f"{name}.csv").write_text("# voxel\ntip,3,10,6\nend,1,2,3\n")


def labelled(tmp_path, labels, affine=AFFINES["RAS"]):
    save(tmp_path / "a.nii.gz", voxels())
    save(tmp_path / "a_seg.nii.gz", labels, affine)


ONES = np.ones(SHAPE, np.uint8)
ZERO = np.diag([1.0, 1, 0, 1])
BAD = {
    "a.nii.gz must state its affine": lambda p: (
        save(p / "a.nii.gz", voxels(), code=0) or (p / "a.txt").write_text("1 1 1")
    ),
    r"a.nii.gz must have a spacing > 0 along each axis, got \[1.0, 2.0, 0.0\]": lambda p: zero_spacing(p),
    r"a.nii.gz must hold one volume of 3 axes, got shape \(12, 15, 9, 2\)": lambda p: (
        save(p / "a.nii.gz", np.stack([voxels()] * 2, -1)) or (p / "a.txt").write_text("1 1 1")
    ),
    r"a.csv: landmark 'tip' must lie inside .* 12 x 15 x 9 voxels, got \[3.0, 15.0, 6.0\] as voxel": lambda p: (
        good(p) or (p / "a.csv").write_text("# voxel\ntip,3,15,6")
    ),
    "b.nii.gz must have a landmark file .* or a label map": lambda p: (
        good(p) or save(p / "b.nii.gz", voxels())
    ),
    "b.csv must name the landmarks of .*a.csv, they differ in end; .* empty cells": lambda p: (
        good(p) or good(p, "b") or (p / "b.csv").write_text("# voxel\ntip,3,10,6\n")
    ),
    "a_seg.nii.gz must be on the grid of .*a.nii.gz, orientation RAS, got LAS": lambda p: labelled(
        p, ONES, AFFINES["LAS"]
    ),
    r"a_seg.nii.gz must be on the grid of .*a.nii.gz, \(12, 15, 9\) voxels, got \(12, 15, 8\)": lambda p: (
        labelled(p, ONES[..., :8])
    ),
    "a_seg.nii.gz must be on the grid of .*a.nii.gz, affine": lambda p: labelled(
        p, ONES, AFFINES["RAS"] + np.outer([1, 0, 0, 0], [0, 0, 0, 1])
    ),
    "a_seg.nii.gz must have a label > 0, every voxel is 0": lambda p: labelled(p, ONES * 0),
    "a_seg.nii.gz must hold whole numbers >= 0": lambda p: labelled(p, ONES.astype(np.float32) / 2),
    "a.nii.gz must have voxels that differ, all are 7": lambda p: good(p) or save(p / "a.nii.gz", ONES * 7),
    "a.nii.gz must be a NIfTI file": lambda p: (
        good(p) or (p / "a.nii.gz").write_bytes(b"nothing of the kind")
    ),
    "must hold scans .* found none": lambda p: (p / "a.txt").write_text("1 1 1"),
    "a.csv, line 2: must hold numbers, got '3 here 6'": lambda p: (
        good(p) or (p / "a.csv").write_text("# voxel\ntip,3,here,6")
    ),
    "a.csv, line 1: must be x,y,z or name,x,y,z, got '1,2'": lambda p: (
        good(p) or (p / "a.csv").write_text("1,2")
    ),
    "a.csv, line 2: each landmark must stand once, got 'tip' again": lambda p: (
        good(p) or (p / "a.csv").write_text("tip,1,2,3\ntip,1,2,3")
    ),
    "a.csv must hold a landmark or more, found none": lambda p: (
        good(p) or (p / "a.csv").write_text("tip,,,\n")
    ),
    "axes at right angles": lambda p: good(p, affine=AFFINES["RAS"] + np.outer([0.5, 0, 0, 0], [0, 1, 0, 0])),
}


def zero_spacing(folder):
    good(folder)
    image = nibabel.load(folder / "a.nii.gz")
    header = image.header
    header["srow_z"], header["qform_code"] = 0, 0
    with (folder / "b.nii").open("wb") as file:
        file.write(header.binaryblock + b"\0" * 4 + np.asarray(image.dataobj).tobytes("F"))
    (folder / "a.nii.gz").unlink()
    (folder / "b.nii").rename(folder / "a.nii")
    nibabel.save(nibabel.load(folder / "a.nii"), folder / "a.nii.gz")
    (folder / "a.nii").unlink()


@pytest.mark.parametrize(("message", "make"), BAD.items(), ids=range(len(BAD)))
def test_a_bad_file_is_named_with_its_rule(tmp_path, message, make):
    make(tmp_path)
    with pytest.raises(ValueError, match=message):
        read(f"nifti:{tmp_path}")


def test_a_landmark_with_empty_cells_is_not_in_the_scan(tmp_path):
    good(tmp_path)
    good(tmp_path, "b")
    (tmp_path / "b.csv").write_text("# voxel\ntip,3,10,6\nend,,,\n")
    a, b = read(f"nifti:{tmp_path}")
    assert set(a.points) == {"tip", "end"} and set(b.points) == {"tip"}


def test_slicers_markups(tmp_path):
    file = tmp_path / "a.mrk.json"
    file.write_text(
        '{"markups": [{"coordinateSystem": "LPS", "controlPoints": [{"label": "tip", "position": [1, 2, 3]}]}]}'
    )
    found = read_points(file)
    assert found.system == "LPS" and found.points["tip"].tolist() == [1, 2, 3]
    file.write_text('{"markups": []}')
    with pytest.raises(ValueError, match=r"a.mrk.json must be a .mrk.json of 3D Slicer"):
        read_points(file)


def test_files_are_matched_by_the_longest_common_name():
    assert match(["case_1", "case_10"], ["case_10_points", "case_1_points"]) == {
        "case_1": "case_1_points",
        "case_10": "case_10_points",
    }
    assert match(["a_to_b", "c"], ["a", "c"]) == {"a_to_b": "a", "c": "c"}
    assert match(["a", "a_2"], ["a_2"]) == {"a_2": "a_2"}, "what is another's by name stays its own"


def test_splits_are_by_subject(tmp_path):
    for name in ("sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1", "sub-03_ses-1"):
        good(tmp_path, name)
    assert [s.subject for s in read(f"nifti:{tmp_path}")] == ["sub-01", "sub-01", "sub-02", "sub-03"]
    parts = [{s.subject for s in read(f"nifti:{tmp_path}", split)} for split in ("train", "val", "test")]
    assert all(parts) and not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def itk_image(
    array=None, spacing=(1.0, 2.0, 3.0), origin=(4.0, 5.0, 6.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)
):
    image = itk.GetImageFromArray((voxels() if array is None else array).T)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image


FLIPPED = (-1, 0, 0, 0, 0, 1, 0, 1, 0)


@pytest.mark.parametrize("kind", ["nrrd", "mha"])
@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), FLIPPED])
def test_itk_files_agree_with_itk_on_where_voxels_are(tmp_path, kind, direction):
    image = itk_image(direction=direction)
    itk.WriteImage(image, tmp_path / f"a.{kind}")
    x, y, z = image.TransformContinuousIndexToPhysicalPoint(MARK)
    (tmp_path / "a.csv").write_text(f"# LPS\ntip,{x},{y},{z}\n")
    (sample,) = read(f"{kind}:{tmp_path}")
    np.testing.assert_allclose(sample.points["tip"], brightest(sample), atol=1e-6)
    np.testing.assert_allclose(sample.spacing_mm, (1, 3, 2) if direction == FLIPPED else (1, 2, 3))


def test_one_scan_in_nifti_and_in_nrrd_is_one_scan(tmp_path):
    image = itk_image(direction=FLIPPED)
    for kind, suffix in (("nrrd", "nrrd"), ("nifti", "nii.gz")):
        (tmp_path / kind).mkdir()
        itk.WriteImage(image, tmp_path / kind / f"a.{suffix}")
        (tmp_path / kind / "a.txt").write_text("3,10,6")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        ((a,), (b,)) = (read(f"{kind}:{tmp_path / kind}") for kind in ("nrrd", "nifti"))
    np.testing.assert_array_equal(a.volume, b.volume)
    np.testing.assert_allclose(a.spacing_mm, b.spacing_mm)
    np.testing.assert_allclose(a.points["0"], b.points["0"])


def test_a_header_without_spacing_is_refused(tmp_path):
    data = voxels().astype(np.uint8)
    head = f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: {' '.join(map(str, SHAPE))}\nencoding: raw\n\n"
    (tmp_path / "a.nrrd").write_bytes(head.encode() + data.tobytes("F"))
    (tmp_path / "a.txt").write_text("1 1 1")
    with pytest.raises(ValueError, match=r"a.nrrd must state its affine, there is no 'space directions:'"):
        read(f"nrrd:{tmp_path}")


def write_series(folder, image, skip=None, uid="1.2.3"):
    """One DICOM file a slice, as ITK's example has it."""
    folder.mkdir(parents=True, exist_ok=True)
    characters = locale.setlocale(locale.LC_CTYPE)
    writer = itk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    direction = image.GetDirection()
    ways = "\\".join(
        map(str, (direction[0], direction[3], direction[6], direction[1], direction[4], direction[7]))
    )
    for k in range(image.GetDepth()):
        part = image[:, :, k]
        place = "\\".join(map(str, image.TransformIndexToPhysicalPoint((0, 0, k))))
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
            "0008|0018": f"{uid}.{k + 1}",
            "0008|0060": "MR",
            "0010|0020": "P7",
            "0020|000d": "1.9",
            "0020|000e": uid,
            "0020|0013": str(k),
            "0020|0032": place,
            "0020|0037": ways,
        }
        for key, value in tags.items():
            part.SetMetaData(key, value)
        if k != skip:
            writer.SetFileName(str(folder / f"{uid}-{k:02d}.dcm"))
            writer.Execute(part)
    locale.setlocale(locale.LC_CTYPE, characters)  # the writer leaves it at C, where files are read as ASCII


@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (0, 0, 1, 1, 0, 0, 0, 1, 0)])
def test_a_dicom_series(tmp_path, direction):
    """Axial, and sagittal with x towards the back and y towards the head."""
    image = itk_image(direction=direction)
    write_series(tmp_path / "p1", image)
    x, y, z = image.TransformContinuousIndexToPhysicalPoint(MARK)
    (tmp_path / "p1" / "points.csv").write_text(f"# LPS\ntip,{x},{y},{z}\n")
    (sample,) = read(f"dicom:{tmp_path}")
    np.testing.assert_allclose(sample.points["tip"], brightest(sample), atol=1e-5)
    np.testing.assert_allclose(sorted(sample.spacing_mm), (1, 2, 3), atol=1e-5)
    assert (sample.name, sample.subject) == ("p1", "P7")


def test_bad_dicom_folders(tmp_path):
    write_series(tmp_path / "p1", itk_image(), skip=4)
    (tmp_path / "p1.txt").write_text("# voxel\n1 1 1")
    with pytest.raises(ValueError, match=r"is a slice missing\?"):
        read(f"dicom:{tmp_path}")
    write_series(tmp_path / "p1", itk_image())
    assert len(read(f"dicom:{tmp_path}")) == 1
    write_series(tmp_path / "p1", itk_image(), uid="1.2.4")
    clear_cache()
    with pytest.raises(ValueError, match="p1 must hold one DICOM series, got 2"):
        read(f"dicom:{tmp_path}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty must hold folders with a DICOM series each, found none"):
        read(f"dicom:{tmp_path / 'empty'}")


def test_scans_of_the_user_make_an_environment(tmp_path):
    for number in range(5):
        good(tmp_path, f"case{number}", list(AFFINES.values())[number % 3])
    task = make_task("visionrl/LandmarkLocalization3D-v0", data=f"nifti:{tmp_path}", window=5)
    assert task.items == 6 and task.names == ("end", "tip")
