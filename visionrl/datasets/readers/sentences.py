"""Tables of sentences about images, and where such images lie: what the readers of captions and questions share."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np

from visionrl.datasets.readers.csv_titles import FILE_TITLES, INDEX
from visionrl.datasets.readers.files import (
    IMAGE_SUFFIXES,
    check_inside,
    files_ending,
    list_images,
    plain_names,
    read_image,
    stated_path,
)
from visionrl.datasets.stated_splits import split_lists, split_of
from visionrl.datasets.text import read_rows

FOLDERS = ("images", "Images")
"""Folders of images beside a table."""

IMAGE_TITLES = FILE_TITLES | {"image_id", "imageid", "photo", "picture_name"}

_HELD: WeakValueDictionary[tuple[Path, int], np.ndarray] = WeakValueDictionary()


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        where: file and line, for messages.
        split: train, val or test; empty where none is stated.
        image: path of the image as it is stated.
        cells: of the columns that were asked for; None for one that the table does not have.
    """

    where: str
    split: str
    image: str
    cells: tuple[str | None, ...]


def read_tables(path: Path, default: str, titles: Sequence[tuple[str, ...]]) -> list[tuple[Path, list[Row]]]:
    """The tables of a path with their rows: one, or one a split.

    Args:
        path: a CSV file, or a folder with ``default``, or with ``train.csv``, ``val.csv``, ..., or with one CSV file.
        default: name of the table.
        titles: of each column the titles that it may have, in small letters; the first column must be there.

    Raises:
        ValueError: there is no table, or one has no image column, lacks the first of the columns, or has a line with
            more or fewer cells than titles.
    """
    tables = {"": path} if path.is_file() else _tables_of(path, default)
    return [(file, _rows(file, split, titles)) for split, file in tables.items()]


def _tables_of(folder: Path, default: str) -> dict[str, Path]:
    """The table of a folder under "", or those of its splits."""
    tables = files_ending(folder, ".csv")
    if folder / default in tables:
        return {"": folder / default}
    if len(lists := split_lists(folder, ".csv")) == len(tables) >= 1:
        return lists
    if len(tables) != 1:
        found = ", ".join(table.name for table in tables) or "none"
        raise ValueError(
            f"{folder} must hold {default}, train.csv, val.csv, ..., or a single *.csv, found {found}"
        )
    return {"": tables[0]}


def _rows(file: Path, split: str, titles: Sequence[tuple[str, ...]]) -> list[Row]:
    """The rows of one table."""
    lines = read_rows(file)
    if len(lines) < 2:
        raise ValueError(f"{file} must have a header and one row or more, got {len(lines)} lines")
    header = [title.lower() for title in lines[0][1]]
    image, stated = _column(header, IMAGE_TITLES), _column(header, ("split",))
    places = [_column(header, one) for one in titles]
    if image is None or places[0] is None:
        wanted = ", ".join(["image"] * (image is None) + [titles[0][0]] * (places[0] is None))
        raise ValueError(f"{file} must have a column {wanted}, got {', '.join(lines[0][1]):.200}")
    known = {image, stated, *places}
    lost = [title for j, title in enumerate(header) if j not in known and title not in INDEX]
    if lost:
        warnings.warn(f"{file}: columns that are not read: {', '.join(lost[:10])}", stacklevel=2)
    found = []
    for line, row in lines[1:]:
        where = f"{file}, line {line}"
        if len(row) != len(header):
            raise ValueError(
                f"{where}: must have {len(header)} cells, got {len(row)}; a cell with a comma must be in quotes"
            )
        own = split if stated is None else split_of(row[stated])
        if stated is not None and not own:
            raise ValueError(f"{where}: split must be train, val or test, got {row[stated]!r:.50}")
        cells = tuple(None if place is None else row[place] for place in places)
        found.append(Row(where, own, stated_path(row[image]), cells))
    return found


def _column(header: Sequence[str], titles: Collection[str]) -> int | None:
    """The first column with one of some titles."""
    return next((j for j, title in enumerate(header) if title in titles), None)


