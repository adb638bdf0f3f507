"""Handwritten characters of Omniglot (Lake, Salakhutdinov & Tenenbaum, 2015): ``"omniglot:FOLDER"``.

FOLDER holds the parts of the data set, as folders or as the zip files that are published, each with
``ALPHABET/CHARACTER/DRAWING.png``: ``images_background`` and ``images_evaluation``, or else the small
``images_background_small1`` and ``images_background_small2``. The first of a pair is for training and validation, a
fifth of its alphabets for the latter, the second for the test; an alphabet that both of them have is left out of the
test. One part alone, a zip file, or a folder of alphabets is cut by alphabet.

The class of a drawing is ``ALPHABET/CHARACTER``, its subject the alphabet. Drawings are black on white.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.guard import decoding
from visionrl.datasets.limits import SLACK, limit_of
from visionrl.datasets.readers.files import files_below, image_of_bytes, is_hidden
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.splits import split_subjects

PAIRS = (
    ("images_background", "images_evaluation"),
    ("images_background_small1", "images_background_small2"),
)
SHARES, SEED = (0.8, 0.2, 0.0), 0  # of the alphabets for training and validation
DARK = 128  # of a pixel of a stroke, at most

Drawing = tuple[str, Path, Callable[[], bytes]]
"""ALPHABET/CHARACTER/DRAWING, the file for messages, and what reads it."""


@register_format("omniglot", kind=ImageSample, own_splits=True)
def read_omniglot(path: Path, options: ReadOptions) -> list[Entry]:
    """The drawings by alphabet and character; ``labels`` is the character.

    Raises:
        ValueError: there is no drawing; a file is no PNG, or not in a folder of a character in one of an alphabet.
    """
    if path.is_file():
        return _entries(_drawings(path), {})
    parts = {place.stem: place for place in sorted(path.iterdir(), key=lambda x: x.is_dir())}
    for first, second in PAIRS:
        if first in parts and second in parts:
            return _both(_drawings(parts[first]), _drawings(parts[second]))
    single = [place for stem, place in parts.items() if stem in PAIRS[0] + PAIRS[1]]
    if len(single) > 1:
        raise ValueError(
            f"{path} must hold {' or '.join(' and '.join(pair) for pair in PAIRS)}, got "
            f"{', '.join(place.name for place in single)}"
        )
    return _entries(_drawings(single[0] if single else path), {})


def _both(first: list[Drawing], second: list[Drawing]) -> list[Entry]:
    """The entries of a pair of parts, with their splits."""
    known = {_alphabet(name) for name, *_ in first}
    splits = split_subjects(known, SHARES, SEED)
    new = [one for one in second if _alphabet(one[0]) not in known]
    return _entries([*first, *new], {**{_alphabet(name): "test" for name, *_ in new}, **splits})


def _entries(drawings: list[Drawing], splits: dict[str, str]) -> list[Entry]:
    """One entry a drawing; ``splits`` are those of alphabets, where they are known."""
    return [
        Entry(name, _alphabet(name), partial(_read, name, file, content), splits.get(_alphabet(name), ""))
        for name, file, content in drawings
    ]


def _alphabet(name: str) -> str:
    return name.split("/")[0]


def _drawings(place: Path) -> list[Drawing]:
    """The drawings of a part, by name."""
    if place.is_dir():
        inside = place / place.name
        root = inside if inside.is_dir() else place
        found = [(file.relative_to(root).as_posix(), file, file.read_bytes) for file in files_below(root)]
    else:
        found = _of_zip(place)
    if not found:
        raise ValueError(f"{place} must hold ALPHABET/CHARACTER/DRAWING.png, found no file")
    return [(_checked_name(name, file), file, content) for name, file, content in found]


def _of_zip(place: Path) -> list[Drawing]:
    """The files of an archive, without the folder that it is wrapped in."""
    try:
        archive = ZipFile(place)  # open until the last of its drawings is read: finding its files takes long
        infos = [info for info in archive.infolist() if not info.is_dir()]
    except (BadZipFile, NotImplementedError, OSError) as error:
        raise ValueError(f"{place} must be a folder or a whole zip file, got: {error}") from None
    shown = [info for info in infos if not any(map(is_hidden, PurePosixPath(info.filename).parts))]
    found: list[Drawing] = []
    for info in sorted(shown, key=lambda one: one.filename):
        if info.file_size > limit_of("IMAGE") + SLACK:
            raise ValueError(f"{place}: {info.filename} must be a drawing, it has {info.file_size} bytes")
        parts = PurePosixPath(info.filename).parts
        name = "/".join(parts[1:] if len(parts) == 4 else parts)
        found.append((name, place / info.filename, partial(_unzipped, archive, place, info.filename)))
    return found


def _unzipped(archive: ZipFile, place: Path, name: str) -> bytes:
    """The content of a file in an archive."""
    with decoding(place / name, "must be whole"):
        return archive.read(name)


def _checked_name(name: str, file: Path) -> str:
    """ALPHABET/CHARACTER/DRAWING of a path.

    Raises:
        ValueError: it is none, or of no PNG file.
    """
    if PurePosixPath(name).suffix.lower() != ".png":
        raise ValueError(f"{file} must be a PNG file; drawings of Omniglot are")
    if name.count("/") != 2:
        raise ValueError(f"{file} must lie in ALPHABET/CHARACTER, it lies in {PurePosixPath(name).parent}")
    return name[: -len(".png")]


def _read(name: str, file: Path, content: Callable[[], bytes]) -> ImageSample:
    """A drawing with its character.

    Raises:
        ValueError: it is no PNG, or its strokes are the brighter part.
    """
    image = image_of_bytes(content(), file, "PNG")
    share = float((image < DARK).mean())
    if share > 0.5:
        raise ValueError(
            f"{file} must be dark strokes on white, got {share:.0%} dark pixels; is it inverted?"
        )
    return ImageSample(image, labels=(name.rpartition("/")[0],), name=name, subject=_alphabet(name))
