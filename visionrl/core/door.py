"""The door of an environment: actions, items, seeds and modes are checked here, and refused with one clear error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import Space, spaces

from visionrl import ops
from visionrl.core.capabilities import name_of, pixels_of
from visionrl.ops import Array, xp_of

RENDER_MODES = (None, "rgb_array")
SLACK = 1e-6  # beyond the bounds of a Box, for rounding


def checked_actions(actions: Any, space: Space, rows: int | None, home: Array) -> Array:
    """Actions as an array of the library and on the device of ``home``.

    Args:
        actions: of one episode, or (B, ...).
        space: of one episode: Discrete, MultiDiscrete or Box.
        rows: B, or None for one episode.
        home: any array.

    Returns:
        (B, ...); B is 1 for one episode.

    Raises:
        ValueError: names the action, the space, and what is wrong.
    """
    if isinstance(home, np.ndarray) and _usual(actions, space, rows):
        return actions
    try:
        array = ops.like(actions if ops.is_torch(actions) else np.asarray(actions), home)
    except (ValueError, TypeError) as error:
        raise ValueError(f"action must be in {name_of(space)}, got {actions!r}") from error
    shape = space.shape if rows is None else (rows, *(space.shape or ()))
    if tuple(array.shape) != shape:
        raise ValueError(
            f"action must have shape {shape} for {name_of(space)}, got shape {tuple(array.shape)}"
        )
    array = array[None, ...] if rows is None else array
    xp = xp_of(array)
    if isinstance(space, spaces.Box) and xp.isdtype(array.dtype, "integral"):
        array = xp.astype(array, xp.float32)
    if not xp.isdtype(array.dtype, "real floating" if isinstance(space, spaces.Box) else "integral"):
        raise ValueError(f"action must be in {name_of(space)}, got an array of {array.dtype}")
    if str(getattr(array, "device", "")) != "meta" and not _inside(array, space):
        raise ValueError(f"action must be in {name_of(space)}, got {_first_outside(array, space)}")
    return array if isinstance(space, spaces.Box) else xp.astype(array, xp.int64)


def _usual(actions: Any, space: Space, rows: int | None) -> bool:
    """True for a NumPy array of discrete actions in which nothing is wrong: told in half the time of the rest."""
    if not isinstance(actions, np.ndarray) or not isinstance(space, spaces.Discrete) or space.start != 0:
        return False
    whole = actions.dtype == np.int64 and actions.shape == (rows,)
    return whole and bool((actions.view(np.uint64) < space.n).all())  # -1 is the largest number there


def _bounds(space: Space) -> tuple[Any, Any]:
    """Least and largest action, both allowed."""
    if isinstance(space, spaces.Box):
        return float(space.low.min()) - SLACK, float(space.high.max()) + SLACK
    if isinstance(space, spaces.Discrete):
        return int(space.start), int(space.start + space.n - 1)
    most = space.nvec - 1  # type: ignore[attr-defined]
    return 0, tuple(most.tolist()) if most.ndim == 1 else int(most.min())


def _inside(array: Array, space: Space) -> bool:
    """True where all actions lie in the space; NaN does not."""
    low, high = _bounds(space)
    high = ops.const(high, array) if isinstance(high, tuple) else high
    return bool(xp_of(array).all((array >= low) & (array <= high)))


def _first_outside(array: Array, space: Space) -> str:
    """The first action that is not in the space, and its row."""
    for row, action in enumerate(ops.to_numpy(array)):
        if not _inside(np.asarray(action)[None], space):
            if pixels_of(space):
                low, high = _bounds(space)
                action = action[(action < low) | (action > high)][0]
            return f"{action.tolist()}" + (f" in row {row}" if len(array) > 1 else "")
    return f"{array}"


def checked_item(items: int, asked: Any, rng: np.random.Generator) -> int:
    """The item that an episode starts from: the one asked for, or a random one.

    Raises:
        ValueError: there is no such item.
    """
    if asked is None:
        return int(rng.integers(items))
    whole = isinstance(asked, int | np.integer) and not isinstance(asked, bool)
    if not whole or not 0 <= int(asked) < items:
        raise ValueError(f"options['item'] must be a whole number in [0, {items}), got {asked!r}")
    return int(asked)


def item_option(options: Any) -> Any:
    """The value of "item" in the options of ``reset``, or None.

    Raises:
        ValueError: the options are no mapping, or have another key.
    """
    if options is None:
        return None
    if not isinstance(options, Mapping):
        raise ValueError(f"options must be a dict with the key 'item' or None, got {options!r}")
    if unknown := sorted(map(str, set(options) - {"item"})):
        raise ValueError(f"options must have no key but 'item', got {unknown[0]!r}")
    return options.get("item")


def check_seed(seed: Any) -> None:
    """Refuse a seed that is no whole number >= 0.

    Raises:
        ValueError: names the value.
    """
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if seed is not None and (not whole or seed < 0):
        raise ValueError(f"seed must be a whole number >= 0 or None, got {seed!r}")


def check_engine(render_mode: Any, max_episode_steps: Any = None) -> None:
    """Refuse arguments of the engine that are out of range.

    Raises:
        ValueError: names the argument, the rule and the value.
    """
    if render_mode not in RENDER_MODES:
        raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
    limit = max_episode_steps
    whole = isinstance(limit, int | np.integer) and not isinstance(limit, bool)
    if limit is not None and (not whole or limit < 1):
        raise ValueError(f"max_episode_steps must be a whole number >= 1 or None, got {limit!r}")


def need_reset(env: Any, what: str) -> None:
    """Refuse to step or render before the first reset.

    Raises:
        gymnasium.error.ResetNeeded: there is no state yet.
    """
    if not hasattr(env, "state"):
        raise gym.error.ResetNeeded(f"call reset() before {what}()")
