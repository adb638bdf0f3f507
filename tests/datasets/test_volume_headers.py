"""Units, checksums, sizes, slopes and places that headers of volumes state are heeded, or the file is refused."""

from __future__ import annotations

import gzip
import zlib

import gymnasium as gym
import nibabel
import numpy as np
import pytest
import SimpleITK

import visionrl  # noqa: F401  # registers the ids
from visionrl.datasets import VolumeSample, clear_cache, load
from visionrl.datasets.readers.scan_grid import to_grey

VOXELS = np.random.default_rng(0).integers(0, 2000, (24, 26, 28)).astype(np.int16)
AFFINE = np.diag([-1, -1, 1, 1.0])


def read(data):
    clear_cache()
    return load(data, kind=VolumeSample, split="all")


def nifti(
    folder,
    name="a.nii.gz",
    voxels=VOXELS,
    affine=AFFINE,
    unit="mm",
    points="# voxel\nname,x,y,z\ntip,3,4,5\n",
):
    folder.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, folder / name)
    if points:
        (folder / f"{name.split('.')[0]}.csv").write_text(points)
    return folder / name


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("unknown", 1), ("micron", 1000), ("meter", 0.001)])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_the_unit_of_a_nifti_file_is_heeded(tmp_path, unit, factor, name):
    sides = np.array([0.025, 0.025, 0.05])
    file = nifti(tmp_path, name, affine=np.diag([*(sides * factor * [-1, -1, 1]), 1]), unit=unit)
    (sample,) = read(f"nifti:{tmp_path}")
    np.testing.assert_allclose(sample.spacing_mm, sides, rtol=1e-6)
    np.testing.assert_allclose(sample.spacing_mm, SimpleITK.ReadImage(str(file)).GetSpacing(), rtol=1e-4)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.99])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mgz"])
def test_a_truncated_scan_is_named(tmp_path, share, name):
    if name == "a.mgz":
        nibabel.save(nibabel.MGHImage(VOXELS, AFFINE), tmp_path / name)
        (tmp_path / "a.csv").write_text("# voxel\ntip,3,4,5\n")
    else:
        nifti(tmp_path, name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=rf"{name}[^\n]*$"):
        read(f"nifti:{tmp_path}")


def test_a_scan_whose_checksum_is_wrong_is_refused(tmp_path):
    file = nifti(tmp_path)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"a.nii.gz must be a whole compressed file"):
        read(f"nifti:{tmp_path}")


def test_a_header_that_claims_more_than_the_file_holds_is_refused_before_memory_is_taken(
    tmp_path, monkeypatch
):
    file = nifti(tmp_path)
    content = bytearray(gzip.decompress(file.read_bytes()))
    content[42:48] = np.array([1000, 1000, 500], "<i2").tobytes()
    file.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(
        ValueError, match=r"a.nii.gz is truncated or damaged: its header says \(1000, 1000, 500\)"
    ):
        read(f"nifti:{tmp_path}")
    content[42:48] = np.array([24, 26, 28], "<i2").tobytes()
    file.write_bytes(gzip.compress(bytes(content) + bytes(1 << 25)))
    with pytest.raises(ValueError, match="more bytes than its header says"):
        read(f"nifti:{tmp_path}")
    nifti(tmp_path, voxels=np.zeros((128, 128, 128), np.int16))
    monkeypatch.setenv("VISIONRL_VOLUME_LIMIT", "1")
    with pytest.raises(ValueError, match=r"at most 1048576 voxels \(VISIONRL_VOLUME_LIMIT\)"):
        read(f"nifti:{tmp_path}")


def test_bytes_are_rescaled_like_all_other_types():
    rng = np.random.default_rng(0)
    dim = rng.integers(3, 60, (9, 9, 9))
    wanted = to_grey(dim.astype(np.int16), "a")
    assert (wanted.min(), wanted.max()) == (0, 255)
    for kind in (np.uint8, np.uint16, np.int32, np.float32, np.float64):
        np.testing.assert_array_equal(to_grey(dim.astype(kind), "a"), wanted)


