"""Rules of chance: one generator an episode, nothing kept between episodes, splits apart."""

from __future__ import annotations

import builtins
import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.seeding import np_random

from visionrl.core import batch
from visionrl.core.conformance.moments import middle, moments
from visionrl.core.conformance.rules import equal, require, same
from visionrl.core.registry import make_task
from visionrl.core.testing import start

BETWEEN = 24  # episodes begun between two of one seed
LOOKED_AT = 12  # items of a split that are compared
SEEN_FROM = 2  # starts by which an item is known
PLAIN = (bool, int, float, str, bytes, type(None), np.generic)


def check_seeds(task_id: str, **kwargs: Any) -> None:
    """One seed gives one episode, two seeds give two."""
    env = gym.make(task_id, **kwargs)
    first, again, other = (env.reset(seed=s)[0] for s in (3, 3, 4))
    require(equal(first, again), "one seed must give one first observation")
    require(not equal(first, other), "two seeds must give two first observations")


def check_sampling(task_id: str, **kwargs: Any) -> None:
    """``sample`` follows its generator and its item alone: no memory, no other source of chance, no ``hash``."""
    task: Any = make_task(task_id, **kwargs)
    plain = _plain(vars(task))
    with _no_hash(type(task)):
        first = start(task, 3)
        np.random.seed(1), random.seed(1)  # noqa: NPY002  (sources that a task must not draw from)
        again = [start(task, 3)]
        start(task, 100, BETWEEN)
        again.append(start(task, 3))
    for other in again:
        require(
            equal(vars(first), vars(other)),
            "one seed must give one episode, whatever episodes went before it",
        )
    _, state, action = moments(task_id, **kwargs)[0]
    middle(task, state, action)
    for name, value in _plain(vars(task)).items():
        require(name in plain and _alike(plain[name], value), f"a task must not keep {name} between episodes")
    items = range(min(task.items, 4))
    for one in items:
        for two in items[:one]:
            starts = (batch.stack([task.sample(np_random(0)[0], item)]) for item in (one, two))
            a, b = (vars(state) for state in starts)
            require(not equal(a, b), f"items {two} and {one} must begin differently")


def check_splits(task_id: str, **kwargs: Any) -> None:
    """No item of one split is seen in another, by the first observations from equal seeds."""
    if not isinstance(kwargs.get("data"), str | None):
        return  # samples of the caller's own: there is one split
    known: dict[tuple[bytes, ...], str] = {}
    for split in ("train", "val", "test"):
        task: Any = make_task(task_id, **{**kwargs, "split": split})
        looked = np.unique(np.linspace(0, task.items - 1, LOOKED_AT).astype(int))
        for item in looked:
            print_ = tuple(
                _pixels(task.observe(start(task, seed, item=int(item)))) for seed in range(SEEN_FROM)
            )
            require(
                known.setdefault(print_, split) == split,
                f"splits must be disjoint: item {item} of {split} is in {known[print_]} too",
            )


def _pixels(obs: dict[str, np.ndarray]) -> bytes:
    """The pictures of an observation, all of it where there are none."""
    pictures = [value for value in obs.values() if value.dtype == np.uint8]
    return b"".join(value.tobytes() for value in pictures or obs.values())


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """The entries that are plain numbers, strings, arrays, or lists and tuples of such, copied."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, PLAIN):
            kept[name] = value
        elif isinstance(value, np.ndarray) and value.nbytes < 1e6:
            kept[name] = value.copy()
        elif isinstance(value, list | tuple) and all(isinstance(one, PLAIN) for one in value):
            kept[name] = list(value)
    return kept


def _alike(a: Any, b: Any) -> bool:
    return same(a, b) if isinstance(a, np.ndarray | float) else a == b


@contextlib.contextmanager
def _no_hash(cls: type) -> Iterator[None]:
    """Refuse ``hash`` in the modules of a task: that of a string differs from process to process."""
    modules, real = {base.__module__ for base in cls.__mro__} - {"builtins", "abc", "typing"}, builtins.hash

    def guarded(value: Any, /) -> int:
        caller = sys._getframe(1)
        inside = caller.f_globals.get("__name__") in modules and caller.f_code.co_name != "__hash__"
        require(not inside, "sample must not call hash: it differs from process to process")
        return real(value)

    builtins.hash = guarded
    try:
        yield
    finally:
        builtins.hash = real
