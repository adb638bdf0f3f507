"""Features and scores of videos for summaries, as the usual files of TVSum and SumMe have them: ``"tvsum:FILE.h5"``.

A group a video (``eccv16_dataset_tvsum_google_pool5.h5`` of Zhou et al., 2018): ``features`` (T, D) of every 15th
frame, ``user_summary`` (U, n_frames) of 0 and 1, ``picks`` (T,) the frames that have features, ``n_frames``, and
``gtscore`` (T,), the mean importance. The scores of people are ``user_scores`` (U, n_frames or T) where a file has
them, else their summaries, 0 or 1 at each pick; without either, ``gtscore`` as one person. HDF5 is read by h5py.

``"tvsum:FOLDER"`` is the same without HDF5: a file ``NAME.npz`` a video, with these arrays. Scores without features, of
which no agent could learn, are refused.
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.guard import decoding
from visionrl.datasets.npz import read_npz
from visionrl.datasets.readers.files import files_ending
from visionrl.datasets.samples import ClipSample

FPS = 2.0  # of the picks: every 15th of some 30 frames a second


@register_format("tvsum", kind=ClipSample)
def read_tvsum(path: Path, options: ReadOptions) -> list[Entry]:
    """The videos of a file, or of the files of a folder, by name.

    Raises:
        ImportError: h5py is not installed.
        ValueError: it is no such file.
    """
    if path.is_dir() or path.suffix.lower() == ".npz":
        files = files_ending(path, ".npz") if path.is_dir() else [path]
        if not files:
            raise ValueError(f"{path} must hold files of videos (*.npz), found none")
        return [Entry(file.stem, file.stem, partial(_read_npz, file)) for file in files]
    if find_spec("h5py") is None:
        raise ImportError(f'{path} needs h5py: pip install "visionrl[video]"')
    import h5py

    with decoding(path, "must be an HDF5 file"), h5py.File(path, "r") as file:
        names = [name for name in file if isinstance(file[name], h5py.Group)]
        bare = [name for name in names if "features" not in file[name]]
    if bare or not names:
        raise ValueError(
            f"{path} must have one group a video with features, "
            f"{f'{bare[0]!r} has none' if bare else 'found no group'}"
        )
    names = sorted(names, key=lambda name: (len(name), name))
    return [Entry(name, name, partial(_read, path, name)) for name in names]


def _read(path: Path, name: str) -> ClipSample:
    """One video."""
    import h5py

    with decoding(path, "must be an HDF5 file"), h5py.File(path, "r") as file:
        group = file[name]
        found = {key: np.asarray(group[key]) for key in group if isinstance(group[key], h5py.Dataset)}
    return _sample(found, f"{path}: {name}")


def _read_npz(file: Path) -> ClipSample:
    """One video of a folder."""
    found = read_npz(file, "an .npz file of one video")
    return _sample(found, str(file))


def _sample(found: dict[str, Any], where: str) -> ClipSample:
    """The sample of a video's arrays."""
    if "features" not in found:
        raise ValueError(f"{where} must have features; scores alone show an agent nothing")
    return ClipSample(features=found["features"], scores=_scores(found, where), fps=FPS)


def _scores(found: dict[str, Any], where: str) -> np.ndarray | None:
    """(U, T) scores at the picks; people who gave one value to all are left out."""
    count = len(found["features"])
    key = next((key for key in ("user_scores", "user_summary", "gtscore") if key in found), None)
    if key is None:
        return None
    scores = np.atleast_2d(np.asarray(found[key], float))
    if scores.shape[1] != count:
        picks = np.asarray(found.get("picks", ()), int)
        if len(picks) != count or picks.min() < 0 or picks.max() >= scores.shape[1]:
            raise ValueError(
                f"{where}: picks must be one a row of features, within the {scores.shape[1]} frames of {key}, "
                f"got {len(picks)} for {count}"
            )
        scores = scores[:, picks]
    differ = (scores != scores[:, :1]).any(axis=1)
    return scores[differ] if differ.any() else scores
