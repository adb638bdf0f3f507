"""Images and masks of one name: ``"masks:FOLDER"``.

FOLDER holds a folder of images (``images``, ``imgs``, ``JPEGImages``, ...) and one of masks (``masks``, ``labels``,
``annotations``, ``SegmentationClass``, ``gt``, ...), or both lie in it, and masks end in ``_mask``, ``-seg``,
``_label`` or alike. A mask has the name of its image, with or without such an end. Folders below the two, of the same
names in both, may be splits: ``images/train/1.jpg``, ``masks/train/1.png``.

A mask holds a label a pixel, 0 is background: palette indices, or greys of any value, stored without loss. A mask of
0 and 255 alone has one object, label 1; 255 beside smaller labels is void, which counts as background. Colours are
refused unless ``labels.txt`` states them. Soft edges are refused. A mask must have the size of its image.

Names of labels come from ``labels.txt`` (or ``classes.txt``): a line a name, from label 1 on, or from 0 on where the
first is "background"; or a number and a name a line; or three numbers, the colour, and a name (or the name first), as
CamVid has them. Or from ``labels.csv``, ``labels.json`` or ``dataset.json``. A label without a name there is refused;
where there is no such file, labels are called by their numbers. A sample is named by its path in the folder of images
without suffix, and is a subject of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import (
    IMAGE_SUFFIXES,
    check_folder,
    is_palette,
    plain_names,
    read_greys,
    read_image,
    warn_unread,
)
from visionrl.datasets.readers.label_maps import VOID, labels_of
from visionrl.datasets.readers.scans import LABEL_ENDS, label_names
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.stated_splits import split_of
from visionrl.datasets.text import read_lines

IMAGES = ("images", "image", "imgs", "img", "jpegimages", "pictures", "rgb", "frames", "input", "inputs")
MASKS = (
    *("masks", "mask", "labels", "label", "annotations", "annotation", "segmentationclass", "segmentation"),
    *("segmentations", "segmentationobject", "gt", "groundtruth", "ground_truth", "targets", "target"),
)
NAMES = ("labels.txt", "classes.txt", "label_colors.txt")
BACKGROUND = ("background", "_background_", "void", "unlabelled", "unlabeled")

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Names:
    """What a folder says of its labels.

    Attributes:
        names: label -> name; empty where it says nothing.
        colours: (R, G, B) -> label, where masks are coloured.
        file: that says so; None where there is none.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[Colour, int] = field(default_factory=dict)
    file: Path | None = None


@register_format("masks", kind=ImageSample)
def read_masks(path: Path, options: ReadOptions) -> list[Entry]:
    """The images with their masks, by path; no file is opened but those that name labels.

    Raises:
        ValueError: there are no such folders, or an image has no mask, or a mask no image.
    """
    check_folder(path)
    warn_unread(path)
    images, masks = folders_of(path)
    pairs, names = paired(images, masks), names_in(path, masks)
    inside = [image.relative_to(images) for image, _ in pairs]
    stated = [split_of(place.parts[0]) if len(place.parts) > 1 else "" for place in inside]
    splits = stated if all(stated) else [""] * len(stated)
    return [
        Entry(name, name, partial(read_pair, *pair, names), split)
        for name, pair, split in zip(plain_names(inside), pairs, splits, strict=True)
    ]


def folders_of(path: Path) -> tuple[Path, Path]:
    """The folders of images and of masks; twice the same where both lie in one.

    Raises:
        ValueError: there is one of the two alone.
    """
    children = {child.name.lower(): child for child in sorted(path.iterdir()) if child.is_dir()}
    images, masks = (
        next((children[name] for name in names if name in children), None) for names in (IMAGES, MASKS)
    )
    if images is None and masks is None:
        return path, path
    if images is None or masks is None:
        what, known = ("images", IMAGES) if images is None else ("masks", MASKS)
        raise ValueError(
            f"{path} must hold a folder of {what} ({', '.join(known[:6])}, ...), got {', '.join(children)}"
        )
    return images, masks


