"""The last T observations of every row, for policies that read a sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from visionrl.ops import like, xp_of

RECALLED = "recalled"  # key of the padding mask, (T,) float32, 1 for observations of the running episode


class Recall:
    """Windows of the last T observations of B rows, the newest last; zeros before an episode's first.

    Args:
        steps: T, >= 2.

    Attributes:
        windows: name -> (B, T, ...), and "recalled", (B, T) float32.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.windows: dict[str, Any] = {}

    def begin(self, observations: Mapping[str, Any]) -> dict[str, Any]:
        """The windows of first observations, (B, ...) each."""
        seen = {**observations, RECALLED: ones_of(observations)}
        self.windows = {}
        for key, now in seen.items():
            xp = xp_of(now)
            blank = xp.zeros_like(now)[:, None]
            self.windows[key] = xp.concat([*[blank] * (self.steps - 1), now[:, None]], axis=1)
        return dict(self.windows)

    def add(self, observations: Mapping[str, Any], restarted: np.ndarray | None = None) -> dict[str, Any]:
        """The windows after another step; rows that have restarted, (B,) bool, forget what was before."""
        seen = {**observations, RECALLED: ones_of(observations)}
        again = restarted is not None and bool(restarted.any())
        for key, now in seen.items():
            xp, past = xp_of(now), self.windows[key][:, 1:]
            if again:
                rows = like(np.reshape(restarted, (-1, *[1] * (past.ndim - 1))), now)  # type: ignore[arg-type]
                past = xp.where(rows, xp.zeros_like(past), past)
            self.windows[key] = xp.concat([past, now[:, None]], axis=1)
        return dict(self.windows)

    def last(self, row: int, observation: Mapping[str, Any]) -> dict[str, Any]:
        """The window, (T, ...) each, of a row whose episode ends with this observation; to be asked before ``add``."""
        first = next(iter(observation.values()))
        seen = {**observation, RECALLED: like(np.float32(1), first)}
        return {
            key: xp_of(now).concat([self.windows[key][row, 1:], now[None]], axis=0)
            for key, now in seen.items()
        }

    def keep(self, rows: np.ndarray) -> None:
        """Go on with some rows, (B,) bool."""
        self.windows = {key: value[rows] for key, value in self.windows.items()}


def ones_of(observations: Mapping[str, Any]) -> Any:
    """(B,) float32 ones where the observations are."""
    first = next(iter(observations.values()))
    return like(np.ones(len(first), np.float32), first)


def recalled_space(space: spaces.Space, steps: int) -> spaces.Dict:
    """The space of windows of T observations: each Box has a leading axis T, and "recalled" is the padding mask.

    Raises:
        ValueError: the space is no Dict of boxes, or T is < 2.
    """
    if steps < 2:
        raise ValueError(f"recall must be >= 2, got {steps}")
    boxes: Sequence[Any] = list(space.values()) if isinstance(space, spaces.Dict) else [space]
    if wrong := [box for box in boxes if not isinstance(box, spaces.Box)]:
        raise ValueError(f"observation_space must be a Dict of Box to be recalled, got {wrong[0]}")
    windows: dict[str, spaces.Space] = {}
    for key, box in space.items():  # type: ignore[attr-defined]
        low, high = np.minimum(box.low, 0), np.maximum(box.high, 0)  # zeros stand where nothing was seen
        low, high = (np.stack([side] * steps).astype(box.dtype) for side in (low, high))
        windows[key] = spaces.Box(low, high, dtype=box.dtype.type)
    return spaces.Dict({**windows, RECALLED: spaces.Box(0, 1, (steps,), np.float32)})


def recall_in(env: Any) -> Recall | None:
    """The windows of an environment of Stable-Baselines3, in whichever of its wrappers they are; None without."""
    while env is not None:
        if isinstance(found := vars(env).get("recall"), Recall):
            return found
        env = vars(env).get("venv")
    return None


def recalled_steps(space: Any) -> int:
    """T of a space of windows; 1 of any other."""
    inner = getattr(space, "spaces", {})
    return inner[RECALLED].shape[0] if RECALLED in inner else 1
