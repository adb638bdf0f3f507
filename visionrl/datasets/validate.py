"""Rules for samples: an invalid one raises one error that names the sample and the rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from visionrl.datasets.arrays import (
    as_array,
    as_floats,
    check_boxes,
    check_image,
    check_inside,
    check_mask,
    check_names,
    check_points,
    check_volume,
)
from visionrl.datasets.samples import (
    CaptionSample,
    ClipSample,
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
from visionrl.datasets.validate_clips import check_clip, check_frames, frame_shape
from visionrl.datasets.validate_language import check_captions, check_question
from visionrl.datasets.validate_views import check_views

LARGEST_BOX = 10  # sides of the frame
LARGEST = 1e6  # of a number in a map, and of a coordinate of a point of a pair
SMALLEST_DETERMINANT = 1e-6


def validate(sample: Any, index: int, kind: type[Any] | None = None) -> Any:
    """The sample in its plain form, once every rule holds.

    Plain form: arrays are NumPy (a CPU tensor is taken as it is), boxes and points float64, labels a tuple, an empty
    ``name`` becomes the index and an empty ``subject`` the name. Every frame of a video is read once; none is kept.

    Rules
        image, frame: (C, H, W) uint8, C = 1 or 3, H and W >= 1; frames are one or more and of one shape.
        box: finite, ``x0 < x1`` and ``y0 < y1``. In an image it lies within ``[0, W] x [0, H]``; in a video
            it may reach out of the frame but must overlap it, and a row of NaN says that the object is not seen.
        ids, boxes, visibility, detections of many objects: one array a frame; no identity twice in a frame.
        clip: frames or features, one at least, as many of both; segments within the clip, start before end; scores
            finite, one row a person, one number a frame, not all of a row equal.
        point: two finite numbers on the image's area, ``-0.5 <= x <= W - 0.5`` and ``-0.5 <= y <= H - 0.5``;
            in a volume three, likewise.
        labels: one a box, or none at all. mask: (H, W) integers >= 0, and ``names`` of those > 0, words.
        spacing_mm: finite and > 0.
        volume: (1, D, H, W) uint8, with three spacings; mask: (D, H, W), and not 0 everywhere; xrays: (V, S, S) uint8.
            affine: (4, 4) finite, with steps as long as the spacings.
        views: two cameras or more, (3, 4) finite and not singular; detections and scores one a camera and point; points
            before all cameras; one known place or more.
        captions, question: texts of a word or more. answers: texts, not empty. places: (N, 2), on the image's area.
        pair: both images (C, H, W) uint8, C = 1 or 3, or both volumes (1, D, H, W) uint8.
            points: as many of ``fixed`` as of ``moving``, (N, d) finite; those of ``fixed`` lie in it.
            transform, start: (d, d + 1) finite, up to 1e6, not singular and without a mirror. modalities: two words.
            spacing_mm: > 0; two numbers, or (2, 3) for volumes, which must have it. affines: (2, 4, 4), of volumes.
            masks: integers >= 0 on the grid of their image, not 0 everywhere. All but the images may be missing.

    Args:
        sample: of one of the types of ``samples``.
        index: its position in the data set, for the message.
        kind: where given, the type that it must have.

    Raises:
        ValueError: a rule is broken; the message has the sample's index and name, the rule and the value.
    """
    kinds: Any = kind or tuple(_CHECKS)
    if not isinstance(sample, kinds):
        wanted = kind.__name__ if kind else " or ".join(known.__name__ for known in _CHECKS)
        raise ValueError(f"sample {index}: must be of type {wanted}, got {type(sample).__name__}")
    if not isinstance(sample.name, str) or not isinstance(sample.subject, str):
        raise ValueError(
            f"sample {index}: name and subject must be strings, got {sample.name!r}, {sample.subject!r}"
        )
    name = sample.name or str(index)
    where = f"sample {index} ({name!r:.300})"
    check = next(check for known, check in _CHECKS.items() if isinstance(sample, known))
    return replace(check(sample, where), name=name, subject=sample.subject or name)


def _image_sample(sample: ImageSample, where: str) -> ImageSample:
    """The checked image with its labels."""
    image = check_image(sample.image, where)
    _, height, width = image.shape
    boxes = None if sample.boxes is None else check_boxes(sample.boxes, where)
    if boxes is not None:
        check_inside(boxes, width, height, where)
        if len(sample.labels) not in (0, len(boxes)):
            raise ValueError(
                f"{where}: labels must be one a box, got {len(sample.labels)} for {len(boxes)} boxes"
            )
    if sample.spacing_mm is not None and not 0 < sample.spacing_mm < np.inf:
        raise ValueError(f"{where}: spacing_mm must be finite and > 0, got {sample.spacing_mm}")
    points = check_points(sample.points, (width, height), where)
    mask = None if sample.mask is None else check_mask(sample.mask, (height, width), where)
    names = check_names(sample.names, where)
    plain: dict[str, Any] = {"boxes": boxes, "labels": tuple(sample.labels), "points": points, "names": names}
    return replace(sample, image=image, mask=mask, **plain)


def _image_set(sample: ImageSet, where: str) -> ImageSet:
    """The checked images, each by a name of its own."""
    if not len(sample.images):
        raise ValueError(f"{where}: images must be one or more, got none")
    images = tuple(validate(one, number, ImageSample) for number, one in enumerate(sample.images))
    names = [one.name for one in images]
    if again := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{where}: images must have names of their own, got {again!r} twice")
    return replace(sample, images=images)


def _video_sample(sample: VideoSample, where: str) -> VideoSample:
    """The checked video with its boxes."""
    frames = check_frames(sample.frames, where)
    boxes = check_boxes(sample.boxes, where, row="frame", gaps=True)
    if len(boxes) != len(frames):
        raise ValueError(
            f"{where}: boxes must be one a frame, got {len(boxes)} boxes for {len(frames)} frames"
        )
    if np.isnan(boxes[0]).any():
        raise ValueError(f"{where}, frame 0: the first frame must show the object, got no box")
    _, height, width = frame_shape(frames, where)
    huge = (boxes[:, 2:] - boxes[:, :2] > [LARGEST_BOX * width, LARGEST_BOX * height]).any(axis=1)
    if huge.any():
        j = int(np.argmax(huge))
        raise ValueError(
            f"{where}, frame {j}: a box must be at most {LARGEST_BOX} times the frame of width {width} and height "
            f"{height}, got {boxes[j].tolist()}"
        )
    lost = (boxes[:, :2] >= [width, height]).any(axis=1) | (boxes[:, 2:] <= 0).any(axis=1)
    if lost.any():
        j = int(np.argmax(lost))
        raise ValueError(
            f"{where}, frame {j}: the box must overlap the frame of width {width} and height {height}, "
            f"got {boxes[j].tolist()}"
        )
    return replace(sample, frames=frames, boxes=boxes)


def _mot_sample(sample: MotSample, where: str) -> MotSample:
    """The checked video of many objects."""
    frames = check_frames(sample.frames, where)
    given = {key: getattr(sample, key) for key in ("ids", "boxes", "visibility", "detections")}
    if (given["ids"] is None) != (given["boxes"] is None):
        raise ValueError(f"{where}: ids and boxes must be given together, or neither")
    if given["ids"] is None and given["detections"] is None:
        raise ValueError(f"{where}: ids and boxes, or detections, must be given, got none")
    rows = {key: value for key, value in given.items() if value is not None}
    for name, value in rows.items():
        if len(value) != len(frames):
            raise ValueError(
                f"{where}: {name} must have one array a frame, got {len(value)} for {len(frames)} frames"
            )
    _, height, width = frame_shape(frames, where)
    plain = [
        _mot_frame({key: value[j] for key, value in rows.items()}, (width, height), f"{where}, frame {j}")
        for j in range(len(frames))
    ]
    columns: dict[str, Any] = {key: [row[key] for row in plain] for key in rows}
    return replace(sample, frames=frames, **columns)


def _mot_frame(rows: dict[str, Any], sides: tuple[int, int], where: str) -> dict[str, np.ndarray]:
    """The checked objects and detections of one frame."""
    plain = _mot_objects(rows, sides, where) if "ids" in rows else {}
    if "detections" in rows:
        found = plain["detections"] = as_floats(rows["detections"], f"{where}: detections").reshape(-1, 5)
        check_boxes(found[:, :4], f"{where}, detections")
        if not np.isfinite(found[:, 4]).all():
            raise ValueError(f"{where}: scores of detections must be finite, got {found[:, 4].tolist()}")
    return plain


def _mot_objects(rows: dict[str, Any], sides: tuple[int, int], where: str) -> dict[str, np.ndarray]:
    """The checked objects of one frame."""
    ids, boxes = as_floats(rows["ids"], f"{where}: ids").reshape(-1), check_boxes(rows["boxes"], where)
    plain = {"ids": ids.astype(np.int64), "boxes": boxes}
    if len(ids) != len(boxes) or len(np.unique(ids)) < len(ids) or (ids != plain["ids"]).any():
        raise ValueError(f"{where}: ids must be whole, one a box and none twice, got {ids.tolist()}")
    lost = ((boxes[:, :2] >= sides) | (boxes[:, 2:] <= 0)).any(axis=1)
    if lost.any():
        raise ValueError(f"{where}: boxes must overlap the frame of {sides}, got {boxes[lost][0].tolist()}")
    if "visibility" in rows:
        part = plain["visibility"] = as_floats(rows["visibility"], f"{where}: visibility").reshape(-1)
        if len(part) != len(boxes) or not ((part >= 0) & (part <= 1)).all():
            raise ValueError(f"{where}: visibility must be in [0, 1], one a box, got {part.tolist()}")
    return plain


def _volume_sample(sample: VolumeSample, where: str) -> VolumeSample:
    """The checked volume with its labels."""
    volume = check_volume(sample.volume, where)
    spacing = as_floats(sample.spacing_mm, f"{where}: spacing_mm")
    if spacing.shape != (3,) or not ((spacing > 0) & (spacing < np.inf)).all():
        raise ValueError(f"{where}: spacing_mm must be (x, y, z), finite and > 0, got {sample.spacing_mm}")
    depth, height, width = volume.shape[1:]
    points = check_points(sample.points, (width, height, depth), where)
    mask = None if sample.mask is None else _label_map(sample.mask, (depth, height, width), where)
    affine = _volume_affine(sample.affine, spacing, where)
    return replace(sample, volume=volume, spacing_mm=spacing, points=points, mask=mask, affine=affine)


def _volume_affine(value: Any, spacing: np.ndarray, where: str) -> np.ndarray | None:
    """The checked place of a volume."""
    if value is None:
        return None
    affine = as_floats(value, f"{where}: affine")
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise ValueError(f"{where}: affine must be (4, 4) finite numbers, got {value}")
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(steps, spacing, rtol=0.01):
        rule = f"steps as long as spacing_mm, {spacing.round(4).tolist()}"
        raise ValueError(f"{where}: affine must have {rule}, got {steps.round(4).tolist()}")
    return affine


def _xray_sample(sample: XraySample, where: str) -> XraySample:
    """The checked volume with its X-rays."""
    xrays = as_array(sample.xrays)
    if xrays.ndim != 3 or xrays.dtype != np.uint8 or xrays.shape[1] != xrays.shape[2] or not xrays.size:
        raise ValueError(
            f"{where}: xrays must be (V, S, S) uint8, square, got {xrays.dtype} of shape {xrays.shape}"
        )
    return replace(_volume_sample(sample, where), xrays=xrays)  # type: ignore[call-arg, return-value]


def _pair_sample(sample: PairSample, where: str) -> PairSample:
    """The checked pair with its points, transforms and label maps."""
    fixed, moving = _pair_images(sample, where)
    axes = fixed.ndim - 1
    points = _pair_points(sample, fixed, where)
    maps = {
        name: _pair_transform(getattr(sample, name), axes, f"{where}: {name}")
        for name in ("transform", "start")
        if getattr(sample, name) is not None
    }
    masks = {
        name: _label_map(getattr(sample, name), image.shape[1:], f"{where}: {name}")
        for name, image in (("fixed_mask", fixed), ("moving_mask", moving))
        if getattr(sample, name) is not None
    }
    ends = {} if points is None else {"fixed_points": points[0], "moving_points": points[1]}
    plain: dict[str, Any] = {"fixed": fixed, "moving": moving, **ends, **maps, **masks}
    plain["spacing_mm"] = _pair_spacing(sample.spacing_mm, axes, where)
    plain["affines"] = _pair_affines(sample.affines, axes, where)
    return replace(sample, **plain, modalities=_modalities(sample.modalities, where))


def _pair_images(sample: PairSample, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Both images, or both volumes."""
    axes = [getattr(value, "ndim", 3) - 1 for value in (sample.fixed, sample.moving)]
    if set(axes) == {2, 3}:
        raise ValueError(
            f"{where}: fixed and moving must be of one dimension, got a {axes[0]}D and a {axes[1]}D image"
        )
    check = check_volume if axes == [3, 3] else check_image
    return check(sample.fixed, f"{where}: fixed"), check(sample.moving, f"{where}: moving")


