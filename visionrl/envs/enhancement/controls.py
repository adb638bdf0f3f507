"""Controls of restoration: one tool for the whole patch, or a tool for each pixel."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from gymnasium import Space, spaces

from visionrl.core.observables import ActionHistory, Observable, OneHot, push
from visionrl.envs.enhancement.pixel_tools import PIXEL_NAMES, PIXEL_TOOLS, PLAN, apply_pixel_tools
from visionrl.envs.enhancement.tools import NAMES, apply_tools, try_tools
from visionrl.ops import Array, const, xp_of
from visionrl.ops.filters import filter_each
from visionrl.rendering import hues


class Control(Protocol):
    """A way to choose tools; the base of those below.

    Attributes:
        names: of the tools.
        space: of actions.
        blank: the tools used, at the start of an episode, without the axis B.
        shown: observables beside the patch.
    """

    names: tuple[str, ...]
    space: Space
    blank: np.ndarray
    shown: dict[str, Observable]

    def edit(self, now: Array, action: Array) -> Array:
        """Patches (B, C, S, S) after an action."""

    def record(self, tools: Array, action: Array) -> Array:
        """The tools used, after an action."""

    def try_all(self, now: Array) -> Array:
        """Patches after each tool, used everywhere: (n, B, C, S, S)."""

    def follow_plan(self, tried: Array, steps: Array) -> Array:
        """Those patches at the end of the episode, if a plain policy goes on; ``steps`` (B,) were taken before."""

    def seen(self, tools: Array, steps: Array) -> dict[str, Array]:
        """Values of ``shown``, given the tools used and how many steps were taken, (B,)."""

    def caption(self, tools: np.ndarray) -> tuple[str, ...]:
        """The tools used in one episode, for people."""

    def tile_fields(self, tools: np.ndarray) -> dict[str, Any]:
        """The tools used in one episode, as a ``Tile`` has them."""

    def replay(self, start: np.ndarray, tools: np.ndarray) -> list[np.ndarray]:
        """A patch (1, C, S, S) at first and after each of the tools used in one episode."""

    def map(self, tools: np.ndarray) -> np.ndarray | None:
        """(3, S, S) uint8, the tools of the last step in colours, one a pixel; None where all have one."""


class ImageControl:
    """One tool for the whole patch, or a last action that stops."""

    names = NAMES

    def __init__(self, steps: int, stop: bool) -> None:
        self.space: Space = spaces.Discrete(len(NAMES) + stop)
        history = ActionHistory(len(NAMES), steps)
        self.blank = history.blank
        self.shown: dict[str, Observable] = {"history": history}

    def edit(self, now: Array, action: Array) -> Array:
        """See ``Control``."""
        return apply_tools(now, action)

    def record(self, tools: Array, action: Array) -> Array:
        """(B, steps) int64, newest last, -1 before the first."""
        return push(tools, action)

    def try_all(self, now: Array) -> Array:
        """See ``Control``."""
        return try_tools(now)

    def follow_plan(self, tried: Array, steps: Array) -> Array:
        """Returns what was tried, for nothing follows."""
        return tried

    def seen(self, tools: Array, steps: Array) -> dict[str, Array]:
        """See ``Control``."""
        return {"history": tools}

    def caption(self, tools: np.ndarray) -> tuple[str, ...]:
        """Names, the first first."""
        return tuple(NAMES[k] for k in tools.tolist() if k >= 0)

    def tile_fields(self, tools: np.ndarray) -> dict[str, Any]:
        """See ``Control``."""
        return {"operators": self.caption(tools)}

    def replay(self, start: np.ndarray, tools: np.ndarray) -> list[np.ndarray]:
        """See ``Control``."""
        return apply_each(self, start, tools[tools >= 0])

    def map(self, tools: np.ndarray) -> None:
        """None."""
        return None


class PixelControl:
    """A tool for each pixel; no pixel can stop."""

    names = PIXEL_NAMES

    def __init__(self, steps: int, side: int) -> None:
        self.space: Space = spaces.MultiDiscrete(np.full((side, side), len(PIXEL_NAMES)))
        self.steps, self.blank = steps, np.full((steps, side, side), -1, np.int8)
        self.shown: dict[str, Observable] = {"step": OneHot(steps)}

    def edit(self, now: Array, action: Array) -> Array:
        """See ``Control``."""
        return xp_of(now).clip(apply_pixel_tools(now, action), 0.0, 255.0)

    def record(self, tools: Array, action: Array) -> Array:
        """(B, steps, S, S) int8, newest last, -1 before the first."""
        xp = xp_of(tools)
        return xp.concat([tools[:, 1:, ...], xp.astype(action, tools.dtype)[:, None, ...]], axis=1)

    def try_all(self, now: Array) -> Array:
        """See ``Control``."""
        xp = xp_of(now)
        return xp.clip(xp.stack([tool(now) for tool in PIXEL_TOOLS.values()]), 0.0, 255.0)

    def follow_plan(self, tried: Array, steps: Array) -> Array:
        """Patches after each tool, (n, B, C, S, S), if ``PLAN`` goes on behind it; ``steps`` (B,) were taken before."""
        xp, shape = xp_of(tried), tried.shape
        plan = const((*PLAN, *[-1] * 2 * self.steps), steps)
        now = xp.reshape(tried, (-1, *shape[2:]))
        for later in range(1, self.steps):
            tool = xp.where(steps + later < self.steps, xp.take(plan, steps + later, axis=0), -1)
            now = filter_each(now, xp.tile(tool, (shape[0],)), tuple(PIXEL_TOOLS.values()))
        return xp.clip(xp.reshape(now, shape), 0.0, 255.0)

    def seen(self, tools: Array, steps: Array) -> dict[str, Array]:
        """See ``Control``."""
        return {"step": steps}

    def caption(self, tools: np.ndarray) -> tuple[str, ...]:
        """The tool that most pixels took in the last step, and its share."""
        used = tools[(tools >= 0).all(axis=(1, 2))]
        if not len(used):
            return ()
        counts = np.bincount(used[-1].ravel(), minlength=len(PIXEL_NAMES))
        return (f"{len(used)}: {PIXEL_NAMES[counts.argmax()]} {counts.max() / counts.sum():.0%}",)

    def tile_fields(self, tools: np.ndarray) -> dict[str, Any]:
        """See ``Control``."""
        return {"operators": PIXEL_NAMES, "chosen": tools[(tools >= 0).all(axis=(1, 2))]}

    def replay(self, start: np.ndarray, tools: np.ndarray) -> list[np.ndarray]:
        """See ``Control``."""
        return apply_each(self, start, self.tile_fields(tools)["chosen"])

    def map(self, tools: np.ndarray) -> np.ndarray:
        """See ``Control``; black before the first step."""
        colours = np.concatenate([hues(len(PIXEL_NAMES)), np.zeros((1, 3), np.uint8)])
        return colours[tools[-1]].transpose(2, 0, 1)


def apply_each(control: Control, start: np.ndarray, actions: np.ndarray) -> list[np.ndarray]:
    """A patch (1, C, S, S) at first and after each action, one a step."""
    found = [start]
    for action in actions:
        found.append(control.edit(found[-1], np.asarray(action)[None]))
    return found
