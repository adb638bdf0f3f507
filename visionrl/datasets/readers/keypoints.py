"""People and other things with keypoints, one sample an instance: COCO's JSON, and photographs of several sets.

``"coco-keypoints:FOLDER"`` or ``"coco-keypoints:FILE"``: files and images lie as for ``coco``; of the JSON files those
called ``person_keypoints_*`` are read, where there are any. A category has ``keypoints``, the names; an annotation x, y
and a flag for each: 0 is not labelled and left out, 1 hidden, 2 visible. A coordinate counts from the corner of the
image as COCO's boxes do, so 0.5 is the middle of the first pixel. Annotations without a labelled keypoint, and crowds,
are left out. The split is by image.

``"keypoint-photos:FOLDER"``: ``points.json`` has ``sets`` (name -> ``joints``) and ``images``, a list of ``file``,
``set`` and ``instances``, each with ``points`` (x, y, flag) and perhaps ``box``; points are pixels, whole numbers
centres, and those beyond the border are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.boxes import are_coordinates, short
from visionrl.datasets.readers.coco import (
    File,
    _content,
    check_image_id,
    coco_parts,
    find_picture,
    named,
    stated_split,
)
from visionrl.datasets.readers.files import plain_names, read_image, stated_path
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.text import read_json


@register_format("coco-keypoints", kind=ImageSample, own_splits=True)
def read_coco_keypoints(path: Path, options: ReadOptions) -> list[Entry]:
    """The instances with keypoints, in the order of the annotations.

    Raises:
        ValueError: there is no file, or one breaks a rule; the message names the file and the place in it.
    """
    parts = coco_parts(path, "person_keypoints_")
    asked = [part for part in parts if part.split == options.split]
    return [entry for part in asked or parts for entry in _entries(part)]


def _entries(part: File) -> list[Entry]:
    """One entry an instance."""
    content = _content(part.file)
    names = named(content, part.file, "images", "file_name")
    images = {image["id"]: image for image in content["images"]}
    stems = dict(zip(names, plain_names([Path(stated_path(name)) for name in names.values()]), strict=True))
    joints: dict[Any, list[str]] = {}
    for number, row in enumerate(content["categories"]):
        words = row.get("keypoints", []) if isinstance(row, dict) else None
        if not isinstance(words, list) or not all(isinstance(w, str) and w for w in words):
            raise ValueError(
                f"{part.file}, categories[{number}]: keypoints must be names, got {short(words)}"
            )
        if not isinstance(row.get("id"), int | str):
            raise ValueError(
                f"{part.file}, categories[{number}]: id must be a whole number, got {short(row.get('id'))}"
            )
        joints[row["id"]] = words
    entries: list[Entry] = []
    for number, row in enumerate(content["annotations"]):
        where = f"{part.file}, annotations[{number}]"
        check_image_id(row, where, names)
        if not isinstance(kind := row.get("category_id"), int | str) or kind not in joints:
            raise ValueError(f"{where}: category_id must be one of the file, got {short(kind)}")
        if row.get("iscrowd") or not row.get("keypoints"):
            continue
        points = _points(row["keypoints"], joints[kind], where)
        if not points:
            continue
        image = images[row["image_id"]]
        split = part.split or stated_split(image)
        stem = f"{split}/{stems[row['image_id']]}" if split else stems[row["image_id"]]
        read = partial(_read, part, f"{part.file}, image {image['file_name']!r}", image["file_name"], points)
        entries.append(Entry(f"{stem}/{number}", stem, read, split))
    if not entries:
        raise ValueError(f"{part.file} must have an annotation with a labelled keypoint, got none")
    return entries


def _points(numbers: Any, names: Sequence[str], where: str) -> dict[str, tuple[float, float]]:
    """Name -> (x, y), pixels with whole numbers for centres, of those that are labelled."""
    if not are_coordinates(numbers) or len(numbers) != 3 * len(names):
        raise ValueError(
            f"{where}: keypoints must be x, y and a flag for each of {len(names)} names, got {short(numbers)}"
        )
    rows = np.reshape(numbers, (-1, 3))
    if not np.isin(rows[:, 2], (0, 1, 2)).all():
        raise ValueError(
            f"{where}: the flag of a keypoint must be 0, 1 or 2, got {short(rows[:, 2].tolist())}"
        )
    return {
        name: (float(x) - 0.5, float(y) - 0.5) for name, (x, y, flag) in zip(names, rows, strict=True) if flag
    }


def _read(part: File, where: str, name: str, points: dict[str, tuple[float, float]]) -> ImageSample:
    """One instance."""
    return ImageSample(read_image(find_picture(part, name, where)), points=points)


@register_format("keypoint-photos", kind=ImageSample)
def read_keypoint_photos(path: Path, options: ReadOptions) -> list[Entry]:
    """The instances in the order of the file.

    Raises:
        ValueError: there is no points.json, or it breaks a rule.
    """
    file = path / "points.json" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"{path} must hold points.json")
    content = read_json(file)
    if not isinstance(content, dict):
        raise ValueError(f"{file} must be a JSON object with sets and images, got {short(content)}")
    joints = _sets(content.get("sets"), file)
    if not isinstance(images := content.get("images"), list) or not images:
        raise ValueError(f"{file}: images must be a list of one or more, got {short(images)}")
    entries = []
    for number, row in enumerate(images):
        where = f"{file}, images[{number}]"
        if not isinstance(row, dict) or not isinstance(row.get("file"), str):
            raise ValueError(f"{where}: must have a file and one of the sets, got {short(row)}")
        if not isinstance(kind := row.get("set"), str) or kind not in joints:
            raise ValueError(f"{where}: set must be one of {', '.join(joints)}, got {short(kind)}")
        if not isinstance(instances := row.get("instances", []), list):
            raise ValueError(f"{where}: instances must be a list, got {short(instances)}")
        picture = file.parent / stated_path(row["file"])
        for place, one in enumerate(instances):
            labelled = _labelled(one, joints[kind], f"{where}, instances[{place}]")
            entry = f"{kind}/{picture.stem}/{place}"
            entries.append(Entry(entry, picture.stem, partial(_photo, picture, labelled)))
    return entries


def _sets(sets: Any, file: Path) -> dict[str, list[str]]:
    """Name of a set -> names of its joints."""
    if not isinstance(sets, dict) or not sets:
        raise ValueError(f"{file}: sets must be an object of one set or more, got {short(sets)}")
    for name, one in sets.items():
        words = one.get("joints") if isinstance(one, dict) else None
        if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
            raise ValueError(f"{file}, sets[{name!r}]: joints must be names, got {short(words)}")
    return {name: one["joints"] for name, one in sets.items()}


def _labelled(instance: Any, joints: Sequence[str], where: str) -> dict[str, tuple[float, float]]:
    """Name -> (x, y), pixels, of the points of an instance that are labelled."""
    rows = instance.get("points") if isinstance(instance, dict) else None
    if (
        not isinstance(rows, list)
        or len(rows) != len(joints)
        or not all(are_coordinates(row) and len(row) == 3 for row in rows)
    ):
        raise ValueError(f"{where}: points must be x, y, flag of {len(joints)} joints, got {short(rows)}")
    return {joint: (row[0], row[1]) for joint, row in zip(joints, rows, strict=True) if row[2] > 0}


def _photo(picture: Path, points: dict[str, tuple[float, float]]) -> ImageSample:
    """One instance of a photograph; points beyond its border are left out."""
    image = read_image(picture)
    last = np.array(image.shape[:0:-1]) - 0.5
    inside = {
        name: at
        for name, at in points.items()
        if (np.array(at) >= -0.5).all() and (np.array(at) <= last).all()
    }
    return ImageSample(image, points=inside)
