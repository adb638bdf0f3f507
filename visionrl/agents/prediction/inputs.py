"""The files that a prediction is about, each read when its turn comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from visionrl.agents.prediction.prompts import Click, asked_about, with_prompts
from visionrl.datasets import (
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
    list_formats,
)
from visionrl.datasets.formats import parse
from visionrl.datasets.load import load_lazily
from visionrl.datasets.readers.clips import clips_in
from visionrl.datasets.readers.files import list_images
from visionrl.datasets.readers.masks import read_partly_masked
from visionrl.datasets.unlabelled import (
    files_in,
    is_volume,
    read_unlabelled,
    read_unlabelled_pair,
    read_unlabelled_xrays,
    unlabelled_clip,
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


PLAIN: dict[type, str] = {MotSample: "mot", ViewSample: "views"}
"""Formats of paths without one, by the kind of the samples."""


def inputs_of(
    words: Sequence[str],
    kind: type,
    box: Sequence[float] | None = None,
    clicks: Sequence[Click] | None = None,
    modalities: Sequence[str] | None = None,
    question: str | None = None,
) -> list[Input]:
    """The inputs that words of a command line name: files, folders, "FORMAT:PATH"; for pairs, files two by two.

    Args:
        words: in order.
        kind: of the samples.
        box: (x, y, width, height) of the object in the one image, or in the first frame of the one video, pixels.
        clicks: on the object of the one image, and beside it.
        modalities: of the fixed and of the moving file of each pair, such as ("mr", "ct"); None: they are the same.
        question: about each image.

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
    check_exist(alone, kind)
    if box is not None and kind is not ImageSample and (kind is not VideoSample or found or len(alone) > 1):
        raise ValueError(
            f"box must be given for one video, a file or a folder of pictures, got {' '.join(words)}"
        )
    if kind is ImageSample and (box is not None or clicks):
        return prompted(words, found, alone, box, clicks)
    if modalities is not None and (kind is not PairSample or found):
        raise ValueError(f"modalities must be given for pairs of files alone, got {' '.join(words)}")
    if kind is QuestionSample:
        return found + questions_about(alone, question)
    if kind is PairSample:
        return found + pairs_of(alone, modalities)
    if kind is VideoSample and box is not None:
        video = unlabelled_video(alone[0], box)
        return [Input(str(alone[0]), lambda: video, (alone[0],))]
    if kind is VideoSample and alone:
        raise ValueError(f"box must be given for {alone[0]}: x,y,w,h of the object in the first frame")
    if kind is ClipSample:
        return found + [one for path in alone for one in clips_at(path)]
    if kind in PLAIN:
        return found + [one for path in alone for one in from_format(f"{PLAIN[kind]}:{path}", kind)]
    if kind is XraySample:
        return found + xrays_of(alone)
    if kind not in (ImageSample, VolumeSample) and alone:
        names = ", ".join(sorted(formats))
        raise ValueError(f"files must be FORMAT:PATH with one of {names}, got {str(alone[0])!r}")
    return found + each_file(alone, kind, partial(read_unlabelled, kind=kind))


def clips_at(path: Path) -> list[Input]:
    """The video at a path: a file or a folder of pictures; of another folder, all videos in it.

    Raises:
        ValueError: the folder holds none.
    """
    alone = path.is_file() or bool(list_images(path))
    clips = [path] if alone else clips_in(path)
    if not clips:
        raise ValueError(f"{path} must hold videos or folders of pictures, found none")
    return [Input(str(clip), partial(unlabelled_clip, clip), (clip,)) for clip in clips]


def each_file(paths: Sequence[Path], kind: type, read: Callable[[Path], Any]) -> list[Input]:
    """Each of some files, and each file of that kind in some folders."""
    files = [file for place in paths for file in (files_in(place, kind) if place.is_dir() else [place])]
    return [Input(str(file), partial(read, file), (file,)) for file in files]


