"""Label maps that look like labels: the grey levels of a soft edge are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from visionrl.datasets.readers.greys import read_greys

VOID = 255
SCALED = 64  # labels from here on may be grey levels
RAMP, MANY = (
    0.6,
    4,
)  # share of pixels between their neighbours, and number of values, that a smoothed edge has


def labels_of(mask: np.ndarray, file: Path, palette: bool = False) -> list[int]:
    """The labels > 0 of a mask; 255 is no object beside smaller ones (void, as in DAVIS 2017).

    Args:
        mask: (H, W) integers.
        file: for the message.
        palette: they are indices into a palette, which cannot have soft edges.

    Raises:
        ValueError: they look like grey levels.
    """
    values = [int(value) for value in np.unique(mask) if value]
    others = [value for value in values if value != VOID]
    if not palette:
        refuse_soft_edges(mask, file)
    return others if others and (palette or max(others) < VOID // 2) else values


def refuse_soft_edges(labels: np.ndarray, file: Path) -> None:
    """Refuses a label map in which most values are thin seams between others, as resizing or JPEG leaves them.

    Args:
        labels: (H, W) or (D, H, W) integers.
        file: for the message.

    Raises:
        ValueError: it looks so.
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    if not labels.size or labels.max() > VOID or labels.min() < 0:
        return
    labels = labels.astype(np.uint8)
    seen = np.zeros(VOID + 1, bool)
    seen[labels] = True
    values = np.flatnonzero(seen[1:]) + 1
    scaled = len(values) > 0 and SCALED <= values[-1] <= VOID and (labels.ndim == 2 or values[-1] == VOID)
    if len(values) < (2 if scaled else MANY) or not (scaled or labels.ndim == 2):
        return
    low, high = minimum_filter(labels, 3), maximum_filter(labels, 3)
    solid = np.intersect1d(values, labels[low == high])
    thin = np.setdiff1d(values, solid)
    if not scaled and (len(thin) < MANY or not _are_ramps(labels, low, high, thin)):
        return
    if len(thin) and (values[-1] == VOID or len(thin) >= len(solid)) and not np.array_equal(thin, [VOID]):
        few = ", ".join(map(str, thin[:8].tolist())) + (", ..." if len(thin) > 8 else "")
        raise ValueError(
            f"{file} must hold labels, it looks like soft edges: the values {few} are nowhere 3 pixels wide; "
            "threshold it"
        )


def _are_ramps(labels: np.ndarray, low: np.ndarray, high: np.ndarray, thin: np.ndarray) -> bool:
    """True if most pixels of the thin values lie between a smaller and a larger neighbour."""
    return bool(((low < labels) & (labels < high))[np.isin(labels, thin)].mean() >= RAMP)


def read_label_map(file: Path) -> np.ndarray:
    """(H, W) integer labels of an image: palette indices or greys.

    Raises:
        ValueError: it is no such image, or has soft edges.
    """
    labels = read_greys(file, "label map", grey_rgb=True)
    if labels.dtype == bool:
        labels = labels.astype(np.uint8)
    refuse_soft_edges(labels, file)
    return labels
