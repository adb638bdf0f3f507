"""Results of finished episodes: points, boxes, masks, a class, a map, tracks; in the coordinates of the file itself.

``Task.result`` makes one of one episode. Episodes about one file, such as one a structure, are joined. Each has
``to_json``, plain values for people and programs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np

from visionrl.datasets import VolumeSample
from visionrl.ops.rle import run_lengths


class Result(Protocol):
    """The result of one episode, or of all that are about one file."""

    def joined(self, others: Sequence[Self]) -> Self:
        """This result and those of other episodes about the same file."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""


@dataclass(frozen=True)
class Points:
    """Places of structures.

    Attributes:
        points: name -> (x, y) in pixels of the file, or (x, y, z) in voxels of the volume as it is read, which grow to
            the left, back and head; whole numbers are centres. None where the agent says that the structure is not
            there.
        points_mm: name -> (x, y, z), millimetres in LPS, where the file says where its voxels lie.
    """

    points: Mapping[str, tuple[float, ...] | None]
    points_mm: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)

    @staticmethod
    def at(name: str, place: np.ndarray | None, affine: np.ndarray | None = None) -> Points:
        """One structure.

        Args:
            name: of the structure.
            place: (x, y) or (x, y, z); None where it is not there.
            affine: (4, 4), from voxels to millimetres in LPS; None where unknown.
        """
        if place is None:
            return Points({name: None})
        points = {name: tuple(np.asarray(place, float).tolist())}
        if affine is None:
            return Points(points)
        x, y, z = (np.asarray(affine) @ [*points[name], 1.0])[:3].tolist()
        return Points(points, {name: (x, y, z)})

    def joined(self, others: Sequence[Points]) -> Points:
        """The points of this result and of the others, by name."""
        points = {name: at for one in (self, *others) for name, at in one.points.items()}
        return Points(points, {name: at for one in (self, *others) for name, at in one.points_mm.items()})

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        points = {name: None if at is None else list(at) for name, at in self.points.items()}
        if not self.points_mm:
            return {"points": points}
        return {"points": points, "points_mm": {name: list(at) for name, at in self.points_mm.items()}}


@dataclass(frozen=True)
class Boxes:
    """Detected objects.

    Attributes:
        boxes: (N, 4) float64, (x0, y0, x1, y1) edges in pixels of the file.
        labels: N class names.
        scores: (N,) float64, the agent's confidence in each; the higher the surer, comparable within one agent alone.
    """

    boxes: np.ndarray
    labels: tuple[str, ...]
    scores: np.ndarray

    def joined(self, others: Sequence[Boxes]) -> Boxes:
        """The boxes of this result and of the others, the highest score first."""
        every = (self, *others)
        boxes, scores = (np.concatenate([getattr(one, key) for one in every]) for key in ("boxes", "scores"))
        labels = [label for one in every for label in one.labels]
        order = np.argsort(-scores, kind="stable")
        return Boxes(boxes[order], tuple(labels[k] for k in order), scores[order])

    def to_json(self) -> dict[str, Any]:
        """Plain values; boxes are (x, y, width, height), as in COCO."""
        sides = corner_and_sides(self.boxes).tolist()
        rows = zip(sides, self.labels, self.scores.tolist(), strict=True)
        return {"boxes": [{"label": label, "bbox": box, "score": score} for box, label, score in rows]}


