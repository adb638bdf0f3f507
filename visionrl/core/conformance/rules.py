"""Assertions that the checks are written with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from visionrl import ops


def require(condition: Any, rule: str) -> None:
    """Raise ``AssertionError`` with the rule unless the condition holds."""
    if not condition:
        raise AssertionError(rule)


def close(got: Any, wanted: Any, name: str) -> None:
    """Equal within rounding."""
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6, err_msg=name)


def same(a: Any, b: Any) -> bool:
    """Tell if two arrays are equal; NaN equals NaN."""
    return np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")


def equal(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Tell if two dictionaries hold equal arrays."""
    return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)


def alike(got: Any, wanted: Any, name: str) -> None:
    """Images equal to one grey level, everything else within rounding."""
    got, wanted = ops.to_numpy(got), ops.to_numpy(wanted)
    if got.dtype == np.uint8 and got.shape == wanted.shape and got.size:
        gap = np.abs(got.astype(int) - wanted).max()
        require(gap <= 1, f"{name} must be the same to one grey level, it is off by {gap}")
    else:
        close(got, wanted, name)
