"""Facts of every slice of a DICOM series count, not those of the first for all."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_files import write_slice

from visionrl.datasets import VolumeSample, clear_cache, load
from visionrl.datasets.readers.scan_grid import to_grey

SLOPES = (1, 0.0002, 0.0003, 0.0002, 0.0001, 0.0003, 0.0002, 0.0004)
Y, X = np.mgrid[:32, :32]
HILL = (30000 * np.exp(-((X - 16) ** 2 + (Y - 16) ** 2) / 60.0)).astype(np.uint16)


def series(folder, slopes=SLOPES, points=True, **changed):
    """A series whose first slice is empty; ``changed`` holds (number, value) of single slices."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, slope in enumerate(slopes):
        other = {name: value for name, (number, value) in changed.items() if number in (k, "all")}
        write_slice(folder / f"{k:03d}.dcm", HILL if k else 0 * HILL, k, **{"slope": slope, **other})
    if points:
        (folder / "marks.csv").write_text("# voxel\nname,x,y,z\na,16,16,3\n")
    return folder


def read(folder):
    clear_cache()
    return load(f"dicom:{folder}", kind=VolumeSample, split="all")


@pytest.mark.parametrize(
    "slopes", [SLOPES, (0.5, *SLOPES[1:]), (0.0001, 0.0002, 1, *SLOPES[3:]), (1, *[1e-5] * 7)]
)
def test_each_slice_has_its_own_slope(tmp_path, slopes):
    series(tmp_path / "a", slopes)
    true = np.array([(HILL if k else 0 * HILL) * float(slope) for k, slope in enumerate(slopes)])
    np.testing.assert_array_equal(read(tmp_path)[0].volume[0], to_grey(true, tmp_path))


def test_a_slice_of_another_intercept_is_shifted(tmp_path):
    series(tmp_path / "a", [1] * 8, intercept=(3, -1000.0))
    true = np.array([(HILL if k else 0 * HILL) - 1000.0 * (k == 3) for k in range(8)])
    np.testing.assert_array_equal(read(tmp_path)[0].volume[0], to_grey(true, tmp_path))


def test_what_is_bright_in_monochrome1_is_dark(tmp_path):
    series(tmp_path / "a", [1] * 4)
    series(tmp_path / "b", [1] * 4, photometric=("all", "MONOCHROME1"))
    plain, inverted = (sample.volume[0].astype(int) for sample in read(tmp_path))
    np.testing.assert_allclose(plain + inverted, 255, atol=1)


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"rows": (2, 25)}, "002.dcm must have what .*000.dcm has, '32', got '25'"),
        ({"rows": ("all", 25)}, "000.dcm must have 25 x 32 pixels of 1600 bytes, got 2048 bytes"),
        ({"spacing": (1, "1\\3")}, "001.dcm must have what"),
        ({"spacing": ("all", "0\\0")}, "000.dcm must have a PixelSpacing > 0"),
        ({"photometric": (2, "MONOCHROME1")}, "002.dcm must have what"),
        ({"z": (2, 30)}, "is a slice missing"),
        ({"slope": (2, 0.0)}, "002.dcm must have a finite RescaleSlope other than 0"),
        ({"slope": (2, float("nan"))}, "002.dcm must have a finite RescaleSlope other than 0"),
        (
            {"intercept": (2, float("inf"))},
            "002.dcm must have a finite RescaleSlope other than 0 and intercept",
        ),
        ({"series": (2, "1.2.9")}, "must hold one DICOM series, got 2"),
        ({"patient": (2, "P9")}, "002.dcm must have what .*000.dcm has, 'P1', got 'P9'"),
        ({"photometric": ("all", "RGB")}, "000.dcm must be grey, MONOCHROME1 or MONOCHROME2, got 'RGB'"),
        ({"photometric": ("all", "PALETTE COLOR")}, "must hold slices that GDCM can read"),
        ({"spacing": ("all", "1\\9e5"), "z": (3, 1e30)}, "is a slice missing"),
    ],
)
def test_slices_that_differ_in_what_all_share_are_refused(tmp_path, changed, rule):
    series(tmp_path / "a", [1] * 4, **changed)
    with pytest.raises(ValueError, match=rule):
        read(tmp_path)


def test_a_slice_that_is_none_any_more_is_named(tmp_path):
    """GDCM leaves out what it does not know, so that a series would be a slice shorter at its end."""
    folder = series(tmp_path / "a", [1] * 4)
    (folder / "003.dcm").write_bytes(bytes(2000))
    with pytest.raises(ValueError, match=r"003.dcm must be a slice of the series, as the other 3 files are"):
        read(tmp_path)


def test_slices_a_kilometre_apart_are_refused(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    for k in range(3):
        write_slice(folder / f"{k}.dcm", HILL, k, z=1e30 * k)
    with pytest.raises(ValueError, match="must have a spacing > 0 along each axis, and below 1 km"):
        read(tmp_path)


def test_series_without_landmarks_are_read_where_none_has_any(tmp_path):
    for name in ("a", "b"):
        series(tmp_path / name, [1] * 4, points=False)
    assert [sample.points for sample in read(tmp_path)] == [{}, {}]
    (tmp_path / "a" / "marks.csv").write_text("# voxel\nname,x,y,z\na,16,16,3\n")
    with pytest.raises(ValueError, match=r"sample 1 \('b'\).*must have a landmark file"):
        read(tmp_path)


def test_a_truncated_slice_is_named(tmp_path):
    file = series(tmp_path / "a", [1] * 4) / "002.dcm"
    file.write_bytes(file.read_bytes()[:-900])
    with pytest.raises(ValueError, match=r"a[^\n]*$"):
        read(tmp_path)
