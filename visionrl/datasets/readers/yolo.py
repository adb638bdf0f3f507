"""Boxes in text files as YOLO has them (Redmon et al., 2016): ``"yolo:FOLDER"``.

Images lie in ``images`` and their text files in ``labels`` (the last ``images`` of an image's path replaced), or
beside the images. A line of a text file is one object: the number of its class from 0, then x and y of the box's
middle, width and height, all as shares of the image's sides; or the class and the corners x y x y ... of an outline
(three or more), whose extent is the box. Where ``kpt_shape: [K, D]`` stands in the yaml, the box is followed by K
keypoints of D numbers, which are not used. A text file that is empty or missing is an image without objects; but a
folder without any text file is refused, and so is a text file without its image.

* ``data.yaml`` in FOLDER, or its only .yaml file with ``names`` or ``train``, has the class names in ``names`` and the
  images of each split in ``train``, ``val`` (or ``valid``) and ``test``: folders, or text files that list images, one
  or a list of them, from ``path``, else from the yaml's own folder. Where such a path is not there (it was another
  machine's), the folders below are tried; outside of FOLDER it is refused.
* Without it the splits are what ``*.data`` (darknet, CVAT) says, else the lists ``train.txt``, ``valid.txt``, ... in
  FOLDER, ``images/train``, ``images/val`` and so on, or ``train/images`` and so on, in any usual spelling (see
  ``stated_splits``); where there are none of these, all of ``images``, ``obj_train_data`` or FOLDER is cut by ratios
  or a split file.
* Class names without a yaml are the lines of ``classes.txt``, ``labels/classes.txt``, ``obj.names`` or the only
  *.names; without any, the numbers are the names.

What reaches out of the image by up to 2 pixels or 1 % is cut off. A sample is named by its path below its folder
without the suffix, with the split in front, and is a subject of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.boxes import Box, fit_box
from visionrl.datasets.readers.files import (
    IMAGE_SUFFIXES,
    OUTSIDE,
    check_folder,
    check_inside,
    files_ending,
    find_beside,
    images_below,
    numbers,
    plain_names,
    read_image,
    stays_inside,
    warn_unread,
)
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.splits import SPLITS, is_train_and_val
from visionrl.datasets.stated_splits import split_folders, split_lists, split_of
from visionrl.datasets.text import read_lines, read_yaml

NAMES = ("classes.txt", "labels/classes.txt", "obj.names")
UPPER = tuple(map(str.upper, IMAGE_SUFFIXES))
LARGEST_KPT = 1000  # keypoints of an object


@dataclass(frozen=True)
class Layout:
    """The layout of a data set's lines, as it states it.

    Attributes:
        names: of the classes by number; None where no file states them.
        keypoints: (K, D), that many numbers follow a box; None where nothing says so.
    """

    names: tuple[str, ...] | None
    keypoints: tuple[int, int] | None


@register_format("yolo", kind=ImageSample, own_splits=True)
def read_yolo(path: Path, options: ReadOptions) -> list[Entry]:
    """The images of a folder by path.

    Raises:
        ValueError: there is none, or a file breaks a rule; the message names file and line.
    """
    about = _yaml(check_folder(path))
    warn_unread(path)
    layout = Layout(_names(path, about), _keypoints(about))
    parts = _parts(path, about)
    if not parts:
        base = next((path / name for name in ("images", "obj_train_data") if (path / name).is_dir()), path)
        parts = {"": [base]}
    every = [place for places in parts.values() for place in places]
    if len(set(every)) < len(every):
        listed = ", ".join(f"{split}: {place}" for split, places in parts.items() for place in places)
        raise ValueError(f"{path}: no two splits may have the same pictures, got {listed}")
    return [
        entry
        for split, places in parts.items()
        for place in places
        for entry in _entries(place, path, split, layout)
    ]


def _yaml(path: Path) -> dict[str, Any]:
    """Reads data.yaml; an empty dictionary if there is none.

    Raises:
        ValueError: it is no mapping, or several files could be it.
    """
    files = [path / "data.yaml"] if (path / "data.yaml").is_file() else sorted(path.glob("*.y*ml"))
    found = []
    for file in files:
        content = read_yaml(file)
        if not isinstance(content, dict):
            raise ValueError(f"{file} must be a mapping with names, train and val, got {content!r:.200}")
        if len(files) == 1 or {"names", "train"} & set(content):
            names = read_yaml(file, plain=True).get("names") if "names" in content else None
            found.append({**content, **({"names": names} if names is not None else {}), "yaml": file})
    if len(found) > 1:
        listed = ", ".join(about["yaml"].name for about in found)
        raise ValueError(f"{path} must have one yaml file about its data, called data.yaml, got {listed}")
    return found[0] if found else {}


def _names(path: Path, about: dict[str, Any]) -> tuple[str, ...] | None:
    """The names of the classes by number; None where no file states them."""
    if "names" in about:
        names = about["names"]
        if isinstance(names, dict) and all(isinstance(key, int | str) for key in names):
            keys = {str(key): name for key, name in names.items()}
            names = [keys.get(str(j)) for j in range(len(names))]
        plain = isinstance(names, list) and all(isinstance(name, str | int | float) for name in names)
        if not plain or not names or len(set(map(str, names))) < len(names):
            raise ValueError(
                f"{about['yaml']}: names must be a list, or 0: NAME, 1: NAME, ..., got {about['names']!r:.200}"
            )
        if about.get("nc") not in (None, len(names)):
            raise ValueError(
                f"{about['yaml']}: nc must be the number of names, {len(names)}, got {about['nc']!r:.50}"
            )
        return tuple(map(str, names))
    file = next((path / name for name in NAMES if (path / name).is_file()), None)
    others = sorted(path.glob("*.names"))
    file = others[0] if file is None and len(others) == 1 else file
    if file is None:
        return None
    numbered = read_lines(file)
    lines = tuple(line for _, line in numbered)
    if numbered and numbered[-1][0] != numbered[0][0] + len(lines) - 1:
        raise ValueError(
            f"{file} must have one class name a line: an empty line among them leaves numbers open"
        )
    if not lines or len(set(lines)) < len(lines):
        raise ValueError(f"{file} must have one class name a line, none twice, got {list(lines)!r:.200}")
    return lines


def _keypoints(about: dict[str, Any]) -> tuple[int, int] | None:
    """Number of keypoints and their size, by ``kpt_shape``."""
    shape = about.get("kpt_shape")
    if shape is None:
        return None
    whole = isinstance(shape, list) and len(shape) == 2 and all(type(side) is int for side in shape)
    if not whole or not 1 <= shape[0] <= LARGEST_KPT or shape[1] not in (2, 3):
        raise ValueError(
            f"{about['yaml']}: kpt_shape must be [K, 2] or [K, 3] with K in 1 to {LARGEST_KPT}, got {shape!r:.100}"
        )
    return shape[0], shape[1]


def _parts(path: Path, about: dict[str, Any]) -> dict[str, list[Path]]:
    """The folders, or the lists, of each split."""
    inside = split_folders(path / "images") if (path / "images").is_dir() else {}
    outside = {split: folder for split, folder in split_folders(path).items() if _pictures(folder, path)}
    folders = outside | inside
    if inside:
        _warn_beside(path / "images", inside, path)
    if len(folders) == 1 and folders.get("train") == path / "obj_train_data":
        folders = {}  # darknet's only folder, whatever the splits
    stated = {split: values for split in SPLITS if (values := _values(about, split))}
    if not stated:
        lists = _lists(path)
        if len(lists) > 1 and folders.keys() <= lists.keys():
            return {split: [lists[split]] for split in SPLITS if split in lists}
    found = {}
    for split in SPLITS:
        near = [folders[split]] if split in folders else []
        places = [_place(path, about, split, value, near) for value in stated.get(split, ())] or near
        if places:
            found[split] = [_inner(place).resolve() for place in places]
    return found


def _warn_beside(images: Path, splits: dict[str, Path], root: Path) -> None:
    """Warn of folders with pictures that lie beside those of splits, and state none."""
    others = [child for child in sorted(images.iterdir()) if child.is_dir() and child not in splits.values()]
    if lost := [child.name for child in others if _pictures(child, root)]:
        warnings.warn(f"{images}: folders that state no split are not read: {', '.join(lost)}", stacklevel=2)


def _values(about: dict[str, Any], split: str) -> list[str]:
    """The paths that the yaml states for a split.

    Raises:
        ValueError: they are no paths.
    """
    titles = {key: split_of(key) for key, value in about.items() if isinstance(key, str) and value}
    if not {"train", "val"} & set(titles.values()):
        titles |= {key: "train" for key in titles if is_train_and_val(key)}
    found = [about[key] for key, stated in titles.items() if stated == split]
    values = [one for value in found for one in (value if isinstance(value, list) else [value])]
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"{about['yaml']}: train, val and test must be paths, got {values!r:.200}")
    return values


def _place(path: Path, about: dict[str, Any], split: str, value: str, near: list[Path]) -> Path:
    """The folder or list that an entry of the yaml means."""
    bases = [path / str(about.get("path") or ""), path]
    stated = [base / part for part in (value, value.removeprefix("../")) for base in bases]
    there = [place for place in stated if place.exists()]
    inside = [place for place in there if stays_inside(place, path)] or ([] if there else near)
    if not inside:
        looked = f"looked in {', '.join(map(str, [*stated, *near]))}"
        why = f"{there[0]} lies outside of {path}, {OUTSIDE}" if there else looked
        raise ValueError(f"{about['yaml']}: the pictures of {split!r} must be there, {why}")
    return inside[0]


def _lists(path: Path) -> dict[str, Path]:
    """The lists of images of each split, by darknet's ``*.data`` or by their names."""
    found: dict[str, Path] = {}
    for file in sorted(path.glob("*.data")):
        pairs = [line.partition("=") for _, line in read_lines(file) if "=" in line]
        for split, name in ((split_of(key.strip()), value.strip()) for key, _, value in pairs):
            near = [place for place in (path / name, path / Path(name).name) if place.is_file()]
            if split and near and stays_inside(near[0], path):
                found[split] = near[0]
    return found or split_lists(path)