@dataclass(frozen=True)
class Pictures:
    """The folders in which the images of a data set lie.

    Attributes:
        root: its folder.
        places: folders in which images are sought, besides those of a split's name.
    """

    root: Path
    places: tuple[Path, ...]

    @classmethod
    def beside(cls, file: Path) -> Pictures:
        """Images beside a table, in ``images``, or in a folder called as the table or the split is."""
        folders = [file.parent, *(file.parent / name for name in FOLDERS), file.with_suffix("")]
        return cls(file.parent, tuple(folders))

    def find(self, stated: str, split: str, where: str) -> Path:
        """The file of an image, whose suffix may be left out.

        Raises:
            ValueError: it is missing, or leads out of the data set; ``where`` begins the message.
        """
        if not stated:
            raise ValueError(f"{where}: must name an image, got an empty cell")
        places = (*self.places, *((self.root / split,) if split else ()))
        bare = Path(stated).suffix.lower() not in IMAGE_SUFFIXES
        for name in (stated, *((stated + suffix for suffix in IMAGE_SUFFIXES) if bare else ())):
            for place in places:
                if os.path.isfile(file := os.path.join(place, name)):
                    return check_inside(Path(file), self.root, where=where)
        looked = ", ".join(str(place) for place in places if place.is_dir())
        raise ValueError(f"{where}: picture {stated!r:.300} must lie in one of {looked}")

    def warn_unnamed(self, named: set[str], split: str, what: str) -> None:
        """Warn of images in the places that no row names."""
        places = [place for place in (*self.places, self.root / split) if place.is_dir()]
        files = dict.fromkeys(file for place in places for file in list_images(place))
        stems = {Path(name).name for name in named} | {Path(name).stem for name in named}
        lost = [file.name for file in files if file.name not in stems and file.stem not in stems]
        if lost:
            listed = ", ".join(lost[:5]) + (", ..." if len(lost) > 5 else "")
            warnings.warn(
                f"{self.root}: {len(lost)} images without {what} are left out: {listed}", stacklevel=2
            )


def placed_rows(
    path: Path, default: str, titles: Sequence[tuple[str, ...]], what: str
) -> list[tuple[Pictures, Row]]:
    """The rows of the tables of a path, each with where its image may lie; warns of images that no row names.

    Args:
        path: a table or a folder, as in ``read_tables``.
        default: name of the table.
        titles: of each column the titles that it may have, in small letters; the first column must be there.
        what: a row gives to an image, for the warning, such as "a caption".

    Raises:
        ValueError: as ``read_tables``.
    """
    tables = read_tables(path, default, titles)
    named = {row.image for _, rows in tables for row in rows}
    placed = []
    for file, rows in tables:
        pictures = Pictures.beside(file)
        placed += [(pictures, row) for row in rows]
        for split in {row.split for row in rows}:
            pictures.warn_unnamed(named, split, what)
    return placed


def titled(images: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The name of each image, of (split, stated path): the path without its suffix, with the split in front."""
    distinct = list(dict.fromkeys(images))
    names = plain_names([Path(stated) for _, stated in distinct])
    return {key: f"{key[0]}/{name}" if key[0] else name for key, name in zip(distinct, names, strict=True)}


def refuse_two_splits(rows: Sequence[tuple[Pictures, Row]]) -> None:
    """Refuse an image that two splits have; one that is missing is a bad sample later.

    Args:
        rows: of each image and split one or more.

    Raises:
        ValueError: names the file and line of both.
    """
    files: dict[Path, Row] = {}
    seen: set[tuple[str, str]] = set()
    for pictures, row in rows:
        if not row.split or (row.split, row.image) in seen:
            continue
        seen.add((row.split, row.image))
        try:
            file = pictures.find(row.image, row.split, row.where)
        except ValueError:
            continue
        before = files.setdefault(file.resolve(), row)
        if before.split != row.split:
            raise ValueError(
                f"{row.where}: image {file.name} must be in one split, it is in {before.split} ({before.where}) "
                f"and {row.split}"
            )


def shared_image(file: Path) -> np.ndarray:
    """(C, H, W) uint8 image of a file, the same array as long as somebody holds it; read-only."""
    key = file.resolve(), file.stat().st_mtime_ns
    image = _HELD.get(key)
    if image is None:
        image = _HELD[key] = read_image(file)
        image.flags.writeable = False
    return image
