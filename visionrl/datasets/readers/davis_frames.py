"""Frames of DAVIS (Perazzi et al., 2016; Pont-Tuset et al., 2017) as images with masks: ``"davis-frames:FOLDER"``.

FOLDER is laid out as for ``davis``. Every frame with a mask is an image; labels are those of the mask, 255 beside
smaller ones is background, also in a frame that has no other where others of its sequence have. Labels are called
"object 1", "object 2", ...: the same in all frames of a sequence. Frames without an object have a mask of 0. A sample
is called SEQUENCE/FRAME, a sequence is one subject.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.davis import labelled, sequences
from visionrl.datasets.readers.files import IMAGE_SUFFIXES, find_beside, list_images, read_image
from visionrl.datasets.readers.label_maps import VOID, labels_of
from visionrl.datasets.readers.masks import Scale
from visionrl.datasets.samples import ImageSample


@register_format("davis-frames", kind=ImageSample)
def read_davis_frames(path: Path, options: ReadOptions) -> list[Entry]:
    """The frames by sequence and number.

    Raises:
        ValueError: there is no sequence, or a mask has no frame.
    """
    found = []
    for masks, frames in sequences(path):
        files = list_images(masks)
        scale = Scale(files)
        found += [
            Entry(
                f"{masks.name}/{mask.stem}", masks.name, partial(_read, frame_of(mask, frames), mask, scale)
            )
            for mask in files
        ]
    return found


def frame_of(mask: Path, frames: Path) -> Path:
    """The picture of a mask's name.

    Raises:
        ValueError: there is none.
    """
    frame = find_beside(frames / mask.name, IMAGE_SUFFIXES)
    if frame is None:
        raise ValueError(f"mask {mask} must have a frame of its name in {frames}, found none")
    return frame


def _read(frame: Path, mask: Path, scale: Scale) -> ImageSample:
    """A frame with its mask."""
    pixels, (labels, _, palette) = read_image(frame), labelled(mask)
    if labels.shape != pixels.shape[1:]:
        raise ValueError(f"mask {mask} must have the frame's shape {pixels.shape[1:]}, got {labels.shape}")
    kept = labels_of(labels, mask, palette)
    kept = [] if kept == [VOID] and scale.has_void else kept
    clean = np.where(np.isin(labels, kept), labels, 0).astype(np.uint8 if labels.max() < 256 else np.int32)
    return ImageSample(pixels, mask=clean, names={label: f"object {label}" for label in kept})
