"""A run's folder belongs to one process at a time."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

LOCK = ".lock"


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep a run's folder from other processes while a block runs.

    The lock is the system's on the file ``.lock``, and goes with the process, however that ends: what a dead process
    left does not count.

    Raises:
        ValueError: another process has the folder; names it.
    """
    file = take(run)
    try:
        yield
    finally:
        (run / LOCK).unlink(missing_ok=True)
        file.close()


def take(run: Path) -> IO[str]:
    """The open and locked file; it says who has it."""
    path = run / LOCK
    while True:
        file = open(path, "a+")  # noqa: SIM115 (open as long as the lock is held)
        if not lock_file(file):
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise ValueError(f"{run} is in use by {holder}; wait until it ends, or give another --name")
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            break
        file.close()  # whoever had it removed the file in between
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}: {shlex.join(sys.argv)[:200]}\n")
    file.flush()
    return file


def lock_file(file: IO[str]) -> bool:
    """Lock a file without waiting; False where another process has it."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(1 << 30)  # a byte far behind the text, which others may read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if isinstance(error, BlockingIOError | PermissionError):
            return False
        raise
    return True
