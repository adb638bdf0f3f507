"""Images in one folder a class, as torchvision's ``ImageFolder`` has them: ``"imagefolder:FOLDER"``.

FOLDER holds ``cat/1.jpg``, ``cat/more/2.png``, ``dog/3.jpg``, ...: the name of the folder is the class of all
images in it and below it. Where FOLDER holds ``train``, ``val`` or ``test`` instead, and these the classes, they
are the splits. A sample is named by its path in FOLDER, and is a subject of its own.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import IMAGE_SUFFIXES, check_folder, read_image
from visionrl.datasets.samples import ImageSample


@register_format("imagefolder", kind=ImageSample)
def read_imagefolder(path: Path, options: ReadOptions) -> list[Entry]:
    """The images by class and path; ``labels`` is the class.

    Raises:
        ValueError: there is no folder of a class, or one without images.
    """
    children = sorted(check_folder(path).iterdir())
    folders = [child for child in children if child.is_dir() and not child.name.startswith(".")]
    if not folders:
        raise ValueError(f"{path} must hold one folder a class, with its pictures; found no folder")
    return [entry for folder in folders for entry in _entries(folder)]


def _entries(folder: Path) -> list[Entry]:
    """The images of one class."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    files = [file for file in files if not file.name.startswith(".")]
    if not files:
        raise ValueError(
            f"the class folder {folder} must hold pictures: looked for {', '.join(IMAGE_SUFFIXES)}"
        )
    names = [file.relative_to(folder.parent).as_posix() for file in files]
    return [
        Entry(name, name, partial(_read, file, folder.name)) for name, file in zip(names, files, strict=True)
    ]


def _read(file: Path, label: str) -> ImageSample:
    """An image with its class."""
    return ImageSample(read_image(file), labels=(label,))
