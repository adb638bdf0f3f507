"""Places of an image or volume that were found, and what is there: points, boxes, masks, regions, a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from visionrl.core.results.tracks import corner_and_sides
from visionrl.ops.rle import run_lengths


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
class PoseInSpace:
    """Points of a body in space, triangulated from some cameras.

    Attributes:
        names: of the J points.
        points_mm: (J, 3) float64, (x, y, z), millimetres, in the frame of the cameras; NaN where no camera found it.
        spread_mm: (J,) float64, standard deviation to expect if the detector errs as usual.
        cameras: names of the cameras looked through, in that order.
    """

    names: tuple[str, ...]
    points_mm: np.ndarray
    spread_mm: np.ndarray
    cameras: tuple[str, ...]

    def joined(self, others: Sequence[PoseInSpace]) -> PoseInSpace:
        """This result: a capture has one pose."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values, two decimals; None for a point that no camera found."""
        rows = zip(self.names, np.round(self.points_mm, 2).tolist(), self.spread_mm.tolist(), strict=True)
        found = {
            name: None if np.isnan(at[0]) else {"mm": at, "spread_mm": round(spread, 2)}
            for name, at, spread in rows
        }
        return {"points": found, "cameras": list(self.cameras)}


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
class Verdict:
    """The verdict on an image of a part, the place of its defect, and the anomaly scores of the cells looked at.

    Attributes:
        label: "normal" or "defect"; None where the agent gave no verdict.
        score: the largest of the cells looked at, in deviations from good ones; about -100 where there was no look.
        looks: (K, 4) float64, (x0, y0, x1, y1) of the cells looked at, in order, pixels of the file.
        heat: (h, w) float64, scores over the whole image, NaN where no look was.
        size: (width, height) of the image, pixels.
        confidence: as of ``ImageClass``.
    """

    label: str | None
    score: float
    looks: np.ndarray
    heat: np.ndarray
    size: tuple[int, int]
    confidence: float | None = None

    @property
    def place(self) -> np.ndarray | None:
        """(4,) x0, y0, x1, y1 of the cell with the defect, which is the one looked at last; None without a defect."""
        return self.looks[-1] if self.label == "defect" and len(self.looks) else None

    def joined(self, others: Sequence[Verdict]) -> Verdict:
        """This result: an image has one verdict."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values; boxes are (x, y, width, height) in pixels."""
        place = None if self.place is None else corner_and_sides(self.place[None])[0].tolist()
        found = {"label": self.label, "confidence": self.confidence, "score": round(self.score, 4)}
        return {**found, "place": place, "looks": corner_and_sides(self.looks).tolist()}
