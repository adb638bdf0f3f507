"""The files that a prediction is about, each read when its turn comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from visionrl.datasets import ImageSample, PairSample, VolumeSample, XraySample, list_formats, load
from visionrl.datasets.formats import parse
from visionrl.datasets.unlabelled import (
    files_in,
    is_volume,
    read_unlabelled,
    read_unlabelled_pair,
    read_unlabelled_xrays,
)


@dataclass(frozen=True)
class Input:
    """One file, or one pair of files.

    Attributes:
        file: what the user calls it.
        read: gives its sample; raises ValueError, OSError or ImportError.
    """

    file: str
    read: Callable[[], Any]


def inputs_of(words: Sequence[str], kind: type) -> list[Input]:
    """The inputs that words of a command line name: files, folders, "FORMAT:PATH"; for pairs, files two by two.

    Args:
        words: in order.
        kind: of the samples.

    Raises:
        ValueError: there is none, or a word names no file.
    """
    if not words:
        raise ValueError("files must be one or more files, folders or FORMAT:PATH, got none")
    formats = {form.name for form in list_formats(kind)}
    found, alone = [], []
    for word in words:
        name, path = parse(word)
        if name in formats and (path or not Path(word).exists()):
            found += from_format(word, kind)
        else:
            alone.append(Path(word).expanduser())
    if missing := [path for path in alone if not path.exists()]:
        raise ValueError(f"files must exist, got {str(missing[0])!r}")
    if kind is PairSample:
        return found + pairs_of(alone)
    if kind is XraySample:
        return found + xrays_of(alone)
    if kind not in (ImageSample, VolumeSample) and alone:
        names = ", ".join(sorted(formats))
        raise ValueError(f"files must be FORMAT:PATH with one of {names}, got {str(alone[0])!r}")
    for place in alone:
        files = files_in(place, kind) if place.is_dir() else [place]
        found += [Input(str(file), partial(read_unlabelled, file, kind)) for file in files]
    return found


def from_format(word: str, kind: type) -> list[Input]:
    """All samples of a data set.

    Raises:
        ValueError: it cannot be read.
    """
    samples = load(word, kind=kind, split="all")
    return [Input(sample.name, partial(lambda one: one, sample)) for sample in samples]


def pairs_of(paths: Sequence[Path]) -> list[Input]:
    """Files two by two: fixed, moving, fixed, moving, ...

    Raises:
        ValueError: one is left over.
    """
    if len(paths) % 2:
        raise ValueError(f"files must be pairs, fixed and moving in turn, got {len(paths)} files")
    pairs = zip(paths[::2], paths[1::2], strict=True)
    return [Input(f"{a} {b}", partial(read_unlabelled_pair, a, b)) for a, b in pairs]


def xrays_of(paths: Sequence[Path]) -> list[Input]:
    """X-rays, one a view, then the CT that belongs to them, and so on.

    Raises:
        ValueError: a CT has no X-ray before it, or X-rays have no CT behind them.
    """
    found, films = [], list[Path]()
    for path in paths:
        if not is_volume(path):
            films.append(path)
            continue
        if not films:
            break
        words = " ".join(map(str, [*films, path]))
        found.append(Input(words, partial(read_unlabelled_xrays, tuple(films), path)))
        films = []
    else:
        if not films:
            return found
    raise ValueError(f"files must be X-rays and then their CT, in turn, got {' '.join(map(str, paths))}")
