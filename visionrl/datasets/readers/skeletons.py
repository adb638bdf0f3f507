"""Poses of people over time, with the action of each clip: ``"skeletons:FILE.npz"``, or a folder of such files.

A file has ``poses`` (frames, joints, 2 or 3), those of all clips in a row; ``offsets`` (clips + 1,), where each
begins; ``labels`` (clips,), numbers into ``class_names``; and ``joint_names``. ``source_group`` (clips,) says which
clips of a class are of one film, and so stay in one split. x grows to the right, y downwards, of any unit and origin.
Files of a folder whose names end with a split's, such as ``jhmdb_train.npz`` and ``jhmdb_val.npz``, are these splits.

Each clip has the poses as ``features`` (T, joints * axes), and pictures drawn of them as ``frames`` (T, 3, 48, 48): the
right side of the body in the first channel, the left in the second, the middle in the third.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.npz import read_npz
from visionrl.datasets.readers.files import files_ending
from visionrl.datasets.samples import ClipSample
from visionrl.datasets.stated_splits import split_of

SIDE = 48
BONES = (
    ("face", "neck"),
    ("neck", "belly"),
    ("neck", "shoulder"),
    ("shoulder", "elbow"),
    ("elbow", "wrist"),
    ("belly", "hip"),
    ("hip", "knee"),
    ("knee", "ankle"),
)
NEEDED = ("poses", "offsets", "labels", "class_names", "joint_names")


@register_format("skeletons", kind=ClipSample, own_splits=True)
def read_skeletons(path: Path, options: ReadOptions) -> list[Entry]:
    """The clips of one file or of the files of a folder, in their order.

    Raises:
        ValueError: there is no file, or one lacks an array or has arrays that do not fit.
    """
    files = files_ending(path, ".npz") if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path} must hold files of poses (*.npz), found none")
    splits = [split_of(file.stem.rpartition("_")[2]) or "" for file in files]
    splits = splits if path.is_dir() and all(splits) else [""] * len(files)
    return [entry for file, split in zip(files, splits, strict=True) for entry in _entries(file, split)]


def _entries(file: Path, split: str) -> list[Entry]:
    """The clips of one file."""
    found = read_npz(file, "an .npz file of poses")
    if lost := [key for key in NEEDED if key not in found]:
        raise ValueError(f"{file} must have the arrays {', '.join(NEEDED)}, {', '.join(lost)} is missing")
    poses, offsets = np.asarray(found["poses"], np.float32), found["offsets"].astype(int)
    classes, joints = found["class_names"].astype(str).tolist(), found["joint_names"].astype(str).tolist()
    labels = found["labels"].astype(int)
    if poses.ndim != 3 or poses.shape[1] != len(joints) or poses.shape[2] not in (2, 3):
        raise ValueError(
            f"{file}: poses must be (frames, {len(joints)} joints, 2 or 3), got shape {poses.shape}"
        )
    if len(offsets) != len(labels) + 1 or offsets[0] != 0 or offsets[-1] != len(poses):
        raise ValueError(
            f"{file}: offsets must go from 0 to {len(poses)}, one more than clips, got {offsets}"
        )
    if (np.diff(offsets) < 1).any() or not ((labels >= 0) & (labels < len(classes))).all():
        raise ValueError(f"{file}: each clip must have a frame or more and a label among class_names")
    groups = found.get("source_group", np.arange(len(labels)))
    if groups.shape != labels.shape:
        raise ValueError(
            f"{file}: source_group must be one number a clip ({len(labels)}), got shape {groups.shape}"
        )
    return [
        Entry(
            f"{file.stem}/{number}",
            f"{classes[label]}/{group}",
            partial(_read, poses[start:end], joints, classes[label]),
            split,
        )
        for number, (start, end, label, group) in enumerate(
            zip(offsets[:-1], offsets[1:], labels.tolist(), groups.tolist(), strict=True)
        )
    ]


def _read(poses: np.ndarray, joints: Sequence[str], label: str) -> ClipSample:
    """One clip, drawn."""
    return ClipSample(joint_maps(poses, joints), poses.reshape(len(poses), -1), label)


def joint_maps(poses: np.ndarray, joints: Sequence[str]) -> np.ndarray:
    """(T, 3, 48, 48) uint8 pictures of poses (T, J, 2 or 3), the clip's extent filling the square."""
    known = np.isfinite(poses[..., :2]).all(axis=-1)
    flat = poses[..., :2][known] if known.any() else np.zeros((1, 2), np.float32)
    low, high = flat.min(axis=0), flat.max(axis=0)
    scale = (SIDE - 8) / max(float((high - low).max()), 1e-6)
    places = (poses[..., :2] - (low + high) / 2) * scale + (SIDE - 1) / 2
    sides = [0 if name.startswith("right") else 1 if name.startswith("left") else 2 for name in joints]
    bones = [
        (a, b)
        for a, first in enumerate(joints)
        for b, second in enumerate(joints)
        if (first.rpartition("_")[2], second.rpartition("_")[2]) in BONES
        and (sides[a] == sides[b] or 2 in (sides[a], sides[b]))
    ]
    maps = np.zeros((len(poses), 3, SIDE, SIDE), np.uint8)
    for time in range(len(poses)):
        spots = np.rint(np.nan_to_num(places[time]) * 16).astype(int).tolist()
        for a, b in bones:
            if known[time, a] and known[time, b]:
                plane = maps[time, min(sides[a], sides[b])]
                cv2.line(plane, spots[a], spots[b], 150, 1, cv2.LINE_AA, 4)
        for joint, spot in enumerate(spots):
            if known[time, joint]:
                cv2.circle(maps[time, sides[joint]], spot, 24, 255, -1, cv2.LINE_AA, 4)
    return maps
