"""Images with boxes: the readers of VOC, COCO and YOLO, and the embedded sets."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from visionrl.datasets import ImageSample, clear_cache, load
from visionrl.datasets.embedded.coins import STRIPS, Coins, coin_boxes
from visionrl.datasets.embedded.cutouts import photograph
from visionrl.datasets.embedded.objects import CLASSES, COUNTS, MAX_OVERLAP, Objects, members
from visionrl.datasets.readers.boxes import fit_box

SIZES = [(40, 60), (50, 50), (30, 80), (64, 48)]  # height, width


def picture(path, size, grey=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size if grey else (*size, 3), 90, np.uint8)).save(path)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def voc(objects, size=(40, 60), extra=""):
    """A VOC file; objects are (name, xmin, ymin, xmax, ymax)."""
    height, width = size
    rows = [
        f"<object>\n<name>{name}</name>\n<difficult>1</difficult>\n<bndbox>\n<xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax>\n</bndbox>\n</object>"
        for name, x0, y0, x1, y1 in objects
    ]
    size_text = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>\n{size_text}\n{extra}" + "\n".join(rows) + "\n</annotation>\n"


def coco(count=4, first=0):
    """A COCO file of images of differing size: 0 has two boxes, 1 one, 2 a crowd, 3 none."""
    images = [
        {"id": j, "file_name": f"{j}.png", "height": SIZES[j][0], "width": SIZES[j][1]}
        for j in range(first, first + count)
    ]
    rows = [
        {"id": 1, "image_id": first, "category_id": 7, "bbox": [1, 2, 10, 20]},
        {"id": 2, "image_id": first, "category_id": 3, "bbox": [30.5, 0, 29.75, 40.5], "iscrowd": 0},
    ]
    if count > 2:
        rows.append({"id": 3, "image_id": first + 1, "category_id": 3, "bbox": [0, 0, 50, 50]})
        rows.append({"id": 4, "image_id": first + 2, "category_id": 3, "bbox": [0, 0, 0, 0], "iscrowd": 1})
    categories = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    return {"images": images, "categories": categories, "annotations": rows}


def read(data, **options):
    return load(data, kind=ImageSample, **{"split": "all", **options})


def summary(samples):
    return {sample.name: (sample.boxes.tolist(), list(sample.labels)) for sample in samples}


@pytest.fixture
def voc_folder(tmp_path):
    """Four pictures of differing size and colour; the last has no object."""
    for j, size in enumerate(SIZES):
        picture(tmp_path / "images" / f"p{j}.jpg", size, grey=j == 1)
        objects = [("cat", 1, 1, 10, 20), ("dog", 5, 6, 30, 30)][: 2 if j == 0 else 1]
        write(tmp_path / "annotations" / f"p{j}.xml", voc(objects if j < 3 else [], size))
    return tmp_path


@pytest.fixture
def coco_folder(tmp_path):
    for j, size in enumerate(SIZES):
        picture(tmp_path / "images" / f"{j}.png", size)
    write(tmp_path / "annotations" / "instances_default.json", json.dumps(coco()))
    return tmp_path


@pytest.fixture
def yolo_folder(tmp_path):
    for j, size in enumerate(SIZES):
        picture(tmp_path / "images" / f"{j}.png", size)
    write(tmp_path / "labels" / "0.txt", "1 0.5 0.5 0.5 0.5\n0 .25 .25 .5 .5\n\n")
    write(tmp_path / "labels" / "1.txt", "0 0.1 0.2 0.9 0.2 0.5 0.8\n")
    write(tmp_path / "labels" / "2.txt", "")
    write(tmp_path / "classes.txt", "cat\ndog\n")
    return tmp_path


def test_voc_counts_pixels_from_one_and_includes_the_last(voc_folder):
    samples = read(f"voc:{voc_folder}")
    assert summary(samples) == {
        "p0": ([[0, 0, 10, 20], [4, 5, 30, 30]], ["cat", "dog"]),
        "p1": ([[0, 0, 10, 20]], ["cat"]),
        "p2": ([[0, 0, 10, 20]], ["cat"]),
        "p3": ([], []),
    }
    assert [sample.image.shape for sample in samples] == [(3, 40, 60), (1, 50, 50), (3, 30, 80), (3, 64, 48)]
    assert samples[3].boxes.shape == (0, 4)


def test_voc_files_beside_their_pictures_and_by_filename(tmp_path):
    picture(tmp_path / "a.png", SIZES[0])
    write(tmp_path / "a.xml", voc([("cat", 1, 1, 60, 40)]))
    picture(tmp_path / "other.jpg", SIZES[0])
    write(tmp_path / "b.xml", voc([], extra="<filename>other.jpg</filename>"))
    assert summary(read(f"voc:{tmp_path}")) == {"a": ([[0, 0, 60, 40]], ["cat"]), "b": ([], [])}


@pytest.fixture
def vocdevkit(tmp_path):
    """Two years with lists; p9 of the second is in none."""
    for year in ("VOC2007", "VOC2012"):
        for j in (0, 1, 2, 9):
            picture(tmp_path / year / "JPEGImages" / f"p{j}.jpg", SIZES[0])
            write(tmp_path / year / "Annotations" / f"p{j}.xml", voc([("cat", 1, 1, 10, 20)]))
        for j, name in enumerate(("train", "val", "test")):
            write(tmp_path / year / "ImageSets" / "Main" / f"{name}.txt", f"p{j}\n")
        write(tmp_path / year / "ImageSets" / "Main" / "cat_train.txt", "p9  1\n")
    return tmp_path


def test_the_lists_of_a_vocdevkit_are_its_splits(vocdevkit):
    for split, number in (("train", 0), ("val", 1), ("test", 2)):
        assert [sample.name for sample in read(f"voc:{vocdevkit / 'VOC2007'}", split=split)] == [f"p{number}"]
        both = read(f"voc:{vocdevkit}", split=split)
        assert [sample.name for sample in both] == [f"VOC2007/p{number}", f"VOC2012/p{number}"]
    assert len(read(f"voc:{vocdevkit}")) == 6
    anew = {split: read(f"voc:{vocdevkit}", split=split, split_seed=3) for split in ("train", "val", "test")}
    assert sorted(len(samples) for samples in anew.values()) == [1, 1, 4]
    assert len({sample.name for samples in anew.values() for sample in samples}) == 6


def test_a_set_without_a_test_split_can_be_cut_anew(vocdevkit):
    lists = vocdevkit / "VOC2007" / "ImageSets" / "Main"
    (lists / "test.txt").unlink()
    write(lists / "val.txt", "p1\np2\n")
    data = f"voc:{vocdevkit / 'VOC2007'}"
    with pytest.raises(
        ValueError, match="must have a split 'test', it has train, val; a split_file, or split_ra"
    ):
        read(data, split="test")
    ratios = (0.34, 0.33, 0.33)
    assert [len(read(data, split=split, split_ratios=ratios)) for split in ("train", "val", "test")] == [
        1,
        1,
        1,
    ]


def test_trainval_is_train_where_there_is_neither(vocdevkit):
    main = vocdevkit / "VOC2007" / "ImageSets" / "Main"
    (main / "train.txt").unlink()
    (main / "val.txt").rename(main / "trainval.txt")
    assert [sample.name for sample in read(f"voc:{vocdevkit / 'VOC2007'}", split="train")] == ["p1"]
    with pytest.raises(ValueError, match="must have a split 'val', it has train, test"):
        read(f"voc:{vocdevkit / 'VOC2007'}", split="val")
    write(main / "test.txt", "p2\n\np77\n")
    with pytest.raises(ValueError, match=r"test.txt, line 3: 'p77' must be a sample of the data set"):
        read(f"voc:{vocdevkit / 'VOC2007'}", split="test")


def test_split_folders_of_voc(voc_folder):
    for split in ("train", "valid"):
        for kind in ("images", "annotations"):
            (voc_folder / split / kind).mkdir(parents=True)
    for j in range(4):
        split = "train" if j < 3 else "valid"
        for kind, suffix in (("images", "jpg"), ("annotations", "xml")):
            (voc_folder / kind / f"p{j}.{suffix}").rename(voc_folder / split / kind / f"p{j}.{suffix}")
    assert [sample.name for sample in read(f"voc:{voc_folder}", split="val")] == ["val/p3"]
    assert len(read(f"voc:{voc_folder}", split="train")) == 3


def test_only_the_asked_split_is_decoded(vocdevkit):
    (vocdevkit / "VOC2007" / "JPEGImages" / "p2.jpg").write_bytes(b"no picture")
    assert len(read(f"voc:{vocdevkit}", split="train")) == 2
    with pytest.raises(
        ValueError, match=r"\('VOC2007/p2'\): must be readable, got: image file .*p2.jpg is trunc"
    ):
        read(f"voc:{vocdevkit}", split="test")


BOX = "<name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
BAD_VOC = {
    r"line 1: must be well-formed XML: no element": "",
    r"line 2: must be well-formed XML: mismatched": "<annotation>\n<object></annotation>",
    r"line 1: a DOCTYPE is not allowed": '<!DOCTYPE a [<!ENTITY b "c">]>\n<annotation>&b;</annotation>',
    r"line 1: the root must be <annotation>, got <html>": "<html></html>",
    r"line 13: <bndbox> must have xmin < xmax and ymin < ymax, got 5 5 5 9": voc(
        [("cat", 1, 1, 9, 9), ("cat", 5, 5, 5, 9)]
    ),
    r"line 6: a box must lie inside the image of width 60 and height 40, got edges 0, 0, 63, 9": voc(
        [("cat", 1, 1, 63, 9)]
    ),
    r"line 7: <xmax> must be a number, got '1O'": voc([("cat", 1, 1, "1O", 9)]),
    r"line 7: <xmin> must be finite, got 'nan'": voc([("cat", "nan", 1, 10, 9)]),
    r"line 4: <name> must not be empty": voc([(" ", 1, 1, 10, 9)]),
    r"line 2: <object> must have one <name>, got 0": f"<annotation>\n<object>{BOX[16:]}</object></annotation>",
    r"line 2: <object> must have one <bndbox>, got 0": "<annotation>\n<object><name>a</name></object></annotation>",
    r"line 2: <object> must have one <bndbox>, got 2": (
        f"<annotation>\n<object>{BOX}{BOX[16:]}</object></annotation>"
    ),
    r"line 2: the stated size must be the picture's, 60 x 40, got 40 x 60": voc([], (60, 40)),
}


@pytest.mark.parametrize("message", BAD_VOC)
def test_a_bad_voc_file_is_named_with_its_line(voc_folder, message):
    write(voc_folder / "annotations" / "p0.xml", BAD_VOC[message])
    with pytest.raises(ValueError, match=rf"sample 0 \('p0'\).*p0\.xml, {message}"):
        read(f"voc:{voc_folder}")


def test_folders_that_are_no_voc_are_explained(tmp_path, voc_folder):
    (voc_folder / "images" / "p2.jpg").unlink()
    with pytest.raises(
        ValueError, match=r"p2.xml must have a picture p2.jpg \(or .png, ...\) or <filename>; looked"
    ):
        read(f"voc:{voc_folder}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"must hold Pascal VOC's XML files: looked for annotations/\*.xml"):
        read(f"voc:{tmp_path / 'empty'}")
    (tmp_path / "empty" / "Annotations").mkdir()
    with pytest.raises(ValueError, match=r"Annotations must hold XML files, found none"):
        read(f"voc:{tmp_path / 'empty'}")


def test_a_box_that_reaches_out_a_little_is_cut_off(voc_folder):
    assert fit_box((-2, -1, 61.5, 42), 60, 40, "here") == (0, 0, 60, 40)
    assert fit_box((-10, 5, 1010, 20), 1000, 40, "here") == (0, 5, 1000, 20)
    for box in ((-2.5, 0, 10, 10), (0, 0, 10, 42.5), (-11, 0, 60, 10), (60, 0, 62, 10)):
        with pytest.raises(
            ValueError, match="here: a box must lie inside the image of width 60 and height 40"
        ):
            fit_box(box, 60, 40, "here")
    with pytest.raises(ValueError, match="a width and a height > 0, got 0 x 3"):
        fit_box((5, 5, 5, 8), 60, 40, "here")
    write(voc_folder / "annotations" / "p0.xml", voc([("cat", 0, 0, 62, 41)]))
    assert read(f"voc:{voc_folder}")[0].boxes.tolist() == [[0, 0, 60, 40]]


COCO = {
    "0": ([[1, 2, 11, 22], [30.5, 0, 60, 40]], ["dog", "cat"]),
    "1": ([[0, 0, 50, 50]], ["cat"]),
    "2": ([], []),
    "3": ([], []),
}


def test_coco_in_a_folder_and_as_a_file(coco_folder):
    file = coco_folder / "annotations" / "instances_default.json"
    assert summary(read(f"coco:{coco_folder}")) == summary(read(f"coco:{file}")) == COCO
    assert [len(read(f"coco:{coco_folder}", split=split)) for split in ("train", "val", "test")] == [2, 1, 1]


def test_official_coco_has_its_splits_in_the_names(coco_folder):
    (coco_folder / "annotations" / "instances_default.json").unlink()
    write(coco_folder / "annotations" / "instances_train2017.json", json.dumps(coco(3)))
    write(coco_folder / "annotations" / "instances_val2017.json", json.dumps(coco(1, first=3)))
    write(coco_folder / "annotations" / "captions_val2017.json", "not read")
    for j in range(4):
        folder = coco_folder / ("train2017" if j < 3 else "val2017")
        folder.mkdir(exist_ok=True)
        (coco_folder / "images" / f"{j}.png").rename(folder / f"{j}.png")
    with pytest.raises(ValueError, match=r"instances_val2017.json, annotations\[1\]: a box must lie inside"):
        read(f"coco:{coco_folder}", split="val")
    train = read(f"coco:{coco_folder}", split="train")
    assert summary(train) == {f"train/{j}": COCO[str(j)] for j in range(3)}
    with pytest.raises(ValueError, match="must have a split 'test', it has train, val"):
        read(f"coco:{coco_folder}", split="test")


def test_roboflow_has_its_files_beside_the_pictures(tmp_path):
    for folder in ("train", "valid", "test"):
        for j in range(4):
            picture(tmp_path / folder / f"{j}.png", SIZES[j])
        write(tmp_path / folder / "_annotations.coco.json", json.dumps(coco()))
    assert summary(read(f"coco:{tmp_path}", split="val")) == {
        f"val/{name}": rows for name, rows in COCO.items()
    }
    assert len(read(f"coco:{tmp_path}")) == 12


def changed(key, number, **values):
    content = coco()
    content[key][number] |= values
    return content


BAD_COCO = {
    r"line 1: must be valid JSON": "",
    r"line 2: must be valid JSON": '{"images":\n oops}',
    r" must be a JSON object with a list 'images' of one entry": "[]",
    r" must be a JSON object with a list 'annotations' of one entry": {**coco(), "annotations": 5},
    r" must be a JSON object with a list 'categories'": {"images": [{}], "annotations": [{}]},
    r"annotations\[1\]: category_id must be among those of the file \(3, 7\), got 4": changed(
        "annotations", 1, category_id=4
    ),
    r"annotations\[0\]: image_id must be among those of the file \(0, 1, 2, 3\), got None": changed(
        "annotations", 0, image_id=None
    ),
    r"annotations\[1\]: bbox must have a width and a height > 0, got \[1, 1, 0, 5\]": changed(
        "annotations", 1, bbox=[1, 1, 0, 5]
    ),
    r"annotations\[1\]: bbox must be four finite numbers .*, got \[1, 2\]": changed(
        "annotations", 1, bbox=[1, 2]
    ),
    r"annotations\[1\]: bbox must be four finite numbers .*, got \[1, nan": changed(
        "annotations", 1, bbox=[1, float("nan"), 2, 3]
    ),
    r"annotations\[0\]: a box must lie inside the image of width 60": changed(
        "annotations", 0, bbox=[50, 1, 13, 5]
    ),
    r"images\[2\]: id must be unique and file_name a string, got 1": changed("images", 2, id=1),
    r"images\[2\]: must have an id and a file_name": changed("images", 2, file_name=""),
    r"images\[2\]: picture 'z.png' must lie in one of ": changed("images", 2, file_name="z.png"),
    r"images\[2\]: the stated size must be the picture's, 80 x 30, got 80 x 31": changed(
        "images", 2, height=31
    ),
    r"images\[2\]: width and height must be numbers, got '80'": changed("images", 2, width="80"),
}


@pytest.mark.parametrize("message", BAD_COCO)
def test_a_bad_coco_file_is_named_with_its_place(coco_folder, message):
    content = BAD_COCO[message]
    file = coco_folder / "annotations" / "instances_default.json"
    write(file, content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=rf"instances_default\.json(, )?{message}"):
        read(f"coco:{coco_folder}")


def test_folders_that_are_no_coco_are_explained(tmp_path, coco_folder):
    write(coco_folder / "annotations" / "instances_b.json", "{}")
    with pytest.raises(
        ValueError, match=r"must each name another split .* got annotations/instances_b.json, annot"
    ):
        read(f"coco:{coco_folder}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"must hold COCO's JSON: looked for annotations/\*.json"):
        read(f"coco:{tmp_path / 'empty'}")


YOLO = {
    "0": ([[15, 10, 45, 30], [0, 0, 30, 20]], ["dog", "cat"]),
    "1": ([[5, 10, 45, 40]], ["cat"]),
    "2": ([], []),
    "3": ([], []),
}


def test_yolo_boxes_outlines_and_images_without_objects(yolo_folder):
    assert summary(read(f"yolo:{yolo_folder}")) == YOLO
    assert [len(read(f"yolo:{yolo_folder}", split=split)) for split in ("train", "val", "test")] == [2, 1, 1]


def test_yolo_names_come_from_any_of_the_usual_files(yolo_folder):
    (yolo_folder / "classes.txt").unlink()
    assert read(f"yolo:{yolo_folder}")[0].labels == ("1", "0")
    files = {
        "obj.names": "a\nb\n",
        "labels/classes.txt": "c\nd\n",
        "classes.txt": "e\nf\n",
        "data.yaml": "names: [g, h]",
    }
    for name, text in files.items():
        write(yolo_folder / name, text)
        clear_cache()
        letters = text.removeprefix("names: [").replace(", ", "").replace("]", "").replace("\n", "")
        assert read(f"yolo:{yolo_folder}")[0].labels == (letters[1], letters[0])
    write(yolo_folder / "data.yaml", "names:\n  1: x\n  0: y\n")
    clear_cache()
    assert read(f"yolo:{yolo_folder}")[0].labels == ("x", "y")


def test_yolo_beside_the_pictures(yolo_folder):
    for kind in ("images", "labels"):
        for file in (yolo_folder / kind).iterdir():
            file.rename(yolo_folder / file.name)
        (yolo_folder / kind).rmdir()
    assert summary(read(f"yolo:{yolo_folder}")) == YOLO


def move(folder, layout):
    """Puts picture 0 and 1 in train, 2 in val and 3 in test."""
    for j, split in enumerate(("train", "train", "valid", "test")):
        for kind, suffix in (("images", "png"), ("labels", "txt")):
            old, new = (
                folder / kind / f"{j}.{suffix}",
                folder / layout.format(kind=kind, split=split) / f"{j}.{suffix}",
            )
            new.parent.mkdir(parents=True, exist_ok=True)
            if old.is_file():
                old.rename(new)


LAYOUTS = {
    "folders in images": ("{kind}/{split}", None),
    "folders outside": ("{split}/{kind}", None),
    "yaml, from its folder": (
        "{kind}/{split}",
        "train: images/train\nval: images/valid\ntest: images/test\n",
    ),
    "yaml, from path": (
        "deep/{kind}/{split}",
        "path: deep\ntrain: images/train\nval: images/valid\ntest: images/test\n",
    ),
    "yaml as roboflow writes it": (
        "{split}/{kind}",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\n",
    ),
    "yaml of another machine": (
        "{split}/{kind}",
        "train: /content/x/train/images\nval: /content/x/valid/images\ntest: /content/x/test/images\n",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_yolo_splits(yolo_folder, layout):
    pattern, yaml = LAYOUTS[layout]
    write(yolo_folder / "labels" / "3.txt", "0 .5 .5 1 1\n")
    if yaml is not None:
        (yolo_folder / "classes.txt").unlink()
        write(yolo_folder / "data.yaml", yaml + "names: ['cat', 'dog']\n")
    move(yolo_folder, pattern)
    data = f"yolo:{yolo_folder}"
    assert summary(read(data, split="train")) == {f"train/{j}": YOLO[str(j)] for j in range(2)}
    assert summary(read(data, split="val")) == {"val/2": ([], [])}
    assert summary(read(data, split="test")) == {"test/3": ([[0, 0, 48, 64]], ["cat"])}
    assert len(read(data, split="train", split_ratios=(1, 0, 0))) == 4


def test_a_yaml_may_list_the_pictures_in_a_text_file(yolo_folder):
    write(yolo_folder / "a.txt", "images/0.png\nimages/1.png\n")
    write(yolo_folder / "b.txt", f"{yolo_folder}/images/2.png\n")
    write(yolo_folder / "data.yaml", "train: a.txt\nval: b.txt\nnames: [cat, dog]\n")
    assert summary(read(f"yolo:{yolo_folder}", split="train")) == {
        f"train/images/{j}": YOLO[str(j)] for j in (0, 1)
    }
    assert summary(read(f"yolo:{yolo_folder}", split="val")) == {"val/images/2": ([], [])}


BAD_YOLO = {
    r"0.txt, line 2: a class must be in 0 to 1 \(cat, dog\), got 2": "0 .5 .5 .1 .1\n2 .5 .5 .1 .1",
    r"0.txt, line 1: a class must be a whole number >= 0, got '1.0'": "1.0 .5 .5 .1 .1",
    r"0.txt, line 1: a class must be a whole number >= 0, got '-1'": "-1 .5 .5 .1 .1",
    r"0.txt, line 1: must be CLASS X Y WIDTH HEIGHT, or .*, got 4 cells": "0 .5 .5 .1",
    r"0.txt, line 1: must be CLASS X Y WIDTH HEIGHT, or .*, got 6 cells": "0 .5 .5 .1 .1 .9",
    r"0.txt, line 3: a box must have a width and a height > 0, got 0 x 4": "0 .5 .5 .1 .1\n\n0 .5 .5 0 .1",
    r"0.txt, line 1: must hold numbers, got 'a .5 .1 .1'": "0 a .5 .1 .1",
    r"0.txt, line 1: numbers must be finite": "0 nan .5 .1 .1",
    r"0.txt, line 1: positions must be shares .* 0 to 1, got 30 20 10 10": "0 30 20 10 10",
    r"0.txt, line 1: a box must lie inside the image of width 60": "0 .5 .5 1.2 .5",
}


@pytest.mark.parametrize("message", BAD_YOLO)
def test_a_bad_line_of_yolo_is_named(yolo_folder, message):
    write(yolo_folder / "labels" / "0.txt", BAD_YOLO[message])
    with pytest.raises(ValueError, match=message):
        read(f"yolo:{yolo_folder}")


BAD_YAML = {
    "data.yaml must be valid YAML: .* line 1": "names: [cat",
    "data.yaml must be a mapping with names": "- cat",
    r"data.yaml: names must be a list, or 0: NAME, 1: NAME, ..., got 'cat'": "names: cat",
    r"data.yaml: names must be a list, .* got \{'0': 'cat', '2': 'dog'\}": "names: {0: cat, 2: dog}",
    r"data.yaml: names must be a list, .* got \['cat', 'cat'\]": "names: [cat, cat]",
    r"data.yaml: the pictures of 'val' must be there, looked in .*/nowhere": "names: [a, b]\nval: nowhere",
    r"data.yaml: train, val and test must be paths, got \[5\]": "names: [a, b]\ntrain: [5]",
    r"no two splits may have the same pictures, got train: ": "names: [a, b]\ntrain: images\nval: images",
}


@pytest.mark.parametrize("message", BAD_YAML)
def test_a_bad_yaml_is_named(yolo_folder, message):
    write(yolo_folder / "data.yaml", BAD_YAML[message])
    with pytest.raises(ValueError, match=message):
        read(f"yolo:{yolo_folder}", split="train")


def test_folders_that_are_no_yolo_are_explained(tmp_path, yolo_folder):
    write(yolo_folder / "labels" / "9.txt", "")
    with pytest.raises(ValueError, match=r"labels/9.txt must have a picture of the same stem, found none"):
        read(f"yolo:{yolo_folder}")
    write(yolo_folder / "classes.txt", "cat\ncat\n")
    with pytest.raises(ValueError, match=r"classes.txt must have one class name a line, none twice, got"):
        read(f"yolo:{yolo_folder}")
    (yolo_folder / "classes.txt").unlink()
    for file in (yolo_folder / "labels").iterdir():
        file.unlink()
    with pytest.raises(
        ValueError, match=r"must have text files with boxes, such as .*labels/0.txt; found none"
    ):
        read(f"yolo:{yolo_folder}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty must hold pictures: looked for .bmp"):
        read(f"yolo:{tmp_path / 'empty'}")


def test_the_three_formats_agree(voc_folder, tmp_path):
    """One image, one box in each format's own terms."""
    write(voc_folder / "annotations" / "p0.xml", voc([("cat", 7, 5, 18, 24)]))
    box = {"images": [{"id": 1, "file_name": "p0.jpg"}], "categories": [{"id": 1, "name": "cat"}]}
    box["annotations"] = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [6, 4, 12, 20]}]
    write(tmp_path / "images" / "_.coco.json", json.dumps(box))
    write(voc_folder / "labels" / "p0.txt", f"0 {12 / 60} {14 / 40} {12 / 60} {20 / 40}")
    write(voc_folder / "classes.txt", "cat")
    for data in (f"voc:{voc_folder}", f"coco:{tmp_path / 'images'}", f"yolo:{voc_folder}"):
        np.testing.assert_allclose(read(data)[0].boxes, [[6, 4, 18, 24]])


