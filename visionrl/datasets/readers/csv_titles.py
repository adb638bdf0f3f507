"""Titles of landmark tables: which column is which; ``readers.csv_points`` says the rules."""

from __future__ import annotations

import re
from pathlib import Path

from visionrl.datasets.splits import split_of

AXES = {
    **dict.fromkeys(("x", "col", "column"), "x"),
    **dict.fromkeys(("y", "row"), "y"),
    **dict.fromkeys(("z", "depth"), "z"),
    **dict.fromkeys(("v", "vis", "visible", "visibility"), "v"),
    **dict.fromkeys(
        ("conf", "confidence", "score", "likelihood", "prob", "probability", "occluded", "occ"), "-"
    ),
}
WORDS = "|".join(sorted(AXES, key=len, reverse=True))
UNIT = re.compile(
    r"(.+?)[ _]?(?:[(\[] ?([a-zµμ%]+\.?) ?[)\]]|(?<=[xyXY]_)(mm|cm|um|px))"
)  # nose_x [px], x_mm
BEHIND = re.compile(rf"(.+?)[_ .\-:/]+({WORDS})|(\d+)({WORDS})", re.IGNORECASE)  # nose_x, 0x
BEFORE = re.compile(rf"({WORDS})[_ .\-:/]+(.+)|({WORDS})(\d+)", re.IGNORECASE)  # x_nose, x0
INDEX = ("", "index", "id", "image_id", "unnamed: 0", "no", "no.", "nr", "#")
ABOUT = {"age", "sex", "gender", "score"}
PIXELS = ("px", "pixel", "pixels", "pix")
FILE_TITLES = {
    *(
        "file",
        "files",
        "filename",
        "file_name",
        "file name",
        "image",
        "image_name",
        "img",
        "img_name",
        "picture",
    ),
    *(
        "path",
        "filepath",
        "file_path",
        "image_path",
        "img_path",
        "image_file",
        "imagefile",
        "imagename",
        "frame_path",
    ),
}
SPLIT_TITLES = ("split", "set", "subset", "partition")
SIDES = {"width": 2, "image_width": 2, "img_width": 2, "height": 1, "image_height": 1, "img_height": 1}
LONG = {
    "landmark",
    "landmark_name",
    "keypoint",
    "bodypart",
    "point",
    "point_name",
    "label",
    "name",
    "feature",
}


def cell_of(row: list[str], index: int) -> str:
    """A cell of a row, empty where the row is too short."""
    return row[index] if index < len(row) else ""


def path_column(titles: list[str]) -> int:
    """The column of the images: the first, but where that is an index or a coordinate and another is of files."""
    named = [j for j, title in enumerate(titles) if title in FILE_TITLES]
    first = titles[0] in INDEX or titles[0] in AXES or BEHIND.fullmatch(titles[0])
    return named[0] if named and first else 0


def split_column(titles: list[str], rows: list[list[str]], path: int) -> int | None:
    """The column of the splits; one called ``set`` or so counts where all its cells are splits."""
    for j, title in enumerate(titles):
        stated = title in SPLIT_TITLES and all(split_of(cell_of(row, j)) for row in rows)
        if j != path and (stated or title == "split"):
            return j
    return None


def axis_of(title: str, titles: list[str], file: Path) -> tuple[str, str]:
    """The point and the axis of a title: x, y, z, v, or - for what is not used; empty where it is none.

    Raises:
        ValueError: it states another unit than pixels.
    """
    name, axis = _axis(title)
    if axis:
        return name, axis
    if match := UNIT.fullmatch(title):
        stem, unit = match[1], (match[2] or match[3]).lower()
        name, axis = _axis(f"{stem}_{unit}" if unit in AXES else stem)
        if axis in ("x", "y", "z") and unit not in (*PIXELS, *AXES):
            raise ValueError(f"{file}: coordinates must be in pixels, got the column {title!r:.100}")
        return name, axis
    for stem, letter in ((title[:-1], title[-1:]), (title[1:], title[:1])):  # noseX, Xnose, both with their Y
        pairs = [(f"{stem}X", f"{stem}Y"), (f"X{stem}", f"Y{stem}")]
        if (
            stem
            and letter in ("X", "Y")
            and any(title in pair and set(pair) <= set(titles) for pair in pairs)
        ):
            return stem, letter.lower()
    return "", ""


def _axis(title: str) -> tuple[str, str]:
    """The point and the axis of a title without a unit."""
    if title.lower() in AXES:
        return "0", AXES[title.lower()]
    if match := BEHIND.fullmatch(title):
        return match[1] or match[3], AXES[(match[2] or match[4]).lower()]
    if match := BEFORE.fullmatch(title):
        return match[2] or match[4], AXES[(match[1] or match[3]).lower()]
    return "", ""
