"""Boxes and masks in the JSON files of COCO (Lin et al., 2014): ``"coco:FOLDER"`` or ``"coco:FILE"``.

FOLDER has its JSON files in ``annotations`` (those called ``instances_*``, where there are any), in itself, or in
folders ``train``, ``val`` (or ``valid``) and ``test``, as in ``train/_annotations.coco.json``. With several files each
has its split in its name or its folder's: ``instances_train2017.json``, ``valid/_annotations.coco.json``; these are
the splits. A single file, or FILE, is cut by ratios or by a split file.

The images lie beside the JSON file, in FOLDER, in ``images``, in a folder of the split's name, or in one of the last
word of the file's name (``train2017``); ``file_name`` may have folders, but must not lead out of these. ``bbox`` is x,
y, width, height from the image's top-left corner: the edges are x, y, x + width, y + height; width and height must be
> 0. What reaches out of the image by up to 2 pixels or 1 % is cut off. Regions with ``iscrowd`` 1 cover many objects
and are no objects: they are left out, and are background in the mask.

Where an annotation of an image has a ``segmentation``, polygons or run lengths (as numbers or compressed), the image
has a mask: it numbers the annotations that are objects from 1, in their order; a later one covers an earlier one, one
without ``segmentation`` has no pixels. Polygons hold the pixels whose centres are inside; of several all count.

An image without annotations is an image without objects, and so are all images of a file without a list of them.
Where an image has a ``split``, that is its split. A bad annotation makes its image a bad sample. A sample is named by
``file_name`` without the suffix, with the split in front, and is a subject of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.guard import refuse
from visionrl.datasets.readers.boxes import are_coordinates, check_size, fit_box, short
from visionrl.datasets.readers.files import check_inside, files_ending, plain_names, read_image, stated_path
from visionrl.datasets.readers.instances import Part, filled, union, with_instances
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.splits import is_train_and_val
from visionrl.datasets.stated_splits import split_folders, split_of
from visionrl.datasets.text import read_json
from visionrl.ops.rle import mask_of_runs, runs_of_text

Rows = list[tuple[str, Any, str, Any]]  # place, bbox, class, segmentation


@dataclass(frozen=True)
class File:
    """One JSON file.

    Attributes:
        file: its path.
        split: train, val or test; empty where the data set has no splits of its own.
        places: where its images may lie.
    """

    file: Path
    split: str
    places: tuple[Path, ...]


@register_format("coco", kind=ImageSample, own_splits=True)
def read_coco(path: Path, options: ReadOptions) -> list[Entry]:
    """The images of a data set in the order of its files; where they have splits, only the asked one is opened.

    Raises:
        ValueError: there is no file, or one breaks a rule; the message names the file and the place in it.
    """
    parts = coco_parts(path, "instances_")
    asked = [part for part in parts if part.split == options.split]
    return [entry for part in asked or parts for entry in _entries(part)]


def coco_parts(path: Path, prefix: str) -> list[File]:
    """The JSON files of a path; where some are called by a prefix, such as ``instances_``, only these.

    Raises:
        ValueError: there is none, or several do not name another split each.
    """
    if path.is_file():
        root = path.parent.parent if path.parent.name == "annotations" else path.parent
        return [_part(path, root, "")]
    files = _files(path, prefix)
    if len(files) == 1:
        return [_part(files[0], path, "")]
    splits: dict[str, Path] = {}
    stated = [_split(file, path) for file in files]
    for file, split in zip(files, stated, strict=True):
        if not {"train", "val"} & set(stated) and is_train_and_val(file.stem):
            split = "train"
        if not split or split in splits:
            listed = ", ".join(str(file.relative_to(path)) for file in files)
            raise ValueError(
                f"{path} holds several JSON files, which must each name another split (train, val or test); "
                f"got {listed}; give the path of one"
            )
        splits[split] = file
    return [_part(file, path, split) for split, file in splits.items()]


def _files(path: Path, prefix: str) -> list[Path]:
    """The JSON files with annotations in a folder."""
    folders = [path / "annotations", path, *split_folders(path).values()]
    found = [files_ending(folder, ".json") for folder in folders]
    files = found[0] or found[1] or [file for some in found[2:] for file in some]
    files = [file for file in files if file.name.startswith(prefix)] or files
    if not files:
        raise ValueError(
            f"{path} must hold COCO's JSON: looked for annotations/*.json, *.json, train/*.json, val/*.json, "
            "valid/*.json and test/*.json; found none"
        )
    return files


def _split(file: Path, root: Path) -> str:
    """The split that a file's folder or name states, or nothing."""
    if file.parent not in (root, root / "annotations"):
        return split_of(file.parent.name)
    return split_of(file.stem, among_others=True)


