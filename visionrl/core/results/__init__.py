"""Results of finished episodes: points, boxes, masks, a class, a map, tracks; in the coordinates of the file itself.

``Task.result`` makes one of one episode. Episodes about one file, such as one a structure, are joined. Each has
``to_json``, plain values for people and programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self

from visionrl.core.results.maps import DisplacementField, LinearMap, Plane, ScanPose
from visionrl.core.results.pictures import Picture, StrokePainting, Tile
from visionrl.core.results.places import Boxes, ImageClass, Mask, Points, PoseInSpace, Regions, Verdict
from visionrl.core.results.summaries import ClipClass, Segments, Summary
from visionrl.core.results.texts import Answer, Caption, StreamClasses
from visionrl.core.results.tracks import BoxTrack, Tracks, VideoBoxes, corner_and_sides

__all__ = [
    "Answer",
    "BoxTrack",
    "Boxes",
    "Caption",
    "ClipClass",
    "DisplacementField",
    "ImageClass",
    "LinearMap",
    "Mask",
    "Picture",
    "Plane",
    "Points",
    "PoseInSpace",
    "Regions",
    "Result",
    "ScanPose",
    "Segments",
    "StreamClasses",
    "StrokePainting",
    "Summary",
    "Tile",
    "Tracks",
    "Verdict",
    "VideoBoxes",
    "corner_and_sides",
]


class Result(Protocol):
    """The result of one episode, or of all that are about one file."""

    def joined(self, others: Sequence[Self]) -> Self:
        """This result and those of other episodes about the same file."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
