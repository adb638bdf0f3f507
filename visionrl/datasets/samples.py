"""Types of samples: images, videos, volumes and pairs, each with its labels.

Convention
    Images are channel-first, uint8, RGB or grey: (C, H, W) with C = 1 or 3. Points are (x, y) in pixels;
    whole numbers are pixel centres, so (0, 0) is the centre of the top-left pixel. Boxes are (x0, y0, x1, y1)
    edges in pixels; pixel ``j`` spans ``j`` to ``j + 1``, so a box is ``x1 - x0`` pixels wide.
    Volumes are (1, D, H, W) uint8, axes (z, y, x), which grow towards superior, posterior and left: DICOM's LPS, in
    the order of an array. Points in them are (x, y, z) in voxels; whole numbers are voxel centres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

SampleT = TypeVar("SampleT", covariant=True)


class Dataset(Protocol[SampleT]):
    """Anything with a length and items: a list, a ``torch.utils.data.Dataset``, a class of your own."""

    def __len__(self) -> int:
        """The number of samples."""
        ...

    def __getitem__(self, index: int, /) -> SampleT:
        """One sample, from 0."""
        ...


@dataclass(frozen=True, eq=False)
class ImageSample:
    """One image and what is known about it.

    Attributes:
        image: (C, H, W) uint8, C = 1 or 3.
        boxes: (N, 4) float, (x0, y0, x1, y1) in pixels.
        labels: N class names, one a box.
        points: name -> (x, y) in pixels; a structure that is not in the image is left out.
        mask: (H, W) integer labels, 0 is background.
        spacing_mm: millimetres per pixel, or None where it is unknown.
        name: what errors and tables call it.
        subject: who or what it shows; samples of one subject never part over splits. Empty: ``name``.
        names: name of each label of the mask; a label without one is called by its number.
    """

    image: np.ndarray
    boxes: np.ndarray | None = None
    labels: Sequence[str] = ()
    points: Mapping[str, Any] = field(default_factory=dict)
    mask: np.ndarray | None = None
    spacing_mm: float | None = None
    name: str = ""
    subject: str = ""
    names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CaptionSample:
    """One image and the sentences that describe it.

    Attributes:
        image: (C, H, W) uint8, C = 1 or 3.
        captions: the references, one sentence each; none where they are unknown.
        facts: what is true of the image, where all of it is known; see ``embedded.scene_words.Facts``.
        name: what errors and tables call it.
        subject: who or what it shows; samples of one subject never part over splits. Empty: ``name``.
    """

    image: np.ndarray
    captions: Sequence[str] = ()
    facts: tuple = ()
    name: str = ""
    subject: str = ""


@dataclass(frozen=True, eq=False)
class QuestionSample:
    """One question about one image, and how people answered it.

    Attributes:
        image: (C, H, W) uint8, C = 1 or 3; samples about one image may share the array.
        question: a sentence.
        answers: one answer, or one of each of several people; none where they are unknown.
        kind: what sort of question it is; empty where unknown.
        places: (N, 2) float, (x, y) in pixels of what the question asks about; None: unknown.
        name: what errors and tables call it.
        subject: who or what it shows; samples of one subject never part over splits. Empty: ``name``.
    """

    image: np.ndarray
    question: str
    answers: Sequence[str] = ()
    kind: str = ""
    places: Any = None
    name: str = ""
    subject: str = ""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images that belong together, of which some may have masks: what is to be labelled, and what is labelled already.

    Attributes:
        images: one or more, each with a name of its own.
        name: what errors and tables call the set.
        subject: likewise; empty: ``name``.
    """

    images: Sequence[ImageSample]
    name: str = ""
    subject: str = ""


@dataclass(frozen=True, eq=False)
class VideoSample:
    """One video and the box of one target in every frame.

    Attributes:
        frames: T frames, each (C, H, W) uint8 of one size: an array or any sequence that loads them one by
            one.
        boxes: (T, 4) float, (x0, y0, x1, y1) in pixels; a row of NaN where the object is not seen, but not the first.
        name: what errors and tables call it.
        subject: who or what it shows; samples of one subject never part over splits. Empty: ``name``.
    """

    frames: Sequence[np.ndarray] | np.ndarray
    boxes: np.ndarray
    name: str = ""
    subject: str = ""


@dataclass(frozen=True, eq=False)
class MotSample:
    """One video and the boxes of all its objects, each with its identity.

    Attributes:
        frames: T frames, as in ``VideoSample``.
        ids: T arrays (N,) of whole numbers, none twice in a frame: which objects are in the frame; None: unknown.
        boxes: T arrays (N, 4) float, (x0, y0, x1, y1) in pixels, hidden parts included; None: unknown, as the ids.
        visibility: T arrays (N,) float, the part of each that is not hidden, 0 to 1; None: all of it.
        detections: T arrays (M, 5) float, (x0, y0, x1, y1, score), what a detector found; None: no detector ran.
        name: what errors and tables call it.
        subject: who or what it shows; samples of one subject never part over splits. Empty: ``name``.
    """

    frames: Sequence[np.ndarray] | np.ndarray
    ids: Sequence[np.ndarray] | None = None
    boxes: Sequence[np.ndarray] | None = None
    visibility: Sequence[np.ndarray] | None = None
    detections: Sequence[np.ndarray] | None = None
    name: str = ""
    subject: str = ""


