"""Pairs of a Learn2Reg challenge: ``"learn2reg:FILE"``, FILE being the task's JSON, such as ``NLST_dataset.json``.

Its lists ``training_paired_images``, ``registration_val`` and ``registration_test`` of
``{"fixed": ..., "moving": ...}`` are the splits; a ``training`` list of such pairs is read, too. Paths are relative to
the file. What belongs to an image is what its entry in the lists of images names (``label``, ``landmarks``,
``keypoints``, ``mask``), else the file of its name in ``labelsTr``, ``landmarksTr``, ``keypointsTr`` or ``masksTr``,
the first of each kind that both images have. Points are voxel indices. ``modality`` gives each image its modality, by
the number that ends its name.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.pair_files import SIDES, VOLUMES, Cells, read_pair
from visionrl.datasets.samples import PairSample
from visionrl.datasets.text import read_json

LISTS = {
    "training_paired_images": "train",
    "training": "train",
    "registration_val": "val",
    "validation": "val",
    "registration_test": "test",
    "test": "test",
}
KINDS = {"mask": ("label", "mask"), "points": ("landmarks", "keypoints")}  # first those that mean more
FOLDERS = {"label": "labels", "mask": "masks", "landmarks": "landmarks", "keypoints": "keypoints"}
ENDINGS = (*VOLUMES, ".csv", ".txt")


@register_format("learn2reg", kind=PairSample, own_splits=True)
def read_learn2reg(path: Path, options: ReadOptions) -> list[Entry]:
    """The pairs of a task's JSON file, by list.

    Raises:
        ValueError: the file is no such JSON, or lists no pair.
    """
    if path.is_dir():
        raise ValueError(f"the path of 'learn2reg' must be the JSON file of a task, got the folder {path}")
    content = read_json(path)
    pairs = list(_pairs(content, path))
    if not pairs:
        raise ValueError(
            f"{path} must list pairs {{'fixed': ..., 'moving': ...}} in one of {', '.join(LISTS)}, it lists none"
        )
    known = _images(content)
    _warn_of_missing(path, known)
    found: dict[str, Entry] = {}
    for pair, split in pairs:
        cells = _cells(path.parent, pair, known) | _modalities(content, pair)
        stems = [_stem(pair[side]) for side in SIDES]
        name = "-".join(stems)
        read = partial(read_pair, path.parent, cells, f"{path}, {name}", "voxel")
        found.setdefault(name, Entry(name, re.sub(r"_\d{4}$", "", stems[0]), read, split))
    return list(found.values())


def _pairs(content: Any, path: Path) -> Iterator[tuple[dict[str, str], str]]:
    """Every pair, and its split."""
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(content).__name__}")
    for key, split in LISTS.items():
        some = content.get(key, [])
        for row in some if isinstance(some, list) else []:
            if not isinstance(row, dict) or not {*row} & {*SIDES}:
                continue  # an image by itself
            if not all(isinstance(row.get(side), str) for side in SIDES):
                raise ValueError(f"{path}: a pair of {key} must name fixed and moving, got {row!r:.200}")
            yield {side: row[side] for side in SIDES}, split


def _images(content: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Stem of an image -> what the lists of images say that belongs to it."""
    lists = [some for some in content.values() if isinstance(some, list)]
    rows = [
        row for some in lists for row in some if isinstance(row, dict) and isinstance(row.get("image"), str)
    ]
    return {
        _stem(row["image"]): {key: row[key] for key in FOLDERS if isinstance(row.get(key), str)}
        for row in rows
    }


def _warn_of_missing(path: Path, known: dict[str, dict[str, str]]) -> None:
    """Warn of label maps and landmarks that the file lists and that are not there: pairs would lack them."""
    lost = [file for one in known.values() for file in one.values() if not (path.parent / file).is_file()]
    if lost:
        warnings.warn(
            f"{path}: {len(lost)} files that it lists are not there, the first is {lost[0]!r:.200}",
            stacklevel=2,
        )


def _cells(folder: Path, pair: dict[str, str], known: dict[str, dict[str, str]]) -> Cells:
    """The files of a pair."""
    cells: Cells = dict(pair)
    for cell, kinds in KINDS.items():
        for kind in kinds:
            files = [_file(folder, pair[side], kind, known.get(_stem(pair[side]), {})) for side in SIDES]
            if files[0] and files[1] and f"fixed_{cell}" not in cells:
                cells |= {f"{side}_{cell}": file for side, file in zip(SIDES, files, strict=True) if file}
    return cells


def _file(folder: Path, image: str, kind: str, listed: dict[str, str]) -> str | None:
    """File of a kind that belongs to an image, or None."""
    if kind in listed and (folder / listed[kind]).is_file():
        return listed[kind]
    beside = Path(re.sub(r"images(?=T[rs]/)", FOLDERS[kind], Path(image).as_posix()))
    if beside == Path(image):
        return None
    options = [beside.with_name(_stem(image) + ending) for ending in ENDINGS]
    return next((option.as_posix() for option in options if (folder / option).is_file()), None)


def _modalities(content: dict[str, Any], pair: dict[str, str]) -> Cells:
    """The modality of both images, where the file says it."""
    stated = content.get("modality")
    names = {str(k): str(v) for k, v in stated.items()} if isinstance(stated, dict) else {}
    if not names:
        return {}
    words = []
    for side in SIDES:
        number = re.search(r"_(\d{4})$", _stem(pair[side]))
        words.append(names.get(str(int(number[1])) if number else "", next(iter(names.values()))))
    return {f"{side}_modality": word for side, word in zip(SIDES, words, strict=True)}


def _stem(image: str) -> str:
    """The name of an image's file without its ending."""
    name = Path(image).name
    ending = next((end for end in VOLUMES if name.lower().endswith(end)), "")
    return name[: len(name) - len(ending)] if ending else Path(name).stem
