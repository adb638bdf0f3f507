"""Rewards from scores: the rule of the wrappers for one episode and for many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from visionrl.core import check_choice

Score = Callable[[Mapping[str, Any]], np.ndarray]
"""``score(observations) -> (B,)``, from a dict of arrays (B, ...)."""

Mode = Literal["replace", "add"]


@dataclass(frozen=True)
class Combination:
    """The reward of a step from the scores before and after it.

    Attributes:
        weight: factor of the score.
        mode: "replace" drops the task's own reward, "add" keeps it.
        difference: what the score gained in the step instead of what it is; such rewards add up to the score's gain
            over the episode, so staying where it is high earns nothing.

    Raises:
        ValueError: an unknown mode.
    """

    weight: float = 1.0
    mode: Mode = "replace"
    difference: bool = False

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, ("replace", "add"))

    def __call__(self, reward: Any, before: Any, after: Any) -> Any:
        """(B,) rewards of (B,) rewards of the task and scores of the observations."""
        learned = self.weight * (after - before if self.difference else after)
        return learned if self.mode == "replace" else reward + learned