@dataclass(frozen=True)
class Mask:
    """Regions of an image or a volume, one an object or label; regions may overlap.

    Attributes:
        masks: (K, H, W) or (K, D, H, W) bool, in the pixels of the file itself.
        labels: K names; two objects may have one.
        scores: (K,) float64, the agent's confidence in each, or an estimate of its quality.
        polygons: K outlines, each (N, 2) float64, (x, y) in pixels of the file, edges as of boxes: pixel ``j`` spans
            ``j`` to ``j + 1``; None where the region was not found as a polygon.
    """

    masks: np.ndarray
    labels: tuple[str, ...]
    scores: np.ndarray
    polygons: tuple[np.ndarray | None, ...]

    @staticmethod
    def of(mask: np.ndarray, label: str, score: float = 1.0, polygon: np.ndarray | None = None) -> Mask:
        """One region, (H, W) or (D, H, W) bool, with its name, confidence and outline.

        Raises:
            ValueError: the mask is not of bool or has no two or three axes.
        """
        if mask.dtype != bool or mask.ndim not in (2, 3):
            raise ValueError(f"mask must be (H, W) or (D, H, W) bool, got {mask.dtype} of shape {mask.shape}")
        return Mask(mask[None], (label,), np.array([score], float), (polygon,))

    @property
    def label_map(self) -> np.ndarray:
        """(H, W) or (D, H, W) uint8, uint16 beyond 255 regions: k + 1 in region k, 0 outside; the surest covers."""
        found = np.zeros(self.masks.shape[1:], np.uint8 if len(self.masks) < 256 else np.uint16)
        for k in np.argsort(self.scores, kind="stable"):
            found[self.masks[k]] = k + 1
        return found

    def joined(self, others: Sequence[Mask]) -> Mask:
        """The regions of this result and of the others, in order."""
        every = (self, *others)
        return Mask(
            np.concatenate([one.masks for one in every]),
            tuple(label for one in every for label in one.labels),
            np.concatenate([one.scores for one in every]),
            tuple(polygon for one in every for polygon in one.polygons),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values as in COCO: the polygon, else run lengths; of volumes the number of voxels alone."""
        rows = zip(self.masks, self.labels, self.scores.tolist(), self.polygons, strict=True)
        return {"masks": [region_json(*row) for row in rows]}


def region_json(mask: np.ndarray, label: str, score: float, polygon: np.ndarray | None) -> dict[str, Any]:
    """One region as COCO writes it: label, score, area, bbox (x, y, width, height) and segmentation."""
    about: dict[str, Any] = {"label": label, "score": score, "area": int(mask.sum())}
    if mask.ndim == 3:
        return about
    high, wide = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    box = [wide[0], high[0], wide[-1] + 1 - wide[0], high[-1] + 1 - high[0]] if len(high) else [0, 0, 0, 0]
    about["bbox"] = [int(side) for side in box]
    if polygon is None:
        return {**about, "segmentation": {"size": list(mask.shape), "counts": run_lengths(mask)}}
    return {**about, "segmentation": [np.round(polygon, 3).ravel().tolist()]}


@dataclass(frozen=True)
class Regions:
    """Regions of a set of images that are to be labelled next, the first first.

    Attributes:
        images: name of each region's image.
        boxes: (N, 4) float64, (x0, y0, x1, y1) edges in pixels of its file.
        scores: (N,) float64 in [0, 1], how unsure the segmenter is of each, with the labels that there are.
    """

    images: tuple[str, ...]
    boxes: np.ndarray
    scores: np.ndarray

    def joined(self, others: Sequence[Regions]) -> Regions:
        """This result: a set of images has one order."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values; the order counts from 1."""
        rows = zip(self.images, np.round(self.boxes, 2).tolist(), self.scores.tolist(), strict=True)
        keys = ("x0", "y0", "x1", "y1")
        return {
            "regions": [
                {"order": k, "image": image, **dict(zip(keys, box, strict=True)), "score": round(score, 4)}
                for k, (image, box, score) in enumerate(rows, start=1)
            ]
        }


@dataclass(frozen=True)
class ImageClass:
    """The class of an image, and where the agent looked.

    Attributes:
        label: name of the class; None where the agent gave no answer.
        glimpses: (G, 2) float64, (x, y) of the places looked at, in order, pixels of the file.
        confidence: probability that the agent's policy gave the class among all classes, when it answered; None where
            it has none: action values are no probabilities.
    """

    label: str | None
    glimpses: np.ndarray
    confidence: float | None = None

    def joined(self, others: Sequence[ImageClass]) -> ImageClass:
        """This result: an image has one class."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"label": self.label, "confidence": self.confidence, "glimpses": self.glimpses.tolist()}


@dataclass(frozen=True)
class Plane:
    """A view: a plane through a volume, and the slice that it cuts.

    Attributes:
        image: (H, W) uint8, the slice, at the volume's finest spacing.
        matrix: (4, 4) float64, maps (column, row, depth, 1) in pixels of the slice to (x, y, z, 1) in voxels of the
            volume; depth is along the normal, in pixels too.
        matrix_mm: (4, 4) float64, likewise to millimetres in LPS; None where the file does not say where it lies.
    """

    image: np.ndarray
    matrix: np.ndarray
    matrix_mm: np.ndarray | None = None

    @staticmethod
    def at(image: np.ndarray, matrix: np.ndarray, affine: np.ndarray | None = None) -> Plane:
        """A slice whose place is known in voxels, and the (4, 4) from voxels to millimetres, where known."""
        return Plane(image, matrix, None if affine is None else np.asarray(affine) @ matrix)

    def joined(self, others: Sequence[Plane]) -> Plane:
        """This result: a volume has one view."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the slice."""
        known = {} if self.matrix_mm is None else {"matrix_mm": self.matrix_mm.tolist()}
        return {"matrix": self.matrix.tolist(), **known}


@dataclass(frozen=True)
class BoxTrack:
    """The box of one object in each frame of a video.

    Attributes:
        boxes: (T, 4) float64, (x0, y0, x1, y1) edges in pixels of the file, (0, 0) the upper left corner of the frame;
            up to the last frame that is done.
        first: number of the frame of the first box, from 0.
    """

    boxes: np.ndarray
    first: int = 0

    def joined(self, others: Sequence[BoxTrack]) -> BoxTrack:
        """This result: a video has one object."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values; boxes are (x, y, width, height), three decimals."""
        first = {"first": self.first} if self.first else {}
        return {**first, "boxes": np.round(corner_and_sides(self.boxes), 3).tolist()}


@dataclass(frozen=True)
class Tracks:
    """The boxes of many objects in a video, N in all, by frame and identity.

    Attributes:
        frames: (N,) int64, from 0.
        ids: (N,) int64, from 1: the same number is the same object.
        boxes: (N, 4) float64, (x0, y0, x1, y1) edges in pixels of the file.
        scores: (N,) float64, the score of the detection that a box overlaps most, by half at least; 0 where there is
            none, because the box goes on by the track's motion.
    """

    frames: np.ndarray
    ids: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    def joined(self, others: Sequence[Tracks]) -> Tracks:
        """This result: a video has one set of tracks."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values; frames from 0, boxes are (x, y, width, height), three decimals."""
        sides = np.round(corner_and_sides(self.boxes), 3).tolist()
        rows = zip(self.frames.tolist(), self.ids.tolist(), sides, self.scores.tolist(), strict=True)
        return {"tracks": [{"frame": t, "id": k, "bbox": box, "score": score} for t, k, box, score in rows]}


def corner_and_sides(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) x, y, width, height of edges (x0, y0, x1, y1)."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


@dataclass(frozen=True)
class LinearMap:
    """A linear map from a fixed image to a moving one.

    Attributes:
        matrix: (d, d + 1) float64, maps (x, y, 1) in pixels of the fixed file, or (x, y, z, 1) in voxels of the fixed
            volume as it is read, to those of the moving one; whole numbers are centres.
        matrix_mm: (4, 4) float64, likewise from millimetres to millimetres in LPS; None for images, and for volumes
            whose files do not say where their voxels lie.
    """

    matrix: np.ndarray
    matrix_mm: np.ndarray | None = None

    @staticmethod
    def between(matrix: np.ndarray, affines: np.ndarray | None = None) -> LinearMap:
        """The map in pixels, and in millimetres where (2, 4, 4) from voxels of both files to LPS are known."""
        if affines is None:
            return LinearMap(matrix)
        return LinearMap(matrix, affines[1] @ np.vstack([matrix, np.eye(4)[3]]) @ np.linalg.inv(affines[0]))

    def joined(self, others: Sequence[LinearMap]) -> LinearMap:
        """This result: a pair has one map."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        plain = {"matrix": self.matrix.tolist()}
        return plain if self.matrix_mm is None else {**plain, "matrix_mm": self.matrix_mm.tolist()}


@dataclass(frozen=True)
class DisplacementField:
    """A field of displacements that bends a moving image onto a fixed one.

    Attributes:
        field: (d, H, W) or (d, D, H, W) float32, components along (x, y) or (x, y, z): displacement, in pixels, from
            each pixel of the fixed file to the corresponding place in the moving one.
    """

    field: np.ndarray

    def joined(self, others: Sequence[DisplacementField]) -> DisplacementField:
        """This result: a pair has one field."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values: the mean and the largest length, pixels; the field itself has a file of its own."""
        lengths = np.sqrt((self.field**2).sum(axis=0))
        return {"displacement_px": {"mean": float(lengths.mean()), "largest": float(lengths.max())}}


@dataclass(frozen=True)
class ScanPose:
    """Pose of a scan under a C-arm.

    Attributes:
        numbers: (6,) float64, shifts of the scan's middle from the origin, about which the C-arm turns, millimetres,
            and the rotation vector about it, degrees; x to the patient's left, y to the back, z to the head.
        matrix_mm: (4, 4) float64, maps millimetres of the scan to millimetres in the room: those in LPS where the file
            says where its voxels lie, else from the scan's middle along its axes.
        in_lps: True where ``matrix_mm`` begins in LPS, False where it begins at the scan's middle.
        radiographs: (V, size, size) uint8, the scan in this pose as each view of the C-arm shows it.
    """

    numbers: np.ndarray
    matrix_mm: np.ndarray
    in_lps: bool
    radiographs: np.ndarray

    @staticmethod
    def of(numbers: np.ndarray, pose: np.ndarray, scan: VolumeSample, radiographs: np.ndarray) -> ScanPose:
        """The pose of a scan whose (3, 4) matrix is in millimetres from its middle."""
        room, known = np.vstack([pose, np.eye(4)[3]]), scan.affine is not None
        if known:
            spacing = np.asarray(scan.spacing_mm, float)
            centred = np.diag([*spacing, 1.0])
            centred[:3, 3] = -(np.array(scan.volume.shape[:0:-1]) - 1) / 2 * spacing
            room = room @ centred @ np.linalg.inv(scan.affine)
        return ScanPose(numbers, room, known, radiographs)

    def joined(self, others: Sequence[ScanPose]) -> ScanPose:
        """This result: a scan has one pose."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the radiographs."""
        plain = {"shift_mm": self.numbers[:3].tolist(), "turn_degrees": self.numbers[3:].tolist()}
        return {**plain, "matrix_mm": self.matrix_mm.tolist(), "in_lps": self.in_lps}


@dataclass(frozen=True)
class Tile:
    """A part of a picture that was worked on by itself.

    Attributes:
        image: (C, h, w) uint8, the part as it became.
        corner: (x, y) of its top left pixel in the picture.
        operators: names of what was applied to it, in order.
    """

    image: np.ndarray
    corner: tuple[int, int]
    operators: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """A picture that was restored.

    Attributes:
        size: (width, height), pixels of the file.
        tiles: what it is put together from; together they cover it.
    """

    size: tuple[int, int]
    tiles: tuple[Tile, ...]

    @cached_property
    def image(self) -> np.ndarray:
        """(C, H, W) uint8; where tiles overlap, their mean, weighted by the distance to their edges."""
        width, height = self.size
        total = np.zeros((self.tiles[0].image.shape[0], height, width), np.float32)
        weights = np.zeros((height, width), np.float32)
        for tile in self.tiles:
            (x, y), (high, wide) = tile.corner, tile.image.shape[1:]
            rows, columns = (np.minimum(np.arange(n) + 1, n - np.arange(n)) for n in (high, wide))
            weight = np.outer(rows, columns).astype(np.float32)
            total[:, y : y + high, x : x + wide] += weight * tile.image
            weights[y : y + high, x : x + wide] += weight
        return np.rint(total / weights).astype(np.uint8)

    def joined(self, others: Sequence[Picture]) -> Picture:
        """The picture of the tiles of this result and of the others."""
        return Picture(self.size, tuple(tile for one in (self, *others) for tile in one.tiles))

    def to_json(self) -> dict[str, Any]:
        """Plain values: size, and what was done to each tile; the pixels are written to a file."""
        tiles = [
            {"bbox": [*tile.corner, *tile.image.shape[:0:-1]], "operators": list(tile.operators)}
            for tile in self.tiles
        ]
        return {"width": self.size[0], "height": self.size[1], "tiles": tiles}
