"""Captures by several calibrated cameras: ``"views:FILE"``, an .npz or .json file, or a folder of such files.

A file has names and arrays; N captures, V cameras, J points:

* the cameras: ``P`` (V, 3, 4), or ``K`` (V, 3, 3), ``R`` (V, 3, 3) and ``t`` (V, 3), where a camera sees R x + t; each
  may have N in front, where they move. ``distortion`` (V, 5), OpenCV's k1 k2 p1 p2 k3: detections are then of the
  pictures as they were taken, and are freed from it; it asks for ``K``;
* ``detections`` (N, V, J, 2), pixels, NaN (in JSON null) where there is none, and ``scores`` (N, V, J) in [0, 1];
* ``points`` or ``joints`` (N, J, 3), where they truly are. One of detections and points at least; N may be left out
  where it is 1;
* ``unit`` of points, ``t`` and ``P``: "mm", "cm" or "m", or the word and more; mm where it is left out;
* ``joint_names`` (J,), ``camera_names`` or ``camera_name`` (V,), ``resolution`` (2,) or (V, 2), ``links`` (n, 2),
  ``detector_px``, see ``ViewSample``;
* ``subject`` (N,), else ``sequence`` and ``person`` (N,), of which one subject is made; ``split`` (N,).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.npz import read_npz
from visionrl.datasets.readers.files import files_ending
from visionrl.datasets.samples import ViewSample
from visionrl.datasets.stated_splits import split_of
from visionrl.datasets.text import read_json

UNITS = {"mm": 1.0, "millimet": 1.0, "cm": 10.0, "centimet": 10.0, "m": 1000.0, "met": 1000.0}
SUFFIXES = (".npz", ".json")


@register_format("views", kind=ViewSample)
def read_views(path: Path, options: ReadOptions) -> list[Entry]:
    """The captures of one file, or of the files of a folder, in their order.

    Raises:
        ValueError: there is no file, or one lacks an array or has arrays that do not fit.
    """
    files = [file for end in SUFFIXES for file in files_ending(path, end)] if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path} must hold files of captures (*.npz, *.json), found none")
    return [entry for file in sorted(files) for entry in _entries(file)]


def _entries(file: Path) -> list[Entry]:
    """The captures of one file."""
    found = _arrays(file)
    scale = _scale(file, found)
    cameras = _cameras(file, found, scale)
    places, truth = found.get("detections"), found.get("points", found.get("joints"))
    if places is None and truth is None:
        raise ValueError(f"{file} must have detections or points, got neither")
    places = _per_capture(file, "detections", places, 4)
    truth = _per_capture(file, "points", truth, 3)
    scores = _per_capture(file, "scores", found.get("scores"), 3)
    rows = truth if places is None else places
    assert rows is not None
    count = len(rows)
    for name, array in (("points", truth), ("scores", scores)):
        if array is not None and len(array) != count:
            raise ValueError(f"{file}: {name} must be of {count} captures, as the rest, got {len(array)}")
    if cameras.ndim == 4 and len(cameras) != count:
        raise ValueError(f"{file}: cameras must be of {count} captures, as the rest, got {len(cameras)}")
    if places is not None and "distortion" in found:
        places = _undistorted(file, found, places)
    joints = rows.shape[-2]
    names = _words(found.get("joint_names"), joints)
    views = _words(found.get("camera_names", found.get("camera_name")), 0)
    subjects = _subjects(file, found, count)
    splits = [split_of(word) for word in _words(found.get("split"), 0)] or [""] * count
    if len(splits) != count:
        raise ValueError(f"{file}: split must be one a capture ({count}), got {len(splits)}")
    more = {"joint_names": names, "camera_names": views, **_common(file, found)}
    entries: list[Entry] = []
    for number in range(count):
        sample = ViewSample(
            cameras[number] if cameras.ndim == 4 else cameras,
            detections=None if places is None else places[number],
            scores=None if scores is None else scores[number],
            points=None if truth is None else truth[number] * scale,
            **more,
        )
        name = file.stem if count == 1 else f"{file.stem}/{number}"
        entries.append(Entry(name, subjects[number] or name, partial(_same, sample), splits[number]))
    return entries


def _common(file: Path, found: dict[str, Any]) -> dict[str, Any]:
    """The links, the sizes of the pictures and the detector's error, which all captures of a file share."""
    common: dict[str, Any] = {"links": found.get("links", ())}
    if "resolution" in found:
        common["resolution"] = found["resolution"]
    if "detector_px" in found:
        error = np.asarray(found["detector_px"]).ravel()
        if len(error) != 1:
            raise ValueError(f"{file}: detector_px must be one number, got {len(error)}")
        common["detector_px"] = float(error[0])
    return common


