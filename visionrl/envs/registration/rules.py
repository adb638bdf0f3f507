"""The arguments that registration in two and in three axes has alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from visionrl.core import check_choice, check_range
from visionrl.envs.registration.controls import CONTROLS
from visionrl.envs.registration.proposals import COARSER
from visionrl.ops.transforms import KINDS

REWARDS = ("truth", "ncc", "mi", "dice", "inliers")


@dataclass(frozen=True)
class Rules:
    """The arguments that both tasks have; their docstrings explain them.

    Attributes:
        offset: largest random shift along each axis, pixels or millimetres.
    """

    transform: str
    control: str
    step: float
    reward: str
    verdicts: Sequence[float] | None
    start: str
    offset: float
    offset_deg: float
    ends: str
    epsilon: float
    radius: float
    window: int
    scales: Sequence[int]
    augment: bool
    dice_of: Sequence[int]

    def check(self, unit: str) -> None:
        """Refuse what makes no sense.

        Raises:
            ValueError: names the argument, the rule, and the value.
        """
        check_choice("transform", self.transform, KINDS)
        check_choice("control", self.control, (*CONTROLS, "fits"))
        check_choice("reward", self.reward, REWARDS if unit == "px" else REWARDS[:-1])
        check_choice("start", self.start, ("offset", "own"))
        check_choice("ends", self.ends, ("rest", "close"))
        check_range("step", self.step, 0.5, 1000.0)
        for name in ("epsilon", "radius"):
            check_range(name, getattr(self, name), 0.01)
        check_range(f"offset_{unit}", self.offset, 0.0)
        check_range("offset_deg", self.offset_deg, 0.0, 120.0)
        check_range("window", self.window, 16)
        if self.control == "fits" and self.window % COARSER:
            raise ValueError(f"window must be even with control 'fits', got {self.window}")
        if (
            not self.scales
            or list(self.scales) != sorted(set(self.scales), reverse=True)
            or min(self.scales) < 1
            or any(scale != int(scale) for scale in self.scales)
        ):
            raise ValueError(f"scales must be whole numbers >= 1, falling, got {self.scales!r}")
        if self.verdicts is not None and len(self.verdicts) != 3:
            raise ValueError(f"verdicts must be three rewards (better, same, worse), got {self.verdicts!r}")
