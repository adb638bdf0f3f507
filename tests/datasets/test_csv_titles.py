"""The titles of a landmark table say which column is what, or the table is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from visionrl.datasets import ImageSample, clear_cache, load

RIGHT = {"nose": [50, 40], "tail": [150, 60]}
TABLES = {
    "visibility": ("nose_x,nose_y,nose_v,tail_x,tail_y,tail_v", "50,40,2,150,60,1"),
    "likelihood": ("nose_x,nose_y,nose_likelihood,tail_x,tail_y,tail_likelihood", "50,40,0.98,150,60,0.2"),
    "spaces": ("nose x,nose y,nose visible,tail x,tail y,tail visible", "50,40,1,150,60,true"),
    "size first": ("width,height,nose_x,nose_y,tail_x,tail_y", "200,200,50,40,150,60"),
    "score and age": ("age,score,nose_x,nose_y,tail_x,tail_y", "31,0.7,50,40,150,60"),
    "all x, all y": ("nose_x,tail_x,nose_y,tail_y", "50,150,40,60"),
    "row and column": ("nose_row,nose_col,tail_row,tail_col", "40,50,60,150"),
    "y first": ("nose_y,nose_x,tail_y,tail_x", "40,50,60,150"),
    "capitals": ("nose_Y,nose_X,tail_Y,tail_X", "40,50,60,150"),
    "axis in front": ("x_nose,y_nose,x_tail,y_tail", "50,40,150,60"),
    "quoted": ('"nose_x","nose_y","tail_x","tail_y"', '"50","40","150","60"'),
}


def read(folder, header, *rows, gap=","):
    for k in range(len(rows)):
        Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(folder / f"im{k}.png")
    lines = [f"image,{header}", *(f"im{k}.png,{row}" for k, row in enumerate(rows))]
    (folder / "points.csv").write_text("\n".join(lines).replace(",", gap) + "\n")
    clear_cache()
    samples = load(f"csv:{folder}", kind=ImageSample, split="all")
    return [{name: at.tolist() for name, at in sample.points.items()} for sample in samples]


@pytest.mark.parametrize("gap", [",", ";", "\t"])
@pytest.mark.parametrize("name", TABLES)
def test_points_are_read_by_their_titles(tmp_path, name, gap):
    assert read(tmp_path, *TABLES[name], gap=gap) == [RIGHT]


def test_numbered_titles_are_paired_by_number(tmp_path):
    right = list(RIGHT.values())
    assert list(read(tmp_path, "x0,x1,y0,y1", "50,150,40,60")[0].values()) == right
    for header in ("0_x,0_y,1_x,1_y", "0,1,2,3"):
        assert list(read(tmp_path, header, "50,40,150,60")[0].values()) == right


@pytest.mark.parametrize("empty", ["NaN,NaN", ",", "NA,NA", "null,null"])
def test_a_point_without_numbers_is_not_in_the_image(tmp_path, empty):
    assert read(tmp_path, "nose_x,nose_y,tail_x,tail_y", f"50,40,{empty}") == [{"nose": [50, 40]}]


@pytest.mark.parametrize("value", ["0", "false", "False", "0.0"])
def test_a_point_that_is_not_visible_is_not_in_the_image(tmp_path, value):
    assert read(tmp_path, "nose_x,nose_y,tail_x,tail_y,tail_visible", f"50,40,0,0,{value}") == [
        {"nose": [50, 40]}
    ]


@pytest.mark.parametrize(
    ("header", "rule"),
    [
        ("a,b,c,d", "must have titles NAME_x and NAME_y"),
        ("nose_x,nose_y,tail_x,width", "NAME_x and NAME_y once for every point"),
        ("nose_x,nose_y,nose_z,width", "points of two coordinates, got a third"),
        ("nose_x,nose_y,nose_x,nose_y", "must have each column once, got 'nose_x' twice"),
        ("nose_x,nose_col,nose_y,width", "must have each column once, got 'nose_col' twice"),
        ("bbox,area,eye,ear", "must have titles NAME_x and NAME_y"),
    ],
)
def test_a_header_that_is_not_understood_is_refused(tmp_path, header, rule):
    with pytest.raises(ValueError, match=rule):
        read(tmp_path, header, "50,40,150,60")


def test_columns_that_are_not_known_are_named_in_a_warning(tmp_path):
    with pytest.warns(UserWarning, match="columns without coordinates are not read: camera"):
        assert read(tmp_path, "camera,nose_x,nose_y", "left,50,40") == [{"nose": [50, 40]}]


def test_a_column_states_the_splits(tmp_path):
    read(tmp_path, "nose_x,nose_y,Split", "50,40,Training", "50,40,val", "50,40,train")
    assert [s.name for s in load(f"csv:{tmp_path}", kind=ImageSample, split="train")] == ["im0", "im2"]
    with pytest.raises(ValueError, match=r"line 2: split must be train, val or test, got 'x'"):
        read(tmp_path, "nose_x,nose_y,split", "50,40,x")


def test_tables_that_bear_the_names_of_splits_are_the_splits(tmp_path):
    read(tmp_path, "nose_x,nose_y", "50,40", "60,50")
    rows = (tmp_path / "points.csv").read_text().splitlines()
    for split, row in (("train", rows[1]), ("valid", rows[2])):
        (tmp_path / f"{split}.csv").write_text(f"{rows[0]}\n{row}\n")
    (tmp_path / "points.csv").unlink()
    clear_cache()
    assert [s.name for s in load(f"csv:{tmp_path}", kind=ImageSample, split="val")] == ["val/im1"]


@pytest.mark.parametrize("columns", [1, 3])
def test_a_table_of_deeplabcut_is_read(tmp_path, columns):
    path = {1: "labeled-data/cage/im0.png", 3: "labeled-data,cage,im0.png"}[columns]
    gap = "," * (columns - 1)
    (tmp_path / "CollectedData_ann.csv").write_text(
        f"scorer{gap},ann,ann,ann,ann\nbodyparts{gap},nose,nose,tail,tail\ncoords{gap},x,y,x,y\n{path},50,40,150,60\n"
    )
    Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(tmp_path / "im0.png")
    (sample,) = load(f"csv:{tmp_path}", kind=ImageSample, split="all")
    assert {name: at.tolist() for name, at in sample.points.items()} == RIGHT


def test_a_table_of_several_animals_is_refused_by_its_name(tmp_path):
    head = "scorer,ann,ann\nindividuals,mouse1,mouse1\nbodyparts,nose,nose\ncoords,x,y\n"
    (tmp_path / "a.csv").write_text(head + "a.png,1,2\n")
    with pytest.raises(ValueError, match="a table of DeepLabCut of one animal"):
        load(f"csv:{tmp_path}", kind=ImageSample, split="all")


@pytest.mark.parametrize("outside", ["../secret.png", "{root}/secret.png"])
def test_a_picture_outside_of_the_folder_is_refused_unless_it_is_allowed(tmp_path, outside, monkeypatch):
    inside = tmp_path / "set"
    inside.mkdir()
    Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(tmp_path / "secret.png")
    (inside / "points.csv").write_text(f"image,x,y\n{outside.format(root=tmp_path)},5,5\n")
    with pytest.raises(
        ValueError, match=r"secret.png must lie in the data set's folder .*VISIONRL_ALLOW_OUTSIDE=1"
    ):
        load(f"csv:{inside}", kind=ImageSample, split="all")
    monkeypatch.setenv("VISIONRL_ALLOW_OUTSIDE", "1")
    assert len(load(f"csv:{inside}", kind=ImageSample, split="all")) == 1
    clear_cache()


def test_pictures_of_one_stem_keep_their_suffix(tmp_path):
    for name in ("a.png", "a.bmp"):
        Image.fromarray(np.full((9, 9), 90, np.uint8)).save(tmp_path / name)
    (tmp_path / "points.csv").write_text("image,x,y\na.png,1,2\na.bmp,3,4\n")
    assert [s.name for s in load(f"csv:{tmp_path}", kind=ImageSample, split="all")] == ["a.png", "a.bmp"]


def test_paths_of_windows_are_paths(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.full((9, 9), 90, np.uint8)).save(tmp_path / "photos" / "a.png")
    (tmp_path / "points.csv").write_text("image,x,y\nphotos\\a.png,1,2\n")
    (sample,) = load(f"csv:{tmp_path}", kind=ImageSample, split="all")
    assert sample.name == "photos/a"
