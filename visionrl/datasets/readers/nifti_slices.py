"""Axial slices of volumes with label maps, as images with masks: ``"nifti-slices:FOLDER"``.

FOLDER is laid out as for ``nifti``. Every slice with a label is an image: grey, rows from front to back and columns
from right to left of the patient, its mask that of the slice; names of labels are the volume's. A slice is as the
volume holds it, not resampled, and its spacing is known only where that of rows and columns is the same. A sample is
called VOLUME/NUMBER, numbers counted from the feet; all slices of a subject are one subject.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.guard import decoding, refuse
from visionrl.datasets.readers.nifti import read_nifti
from visionrl.datasets.samples import ImageSample, VolumeSample


@register_format("nifti-slices", kind=ImageSample)
def read_nifti_slices(path: Path, options: ReadOptions) -> list[Entry]:
    """The slices that show a label, by volume and number; every volume is read.

    Raises:
        ValueError: no volume has a label map, or all are empty.
    """
    found = [slice_ for entry in read_nifti(path, options) for slice_ in _slices(entry)]
    if not found:
        raise ValueError(f"{path} must hold volumes with label maps, found no slice with a label > 0")
    return found


def _slices(entry: Entry) -> list[Entry]:
    """The slices of one volume; one bad sample where the volume is bad."""
    try:
        with decoding(entry.name):
            volume: Any = entry.read()
    except ValueError as error:
        return [Entry(entry.name, entry.subject, partial(refuse, error), entry.split)]
    if volume.mask is None:
        return []
    levels = np.flatnonzero(np.asarray(volume.mask).any(axis=(1, 2)))
    return [
        Entry(f"{entry.name}/{level:04}", entry.subject, partial(_slice, volume, int(level)), entry.split)
        for level in levels
    ]


def _slice(volume: VolumeSample, level: int) -> ImageSample:
    """One slice with its mask."""
    x, y, _ = (float(one) for one in volume.spacing_mm)
    return ImageSample(
        np.ascontiguousarray(volume.volume[:, level]),
        mask=np.ascontiguousarray(np.asarray(volume.mask)[level]),
        names=dict(volume.names),
        spacing_mm=x if abs(x - y) < 1e-3 * x else None,
    )
