"""Films as GIF files, by Pillow, which torchvision and scikit-image bring along."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def write_gif(path: str | Path, frames: Sequence[np.ndarray], fps: float = 8.0) -> Path:
    """Write (H, W, 3) uint8 RGB frames as an endless GIF; the last frame stays for a second.

    Raises:
        ValueError: there is no frame.
    """
    from PIL import Image

    if not frames:
        raise ValueError("frames must not be empty, got 0")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [Image.fromarray(frame).quantize(128, dither=Image.Dither.NONE) for frame in frames]
    duration = [int(1000 / fps)] * (len(images) - 1) + [1000]
    partial = path.with_name(f".{path.name}.part")
    images[0].save(partial, "GIF", save_all=True, append_images=images[1:], duration=duration, loop=0)
    os.replace(partial, path)
    return path