def _part(file: Path, root: Path, split: str) -> File:
    """The file with the places in which its images may lie."""
    last = file.stem.rpartition("_")[2]
    names = dict.fromkeys((last, split, *(("val", "valid") if split == "val" else ())))
    inside = [base / name for name in names if name for base in (root, root / "images")]
    return File(file, split, tuple(dict.fromkeys((file.parent, root, root / "images", *inside))))


def _entries(part: File) -> list[Entry]:
    """One entry an image."""
    content = _content(part.file)
    classes = named(content, part.file, "categories", "name")
    names = named(content, part.file, "images", "file_name")
    rows: dict[Any, Rows] = {image: [] for image in names}
    bad: dict[Any, ValueError] = {}
    for number, row in enumerate(content["annotations"]):
        where = f"{part.file}, annotations[{number}]"
        check_image_id(row, where, names)
        try:
            _check(row, where, classes)
        except ValueError as error:
            bad.setdefault(row["image_id"], error)
            continue
        if not row.get("iscrowd"):
            about = (where, row["bbox"], classes[row["category_id"]], row.get("segmentation"))
            rows[row["image_id"]].append(about)
    entries = []
    stems = plain_names([Path(stated_path(image["file_name"])) for image in content["images"]])
    for number, (image, stem) in enumerate(zip(content["images"], stems, strict=True)):
        split = part.split or stated_split(image)
        name = f"{split}/{stem}" if split else stem
        read: Any = partial(_read, part, f"{part.file}, images[{number}]", image, rows[image["id"]])
        if image["id"] in bad:
            read = partial(refuse, bad[image["id"]])
        entries.append(Entry(name, name, read, split))
    return entries


def stated_split(image: dict[str, Any]) -> str:
    """The split that an entry of an image states, or nothing."""
    return split_of(image["split"]) if isinstance(image.get("split"), str) else ""


def _content(file: Path) -> dict[str, Any]:
    """The JSON of a file, with its three lists."""
    content = read_json(file)
    if not isinstance(content, dict):
        hint = "; a list may be the result of a detector" if isinstance(content, list) else ""
        raise ValueError(f"{file} must be a JSON object with a list 'images' of one entry or more{hint}")
    content = {"annotations": [], **content}
    if not content["annotations"]:
        content = {"categories": [], **content}
    for key in ("images", "categories", "annotations"):
        if not isinstance(content.get(key), list) or not (content[key] or not content["annotations"]):
            raise ValueError(f"{file} must be a JSON object with a list {key!r} of one entry or more")
    if not content["images"]:
        raise ValueError(f"{file} must be a JSON object with a list 'images' of one entry or more")
    return content


def named(content: dict[str, Any], file: Path, key: str, title: str) -> dict[Any, str]:
    """Number -> name of the images or of the categories.

    Raises:
        ValueError: one has no id or no name, or the id of another.
    """
    found: dict[Any, str] = {}
    for number, row in enumerate(content[key]):
        where = f"{file}, {key}[{number}]"
        if not isinstance(row, dict) or not isinstance(row.get("id"), int | str) or not row.get(title):
            raise ValueError(f"{where}: must have an id and a {title}, got {row!r:.200}")
        if row["id"] in found or not isinstance(row[title], str):
            raise ValueError(
                f"{where}: id must be unique and {title} a string, got {row['id']!r}, {row[title]!r}"
            )
        found[row["id"]] = row[title]
    return found


def _check_key(row: dict[str, Any], key: str, known: Mapping[Any, str], where: str) -> None:
    """Refuses an annotation with a number that the file does not have."""
    if not isinstance(row.get(key), int | str) or row[key] not in known:
        few = ", ".join(map(repr, list(known)[:10])) + (", ..." if len(known) > 10 else "")
        raise ValueError(f"{where}: {key} must be among those of the file ({few}), got {row.get(key)!r:.100}")


