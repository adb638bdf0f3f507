"""One function opens text: marks, encodings, newlines, quotes; every format reads through it."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
from PIL import Image

from visionrl.datasets import ImageSample, VolumeSample, load
from visionrl.datasets.readers.scan_points import read_points
from visionrl.datasets.text import read_json, read_rows, read_text

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")
NEWLINES = ("\n", "\r\n", "\r")


def png(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((100, 200, 3), 90, np.uint8)).save(path)


def put(path, text, encoding="utf-8", newline="\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.replace("\n", newline).encode(encoding))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("newline", NEWLINES)
def test_marks_and_newlines_do_not_change_a_data_set(tmp_path, encoding, newline):
    png(tmp_path / "yolo/images/a.png")
    put(tmp_path / "yolo/labels/a.txt", "0 0.5 0.5 0.2 0.4\n1 0.5 0.5 0.2 0.4\n", encoding, newline)
    put(tmp_path / "yolo/classes.txt", "chat noir\nMüll\n", encoding, newline)
    (yolo,) = load(f"yolo:{tmp_path / 'yolo'}", kind=ImageSample, split="all")
    assert yolo.labels == ("chat noir", "Müll")
    png(tmp_path / "coco/a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "Müll"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
    }
    put(tmp_path / "coco/a.json", json.dumps(content, indent=1), encoding, newline)
    assert load(f"coco:{tmp_path / 'coco'}", kind=ImageSample, split="all")[0].labels == ("Müll",)
    png(tmp_path / "csv/a.png")
    put(tmp_path / "csv/points.csv", 'file,"tip, left_x","tip, left_y"\na.png,1,2\n', encoding, newline)
    (csv,) = load(f"csv:{tmp_path / 'csv'}", kind=ImageSample, split="all")
    assert csv.points["tip, left"].tolist() == [1, 2]


@pytest.mark.parametrize("content", [b"M\xfcll\n", b"a\0b\n", b"\xef\xbb\xbfM\xfcll"])
def test_bytes_that_are_no_text_are_refused_by_line(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.txt.* must be text"):
        read_text(tmp_path / "a.txt")


def test_a_comment_of_another_encoding_does_no_harm_in_a_file_of_numbers(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"1 2 # M\xfcll\n")
    assert read_text(tmp_path / "a.txt", numeric=True).startswith("1 2")


@pytest.mark.parametrize("gap", [",", ";", "\t"])
def test_cells_are_apart_by_comma_semicolon_or_tab_and_may_be_quoted(tmp_path, gap):
    put(tmp_path / "a.csv", gap.join(('"a, b"', "2", '"x;y"')) + "\n")
    assert read_rows(tmp_path / "a.csv")[0][1] == ["a, b", "2", "x;y"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [("[" * 100_000, "64 levels"), ("[" * 80 + "]" * 80, "64 levels"), ('{"a": 1, "a": 2}', "'a' twice")],
)
def test_a_json_file_that_is_too_deep_or_contradicts_itself_is_refused(tmp_path, text, rule):
    put(tmp_path / "a.json", text)
    with pytest.raises(ValueError, match=rf"a.json.*{rule}"):
        read_json(tmp_path / "a.json")


def test_the_size_of_a_text_file_has_a_limit_that_can_be_set(tmp_path, monkeypatch):
    put(tmp_path / "a.txt", " " * (2 << 20))
    monkeypatch.setenv("VISIONRL_TEXT_LIMIT", "1")
    with pytest.raises(ValueError, match=r"a.txt must have at most 1048576 bytes \(VISIONRL_TEXT_LIMIT\)"):
        read_text(tmp_path / "a.txt")


SLICER = "# CoordinateSystem = LPS\n# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label\n"
TABLES = {
    "fcsv": (SLICER + '1,5,6,7,0,0,0,1,1,1,0,"condyle, left"\n', "condyle, left", [5, 6, 7], "LPS"),
    "quoted name": ('# voxel\nname,x,y,z\n"condyle, left",5,6,7\n', "condyle, left", [5, 6, 7], "voxel"),
    "quoted header": ('"name","x","y","z"\n"AC",5,6,7\n', "AC", [5, 6, 7], None),
    "other order": ("Z;Y;X;Label\n7;6;5;AC\n", "AC", [5, 6, 7], None),
    "Slicer's table": ("label,r,a,s,defined,selected\nAC,5,6,7,1,0\nPC,0,0,0,0,0\n", "AC", [5, 6, 7], "RAS"),
    "indices": ("name,i,j,k\nAC,5,6,7\n", "AC", [5, 6, 7], "voxel"),
    "micrometres": ("name,x_um,y_um,z_um\nAC,5000,6000,7000\n", "AC", [5, 6, 7], "mm"),
    "unit in brackets": ("name,x (mm),y (mm),z (mm)\nAC,5,6,7\n", "AC", [5, 6, 7], "mm"),
}


@pytest.mark.parametrize("name", TABLES)
def test_titles_of_landmark_tables_of_scans_are_heeded(tmp_path, name):
    text, point, at, system = TABLES[name]
    file = tmp_path / ("a.fcsv" if name == "fcsv" else "a.csv")
    put(file, text)
    found = read_points(file)
    assert found.system == system
    np.testing.assert_allclose(found.points[point], at)


@pytest.mark.parametrize("header", ["name,row,col,slice", "x,y", "name,x,y,w", "name,x_mm,y_um,z_mm"])
def test_a_header_that_names_no_three_coordinates_is_refused(tmp_path, header):
    put(tmp_path / "a.csv", f"{header}\nAC,1,2,3\n")
    with pytest.raises(ValueError, match=r"a.csv, line 1"):
        read_points(tmp_path / "a.csv")


def test_a_markups_file_in_micrometres_with_an_undefined_point(tmp_path):
    points = [
        {"label": "AC", "position": [5000, 6000, 7000], "positionStatus": "defined"},
        {"label": "PC", "position": [0, 0, 0], "positionStatus": "undefined"},
    ]
    markup = {"coordinateSystem": "LPS", "coordinateUnits": "um", "controlPoints": points}
    put(tmp_path / "a.mrk.json", json.dumps({"markups": [markup]}))
    found = read_points(tmp_path / "a.mrk.json")
    assert found.points["PC"] is None
    np.testing.assert_allclose(found.points["AC"], [5, 6, 7])
    put(tmp_path / "a.mrk.json", json.dumps({"markups": [markup, markup]}))
    with pytest.raises(ValueError, match="one markup"):
        read_points(tmp_path / "a.mrk.json")


def test_millimetres_of_a_table_are_in_the_system_of_the_scans_format(tmp_path):
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, 2000, (24, 26, 28)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1, -1, 1, 1.0])), tmp_path / "a.nii.gz")
    put(tmp_path / "a.csv", "name,x (mm),y (mm),z (mm)\nAC,-5,-6,7\n")
    (scan,) = load(f"nifti:{tmp_path}", kind=VolumeSample, split="all")
    np.testing.assert_allclose(scan.points["AC"], [5, 6, 7])
