"""Good and defective parts in the folders of MVTec-AD: ``"mvtec:FOLDER"``.

FOLDER is that of one product: ``train/good/*.png``, ``test/good/*.png``, ``test/KIND/NAME.png`` with the masks
``ground_truth/KIND/NAME_mask.png``. ``labels`` of a sample is its folder, the kind of defect or "good"; a mask is of
its image's size, 0 is good, and a defect without one has an unknown place. Folders below ``train`` other than ``good``
are defects that are known, with masks likewise.

The official split has no part for validation: every fifth good image of ``train``, by name, is in "val", unless there
is a folder ``validation`` or ``val``. A ``split_file`` cuts the whole anew, by names such as ``test/crack/003``, for
instance to train on some of the defects.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import (
    check_folder,
    images_below,
    list_folders,
    plain_names,
    read_image,
    warn_unread,
)
from visionrl.datasets.readers.greys import read_greys
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.stated_splits import split_folders

GOOD = "good"
HELD_OUT = 5  # one good training image of so many is for validation where there is no such folder


@register_format("mvtec", kind=ImageSample, own_splits=True)
def read_mvtec(path: Path, options: ReadOptions) -> list[Entry]:
    """The images by split, kind and name; no file is opened.

    Raises:
        ValueError: there is no folder ``train/good`` with images, or no ``test``; a mask has no image.
    """
    folders = split_folders(check_folder(path))
    warn_unread(path)
    for split in ("train", "test"):
        if split not in folders:
            products = [child.name for child in list_folders(path) if split_folders(child)]
            hint = f"; is it one of {', '.join(products[:5])}?" if products else ""
            raise ValueError(f"{path} must hold the folders train/{GOOD} and test, it has no {split!r}{hint}")
    if not images_below(folders["train"] / GOOD):
        raise ValueError(f"{folders['train'] / GOOD} must hold images of good parts, found none")
    entries, used = [], set[Path]()
    for split, folder in folders.items():
        for kind in list_folders(folder):
            files = images_below(kind)
            names = plain_names([file.relative_to(path) for file in files])
            for number, (file, name) in enumerate(zip(files, names, strict=True)):
                held = split == "train" and "val" not in folders and kind.name == GOOD
                own = "val" if held and number % HELD_OUT == HELD_OUT - 1 and len(files) > 1 else split
                mask = mask_of(path, file, kind)
                used |= {mask} if mask else set()
                entries.append(Entry(name, name, partial(read_part, file, kind.name, mask), own))
    masks = set(images_below(path / "ground_truth")) if (path / "ground_truth").is_dir() else set()
    if lost := sorted(masks - used):
        raise ValueError(f"every mask must have an image of its name, found none for {lost[0]}")
    return entries


def mask_of(path: Path, file: Path, kind: Path) -> Path | None:
    """The mask of an image, if there is one."""
    inside = file.relative_to(kind)
    folder = path / "ground_truth" / kind.name / inside.parent
    found = [folder / f"{file.stem}{end}.png" for end in ("_mask", "")]
    return next((one for one in found if one.is_file()), None)


def read_part(file: Path, kind: str, mask: Path | None) -> ImageSample:
    """One image with its mask.

    Raises:
        ValueError: the mask has another size than its image, marks nothing, or marks something on a good part.
    """
    image = read_image(file)
    _, height, width = image.shape
    if mask is None:
        return ImageSample(
            image, labels=(kind,), mask=np.zeros((height, width), np.uint8) if kind == GOOD else None
        )
    marked = (read_greys(mask, "mask", grey_rgb=True) > 0).astype(np.uint8)
    if marked.shape != (height, width):
        raise ValueError(
            f"mask {mask} must have the size of its image, {width} x {height}, got "
            f"{marked.shape[1]} x {marked.shape[0]}"
        )
    if not marked.any():
        raise ValueError(f"mask {mask} must show the defect of its image, got an empty one")
    return ImageSample(image, labels=(kind,), mask=marked)
