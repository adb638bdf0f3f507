"""Images without labels: ``"images:FOLDER"``, for tasks whose truth is the image itself.

All pictures in FOLDER and below it are read. Where it holds ``train``, ``val`` or ``test``, in any usual spelling (see
``stated_splits``), these are the splits. A sample is named by its path in FOLDER without the suffix, and is a subject
of its own.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import (
    IMAGE_SUFFIXES,
    check_folder,
    images_below,
    plain_names,
    read_image,
    warn_unread,
)
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.stated_splits import split_folders


@register_format("images", kind=ImageSample, own_splits=True)
def read_images(path: Path, options: ReadOptions) -> list[Entry]:
    """The images by path.

    Raises:
        ValueError: there is no image.
    """
    splits = split_folders(check_folder(path))
    warn_unread(path)
    places = splits or {"": path}
    found = [(file, split) for split, place in places.items() for file in images_below(place)]
    if not found:
        raise ValueError(f"{path} must hold pictures: looked for {', '.join(IMAGE_SUFFIXES)}")
    names = plain_names([file.relative_to(path) for file, _ in found])
    return [
        Entry(name, name, partial(_read, file, name), split)
        for name, (file, split) in zip(names, found, strict=True)
    ]


def _read(file: Path, name: str) -> ImageSample:
    """One image."""
    return ImageSample(read_image(file), name=name)