def test_voxels_that_are_not_finite_do_not_change_the_others():
    values = np.random.default_rng(0).random((9, 9, 9))
    wanted = to_grey(values, "a")
    values[0, 0, :3] = np.nan, np.inf, 1e300
    values[0, 0, 2] = values[0, 0, 3]
    assert np.abs(to_grey(values, "a").astype(int) - wanted)[1:].max() <= 3
    for bad in (np.full((3, 3, 3), np.nan), np.full((3, 3, 3), 7), np.array([[[-1e300, 1e300]]])):
        with pytest.raises(ValueError, match=r"a must have .* voxels|a must have voxels"):
            to_grey(bad, "a")


def test_scans_without_landmarks_are_read_where_none_has_any_and_serve_x_ray_registration(tmp_path):
    nifti(tmp_path, points="")
    (sample,) = read(f"nifti:{tmp_path}")
    assert (sample.points, sample.mask) == ({}, None)
    env = gym.make("visionrl/Registration2D3D-v0", data=f"nifti:{tmp_path}", split="all")
    assert env.reset(seed=0)[1]["mtre_start_mm"] > 0
    with pytest.raises(ValueError, match="points to look for"):
        gym.make("visionrl/LandmarkLocalization3D-v0", data=f"nifti:{tmp_path}", split="all")
    nifti(tmp_path, "b.nii.gz")
    with pytest.raises(ValueError, match=r"sample 0 \('a'\).*a.nii.gz must have a landmark file"):
        read(f"nifti:{tmp_path}")


def test_one_bad_scan_is_a_bad_sample(tmp_path):
    for name in ("a", "b", "c"):
        nifti(tmp_path, f"{name}.nii.gz")
    (tmp_path / "b.csv").write_text("# voxel\nname,x,y,z\ntip,300,4,5\n")
    (tmp_path / "c.nii.gz").write_bytes(b"\x1f\x8b")
    clear_cache()
    with pytest.warns(UserWarning, match=r"2 of 3 samples of nifti:.*'tip' must lie inside.*c.nii.gz"):
        samples = load(f"nifti:{tmp_path}", kind=VolumeSample, split="all", skip_bad=True)
    assert [sample.name for sample in samples] == ["a"]


ENDINGS = (
    "_label",
    "-label",
    "_dseg",
    "_Seg",
    "_mask",
    ".seg",
    "_segmentation",
    "-labels",
    "_gt",
    "_labelmap",
)


@pytest.mark.parametrize("ending", ENDINGS)
def test_label_maps_are_known_by_the_endings_that_tools_write(tmp_path, ending):
    nifti(tmp_path, points="")
    labels = np.zeros(VOXELS.shape, np.uint8)
    labels[3:6, 3:6, 3:6] = 1
    nifti(tmp_path, f"a{ending}.nii.gz", labels, points="")
    (sample,) = read(f"nifti:{tmp_path}")
    assert list(sample.points) == ["label_1"]


FOLDERS = [("Images", "Labels"), ("imagesTr", "labelsTr"), ("image", "label"), ("images", "Masks")]


@pytest.mark.parametrize("folders", FOLDERS)
def test_folders_of_scans_are_known_in_any_case(tmp_path, folders):
    nifti(tmp_path / folders[0], points="")
    labels = np.zeros(VOXELS.shape, np.uint8)
    labels[3:6, 3:6, 3:6] = 1
    nifti(tmp_path / folders[1], "a.nii.gz", labels, points="")
    assert list(read(f"nifti:{tmp_path}")[0].points) == ["label_1"]


NESTED = {
    "a folder a patient": (("p1/ct.nii.gz", "p1/label.nii.gz"), ["p1"]),
    "modalities": (("p1/p1_t1.nii.gz", "p1/p1_t2.nii.gz", "p1/p1_seg.nii.gz"), ["p1/p1_t1", "p1/p1_t2"]),
    "BIDS": (("p1/anat/p1_T1w.nii.gz", "p1/anat/p1_dseg.nii.gz"), ["p1/anat"]),
    "folders in folders": (("p1/images/a.nii.gz", "p1/labels/a.nii.gz"), ["p1"]),
}


@pytest.mark.parametrize("name", NESTED)
def test_scans_in_folders_below_are_found_with_their_label_map(tmp_path, name):
    files, names = NESTED[name]
    labels = np.zeros(VOXELS.shape, np.uint8)
    labels[3:6, 3:6, 3:6] = 1
    for file in (tmp_path / file for file in files):
        nifti(file.parent, file.name, labels if file == tmp_path / files[-1] else VOXELS, points="")
    samples = read(f"nifti:{tmp_path}")
    assert [(s.name, s.subject, list(s.points)) for s in samples] == [
        (one, "p1", ["label_1"]) for one in names
    ]


