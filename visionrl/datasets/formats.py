"""The formats of data sets: a name, what it yields and the function that reads it.

One decorated function adds a format to every environment and to the command line::

    @register_format("my-format", kind=ImageSample)
    def read_my_format(path: Path, options: ReadOptions) -> list[ImageSample]:
        return [ImageSample(image=..., points={"tip": (3, 4)}, name=file.stem) for file in path.glob("*.dat")]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from visionrl.datasets.samples import (
    CaptionSample,
    ClipSample,
    ImageSample,
    MotSample,
    PairSample,
    QuestionSample,
    VideoSample,
    ViewSample,
    VolumeSample,
)

Sample = (
    ImageSample
    | VideoSample
    | MotSample
    | ClipSample
    | VolumeSample
    | PairSample
    | CaptionSample
    | QuestionSample
    | ViewSample
)
ReaderT = TypeVar("ReaderT", bound=Callable[..., Sequence[Any]])


@dataclass(frozen=True)
class ReadOptions:
    """Options of a reader beside the path.

    Attributes:
        split: "train", "val", "test" or "all". Only a reader of an embedded set must obey it (it never gets
            "all"); for every other reader the samples are split after reading, so it may leave out what belongs
            to another split.
    """

    split: str = "all"


@dataclass(frozen=True)
class Entry:
    """A sample that is not read yet: enough to split by, and how to read it.

    A reader of large files returns entries, so that only the samples of the requested split are decoded.

    Attributes:
        name: unique within the data set.
        subject: who or what it shows; the entries of one subject never part over splits.
        read: returns the sample; called once.
        split: the split in which the data set itself has it; empty where it has none.
    """

    name: str
    subject: str
    read: Callable[[], Sample]
    split: str = ""


@dataclass(frozen=True)
class Format:
    """One registered format.

    Attributes:
        name: as in ``"NAME:PATH"``.
        kind: the sample type that it yields.
        read: ``read(path, options)``; returns samples or entries.
        embedded: it has no path and splits of its own; ``read(None, options)`` obeys ``options.split``.
        own_splits: ``read`` finds the splits of a path itself and tells them in its entries; folders called ``train``
            and so on are its own affair.
    """

    name: str
    kind: type[Sample]
    read: Callable[..., Sequence[Any]]
    embedded: bool = False
    own_splits: bool = False


_FORMATS: dict[str, Format] = {}


def register_format(
    name: str, *, kind: type[Sample], embedded: bool = False, own_splits: bool = False
) -> Callable[[ReaderT], ReaderT]:
    """Decorator that makes a reader known under a name.

    Args:
        name: letters, digits, ``-`` and ``_``.
        kind: one of ``Sample``, such as ``ImageSample``.
        embedded: see ``Format``.
        own_splits: see ``Format``.

    Raises:
        ValueError: the name is taken or has other characters; the kind is no sample type.
    """
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"a format's name must be letters, digits, - and _, got {name!r}")
    if kind not in get_args(Sample):
        known = " or ".join(sample.__name__ for sample in get_args(Sample))
        raise ValueError(f"kind must be {known}, got {kind!r}")
    if name in _FORMATS:
        raise ValueError(f"format {name!r} is registered already, by {_FORMATS[name].read.__module__}")

    def register(read: ReaderT) -> ReaderT:
        _FORMATS[name] = Format(name, kind, read, embedded, own_splits)
        return read

    return register


def list_formats(kind: type[Sample] | None = None) -> list[Format]:
    """The registered formats in order of name; with a kind, those that yield it."""
    return [form for _, form in sorted(_FORMATS.items()) if kind in (None, form.kind)]


def find_format(name: str, kind: type[Sample]) -> Format:
    """The format of a name.

    Raises:
        ValueError: it is unknown, or yields samples of another kind.
    """
    if name not in _FORMATS:
        known = ", ".join(f"{form.name} ({form.kind.__name__})" for form in list_formats())
        raise ValueError(f'data must be "FORMAT:PATH" with a known FORMAT, got {name!r}; known: {known}')
    form = _FORMATS[name]
    if form.kind is not kind:
        fitting = ", ".join(form.name for form in list_formats(kind))
        raise ValueError(
            f"format {name!r} yields {form.kind.__name__}, but {kind.__name__} is needed; "
            f"formats for it: {fitting}"
        )
    return form


def parse(data: str) -> tuple[str, str]:
    r"""``"FORMAT:PATH"`` in its two parts, at the first colon: ``"pts:C:\x"`` is ``("pts", "C:\x")``.

    An embedded set has no path: ``"chest-xray"`` is ``("chest-xray", "")``.
    """
    name, _, path = data.partition(":")
    return name, path


def check_path(form: Format, path: str) -> Path | None:
    """The folder or file to read, absolute, or None for an embedded set.

    Raises:
        ValueError: a path is missing, superfluous, or does not exist.
    """
    if form.embedded and path:
        raise ValueError(f"format {form.name!r} is an embedded data set and takes no path, got {path!r}")
    if form.embedded:
        return None
    if not path:
        raise ValueError(f'format {form.name!r} needs a path: "{form.name}:PATH"')
    if not Path(path).exists():
        raise ValueError(f"the path of {form.name!r} must exist, got {path!r}")
    return Path(path)