def _same(sample: ViewSample) -> ViewSample:
    """The sample itself."""
    return sample


def _arrays(file: Path) -> dict[str, Any]:
    """The arrays of a file by name."""
    if file.suffix.lower() == ".npz":
        return dict(read_npz(file, "an .npz file of captures"))
    content = read_json(file)
    if not isinstance(content, dict):
        raise ValueError(f"{file} must hold one object with names and arrays, got {type(content).__name__}")
    found = {}
    for name, value in content.items():
        words = name in ("unit", "joint_names", "camera_names", "camera_name", "subject", "sequence", "split")
        try:
            found[name] = np.asarray(value, str if words else float)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{file}: {name} must be an array of numbers, got {value!r:.80}") from error
    return found


def _scale(file: Path, found: dict[str, Any]) -> float:
    """Millimetres per unit."""
    if "unit" not in found:
        return 1.0
    word = " ".join(np.asarray(found["unit"]).astype(str).ravel()).strip().lower()
    for begin in sorted(UNITS, key=len, reverse=True):
        if word == begin or (len(begin) > 2 and word.startswith(begin)):
            return UNITS[begin]
    raise ValueError(f"{file}: unit must be mm, cm or m, got {word!r:.60}")


def _cameras(file: Path, found: dict[str, Any], scale: float) -> np.ndarray:
    """(V, 3, 4) or (N, V, 3, 4), for millimetres."""
    if "P" in found:
        cameras = np.asarray(found["P"], float)
    elif lost := [name for name in ("K", "R", "t") if name not in found]:
        raise ValueError(f"{file} must have P, or K, R and t of the cameras, {', '.join(lost)} is missing")
    else:
        inner, turn, shift = (np.asarray(found[name], float) for name in ("K", "R", "t"))
        if inner.shape[-2:] != (3, 3) or turn.shape[-2:] != (3, 3) or shift.shape != turn.shape[:-1]:
            raise ValueError(
                f"{file}: K and R must be (V, 3, 3) and t (V, 3), got {inner.shape}, {turn.shape}, {shift.shape}"
            )
        cameras = inner @ np.concatenate([turn, shift[..., None]], axis=-1)
    if cameras.ndim not in (3, 4) or cameras.shape[-2:] != (3, 4):
        raise ValueError(f"{file}: P must be (V, 3, 4), got shape {cameras.shape}")
    return np.asarray(cameras * np.array([1 / scale] * 3 + [1.0]))


def _per_capture(file: Path, name: str, array: Any, axes: int) -> np.ndarray | None:
    """An array with one entry a capture."""
    if array is None:
        return None
    array = np.asarray(array, float)
    array = array[None] if array.ndim == axes - 1 else array
    if array.ndim != axes or not array.size:
        raise ValueError(f"{file}: {name} must have {axes} axes, captures first, got shape {array.shape}")
    return array


def _undistorted(file: Path, found: dict[str, Any], places: np.ndarray) -> np.ndarray:
    """Detections as cameras without distortion would have them."""
    lens, inner = np.asarray(found["distortion"], float), np.asarray(found.get("K", ()), float)
    if inner.ndim != 3 or lens.ndim != 2 or len(lens) != len(inner) or len(inner) != places.shape[1]:
        raise ValueError(f"{file}: distortion must be (V, 5), beside K (V, 3, 3), got shape {lens.shape}")
    out = places.copy()
    for view in range(places.shape[1]):
        flat = places[:, view].reshape(-1, 1, 2)
        there = ~np.isnan(flat).any(axis=(1, 2))
        if there.any():
            free = cv2.undistortPoints(flat[there], inner[view], lens[view], P=inner[view])
            flat = flat.copy()
            flat[there] = free
        out[:, view] = flat.reshape(places[:, view].shape)
    return out


def _words(value: Any, count: int) -> list[str]:
    """Names, or as many numbers."""
    return [str(k) for k in range(count)] if value is None else np.asarray(value).astype(str).ravel().tolist()


def _subjects(file: Path, found: dict[str, Any], count: int) -> list[str]:
    """The subject of each capture; empty where unknown."""
    keys = ["subject"] if "subject" in found else [key for key in ("sequence", "person") if key in found]
    if not keys:
        return [""] * count
    columns = [_words(found[key], 0) for key in keys]
    if any(len(column) != count for column in columns):
        raise ValueError(f"{file}: {', '.join(keys)} must be one a capture ({count})")
    return ["/".join(row) for row in zip(*columns, strict=True)]
