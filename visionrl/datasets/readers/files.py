"""Helpers of the readers: image files as arrays, folders, numbers in text files."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from visionrl.datasets.guard import one_line
from visionrl.datasets.limits import check_file_size, check_image_size

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

IMAGE_SUFFIXES = (".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
NOT_READ = {
    ".gif",
    ".heic",
    ".heif",
    ".avif",
    ".jp2",
    ".tga",
    ".psd",
    ".dng",
    ".cr2",
    ".nef",
    ".exr",
    ".jxl",
    ".dcm",
}
EMPTY = ("", "nan", "na", "n/a", "n.a.", "#n/a", "<na>", "none", "null", "-")
FORMATS = (
    "BMP",
    "JPEG",
    "PNG",
    "PPM",
    "TIFF",
    "WEBP",
)  # Pillow knows others, some of which run programs
ORIENTATION = 0x0112
JPEG_END = b"\xff\xd9"
TAILS = tuple(bytes([value]) * 64 for value in (0x00, 0x55, 0xAA, 0xFE))
LOCK = Lock()
PNG_END = b"IEND\xaeB`\x82"


def read_image(path: Path) -> np.ndarray:
    """The image in a file as (C, H, W) uint8, C = 1 where the file is grey, else 3.

    The content decides, not the file's suffix. The image is turned upright by its EXIF orientation; labels
    refer to the upright image. Transparency is dropped; palette, CMYK and other colours become RGB; black
    and white becomes 0 and 255; of several images in a file the first is taken. 16-bit grey keeps its high
    byte; where its brightest value is below 4,096 that would be almost black, so the file is refused. A JPEG that
    lacks nothing but its end marker is read with a warning.

    Raises:
        ValueError: the file is missing, truncated, no image of a format that is read (BMP, JPEG, PNG, PPM, TIFF,
            WebP), larger than the limit (``datasets.limits``), or of float or 32-bit pixels.
    """
    if not path.is_file():
        raise ValueError(f"image file {path} must exist")
    check_file_size(path)
    return image_of_bytes(path.read_bytes(), path)


def image_of_bytes(content: bytes, path: Path, form: str = "") -> np.ndarray:
    """The image in the content of a file, as ``read_image`` gives it.

    Args:
        content: of the file.
        path: for messages.
        form: the one format that it may have, as Pillow calls it; "" is any that is read.

    Raises:
        ValueError: it is no such image.
    """
    with decoding_image(path):
        try:
            picture = _decoded(content, path)
        except OSError:
            picture = _without_end(content, path)
        if form and picture.format != form:
            raise ValueError(f"it must be {form}, got {picture.format}")
        if picture.format == "PNG" and PNG_END not in content:
            raise ValueError("the end of the PNG file is missing")
        picture = upright(picture)
    return _to_array(picture, path)


@contextmanager
def decoding_image(path: Path, what: str = "image file") -> Iterator[None]:
    """Names the file in whatever the decoder raises."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and f"{what} {path}" in str(error):
            raise
        raise ValueError(f"{what} {path} is truncated or no image: {one_line(error)}") from error


