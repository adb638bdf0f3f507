"""Files that are there in full or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class WriteError(OSError):
    """A file that cannot be written, in one sentence; ``errno`` is the system's."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside a file, which takes the file's place at the end; after an error it is gone.

    Raises:
        WriteError: the file cannot be written: the disk is full, read-only, ...; the file is as it was.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        with writing(path):
            yield partial
            flush(partial)
            os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Bring a file or a folder from the system's memory to the disk, so that it outlives a loss of power."""
    if os.name == "nt" and path.is_dir():
        return
    number = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Guard writing: an error names ``path``, also where a library hides the system's own.

    Raises:
        WriteError: with the file and the reason.
    """
    try:
        yield
    except WriteError:
        raise
    except (OSError, RuntimeError) as error:
        found = cause_of(error)
        if found is None:
            raise
        reason = found.strerror or "fewer bytes were written than given; is the disk full?"
        failed = WriteError(f"{path} cannot be written: {reason}")
        failed.errno = found.errno
        raise failed from error


def cause_of(error: BaseException) -> OSError | None:
    """The system's error behind one that a library raised, or None where a RuntimeError is about something else."""
    if isinstance(error, OSError):
        return error
    behind = error.__context__ or error.__cause__
    if isinstance(behind, OSError):
        return behind
    return OSError(0, None) if "inline_container" in str(error) else None  # torch, which lost it
