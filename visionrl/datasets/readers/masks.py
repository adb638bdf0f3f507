"""Images and masks of one name: ``"masks:FOLDER"``.

FOLDER holds a folder of images (``images``, ``imgs``, ``JPEGImages``, ...) and one of masks (``masks``, ``labels``,
``annotations``, ``SegmentationClass``, ``gt``, ...), or both lie in it, and masks end in ``_mask``, ``-seg``,
``_label`` or alike. A mask has the name of its image, with or without such an end. Folders below the two, of the same
names in both, may be splits: ``images/train/1.jpg``, ``masks/train/1.png``.

A mask holds a label a pixel, 0 is background: palette indices, or greys of any value, as the file stores them and
stored without loss; it is turned upright by its own EXIF orientation. A mask of 0 and 255 alone has one object, label
1; 255 beside smaller labels is void, which counts as background, also in a mask that has nothing else where others of
the set have labels. Colours are refused unless ``labels.txt`` states them. Soft edges are refused. A mask must have the
size of its image. An image without a mask is a bad sample.

Names of labels come from ``labels.txt`` (or ``classes.txt``, ``label_colors.txt``, ``labelmap.txt``): a line a name,
from label 1 on, or from 0 on where the first is "background"; or a number and a name a line; or three numbers, the
colour, and a name (or the name first), as CamVid and CVAT have them. All lines have one form; a name may be quoted, and
lines that begin with # are comments. Labels that are called background, void or unlabelled are background. Or names
come from ``labels.csv``, ``labels.json`` or ``dataset.json``. A label without a name there is refused; where there is
no such file, labels are called by their numbers. A sample is named by its path in the folder of images without suffix,
and is a subject of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import (
    check_folder,
    images_below,
    plain_names,
    read_image,
    warn_unread,
)
from visionrl.datasets.readers.greys import is_palette, read_greys, read_lossless
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
NAMES = ("labels.txt", "classes.txt", "label_colors.txt", "labelmap.txt")
UNLABELLED = "unlabelled"  # what void is called where it is kept
BACKGROUND = ("background", "_background_", "void", "unlabelled", "unlabeled")

NAMED = 10  # bad images in a message
LOOKED_AT = 64  # masks of a set, to tell what 255 means

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Names:
    """The names and colours of labels, as a folder states them.

    Attributes:
        names: label -> name; empty where it says nothing.
        colours: (R, G, B) -> label, where masks are coloured.
        file: that says so; None where there is none.
        nothing: labels that are called background or void.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[Colour, int] = field(default_factory=dict)
    file: Path | None = None
    nothing: tuple[int, ...] = ()

    @staticmethod
    def of(words: Mapping[int, str], colours: Mapping[Colour, int], file: Path) -> Names:
        """The names of objects, without those of the background."""
        nothing = tuple(label for label, word in words.items() if word.lower() in BACKGROUND)
        kept = {label: word for label, word in words.items() if label > 0 and label not in nothing}
        return Names(kept, colours, file, nothing)