def open_image(content: bytes, path: Path) -> Picture:
    """An image of one of the formats that are read, not decoded yet, once its size is within the limit."""
    from PIL import Image, UnidentifiedImageError

    Image.init()  # registers all formats; only those that are named are used
    with LOCK:  # Pillow's own limit cannot be set for one call
        most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            picture = Image.open(BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError:
            raise ValueError(f"it is none of {', '.join(FORMATS)}") from None
        finally:
            Image.MAX_IMAGE_PIXELS = most
    check_image_size(path, *picture.size, 1 if picture.mode in ("1", "L", "LA", "I;16") else 3)
    return picture


def _decoded(content: bytes, path: Path) -> Picture:
    """A decoded image."""
    picture = open_image(content, path)
    picture.load()
    return picture


def _without_end(content: bytes, path: Path) -> Picture:
    """A JPEG that lacks nothing but its end marker, with a warning.

    What is put in the place of missing pixels would change them: all tails must give the same image.

    Raises:
        OSError: pixels are missing, or it is no JPEG.
    """
    if not content.startswith(b"\xff\xd8") or content.endswith((b"\xff", JPEG_END)):
        raise OSError("the file ends too early")
    first, *others = (_decoded(content + tail + JPEG_END, path) for tail in TAILS)
    if any(other.tobytes() != first.tobytes() for other in others):
        raise OSError("the file ends too early")
    warnings.warn(f"image file {path} lacks its end marker; it is read all the same", stacklevel=2)
    return first


def _to_array(picture: Picture, path: Path) -> np.ndarray:
    """(C, H, W) uint8 of an image of any mode."""
    if picture.mode == "F":
        raise ValueError(f"image file {path}: images are uint8 0-255, got float pixels")
    if picture.mode.startswith("I"):
        return _high_byte(np.asarray(picture), f"image file {path}")[None]
    if picture.mode in ("1", "L", "LA", "La"):
        return np.asarray(picture.convert("L"))[None].copy()
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA")
    return np.ascontiguousarray(np.asarray(picture.convert("RGB")).transpose(2, 0, 1))


def image_of(array: Any) -> np.ndarray:
    """An array as an image by the rules for files: 16-bit greys keep their high byte, black and white become 0 and 255.

    Args:
        array: (H, W), (H, W, C) or (C, H, W), C = 1 or 3.

    Returns:
        (C, H, W) uint8.

    Raises:
        ValueError: it holds float or 32-bit numbers, or greys of 16 bits that do not fill their range.
    """
    pixels = np.asarray(array)
    if pixels.ndim == 2:
        pixels = pixels[None]
    elif pixels.ndim == 3 and pixels.shape[2] in (1, 3):
        pixels = pixels.transpose(2, 0, 1)
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype in (np.uint16, np.int16):
        return _high_byte(pixels, "the array")
    if pixels.dtype != np.uint8:
        raise ValueError(f"images must be uint8 from 0 to 255, or of 16 bits, got an array of {pixels.dtype}")
    return pixels


def _high_byte(pixels: np.ndarray, where: str) -> np.ndarray:
    """16-bit grey as 8-bit."""
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or not 4096 <= high <= 65535:
        raise ValueError(
            f"{where}: 16-bit grey must fill its range (brightest value 4096 to 65535), "
            f"got {low} to {high}; rescale it to uint8"
        )
    return (pixels // 256).astype(np.uint8)


def upright(picture: Picture) -> Picture:
    """An image turned by its EXIF orientation."""
    from PIL import ImageOps

    if picture.getexif().get(ORIENTATION, 1) == 1:
        return picture
    return ImageOps.exif_transpose(picture)


class ImageFiles(Sequence[np.ndarray]):
    """Images that are read from their files at each access.

    Args:
        paths: the files; none is opened yet.
        read: from a file to its pixels.
    """

    def __init__(self, paths: Iterable[Path], read: Callable[[Path], np.ndarray] = read_image) -> None:
        self.paths, self.read = tuple(paths), read

    def __len__(self) -> int:
        """The number of files."""
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> ImageFiles: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | ImageFiles:
        """One image; for a slice, the files of the slice."""
        chosen = self.paths[index]
        return self.read(chosen) if isinstance(chosen, Path) else ImageFiles(chosen, self.read)


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sorts by the numbers in a file's name: 2.jpg before 10.jpg."""
    parts = re.split(r"(\d+)", path.name, flags=re.ASCII)
    digits = [part.lstrip("0") for part in parts]
    return [(1, len(digits[k]), digits[k]) if k % 2 else (0, 0, parts[k]) for k in range(len(parts))]


def has_suffix(file: Path, suffixes: str | Iterable[str]) -> bool:
    """True if a file's name ends with one of the suffixes, in small letters, capitals or both."""
    return file.name.lower().endswith(suffixes if isinstance(suffixes, str) else tuple(suffixes))


def find_beside(file: Path, suffixes: Sequence[str]) -> Path | None:
    """The file with the name of another and one of some suffixes, in letters of any case; None for none.

    Args:
        file: need not exist; of several found the one with the first of the suffixes.
        suffixes: in small letters.
    """
    for suffix in suffixes:
        for path in (file.with_suffix(suffix), file.with_suffix(suffix.upper())):
            if path.is_file():
                return path
    if not file.parent.is_dir():
        return None
    names = _names_in(file.parent, file.parent.stat().st_mtime_ns)
    return next((file.parent / names[n] for s in suffixes if (n := f"{file.stem}{s}") in names), None)


@lru_cache(maxsize=16)
def _names_in(folder: Path, changed: int) -> dict[str, str]:
    """The names in a folder by themselves with the suffix in small letters."""
    return {f"{path.stem}{path.suffix.lower()}": path.name for path in folder.iterdir()}


def list_folders(folder: Path) -> list[Path]:
    """The folders in a folder, by path; hidden ones are left out."""
    return sorted(child for child in folder.iterdir() if child.is_dir() and not is_hidden(child.name))


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder by number; hidden files are left out."""
    files = (file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    return sorted((file for file in files if not file.name.startswith(".")), key=natural_key)


def is_hidden(name: str) -> bool:
    """True for the name of a hidden file or folder, and of the folder of copies that macOS puts into archives."""
    return name.startswith(".") or name == "__MACOSX"


def _walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """A folder and each below it with the names of its folders and files, without hidden ones."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        yield place, folders, [name for name in files if not is_hidden(name)]


def files_below(folder: Path) -> list[Path]:
    """The files in a folder and below it, by path; neither hidden ones nor those in hidden folders."""
    return sorted(Path(place, name) for place, _, files in _walk(folder) for name in files)


def folders_below(folder: Path) -> list[Path]:
    """The folders below a folder, by path; neither hidden ones nor those in hidden folders."""
    return sorted(Path(place, name) for place, folders, _ in _walk(folder) for name in folders)


def images_below(folder: Path) -> list[Path]:
    """The image files in a folder and below it, by path; neither hidden ones nor those in hidden folders."""
    return [file for file in files_below(folder) if file.suffix.lower() in IMAGE_SUFFIXES]


def files_ending(folder: Path, suffix: str, below: bool = False) -> list[Path]:
    """The files of a folder, or of all below it, with a suffix in any case; hidden ones are left out."""
    if not folder.is_dir():
        return []
    files = files_below(folder) if below else folder.iterdir()
    return sorted(file for file in files if file.suffix.lower() == suffix and file.name[0] != ".")


def stated_path(text: str) -> str:
    """A path that a file states, with the separators of Windows as those of all others."""
    return text.replace("\\", "/") if "\\" in text else text


OUTSIDE = "set VISIONRL_ALLOW_OUTSIDE=1 if you trust it"


def stays_inside(path: Path, *roots: Path) -> bool:
    """True if a path, links resolved, lies in one of the folders, or VISIONRL_ALLOW_OUTSIDE is 1."""
    if os.environ.get("VISIONRL_ALLOW_OUTSIDE") == "1":
        return True
    real = path.resolve()
    return any(real.is_relative_to(root.resolve()) for root in roots)


def check_inside(path: Path, *roots: Path, where: object) -> Path:
    """Checks a path that a file of a data set states.

    Raises:
        ValueError: it leads out of all the folders; ``where`` names the file that states it.
    """
    if not stays_inside(path, *roots):
        raise ValueError(
            f"{where}: {path} must lie in the data set's folder {roots[0]}, it leads outside; {OUTSIDE}"
        )
    return path


def plain_names(paths: Sequence[Path]) -> list[str]:
    """The paths without suffix; those that would then be alike (``a.png`` and ``a.jpg``) keep it."""
    plain = [(path.with_suffix("") if path.name else path).as_posix() for path in paths]
    kinds = Counter(name for name, _ in {*zip(plain, paths, strict=True)})
    return [name if kinds[name] == 1 else path.as_posix() for name, path in zip(plain, paths, strict=True)]


def warn_unread(folder: Path) -> None:
    """Warn of files below a folder that look like images of formats that are not read."""
    lost = Counter(kind for file in files_below(folder) if (kind := file.suffix.lower()) in NOT_READ)
    if lost:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(lost.items()))
        warnings.warn(f"{folder}: images of formats that are not read are left out: {kinds}", stacklevel=2)


def check_folder(path: Path) -> Path:
    """The path, once it is a folder."""
    if not path.is_dir():
        raise ValueError(f"the path must be a folder, got the file {path}")
    return path


def is_empty(cells: Sequence[str]) -> bool:
    """True if every cell is empty, or says that there is no number."""
    return all(cell.strip().lower() in EMPTY for cell in cells)


def numbers(cells: Sequence[str], count: int, where: str) -> list[float]:
    """So many finite numbers.

    Raises:
        ValueError: there are more or fewer, or one is no finite number; ``where`` names the file and the
            line.
    """
    if len(cells) != count:
        raise ValueError(f"{where}: must hold {count} numbers, got {len(cells)}: {' '.join(cells)!r:.300}")
    try:
        values = [float(cell if "_" not in cell else "") for cell in cells]
    except ValueError as error:
        raise ValueError(f"{where}: must hold numbers, got {' '.join(cells)!r:.300}") from error
    if not np.isfinite(values).all():
        raise ValueError(f"{where}: numbers must be finite, got {' '.join(cells)!r:.300}")
    return values
