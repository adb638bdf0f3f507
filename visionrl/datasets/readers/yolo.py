"""Boxes in text files as YOLO has them (Redmon et al., 2016): ``"yolo:FOLDER"``.

Images lie in ``images`` and their text files in ``labels`` (the last ``images`` of an image's path replaced), or
beside the images. A line of a text file is one object: the number of its class from 0, then x and y of the box's
middle, width and height, all as shares of the image's sides; or the class and the corners x y x y ... of an outline
(three or more), whose extent is the box. A text file that is empty or missing is an image without objects; but a folder
without any text file is refused, and so is a text file without its image.

* ``data.yaml`` in FOLDER, or its only .yaml file, has the class names in ``names`` and the images of each split in
  ``train``, ``val`` (or ``valid``) and ``test``: folders, or text files that list images, from ``path``, else from
  the yaml's own folder. Where such a path is not there (it was another machine's), the folders below are tried.
* Without it the splits are ``images/train``, ``images/val`` (or ``valid``) and ``images/test``, or ``train/images``
  and so on; where there are none of these, all of ``images``, ``obj_train_data`` or FOLDER is cut by ratios or a
  split file.
* Class names without a yaml are the lines of ``classes.txt``, ``labels/classes.txt``, ``obj.names`` or the only
  *.names; without any, the numbers are the names.

What reaches out of the image by up to 2 pixels or 1 % is cut off. A sample is named by its path below its folder
without the suffix, with the split in front, and is a subject of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.boxes import FOLDERS, Box, fit_box, split_folders
from visionrl.datasets.readers.files import IMAGE_SUFFIXES, check_folder, numbers, read_image
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.splits import SPLITS
from visionrl.datasets.text import read_lines, read_text

NAMES = ("classes.txt", "labels/classes.txt", "obj.names")
NOT_LABELS = ("classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt")


@register_format("yolo", kind=ImageSample, own_splits=True)
def read_yolo(path: Path, options: ReadOptions) -> list[Entry]:
    """The images of a folder by path.

    Raises:
        ValueError: there is none, or a file breaks a rule; the message names file and line.
    """
    about = _yaml(check_folder(path))
    names = _names(path, about)
    parts = _parts(path, about)
    if not parts:
        base = next((path / name for name in ("images", "obj_train_data") if (path / name).is_dir()), path)
        parts = {"": base}
    if len(set(parts.values())) < len(parts):
        listed = ", ".join(f"{split}: {place}" for split, place in parts.items())
        raise ValueError(f"{path}: no two splits may have the same pictures, got {listed}")
    return [entry for split, place in parts.items() for entry in _entries(place, split, names)]


def _yaml(path: Path) -> dict[str, Any]:
    """Reads data.yaml; an empty dictionary if there is none."""
    import yaml

    files = [path / "data.yaml"] if (path / "data.yaml").is_file() else sorted(path.glob("*.y*ml"))
    if len(files) != 1:
        return {}
    try:
        content = yaml.safe_load(read_text(files[0]))
    except yaml.YAMLError as error:
        raise ValueError(f"{files[0]} must be valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{files[0]} must be a mapping with names, train and val, got {content!r:.200}")
    return {**content, "yaml": files[0]}


def _names(path: Path, about: dict[str, Any]) -> tuple[str, ...] | None:
    """The names of the classes by number; None where no file states them."""
    if "names" in about:
        names = about["names"]
        numbered = isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str)
        listed = [names[j] for j in range(len(names))] if numbered else names
        if not isinstance(listed, list) or not listed or len(set(map(str, listed))) < len(listed):
            raise ValueError(
                f"{about['yaml']}: names must be a list, or 0: NAME, 1: NAME, ..., got {names!r:.200}"
            )
        return tuple(map(str, listed))
    file = next((path / name for name in NAMES if (path / name).is_file()), None)
    others = sorted(path.glob("*.names"))
    file = others[0] if file is None and len(others) == 1 else file
    if file is None:
        return None
    lines = tuple(line for _, line in read_lines(file))
    if not lines or len(set(lines)) < len(lines):
        raise ValueError(f"{file} must have one class name a line, none twice, got {list(lines)}")
    return lines


def _parts(path: Path, about: dict[str, Any]) -> dict[str, Path]:
    """The folder, or the list, of each split."""
    found = {}
    inside = split_folders(path / "images") if (path / "images").is_dir() else {}
    outside = {split: folder for split, folder in split_folders(path).items() if _pictures(folder)}
    for split in SPLITS:
        stated = [about[key] for key in FOLDERS[split] if about.get(key)]
        places = [place for value in stated for place in _stated(path, about, value)]
        places += [some[split] for some in (inside, outside) if split in some]
        place = next((place for place in places if place.exists()), None)
        if place is None and stated:
            looked = ", ".join(map(str, places))
            raise ValueError(f"{about['yaml']}: the pictures of {split!r} must be there, looked in {looked}")
        if place is not None:
            found[split] = _inner(place).resolve()
    return found


def _stated(path: Path, about: dict[str, Any], value: Any) -> list[Path]:
    """The places that an entry of the yaml may mean."""
    if not isinstance(value, str):
        raise ValueError(f"{about['yaml']}: train, val and test must be one path each, got {value!r:.200}")
    bases = [path / str(about.get("path") or ""), path]
    return [base / part for part in (value, value.removeprefix("../")) for base in bases]


def _inner(folder: Path) -> Path:
    """The folder ``images`` in a folder, where there is one."""
    return folder / "images" if (folder / "images").is_dir() else folder


def _pictures(place: Path) -> list[Path]:
    """The images of a folder and the folders in it, or of a list."""
    if place.is_file():
        return [place.parent / line for _, line in read_lines(place)]
    return sorted(
        file
        for file in _inner(place).rglob("*")
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    )


def _label(picture: Path) -> Path:
    """The text file of an image."""
    places = [picture.with_suffix(".txt")]
    parts = picture.parts
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index("images")
        places.insert(0, Path(*parts[:last], "labels", *parts[last + 1 :]).with_suffix(".txt"))
    return next((place for place in places if place.is_file()), places[0])


def _entries(place: Path, split: str, names: tuple[str, ...] | None) -> list[Entry]:
    """The images of one split."""
    pictures = _pictures(place)
    if not pictures:
        raise ValueError(f"{place} must hold pictures: looked for {', '.join(IMAGE_SUFFIXES)}")
    labels = [_label(picture) for picture in pictures]
    if not any(label.is_file() for label in labels):
        raise ValueError(
            f"the pictures in {place} must have text files with boxes, such as {labels[0]}; found none"
        )
    if not place.is_file():
        _refuse_orphans(labels)
    base = place.parent if place.is_file() else place
    entries = []
    for picture, label in zip(pictures, labels, strict=True):
        inside = picture.relative_to(base) if picture.is_relative_to(base) else Path(picture.name)
        name = "/".join(([split] if split else []) + [inside.with_suffix("").as_posix()])
        entries.append(Entry(name, name, partial(_read, picture, label, names), split))
    return entries


def _refuse_orphans(labels: Sequence[Path]) -> None:
    """Refuses text files without an image, in the folders of the others."""
    known = set(labels)
    for folder in sorted({label.parent for label in labels}):
        for file in sorted(folder.glob("*.txt")):
            if (
                file not in known
                and file.name not in NOT_LABELS
                and not file.name.upper().startswith("README")
            ):
                raise ValueError(f"{file} must have a picture of the same stem, found none")


def _read(picture: Path, label: Path, names: tuple[str, ...] | None) -> ImageSample:
    """An image with its boxes."""
    image = read_image(picture)
    lines = read_lines(label, numeric=True) if label.is_file() else []
    rows = [_row(line.split(), names, image.shape, f"{label}, line {number}") for number, line in lines]
    return ImageSample(
        image, np.reshape(np.array([box for _, box in rows]), (-1, 4)), [name for name, _ in rows]
    )


def _row(
    cells: list[str], names: tuple[str, ...] | None, shape: tuple[int, ...], where: str
) -> tuple[str, Box]:
    """The class and the edges of a line."""
    if len(cells) != 5 and (len(cells) < 7 or len(cells) % 2 == 0):
        raise ValueError(
            f"{where}: must be CLASS X Y WIDTH HEIGHT, or CLASS and three or more corners X Y, got {len(cells)} cells"
        )
    shares = np.array(numbers(cells[1:], len(cells) - 1, where))
    if (np.abs(shares) > 2).any():
        raise ValueError(
            f"{where}: positions must be shares of the image's sides, 0 to 1, got {' '.join(cells[1:])}"
        )
    if len(cells) == 5:
        low, high = shares[:2] - shares[2:] / 2, shares[:2] + shares[2:] / 2
    else:
        low, high = shares.reshape(-1, 2).min(0), shares.reshape(-1, 2).max(0)
    sides = np.array(shape[:0:-1])
    x0, y0, x1, y1 = np.concatenate([low * sides, high * sides]).tolist()
    return _class(cells[0], names, where), fit_box((x0, y0, x1, y1), shape[2], shape[1], where)


def _class(cell: str, names: tuple[str, ...] | None, where: str) -> str:
    """The name of a class's number."""
    if not cell.isdecimal():
        raise ValueError(f"{where}: a class must be a whole number >= 0, got {cell!r}")
    if names is None:
        return str(int(cell))
    if int(cell) >= len(names):
        raise ValueError(
            f"{where}: a class must be in 0 to {len(names) - 1} ({', '.join(names[:10])}), got {cell}"
        )
    return names[int(cell)]
