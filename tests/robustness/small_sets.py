"""A small valid data set in every format that has a path, written by the tests themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK
from dicom_files import write_slice
from PIL import Image

RNG = np.random.default_rng(7)
NOISE = RNG.integers(0, 256, (20, 24, 3)).astype(np.uint8)
VOXELS = RNG.integers(0, 2000, (9, 10, 11)).astype(np.int16)
POINTS = "# voxel\nname,x,y,z\ntip,3,4,5\nend,6,5,4\n"
SETS: dict[str, Callable[[Path], str]] = {}


def small_set(write: Callable[[Path], str]) -> Callable[[Path], str]:
    """Make a writer known under its name; it gives what stands behind ``FORMAT:``, below the folder."""
    SETS[write.__name__.strip("_").replace("_", "-")] = write
    return write


def picture(file: Path, pixels: np.ndarray = NOISE) -> None:
    """Write an image."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def text(file: Path, content: str) -> None:
    """Write a text file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


def square(k: int) -> np.ndarray:
    """(20, 24) uint8, a square of 1."""
    mask = np.zeros((20, 24), np.uint8)
    mask[4:10, 3 + k : 9 + k] = 1
    return mask


@small_set
def csv(root: Path) -> str:
    for k in range(3):
        picture(root / "images" / f"{k}.png")
    rows = "".join(f"{k}.png,{k},5,7,8,1,ann{k}\n" for k in range(3))
    text(root / "points.csv", f"file,nose_x,nose_y,tail_x,tail_y,tail_v,subject\n{rows}")
    return ""


@small_set
def masks(root: Path) -> str:
    for k in range(3):
        picture(root / "images" / f"{k}.jpg")
        picture(root / "masks" / f"{k}.png", square(k))
    text(root / "labels.txt", "1 cat\n2 dog\n")
    return ""


@small_set
def labelme(root: Path) -> str:
    for k in range(3):
        picture(root / f"{k}.jpg")
        shape = {"label": "cat", "points": [[3, 4], [9, 4], [9 + k, 10]], "shape_type": "polygon"}
        content = {"imagePath": f"{k}.jpg", "imageHeight": 20, "imageWidth": 24, "shapes": [shape]}
        text(root / f"{k}.json", json.dumps(content))
    return ""


@small_set
def pts(root: Path) -> str:
    for k in range(3):
        picture(root / f"{k}.jpg")
        text(root / f"{k}.pts", "version: 1\nn_points: 2\n{\n3.5 4\n7 8.25\n}\n")
    return ""


@small_set
def imagefolder(root: Path) -> str:
    for k, name in enumerate(("cat/1.png", "cat/2.jpg", "dog/1.bmp", "dog/2.webp", "dog/3.tif", "dog/4.ppm")):
        picture(root / name, np.roll(NOISE, k))
    return ""


@small_set
def mvtec(root: Path) -> str:
    for k, name in enumerate(("train/good/0", "train/good/1", "test/good/0", "test/crack/0")):
        picture(root / f"{name}.png", np.roll(NOISE, k))
    picture(root / "ground_truth" / "crack" / "0_mask.png", square(1))
    return ""


@small_set
def omniglot(root: Path) -> str:
    for k, name in enumerate(("Greek/character01/1", "Greek/character02/2", "Korean/character01/3")):
        picture(root / f"{name}.png", np.roll(NOISE, k) // 2 + 128)
    return ""


@small_set
def images(root: Path) -> str:
    for k, name in enumerate(("train/1.png", "train/more/2.jpg", "val/1.bmp", "test/1.tif")):
        picture(root / name, np.roll(NOISE, k))
    return ""


@small_set
def coco(root: Path) -> str:
    for k in range(2):
        picture(root / "images" / f"{k}.png")
    packed, plain = "[16>0000000a:", [9, 4, 467]
    runs = [{"size": [20, 24], "counts": counts} for counts in (packed, plain)]
    outlines = [[[2, 3, 7, 3, 7, 9, 2, 9]], *runs]
    rows = [
        {"id": k, "image_id": k % 2, "category_id": 1, "bbox": [2, 3, 5 + k, 6], "segmentation": outlines[k]}
        for k in range(3)
    ]
    images = [{"id": k, "file_name": f"{k}.png", "width": 24, "height": 20} for k in range(2)]
    content = {"images": images, "categories": [{"id": 1, "name": "cat"}], "annotations": rows}
    text(root / "annotations" / "instances_default.json", json.dumps(content, indent=1))
    return ""


@small_set
def voc(root: Path) -> str:
    box = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>9</xmax><ymax>12</ymax></bndbox>"
    for k in range(2):
        picture(root / "JPEGImages" / f"{k}.jpg")
        size = "<size><width>24</width><height>20</height><depth>3</depth></size>"
        body = f"<annotation>\n{size}\n<object>\n<name>cat</name>\n{box}\n</object>\n</annotation>\n"
        text(root / "Annotations" / f"{k}.xml", f"<?xml version='1.0' encoding='utf-8'?>\n{body}")
    text(root / "ImageSets" / "Main" / "train.txt", "0\n1\n")
    return ""


@small_set
def yolo(root: Path) -> str:
    for k in range(2):
        picture(root / "images" / "train" / f"{k}.png")
        text(root / "labels" / "train" / f"{k}.txt", "0 0.5 0.5 0.25 0.25\n1 0.1 0.1 0.9 0.1 0.5 0.8\n")
    text(root / "data.yaml", "path: .\ntrain: images/train\nnc: 2\nnames:\n  0: cat\n  1: dog\n")
    return ""


def frames(folder: Path, count: int = 3, digits: int = 4) -> None:
    """Write the frames of a video."""
    for k in range(1, count + 1):
        picture(folder / f"{k:0{digits}d}.jpg", np.roll(NOISE, k, axis=1))


@small_set
def otb(root: Path) -> str:
    frames(root / "Cat" / "img")
    text(root / "Cat" / "groundtruth_rect.txt", "3,4,8,9\n4,4,8,9\n0,0,0,0\n")
    return ""


@small_set
def vot(root: Path) -> str:
    frames(root / "cat" / "color", digits=8)
    text(root / "cat" / "groundtruth.txt", "3,4,8,9\n3,4,9,4,9,9,3,9\nm3,4,3,3,1,2,1,5\n")
    return ""


@small_set
def got10k(root: Path) -> str:
    frames(root / "cat", digits=8)
    text(root / "cat" / "groundtruth.txt", "3,4,8,9\n4,4,8,9\n4,5,8,9\n")
    text(root / "cat" / "absence.label", "0\n0\n1\n")
    text(root / "cat" / "cover.label", "8\n7\n0\n")
    return ""


@small_set
def davis(root: Path) -> str:
    for k in range(3):
        picture(root / "JPEGImages" / "480p" / "cat" / f"{k:05d}.jpg")
        picture(root / "Annotations" / "480p" / "cat" / f"{k:05d}.png", square(k))
    return ""


SETS["davis-frames"] = davis


@small_set
def mot(root: Path) -> str:
    frames(root / "MOT-1" / "img1", digits=6)
    rows = "".join(f"{t},{k},{2 + k},4,8,9,1,1,0.5\n" for t in (1, 2, 3) for k in (1, 2))
    text(root / "MOT-1" / "gt" / "gt.txt", rows)
    text(root / "MOT-1" / "det" / "det.txt", "1,-1,3,4,8,9,0.7\n2,-1,3,4,8,9,0.9\n")
    info = "[Sequence]\nname=MOT-1\nimDir=img1\nseqLength=3\nimWidth=24\nimHeight=20\nimExt=.jpg\n"
    text(root / "MOT-1" / "seqinfo.ini", info)
    return ""


@small_set
def ctc(root: Path) -> str:
    for k in range(2):
        picture(root / "01" / f"t{k:03d}.tif", RNG.integers(0, 60000, (20, 24)).astype(np.uint16))
        picture(root / "01_GT" / "TRA" / f"man_track{k:03d}.tif", square(k).astype(np.uint16))
    text(root / "01_GT" / "TRA" / "man_track.txt", "1 0 1 0\n")
    return ""


@small_set
def nifti(root: Path) -> str:
    for name in ("a.nii.gz", "b.nii", "c.mgz"):
        kind = nibabel.MGHImage if name == "c.mgz" else nibabel.Nifti1Image
        nibabel.save(kind(VOXELS, np.diag([-1, -1, 2, 1.0])), root / name)
        text(root / f"{name[0]}.csv", POINTS)
    return ""


@small_set
def nifti_slices(root: Path) -> str:
    labels = np.zeros(VOXELS.shape, np.uint8)
    labels[2:6, 3:8, 4:7] = 1
    for name in "abc":
        for end, array in (("", VOXELS), ("_label", labels)):
            affine = np.diag([-1, -1, 2, 1.0])
            nibabel.save(nibabel.Nifti1Image(array, affine), root / f"{name}{end}.nii.gz")
    return ""


@small_set
def nrrd(root: Path) -> str:
    for name, packed in (("a", False), ("b", True)):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VOXELS), str(root / f"{name}.nrrd"), packed)
        head = "# CoordinateSystem = LPS\n# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label\n"
        text(root / f"{name}.fcsv", f'{head}1,3,4,5,0,0,0,1,1,1,0,"tip, left"\n')
    return ""


@small_set
def mha(root: Path) -> str:
    for name, packed in (("a.mha", False), ("b.mha", True), ("c.mhd", False)):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VOXELS), str(root / name), packed)
        point = {"label": "tip", "position": [3, 4, 5]}
        markup = {"coordinateSystem": "LPS", "controlPoints": [point]}
        text(root / f"{name[0]}.mrk.json", json.dumps({"markups": [markup]}, indent=1))
    return ""


@small_set
def dicom(root: Path) -> str:
    (root / "a").mkdir()
    for k in range(3):
        write_slice(
            root / "a" / f"{k}.dcm", RNG.integers(0, 4000, (10, 11)).astype(np.uint16), k, slope=1 + k
        )
    text(root / "a" / "marks.csv", "# voxel\nname,x,y,z\ntip,3,4,1\n")
    return ""


@small_set
def pairs(root: Path) -> str:
    for side in ("fixed", "moving"):
        picture(root / "a" / f"{side}.png")
        text(root / "a" / f"{side}.csv", "name,x,y\np,3,4\nq,9,8\n")
        picture(root / "a" / f"{side}_label.png", square(1))
    text(root / "a" / "transform.txt", "1 0 2\n0 1 1\n")
    for side in ("fixed", "moving"):
        nibabel.save(nibabel.Nifti1Image(VOXELS, np.diag([-1, -1, 2, 1.0])), root / f"{side}.nii")
        text(root / f"{side}_points.txt", "3 4 5\n6 5 4\n")
    text(
        root / "pairs.csv",
        "fixed,moving,fixed_points,moving_points,name\n"
        + "".join(
            f"{f},{m},{a},{b},{n}\n"
            for f, m, a, b, n in (
                ("a/fixed.png", "a/moving.png", "a/fixed.csv", "a/moving.csv", "two"),
                ("fixed.nii", "moving.nii", "fixed_points.txt", "moving_points.txt", "three"),
            )
        ),
    )
    return ""


@small_set
def learn2reg(root: Path) -> str:
    for k in range(2):
        for side in range(2):
            name = f"L_{k:04d}_{side:04d}"
            (root / "imagesTr").mkdir(exist_ok=True)
            nibabel.save(
                nibabel.Nifti1Image(VOXELS, np.diag([-1, -1, 2, 1.0])), root / "imagesTr" / f"{name}.nii.gz"
            )
            text(root / "keypointsTr" / f"{name}.csv", "3,4,5\n6,5,4\n")
    rows = [
        {"fixed": f"./imagesTr/L_{k:04d}_0000.nii.gz", "moving": f"./imagesTr/L_{k:04d}_0001.nii.gz"}
        for k in range(2)
    ]
    content = {"modality": {"0": "CT", "1": "CT"}, "training_paired_images": rows}
    text(root / "L_dataset.json", json.dumps(content, indent=1))
    return "L_dataset.json"


@small_set
def captions(root: Path) -> str:
    for k in range(3):
        picture(root / "images" / f"{k}.png")
    text(root / "captions.csv", "image,caption\n" + "".join(f'{k % 3}.png,"A dog, {k}"\n' for k in range(6)))
    return ""


@small_set
def flickr8k(root: Path) -> str:
    for k in range(3):
        picture(root / "Images" / f"{k}.jpg")
        text(root / f"Flickr_8k.{('train', 'dev', 'test')[k]}Images.txt", f"{k}.jpg\n")
    text(root / "Flickr8k.token.txt", "".join(f"{k % 3}.jpg#{k // 3}\tA dog {k} .\n" for k in range(6)))
    return ""


@small_set
def coco_captions(root: Path) -> str:
    for k in range(2):
        picture(root / "train2017" / f"{k:012d}.jpg")
    content = {
        "images": [{"id": k, "file_name": f"{k:012d}.jpg"} for k in range(2)],
        "annotations": [{"id": k, "image_id": k % 2, "caption": f"A dog {k}."} for k in range(4)],
    }
    text(root / "annotations" / "captions_train2017.json", json.dumps(content, indent=1))
    return ""


@small_set
def questions(root: Path) -> str:
    for k in range(3):
        picture(root / "images" / f"{k}.png")
    text(
        root / "questions.csv",
        "image,question,answer\n" + "".join(f"{k % 3}.png,what {k},dog\n" for k in range(6)),
    )
    return ""


@small_set
def vqa(root: Path) -> str:
    for k in range(2):
        picture(root / "train2014" / f"COCO_train2014_{k:012d}.jpg")
    asked = [{"question_id": 10 + k, "image_id": k % 2, "question": f"What is {k}?"} for k in range(4)]
    rows = [
        {"question_id": 10 + k, "answer_type": "other", "answers": [{"answer": "dog"}] * 10} for k in range(4)
    ]
    for what, key, content in (("OpenEnded_", "questions", asked), ("", "annotations", rows)):
        text(root / f"v2_{what}mscoco_train2014_{key}.json", json.dumps({key: content}, indent=1))
    return ""


@small_set
def clips(root: Path) -> str:
    for k, name in enumerate(("run/1", "run/2", "sit/1")):
        for t in range(3):
            picture(root / name / f"{t:03d}.jpg", np.roll(NOISE, k + t, 1))
    return ""


@small_set
def activitynet(root: Path) -> str:
    for k in range(3):
        for t in range(4):
            picture(root / "frames" / f"v{k}" / f"{t:03d}.png", np.roll(NOISE, k + t, 1))
    about = {"duration": 2.0, "annotations": [{"segment": [0.5, 1.5], "label": "jump"}]}
    text(root / "list.json", json.dumps({"database": {f"v{k}": about for k in range(3)}}, indent=1))
    return "list.json"


@small_set
def skeletons(root: Path) -> str:
    arrays = {"poses": RNG.normal(size=(9, 3, 2)).astype(np.float32), "offsets": [0, 3, 6, 9]}
    arrays |= {"labels": [0, 1, 0], "class_names": ["run", "sit"]}
    np.savez(root / "poses.npz", **arrays, joint_names=["neck", "right_hip", "left_hip"])
    return "poses.npz"


@small_set
def views(root: Path) -> str:
    turn = np.array([np.eye(3), [[0, 0, -1], [0, 1, 0], [1, 0, 0]]])
    arrays = {"K": [[[90, 0, 32], [0, 90, 24], [0, 0, 1]]] * 2, "R": turn, "t": [[0, 0, 900.0]] * 2}
    arrays |= {"points": RNG.normal(0, 50, (3, 2, 3)), "detections": RNG.uniform(0, 40, (3, 2, 2, 2))}
    np.savez(root / "rig.npz", **arrays, joint_names=["hip", "knee"], subject=["a", "b", "c"])
    return "rig.npz"


@small_set
def coco_keypoints(root: Path) -> str:
    rows, images = [], []
    for k in range(3):
        picture(root / "images" / f"{k}.png")
        images.append({"id": k, "file_name": f"{k}.png", "width": 24, "height": 20})
        rows.append({"id": k, "image_id": k, "category_id": 1, "keypoints": [3.5, 4.5, 2, 9.5, 8.5, 1]})
    kinds = [{"id": 1, "name": "person", "keypoints": ["nose", "eye"]}]
    content = {"images": images, "categories": kinds, "annotations": rows}
    text(root / "person_keypoints_all.json", json.dumps(content))
    return ""


@small_set
def keypoint_photos(root: Path) -> str:
    images = []
    for k in range(3):
        picture(root / f"{k}.png")
        images.append({"file": f"{k}.png", "set": "pets", "instances": [{"points": [[3, 4, 2], [9, 8, 0]]}]})
    text(root / "points.json", json.dumps({"sets": {"pets": {"joints": ["ear", "tail"]}}, "images": images}))
    return ""


@small_set
def tvsum(root: Path) -> str:
    for k in range(3):
        summaries = (RNG.random((4, 90)) > 0.5).astype(np.float32)
        arrays = {"features": RNG.random((6, 8)), "user_summary": summaries, "picks": np.arange(0, 90, 15)}
        np.savez(root / f"video_{k}.npz", **arrays)
    return ""