def _label_map(value: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Check a label map that has a label > 0."""
    mask = check_mask(value, shape, where)
    if not mask.any():
        raise ValueError(f"{where}: mask must have a label > 0, got none")
    return mask


def _pair_points(sample: PairSample, fixed: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray] | None:
    """The points of both images, (N, d) each, or None where neither has any."""
    given = [sample.fixed_points, sample.moving_points]
    missing = [value is None for value in given]
    if all(missing):
        return None
    if any(missing):
        raise ValueError(
            f"{where}: points must be given of both images, got none of {('fixed', 'moving')[missing.index(True)]}"
        )
    axes = fixed.ndim - 1
    first, second = (as_floats(value, f"{where}: points") for value in given)
    for points in (first, second):
        if points.ndim != 2 or points.shape[1] != axes or not len(points):
            raise ValueError(f"{where}: points must be (N, {axes}) with N >= 1, got shape {points.shape}")
        far = ~(np.abs(points) <= LARGEST).all(axis=1)
        if far.any():
            raise ValueError(
                f"{where}: points must be finite, within {LARGEST:g}, got {points[far][0].tolist()}"
            )
    if len(first) != len(second):
        raise ValueError(
            f"{where}: fixed and moving must have the same points, got {len(first)} and {len(second)}"
        )
    size = np.array(fixed.shape[:0:-1])
    outside = ((first < -0.5) | (first > size - 0.5)).any(axis=1)
    if outside.any():
        names = ("width", "height", "depth")
        shape = ", ".join(f"{name} {side}" for name, side in zip(names, size, strict=False))
        raise ValueError(
            f"{where}: fixed points must lie inside the image of {shape}, got {first[outside][0].tolist()}"
        )
    return first, second


def _pair_transform(value: Any, axes: int, where: str) -> np.ndarray:
    """Check a (d, d + 1) map: invertible, and without a mirror."""
    matrix = as_floats(value, where)
    if matrix.shape != (axes, axes + 1) or not (np.abs(matrix) <= LARGEST).all():
        raise ValueError(
            f"{where} must be {axes} x {axes + 1} finite numbers, within {LARGEST:g}, got {matrix.tolist()}"
        )
    size = float(np.linalg.det(matrix[:, :axes]))
    if size < SMALLEST_DETERMINANT:
        raise ValueError(
            f"{where} must not be singular nor mirror (determinant >= {SMALLEST_DETERMINANT}), "
            f"got {matrix.tolist()} of determinant {size:.3g}"
        )
    return matrix


def _modalities(value: Any, where: str) -> tuple[str, str]:
    """The two modalities."""
    words = (value,) if isinstance(value, str) else tuple(value)
    strings = all(isinstance(word, str) for word in words)
    if len(words) != 2 or not strings or (words[0] == "") != (words[1] == ""):
        raise ValueError(
            f"{where}: modalities must be two words, of fixed and of moving, or both empty, got {value!r}"
        )
    return words


def _pair_spacing(value: Any, axes: int, where: str) -> np.ndarray | None:
    """Two spacings, or two times three; images may have none."""
    if value is None and axes == 2:
        return None
    shape = (2,) if axes == 2 else (2, 3)
    spacing = as_floats(np.nan if value is None else value, f"{where}: spacing_mm")
    if spacing.shape != shape or not ((spacing > 0) & (spacing < np.inf)).all():
        what = "two numbers" if axes == 2 else "two times (x, y, z)"
        raise ValueError(
            f"{where}: spacing_mm must be {what}, of fixed and of moving, finite and > 0, got {value}"
        )
    return spacing


def _pair_affines(value: Any, axes: int, where: str) -> np.ndarray | None:
    """The affines of both volumes, or None where unknown."""
    if value is None:
        return None
    affines = as_floats(value, f"{where}: affines")
    if axes == 2 or affines.shape != (2, 4, 4) or not np.isfinite(affines).all():
        raise ValueError(f"{where}: affines must be (2, 4, 4) finite numbers, of volumes, got {value}")
    return affines


_CHECKS: dict[type, Any] = {
    ImageSample: _image_sample,
    ImageSet: _image_set,
    VideoSample: _video_sample,
    MotSample: _mot_sample,
    ClipSample: check_clip,
    XraySample: _xray_sample,
    VolumeSample: _volume_sample,
    PairSample: _pair_sample,
    CaptionSample: check_captions,
    QuestionSample: check_question,
    ViewSample: check_views,
}
