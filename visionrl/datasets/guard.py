"""One guard around foreign decoders: whatever they raise becomes one ValueError, in one line, that names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

LONGEST = 1500  # characters of a message that is handed on


def one_line(error: BaseException) -> str:
    """The message of an exception in one line, with its type where that says more."""
    text = " ".join(str(error).split())
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}..."
    if isinstance(error, MemoryError):
        return f"it needs more memory than there is ({text or 'MemoryError'})"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, ValueError | OSError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def decoding(file: Any, rule: str = "must be readable") -> Iterator[None]:
    """Names a file in whatever a decoder raises: EOFError, RuntimeError, struct.error, MemoryError, ...

    Args:
        file: begins the message.
        rule: what the file must be.

    Raises:
        ImportError: a package is missing; as it is.
        ValueError: anything else; as it is where it names the file already.
    """
    try:
        yield
    except ImportError:
        raise
    except Exception as error:
        text = str(error)
        if isinstance(error, ValueError) and str(file) in text and "\n" not in text and len(text) <= LONGEST:
            raise
        raise ValueError(f"{file} {rule}, got: {one_line(error)}") from error


def refuse(error: ValueError) -> NoReturn:
    """Raise an error that was found earlier, when its sample is read."""
    raise error
