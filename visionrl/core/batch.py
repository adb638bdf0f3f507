"""Turning states of one episode into a state of B episodes, and back; a state is any frozen dataclass of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from visionrl import ops
from visionrl.ops import Array

StateT = TypeVar("StateT")


def stack(states: Sequence[StateT], like: Array = None) -> StateT:
    """One state with a leading batch axis, on the device of ``like`` (default: NumPy)."""
    names = names_of(states[0])
    batched = {name: np.array([getattr(state, name) for state in states]) for name in names}
    if like is not None:
        batched = {name: ops.like(value, like) for name, value in batched.items()}
    return replace(states[0], **batched)  # type: ignore[type-var]


def each(state: StateT, change: Callable[[Array], Array]) -> StateT:
    """The state with every field changed by a function."""
    return replace(state, **{name: change(getattr(state, name)) for name in names_of(state)})  # type: ignore[type-var]


def take(state: StateT, rows: Any) -> StateT:
    """Some rows of a state, (B, ...) -> (len(rows), ...), as new arrays; or one row, without the axis B."""
    return each(state, lambda x: x[rows])


def join(first: StateT, second: StateT) -> StateT:
    """The rows of two states, one after the other, as new arrays."""
    pairs = ((name, [getattr(first, name), getattr(second, name)]) for name in names_of(first))
    return replace(first, **{name: ops.xp_of(pair[0]).concat(pair) for name, pair in pairs})  # type: ignore[type-var]


def part(state: Any, kind: type[StateT], rows: Any = ...) -> StateT:
    """The fields of a state that another dataclass groups, of some rows or one, as one of these.

    Its arrays are views of the state's where ``rows`` is a number or a slice.
    """
    return kind(*[getattr(state, name)[rows] for name in names_of(kind)])


def put(state: Any, rows: Any, new: Any) -> None:
    """Write ``new`` into some rows of a state, in place."""
    for name in names_of(state):
        getattr(state, name)[rows] = getattr(new, name)


def names_of(state: Any) -> tuple[str, ...]:
    """The names of the fields of a dataclass, or of one of its instances, in order."""
    return tuple(state.__dataclass_fields__)
