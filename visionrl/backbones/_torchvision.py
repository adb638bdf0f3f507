"""Networks that torchvision builds, with the address of their published weights."""

from __future__ import annotations

from typing import Any


def torchvision_model(name: str, **options: Any) -> tuple[Any, str]:
    """The network `name` of torchvision with fresh weights, and the address of its IMAGENET1K_V1 weights."""
    from torchvision.models import get_model, get_model_weights

    return get_model(name, weights=None, **options), get_model_weights(name)["IMAGENET1K_V1"].url
