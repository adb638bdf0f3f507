"""Files of labels: the numbers that stand there, not what a decoder makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from visionrl.datasets.limits import check_file_size
from visionrl.datasets.readers.files import decoding_image, open_image, read_image, upright

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


def read_greys(path: Path, what: str = "image file", grey_rgb: bool = False) -> np.ndarray:
    """The greys or palette indices of a file as they stand there, (H, W) of any integer type.

    Args:
        path: the file.
        what: says in messages what it is.
        grey_rgb: RGB is taken where its three channels are the same.

    Raises:
        ValueError: it is missing, truncated or no image, has several images, colours or float pixels.
    """
    if not path.is_file():
        raise ValueError(f"{what} {path} must exist")
    check_file_size(path)
    content = path.read_bytes()
    with decoding_image(path, what), open_image(content, path) as picture:
        spread = 1.0 if what == "image file" else _spread(picture)
        pages, mode = getattr(picture, "n_frames", 1), picture.mode
        pixels = np.asarray(upright(picture))
    if grey_rgb and mode == "RGB" and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    if what != "image file":
        check_lossless(path, content, picture, what)
    if spread != 1:
        pixels = np.rint(pixels / spread).astype(pixels.dtype)
    if pages != 1:
        raise ValueError(f"{what} {path} must be one picture, got {pages}: volumes and stacks are not read")
    if pixels.ndim != 2 or pixels.dtype.kind not in "bui":
        kind = "colours" if pixels.ndim != 2 else "float pixels"
        raise ValueError(f"{what} {path} must have palette indices or greys, got {kind} ({mode})")
    return pixels


def _spread(picture: Picture) -> float:
    """The factor by which the decoder multiplies greys of 2 or 4 bits, or those of a PGM with a range of its own.

    It must be asked before the image is decoded.
    """
    tiles: Any = getattr(picture, "tile", ())
    args: Any = tiles[0].args if tiles else ()
    words = [args] if isinstance(args, str) else list(args or ())
    if picture.format == "PPM" and len(words) == 2 and isinstance(words[1], int):
        return (65535 if picture.mode == "I" else 255) / words[1]
    bits = next((word[2] for word in words if isinstance(word, str) and word[:3] in ("L;2", "L;4")), "")
    return {"2": 85.0, "4": 17.0}.get(bits, 1.0)


def check_lossless(path: Path, content: bytes, picture: Picture, what: str) -> None:
    """Refuses a file of labels whose compression changes pixels: JPEG, also in TIFF, and lossy WebP.

    Raises:
        ValueError: it is one.
    """
    webp = picture.format == "WEBP" and (content[12:16] == b"VP8 " or b"VP8L" not in content)
    kind = "lossy WebP" if webp else "JPEG"
    if webp or picture.format == "JPEG" or "jpeg" in str(picture.info.get("compression", "")):
        raise ValueError(
            f"{what} {path} must be stored without loss (PNG, TIFF, ...), {kind} changes its labels"
        )


def read_lossless(path: Path, what: str) -> np.ndarray:
    """An image as ``read_image`` gives it, whose pixels stand for labels; errors as ``check_lossless``."""
    pixels = read_image(path)
    content = path.read_bytes()
    with open_image(content, path) as picture:
        check_lossless(path, content, picture, what)
    return pixels


def is_palette(path: Path) -> bool:
    """True if the pixels of an image are indices into a palette."""
    with decoding_image(path), open_image(path.read_bytes(), path) as picture:
        return picture.mode == "P"
