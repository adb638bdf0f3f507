"""Array operations for B episodes at once; the only place that tells array libraries apart."""

from visionrl.ops.geometry import area, box_around, center, columns, every, giou, iou, norm, same, size
from visionrl.ops.pyramid import Pyramid
from visionrl.ops.resample import patch, resize, warp, windows
from visionrl.ops.xp import (
    Array,
    DeviceTable,
    const,
    counts,
    is_torch,
    like,
    namespace,
    one_hot,
    to_numpy,
    xp_of,
)

__all__ = [
    "Array",
    "DeviceTable",
    "Pyramid",
    "area",
    "box_around",
    "center",
    "columns",
    "const",
    "counts",
    "every",
    "giou",
    "iou",
    "is_torch",
    "like",
    "namespace",
    "norm",
    "one_hot",
    "patch",
    "resize",
    "same",
    "size",
    "to_numpy",
    "warp",
    "windows",
    "xp_of",
]
