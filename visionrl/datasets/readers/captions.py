"""Captions of images: ``"captions:FOLDER"``, ``"flickr8k:FOLDER"`` and ``"coco-captions:FOLDER"``.

``captions:``, a folder or a CSV file. In a folder the table is ``captions.csv``, or ``train.csv``, ``val.csv``, ...
(these are the splits), or the only CSV file. It has a line a caption, with a column ``image`` (or ``file``, ...) and a
column ``caption`` (or ``text``, ``sentence``, ...); a column ``split`` may be there. Images lie beside it, in
``images``, or in a folder of the table's or the split's name; the suffix may be left out.

``flickr8k:``, as Flickr8k and Flickr30k are distributed (Hodosh et al., 2013): ``captions.txt`` (``image,caption``) or
``*.token.txt`` or ``*.token`` (``NAME.jpg#0<TAB>caption``), but not ``*.lemma.token.txt``, images in ``Images``,
``Flicker8k_Dataset``, ... or beside; the lists ``Flickr_8k.trainImages.txt``, ``...devImages.txt``,
``...testImages.txt``, if they are there, are the splits, and what they do not name is left out. Folders in the folder
are searched for all these files.

``coco-captions:``, the JSON files ``captions_*.json`` of COCO (Chen et al., 2015); images and splits as for ``coco:``.

One sample is one image with all its captions, named by the image's path without suffix. An image that is missing, or a
caption without a word, is a bad sample; images that no line names are left out with a warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.coco import (
    File,
    check_image_id,
    coco_parts,
    find_picture,
    named,
    stated_split,
)
from visionrl.datasets.readers.files import (
    check_folder,
    files_below,
    folders_below,
    has_suffix,
    plain_names,
    read_image,
    stated_path,
)
from visionrl.datasets.readers.sentences import (
    Pictures,
    Row,
    placed_rows,
    read_tables,
    refuse_two_splits,
    titled,
)
from visionrl.datasets.samples import CaptionSample
from visionrl.datasets.splits import split_of
from visionrl.datasets.text import read_json, read_lines
from visionrl.datasets.validate_language import check_sentence

TITLES = ("caption", "captions", "text", "sentence", "description", "comment")
LEMMAS = (".lemma.token.txt", ".lemma.token")  # their words are without their endings
TOKENS = (".token.txt", ".token")


@register_format("captions", kind=CaptionSample, own_splits=True)
def read_captions(path: Path, options: ReadOptions) -> list[Entry]:
    """The images in the order of the table.

    Raises:
        ValueError: there is no table, or a line breaks a rule; the message names file and line.
    """
    return _entries(placed_rows(path, "captions.csv", [TITLES], "a caption"))


def _entries(rows: Sequence[tuple[Pictures, Row]]) -> list[Entry]:
    """One entry an image."""
    groups: dict[tuple[str, str], list[tuple[Pictures, Row]]] = {}
    for pictures, row in rows:
        groups.setdefault((row.split, row.image), []).append((pictures, row))
    refuse_two_splits([some[0] for some in groups.values()])
    names = titled(list(groups))
    return [Entry(names[key], names[key], partial(_read, some), key[0]) for key, some in groups.items()]


def _read(rows: Sequence[tuple[Pictures, Row]]) -> CaptionSample:
    """One image with its captions."""
    pictures, first = rows[0]
    for _, row in rows:
        check_sentence(row.cells[0], f"{row.where}: caption")
    file = pictures.find(first.image, first.split, first.where)
    return CaptionSample(read_image(file), [str(row.cells[0]) for _, row in rows])


@register_format("flickr8k", kind=CaptionSample, own_splits=True)
def read_flickr8k(path: Path, options: ReadOptions) -> list[Entry]:
    """The images in the order of the file of captions.

    Raises:
        ValueError: there is no such file, or a line breaks a rule; the message names file and line.
    """
    files = files_below(check_folder(path))
    tokens = [file for file in files if has_suffix(file, TOKENS) and not has_suffix(file, LEMMAS)]
    tables = [file for file in files if file.name.lower() == "captions.txt"]
    if not tokens and not tables:
        raise ValueError(f"{path} must hold captions.txt or *.token.txt, found neither")
    pictures = Pictures(path, (path, *folders_below(path)))
    rows = _tokens(tokens[0]) if tokens else read_tables(tables[0], "captions.txt", [TITLES])[0][1]
    lists = {
        split_of(file.stem.split(".")[-1].removesuffix("Images")): file for file in files if _is_list(file)
    }
    lists.pop("", None)
    splits: dict[str, str] = {}
    for split, file in lists.items():
        for line, name in read_lines(file):
            if splits.setdefault(name, split) != split:
                raise ValueError(
                    f"{file}, line {line}: image {name} must be in one split, it is in {splits[name]}, too"
                )
    chosen = [Row(row.where, splits.get(row.image, ""), row.image, row.cells) for row in rows]
    kept = [row for row in chosen if row.split] if splits else chosen
    if splits and (lost := sorted(set(splits) - {row.image for row in rows})):
        raise ValueError(
            f"{path}: images of the lists must have captions, got none for {', '.join(lost[:5])}"
        )
    return _entries([(pictures, row) for row in kept])


def _is_list(file: Path) -> bool:
    """True for a list of the images of a split, such as ``Flickr_8k.trainImages.txt``."""
    return file.name.lower().endswith("images.txt")


def _tokens(file: Path) -> list[Row]:
    """The lines of a file of captions with numbers: ``NAME.jpg#0<TAB>caption``."""
    found = []
    for line, text in read_lines(file):
        name, tab, caption = text.partition("\t")
        image, mark, number = name.rpartition("#")
        if not tab or not mark or not number.isdigit():
            raise ValueError(
                f"{file}, line {line}: must be NAME#NUMBER, a tab and a caption, got {text!r:.100}"
            )
        found.append(Row(f"{file}, line {line}", "", stated_path(image), (caption,)))
    return found


