"""Films as GIF files and pictures as PNG files, by Pillow, which torchvision and scikit-image bring along."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.rendering.canvas import PALETTE
from visionrl.rendering.files import replacing

COLOURS = 123  # of a picture's own; with those of marks and black, around words, they fit into 7 bits
GREYS = 100  # of them, where the picture is grey
MOSTLY = 0.8  # share of grey pixels from which a picture is


def write_gif(path: str | Path, frames: Sequence[np.ndarray], fps: float = 8.0) -> Path:
    """Write (H, W, 3) uint8 RGB frames as an endless GIF; the last frame stays for a second.

    Raises:
        ValueError: there is no frame.
    """
    content, path = gif_bytes(frames, fps), Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_bytes(content)
    return path


def gif_bytes(frames: Sequence[np.ndarray], fps: float = 8.0) -> bytes:
    """See ``write_gif``: the contents of the file."""
    from PIL import Image

    if not frames:
        raise ValueError("frames must not be empty, got 0")
    images = [_reduced(Image.fromarray(frame)) for frame in frames]
    duration = [int(1000 / fps)] * (len(images) - 1) + [1000]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=duration, loop=0)
    return file.getvalue()


def write_png(path: str | Path, picture: np.ndarray) -> Path:
    """Write one (H, W, 3) uint8 RGB picture."""
    from PIL import Image

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        Image.fromarray(picture).save(partial, "PNG")
    return path


def _reduced(image: Any) -> Any:
    """The picture in 123 colours of its own and those of marks and words, which are too thin to be chosen.

    The colours are an octree's, 4 to 9 times as fast as Pillow's median cut; an octree knows few greys, so that grey
    pictures get 100 of them.
    """
    from PIL import Image

    some = np.asarray(image)[::4, ::4].astype(int)
    share = np.mean(np.abs(some - some[..., :1]).max(axis=-1) == 0)
    greys = [] if share < MOSTLY else np.linspace(0, 255, GREYS).round().astype(int).repeat(3).tolist()
    count = COLOURS - len(greys) // 3
    own = image.quantize(count, method=Image.Quantize.FASTOCTREE).getpalette()[: 3 * count]
    both = Image.new("P", (1, 1))
    both.putpalette([*own, *greys, *(value for colour in PALETTE.values() for value in colour), 0, 0, 0])
    return image.quantize(palette=both, dither=Image.Dither.NONE)
