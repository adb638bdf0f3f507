"""Sequences of DAVIS (Perazzi et al., 2016; Pont-Tuset et al., 2017), boxes taken from masks: ``"davis:FOLDER"``.

FOLDER has ``JPEGImages`` and ``Annotations``, with the sequences in a folder for the resolution (``480p`` where
there are several) or at once. A mask is a PNG of palette indices or greys named as its frame; 0 is background,
every other value an object, but 255 beside smaller ones, which is void, as in DAVIS 2017. Greys that look like soft
edges are refused, and so is JPEG, which has no exact labels. The objects of a sequence are those of its first mask
that has any; two or more are videos of their own, ``judo.1`` and ``judo.2``, of one subject. The box of an object
is the extent of its mask: the parts that are seen. Frames in which it has no pixel stay in the video, without a
box; those before its first box are left out.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import check_folder, list_folders, list_images, read_image
from visionrl.datasets.readers.greys import is_palette, read_greys
from visionrl.datasets.readers.label_maps import labels_of, refuse_soft_edges
from visionrl.datasets.readers.rects import GONE, Box, video
from visionrl.datasets.samples import VideoSample

PREFERRED = "480p"


@register_format("davis", kind=VideoSample)
def read_davis(path: Path, options: ReadOptions) -> list[Entry]:
    """The sequences by name.

    Raises:
        ValueError: there is none, or one has no images, or masks without an object.
    """
    return [entry for folder, pictures in sequences(path) for entry in _entries(folder, pictures)]


def sequences(path: Path) -> list[tuple[Path, Path]]:
    """The folders of masks and of frames of each sequence.

    Raises:
        ValueError: there is none, or one has no images.
    """
    masks = check_folder(path) / "Annotations"
    if not masks.is_dir() or not (path / "JPEGImages").is_dir():
        raise ValueError(f"{path} must hold DAVIS: looked for the folders JPEGImages and Annotations")
    folders = list_folders(masks)
    if folders and not any(list_images(folder) for folder in folders):  # folders of resolutions
        chosen = next((folder for folder in folders if folder.name == PREFERRED), folders[0])
        folders = list_folders(chosen)
    found = [(folder, path / "JPEGImages" / folder.relative_to(masks)) for folder in folders]
    for folder, pictures in found:
        if not pictures.is_dir():
            raise ValueError(f"sequence {folder.name} must have its frames in {pictures}")
    return found


def _entries(folder: Path, pictures: Path) -> list[Entry]:
    """One entry an object of a sequence."""
    files = list_images(folder)
    labels = next((found for file in files if (found := labels_of(*labelled(file)))), None)
    if labels is None:
        raise ValueError(f"the masks in {folder} must show an object, got none in {len(files)}")
    names = [folder.name if len(labels) == 1 else f"{folder.name}.{label}" for label in sorted(labels)]
    return [
        Entry(name, folder.name, partial(_read, pictures, files, label))
        for name, label in zip(names, sorted(labels), strict=True)
    ]


def _read(pictures: Path, masks: list[Path], label: int) -> VideoSample:
    """One object of a sequence; the frames stay on the disk."""
    frames = list_images(pictures)
    if [file.stem for file in frames] != [file.stem for file in masks]:
        alone = {file.stem for file in frames} ^ {file.stem for file in masks}
        raise ValueError(
            f"{masks[0].parent} must have one mask a frame of {pictures}, got {len(masks)} masks for "
            f"{len(frames)} frames: {', '.join(sorted(alone)[:5])} without the other"
        )
    shape = read_image(frames[0]).shape[1:]
    boxes = []
    for file in masks:
        mask, _, palette = labelled(file)
        if not palette:
            refuse_soft_edges(mask, file)
        if mask.shape != shape:
            raise ValueError(f"mask {file} must have the frames' shape {shape}, got {mask.shape}")
        boxes.append(extent(mask == label))
    return video(frames, boxes, [str(file) for file in masks], masks[0].parent)


def labelled(file: Path) -> tuple[np.ndarray, Path, bool]:
    """The labels of a mask, its file, and whether they are palette indices."""
    return read_mask(file), file, is_palette(file)


def read_mask(path: Path) -> np.ndarray:
    """(H, W) labels of an image of palette indices or greys.

    Raises:
        ValueError: it is no such image.
    """
    return read_greys(path, "mask").astype(np.int64)


def extent(mask: np.ndarray) -> Box:
    """The smallest box around the pixels of an (H, W) bool mask; ``GONE`` without any."""
    if not mask.any():
        return GONE
    x, y = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return (float(x[0]), float(y[0]), float(x[-1] + 1), float(y[-1] + 1))
