"""Data sets of the environments: sample types, embedded sets of real pixels, readers of the user's own data."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from visionrl.datasets import readers as readers
from visionrl.datasets.formats import Entry, Format, ReadOptions, list_formats, register_format
from visionrl.datasets.load import choose, clear_cache, load
from visionrl.datasets.samples import (
    CaptionSample,
    ClipSample,
    Dataset,
    ImageSample,
    ImageSet,
    MotSample,
    PairSample,
    QuestionSample,
    VideoSample,
    ViewSample,
    VolumeSample,
    XraySample,
)
from visionrl.datasets.splits import SPLITS, split_subjects
from visionrl.datasets.validate import validate

if TYPE_CHECKING:
    from visionrl.datasets.embedded.chest import ChestXray
    from visionrl.datasets.embedded.videos import CutoutVideos

__all__ = [
    "SPLITS",
    "CaptionSample",
    "ChestXray",
    "ClipSample",
    "CutoutVideos",
    "Dataset",
    "Entry",
    "Format",
    "ImageSample",
    "ImageSet",
    "MotSample",
    "PairSample",
    "QuestionSample",
    "ReadOptions",
    "VideoSample",
    "ViewSample",
    "VolumeSample",
    "XraySample",
    "choose",
    "clear_cache",
    "list_formats",
    "load",
    "register_format",
    "split_subjects",
    "validate",
]

_LAZY = {"ChestXray": "visionrl.datasets.embedded.chest", "CutoutVideos": "visionrl.datasets.embedded.videos"}


def __getattr__(name: str) -> Any:
    """The embedded sets, imported on first access: they need OpenCV and scikit-image."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
