"""Outlines in the JSON files of labelme (Wada, 2016), one beside each image: ``"labelme:FOLDER"``.

``imagePath`` names the image, beside the JSON file or in another folder of FOLDER; an image inside the file
(``imageData``) is not read. ``shapes`` of the types polygon, rectangle and circle are objects, in order: the mask
numbers them from 1, a later one covers an earlier one, and each has its ``label`` for a name. Shapes with one
``group_id`` and label are one object. Points and lines are no objects and left out with a warning. Pixels are inside
where their centres are. An image of the folder without a JSON file is not read. A sample is named by the JSON file's
path without suffix.
"""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.boxes import are_coordinates, check_size, short
from visionrl.datasets.readers.files import (
    check_folder,
    check_inside,
    files_ending,
    plain_names,
    read_image,
    stated_path,
)
from visionrl.datasets.readers.instances import Part, filled, with_instances
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.text import read_json

AREAS = ("polygon", "rectangle", "circle")
LINES = ("point", "points", "line", "linestrip")
Outline = tuple[str, np.ndarray]  # kind, points


@register_format("labelme", kind=ImageSample)
def read_labelme(path: Path, options: ReadOptions) -> list[Entry]:
    """The images by the names of their JSON files.

    Raises:
        ValueError: there is none.
    """
    files = files_ending(check_folder(path), ".json", below=True)
    if not files:
        raise ValueError(f"{path} must hold labelme's JSON files, one an image, found none")
    names = plain_names([file.relative_to(path) for file in files])
    return [Entry(name, name, partial(_read, file, path)) for name, file in zip(names, files, strict=True)]


def _read(file: Path, root: Path) -> ImageSample:
    """An image with its outlines."""
    content = read_json(file)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise ValueError(f"{file} must be an object with a list 'shapes', as labelme writes it")
    stated = content.get("imagePath")
    if not isinstance(stated, str) or not stated:
        raise ValueError(f"{file}: imagePath must name the image, got {stated!r:.200}")
    image = file.parent / stated_path(stated)
    if not image.is_file():
        raise ValueError(f"{file}: the image {stated!r:.200} must lie beside it, found none at {image}")
    check_inside(image, root, where=file)
    pixels = read_image(image)
    sides = (content.get("imageWidth") or 0, content.get("imageHeight") or 0)
    if not all(type(side) in (int, float) for side in sides):
        raise ValueError(
            f"{file}: imageWidth and imageHeight must be numbers, got {sides[0]!r} and {sides[1]!r}"
        )
    check_size(*sides, pixels.shape, str(file))
    objects: dict[Any, tuple[str, list[Outline]]] = {}
    for number, shape in enumerate(content["shapes"]):
        label, outline = _outline(shape, f"{file}, shapes[{number}]")
        if outline is not None:
            group = shape.get("group_id")
            key = number if group is None else (label, str(group))
            objects.setdefault(key, (label, []))[1].append(outline)
    parts = (
        (number, _part(outline, pixels.shape[1:]))
        for number, (_, outlines) in enumerate(objects.values(), 1)
        for outline in outlines
    )
    return with_instances(ImageSample(pixels), [label for label, _ in objects.values()], parts)


def _outline(shape: Any, where: str) -> tuple[str, Outline | None]:
    """The label of a shape, and its kind and points; None for a point or a line.

    Raises:
        ValueError: it has no label or too few points, or a kind that labelme does not have.
    """
    label = shape.get("label") if isinstance(shape, dict) else None
    if not isinstance(label, str) or not label:
        raise ValueError(f"{where}: must be an object with a label, got {shape!r:.200}")
    kind = shape.get("shape_type") or "polygon"
    if kind not in (*AREAS, *LINES):
        raise ValueError(
            f"{where}: shape_type must be one of {', '.join((*AREAS, *LINES))}, got {kind!r:.100}"
        )
    if kind not in AREAS:
        warnings.warn(f"{where}: a {kind} holds no pixels and is left out", stacklevel=2)
        return label, None
    least, points = 3 if kind == "polygon" else 2, shape.get("points")
    pairs = isinstance(points, list) and all(are_coordinates(one) and len(one) == 2 for one in points)
    if not pairs or len(points) < least:
        raise ValueError(f"{where}: points must be {least} or more finite pairs (x, y), got {short(points)}")
    return label, (kind, np.array(points, float))


def _part(outline: Outline, size: tuple[int, ...]) -> Part:
    """The pixels of a polygon, a rectangle or a circle."""
    (kind, points), (height, width) = outline, size
    if kind == "circle":
        y, x = np.mgrid[:height, :width] + 0.5
        radius = np.hypot(*(points[1] - points[0]))
        return Part(0, 0, np.hypot(x - points[0, 0], y - points[0, 1]) <= radius)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points.min(0), points.max(0)
        points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    return filled(points, height, width)
