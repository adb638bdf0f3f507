"""Times of actions in videos, as ActivityNet and THUMOS list them: ``"activitynet:FILE.json"``, or its folder.

The file has ``database``, a mapping of names to videos: ``subset`` ("training", "validation", "testing"), ``duration``
in seconds, and ``annotations``, each with ``segment`` [start, end] in seconds and ``label``. The frames of video NAME
are ``NAME`` with a video's ending, or a folder ``NAME`` of pictures, beside the file or in ``frames`` or ``videos``
beside it; a ``v_`` before NAME does no harm. Videos without frames are left out, with a warning that counts them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.frames import VIDEO_SUFFIXES, open_frames
from visionrl.datasets.readers.files import files_ending, list_images
from visionrl.datasets.samples import ClipSample
from visionrl.datasets.stated_splits import split_of
from visionrl.datasets.text import read_json


@register_format("activitynet", kind=ClipSample, own_splits=True)
def read_activitynet(path: Path, options: ReadOptions) -> list[Entry]:
    """The videos that have frames, by name.

    Raises:
        ValueError: the file is no such list, or none of its videos has frames.
    """
    if path.is_dir():
        files = files_ending(path, ".json")
        if len(files) != 1:
            raise ValueError(f"{path} must hold one JSON file of annotations, found {len(files)}")
        path = files[0]
    content = read_json(path)
    database = content.get("database") if isinstance(content, Mapping) else None
    if not isinstance(database, Mapping) or not database:
        raise ValueError(f'{path} must have "database", a mapping of names to videos, got none')
    for name, about in database.items():
        actions = about.get("annotations") or [] if isinstance(about, Mapping) else None
        if not isinstance(actions, list):
            raise ValueError(
                f"{path}: {name} must be a mapping with a list of annotations, got {about!r:.80}"
            )
    places = {name: _frames_of(path.parent, name) for name in database}
    lost = [name for name, place in places.items() if place is None]
    looked = f"looked for NAME.mp4 or a folder NAME in {path.parent}, its frames and its videos"
    if len(lost) == len(places):
        raise ValueError(f"{path} must have the frames of its videos beside it; {looked}")
    if lost:
        warnings.warn(
            f"{path}: {len(lost)} of {len(places)} videos have no frames, {lost[0]!r} first; {looked}",
            stacklevel=2,
        )
    return [
        Entry(
            name, name, partial(_read, path, name, about, place), split_of(str(about.get("subset", ""))) or ""
        )
        for name, about in database.items()
        if (place := places[name]) is not None
    ]


def _frames_of(folder: Path, name: str) -> Path | None:
    """The video file, or the folder of pictures, of a name."""
    for place in (folder, folder / "frames", folder / "videos"):
        for stem in (name, f"v_{name}"):
            if (place / stem).is_dir() and list_images(place / stem):
                return place / stem
            for suffix in VIDEO_SUFFIXES:
                if (place / f"{stem}{suffix}").is_file():
                    return place / f"{stem}{suffix}"
    return None


def _read(path: Path, name: str, about: Mapping[str, Any], place: Path) -> ClipSample:
    """One video with its segments in frames; an end up to a frame beyond the last counts as the last."""
    frames, fps = open_frames(place)
    duration = about.get("duration")
    if fps is None:
        if not isinstance(duration, int | float) or not 0 < duration < np.inf:
            raise ValueError(
                f"{path}: {name}: duration must be > 0 where frames are pictures, got {duration!r}"
            )
        fps = len(frames) / duration
    segments, labels = [], []
    for number, one in enumerate(about.get("annotations") or []):
        where = f"{path}: {name}, annotation {number}"
        pair = one.get("segment") if isinstance(one, Mapping) else None
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(x, int | float) for x in pair):
            raise ValueError(f"{where}: segment must be [start, end] in seconds, got {pair!r:.80}")
        start, end = (second * fps for second in pair)
        segments.append((start, len(frames) if len(frames) < end <= len(frames) + fps else end))
        labels.append(str(one.get("label", "")))
    given = tuple(labels) if all(labels) else ()
    return ClipSample(
        frames, segments=np.array(segments, float).reshape(-1, 2), segment_labels=given, fps=fps
    )
