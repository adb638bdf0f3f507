"""The arguments that deformable registration in two and in three axes has alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from visionrl.core import check_choice, check_range
from visionrl.envs.registration.control_points import check_points

CONTROLS = ("continuous", "steps", "fits")


@dataclass(frozen=True)
class BendingRules:
    """What an episode of bending is like; the docstrings of the tasks explain each argument."""

    control: str
    points: Sequence[int]
    nodes: int
    side: int
    window: int
    scales: Sequence[int]
    step: float
    bend: float
    change: float
    folds: float
    reward: str
    radius: float
    dice_of: Sequence[int]

    def check(self) -> None:
        """Refuse what makes no task.

        Raises:
            ValueError: names the argument, the rule, the value.
        """
        check_choice("control", self.control, CONTROLS)
        check_choice("reward", self.reward, ("truth", "dice"))
        for name, low in {"nodes": 3, "side": 16, "window": 8, "step": 1e-3, "radius": 1e-3}.items():
            check_range(name, getattr(self, name), low)
        check_range("bend", self.bend, 0.0, 0.1)
        check_range("change", self.change, 0.0, 1.0)
        check_range("folds", self.folds, 0.0)
        check_points(self.points, self.nodes)
        if not len(self.scales) or not all(isinstance(n, int) and n >= 1 for n in self.scales):
            raise ValueError(f"scales must be one whole number >= 1 or more, got {self.scales!r}")
