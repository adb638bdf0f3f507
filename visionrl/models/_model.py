"""The one contract of all models: what a trainer, a command and a reward may ask of one."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, get_type_hints

import torch
from torch import Tensor, nn

from visionrl.core.arguments import checked, did_you_mean

KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)  # of arguments with a name

Split = dict[str, Tensor]
"""Tensors with one row an image, by name."""


class Model(nn.Module, ABC):
    """A network with its loss and its metrics.

    A subclass takes plain values only, which ``options`` then holds, so that a file can describe it; its annotations
    say which values are allowed.

    Attributes:
        name: in the registry.
        kind: class of its samples.
        data: name of the embedded set that it learns from by default.
        of_samples: options of ``for_samples`` beside those of the class, with the values that they may have.
        score_name: the metric that chooses among weights; more is better.
        options: the arguments it was made with.
    """

    name: ClassVar[str] = ""
    kind: ClassVar[type]
    data: ClassVar[str]
    score_name: ClassVar[str]
    of_samples: ClassVar[Mapping[str, Any]] = {}
    options: dict[str, Any]

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Model:
        """The model of some options.

        Raises:
            ValueError: an option is not the model's, of another kind, or out of range, or one is missing.
        """
        known = options_of(cls)
        given = cls._checked(options, {name: one.annotation for name, one in known.items()})
        missing = [name for name, one in known.items() if one.default is one.empty and name not in given]
        if missing:
            raise ValueError(f"options of {cls.name} must have {', '.join(missing)}, got {', '.join(given)}")
        model = cls(**given)
        model.options = dict(options)
        return model

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse options that ``for_samples`` does not take.

        Raises:
            ValueError: names the first.
        """
        own = {name: one.annotation for name, one in options_of(cls).items()}
        cls._checked(options, {**own, **cls.of_samples})

    @classmethod
    def _checked(cls, options: Mapping[str, Any], hints: Mapping[str, Any]) -> dict[str, Any]:
        """The options as their annotations want them."""
        for name in options:
            if name not in hints:
                rule = f"options of {cls.name} must be among {', '.join(hints)}, got {name!r}"
                raise ValueError(rule + did_you_mean(name, hints))
        return {name: checked(name, hints[name], value) for name, value in options.items()}

    @classmethod
    @abstractmethod
    def for_samples(cls, samples: Sequence[Any], options: Mapping[str, Any]) -> Model:
        """A model for the words and images of training samples, with some options given."""

    @abstractmethod
    def encode(self, samples: Sequence[Any]) -> Split:
        """Samples as tensors on the CPU, images as "images" (N, C, S, S) uint8."""

    def augmented(self, split: Split) -> Split:
        """A split to learn from, with what is made of its rows; not of a split to be tested on."""
        return split

    def cached(self, split: Split) -> Split:
        """A split to learn from, in which what does not learn is worked out once."""
        return split

    def batches(self, split: Split, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """The rows of each step of an epoch: all of the split in an order at random, ``size`` of them a step.

        Args:
            split: what ``cached`` gave.
            size: of a step.
            generator: what is drawn comes from it.
        """
        return iter(torch.randperm(len(next(iter(split.values()))), generator=generator).split(size))

    def steps_per_epoch(self, count: int, size: int) -> int:
        """The number of ``batches`` of a split of so many rows."""
        return -(-count // size)

    @abstractmethod
    def loss(self, batch: Split) -> Tensor:
        """The loss of some rows of a split, a scalar."""

    @abstractmethod
    def evaluate(self, samples: Sequence[Any], split: Split) -> dict[str, float]:
        """Metrics over a split, ``score_name`` among them; of the samples that it was encoded from."""

    @property
    def parameter_count(self) -> int:
        """Number of parameters."""
        return sum(x.numel() for x in self.parameters())


def options_of(model: type[Model]) -> dict[str, inspect.Parameter]:
    """Arguments of a model's class and of those it hands its own on to, annotated with the values they may have."""
    found: dict[str, inspect.Parameter] = {}
    for one in model.__mro__[: model.__mro__.index(Model)]:
        if "__init__" in vars(one):
            init = vars(one)["__init__"]
            hints = get_type_hints(init, include_extras=True)
            given = [x for x in inspect.signature(init).parameters.values() if x.name in hints]
            found = {x.name: x.replace(annotation=hints[x.name]) for x in given if x.kind in KINDS} | found
    return found