def _inner(folder: Path) -> Path:
    """The folder ``images`` in a folder, where there is one."""
    return folder / "images" if (folder / "images").is_dir() else folder


def _pictures(place: Path, root: Path) -> list[Path]:
    """The images of a folder and the folders in it, or of a list."""
    if place.is_file():
        return [_located(line, place, root) for _, line in read_lines(place)]
    return images_below(_inner(place))


def _located(line: str, file: Path, root: Path) -> Path:
    """The image that a line of a list means; its path may begin with folders of another machine."""
    line = line.strip("\"'").replace("\\", "/")
    parts = PurePosixPath(line).parts
    tails = [Path(*parts[k:]) for k in range(len(parts))]
    bases = (file.parent, root, root / "images", root / "obj_train_data")
    options = [base / tail for tail in tails for base in bases]
    if not line.lower().endswith(IMAGE_SUFFIXES):
        options += [Path(f"{option}{suffix}") for option in options for suffix in (*IMAGE_SUFFIXES, *UPPER)]
    near = (option for option in options if option.is_file() and stays_inside(option, root))
    return next(near, root / line)


def _label(picture: Path) -> Path:
    """The text file of an image."""
    places = [picture.with_suffix(".txt")]
    parts, folders = picture.parts, [part.lower() for part in picture.parts[:-1]]
    if "images" in folders:
        last = len(folders) - 1 - folders[::-1].index("images")
        labels = {"images": "labels", "IMAGES": "LABELS"}.get(parts[last], "Labels")
        places.insert(0, Path(*parts[:last], labels, *parts[last + 1 :]).with_suffix(".txt"))
    return next((found for place in places if (found := find_beside(place, [".txt"]))), places[0])