def test_classes_leave_images_without_them_out_or_keep_them_as_negatives(voc_folder):
    data = f"voc:{voc_folder}"
    assert summary(read(data, classes=["dog"])) == {"p0": ([[4, 5, 30, 30]], ["dog"])}
    kept = read(data, classes=["dog"], negatives=True)
    assert summary(kept) == {"p0": ([[4, 5, 30, 30]], ["dog"]), **{f"p{j}": ([], []) for j in (1, 2, 3)}}
    assert all(sample.boxes.shape == (0, 4) for sample in kept[1:])
    with pytest.raises(ValueError, match="classes must be names in the data set, got cow; known: cat, dog"):
        read(data, classes=["cow"], negatives=True)


def test_negatives_leave_points_and_whole_image_classes_as_they_are():
    image = np.zeros((1, 9, 9), np.uint8)
    samples = [
        ImageSample(image, points={"tip": (1, 1)}, name="a"),
        ImageSample(image, points={"toe": (1, 1)}, name="b"),
        ImageSample(image, labels=("tip",), name="c"),
        ImageSample(image, labels=("toe",), name="d"),
    ]
    assert [s.name for s in load(samples, kind=ImageSample, classes=["tip"], negatives=True)] == ["a", "c"]


def test_real_raccoons_are_read_and_split_by_number(shared_data, tmp_path):
    data = f"voc:{shared_data / 'detection' / 'raccoon'}"
    names = {"train": range(1, 141), "val": range(141, 161), "test": range(161, 201)}
    split_file = tmp_path / "split.json"
    write(split_file, json.dumps({split: [f"raccoon-{j}" for j in some] for split, some in names.items()}))
    parts = {split: read(data, split=split, split_file=str(split_file)) for split in names}
    assert {split: len(part) for split, part in parts.items()} == {"train": 140, "val": 20, "test": 40}
    samples = [sample for part in parts.values() for sample in part]
    assert sum(len(sample.boxes) for sample in samples) == 217
    assert {label for sample in samples for label in sample.labels} == {"raccoon"}
    assert {sample.image.shape[0] for sample in samples} == {1, 3}
    first = next(sample for sample in samples if sample.name == "raccoon-1")
    assert first.image.shape == (3, 417, 650)
    np.testing.assert_array_equal(first.boxes, [[80, 87, 522, 408]])


