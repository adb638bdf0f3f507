"""Turning states of one episode into a state of B episodes, and back; a state is any frozen dataclass of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np

from visionrl import ops
from visionrl.ops import Array

StateT = TypeVar("StateT")


def stack(states: Sequence[StateT], like: Array = None) -> StateT:
    """One state with a leading batch axis, on the device of ``like`` (default: NumPy)."""
    names = [f.name for f in fields(states[0])]  # type: ignore[arg-type]
    batched = {name: np.array([getattr(state, name) for state in states]) for name in names}
    if like is not None:
        batched = {name: ops.like(value, like) for name, value in batched.items()}
    return replace(states[0], **batched)  # type: ignore[type-var]


def each(state: StateT, change: Callable[[Array], Array]) -> StateT:
    """The state with every field changed by a function."""
    return replace(state, **{f.name: change(getattr(state, f.name)) for f in fields(state)})  # type: ignore[type-var, arg-type]


def take(state: StateT, rows: Any) -> StateT:
    """Some rows of a state, (B, ...) -> (len(rows), ...), as new arrays; or one row, without the axis B."""
    return each(state, lambda x: x[rows])


def join(first: StateT, second: StateT) -> StateT:
    """The rows of two states, one after the other, as new arrays."""
    pairs = ((f.name, [getattr(first, f.name), getattr(second, f.name)]) for f in fields(first))  # type: ignore[arg-type]
    return replace(first, **{name: ops.xp_of(pair[0]).concat(pair) for name, pair in pairs})  # type: ignore[type-var]


def put(state: Any, rows: Any, new: Any) -> None:
    """Write ``new`` into some rows of a state, in place."""
    for f in fields(state):
        getattr(state, f.name)[rows] = getattr(new, f.name)
