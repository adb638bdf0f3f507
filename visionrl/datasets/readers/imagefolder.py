"""Images in one folder a class, as torchvision's ``ImageFolder`` has them: ``"imagefolder:FOLDER"``.

FOLDER holds ``cat/1.jpg``, ``cat/more/2.png``, ``dog/3.jpg``, ...: the name of the folder is the class of all
images in it and below it. Where FOLDER holds ``train``, ``val`` or ``test`` instead, in any usual spelling (see
``stated_splits``), and these the classes, they are the splits; so they are where every class has them inside
(``cat/train/1.jpg``). A sample is named by its path in FOLDER, with the split in front, and is a subject of its own.
Folders that only look like splits are classes: ``valid`` beside ``invalid``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import (
    IMAGE_SUFFIXES,
    check_folder,
    images_below,
    list_folders,
    read_image,
    warn_unread,
)
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.stated_splits import split_folders, split_of


@register_format("imagefolder", kind=ImageSample, own_splits=True)
def read_imagefolder(path: Path, options: ReadOptions) -> list[Entry]:
    """The images by class and path; ``labels`` is the class.

    Raises:
        ValueError: there is no folder of a class, or one without images; or splits and classes lie side by side.
    """
    folders, splits = list_folders(check_folder(path)), split_folders(path)
    warn_unread(path)
    if splits and ("train" in splits or len(splits) == len(folders)):
        lost = [folder.name for folder in folders if folder not in splits.values() and images_below(folder)]
        if lost:
            raise ValueError(
                f"{path} must hold folders of splits or of classes, got the splits {', '.join(splits)} beside "
                f"{', '.join(lost[:5])}"
            )
        return [entry for split, place in splits.items() for entry in _classes(place, split)]
    inside = {folder: split_folders(folder) for folder in folders}
    several = [folder for folder, parts in inside.items() if len(parts) > 1]
    if several and (len(folders) == 1 or not all(inside.values())):
        raise ValueError(
            f"{several[0]} must be the folder of one class, it holds the splits {', '.join(inside[several[0]])}; "
            "is it the data set?"
        )
    if several:
        places = [
            (folder, split, place) for folder, parts in inside.items() for split, place in parts.items()
        ]
        return [entry for folder, split, place in places for entry in _entries(folder, split, place)]
    return _classes(path, "")


def _classes(path: Path, split: str) -> list[Entry]:
    """The images of all classes in a folder."""
    folders = list_folders(path)
    if split and len(folders) == 1 and (folders[0].name == path.name or split_of(folders[0].name) == split):
        folders = list_folders(folders[0]) or folders  # seg_train/seg_train/CLASS
    if not folders:
        raise ValueError(f"{path} must hold one folder a class, with its pictures; found no folder")
    return [entry for folder in folders for entry in _entries(folder, split, folder)]


def _entries(folder: Path, split: str, place: Path) -> list[Entry]:
    """The images of one class and split, which lie in a place in its folder."""
    files = images_below(place)
    if not files:
        raise ValueError(
            f"the class folder {place} must hold pictures: looked for {', '.join(IMAGE_SUFFIXES)}"
        )
    names = ["/".join((folder.name, file.relative_to(place).as_posix())) for file in files]
    names = [f"{split}/{name}" if split else name for name in names]
    return [
        Entry(name, name, partial(_read, file, folder.name), split)
        for name, file in zip(names, files, strict=True)
    ]


def _read(file: Path, label: str) -> ImageSample:
    """An image with its class."""
    return ImageSample(read_image(file), labels=(label,))