@pytest.fixture(scope="module", params=["train", "val", "test"])
def objects(request):
    return request.param, list(Objects(request.param, 40))


def test_objects_have_boxes_inside_and_little_overlap(objects):
    split, samples = objects
    assert len(Objects(split)) == COUNTS[split]
    assert [len(sample.boxes) for sample in samples[9::10]] == [0] * 4
    counts = [len(sample.boxes) for j, sample in enumerate(samples) if j % 10 != 9]
    assert (min(counts), max(counts)) == (1, 4)
    assert {label for sample in samples for label in sample.labels} == set(CLASSES)
    assert len({sample.image.shape for sample in samples}) > 20
    for sample in samples:
        _, height, width = sample.image.shape
        boxes = sample.boxes
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= [width, height]).all()
        assert (boxes[:, 2:] - boxes[:, :2] > 8).all()
        for j, a in enumerate(boxes):
            for b in boxes[:j]:
                shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
                areas = [np.prod(box[2:] - box[:2]) for box in (a, b)]
                assert shared <= MAX_OVERLAP * min(areas) + 1e-9


def test_an_image_is_a_function_of_split_and_index(objects):
    split, samples = objects
    again = Objects(split)
    np.testing.assert_array_equal(again[7].image, samples[7].image)
    np.testing.assert_array_equal(again[-1].boxes, Objects(split)[COUNTS[split] - 1].boxes)
    assert [sample.name for sample in again[3:5]] == [f"{split} 3", f"{split} 4"]
    with pytest.raises(IndexError):
        again[COUNTS[split]]


