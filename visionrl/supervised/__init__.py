"""Supervised training of classifiers, regressors, masks and models: rows to compare agents with, trunks for them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["train_classifier"]


def __getattr__(name: str) -> Any:
    """The functions, imported when first asked for: they need torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("visionrl.supervised.classifier"), name)
