"""What a sample must be; a bad one raises one error that names the sample and the rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from visionrl.datasets.samples import ImageSample, MotSample, PairSample, VideoSample, VolumeSample

LARGEST_BOX = 10  # sides of the frame


def validate(sample: Any, index: int, kind: type[Any] | None = None) -> Any:
    """The sample in its plain form, once every rule holds.

    Plain form: arrays are NumPy (a CPU tensor is taken as it is), boxes and points float64, labels a tuple,
    an empty ``name`` becomes the index and an empty ``subject`` the name. Every frame of a video is read
    once; none is kept.

    Rules
        image, frame: (C, H, W) uint8, C = 1 or 3, H and W >= 1; frames are one or more and of one shape.
        box: finite, ``x0 < x1`` and ``y0 < y1``. In an image it lies within ``[0, W] x [0, H]``; in a video
            it may reach out of the frame but must overlap it, and a row of NaN says that the object is not seen.
        ids, boxes, visibility, detections of many objects: one array a frame; no identity twice in a frame.
        point: two finite numbers on the image's area, ``-0.5 <= x <= W - 0.5`` and ``-0.5 <= y <= H - 0.5``;
            in a volume three, likewise.
        labels: one a box, or none at all. mask: (H, W) integers >= 0. spacing_mm: finite and > 0.
        volume: (1, D, H, W) uint8, with three spacings; mask: (D, H, W), and not 0 everywhere.
        pair: see ``datasets.pair_rules``.

    Args:
        sample: an ``ImageSample``, a ``VideoSample``, a ``MotSample``, a ``VolumeSample`` or a ``PairSample``.
        index: its place in the data set, for the message.
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
    where = f"sample {index} ({name!r})"
    check = next(check for known, check in _CHECKS.items() if isinstance(sample, known))
    return replace(check(sample, where), name=name, subject=sample.subject or name)


def _image_sample(sample: ImageSample, where: str) -> ImageSample:
    """The checked image with its labels."""
    image = _picture(sample.image, where)
    _, height, width = image.shape
    boxes = None if sample.boxes is None else _boxes(sample.boxes, where)
    if boxes is not None:
        _check_inside(boxes, width, height, where)
        if len(sample.labels) not in (0, len(boxes)):
            raise ValueError(
                f"{where}: labels must be one a box, got {len(sample.labels)} for {len(boxes)} boxes"
            )
    if sample.spacing_mm is not None and not 0 < sample.spacing_mm < np.inf:
        raise ValueError(f"{where}: spacing_mm must be finite and > 0, got {sample.spacing_mm}")
    points = _points(sample.points, (width, height), where)
    mask = None if sample.mask is None else _mask(sample.mask, (height, width), where)
    return replace(sample, image=image, boxes=boxes, labels=tuple(sample.labels), points=points, mask=mask)


def _video_sample(sample: VideoSample, where: str) -> VideoSample:
    """The checked video with its boxes."""
    frames = _frames(sample.frames, where)
    boxes = _boxes(sample.boxes, where, row="frame", gaps=True)
    if len(boxes) != len(frames):
        raise ValueError(
            f"{where}: boxes must be one a frame, got {len(boxes)} boxes for {len(frames)} frames"
        )
    if np.isnan(boxes[0]).any():
        raise ValueError(f"{where}, frame 0: the first frame must show the object, got no box")
    _, height, width = _frame_shape(frames, where)
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
    frames = _frames(sample.frames, where)
    given = {key: getattr(sample, key) for key in ("ids", "boxes", "visibility", "detections")}
    rows = {key: value for key, value in given.items() if value is not None}
    for name, value in rows.items():
        if len(value) != len(frames):
            raise ValueError(
                f"{where}: {name} must have one array a frame, got {len(value)} for {len(frames)} frames"
            )
    _, height, width = _frame_shape(frames, where)
    plain = [
        _mot_frame({key: value[j] for key, value in rows.items()}, (width, height), f"{where}, frame {j}")
        for j in range(len(frames))
    ]
    columns: dict[str, Any] = {key: [row[key] for row in plain] for key in rows}
    return replace(sample, frames=frames, **columns)


