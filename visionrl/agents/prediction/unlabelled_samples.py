"""Samples without labels, made of what a user has: files, arrays, lists of them; one function a kind of sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.agents.prediction.inputs import set_of
from visionrl.agents.prediction.prompts import asked_about
from visionrl.datasets import (
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
    load,
)
from visionrl.datasets.readers.files import image_of, read_image
from visionrl.datasets.unlabelled import (
    read_unlabelled,
    read_unlabelled_pair,
    unlabelled_clip,
    unlabelled_video,
    volume_of,
    with_xrays,
)

PAIRED = (PairSample, XraySample)  # made of two files


def image_sample(data: Any, **more: Any) -> ImageSample:
    """An image, of a file, an array or a sample with a caption."""
    if isinstance(data, CaptionSample):
        return ImageSample(data.image, name=data.name, **more)
    if isinstance(data, str | Path):
        return replace(read_unlabelled(Path(data), ImageSample), **more)
    return ImageSample(image_of(data), **more)


def volume_sample(data: Any, **more: Any) -> VolumeSample:
    """A volume, of a file, or of an array with ``spacing_mm``.

    Raises:
        ValueError: an array comes without it.
    """
    if isinstance(data, str | Path):
        return replace(read_unlabelled(Path(data), VolumeSample), **more)
    if "spacing_mm" not in more:
        raise ValueError("spacing_mm must be given with an array of voxels, (x, y, z) in millimetres")
    return VolumeSample(volume_of(data), **more)


def pair_sample(fixed: Any, moving: Any, **more: Any) -> PairSample:
    """A pair, of two files or two arrays."""
    if isinstance(fixed, str | Path):
        return replace(read_unlabelled_pair(Path(fixed), Path(moving)), **more)
    return PairSample(of_a_pair(fixed), of_a_pair(moving), **more)


def video_sample(data: Any, box: Any, **more: Any) -> VideoSample:
    """A video, of a file or of frames, with the object's box in its first frame."""
    return replace(unlabelled_video(frames_first(data), box), **more)


def clip_sample(data: Any, **more: Any) -> ClipSample:
    """A clip, of a file, a folder of pictures or frames."""
    return replace(unlabelled_clip(frames_first(data)), **more)


def mot_sample(data: Any, **more: Any) -> MotSample:
    """Frames with detections, of a sequence in MOT's layout or of arrays."""
    if isinstance(data, str | Path):
        return replace(only_one(load(f"mot:{data}", kind=MotSample, split="all"), data), **more)
    return MotSample(frames_first(data), **more)


def view_sample(data: Any, **more: Any) -> ViewSample:
    """A capture, of a file with one."""
    return replace(only_one(load(f"views:{data}", kind=ViewSample, split="all"), data), **more)


def image_set(data: Any, **more: Any) -> ImageSet:
    """The set of the images of a folder, of "FORMAT:PATH", or of a list of files, arrays or samples."""
    if isinstance(data, str | Path):
        return replace(set_of([str(data)]).read(), **more)
    images = [
        one
        if isinstance(one, ImageSample)
        else read_unlabelled(Path(one), ImageSample)
        if isinstance(one, str | Path)
        else ImageSample(image_of(one), name=str(number))
        for number, one in enumerate(data)
    ]
    return ImageSet(images, **more)


def xray_sample(xrays: Any, scan: Any, **more: Any) -> XraySample:
    """The sample of X-rays, one or a list of files or arrays, and of a CT, a file, an array or a sample."""
    several = xrays if isinstance(xrays, list | tuple) else [xrays]
    films = [read_image(Path(x)) if isinstance(x, str | Path) else image_of(x) for x in several]
    if isinstance(scan, str | Path):
        scan = read_unlabelled(Path(scan), VolumeSample)
    elif not isinstance(scan, VolumeSample):
        scan = VolumeSample(volume_of(scan), more.pop("spacing_mm", None))
    return replace(with_xrays(scan, films), **more)


def of_a_pair(array: Any) -> np.ndarray:
    """One side of a pair: an image (C, H, W), or a volume (1, D, H, W) where there are too many channels or axes."""
    shape = np.shape(array)
    flat = len(shape) == 2 or (len(shape) == 3 and (shape[0] in (1, 3) or shape[2] in (1, 3)))
    return image_of(array) if flat else volume_of(array)


def only_one(samples: Sequence[Any], data: Any) -> Any:
    """The one sample of a data set.

    Raises:
        ValueError: there are more.
    """
    if len(samples) != 1:
        raise ValueError(f"data must be one sequence, {data} holds {len(samples)}")
    return samples[0]


def frames_first(video: Any) -> Any:
    """A video as T frames (C, H, W): grey ones get their axis, the last axis is C where it is 3 long; paths stay."""
    if not hasattr(video, "__array__"):
        return video
    frames = np.asarray(video)
    if frames.ndim == 3:
        return frames[:, None]
    return frames.transpose(0, 3, 1, 2) if frames.ndim == 4 and frames.shape[3] in (1, 3) else frames


MAKERS: dict[type, Callable[..., Any]] = {
    ImageSample: image_sample,
    VolumeSample: volume_sample,
    PairSample: pair_sample,
    VideoSample: video_sample,
    ClipSample: clip_sample,
    MotSample: mot_sample,
    ViewSample: view_sample,
    XraySample: xray_sample,
    ImageSet: image_set,
    QuestionSample: asked_about,
}
