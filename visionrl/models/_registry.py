"""The registry of models: networks with their loss and their metrics, by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from visionrl.core.arguments import did_you_mean
from visionrl.models._model import Model

ModelT = TypeVar("ModelT", bound=type[Model])

ROOMS = ("fewshot", "language", "pretext", "video")  # whose modules register models when they are imported

_MODELS: dict[str, type[Model]] = {}


def register_model(name: str) -> Callable[[ModelT], ModelT]:
    """Make a model known by name; a class decorator.

    Raises:
        ValueError: the name is taken.
    """
    if name in _MODELS:
        raise ValueError(f"a model's name must be new, got {name!r}, which is registered already")

    def register(model: ModelT) -> ModelT:
        model.name = name
        _MODELS[name] = model
        return model

    return register


def list_models(word: str = "") -> list[str]:
    """Names of all registered models that contain ``word``, sorted."""
    for room in ROOMS:
        import_module(f"visionrl.models.{room}")
    return sorted(name for name in _MODELS if word in name)


def model_class(name: str) -> type[Model]:
    """The class of a registered model.

    Raises:
        ValueError: there is no such model.
    """
    names = list_models()
    if name not in names:
        raise ValueError(f"model must be one of {', '.join(names)}, got {name!r}" + did_you_mean(name, names))
    return _MODELS[name]


def make_model(name: str, **options: Any) -> Model:
    """A model by name, with weights drawn at random.

    Args:
        name: one of ``list_models()``.
        options: of its class. What has no default must be given: ``classes`` to "attributes"; to others what their
            ``for_samples`` finds in samples, such as the ``words`` of models of language.

    Raises:
        ValueError: there is no such model or option, or an option is out of range.
    """
    return model_class(name).of(options)
