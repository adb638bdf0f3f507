"""Films of episodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import numpy as np

from visionrl.agents.evaluation.episodes import ENGINE, last_states
from visionrl.agents.evaluation.policies import Policy
from visionrl.core import Task, batch, entry_of
from visionrl.rendering import write_gif, write_png

MOST_FRAMES = 200
MOST_BYTES = 2_000_000
LEAST_SIDE = 320  # pictures with a shorter side than this are not halved
FEWEST_FRAMES = 16


def record(
    env_id: str,
    policy: Policy,
    path: str | Path,
    *,
    split: str = "test",
    item: int = 0,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
    fps: float = 8.0,
    until_success: bool = False,
) -> Path:
    """Write one episode as a GIF, a frame per step.

    Long episodes are thinned to 200 frames. A file that would exceed 2 MB gets pictures of half the size first, then
    every second frame, as often as it takes.

    Args:
        env_id: id of the task.
        policy: see ``Policy``.
        path: the file.
        split: "train", "val", "test" or "all".
        item: number of the task's item to start from.
        seed: of the first state.
        env_kwargs: constructor arguments of the task; ``Task.evaluation`` holds unless they say otherwise.
        fps: frames per second.
        until_success: end the film at the first step after which the task's ``is_success`` is true.

    Returns:
        The file.

    Raises:
        ValueError: an argument is out of range.
    """
    task, states = episode(env_id, policy, split=split, item=item, seed=seed, env_kwargs=env_kwargs or {})
    if until_success:
        solved = [bool(task.metrics(state).get("is_success", [False])[0]) for state in states]
        states = states[: (solved.index(True, 1) if any(solved[1:]) else len(states)) + 1]
    kept = np.unique(np.linspace(0, len(states) - 1, min(len(states), MOST_FRAMES)).round().astype(int))
    frames = [task.draw(batch.each(states[k], lambda x: x[0])) for k in kept]
    return write_film(path, frames, fps)


def write_film(path: str | Path, frames: list[np.ndarray], fps: float = 8.0) -> Path:
    """Write frames, (H, W, 3) uint8, as a GIF of at most 2 MB: of half the size, then every second frame."""
    path = write_gif(path, frames, fps)
    if path.stat().st_size > MOST_BYTES and min(frames[0].shape[:2]) >= LEAST_SIDE:
        frames = [cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for frame in frames]
        write_gif(path, frames, fps)
    while path.stat().st_size > MOST_BYTES and len(frames) > FEWEST_FRAMES:
        frames = [*frames[:-1:2], frames[-1]]
        write_gif(path, frames, fps)
    return path


def gallery(
    env_id: str,
    policy: Policy,
    path: str | Path,
    *,
    split: str = "test",
    episodes: int = 12,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Path:
    """Write a PNG of how some episodes end, four beside each other, each scaled to one width.

    Args:
        env_id: id of the task.
        policy: see ``Policy``.
        path: the file.
        split: "train", "val", "test" or "all".
        episodes: how many at most, spread over the split.
        env_kwargs: constructor arguments of the task.

    Returns:
        The file.
    """
    task, ends = last_states(env_id, policy, split, episodes, env_kwargs or {})
    pictures = [
        fitted(task.draw(batch.take(ends, row))) for row in range(len(next(iter(vars(ends).values()))))
    ]
    high = max(picture.shape[0] for picture in pictures)
    cells = [np.pad(picture, ((0, high - picture.shape[0]), (0, 0), (0, 0))) for picture in pictures]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % 4)
    return write_png(
        path, np.concatenate([np.concatenate(cells[k : k + 4], 1) for k in range(0, len(cells), 4)])
    )


def fitted(picture: np.ndarray) -> np.ndarray:
    """A picture, (H, W, 3) uint8, scaled to a width of 240 pixels."""
    height = round(picture.shape[0] * 240 / picture.shape[1])
    return cv2.resize(picture, (240, height), interpolation=cv2.INTER_AREA)


def episode(
    env_id: str, policy: Policy, *, split: str, item: int, seed: int, env_kwargs: Mapping[str, Any]
) -> tuple[Task, list[Any]]:
    """The task, and every state of one episode with B = 1, the first and the last among them."""
    entry = entry_of(env_id)
    wanted = {**entry.task.evaluation, **env_kwargs, "split": split}
    single = {key: value for key, value in wanted.items() if key == "split" or key not in ENGINE}
    env = gym.make(entry.id, disable_env_checker=True, **single)
    inner: Any = env.unwrapped
    obs, _ = env.reset(seed=seed, options={"item": item})
    getattr(policy, "reset", lambda: None)()
    states, over = [inner.state], False
    while not over:
        actions = policy({key: value[None] for key, value in obs.items()}, inner.task, inner.state)
        obs, _, terminated, truncated, _ = env.step(actions[0])
        over = terminated or truncated
        states.append(inner.state)
    return inner.task, states