@register_format("coco-captions", kind=CaptionSample, own_splits=True)
def read_coco_captions(path: Path, options: ReadOptions) -> list[Entry]:
    """The images of a data set in the order of its files; where they have splits, only the asked one is opened.

    Raises:
        ValueError: there is no file, or one breaks a rule; the message names the file and the place in it.
    """
    parts = coco_parts(path, "captions_")
    asked = [part for part in parts if part.split == options.split]
    return [entry for part in asked or parts for entry in _coco_entries(part)]


def _coco_entries(part: File) -> list[Entry]:
    """One entry an image of one JSON file; images without a caption are left out, as those of COCO's test part."""
    content = read_json(part.file)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(k), list) for k in ("images", "annotations")
    ):
        raise ValueError(f"{part.file} must be a JSON object with the lists 'images' and 'annotations'")
    names = named(content, part.file, "images", "file_name")
    captions: dict[Any, list[tuple[str, Any]]] = {key: [] for key in names}
    for number, row in enumerate(content["annotations"]):
        where = f"{part.file}, annotations[{number}]"
        check_image_id(row, where, names)
        captions[row["image_id"]].append((where, row.get("caption")))
    described = [image for image in content["images"] if captions[image["id"]]]
    stems = plain_names([Path(stated_path(image["file_name"])) for image in described])
    entries = []
    for image, stem in zip(described, stems, strict=True):
        split = part.split or stated_split(image)
        name = f"{split}/{stem}" if split else stem
        entries.append(Entry(name, name, partial(_coco_read, part, image, captions[image["id"]]), split))
    return entries


def _coco_read(part: File, image: dict, captions: Sequence[tuple[str, Any]]) -> CaptionSample:
    """One image with its captions."""
    for where, caption in captions:
        check_sentence(caption, f"{where}: caption")
    file = find_picture(part, image["file_name"], f"{part.file}, image {image['id']}")
    return CaptionSample(read_image(file), [caption for _, caption in captions])