def itk(folder, name, compressed=False):
    folder.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VOXELS), str(folder / name), compressed)
    (folder / "a.csv").write_text("# voxel\nname,x,y,z\ntip,3,4,5\n")
    return folder / name


def edit(file, old, new):
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new, 1))


@pytest.mark.parametrize(("unit", "factor"), [("um", 1e-3), ("cm", 10), ("mm", 1)])
def test_the_unit_of_nrrd_and_metaimage_is_heeded(tmp_path, unit, factor):
    file = itk(tmp_path / "nrrd", "a.nrrd")
    edit(file, b"space origin", f'space units: "{unit}" "{unit}" "{unit}"\nspace origin'.encode())
    np.testing.assert_allclose(read(f"nrrd:{tmp_path / 'nrrd'}")[0].spacing_mm, [factor] * 3)
    file = itk(tmp_path / "mha", "a.mha")
    edit(file, b"ElementType", f"DistanceUnits = {unit}\nElementType".encode())
    np.testing.assert_allclose(read(f"mha:{tmp_path / 'mha'}")[0].spacing_mm, [factor] * 3)


BAD_HEADERS = {
    "99 axes": ("a.mha", b"NDims = 3", b"NDims = 99", "DimSize must have NDims numbers"),
    "a huge side": ("a.mha", b"DimSize = 28", b"DimSize = 280000000000", "at most"),
    "a negative spacing": ("a.mha", b"ElementSpacing = 1", b"ElementSpacing = -1", "spacing > 0"),
    "deflated voxels that are not": ("a.mha", b"CompressedData = False", b"CompressedData = True", "damaged"),
    "another file": ("a.mha", b"ElementDataFile = LOCAL", b"ElementDataFile = /etc/passwd", "must lie in"),
    "a type of none": ("a.mha", b"MET_SHORT", b"MET_WHAT", "ElementType must be one of"),
    "larger sides": ("a.nrrd", b"sizes: 28", b"sizes: 29", "truncated or damaged"),
    "no side": ("a.nrrd", b"sizes: 28", b"sizes: 0", "sides >= 1"),
    "an unknown unit": (
        "a.nrrd",
        b"space origin",
        b'space units: "ell" "ell" "ell"\nspace origin',
        "unit of length",
    ),
    "a neighbour's file": ("a.nrrd", b"encoding:", b"data file: ../b.raw\nencoding:", "must lie in"),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_a_header_that_claims_what_cannot_be_is_refused(tmp_path, name):
    file, old, new, rule = BAD_HEADERS[name]
    edit(itk(tmp_path, file), old, new)
    with pytest.raises(ValueError, match=rf"{tmp_path}[^\n]*{rule}"):
        read(f"{file[2:]}:{tmp_path}")


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
def test_deflated_voxels_are_compared_with_their_checksum(tmp_path, name):
    file = itk(tmp_path, name, compressed=True)
    assert len(read(f"{name[2:]}:{tmp_path}")) == 1
    content = bytearray(file.read_bytes())
    content[-2] ^= 0xFF  # of the checksum, or of the length
    file.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=rf"{name} is damaged, its deflated voxels"):
        read(f"{name[2:]}:{tmp_path}")
    short = content[: content.index(b"\n\n" if name == "a.nrrd" else b"LOCAL\n") + 2 + 4 * (name == "a.mha")]
    deflate = zlib.compressobj(wbits=31 if name == "a.nrrd" else 15)
    file.write_bytes(bytes(short) + deflate.compress(VOXELS[:9].tobytes()) + deflate.flush())
    with pytest.raises(ValueError, match=rf"{name} is truncated or damaged"):
        read(f"{name[2:]}:{tmp_path}")


def test_a_detached_header_beside_its_voxels_is_read(tmp_path):
    itk(tmp_path, "a.mhd")
    assert (tmp_path / "a.raw").is_file()
    assert read(f"mha:{tmp_path}")[0].volume.shape == (1, 24, 26, 28)