def test_boxes_are_where_the_pixels_change(monkeypatch):
    """Drawn over one colour without grain, an image's only other pixels lie in its boxes and reach their edges."""
    import visionrl.datasets.embedded.objects as module

    monkeypatch.setattr(
        module, "_backdrop", lambda rng, split, w, h: np.full((h, w, 3), (0, 255, 0), np.uint8)
    )
    monkeypatch.setattr(module, "_expose", lambda rng, canvas: canvas)
    monkeypatch.setattr(module, "OBJECTS", 1)
    for index in range(9):
        sample = Objects("train")[index]
        drawn = np.abs(sample.image.astype(int) - np.array([0, 255, 0])[:, None, None]).sum(0) > 190
        x, y, width, height = cv2.boundingRect(drawn.astype(np.uint8))
        np.testing.assert_allclose(sample.boxes, [[x, y, x + width, y + height]], atol=2)


def test_no_object_is_in_two_splits():
    found = {split: members(split) for split in ("train", "val", "test")}
    for kind in CLASSES:
        names = [[cutout.name for cutout in found[split][kind]] for split in found]
        if kind == "word":
            names = [[name.split()[0] for name in some] for some in names]
        distinct = [set(some) for some in names]
        assert all(len(some) >= 4 for some in distinct)
        assert sum(map(len, distinct)) == len(set.union(*distinct))
    assert sum(len(found[split]["coin"]) for split in found) == 24
    assert sum(len(found[split]["face"]) for split in found) == 100


