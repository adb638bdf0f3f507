"""Images to pretrain on: what an environment shows under random actions, or those of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Interval
from torch import Tensor

from visionrl.agents.training.pairs import parse_args
from visionrl.core import TaskVectorEnv
from visionrl.datasets import ImageSample, load
from visionrl.datasets.load import NoSplitError
from visionrl.models._images import fit_images
from visionrl.models.pretext._base import SIDE

ROWS = 32  # episodes at a time
APART = 4  # steps between two images of an episode that are taken
HELD_OUT = 256  # most images of validation


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source of images."""

    env: str | None = None
    """Take what this environment shows under random actions on its training split."""
    data: str | None = None
    """Take the images of a data set, "FORMAT:PATH" or an embedded one; with --env, the data of the environment."""
    preset: str | None = None
    """Name of a set of arguments of the environment."""
    skip_bad: bool = False
    """Leave out samples that cannot be read, with a warning that counts and names them."""
    env_args: tuple[str, ...] = ()
    """Further arguments of the environment, each "name=value" with a JSON value or a word."""
    key: str = "window"
    """Name of the image in the environment's observation."""
    images: Annotated[int, Interval(ge=2, le=1_000_000)] = 5000
    """Take at most so many."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of everything."""

    def check_source(self) -> None:
        """Refuse a source that is none.

        Raises:
            ValueError: neither an environment nor data are given, or options of an environment without one.
        """
        if self.env is None and self.data is None:
            raise ValueError("env or data must be given, got neither")
        if self.env is None and (self.preset is not None or self.env_args):
            raise ValueError("env must be given with preset and env_args, got none")


def images_of(
    source: Source, side: int | None = None, channels: int | None = None
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Images (N, C, S, S) uint8 of training and of validation, perhaps none, and options of pretexts that they decide.

    Args:
        source: of the images.
        side: S; None is that of the environment's image, or 64.
        channels: C; None is that of the environment's image, or the most that an image of training has.

    Raises:
        ValueError: there is no such environment or data set, or it shows no image, or none of these channels.
    """
    if source.env is not None:
        return images_of_env(source, source.env, side, channels)
    found = [images_of_split(source, "train", source.images)]
    if len(found[0]) < 2:
        raise ValueError(f"data must have 2 training images or more, {source.data} has {len(found[0])}")
    found.append(images_of_split(source, "val", HELD_OUT))
    most = channels or max(len(image) for image in found[0])
    train, val = (fit_images(images, most, side or SIDE) for images in found)
    return train, val, {}


def images_of_split(source: Source, split: str, most: int) -> list[np.ndarray]:
    """At most so many images (C, H, W) of a split of the data; none of a validation split that the data do not have."""
    try:
        samples = load(source.data, kind=ImageSample, split=split, skip_bad=source.skip_bad)
    except NoSplitError:
        if split == "train":
            raise
        return []
    chosen = np.random.default_rng(source.seed).permutation(len(samples))[:most]
    return [samples[i].image for i in sorted(chosen)]


def images_of_env(
    source: Source, env_id: str, side: int | None, channels: int | None
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """As ``images_of``, of an environment; several scales side by side as channels are no colours."""
    kwargs: dict[str, Any] = {"preset": source.preset, **parse_args(source.env_args)}
    kwargs |= {} if source.data is None else {"data": source.data}
    kwargs |= {"skip_bad": True} if source.skip_bad else {}
    parts = []
    traits: dict[str, Any] = {}
    for split, most in (("train", source.images), ("val", HELD_OUT)):
        env = TaskVectorEnv(min(ROWS, most), env_id, split=split, **kwargs)
        check_key(env, source.key)
        parts.append(walk(env, source.key, most, source.seed))
        if len(getattr(env.task, "scales", (1,))) > 1:
            traits = {"colour": False}
    form = channels or parts[0].shape[1], side or min(parts[0].shape[2:])
    train, val = (fit_images([*part], *form) for part in parts)
    return train, val, traits


def check_key(env: TaskVectorEnv, key: str) -> None:
    """Refuse a key that names no image.

    Raises:
        ValueError: names the images that there are.
    """
    spaces: Any = env.single_observation_space
    images = [name for name, space in spaces.items() if space.dtype == np.uint8 and len(space.shape) == 3]
    if key not in images:
        known = (
            f"one of {', '.join(images)}" if images else "that of an image, and the environment shows none"
        )
        raise ValueError(f"key must be {known}, got {key!r}")


def walk(env: TaskVectorEnv, key: str, count: int, seed: int) -> np.ndarray:
    """(count, C, H, W) uint8, what episodes show under random actions, every few steps."""
    env.action_space.seed(seed)
    shown = env.reset(seed=seed)[0][key]
    found, held = [np.array(shown)], len(shown)
    while held < count:
        for _ in range(APART):
            shown = env.step(env.action_space.sample())[0][key]
        found.append(np.array(shown))
        held += len(shown)
    return np.concatenate(found)[:count]
