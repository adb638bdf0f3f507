"""Films as GIF files and pictures as PNG files, by Pillow, which torchvision and scikit-image bring along."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.rendering.canvas import PALETTE
from visionrl.rendering.files import replacing


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
    images = [_reduced(Image.fromarray(frame)) for frame in frames]
    duration = [int(1000 / fps)] * (len(images) - 1) + [1000]
    with replacing(path) as partial:
        images[0].save(partial, "GIF", save_all=True, append_images=images[1:], duration=duration, loop=0)
    return path


def write_png(path: str | Path, picture: np.ndarray) -> Path:
    """Write one (H, W, 3) uint8 RGB picture."""
    from PIL import Image

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        Image.fromarray(picture).save(partial, "PNG")
    return path


def _reduced(image: Any) -> Any:
    """The picture in 124 colours of its own and those that marks are drawn in, which are too thin to be chosen."""
    from PIL import Image

    own = image.quantize(124).getpalette()[: 3 * 124]
    both = Image.new("P", (1, 1))
    both.putpalette([*own, *(value for colour in PALETTE.values() for value in colour)])
    return image.quantize(palette=both, dither=Image.Dither.NONE)
