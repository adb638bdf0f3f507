"""Networks that only timm builds, with the address of their published weights; timm is an optional extra."""

from __future__ import annotations

from typing import Any


def timm_model(name: str) -> tuple[Any, str]:
    """The network `name` of timm with fresh weights, and the address of its default weights.

    Raises:
        ImportError: timm is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise ImportError(f"{name} is built by timm: pip install timm") from error
    net: Any = timm.create_model(name, pretrained=False)
    return net, f"https://huggingface.co/{net.default_cfg['hf_hub_id']}/resolve/main/model.safetensors"
