"""Limits of what one file may ask for, checked before memory is taken; each can be set by an environment variable.

| variable | limits | default |
|---|---|---|
| VISIONRL_TEXT_LIMIT | a text file: annotations, tables, lists | 1024 MiB |
| VISIONRL_IMAGE_LIMIT | a decoded image: width x height x channels, bytes | 256 MiB |
| VISIONRL_VOLUME_LIMIT | a decoded volume: voxels, one byte each | 1024 MiB |

A file may also not claim more than can be in it: raw voxels as many bytes as they take, deflated ones 1,032 times the
file's size, which is the most that deflate can reach.
"""

from __future__ import annotations

import os
from math import prod
from pathlib import Path

DEFAULTS_MIB = {"TEXT": 1024, "IMAGE": 256, "VOLUME": 1024}
DEFLATE = 1032  # the largest factor by which deflate can shrink
SLACK = 1 << 16  # bytes of headers


def limit_of(what: str) -> int:
    """The limit of "TEXT", "IMAGE" or "VOLUME", in bytes.

    Raises:
        ValueError: the environment variable is no whole number of MiB, 1 or more.
    """
    name = f"VISIONRL_{what}_LIMIT"
    asked = os.environ.get(name)
    if asked is None:
        return DEFAULTS_MIB[what] << 20
    if not (asked.isascii() and asked.isdigit()) or not int(asked):
        raise ValueError(f"{name} must be a whole number of MiB >= 1, got {asked!r}")
    return int(asked) << 20


def check_image_size(path: Path, width: int, height: int, channels: int) -> None:
    """Refuses an image that would take more memory than the limit.

    Raises:
        ValueError: it would.
    """
    limit = limit_of("IMAGE")
    if width * height * channels > limit:
        raise ValueError(
            f"image file {path} must take at most {limit >> 20} MiB (VISIONRL_IMAGE_LIMIT), got "
            f"{width} x {height} x {channels} bytes"
        )


def check_file_size(path: Path) -> None:
    """Refuses an image file that is larger than a decoded image may be.

    Raises:
        ValueError: it is.
    """
    limit, size = limit_of("IMAGE"), path.stat().st_size
    if size > limit + SLACK:
        raise ValueError(
            f"image file {path} must have at most {limit >> 20} MiB (VISIONRL_IMAGE_LIMIT), got {size} bytes"
        )


def check_volume_size(
    file: Path, shape: tuple[int, ...], item_bytes: float, stored: int, deflated: bool
) -> None:
    """Refuses a header that claims more voxels than the limit, or than the file can hold.

    Args:
        file: for the message.
        shape: of the whole array.
        item_bytes: bytes of a voxel in the file.
        stored: bytes of the file.
        deflated: it is compressed.

    Raises:
        ValueError: a side is not > 0, or the array is too large.
    """
    if not shape or min(shape) < 1:
        raise ValueError(f"{file} must have sides >= 1, its header says {tuple(shape)}")
    limit, voxels = limit_of("VOLUME"), prod(int(side) for side in shape)
    if voxels > limit:
        raise ValueError(
            f"{file} must have at most {limit} voxels (VISIONRL_VOLUME_LIMIT), its header says {tuple(shape)}"
        )
    most = stored * DEFLATE + SLACK if deflated else stored
    if voxels * item_bytes > most:
        raise ValueError(
            f"{file} is truncated or damaged: its header says {tuple(shape)} voxels of {item_bytes:g} bytes, "
            f"the file has {stored} bytes"
        )