def pictures(folder: Path) -> list[Path]:
    """The images in a folder and below it, by path, without hidden ones."""
    found = (file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(
        file for file in found if not any(part[0] == "." for part in file.relative_to(folder).parts)
    )


def read_partly_masked(path: Path) -> list[ImageSample]:
    """The images of a folder, with masks as ``read_masks`` finds them; an image without one has none.

    Raises:
        ValueError: there is no image, or a mask without one, or a mask is not what ``read_masks`` takes.
    """
    check_folder(path)
    images, masks = folders_of(path)
    pairs, names = partly_paired(images, masks), names_in(path, masks)
    named = zip(pairs, plain_names([image.relative_to(images) for image, _ in pairs]), strict=True)
    return [
        replace(read_pair(image, mask, names) if mask else ImageSample(read_image(image)), name=name)
        for (image, mask), name in named
    ]


def paired(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    """Each image with its mask.

    Raises:
        ValueError: there is none, or one is left over, or an image has two masks.
    """
    every = partly_paired(images, masks)
    if lacking := [image for image, mask in every if mask is None]:
        raise ValueError(f"every image must have a mask of its name in {masks}, found none for {lacking[0]}")
    return [(image, mask) for image, mask in every if mask]


def partly_paired(images: Path, masks: Path) -> list[tuple[Path, Path | None]]:
    """Each image with its mask, or None.

    Raises:
        ValueError: there is no image, or a mask without one, or an image has two masks.
    """
    if images == masks:
        every = pictures(images)
        marked = {file for file in every if bare(file.stem) != file.stem}
        found, labelled = [file for file in every if file not in marked], sorted(marked)
    else:
        found, labelled = pictures(images), pictures(masks)
    by_name: dict[str, Path] = {}
    for file in labelled:
        place = file.relative_to(masks)
        for key in {str(place.with_name(bare(place.stem))), str(place.with_suffix(""))}:
            if by_name.setdefault(key, file) != file:
                raise ValueError(f"an image must have one mask, got {by_name[key]} and {file}")
    keys = [str(file.relative_to(images).with_suffix("")) for file in found]
    if not found:
        raise ValueError(f"every image must have a mask of its name in {masks}, found no image in {images}")
    pairs = [(file, by_name.get(key)) for file, key in zip(found, keys, strict=True)]
    if alone := sorted(set(labelled) - {mask for _, mask in pairs}):
        raise ValueError(f"every mask must have an image of its name in {images}, found none for {alone[0]}")
    return pairs


def bare(name: str) -> str:
    """A mask's name without an end such as ``_mask``."""
    end = next((end for end in sorted(LABEL_ENDS, key=len, reverse=True) if name.lower().endswith(end)), "")
    return name[: len(name) - len(end)] or name


def names_in(path: Path, masks: Path) -> Names:
    """What a data set says of its labels, in its folder or in that of the masks; of a split's folder, above it too.

    Raises:
        ValueError: a line is malformed, or names a label or a colour twice.
    """
    above = [path.parent] if split_of(path.name) else []
    for folder in dict.fromkeys((path, masks, *above)):
        for name in NAMES:
            if (folder / name).is_file():
                return listed_names(folder / name)
        if found := label_names(folder):
            return Names({label: word for label, word in found.items() if label > 0}, {}, folder)
    return Names()


def listed_names(file: Path) -> Names:
    """The names, and the colours, that a text file lists.

    Raises:
        ValueError: a line is malformed, or names a label or a colour twice.
    """
    names: dict[int, str] = {}
    colours: dict[Colour, int] = {}
    start = 1
    for order, (number, line) in enumerate(read_lines(file)):
        where = f"{file}, line {number}"
        words = [word for word in re.split(r"[\s,;:=]+", line.strip()) if word]
        figures = [int(word) for word in words if word.isdecimal()]
        name = " ".join(word for word in words if not word.isdecimal())
        if order == 0 and name.lower() in BACKGROUND:
            start = 0
        label = figures[0] if len(figures) in (1, 4) else start + order
        if len(figures) not in (0, 1, 3, 4) or (not name and figures):
            rule = "must be a name, a number and a name, or a colour (R G B) and a name"
            raise ValueError(f"{where}: {rule}, got {line!r:.200}")
        if label in names or (label == 0 and name.lower() not in BACKGROUND):
            raise ValueError(f"{where}: label {label} must be > 0 and named once, got {line!r:.200}")
        names[label] = name
        if len(figures) >= 3:
            red, green, blue = figures[-3:]
            if max(figures[-3:]) > 255 or (red, green, blue) in colours:
                raise ValueError(
                    f"{where}: a colour must be three numbers from 0 to 255, once, got {line!r:.200}"
                )
            colours[red, green, blue] = label
    if not names:
        raise ValueError(f"{file} must name one label or more, got an empty file")
    return Names({label: name for label, name in names.items() if label}, colours, file)


def read_pair(image: Path, mask: Path, names: Names) -> ImageSample:
    """An image with its mask.

    Raises:
        ValueError: the mask has another size, colours that nothing states, soft edges, or a label without a name.
    """
    pixels = read_image(image)
    labels = read_labels(mask, names)
    if labels.shape != pixels.shape[1:]:
        raise ValueError(
            f"mask {mask} must have the size of its image, {pixels.shape[2]} x {pixels.shape[1]}, got "
            f"{labels.shape[1]} x {labels.shape[0]}"
        )
    there = [int(label) for label in np.unique(labels) if label]
    if names.names and (lost := [label for label in there if label not in names.names]):
        raise ValueError(f"mask {mask} must have labels that {names.file} names, got {lost[0]}")
    return ImageSample(pixels, mask=labels, names={k: names.names.get(k, str(k)) for k in there})


def read_labels(file: Path, names: Names) -> np.ndarray:
    """(H, W) integer labels of a mask's file: one object of 0 and 255 is label 1, void is 0.

    Raises:
        ValueError: see ``read_pair``.
    """
    if names.colours:
        return labels_of_colours(file, names)
    pixels = read_greys(file, "mask", grey_rgb=True)
    pixels = pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    palette = is_palette(file)
    kept = labels_of(pixels, file, palette)
    if kept == [VOID] and VOID not in names.names and not palette:
        return (pixels == VOID).astype(np.uint8)
    return np.where(np.isin(pixels, kept), pixels, 0).astype(pixels.dtype)


def labels_of_colours(file: Path, names: Names) -> np.ndarray:
    """(H, W) labels of a coloured mask.

    Raises:
        ValueError: it has a colour that the list does not have, or is no picture of colours stored without loss.
    """
    colours = read_image(file).astype(np.int64)
    if file.read_bytes()[:2] == b"\xff\xd8":
        raise ValueError(f"mask {file} must be stored without loss (PNG, TIFF, ...), JPEG changes its labels")
    codes = (np.broadcast_to(colours, (3, *colours.shape[1:])) * [[[65536]], [[256]], [[1]]]).sum(0)
    labels = np.full(codes.shape, -1)
    for (red, green, blue), label in names.colours.items():
        labels[codes == red * 65536 + green * 256 + blue] = label
    if (lost := labels < 0).any():
        code = int(codes[lost][0])
        got = f"{code >> 16} {code >> 8 & 255} {code & 255}"
        raise ValueError(f"mask {file} must have the colours that {names.file} lists, got {got}")
    return labels
