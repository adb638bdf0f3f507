"""The registry of tasks: a decorator registers a task under ``visionrl/<name>-v<N>`` in Gymnasium."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import gymnasium as gym

from visionrl.core.arguments import did_you_mean
from visionrl.core.task import Task
from visionrl.datasets import load


class UnknownArgumentError(TypeError):
    """A keyword that the task does not have; a ``TypeError``, as Gymnasium's own environments raise."""


TaskT = TypeVar("TaskT", bound=type[Task])


EXPERT_SUCCESS_RATE = 0.95


@dataclass(frozen=True)
class Entry:
    """One registered task.

    Attributes:
        id: Gymnasium's id, ``visionrl/<name>-v<N>``.
        task: the class.
        max_steps: time limit of an episode, or None where the task's own rules end it.
        tags: words to find it by.
        presets: name -> constructor arguments: a paper's constants, or a smaller task.
        expert_success_rate: share of the episodes that the expert solves at least; less than 1 where a paper's own
            rules put some out of reach. A mapping states it by preset, None for the defaults.
    """

    id: str
    task: type[Task]
    max_steps: int | None
    tags: tuple[str, ...]
    presets: Mapping[str, Mapping[str, Any]]
    expert_success_rate: float | Mapping[str | None, float] = EXPERT_SUCCESS_RATE

    def expert_rate(self, preset: str | None) -> float:
        """Share of the episodes that the expert solves at least, under a preset."""
        rate = self.expert_success_rate
        return rate if isinstance(rate, float) else rate.get(preset, EXPERT_SUCCESS_RATE)


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
        needs: name of an argument of the task without which the method says nothing, or None; tables leave it out
            where that argument is None.
    """

    fit: Callable[[Any], Run]
    learns: bool
    needs: str | None = None


BASELINES: dict[str, dict[str, Baseline]] = {}


def register(
    name: str,
    *,
    max_steps: int | None,
    tags: tuple[str, ...] = (),
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    expert_success_rate: float | Mapping[str | None, float] = EXPERT_SUCCESS_RATE,
) -> Callable[[TaskT], TaskT]:
    """Register a task with Gymnasium; written above the class. ``Entry`` describes the arguments.

    Raises:
        ValueError: the id is taken.
    """

    def file(cls: TaskT) -> TaskT:
        task_id = f"visionrl/{name}"
        if task_id in TASKS:
            raise ValueError(f"task id must be new, got {task_id!r} of {TASKS[task_id].task.__name__} again")
        check_preset_names(task_id, presets or {})
        TASKS[task_id] = Entry(task_id, cls, max_steps, tags, dict(presets or {}), expert_success_rate)
        gym.register(
            id=task_id,
            entry_point="visionrl.core.env:TaskEnv",
            vector_entry_point="visionrl.core.vector_env:TaskVectorEnv",
            max_episode_steps=max_steps,
            kwargs={"task": task_id},
        )
        return cls

    return file


def check_preset_names(task_id: str, presets: Mapping[str, Any]) -> None:
    """Refuse a preset that is called "none", the word for no preset.

    Raises:
        ValueError: there is one.
    """
    if "none" in presets:
        raise ValueError(f"preset of {task_id} must not be called 'none', the word for no preset")


def baseline(
    task: str, name: str, *, learns: bool = True, needs: str | None = None
) -> Callable[[FitT], FitT]:
    """Register a classical method for a task; evaluation shows it as a row of its own.

    It decorates ``fit(train_task) -> run``; see ``Baseline``.

    Raises:
        ValueError: the name is taken.
    """

    def file(fit: FitT) -> FitT:
        rows = BASELINES.setdefault(f"visionrl/{task}", {})
        if name in rows:
            raise ValueError(f"baseline name must be new, got {name!r} for {task} again")
        rows[name] = Baseline(fit, learns, needs)
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
        names = sorted(TASKS)
        raise ValueError(
            f"env must be one of {', '.join(names)}, got {task_id!r}{did_you_mean(short, names)}"
        )
    return found


def make_task(task_id: str, preset: str | None = None, **kwargs: Any) -> Task:
    """A task by id; ``kwargs`` win over the preset's, and the preset "none" is no preset.

    Raises:
        ValueError: no such task or preset.
        UnknownArgumentError: the task has no such argument.
    """
    entry = entry_of(task_id)
    preset = None if preset == "none" else preset
    if preset is not None and preset not in entry.presets:
        names = sorted(entry.presets)
        raise ValueError(
            f"preset must be one of {names} for {entry.id}, got {preset!r}{did_you_mean(preset, names)}"
        )
    check_argument_names(entry, kwargs)
    return entry.task(**{**(entry.presets[preset] if preset else {}), **kwargs})


def check_argument_names(entry: Entry, names: Iterable[str]) -> None:
    """Refuse names that are no arguments of a task.

    Raises:
        UnknownArgumentError: names one, and what may be meant.
    """
    known = sorted(argument_names(entry.task))
    if unknown := sorted(set(names) - set(known)):
        hint = did_you_mean(unknown[0], known) or f"; it has {', '.join(known)}"
        raise UnknownArgumentError(f"{entry.id} got an unexpected keyword argument {unknown[0]!r}{hint}")


def argument_names(task: type[Task]) -> set[str]:
    """Names of a task's constructor arguments, those that it hands on to ``datasets.load`` among them."""
    own = inspect.signature(task).parameters
    handed = inspect.signature(load).parameters if "loading" in own else {}
    return {*own, *handed} - {"loading", "kind", "default"}
