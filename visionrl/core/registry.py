"""Which tasks there are: a decorator files a task under ``visionrl/<name>-v<N>`` in Gymnasium."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import gymnasium as gym

from visionrl.core.task import Task
from visionrl.datasets import load

TaskT = TypeVar("TaskT", bound=type[Task])


@dataclass(frozen=True)
class Entry:
    """One registered task.

    Attributes:
        id: Gymnasium's id, ``visionrl/<name>-v<N>``.
        task: the class.
        max_steps: time limit of an episode, or None where the task's own rules end it.
        tags: words to find it by.
        presets: name of a paper -> constructor arguments with that paper's constants.
    """

    id: str
    task: type[Task]
    max_steps: int | None
    tags: tuple[str, ...]
    presets: Mapping[str, Mapping[str, Any]]


TASKS: dict[str, Entry] = {}

Run = Callable[[Any, Any], Any]  # (task, first state of one episode: NumPy, B = 1) -> the state it ends in
FitT = TypeVar("FitT", bound=Callable[[Any], Run])


@dataclass(frozen=True)
class Baseline:
    """One classical method for a task.

    Attributes:
        fit: ``fit(train_task) -> run``, where ``run(task, state)`` solves one episode; ``task.metrics`` of the state
            that it returns is the result. ``train_task`` is None for a method that learns nothing.
        learns: whether it needs the training split.
    """

    fit: Callable[[Any], Run]
    learns: bool


BASELINES: dict[str, dict[str, Baseline]] = {}


def register(
    name: str,
    *,
    max_steps: int | None,
    tags: tuple[str, ...] = (),
    presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[TaskT], TaskT]:
    """File a task in Gymnasium; written above the class.

    Raises:
        ValueError: the id is taken.
    """

    def file(cls: TaskT) -> TaskT:
        task_id = f"visionrl/{name}"
        if task_id in TASKS:
            raise ValueError(f"task id must be new, got {task_id!r} of {TASKS[task_id].task.__name__} again")
        TASKS[task_id] = Entry(task_id, cls, max_steps, tags, dict(presets or {}))
        gym.register(
            id=task_id,
            entry_point="visionrl.core.env:TaskEnv",
            vector_entry_point="visionrl.core.vector_env:TaskVectorEnv",
            max_episode_steps=max_steps,
            kwargs={"task": task_id},
        )
        return cls

    return file


def baseline(task: str, name: str, *, learns: bool = True) -> Callable[[FitT], FitT]:
    """File a classical method beside a task; evaluation shows it as a row of its own.

    It decorates ``fit(train_task) -> run``; see ``Baseline``.

    Raises:
        ValueError: the name is taken.
    """

    def file(fit: FitT) -> FitT:
        rows = BASELINES.setdefault(f"visionrl/{task}", {})
        if name in rows:
            raise ValueError(f"baseline name must be new, got {name!r} for {task} again")
        rows[name] = Baseline(fit, learns)
        return fit

    return file


def entry_of(task_id: str) -> Entry:
    """The entry of an id, with or without a module prefix and the name space.

    Raises:
        ValueError: no such task; the message lists them.
    """
    short = task_id.rsplit(":", 1)[-1]
    found = TASKS.get(short) or TASKS.get(f"visionrl/{short}")
    if found is None:
        raise ValueError(f"env must be one of {', '.join(sorted(TASKS))}, got {task_id!r}")
    return found


def make_task(task_id: str, preset: str | None = None, **kwargs: Any) -> Task:
    """A task by id; ``kwargs`` win over the preset's.

    Raises:
        ValueError: no such task or preset.
    """
    entry = entry_of(task_id)
    if preset is not None and preset not in entry.presets:
        raise ValueError(f"preset must be one of {sorted(entry.presets)} for {entry.id}, got {preset!r}")
    if unknown := sorted(set(kwargs) - (known := arguments(entry.task))):
        raise ValueError(f"{entry.id} has no argument {unknown[0]!r}; it has {', '.join(sorted(known))}")
    return entry.task(**{**(entry.presets[preset] if preset else {}), **kwargs})


def arguments(task: type[Task]) -> set[str]:
    """Names of a task's constructor arguments, those that it hands on to ``datasets.load`` among them."""
    own = inspect.signature(task).parameters
    handed = inspect.signature(load).parameters if "loading" in own else {}
    return {*own, *handed} - {"loading", "kind", "default"}
