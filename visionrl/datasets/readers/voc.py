"""Boxes in the XML files of Pascal VOC (Everingham et al., 2010): ``"voc:FOLDER"``.

FOLDER is one of

* ``annotations/*.xml`` (or ``Annotations``, ``annots``, ``xmls``, ``annotations/xmls``, ``labels``) with the images
  in ``images`` or ``JPEGImages``, or the XML files beside their images;
* a year of the VOCdevkit: ``Annotations``, ``JPEGImages`` and ``ImageSets/Main``. The lists train.txt, val.txt and
  test.txt there are the splits (see ``stated_splits``); where train.txt and val.txt are missing, trainval.txt is
  train. What is in none of them is left out. Other lists are ignored;
* folders ``train``, ``val`` and ``test`` (see ``stated_splits``), which hold one of these each and are the splits;
* folders of other names, such as ``VOC2007`` and ``VOC2012``, that hold ``Annotations``: read together.

The image of an XML file is the one of the same stem, else the one that it names in ``<filename>``. An image
without an XML file is left out. A sample is named by the stem, with the folders in front, and is a subject of its own.

VOC counts pixels from 1, and its xmax and ymax are the last pixels inside: the edges are x0 = xmin - 1, x1 = xmax,
and likewise in y. xmin < xmax and ymin < ymax must hold. What reaches out of the image by up to 2 pixels or 1 % is
cut off. Objects marked ``difficult``, ``truncated`` or ``occluded`` are objects like any others; the ``<part>`` of an
object is not read. An XML file without objects is an image without objects.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.boxes import Box, check_size, fit_box
from visionrl.datasets.readers.files import (
    IMAGE_SUFFIXES,
    check_folder,
    files_ending,
    find_beside,
    read_image,
    stated_path,
)
from visionrl.datasets.readers.xml_tree import Node, read_xml
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.stated_splits import listed_splits, split_folders

FOLDERS = ("Annotations", "annotations/xmls", "annotations", "annots", "xmls", "labels")
PICTURES = ("JPEGImages", "images", "Images")


@register_format("voc", kind=ImageSample, own_splits=True)
def read_voc(path: Path, options: ReadOptions) -> list[Entry]:
    """The XML files of a folder by name.

    Raises:
        ValueError: there is none, or a list names what is not there.
    """
    splits = split_folders(path)
    if splits:
        return [
            _renamed(entry, split, split)
            for split, folder in splits.items()
            for entry in _set(folder, required=True)
        ]
    entries = _set(path)
    if entries:
        return entries
    years = sorted(child for child in path.iterdir() if any((child / name).is_dir() for name in FOLDERS))
    if not years:
        raise ValueError(
            f"{path} must hold Pascal VOC's XML files: looked for annotations/*.xml, Annotations/*.xml, *.xml, "
            "and the same in its folders; found none"
        )
    return [_renamed(entry, year.name, entry.split) for year in years for entry in _set(year, required=True)]


def _renamed(entry: Entry, folder: str, split: str) -> Entry:
    """The entry with a folder in front of its names, and a split."""
    return replace(entry, name=f"{folder}/{entry.name}", subject=f"{folder}/{entry.subject}", split=split)


def _set(path: Path, required: bool = False) -> list[Entry]:
    """The entries of one folder with XML files."""
    folder = next((path / name for name in FOLDERS if (path / name).is_dir()), path)
    files = files_ending(check_folder(folder), ".xml", below=folder != path)
    if not files and (required or folder != path):
        raise ValueError(f"{folder} must hold XML files, found none")
    places = [folder, *(path / name for name in PICTURES if (path / name).is_dir()), path]
    names = [file.relative_to(folder).with_suffix("").as_posix() for file in files]
    inner = [file.relative_to(folder).parent for file in files]
    entries = [
        Entry(
            name,
            name,
            partial(_read, file, list(dict.fromkeys((*(place / at for place in places), *places)))),
        )
        for file, name, at in zip(files, names, inner, strict=True)
    ]
    stated = listed_splits(path, [(entry.name, entry.subject) for entry in entries])
    return [replace(entry, split=stated[entry.name]) for entry in entries if entry.name in stated] or entries


def _read(file: Path, places: list[Path]) -> ImageSample:
    """The image of an XML file with its boxes."""
    root = read_xml(file)
    if root.tag != "annotation":
        raise ValueError(f"{root.where}: the root must be <annotation>, got <{root.tag}>")
    image = read_image(_picture(file, root, places))
    for size in root.all("size"):
        check_size(size.number("width"), size.number("height"), image.shape, size.where)
    objects = root.all("object")
    boxes = [_box(node, image.shape) for node in objects]
    return ImageSample(image, np.reshape(np.array(boxes, float), (-1, 4)), [_name(node) for node in objects])


def _picture(file: Path, root: Node, places: list[Path]) -> Path:
    """The image of an XML file: the same stem, else its <filename>."""
    for place in places:
        if picture := find_beside(place / file.name, IMAGE_SUFFIXES):
            return picture
    stated = [Path(stated_path(node.text)).name for node in root.all("filename") if node.text]
    named = [place / name for name in stated for place in places if (place / name).is_file()]
    if not named:
        looked = ", ".join(map(str, dict.fromkeys(places)))
        raise ValueError(
            f"{file} must have a picture {file.stem}.jpg (or .png, ...) or {' '.join(stated) or '<filename>'}; "
            f"looked in {looked}"
        )
    return named[0]


def _name(node: Node) -> str:
    """The class of an object."""
    name = node.one("name")
    if not name.text:
        raise ValueError(f"{name.where}: <name> must not be empty")
    return name.text


def _box(node: Node, shape: tuple[int, ...]) -> Box:
    """The edges of an object's box."""
    box = node.one("bndbox")
    x0, y0, x1, y1 = (box.number(tag) for tag in ("xmin", "ymin", "xmax", "ymax"))
    if x0 >= x1 or y0 >= y1:
        raise ValueError(
            f"{box.where}: <bndbox> must have xmin < xmax and ymin < ymax, got {x0:g} {y0:g} {x1:g} {y1:g}"
        )
    return fit_box((x0 - 1, y0 - 1, x1, y1), shape[2], shape[1], box.where)