def _entries(place: Path, root: Path, split: str, layout: Layout) -> list[Entry]:
    """The images of one folder or list of a split."""
    pictures = _pictures(place, root)
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
    paths = [
        Path(picture.relative_to(base) if picture.is_relative_to(base) else picture.name)
        for picture in pictures
    ]
    names = ["/".join(([split] if split else []) + [name]) for name in plain_names(paths)]
    return [
        Entry(name, name, partial(_read, picture, label, layout, root), split)
        for name, picture, label in zip(names, pictures, labels, strict=True)
    ]


def _refuse_orphans(labels: Sequence[Path]) -> None:
    """Refuses text files without an image, in the folders of the others."""
    known = set(labels)
    for folder in sorted({label.parent for label in labels}):
        for file in files_ending(folder, ".txt"):
            listed = (
                file.name == "classes.txt" or split_of(file.stem) or file.name.upper().startswith("README")
            )
            if file not in known and not listed:
                raise ValueError(f"{file} must have a picture of the same stem, found none")


def _read(picture: Path, label: Path, layout: Layout, root: Path) -> ImageSample:
    """An image with its boxes."""
    check_inside(picture, root, where=label)
    image = read_image(picture)
    lines = read_lines(label, numeric=True) if label.is_file() else []
    rows = [_row(line.split(), layout, image.shape, f"{label}, line {number}") for number, line in lines]
    return ImageSample(
        image, np.reshape(np.array([box for _, box in rows]), (-1, 4)), [name for name, _ in rows]
    )


