"""Arguments of tasks and algorithms as a command line and a config have them: "name=value"."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


def parse_args(pairs: Iterable[str]) -> dict[str, Any]:
    """``("window=45", "views=stage")`` as ``{"window": 45, "views": "stage"}``; values are JSON, else words.

    Raises:
        ValueError: a pair without a name or an equals sign.
    """
    parsed = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not (name.isidentifier() and sign):
            raise ValueError(f"arguments must look like name=value, got {pair!r}")
        try:
            parsed[name] = json.loads(value)
        except json.JSONDecodeError:
            parsed[name] = value
    return parsed


def format_args(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The pairs that ``parse_args`` reads."""
    return tuple(f"{key}={json.dumps(value)}" for key, value in values.items())