def questions_about(paths: Sequence[Path], question: str | None) -> list[Input]:
    """One question about each image of some files and folders.

    Raises:
        ValueError: there are files and no question, or a question and no files.
    """
    if (question is None) != (not paths):
        rule = "question must be given for files" if paths else "question must not be given for FORMAT:PATH"
        raise ValueError(f"{rule}, got {str(paths[0]) if paths else question!r}")
    return each_file(paths, ImageSample, partial(asked_about, question=question))


def check_exist(paths: Sequence[Path], kind: type) -> None:
    """Refuse paths that lead to no file; one that names another kind's format gets a hint.

    Raises:
        ValueError: the first that is missing.
    """
    if missing := [path for path in paths if not path.exists()]:
        foreign = parse(str(missing[0]))[0] in {form.name for form in list_formats()}
        fitting = ", ".join(form.name for form in list_formats(kind) if not form.embedded)
        hint = f"; the task reads FORMAT:PATH with {fitting}" if foreign else ""
        raise ValueError(f"files must exist, got {str(missing[0])!r}{hint}")


def prompted(
    words: Sequence[str],
    found: Sequence[Input],
    alone: Sequence[Path],
    box: Sequence[float] | None,
    clicks: Sequence[Click] | None,
) -> list[Input]:
    """The one image of a command line, with what a user says about it.

    Raises:
        ValueError: there are more images, or it is no file.
    """
    if found or len(alone) != 1 or alone[0].is_dir():
        what = "clicks" if box is None else "box"
        raise ValueError(f"{what} must be given for one image, a file, got {' '.join(words)}")

    def read() -> ImageSample:
        return with_prompts(read_unlabelled(alone[0], ImageSample), box, clicks)

    return [Input(str(alone[0]), read, (alone[0],))]


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
    """All samples of a data set, bad ones too: reading these raises.

    Raises:
        ValueError: it is no data set.
    """
    return [Input(entry.name or word, entry.read) for entry in load_lazily(word, kind)]


def set_of(words: Sequence[str]) -> Input:
    """All images that words name, as one set: files, folders, "FORMAT:PATH".

    Of a folder, also of "masks:FOLDER", the images come with the masks that they have, see ``datasets.readers.masks``.

    Raises:
        ValueError: a word names no image.
    """
    found: list[Callable[[], Sequence[ImageSample]]] = []
    places: list[Path] = []
    for word in words:
        name, path = parse(word)
        folder = Path(path if name == "masks" and path else word).expanduser()
        if folder.is_dir():
            found.append(partial(read_partly_masked, folder))
            places.append(folder)
            continue
        single = inputs_of([word], ImageSample)
        found += [partial(lambda one: [one.read()], one) for one in single]
        places += [place for one in single for place in one.places]
    name = places[0].resolve().name if len(places) == 1 else "images"

    def read() -> ImageSet:
        return ImageSet([one for some in found for one in some()], name=name)

    return Input(" ".join(words), read, tuple(places))


def parse_modalities(text: str) -> tuple[str, str]:
    """Parse "mr,ct", the modalities of the fixed and of the moving file.

    Raises:
        ValueError: they are not two words.
    """
    words = [word.strip() for word in text.split(",")]
    if len(words) != 2 or not all(words):
        raise ValueError(f"modalities must be two words, FIXED,MOVING such as mr,ct, got {text!r}")
    return words[0], words[1]


def pairs_of(paths: Sequence[Path], modalities: Sequence[str] | None = None) -> list[Input]:
    """Files two by two: fixed, moving, fixed, moving, ...; for ``modalities`` see ``inputs_of``.

    Raises:
        ValueError: one is left over.
    """
    if len(paths) % 2:
        raise ValueError(f"files must be pairs, fixed and moving in turn, got {len(paths)} files")
    pairs = zip(paths[::2], paths[1::2], strict=True)
    read = partial(read_unlabelled_pair, modalities=modalities)
    return [Input(f"{a} {b}", partial(read, a, b), (a, b)) for a, b in pairs]


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