class Scale:
    """The meaning of 255 in the masks of a set: void beside labels, or the object of a mask of two values.

    Args:
        masks: files, of which ``LOOKED_AT`` at most are opened, the first time that it is asked.
    """

    def __init__(self, masks: Sequence[Path]) -> None:
        self.masks = masks

    @cached_property
    def has_void(self) -> bool:
        """Tell if masks have labels beside 0 and 255, or others beside 0 and 1."""
        for file in self.masks[:: -(-len(self.masks) // LOOKED_AT) or 1]:
            try:
                values = set(np.unique(read_greys(file, "mask", grey_rgb=True)).tolist())
            except ValueError:
                continue  # it is a bad sample when it is read
            if values - {0, 1, VOID} or {1, VOID} <= values:
                return True
        return False


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
    scale = Scale([mask for _, mask in pairs if mask])
    inside = [image.relative_to(images) for image, _ in pairs]
    stated = [split_of(place.parts[0]) if len(place.parts) > 1 else "" for place in inside]
    splits = stated if all(stated) else [""] * len(stated)
    return [
        Entry(name, name, partial(read_pair, image, mask or masks, names, scale), split)
        for name, (image, mask), split in zip(plain_names(inside), pairs, splits, strict=True)
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


def read_partly_masked(path: Path) -> list[ImageSample]:
    """The images of a folder, with masks as ``read_masks`` finds them; an image without one has none.

    Here void, 255 beside smaller labels, keeps its label and is called ``UNLABELLED``: nobody has labelled it yet.

    Raises:
        ValueError: there is no image, or a mask without one, or some images or masks are not what ``read_masks`` takes;
            names up to ten.
    """
    check_folder(path)
    images, masks = folders_of(path)
    pairs, names = partly_paired(images, masks), names_in(path, masks)
    scale = Scale([mask for _, mask in pairs if mask])
    found, bad = [], []
    for (image, mask), name in zip(
        pairs, plain_names([image.relative_to(images) for image, _ in pairs]), strict=True
    ):
        try:
            sample = (
                read_pair(image, mask, names, scale, keep_void=True)
                if mask
                else ImageSample(read_image(image))
            )
            found.append(replace(sample, name=name))
        except ValueError as error:
            bad.append(str(error))
    if bad:
        more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        count = f"{len(bad)} of {len(pairs)} images of {path} are bad: " if len(bad) > 1 else ""
        raise ValueError(f"{count}{'; '.join(bad[:NAMED])}{more}")
    return found


def paired(images: Path, masks: Path) -> list[tuple[Path, Path | None]]:
    """Each image with its mask; None for one that lacks it, which makes it a bad sample.

    Raises:
        ValueError: no image has a mask, or a mask has no image, or an image two masks.
    """
    every = partly_paired(images, masks)
    if not any(mask for _, mask in every):
        raise ValueError(f"every image must have a mask of its name in {masks}, found none for {every[0][0]}")
    return every


def partly_paired(images: Path, masks: Path) -> list[tuple[Path, Path | None]]:
    """Each image with its mask, or None.

    Raises:
        ValueError: there is no image, or a mask without one, or an image has two masks.
    """
    if images == masks:
        every = images_below(images)
        marked = {file for file in every if bare(file.stem) != file.stem}
        found, labelled = [file for file in every if file not in marked], sorted(marked)
    else:
        found, labelled = images_below(images), images_below(masks)
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
    """Read the names of labels from a set's folder or that of its masks; of a split's folder, above it too.

    Raises:
        ValueError: a line is malformed, or names a label or a colour twice.
    """
    above = [path.parent] if split_of(path.name) else []
    for folder in dict.fromkeys((path, masks, *above)):
        for name in NAMES:
            if (folder / name).is_file():
                return listed_names(folder / name)
        if found := label_names(folder):
            return Names.of(found, {}, folder)
    return Names()


def listed_names(file: Path) -> Names:
    """The names, and the colours, that a text file lists; lines that begin with # are comments.

    Raises:
        ValueError: a line is malformed or of another form than the first, or names a label or a colour twice.
    """
    names: dict[int, str] = {}
    colours: dict[Colour, int] = {}
    start, form = 1, -1
    lines = [(number, line) for number, line in read_lines(file) if not line.startswith("#")]
    for order, (number, line) in enumerate(lines):
        where = f"{file}, line {number}"
        figures, name = figures_and_name(line)
        form = len(figures) if order == 0 else form
        if order == 0 and name.lower() in BACKGROUND:
            start = 0
        label = figures[0] if len(figures) in (1, 4) else start + order
        if len(figures) not in (0, 1, 3, 4) or (not name and figures):
            rule = "must be a name, a number and a name, or a colour (R G B) and a name"
            raise ValueError(f"{where}: {rule}, got {line!r:.200}")
        if len(figures) != form:
            raise ValueError(f"{where}: must have as many numbers as the first, {form}, got {line!r:.200}")
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
    return Names.of(names, colours, file)


def figures_and_name(line: str) -> tuple[list[int], str]:
    """The whole numbers of a line, and its other words; what is quoted is the name as it stands."""
    quoted = re.search(r'"([^"]*)"', line)
    rest = line if quoted is None else line.replace(quoted[0], " ")
    words = [word for word in re.split(r"[\s,;:=]+", rest) if word]
    figures = [int(word) for word in words if word.isdecimal() and len(word) < 10]
    name = " ".join(word for word in words if not word.isdecimal() or len(word) >= 10)
    return figures, quoted[1].strip() if quoted else name


def read_pair(image: Path, mask: Path, names: Names, scale: Scale, keep_void: bool = False) -> ImageSample:
    """An image with its mask; ``keep_void`` keeps void as a label of its own, called ``UNLABELLED``.

    Raises:
        ValueError: the mask is a folder, in which there is none for the image; it has another size, colours that
            nothing states, soft edges, or a label without a name.
    """
    if mask.is_dir():
        raise ValueError(f"every image must have a mask of its name in {mask}, found none for {image}")
    pixels = read_image(image)
    labels = read_labels(mask, names, scale, VOID if keep_void else 0)
    if labels.shape != pixels.shape[1:]:
        raise ValueError(
            f"mask {mask} must have the size of its image, {pixels.shape[2]} x {pixels.shape[1]}, got "
            f"{labels.shape[1]} x {labels.shape[0]}"
        )
    called = {**names.names, VOID: UNLABELLED} if keep_void and VOID not in names.names else names.names
    there = [int(label) for label in np.unique(labels) if label]
    if names.names and (lost := [label for label in there if label not in called]):
        raise ValueError(f"mask {mask} must have labels that {names.file} names, got {lost[0]}")
    return ImageSample(pixels, mask=labels, names={k: called.get(k, str(k)) for k in there})


def read_labels(file: Path, names: Names, scale: Scale, void: int = 0) -> np.ndarray:
    """(H, W) integer labels of a mask's file: one object of 0 and 255 is label 1, background is 0, void ``void``.

    Raises:
        ValueError: see ``read_pair``.
    """
    if names.colours:
        return labels_of_colours(file, names)
    pixels = read_greys(file, "mask", grey_rgb=True)
    pixels = pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    kept = labels_of(pixels, file, is_palette(file))
    if kept == [VOID] and VOID not in names.names:
        is_void = VOID in names.nothing or (len(names.names) > 1 if names.file else scale.has_void)
        return np.where(pixels == VOID, void if is_void else 1, 0).astype(np.uint8)
    kept = [label for label in kept if label not in names.nothing]
    kept_labels = np.where(np.isin(pixels, kept), pixels, 0)
    return np.where((pixels == VOID) & (kept_labels == 0), void, kept_labels).astype(pixels.dtype)


def labels_of_colours(file: Path, names: Names) -> np.ndarray:
    """(H, W) labels of a coloured mask.

    Raises:
        ValueError: it has a colour that the list does not have, or is no picture of colours stored without loss.
    """
    colours = read_lossless(file, "mask").astype(np.int64)
    codes = (np.broadcast_to(colours, (3, *colours.shape[1:])) * [[[65536]], [[256]], [[1]]]).sum(0)
    labels = np.full(codes.shape, -1)
    for (red, green, blue), label in names.colours.items():
        labels[codes == red * 65536 + green * 256 + blue] = 0 if label in names.nothing else label
    if (lost := labels < 0).any():
        code = int(codes[lost][0])
        got = f"{code >> 16} {code >> 8 & 255} {code & 255}"
        raise ValueError(f"mask {file} must have the colours that {names.file} lists, got {got}")
    return labels
