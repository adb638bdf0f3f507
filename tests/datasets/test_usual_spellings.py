"""Layouts and spellings that usual tools write, and near misses that must not be taken for something else."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from visionrl.datasets import ImageSample, MotSample, VideoSample, VolumeSample, load

NOISE = np.random.default_rng(5).integers(0, 256, (40, 80, 3)).astype(np.uint8)
VOXELS = np.arange(9 * 10 * 11).reshape(9, 10, 11).astype(np.int16)
BOX = "0 0.5 0.5 0.25 0.5\n"


def picture(file: Path, pixels: np.ndarray = NOISE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def text(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


def yolo(root: Path, count: int = 4) -> None:
    for k in range(count):
        picture(root / "images" / f"{k}.png")
        text(root / "labels" / f"{k}.txt", BOX)


def names(spec: str, kind: type, split: str = "all") -> list[str]:
    return [sample.name for sample in load(spec, kind=kind, split=split)]


@pytest.mark.parametrize("train", ["trainval", "TrainVal", "train_val", "trainval2017", "minitrain"])
def test_a_folder_of_train_and_val_is_train_and_no_class(tmp_path, train):
    for split in (train, "test"):
        for name in ("cat", "dog"):
            picture(tmp_path / split / name / "1.png")
    samples = load(f"imagefolder:{tmp_path}", kind=ImageSample, split="train")
    assert [sample.labels for sample in samples] == [("cat",), ("dog",)]
    assert len(names(f"imagefolder:{tmp_path}", ImageSample, "test")) == 2


@pytest.mark.parametrize("val", ["eval", "Evaluation", "dev", "minival", "devset"])
def test_eval_and_dev_are_val(tmp_path, val):
    for split in ("train", val, "test"):
        picture(tmp_path / "images" / split / f"{split}.png")
        text(tmp_path / "labels" / split / f"{split}.txt", BOX)
    assert names(f"yolo:{tmp_path}", ImageSample, "val") == [f"val/{val}"]
    assert len(names(f"yolo:{tmp_path}", ImageSample)) == 3


def test_no_picture_of_trainval_is_lost_beside_test(tmp_path):
    for split in ("trainval", "test"):
        picture(tmp_path / split / "images" / "1.png")
        text(tmp_path / split / "labels" / "1.txt", BOX)
    assert names(f"yolo:{tmp_path}", ImageSample) == ["train/1", "test/1"]


def test_a_yaml_may_state_trainval(tmp_path):
    yolo(tmp_path)
    text(tmp_path / "a.txt", "images/0.png\nimages/1.png\n")
    text(tmp_path / "b.txt", "images/2.png\nimages/3.png\n")
    text(tmp_path / "data.yaml", "trainval: a.txt\ntest: b.txt\nnames: [cat]\n")
    assert names(f"yolo:{tmp_path}", ImageSample, "train") == ["train/images/0", "train/images/1"]


def test_json_of_trainval_beside_test_is_train(tmp_path):
    for split in ("trainval", "test"):
        picture(tmp_path / "images" / f"{split}.png")
        content = {
            "images": [{"id": 1, "file_name": f"{split}.png"}],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
        }
        text(tmp_path / "annotations" / f"instances_{split}2012.JSON", json.dumps(content))
    assert names(f"coco:{tmp_path}", ImageSample, "train") == ["train/trainval"]


@pytest.mark.parametrize(
    "form", ["images/{}", "{}", "{}.png", '"images/{}.png"', "C:\\data\\images\\{}.png", "/data/images/{}"]
)
def test_lists_of_yolo_name_pictures_in_any_usual_form(tmp_path, form):
    yolo(tmp_path)
    for split, numbers in (("train", (0, 1)), ("val", (2,)), ("test", (3,))):
        text(tmp_path / f"{split}.txt", "".join(form.format(number) + "\n" for number in numbers))
    assert names(f"yolo:{tmp_path}", ImageSample, "train") == ["train/images/0", "train/images/1"]
    assert names(f"yolo:{tmp_path}", ImageSample, "test") == ["test/images/3"]


def test_class_names_of_a_yaml_are_texts(tmp_path):
    yolo(tmp_path, 1)
    text(tmp_path / "labels" / "0.txt", "0 .5 .5 .2 .2\n1 .5 .5 .2 .2\n2 .5 .5 .2 .2\n3 .5 .5 .2 .2\n")
    text(tmp_path / "data.yaml", "train: images\nnc: 4\nnames: [no, on, 010, 1e3]\n")
    (sample,) = load(f"yolo:{tmp_path}", kind=ImageSample, split="all")
    assert list(sample.labels) == ["no", "on", "010", "1e3"]


def test_an_empty_line_among_class_names_is_refused(tmp_path):
    yolo(tmp_path)
    text(tmp_path / "classes.txt", "cat\n\ndog\n")
    with pytest.raises(ValueError, match=r"classes.txt must have one class name a line: an empty line"):
        load(f"yolo:{tmp_path}", kind=ImageSample, split="all")


def test_label_files_in_capital_letters_are_read(tmp_path):
    picture(tmp_path / "images" / "0.PNG")
    picture(tmp_path / "images" / "1.png")
    text(tmp_path / "labels" / "0.TXT", BOX)
    text(tmp_path / "labels" / "1.txt", "")
    samples = load(f"yolo:{tmp_path}", kind=ImageSample, split="all")
    assert [len(sample.boxes) for sample in samples] == [1, 0]


def test_folders_called_images_and_labels_in_capitals_are_read(tmp_path):
    picture(tmp_path / "Images" / "0.png")
    text(tmp_path / "Labels" / "0.txt", BOX)
    (sample,) = load(f"yolo:{tmp_path}", kind=ImageSample, split="all")
    assert sample.boxes.tolist() == [[30, 10, 50, 30]]


def test_voc_reads_folders_below_and_capital_suffixes(tmp_path):
    box = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>9</xmax><ymax>12</ymax></bndbox>"
    for name in ("a/1", "b/1"):
        picture(tmp_path / "JPEGImages" / f"{name}.JPG")
        content = f"<annotation><object><name>cat</name>{box}</object></annotation>"
        text(tmp_path / "Annotations" / f"{name}.XML", content)
    assert names(f"voc:{tmp_path}", ImageSample) == ["a/1", "b/1"]


def test_tables_and_points_may_have_capital_suffixes(tmp_path):
    picture(tmp_path / "csv" / "0.png")
    text(tmp_path / "csv" / "POINTS.CSV", "file,x,y\n0.png,3,4\n")
    picture(tmp_path / "pts" / "0.png")
    text(tmp_path / "pts" / "0.PTS", "version: 1\nn_points: 1\n{\n4 5\n}\n")
    for form in ("csv", "pts"):
        (sample,) = load(f"{form}:{tmp_path / form}", kind=ImageSample, split="all")
        assert np.allclose(sample.points["0"], [3, 4])


@pytest.mark.parametrize("section", ["sequence", "SEQUENCE"])
def test_sections_of_ini_files_are_heeded_in_any_case(tmp_path, section):
    picture(tmp_path / "img1" / "000001.jpg")
    text(tmp_path / "gt" / "gt.txt", "1,1,10,20,30,40,1,1,1\n")
    text(tmp_path / "seqinfo.ini", f"[{section}]\nseqlength=4\nimDir=.\\img1\n")
    with pytest.raises(ValueError, match=r"as many frames as seqinfo.ini says, 4, got 1"):
        load(f"mot:{tmp_path}", kind=MotSample, split="all")
    text(tmp_path / "seqinfo.ini", f"[{section}]\nseqlength=1\nimDir=.\\img1\n")
    assert len(load(f"mot:{tmp_path}", kind=MotSample, split="all")) == 1


@pytest.mark.parametrize(
    ("line", "rule"),
    [("1,1,10,20,30,40,-3.5,12,0", "the flag, the seventh number"), ("1,1,10,20,30,40,0,1,1", "not 0")],
)
def test_flags_that_are_none_and_truths_without_a_tracked_box_are_refused(tmp_path, line, rule):
    picture(tmp_path / "img1" / "000001.jpg")
    text(tmp_path / "gt" / "gt.txt", f"{line}\n")
    with pytest.raises(ValueError, match=rule):
        load(f"mot:{tmp_path}", kind=MotSample, split="all")


def davis(root: Path, masks: list[Image.Image], suffix: str = ".png") -> str:
    for k, mask in enumerate(masks):
        picture(root / "JPEGImages" / "bear" / f"{k}.jpg")
        file = root / "Annotations" / "bear" / f"{k}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        mask.save(file)
    return f"davis:{root}"


def square(value: int) -> Image.Image:
    mask = np.zeros((40, 80), np.uint8)
    mask[8:30, 20:60] = value
    return Image.fromarray(mask)


@pytest.mark.parametrize("value", [5, 38])
@pytest.mark.parametrize("how", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
def test_soft_edges_of_small_labels_are_no_objects(tmp_path, value, how):
    soft = square(value).rotate(17, how)
    with pytest.raises(ValueError, match="looks like soft edges"):
        load(davis(tmp_path, [soft, soft]), kind=VideoSample, split="all")


def test_soft_edges_of_a_later_mask_are_refused(tmp_path):
    masks = [square(255), square(255).rotate(17, Image.Resampling.BILINEAR)]
    with pytest.raises(ValueError, match=r"1.png must hold labels, it looks like soft edges"):
        load(davis(tmp_path, masks), kind=VideoSample, split="all")


def test_a_mask_in_jpeg_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be stored without loss"):
        load(davis(tmp_path, [square(1), square(1)], ".jpg"), kind=VideoSample, split="all")


def nifti(file: Path, voxels: np.ndarray = VOXELS) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1, 2, 3, 1.0])), file)


@pytest.mark.parametrize(
    ("scan", "labels"),
    [
        ("volume-{}", "segmentation-{}"),
        ("image_{}", "label_{}"),
        ("s/{}/sub_ct", "s/{}/sub_seg-vert_msk"),
        ("{}", "{}_gt"),
    ],
)
def test_label_maps_are_no_scans(tmp_path, scan, labels):
    cube = np.zeros(VOXELS.shape, np.uint8)
    cube[2:5, 3:6, 4:7] = 1
    for k in (0, 1):
        nifti(tmp_path / f"{scan.format(k)}.nii.gz")
        nifti(tmp_path / f"{labels.format(k)}.nii.gz", cube)
    samples = load(f"nifti:{tmp_path}", kind=VolumeSample, split="all")
    assert [list(sample.points) for sample in samples] == [["label_1"]] * 2


def test_label_maps_without_a_scan_are_named(tmp_path):
    nifti(tmp_path / "raw" / "a" / "a_ct.nii.gz")
    nifti(tmp_path / "derived" / "a" / "a_seg.nii.gz", np.ones(VOXELS.shape, np.uint8))
    with pytest.warns(UserWarning, match=r"label maps that belong to no scan.*a_seg.nii.gz"):
        assert len(load(f"nifti:{tmp_path}", kind=VolumeSample, split="all")) == 1


def header(file: Path, old: bytes, new: bytes) -> None:
    image = SimpleITK.GetImageFromArray(VOXELS)
    image.SetSpacing((1, 2, 3))
    SimpleITK.WriteImage(image, str(file), False)
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new, 1))


def test_space_units_may_be_written_in_utf_8(tmp_path):
    header(tmp_path / "a.nrrd", b"kinds:", 'space units: "µm" "µm" "µm"\nkinds:'.encode())
    (sample,) = load(f"nrrd:{tmp_path}", kind=VolumeSample, split="all")
    assert np.allclose(sample.spacing_mm, [1e-3, 2e-3, 3e-3])


@pytest.mark.parametrize("suffix", [".MHA", ".Mha", ".NRRD"])
def test_volumes_with_capital_suffixes_are_read(tmp_path, suffix):
    header(tmp_path / f"a{suffix.lower()}", b"", b"")
    (tmp_path / f"a{suffix.lower()}").rename(tmp_path / f"a{suffix}")
    (sample,) = load(f"{suffix[1:].lower()}:{tmp_path}", kind=VolumeSample, split="all")
    assert sample.volume.shape == (1, 9, 10, 11)


@pytest.mark.parametrize("line", [b"ElementSpacing = 1 2", b"ElementToIntensityFunctionSlope = -1"])
def test_meta_headers_that_cannot_be_heeded_are_refused(tmp_path, line):
    spacing = b"ElementSpacing = 1 2 3"
    header(tmp_path / "a.mha", spacing, line if b"Spacing" in line else line + b"\n" + spacing)
    with pytest.raises(ValueError, match=r"a.mha.* must "):
        load(f"mha:{tmp_path}", kind=VolumeSample, split="all")


def table(root: Path, content: str) -> str:
    for name in "ab":
        picture(root / f"{name}.png")
    text(root / "points.csv", content)
    return f"csv:{root}"


@pytest.mark.parametrize(
    "content",
    [
        "file,nose x [px],nose y [px]\na.png,50.5,20\nb.png,1,2\n",
        "file,nose_y (pixels),nose_x (pixels)\na.png,20,50.5\nb.png,2,1\n",
        "file,noseY,noseX\na.png,20,50.5\nb.png,2,1\n",
        "file,Ynose,Xnose\na.png,20,50.5\nb.png,2,1\n",
        ",file,nose_x,nose_y\n0,a.png,50.5,20\n1,b.png,1,2\n",
        "nose_x,nose_y,image_path\n50.5,20,a.png\n1,2,b.png\n",
        "file;nose_x;nose_y\na.png;50,5;20\nb.png;1;2,0\n",
        "sep=;\nfile;nose_x;nose_y\na.png;50,5;20\nb.png;1;2\n",
        "# made by hand\nfile,nose_x,nose_y\na.png,50.5,20\nb.png,1,2\n",
        "file,nose_x,nose_y\na,50.5,20\nb,1,2\n",
        "file,width,height,nose_x,nose_y\na.png,80,40,50.5,20\nb.png,80,40,1,2\n",
        "file,nose_x,nose_y,ear_x,ear_y\na.png,50.5,20,-,n.a.\nb.png,1,2,#N/A,<NA>\n",
    ],
)
def test_tables_of_landmarks_in_usual_spellings(tmp_path, content):
    samples = load(table(tmp_path, content), kind=ImageSample, split="all")
    assert [{name: list(at) for name, at in sample.points.items()} for sample in samples] == [
        {"nose": [50.5, 20]},
        {"nose": [1, 2]},
    ]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("file,nose_x_mm,nose_y_mm\na.png,5,4\nb.png,1,2\n", "must be in pixels, got the column 'nose_x_mm'"),
        ("file,nose_x [µm],nose_y [µm]\na.png,5,4\nb.png,1,2\n", "must be in pixels"),
        ("file,n_x,n_y\na.png,0.5,0.25\nb.png,0.1,1\n", "must be pixels, all are within 0 to 1"),
        (
            "file,width,height,n_x,n_y\na.png,160,80,5,4\nb.png,80,40,1,2\n",
            "stated width must be the picture's",
        ),
        (
            "file,label,x,y\na.png,nose,5,4\na.png,tail,1,2\n",
            "got a line a landmark, named in the column 'label'",
        ),
        (
            "file,label,x,y\na.png,nose,5,4\nb.png,tail,1,2\n",
            "got a line a landmark, named in the column 'label'",
        ),
        ("file;n_x;n_y\na.png;5,5;4\nb.png;1.5;2\n", "must have decimal commas or points"),
    ],
)
def test_tables_that_mean_something_else_are_refused(tmp_path, content, rule):
    with pytest.raises(ValueError, match=rf"points.csv.*{rule}"):
        load(table(tmp_path, content), kind=ImageSample, split="all")


@pytest.mark.parametrize("title", ["set", "Subset", "partition"])
def test_a_column_of_splits_counts_under_its_usual_titles(tmp_path, title):
    spec = table(tmp_path, f"file,n_x,n_y,{title}\na.png,5,4,TRAINING\nb.png,1,2,dev\n")
    assert names(spec, ImageSample, "train") == ["a"]
    assert names(spec, ImageSample, "val") == ["b"]


def test_landmarks_of_scans_may_have_decimal_commas(tmp_path):
    nifti(tmp_path / "a.nii.gz")
    text(tmp_path / "a.csv", "# RAS\nname;x;y;z\ntip;3,0;8,5;15,0\n")
    (sample,) = load(f"nifti:{tmp_path}", kind=VolumeSample, split="all")
    assert np.allclose(sample.points["tip"], [5, 9 - 4.25, 5])


@pytest.mark.parametrize(
    "content", ["names: [a]\nnames: [b]\n", "names: {0: a, 0: b}\n", "x: [{k: 1, k: 2}]\n"]
)
def test_a_yaml_with_one_key_twice_is_refused(tmp_path, content):
    yolo(tmp_path, 1)
    text(tmp_path / "data.yaml", f"train: images\n{content}")
    with pytest.raises(ValueError, match=r"data.yaml, line \d: a mapping must have each key once"):
        load(f"yolo:{tmp_path}", kind=ImageSample, split="all")


def test_a_stated_width_counts_where_no_height_is_stated(tmp_path):
    picture(tmp_path / "0.png")
    image = {"id": 1, "file_name": "0.png", "width": 160}
    text(tmp_path / "a.json", json.dumps({"images": [image]}))
    with pytest.raises(ValueError, match="the stated size must be the picture's, 80 x 40, got 160 x 0"):
        load(f"coco:{tmp_path}", kind=ImageSample, split="all")


def test_folders_beside_splits_that_state_none_are_named(tmp_path):
    for split in ("train", "test", "holdout"):
        picture(tmp_path / "yolo" / "images" / split / "1.png")
        text(tmp_path / "yolo" / "labels" / split / "1.txt", BOX)
        picture(tmp_path / "pts" / split / f"{split}.png")
        text(tmp_path / "pts" / split / f"{split}.pts", "version: 1\nn_points: 1\n{\n4 5\n}\n")
    (tmp_path / "pts" / "docs").mkdir()
    for form in ("yolo", "pts"):
        with pytest.warns(UserWarning, match=r"folders that state no split are not read: holdout$"):
            assert len(load(f"{form}:{tmp_path / form}", kind=ImageSample, split="all")) == 2