@dataclass(frozen=True, eq=False)
class ClipSample:
    """One video and what is known about the whole of it: its class, the times of events, how important people find it.

    Attributes:
        frames: T frames, as in ``VideoSample``; None: features alone are known.
        features: (T, D) float32, what another model says of each frame; None: the frames are described by their
            colours and a small picture, see ``banks.clips``.
        label: the class of the whole clip; empty where unknown.
        segments: (n, 2) float, first frame of each event and the one after its last; None: unknown.
        segment_labels: n class names, one a segment, or none.
        scores: (U, T) float, how important each of U people finds each frame, more is better; None: unknown.
        fps: frames per second; None: unknown.
        name: what errors and tables call it.
        subject: who or what it shows; samples of one subject never part over splits. Empty: ``name``.
    """

    frames: Sequence[np.ndarray] | np.ndarray | None = None
    features: Any = None
    label: str = ""
    segments: Any = None
    segment_labels: Sequence[str] = ()
    scores: Any = None
    fps: float | None = None
    name: str = ""
    subject: str = ""

    def __len__(self) -> int:
        """The number of frames, T."""
        return len(self.features if self.frames is None else self.frames)


@dataclass(frozen=True, eq=False)
class ViewSample:
    """One thing seen by several calibrated cameras at one time: where its points were found in each picture.

    Attributes:
        cameras: (V, 3, 4) float, V >= 2, takes (x, y, z, 1) in millimetres to (column, row, 1) times the depth, pixels
            without lens distortion; whole numbers are pixel centres.
        joint_names: names of the J points.
        detections: (V, J, 2) float, (x, y) in pixels of where a detector found each; NaN where it did not; None: no
            detector ran, which asks for ``points``.
        scores: (V, J) float in [0, 1], of the detections; None: all 1.
        points: (J, 3) float, where they truly are, millimetres; NaN where unknown; None: unknown.
        resolution: (V, 2), width and height of the pictures, pixels.
        camera_names: V names; empty: numbers from 0.
        links: (n, 2) numbers of points that a bone joins; empty: none.
        detector_px: usual error of the detector, pixels; None: 1/160 of the width of the pictures, as of people.
        name: what errors and tables call it.
        subject: who or what it shows; samples of one subject never part over splits. Empty: ``name``.
    """

    cameras: Any
    joint_names: Sequence[str]
    detections: Any = None
    scores: Any = None
    points: Any = None
    resolution: Any = (1920, 1080)
    camera_names: Sequence[str] = ()
    links: Any = ()
    detector_px: float | None = None
    name: str = ""
    subject: str = ""


@dataclass(frozen=True, eq=False)
class VolumeSample:
    """One volume, such as a CT or MR scan, and what is known about it.

    Attributes:
        volume: (1, D, H, W) uint8.
        spacing_mm: (x, y, z), millimetres from voxel to voxel.
        points: name -> (x, y, z) in voxels; a structure that is not in the volume is left out.
        mask: (D, H, W) integer labels, 0 is background.
        names: name of each label of the mask.
        affine: (4, 4) float, takes (x, y, z, 1) in voxels to millimetres in LPS; None where unknown.
        name: what errors and tables call it.
        subject: who or what it shows; samples of one subject never part over splits. Empty: ``name``.
    """

    volume: np.ndarray
    spacing_mm: Any
    points: Mapping[str, Any] = field(default_factory=dict)
    mask: np.ndarray | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    affine: Any = None
    name: str = ""
    subject: str = ""


@dataclass(frozen=True, eq=False)
class XraySample(VolumeSample):
    """One CT scan, and X-rays of the same body, for the registration of the two.

    Attributes:
        xrays: (V, S, S) uint8, one of each view of the C-arm, each the whole detector, square; what is dense is white.
            Seen from the front the head is up and the patient's left on the right.
    """

    xrays: Any = None


@dataclass(frozen=True, eq=False)
class PairSample:
    """Two images, or two volumes, of one thing, and the map between their positions.

    d is the number of axes, 2 or 3. Images are (C, H, W), C = 1 or 3, volumes (1, D, H, W), both uint8.

    Attributes:
        fixed: the image or volume that stays.
        moving: of any size; it is brought onto ``fixed``.
        fixed_points: (N, d) float, (x, y) or (x, y, z) in pixels of ``fixed``.
        moving_points: (N, d) float, the same places in pixels of ``moving``; they may lie outside.
        transform: (d, d + 1) float, takes (x, y, 1) or (x, y, z, 1) of ``fixed`` to ``moving``, pixels; None: unknown.
        start: (d, d + 1) float, likewise, from which a registration starts; None: the middles lie on each other.
        modalities: of ``fixed`` and of ``moving``, such as ("mr", "ct"); equal words mean that intensities correspond.
        spacing_mm: millimetres per pixel of ``fixed`` and of ``moving``, (2,), or None where unknown; volumes must
            have (2, 3), each (x, y, z).
        fixed_mask: (H, W) or (D, H, W) integer labels on the grid of ``fixed``, 0 is background.
        moving_mask: likewise of ``moving``.
        affines: (2, 4, 4) float, of volumes, take (x, y, z, 1) in voxels of ``fixed`` and of ``moving`` to
            millimetres in LPS; None where unknown.
        name: what errors and tables call it.
        subject: who or what it shows; samples of one subject never part over splits. Empty: ``name``.
    """

    fixed: np.ndarray
    moving: np.ndarray
    fixed_points: Any = None
    moving_points: Any = None
    transform: Any = None
    start: Any = None
    modalities: tuple[str, str] = ("", "")
    spacing_mm: Any = None
    fixed_mask: np.ndarray | None = None
    moving_mask: np.ndarray | None = None
    affines: Any = None
    name: str = ""
    subject: str = ""
