"""Embedded samples on disk: made once on a machine, then mapped into memory, shared by all its processes.

So are the large blocks of pixels that banks make of them (``stored_block``).

They lie in the folder of the variable VISIONRL_CACHE, else in ``$XDG_CACHE_HOME/visionrl`` or ``~/.cache/visionrl``; an
empty variable or "off" turns the cache off. A set is made anew where its files are missing or damaged, or where this
package's code, its data, or the libraries that draw have changed; what it replaces is removed.

Layout of ``FOLDER/NAME/SPLIT/VERSION``: ``arrays.bin`` holds all arrays one after the other, ``samples.json``
everything else with their places, and ``checksum`` the SHA-256 of ``samples.json``. ``FOLDER/NAME/blocks`` holds the
newest blocks, one a file. The blocks of all sets take 1 GiB at most, and nothing is stored where less than 1 GiB of the
disk is free.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

FORMAT = 1  # of the files
ALIGNMENT = 64  # bytes
WRITING = ".writing-"  # begins the names of folders that are not whole yet
PATIENCE = 3600.0  # seconds after which such a folder is taken for that of a process that died
BLOCKS = 1 << 30  # bytes of the blocks of all sets; those that were used longest ago are removed first
RESERVE = 1 << 30  # bytes of the disk; where fewer are free, nothing is stored
SMALLEST, LARGEST = 4 << 20, 400 << 20  # bytes of a stored block
LIBRARIES = (
    "numpy",
    "scipy",
    "scikit-image",
    "opencv-python-headless",
    "opencv-python",
)  # which draw the sets
_PACKAGE = Path(__file__).resolve().parents[1]


def cache_folder() -> Path | None:
    """The folder of stored sets, or None where the cache is off."""
    asked = os.environ.get("VISIONRL_CACHE")
    if asked is not None:
        return None if asked in ("", "off") else Path(asked).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    with suppress(RuntimeError):  # a user without a home
        return Path(home or Path.home() / ".cache") / "visionrl"
    return None


def stored(name: str, split: str, kind: type, make: Callable[[], list[Any]]) -> list[Any]:
    """The samples of an embedded set's split, from the cache or else made and stored there.

    Arrays are read-only either way.

    Args:
        name: of the set.
        split: "train", "val" or "test".
        kind: their class, a dataclass.
        make: makes them; what cannot be stored is returned as it is.
    """
    folder = cache_folder()
    if folder is None:
        return [_locked(sample) for sample in make()]
    place = folder / name / split / _version()
    if (found := _read(place, kind)) is None:
        made = make()
        with suppress(OSError, TypeError):
            _write(place, made, kind)
        found = _read(place, kind)
    return [_locked(sample) for sample in made] if found is None else found


def stored_block(name: str, key: str, size: int, make: Callable[[], np.ndarray]) -> np.ndarray:
    """A block of bytes made of an embedded set, from the cache or else made and stored there.

    Args:
        name: of the set.
        key: what the block depends on beside this package's code: split, arguments.
        size: bytes; one below ``SMALLEST`` or above ``LARGEST`` is made and not stored.
        make: makes it, (size,) uint8.

    Returns:
        (size,) uint8, read-only where it is mapped.
    """
    folder = cache_folder()
    if folder is None or not SMALLEST <= size <= LARGEST:
        return make()
    digest = hashlib.sha256(f"{_version('banks')} {key}".encode()).hexdigest()[:20]
    place = folder / name / "blocks" / f"{digest}.bin"
    if (found := _mapped(place, size)) is None:
        made = make()
        with suppress(OSError):
            _write_block(place, made)
        found = _mapped(place, size)
    return made if found is None else found


def _mapped(place: Path, size: int) -> np.ndarray | None:
    """The bytes of a file; None where it is missing or of another size."""
    try:
        block = np.memmap(place, np.uint8, "r")
        if block.size != size:
            return None
    except (OSError, ValueError):
        return None
    with suppress(OSError):
        os.utime(place)  # used last
    return np.asarray(block)


def _write_block(place: Path, block: np.ndarray) -> None:
    """Store a block in a file that appears whole or not at all; then remove what was used longest ago."""
    place.parent.mkdir(parents=True, exist_ok=True)
    _check_space(place.parent)
    handle, work = tempfile.mkstemp(prefix=WRITING, dir=place.parent)
    try:
        with open(handle, "wb") as opened:
            opened.write(block.data)
            _sync(opened)
        if _mapped(place, block.size) is None:  # else another process was faster
            os.replace(work, place)
    finally:
        Path(work).unlink(missing_ok=True)
    _remove_blocks(place.parents[2], place)


def _remove_blocks(folder: Path, newest: Path) -> None:
    """Remove the blocks of all sets beyond ``BLOCKS`` bytes but the newest, and what a process left that died."""
    whole, total = [], 0
    for file in folder.glob("*/blocks/*"):
        with suppress(OSError):  # another process removed it
            told = file.stat()
            if not file.name.startswith(WRITING):
                whole.append((told.st_mtime, told.st_size, file))
            elif time.time() - told.st_mtime > PATIENCE:
                file.unlink()
    for _, size, file in sorted(whole, reverse=True):
        total += size
        if total > BLOCKS and file != newest:
            with suppress(OSError):
                file.unlink()


def _check_space(folder: Path) -> None:
    """Refuse to store where little of the disk is free.

    Raises:
        OSError: less than ``RESERVE`` bytes are free.
    """
    if (free := shutil.disk_usage(folder).free) < RESERVE:
        raise OSError(errno.ENOSPC, f"the cache leaves {RESERVE} bytes of the disk free, and {free} are")


@lru_cache(maxsize=2)
def _version(*more: str) -> str:
    """A name for all that the pixels depend on: data, libraries, and code of datasets, ops and ``more`` packages."""
    digest = hashlib.sha256(f"{FORMAT}".encode())
    for library in LIBRARIES:
        with suppress(PackageNotFoundError):
            digest.update(f"{library} {version(library)}\n".encode())
    sources = [file for name in ("datasets", "ops", *more) for file in (_PACKAGE / name).rglob("*.py")]
    for file in sorted([*sources, *(_PACKAGE / "datasets" / "embedded" / "data").iterdir()]):
        if file.is_file():
            digest.update(file.relative_to(_PACKAGE).as_posix().encode() + b"\n" + file.read_bytes())
    return digest.hexdigest()[:20]


def _write(place: Path, samples: Sequence[Any], kind: type) -> None:
    """Store samples in a folder that appears whole or not at all; then remove the set's other versions."""
    place.parent.mkdir(parents=True, exist_ok=True)
    _check_space(place.parent)
    work = Path(tempfile.mkdtemp(prefix=WRITING, dir=place.parent))
    try:
        with open(work / "arrays.bin", "wb") as arrays:
            places: dict[int, Any] = {}
            listed = [
                {field.name: _packed(getattr(sample, field.name), arrays, places) for field in fields(sample)}
                for sample in samples
            ]
            size = arrays.tell()
            _sync(arrays)
        text = json.dumps({"bytes": size, "samples": listed}).encode()
        for file, content in (
            ("samples.json", text),
            ("checksum", hashlib.sha256(text).hexdigest().encode()),
        ):
            with open(work / file, "wb") as opened:
                opened.write(content)
                _sync(opened)
        if _read(place, kind) is None:  # else another process was faster
            shutil.rmtree(place, ignore_errors=True)
            work.rename(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for other in place.parent.iterdir():
        unfinished = other.name.startswith(WRITING) and time.time() - other.stat().st_mtime < PATIENCE
        if other != place and not unfinished:
            shutil.rmtree(other, ignore_errors=True)


def _read(place: Path, kind: type) -> list[Any] | None:
    """The samples of a folder, their arrays mapped; None where a file is missing or damaged."""
    try:
        text = (place / "samples.json").read_bytes()
        if hashlib.sha256(text).hexdigest().encode() != (place / "checksum").read_bytes():
            return None
        content = json.loads(text)
        arrays = np.memmap(place / "arrays.bin", np.uint8, "r") if content["bytes"] else np.empty(0, np.uint8)
        if arrays.size != content["bytes"]:
            return None
    except (OSError, ValueError):
        return None
    flat = np.asarray(arrays)
    flat.flags.writeable = False
    return [
        kind(**{key: _unpacked(value, flat) for key, value in sample.items()})
        for sample in content["samples"]
    ]


def _packed(value: Any, arrays: BinaryIO, places: dict[int, Any]) -> Any:
    """A field's value for JSON; arrays are written to the file, and their places kept.

    Args:
        value: of the field; the caller holds it until all are packed.
        arrays: the file.
        places: of arrays by ``id``, so that one that several samples share is written once.

    Raises:
        TypeError: the value is of another kind than those that samples hold.
    """
    if id(value) in places:
        return places[id(value)]
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise TypeError("arrays of objects cannot be stored")
        axes = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))  # as they lie in memory
        arrays.write(bytes(-arrays.tell() % ALIGNMENT))
        first = arrays.tell()
        arrays.write(np.ascontiguousarray(array.transpose(axes)).tobytes())
        place = {"array": [first, array.dtype.str, array.shape, axes, isinstance(value, np.generic)]}
        if isinstance(value, np.ndarray):
            places[id(value)] = place
        return place
    if isinstance(value, Mapping):
        pairs = [[_packed(each, arrays, places) for each in pair] for pair in value.items()]
        return {"dict": pairs}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [_packed(one, arrays, places) for one in value]}
    if value is None or type(value) in (str, int, float, bool):
        return value
    raise TypeError(f"cannot store {type(value).__name__}")


def _unpacked(value: Any, flat: np.ndarray) -> Any:
    """The value that ``_packed`` was given, with arrays as views of ``flat``."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {_unpacked(key, flat): _unpacked(one, flat) for key, one in content}
    if kind in ("tuple", "list"):
        items = [_unpacked(one, flat) for one in content]
        return tuple(items) if kind == "tuple" else items
    first, dtype, shape, axes, scalar = content
    last = first + math.prod(shape) * np.dtype(dtype).itemsize
    array = flat[first:last].view(dtype).reshape([shape[axis] for axis in axes]).transpose(np.argsort(axes))
    return array[()] if scalar else array


def _locked(value: Any) -> Any:
    """A sample whose arrays are read-only, as those from the cache are."""
    if isinstance(value, np.ndarray):
        locked = value.view()
        locked.flags.writeable = False
        return locked
    if isinstance(value, Mapping):
        return {key: _locked(one) for key, one in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_locked(one) for one in value)
    if hasattr(type(value), "__dataclass_fields__"):
        return type(value)(**{field.name: _locked(getattr(value, field.name)) for field in fields(value)})
    return value


def _sync(file: BinaryIO) -> None:
    """Write a file's content to the disk itself."""
    file.flush()
    os.fsync(file.fileno())