def _mot_frame(rows: dict[str, Any], sides: tuple[int, int], where: str) -> dict[str, np.ndarray]:
    """The checked objects and detections of one frame."""
    ids, boxes = _numbers(rows["ids"], f"{where}: ids").reshape(-1), _boxes(rows["boxes"], where)
    plain = {"ids": ids.astype(np.int64), "boxes": boxes}
    if len(ids) != len(boxes) or len(np.unique(ids)) < len(ids) or (ids != plain["ids"]).any():
        raise ValueError(f"{where}: ids must be whole, one a box and none twice, got {ids.tolist()}")
    lost = ((boxes[:, :2] >= sides) | (boxes[:, 2:] <= 0)).any(axis=1)
    if lost.any():
        raise ValueError(f"{where}: boxes must overlap the frame of {sides}, got {boxes[lost][0].tolist()}")
    if "visibility" in rows:
        part = plain["visibility"] = _numbers(rows["visibility"], f"{where}: visibility").reshape(-1)
        if len(part) != len(boxes) or not ((part >= 0) & (part <= 1)).all():
            raise ValueError(f"{where}: visibility must be in [0, 1], one a box, got {part.tolist()}")
    if "detections" in rows:
        found = plain["detections"] = _numbers(rows["detections"], f"{where}: detections").reshape(-1, 5)
        _boxes(found[:, :4], f"{where}, detections")
        if not np.isfinite(found[:, 4]).all():
            raise ValueError(f"{where}: scores of detections must be finite, got {found[:, 4].tolist()}")
    return plain


def _frames(frames: Any, where: str) -> Any:
    """Frames with a length and items, one or more."""
    if not (hasattr(frames, "__len__") and hasattr(frames, "__getitem__")):
        raise ValueError(f"{where}: frames must have a length and items, got {type(frames).__name__}")
    if len(frames) == 0:
        raise ValueError(f"{where}: a video must have one frame or more, got 0")
    return _array(frames) if hasattr(frames, "__array__") else frames


def _frame_shape(frames: Sequence[Any], where: str) -> tuple[int, ...]:
    """The shape that all frames share; reads each once."""
    shape: tuple[int, ...] = ()
    for j in range(len(frames)):
        frame = _picture(_read_frame(frames, j, where), f"{where}, frame {j}")
        shape = shape or frame.shape
        if frame.shape != shape:
            file = f" ({frames.paths[j]})" if hasattr(frames, "paths") else ""
            raise ValueError(
                f"{where}, frame {j}{file}: all frames must have the shape of the first, {shape}, got {frame.shape}"
            )
    return shape


def _read_frame(frames: Sequence[Any], index: int, where: str) -> Any:
    """One frame; an error while it is read gets the sample's name."""
    try:
        return frames[index]
    except (OSError, ValueError) as error:
        raise ValueError(f"{where}, frame {index}: must be readable, got: {error}") from error


def _array(value: Any) -> np.ndarray:
    """A NumPy view of an array of any library on the CPU."""
    return value if isinstance(value, np.ndarray) else np.asarray(value)


def _picture(value: Any, where: str) -> np.ndarray:
    """A (C, H, W) uint8 image."""
    if not hasattr(value, "__array__"):
        raise ValueError(f"{where}: an image must be an array, got {type(value).__name__}")
    image = _array(value)
    if image.dtype != np.uint8:
        raise ValueError(f"{where}: images are uint8 0-255, got {image.dtype}")
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        hint = "; move the channels to the front" if image.ndim == 3 and image.shape[2] in (1, 3) else ""
        raise ValueError(f"{where}: images are (C, H, W) with C = 1 or 3, got shape {image.shape}{hint}")
    if image.size == 0:
        raise ValueError(f"{where}: an image must have one pixel or more, got shape {image.shape}")
    return image


