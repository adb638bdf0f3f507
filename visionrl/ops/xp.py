"""Array libraries: the only module that tells which one an array belongs to, and brings others to it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

Array = Any  # an array of NumPy, torch or any library of the Python array API standard


def xp_of(x: Array) -> ModuleType:
    """The array-API namespace of ``x``: NumPy itself, else what array-api-compat knows."""
    return np if isinstance(x, np.ndarray) else array_api_compat.array_namespace(x)


def namespace(backend: str) -> ModuleType:
    """The array-API namespace called ``"numpy"`` or ``"torch"``.

    Raises:
        ValueError: any other name.
    """
    if backend == "numpy":
        return np
    if backend == "torch":
        import array_api_compat.torch

        return array_api_compat.torch
    raise ValueError(f"backend must be 'numpy' or 'torch', got {backend!r}")


def to_numpy(x: Array) -> np.ndarray:
    """``x`` as a NumPy array, brought from its device if need be; shares memory where it can."""
    if isinstance(x, np.ndarray):
        return x
    if not array_api_compat.is_array_api_obj(x):
        return np.asarray(x)
    return np.from_dlpack(array_api_compat.to_device(x, "cpu" if is_torch(x) else _host(x)))


def like(values: Any, x: Array) -> Array:
    """``values`` (NumPy) as an array of the library and on the device of ``x``; the dtype stays."""
    if isinstance(x, np.ndarray):
        return np.asarray(values)
    xp, device = xp_of(x), array_api_compat.device(x)
    if not isinstance(values, np.ndarray) or values.flags.writeable:
        return xp.asarray(values, device=device)
    with warnings.catch_warnings():  # of torch, which cannot keep users from writing to it
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return xp.asarray(values, device=device)


def is_torch(x: Array) -> bool:
    """True for a torch tensor; loads no torch."""
    return array_api_compat.is_torch_array(x)


def const(values: tuple, like: Array) -> Array:
    """A constant table with the dtype and the home of ``like``, made once and kept; do not write to it.

    ``values`` is a tuple of numbers or of tuples of numbers.
    """
    return _const(values, xp_of(like), like.dtype, _device(like))


def one_hot(index: Array, count: int) -> Array:
    """(...) int64 in [-1, count] -> (..., count) float32, all 0 at both ends."""
    xp = xp_of(index)
    flat = index if index.ndim == 1 else xp.reshape(index, (-1,))
    rows = xp.take(_unit_rows(count, xp, _device(index)), flat + 1, axis=0)
    return rows if flat is index else xp.reshape(rows, (*index.shape, count))


def counts(numbers: Array, kinds: int) -> Array:
    """Count each number in each row: (B, N) whole numbers in [0, kinds) -> (B, kinds) int64."""
    if is_torch(numbers) and numbers.device.type != "cpu":
        xp = xp_of(numbers)
        tally = xp.zeros((numbers.shape[0], kinds), dtype=xp.int64, device=numbers.device)
        index = xp.astype(numbers, xp.int64)
        return tally.scatter_add(1, index, xp.ones_like(index))
    found = [np.bincount(row, minlength=kinds) for row in to_numpy(numbers)]
    return like(np.stack(found), numbers)


class Recalled:
    """An object that may have a recipe to make it again: its pickle then holds the recipe alone; deep copies share it.

    Attributes:
        recipe: a function and its arguments; None pickles the object itself.
    """

    recipe: tuple[Callable[..., Any], tuple[Any, ...]] | None = None

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle the recipe where there is one."""
        return self.recipe or super().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Share the object, which nobody writes to."""
        return self


class DeviceTable(Recalled):
    """An array of NumPy that is lent to any library and device; each copy is made once, on first access.

    Args:
        array: what is lent.
        view: what is made of each copy, once; default: the copy itself.
    """

    def __init__(self, array: np.ndarray, view: Callable[[Array], Array] | None = None) -> None:
        self.array, self.view = array, view
        self._copies: dict[Any, Array] = {}

    def on(self, x: Array) -> Array:
        """The array in the library and on the device of ``x``; do not write to it."""
        home = "numpy" if isinstance(x, np.ndarray) else (xp_of(x), array_api_compat.device(x))
        if home not in self._copies:
            copy = like(self.array, x)
            self._copies[home] = self.view(copy) if self.view else copy
        return self._copies[home]

    def rows(self, index: Array) -> Array:
        """Some of its rows, (B, ...), in the library and on the device of ``index``, (B,) int64."""
        return xp_of(index).take(self.on(index), index, axis=0)

    def __getstate__(self) -> dict:
        return {"array": self.array, "view": self.view, "_copies": {}}


@functools.lru_cache(maxsize=512)
def _const(values: tuple, xp: ModuleType, dtype: Any, device: Any) -> Array:
    if xp is np:
        table = np.asarray(values, dtype)
        table.flags.writeable = False
        return table
    return xp.asarray(values, dtype=dtype, device=device)


@functools.lru_cache(maxsize=512)
def _unit_rows(count: int, xp: ModuleType, device: Any) -> Array:
    """(count + 2, count) float32: the unit vectors between two rows of zeros."""
    return xp.asarray(np.eye(count + 2, count, -1, np.float32), device=device)


def _device(x: Array) -> Any:
    return None if isinstance(x, np.ndarray) else array_api_compat.device(x)


def _host(x: Array) -> Any:
    """The device of ``x``'s library whose memory NumPy can read."""
    return xp_of(x).__array_namespace_info__().default_device()
