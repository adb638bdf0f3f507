"""Rules for videos: their frames, and what is known of clips as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from visionrl.datasets.arrays import as_array, as_floats, check_image
from visionrl.datasets.samples import ClipSample


def check_clip(sample: ClipSample, where: str) -> ClipSample:
    """The checked clip with its features, segments and scores."""
    if sample.frames is None and sample.features is None:
        raise ValueError(f"{where}: frames or features must be given, got neither")
    frames = None if sample.frames is None else check_frames(sample.frames, where)
    if frames is not None:
        frame_shape(frames, where)
    features = None if sample.features is None else _features(sample.features, frames, where)
    count = len(sample)
    if not isinstance(sample.label, str):
        raise ValueError(f"{where}: label must be a string, got {sample.label!r:.80}")
    if sample.fps is not None and not 0 < sample.fps < np.inf:
        raise ValueError(f"{where}: fps must be finite and > 0, got {sample.fps}")
    segments = None if sample.segments is None else _segments(sample.segments, count, where)
    labels = tuple(sample.segment_labels)
    if len(labels) not in (0, 0 if segments is None else len(segments)):
        raise ValueError(
            f"{where}: segment_labels must be one a segment, got {len(labels)} for "
            f"{0 if segments is None else len(segments)} segments"
        )
    if bad := [one for one in labels if not isinstance(one, str) or not one]:
        raise ValueError(f"{where}: segment_labels must be words, got {bad[0]!r:.80}")
    scores = None if sample.scores is None else _scores(sample.scores, count, where)
    plain: dict[str, Any] = {"frames": frames, "features": features, "segments": segments, "scores": scores}
    fps = None if sample.fps is None else float(sample.fps)
    return replace(sample, **plain, segment_labels=labels, fps=fps)


def _features(value: Any, frames: Any, where: str) -> np.ndarray:
    """(T, D) finite float32, one row a frame."""
    features = as_floats(value, f"{where}: features").astype(np.float32)
    if features.ndim != 2 or not features.size:
        raise ValueError(f"{where}: features must be (T, D) with T and D >= 1, got shape {features.shape}")
    if frames is not None and len(features) != len(frames):
        raise ValueError(
            f"{where}: features must be one row a frame, got {len(features)} for {len(frames)} frames"
        )
    if not np.isfinite(features).all():
        row = int(np.argmin(np.isfinite(features).all(axis=1)))
        raise ValueError(f"{where}: features must be finite, got NaN or infinity in row {row}")
    return features


def _segments(value: Any, count: int, where: str) -> np.ndarray:
    """(n, 2) segments within the clip, start before end."""
    segments = as_floats(value, f"{where}: segments")
    segments = segments.reshape(0, 2) if not segments.size else segments
    if segments.ndim != 2 or segments.shape[1] != 2:
        raise ValueError(f"{where}: segments must be (n, 2), (start, end) each, got shape {segments.shape}")
    for row, (start, end) in enumerate(segments.tolist()):
        if not (np.isfinite(start) and np.isfinite(end)):
            raise ValueError(f"{where}, segment {row}: start and end must be finite, got {start}, {end}")
        if start >= end:
            raise ValueError(f"{where}, segment {row}: start must be < end, got {start:g} and {end:g}")
        if start < 0 or end > count:
            raise ValueError(
                f"{where}, segment {row}: a segment must lie within the {count} frames, got {start:g} to {end:g}"
            )
    return segments


def _scores(value: Any, count: int, where: str) -> np.ndarray:
    """(U, T) finite scores of one person or more, one a frame."""
    scores = as_floats(value, f"{where}: scores")
    scores = scores[None] if scores.ndim == 1 else scores
    if scores.ndim != 2 or not len(scores):
        raise ValueError(f"{where}: scores must be (users, frames), got shape {scores.shape}")
    if scores.shape[1] != count:
        raise ValueError(f"{where}: scores must be one a frame, got {scores.shape[1]} for {count} frames")
    if not np.isfinite(scores).all():
        user = int(np.argmin(np.isfinite(scores).all(axis=1)))
        raise ValueError(f"{where}: scores must be finite, got NaN or infinity of user {user}")
    flat = (scores == scores[:, :1]).all(axis=1)
    if count > 1 and flat.any():
        user = int(np.argmax(flat))
        raise ValueError(
            f"{where}: scores of a user must differ between frames, user {user} gives {scores[user, 0]:g} to all"
        )
    return scores


def check_frames(frames: Any, where: str) -> Any:
    """Frames with a length and items, one or more."""
    if not (hasattr(frames, "__len__") and hasattr(frames, "__getitem__")):
        raise ValueError(f"{where}: frames must have a length and items, got {type(frames).__name__}")
    if len(frames) == 0:
        raise ValueError(f"{where}: a video must have one frame or more, got 0")
    return as_array(frames) if hasattr(frames, "__array__") else frames


def frame_shape(frames: Sequence[Any], where: str) -> tuple[int, ...]:
    """The shape that all frames share; reads each once."""
    shape: tuple[int, ...] = ()
    for j in range(len(frames)):
        frame = check_image(_read_frame(frames, j, where), f"{where}, frame {j}")
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