def _numbers(value: Any, what: str) -> np.ndarray:
    """A float64 array."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be numbers, got {value!r}") from error


def _boxes(value: Any, where: str, row: str = "box", gaps: bool = False) -> np.ndarray:
    """(N, 4) finite boxes of positive area; with ``gaps``, rows of NaN may be among them."""
    boxes = _numbers(value, f"{where}: boxes")
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{where}: boxes must have shape (N, 4), got {boxes.shape}")
    bad = ~np.isfinite(boxes).all(axis=1) & ~(gaps & np.isnan(boxes).all(axis=1))
    if bad.any():
        raise ValueError(
            f"{where}, {row} {np.argmax(bad)}: a box must be finite, got {boxes[np.argmax(bad)].tolist()}"
        )
    bad = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
    if bad.any():
        j = int(np.argmax(bad))
        raise ValueError(f"{where}, {row} {j}: a box must have x0 < x1 and y0 < y1, got {boxes[j].tolist()}")
    return boxes


def _check_inside(boxes: np.ndarray, width: int, height: int, where: str) -> None:
    """Refuses a box that reaches out of the image."""
    out = (boxes[:, :2] < 0).any(axis=1) | (boxes[:, 2:] > [width, height]).any(axis=1)
    if out.any():
        j = int(np.argmax(out))
        raise ValueError(
            f"{where}, box {j}: a box must lie inside the image of width {width} and height {height}, "
            f"got {boxes[j].tolist()}"
        )


def _points(points: Any, sides: tuple[int, ...], where: str) -> dict[str, np.ndarray]:
    """Point name -> (n,) float64 on the area of an image, or in a volume, with n sides (width, height, depth)."""
    axes = f"({', '.join('xyz'[: len(sides)])})"
    if not isinstance(points, Mapping):
        raise ValueError(f"{where}: points must be a mapping of name to {axes}, got {type(points).__name__}")
    checked = {}
    for name, value in points.items():
        point = _numbers(value, f"{where}: point {name!r}")
        if point.shape != (len(sides),):
            raise ValueError(f"{where}: point {name!r} must be {axes}, got shape {point.shape}")
        if not np.isfinite(point).all():
            raise ValueError(f"{where}: point {name!r} must be finite, got {point.tolist()}")
        if (point < -0.5).any() or (point > np.subtract(sides, 0.5)).any():
            what = "image of width {} and height {}" if len(sides) == 2 else "volume of {} x {} x {} voxels"
            raise ValueError(
                f"{where}: point {name!r} must lie inside the {what.format(*sides)}, got {point.tolist()}"
            )
        checked[name] = point
    return checked


def _mask(value: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """An integer array >= 0 of the image's or the volume's shape."""
    mask = _array(value)
    if mask.shape != shape or not np.issubdtype(mask.dtype, np.integer):
        raise ValueError(
            f"{where}: mask must be integers of shape {shape}, got {mask.dtype} of shape {mask.shape}"
        )
    if mask.min() < 0:
        raise ValueError(f"{where}: mask must be >= 0, got {mask.min()}")
    return mask


def _volume_sample(sample: VolumeSample, where: str) -> VolumeSample:
    """The checked volume with its labels."""
    if not hasattr(sample.volume, "__array__"):
        raise ValueError(f"{where}: a volume must be an array, got {type(sample.volume).__name__}")
    volume = _array(sample.volume)
    if volume.dtype != np.uint8 or volume.ndim != 4 or volume.shape[0] != 1 or volume.size == 0:
        raise ValueError(
            f"{where}: volumes are (1, D, H, W) uint8 0-255, got {volume.dtype} of shape {volume.shape}"
        )
    spacing = _numbers(sample.spacing_mm, f"{where}: spacing_mm")
    if spacing.shape != (3,) or not ((spacing > 0) & (spacing < np.inf)).all():
        raise ValueError(f"{where}: spacing_mm must be (x, y, z), finite and > 0, got {sample.spacing_mm}")
    depth, height, width = volume.shape[1:]
    points = _points(sample.points, (width, height, depth), where)
    mask = None if sample.mask is None else _mask(sample.mask, (depth, height, width), where)
    if mask is not None and not mask.any():
        raise ValueError(f"{where}: mask must have a voxel > 0, got none")
    return replace(sample, volume=volume, spacing_mm=spacing, points=points, mask=mask)


def _pair_sample(sample: PairSample, where: str) -> PairSample:
    """The checked pair."""
    from visionrl.datasets.pair_rules import check_pair  # it uses what stands above

    return check_pair(sample, where)


_CHECKS: dict[type, Any] = {
    ImageSample: _image_sample,
    VideoSample: _video_sample,
    MotSample: _mot_sample,
    VolumeSample: _volume_sample,
    PairSample: _pair_sample,
}
