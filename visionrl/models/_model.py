"""The one contract of all models: what a trainer, a command and a reward may ask of one."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from visionrl.core.arguments import did_you_mean

Split = dict[str, Tensor]
"""Tensors with one row an image, by name."""


class Model(nn.Module, ABC):
    """A network with its loss and its metrics.

    A subclass takes plain values only, which ``options`` then holds, so that a file can describe it.

    Attributes:
        name: in the registry.
        kind: class of its samples.
        data: name of the embedded set that it learns from by default.
        of_samples: options of ``for_samples`` beside those of the class.
        score_name: the metric that chooses among weights; more is better.
        options: the arguments it was made with.
    """

    name: ClassVar[str] = ""
    kind: ClassVar[type]
    data: ClassVar[str]
    score_name: ClassVar[str]
    of_samples: ClassVar[tuple[str, ...]] = ()
    options: dict[str, Any]

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Model:
        """The model of some options.

        Raises:
            ValueError: an option is not the model's, or out of range.
        """
        check_names(cls, options, option_names(cls))
        try:
            model = cls(**options)
        except TypeError as error:  # of a value of another kind
            raise ValueError(
                f"options of {cls.name} must be of the kind of their defaults: {error}"
            ) from None
        model.options = dict(options)
        return model

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse options that ``for_samples`` does not take.

        Raises:
            ValueError: names the first.
        """
        check_names(cls, options, [*option_names(cls), *cls.of_samples])

    @classmethod
    @abstractmethod
    def for_samples(cls, samples: Sequence[Any], options: Mapping[str, Any]) -> Model:
        """A model for the words and images of training samples, with some options given."""

    @abstractmethod
    def encode(self, samples: Sequence[Any]) -> Split:
        """Samples as tensors on the CPU, images as "images" (N, C, S, S) uint8."""

    def cached(self, split: Split) -> Split:
        """A split to learn from, in which what does not learn is worked out once."""
        return split

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


def check_names(model: type[Model], options: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse options that a model does not have.

    Raises:
        ValueError: names the first.
    """
    for name in options:
        if name not in known:
            rule = f"options of {model.name} must be among {', '.join(known)}, got {name!r}"
            raise ValueError(rule + did_you_mean(name, known))


def option_names(model: type[Model]) -> list[str]:
    """Names of the arguments of a model's class and of those it hands its own on to."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found: dict[str, None] = {}
    for one in model.__mro__[: model.__mro__.index(Model)]:
        if "__init__" in vars(one):
            given = list(inspect.signature(vars(one)["__init__"]).parameters.values())[1:]
            found |= {x.name: None for x in given if x.kind in kinds}
    return [*found]


def check_positive(**values: int) -> None:
    """Refuse numbers below 1.

    Raises:
        ValueError: names the first.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")
