"""The files that a prediction is about, each read when its turn comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from visionrl.datasets import (
    ImageSample,
    ImageSet,
    MotSample,
    PairSample,
    VideoSample,
    VolumeSample,
    XraySample,
    list_formats,
    load,
)
from visionrl.datasets.formats import parse
from visionrl.datasets.unlabelled import (
    files_in,
    is_volume,
    read_unlabelled,
    read_unlabelled_pair,
    read_unlabelled_xrays,
    unlabelled_video,
)


@dataclass(frozen=True)
class Input:
    """One file, or one pair of files.

    Attributes:
        file: what the user calls it.
        read: gives its sample; raises ValueError, OSError or ImportError.
        places: the files, where they are not a part of a data set.
    """

    file: str
    read: Callable[[], Any]
    places: tuple[Path, ...] = ()


def inputs_of(words: Sequence[str], kind: type, box: Sequence[float] | None = None) -> list[Input]:
    """The inputs that words of a command line name: files, folders, "FORMAT:PATH"; for pairs, files two by two.

    Args:
        words: in order.
        kind: of the samples.
        box: (x, y, width, height) of the object in the first frame of the one video, pixels.

    Raises:
        ValueError: there is none, or a word names no file, or the box is not in the video.
    """
    if not words:
        raise ValueError("files must be one or more files, folders or FORMAT:PATH, got none")
    if kind is ImageSet:
        return [set_of(words)]
    formats = {form.name for form in list_formats(kind)}
    found, alone = [], []
    for word in words:
        name, path = parse(word)
        if name in formats and (path or not Path(word).exists()):
            found += from_format(word, kind)
        else:
            alone.append(Path(word).expanduser())
    if missing := [path for path in alone if not path.exists()]:
        foreign = parse(str(missing[0]))[0] in {form.name for form in list_formats()}
        fitting = ", ".join(form.name for form in list_formats(kind) if not form.embedded)
        hint = f"; the task reads FORMAT:PATH with {fitting}" if foreign else ""
        raise ValueError(f"files must exist, got {str(missing[0])!r}{hint}")
    if box is not None and (kind is not VideoSample or found or len(alone) > 1):
        raise ValueError(
            f"box must be given for one video, a file or a folder of pictures, got {' '.join(words)}"
        )
    if kind is PairSample:
        return found + pairs_of(alone)
    if kind is VideoSample and box is not None:
        video = unlabelled_video(alone[0], box)
        return [Input(str(alone[0]), lambda: video, (alone[0],))]
    if kind is VideoSample and alone:
        raise ValueError(f"box must be given for {alone[0]}: x,y,w,h of the object in the first frame")
    if kind is MotSample:
        return found + [one for path in alone for one in from_format(f"mot:{path}", kind)]
    if kind is XraySample:
        return found + xrays_of(alone)
    if kind not in (ImageSample, VolumeSample) and alone:
        names = ", ".join(sorted(formats))
        raise ValueError(f"files must be FORMAT:PATH with one of {names}, got {str(alone[0])!r}")
    for place in alone:
        files = files_in(place, kind) if place.is_dir() else [place]
        found += [Input(str(file), partial(read_unlabelled, file, kind), (file,)) for file in files]
    return found


def parse_box(text: str) -> list[float]:
    """Parse the four numbers of "x,y,w,h".

    Raises:
        ValueError: they are not four numbers.
    """
    try:
        box = [float(part) for part in text.split(",")]
    except ValueError:
        box = []
    if len(box) != 4:
        raise ValueError(f"box must be four numbers x,y,w,h, got {text!r}")
    return box


def from_format(word: str, kind: type) -> list[Input]:
    """All samples of a data set.

    Raises:
        ValueError: it cannot be read.
    """
    samples = load(word, kind=kind, split="all")
    return [Input(sample.name, partial(lambda one: one, sample)) for sample in samples]


def set_of(words: Sequence[str]) -> Input:
    """All images that words name, as one set; those of "FORMAT:PATH" with the masks that they have.

    Raises:
        ValueError: a word names no image.
    """
    found = inputs_of(words, ImageSample)
    places = tuple(place for one in found for place in one.places)
    name = Path(parse(words[0])[1] or words[0]).stem if len(words) == 1 else "images"
    return Input(
        " ".join(words), lambda: ImageSet([one.read() for one in found], name=name or "images"), places
    )


def pairs_of(paths: Sequence[Path]) -> list[Input]:
    """Files two by two: fixed, moving, fixed, moving, ...

    Raises:
        ValueError: one is left over.
    """
    if len(paths) % 2:
        raise ValueError(f"files must be pairs, fixed and moving in turn, got {len(paths)} files")
    pairs = zip(paths[::2], paths[1::2], strict=True)
    return [Input(f"{a} {b}", partial(read_unlabelled_pair, a, b), (a, b)) for a, b in pairs]


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
        found.append(Input(words, partial(read_unlabelled_xrays, tuple(films), path), (*films, path)))
        films = []
    else:
        if not films:
            return found
    raise ValueError(f"files must be X-rays and then their CT, in turn, got {' '.join(map(str, paths))}")