def test_bad_arguments_of_the_embedded_sets():
    with pytest.raises(ValueError, match="split must be one of train, val, test, got 'all'"):
        Objects("all")
    with pytest.raises(ValueError, match="count must be >= 1, got 0"):
        Objects("train", 0)
    with pytest.raises(ValueError, match="split must be one of train, val, test, got 'x'"):
        Coins("x")


def test_coins_are_the_photograph_with_whole_coins():
    boxes = coin_boxes()
    assert boxes.shape == (24, 4)
    inside = {s: (boxes[:, 1] >= top) & (boxes[:, 3] <= bottom) for s, (top, bottom) in STRIPS.items()}
    assert [int(some.sum()) for some in inside.values()] == [12, 6, 6]
    grey = photograph("coins.png")[0]
    for x0, y0, x1, y1 in boxes.astype(int):
        coin, around = grey[y0:y1, x0:x1], grey[max(y0 - 3, 0) : y1 + 3, max(x0 - 3, 0) : x1 + 3]
        border = (around.sum(dtype=float) - coin.sum(dtype=float)) / (around.size - coin.size)
        assert coin.mean() > border + 25
    for split in STRIPS:
        for sample in Coins(split)[:8]:
            assert len(sample.boxes) == len(sample.labels) >= 1
            assert (sample.boxes[:, :2] >= 0).all() and (
                sample.boxes[:, 2:] <= sample.image.shape[:0:-1]
            ).all()


@pytest.mark.parametrize("name", ["objects", "coins"])
def test_the_embedded_sets_load(name):
    val = load(name, kind=ImageSample, split="val")
    assert load(name, kind=ImageSample, split="val") is val
    assert len({sample.name for sample in val}) == len(val)


@pytest.mark.parametrize("mode", [0, "XYXY_ABS", "XYXY_REL", True, None, 4, [1]])
def test_coco_boxes_that_say_they_are_edges_are_refused(mode, tmp_path):
    assert boxes_of_mode(tmp_path, 1) == boxes_of_mode(tmp_path, "XYWH_ABS") == [[5, 5, 15, 15]]
    with pytest.raises(ValueError, match=r"annotations\[0\]: bbox_mode must be 1 \(XYWH_ABS\)"):
        boxes_of_mode(tmp_path, mode)


def boxes_of_mode(folder, mode):
    """The boxes of a COCO set whose one annotation has Detectron2's ``bbox_mode``."""
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(folder / "1.png")
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 10, 10], "bbox_mode": mode}
    content = {
        "images": [{"id": 1, "file_name": "1.png", "width": 60, "height": 40}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [annotation],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    clear_cache()
    return load(f"coco:{folder}", kind=ImageSample, split="all")[0].boxes.tolist()
