"""The contract of a vision task: the one base class that a task's author reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import partial
from os import PathLike
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
from annotated_types import Ge
from gymnasium import Space, spaces

from visionrl.core.arguments import arguments, check_arguments, check_fields
from visionrl.core.observables import Observable
from visionrl.core.results import Result
from visionrl.datasets import load
from visionrl.datasets.splits import DEFAULT_RATIOS, DEFAULT_SEED
from visionrl.ops import Array

StateT = TypeVar("StateT")
# methods, those of capabilities among them, that a task without labels refuses
NEED_LABELS = (
    "reward",
    "metrics",
    "expert",
    "agent_rewards",
    "good_actions",
    "action_weights",
    "action_gains",
    "detection_quality",
    "reward_map",
    "gain_maps",
)
NAMES = {"target", "classes"}  # arguments that name things of a data set; 13 means "13"


@arguments
class Task(ABC, Generic[StateT]):
    """The rules of a sequential decision on images; everything else is done by the engine.

    A task is a class with the decorator ``arguments``: its annotated fields are its constructor's arguments, ``setup``
    is all constructor code that its author writes.

    The edges (``sample``, ``draw``) handle one episode in plain NumPy and OpenCV. The middle (all other methods)
    handles B episodes at once: every field of a state has a leading axis B, and only functions of the Python array
    API standard touch it, so the same lines run on NumPy and on torch, on any device.

    All chance enters in ``sample``. A state is a frozen dataclass; the middle never writes into it. What only some
    tasks have (several agents, reports, masks, ...) is in ``visionrl.core.capabilities``.

    Attributes:
        observation_space: a Dict; images are channel-first uint8, keys are named by meaning. ``show`` makes it.
        action_space: Discrete, MultiDiscrete, or Box in [-1, 1].
        items: how many different things ``sample`` can start from (images, videos, ...).
        sample_names: names of the samples that ``load`` returned last.
        subjects: who or what the samples of the split show, each once, as ``load`` found them.
        backends: array libraries that the middle runs on; ``("numpy",)`` where a step is a CPU algorithm.
        evaluation: constructor arguments of evaluation, as the field's benchmarks do it, where they differ from
            training (whole videos instead of clips).
        primary_metric: the key of ``metrics``, or of a data-set metric, by which agents are compared, and whether
            more is better.
        hidden: fields of the state that hold the truth, which ``observe`` must not depend on. Where it is empty, the
            conformance checks look for them.
        sample_type: what ``load`` gives: ``ImageSample``, ``VolumeSample``, ...
        embedded: name of the embedded data set that ``data=None`` stands for.
        unlabelled_type: sample type of files without labels; None where it is ``sample_type``.
        box_prompt: True where a box that a user gives with an image says what is meant.
        click_prompt: True where clicks on the object and beside it, points named "+..." and "-...", do so.
        knows_truth: False where the samples' labels are too few for an expert; ``setup`` then sets
            ``primary_metric`` to one of the metrics that can still be computed.
    """

    observation_space: spaces.Dict = field(init=False)
    action_space: Space = field(init=False)
    items: int = field(init=False)
    sample_names: tuple[str, ...] = field(init=False, default=())
    subjects: tuple[str, ...] = field(init=False, default=())
    backends: ClassVar[tuple[str, ...]] = ("numpy", "torch")
    evaluation: ClassVar[Mapping[str, Any]] = {}
    primary_metric: ClassVar[tuple[str, bool]] = ("is_success", True)
    hidden: ClassVar[tuple[str, ...]] = ()
    sample_type: ClassVar[type]
    embedded: ClassVar[str | None] = None
    unlabelled_type: ClassVar[type | None] = None
    box_prompt: ClassVar[bool] = False
    click_prompt: ClassVar[bool] = False
    knows_truth: bool = field(init=False)

    data: Any = None
    """None for the embedded set, "FORMAT:PATH", the name of an embedded set, or a sequence of samples."""
    split: Literal["train", "val", "test", "all"] = "train"
    """Part of the data that episodes are drawn from."""
    split_file: str | PathLike | None = None
    """File that says which samples or subjects are for training, validation and test, JSON or CSV."""
    split_ratios: tuple[float, float, float] = DEFAULT_RATIOS
    """Shares of the subjects for training, validation and test, for data that state no splits."""
    split_seed: Annotated[int, Ge(0)] | None = DEFAULT_SEED
    """Seed of the shuffle of the subjects; None cuts them in sorted order."""

    classes: Sequence[str] | None = None
    """Keeps only the points, boxes or images of these names, in this order; None keeps all."""
    skip_bad: bool = False
    """Leaves out samples that cannot be read or break a rule, with a warning that counts and names them."""
    labelled: bool = True
    """False takes samples without labels, as they are when an agent is used: rewards are 0, there are no metrics and
    no expert."""

    def __post_init__(self) -> None:
        """Check the arguments, then set the task up."""
        check_fields(type(self))
        for name in NAMES & set(vars(self)):
            setattr(self, name, _as_names(getattr(self, name)))
        check_arguments(self)
        self.knows_truth = self.labelled
        self.setup()
        if not self.labelled:
            for name in filter(partial(hasattr, self), NEED_LABELS):
                setattr(self, name, partial(refuse_without_labels, name))

    def setup(self) -> None:
        """Load the data, make a bank of their pixels, state the spaces."""
        raise NotImplementedError(f"{type(self).__name__} must define setup()")

    def load(self, **more: Any) -> tuple[Any, ...]:
        """The samples of the split; ``more`` goes to ``visionrl.datasets.load``."""
        given: dict[str, Any] = {
            "split": self.split,
            "split_file": self.split_file,
            "split_ratios": self.split_ratios,
        }
        given |= {
            "split_seed": self.split_seed,
            "classes": self.classes if self.labelled else None,
            "kind": self.sample_type,
            "default": self.embedded,
            "skip_bad": self.skip_bad,
        }
        samples = load(self.data, **{**given, **more})
        self.sample_names = tuple(sample.name for sample in samples)
        self.subjects = tuple(dict.fromkeys(sample.subject or sample.name for sample in samples))
        return samples

    def show(self, **observables: Observable | None) -> None:
        """State what the agent sees, which makes ``observation_space``; None leaves a key out."""
        self.observables = {key: one for key, one in observables.items() if one is not None and one.shown}
        self.observation_space = spaces.Dict({key: one.space for key, one in self.observables.items()})

    def seen(self, **values: Array) -> dict[str, Array]:
        """The observation of some values, each encoded by the observable of its name; others are left out."""
        return {key: one.encode(values[key]) for key, one in self.observables.items()}

    @abstractmethod
    def sample(self, rng: np.random.Generator, item: int) -> StateT:
        """The first state of one episode, without the axis B; ``item`` is in [0, items)."""

    @abstractmethod
    def step(self, state: StateT, action: Array) -> StateT:
        """The state after an action, (B, ...)."""

    @abstractmethod
    def observe(self, state: StateT) -> dict[str, Array]:
        """The observation, in new arrays that share no memory with the state."""

    @abstractmethod
    def reward(self, before: StateT, action: Array, after: StateT) -> Array:
        """(B,) float64."""

    @abstractmethod
    def terminated(self, state: StateT) -> Array:
        """(B,) bool, whether the task is over; the time limit is not the task's business.

        A state with a field ``finished``, (B, ...) bool, is over exactly where all of it is True.
        """

    @abstractmethod
    def metrics(self, state: StateT) -> dict[str, Array]:
        """(B,) each; the unit is the key's suffix. ``is_success`` must be among them where ``knows_truth``."""

    @abstractmethod
    def expert(self, state: StateT) -> Array:
        """(B, ...) actions of a policy that may look at the truth."""

    def source_of(self, item: int, start: StateT) -> int:
        """Number, in ``samples``, of what an episode from a first state is about; those of one number go together."""
        return int(getattr(start, "image", item))

    def source_name(self, number: int) -> str:
        """Name of what episodes of a number of ``source_of`` are about."""
        held = getattr(self, "samples", None)
        return (held[number].name if held else self.sample_names[number]) or str(number)

    def result(self, state: StateT) -> Result:
        """The result of an episode, from its last state, in the coordinates of the file itself.

        Like ``draw`` it gets one row of a NumPy state. It must not use the truth.
        """
        raise NotImplementedError(f"{type(self).__name__} must define result() to be used on new files")

    @abstractmethod
    def draw(self, state: StateT) -> np.ndarray:
        """A picture of one row of a NumPy state (fields without the axis B): (H, W, 3) uint8 RGB."""


def refuse_without_labels(method: str, *_: Any) -> Any:
    """Stand for a method that needs labels, in a task that was made without them.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"{method} needs samples with labels; this task was made with labelled=False")


def check_choice(name: str, value: Any, allowed: tuple) -> None:
    """Refuse a constructor argument that is not one of a few.

    Raises:
        ValueError: names the argument, what is allowed, and the value.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def _as_names(value: Any) -> Any:
    """Whole numbers as the names that they spell, alone or in a list; anything else as it is."""
    if isinstance(value, list | tuple):
        return tuple(map(_as_names, value))
    return str(value) if type(value) is int else value