def check_image_id(row: Any, where: str, images: Mapping[Any, str]) -> None:
    """Refuse an annotation without an image.

    Raises:
        ValueError: it is no object, or states no image of the file; ``where`` begins the message.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{where}: must be an object, got {row!r:.200}")
    _check_key(row, "image_id", images, where)


def _check(row: dict[str, Any], where: str, classes: Mapping[Any, str]) -> None:
    """Refuses an annotation without a category or a box."""
    _check_key(row, "category_id", classes, where)
    box: Any = row.get("bbox")
    if (mode := row.get("bbox_mode", 1)) not in (1, "XYWH_ABS") or isinstance(mode, bool):
        raise ValueError(f"{where}: bbox_mode must be 1 (XYWH_ABS), x, y, width, height, got {mode!r:.200}")
    if not are_coordinates(box) or len(box) != 4:
        raise ValueError(f"{where}: bbox must be four finite numbers x, y, width, height, got {short(box)}")
    if (crowd := row.get("iscrowd", 0)) not in (0, 1, None):
        raise ValueError(f"{where}: iscrowd must be 0 or 1, got {short(crowd)}")
    if not row.get("iscrowd") and (box[2] <= 0 or box[3] <= 0):
        raise ValueError(f"{where}: bbox must have a width and a height > 0, got {box}")


def _read(part: File, where: str, image: dict[str, Any], rows: Rows) -> ImageSample:
    """An image with its boxes."""
    pixels = read_image(find_picture(part, image["file_name"], where))
    width, height = image.get("width") or 0, image.get("height") or 0
    if not all(type(side) in (int, float) for side in (width, height)):
        raise ValueError(f"{where}: width and height must be numbers, got {width!r} and {height!r}")
    check_size(width, height, pixels.shape, where)
    boxes = [
        fit_box((x, y, x + w, y + h), pixels.shape[2], pixels.shape[1], place)
        for place, (x, y, w, h), *_ in rows
    ]
    names = [name for _, _, name, _ in rows]
    sample = ImageSample(pixels, np.reshape(np.array(boxes, float), (-1, 4)), names)
    if all(outlines is None or outlines == [] for *_, outlines in rows):
        return sample
    regions = (region(outlines, pixels.shape[1:], place) for place, *_, outlines in rows)
    return with_instances(sample, names, enumerate(regions, 1))


def find_picture(part: File, name: str, where: str) -> Path:
    """The picture that a file names.

    Raises:
        ValueError: it is missing, or leads out of the data set; ``where`` begins the message.
    """
    files = [place / stated_path(name) for place in part.places]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        looked = ", ".join(map(str, part.places))
        raise ValueError(f"{where}: picture {name!r:.300} must lie in one of {looked}")
    return check_inside(file, *part.places, where=where)


def region(outlines: Any, shape: tuple[int, ...], where: str) -> Part | None:
    """The pixels of an annotation's segmentation; None where it has none.

    Raises:
        ValueError: it is neither a list of polygons of three points or more nor run lengths of the image's size.
    """
    height, width = shape
    if outlines is None or outlines == []:
        return None
    if isinstance(outlines, list):
        return union([filled(polygon(one, where), height, width) for one in outlines])
    rule = "segmentation must be a list of polygons, or an object with size and counts"
    if not isinstance(outlines, dict) or not isinstance(outlines.get("counts"), list | str):
        raise ValueError(f"{where}: {rule}, got {outlines!r:.200}")
    if outlines.get("size") != [height, width]:
        got = f"[{height}, {width}], got {outlines.get('size')!r:.100}"
        raise ValueError(f"{where}: size of the segmentation must be the image's, {got}")
    counts = outlines["counts"]
    try:
        inside = mask_of_runs(runs_of_text(counts) if isinstance(counts, str) else counts, height, width)
    except ValueError as error:
        raise ValueError(f"{where}: segmentation: {error}") from None
    return Part(0, 0, inside)


def polygon(numbers: Any, where: str) -> np.ndarray:
    """(n, 2) float64 of a polygon's numbers x, y, x, y, ...

    Raises:
        ValueError: they are no finite numbers, or fewer than three points.
    """
    if not are_coordinates(numbers) or len(numbers) % 2 or len(numbers) < 6:
        raise ValueError(
            f"{where}: a polygon must be 6 or more finite numbers x, y, x, y, ..., got {short(numbers)}"
        )
    return np.reshape(np.array(numbers, float), (-1, 2))
