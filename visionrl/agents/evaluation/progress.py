"""Progress of long work: a line that changes on a terminal, plain lines elsewhere, as in the log of a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def doing(console: Any) -> Iterator[Callable[[str], None]]:
    """Yields a function that says what is being done, as ``compare`` wants it.

    Args:
        console: rich's.
    """
    if console.is_terminal:
        with console.status("") as status:
            yield status.update
        return

    def say(what: str) -> None:
        if what != "loading":  # where data are wrong, the error is the one line
            console.print(f"evaluating: {what}", markup=False, highlight=False, soft_wrap=True)

    yield say
