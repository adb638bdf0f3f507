"""What a sample must be; a bad one raises one error that names the sample and the rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from visionrl.datasets.samples import ImageSample, VideoSample

LARGEST_BOX = 10  # sides of the frame


def validate(sample: Any, index: int, kind: type[ImageSample] | type[VideoSample] | None = None) -> Any:
    """The sample in its plain form, once every rule holds.

    Plain form: arrays are NumPy (a CPU tensor is taken as it is), boxes and points float64, labels a tuple,
    an empty ``name`` becomes the index and an empty ``subject`` the name. Every frame of a video is read
    once; none is kept.

    Rules
        image, frame: (C, H, W) uint8, C = 1 or 3, H and W >= 1; frames are one or more and of one shape.
        box: finite, ``x0 < x1`` and ``y0 < y1``. In an image it lies within ``[0, W] x [0, H]``; in a video
            it may reach out of the frame but must overlap it.
        point: two finite numbers on the image's area, ``-0.5 <= x <= W - 0.5`` and ``-0.5 <= y <= H - 0.5``.
        labels: one a box, or none at all. mask: (H, W) integers >= 0. spacing_mm: finite and > 0.

    Args:
        sample: an ``ImageSample`` or a ``VideoSample``.
        index: its place in the data set, for the message.
        kind: where given, the type that it must have.

    Raises:
        ValueError: a rule is broken; the message has the sample's index and name, the rule and the value.
    """
    if not isinstance(sample, kind or (ImageSample, VideoSample)):
        wanted = kind.__name__ if kind else "ImageSample or VideoSample"
        raise ValueError(f"sample {index}: must be of type {wanted}, got {type(sample).__name__}")
    if not isinstance(sample.name, str) or not isinstance(sample.subject, str):
        raise ValueError(
            f"sample {index}: name and subject must be strings, got {sample.name!r}, {sample.subject!r}"
        )
    name = sample.name or str(index)
    where = f"sample {index} ({name!r})"
    check: Any = _image_sample if isinstance(sample, ImageSample) else _video_sample
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
    points = _points(sample.points, width, height, where)
    mask = None if sample.mask is None else _mask(sample.mask, (height, width), where)
    return replace(sample, image=image, boxes=boxes, labels=tuple(sample.labels), points=points, mask=mask)


def _video_sample(sample: VideoSample, where: str) -> VideoSample:
    """The checked video with its boxes."""
    if not (hasattr(sample.frames, "__len__") and hasattr(sample.frames, "__getitem__")):
        raise ValueError(f"{where}: frames must have a length and items, got {type(sample.frames).__name__}")
    frames: Any = _array(sample.frames) if hasattr(sample.frames, "__array__") else sample.frames
    if len(frames) == 0:
        raise ValueError(f"{where}: a video must have one frame or more, got 0")
    boxes = _boxes(sample.boxes, where, row="frame")
    if len(boxes) != len(frames):
        raise ValueError(
            f"{where}: boxes must be one a frame, got {len(boxes)} boxes for {len(frames)} frames"
        )
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


def _frame_shape(frames: Sequence[Any], where: str) -> tuple[int, ...]:
    """The shape that all frames share; reads each once."""
    shape: tuple[int, ...] = ()
    for j in range(len(frames)):
        frame = _picture(_read_frame(frames, j, where), f"{where}, frame {j}")
        shape = shape or frame.shape
        if frame.shape != shape:
            raise ValueError(
                f"{where}, frame {j}: all frames must have the shape of the first, {shape}, got {frame.shape}"
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


def _boxes(value: Any, where: str, row: str = "box") -> np.ndarray:
    """(N, 4) finite boxes of positive area."""
    boxes = _numbers(value, f"{where}: boxes")
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{where}: boxes must have shape (N, 4), got {boxes.shape}")
    bad = ~np.isfinite(boxes).all(axis=1)
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


def _points(points: Any, width: int, height: int, where: str) -> dict[str, np.ndarray]:
    """Point name -> (2,) float64 on the image's area."""
    if not isinstance(points, Mapping):
        raise ValueError(f"{where}: points must be a mapping of name to (x, y), got {type(points).__name__}")
    checked = {}
    for name, value in points.items():
        point = _numbers(value, f"{where}: point {name!r}")
        if point.shape != (2,):
            raise ValueError(f"{where}: point {name!r} must be (x, y), got shape {point.shape}")
        if not np.isfinite(point).all():
            raise ValueError(f"{where}: point {name!r} must be finite, got {point.tolist()}")
        if (point < -0.5).any() or (point > [width - 0.5, height - 0.5]).any():
            raise ValueError(
                f"{where}: point {name!r} must lie inside the image of width {width} and height {height}, "
                f"got {point.tolist()}"
            )
        checked[name] = point
    return checked


def _mask(value: Any, shape: tuple[int, int], where: str) -> np.ndarray:
    """An (H, W) integer array >= 0."""
    mask = _array(value)
    if mask.shape != shape or not np.issubdtype(mask.dtype, np.integer):
        raise ValueError(
            f"{where}: mask must be integers of shape {shape}, got {mask.dtype} of shape {mask.shape}"
        )
    if mask.min() < 0:
        raise ValueError(f"{where}: mask must be >= 0, got {mask.min()}")
    return mask