def _row(cells: list[str], layout: Layout, shape: tuple[int, ...], where: str) -> tuple[str, Box]:
    """The class and the edges of a line."""
    shares = np.array(numbers(cells[1:], len(cells) - 1, where))
    is_box = len(cells) == 5
    if layout.keypoints and not is_box:
        count, size = layout.keypoints
        if len(cells) != 5 + count * size:
            raise ValueError(
                f"{where}: kpt_shape [{count}, {size}] says CLASS X Y WIDTH HEIGHT and {count} keypoints of {size} "
                f"numbers, {5 + count * size} cells, got {len(cells)}"
            )
        is_box, shares = True, shares[:4]
    elif not is_box:
        _check_outline(cells, shares, where)
    if (np.abs(shares) > 2).any():
        raise ValueError(
            f"{where}: positions must be shares of the image's sides, 0 to 1, got {' '.join(cells[1:])}"
        )
    if is_box:
        low, high = shares[:2] - shares[2:] / 2, shares[:2] + shares[2:] / 2
    else:
        low, high = shares.reshape(-1, 2).min(0), shares.reshape(-1, 2).max(0)
    sides = np.array(shape[:0:-1])
    x0, y0, x1, y1 = np.concatenate([low * sides, high * sides]).tolist()
    return _class(cells[0], layout.names, where), fit_box((x0, y0, x1, y1), shape[2], shape[1], where)


def _check_outline(cells: list[str], shares: np.ndarray, where: str) -> None:
    """Refuses a line that is no outline, or looks like a box with keypoints (x, y, visibility).

    Raises:
        ValueError: it is so; the message says how keypoints are stated.
    """
    if len(cells) < 7 or len(cells) % 2 == 0:
        more = "; with keypoints, kpt_shape must stand in data.yaml" if len(cells) > 7 else ""
        raise ValueError(
            f"{where}: must be CLASS X Y WIDTH HEIGHT, or CLASS and three or more corners X Y, got {len(cells)} "
            f"cells{more}"
        )
    points = shares[4:].reshape(-1, 3) if len(shares) % 3 == 1 else np.zeros((0, 3))
    seen = points[np.isin(points[:, 2], (1, 2))]
    x, y, width, height = shares[:4]
    fits = 0 < width <= 2 * min(x, 1 - x) + 0.1 and 0 < height <= 2 * min(y, 1 - y) + 0.1
    if len(points) > 1 and np.isin(points[:, 2], (0, 1, 2)).all() and fits and (seen <= [1, 1, 2]).all():
        raise ValueError(
            f"{where}: looks like a box and {len(points)} keypoints (x, y, visibility); state kpt_shape: "
            f"[{len(points)}, 3] in data.yaml"
        )


def _class(cell: str, names: tuple[str, ...] | None, where: str) -> str:
    """The name of a class's number."""
    if not cell.isdecimal() or len(cell) > 9:
        raise ValueError(f"{where}: a class must be a whole number >= 0, got {cell!r:.50}")
    if names is None:
        return str(int(cell))
    if int(cell) >= len(names):
        raise ValueError(
            f"{where}: a class must be in 0 to {len(names) - 1} ({', '.join(names[:10])}), got {cell}"
        )
    return names[int(cell)]
