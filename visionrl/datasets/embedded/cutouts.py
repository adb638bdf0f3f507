"""Cut-outs and backgrounds of real photographs: what the embedded videos are put together from.

The photographs lie in the installed scikit-image wheel (nothing is downloaded); this package adds the
outlines of the objects in them. A photograph belongs to one split, with every cut-out and background taken
from it.
Images are channel-first RGB uint8, as in ``samples``.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from visionrl.datasets.splits import check_split

PHOTOGRAPHS = {
    "train": (
        "brick.png",
        "chelsea.png",
        "coins.png",
        "ihc.png",
        "moon.png",
        "motorcycle_left.png",
        "rocket.jpg",
    ),
    "val": ("camera.png", "cell.png", "coffee.png", "gravel.png"),
    "test": (
        "astronaut.png",
        "clock_motion.png",
        "grass.png",
        "hubble_deep_field.jpg",
        "retina.jpg",
        "text.png",
    ),
}
"""Photographs of each split, file names in scikit-image's data folder; no photograph is in two splits."""

TOO_PLAIN = ("cell.png", "clock_motion.png")
"""Photographs that carry an object but no texture worth a background or a patch."""

OBJECTS_ONLY = (*TOO_PLAIN, "coins.png")
"""Photographs whose texture gives no patches."""

MAX_SIDE = 192
PATCHES_PER_PHOTOGRAPH = 4
_PATCH_SEED = 20240917
_OUTLINES = Path(__file__).parent / "data" / "cutouts.json"


@dataclass(frozen=True)
class Cutout:
    """An object of a photograph with the opacity of each pixel.

    Attributes:
        name: what it is: ``"cat"``, ``"coin 3"``, ``"patch 2 of brick"``.
        photograph: file name of the photograph.
        image: (3, H, W) uint8 RGB, read-only; the object's colours are extended beyond its edge.
        alpha: (H, W) uint8 opacity, read-only; 255 inside, 0 outside, soft over about 2 px at the edge.
    """

    name: str
    photograph: str
    image: np.ndarray
    alpha: np.ndarray


@dataclass(frozen=True)
class Background:
    """A photograph to put cut-outs on.

    Attributes:
        photograph: file name of the photograph.
        image: (3, H, W) uint8 RGB, read-only.
    """

    photograph: str
    image: np.ndarray


def photograph(name: str) -> np.ndarray:
    """(3, H, W) uint8 RGB photograph of the installed scikit-image.

    Raises:
        FileNotFoundError: scikit-image, or the photograph in it, is not installed.
    """
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            f"photograph {name!r} needs scikit-image to be installed (pip install scikit-image)"
        )
    path = Path(spec.origin).parent / "data" / name
    image = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if image is None:
        raise FileNotFoundError(
            f"photograph {name!r} must be in the installed scikit-image, got no image at {path}"
        )
    return np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))


@lru_cache
def cutouts(split: str) -> tuple[Cutout, ...]:
    """Every cut-out of a split: named objects in the order of names, then blob-shaped patches of texture.

    Raises:
        ValueError: there is no such split.
        FileNotFoundError: a photograph is missing from the installed scikit-image.
    """
    names = PHOTOGRAPHS[check_split(split)]
    photographs = {name: np.ascontiguousarray(photograph(name).transpose(1, 2, 0)) for name in names}
    entries = [entry for entry in json.loads(_OUTLINES.read_text()) if entry["photograph"] in names]
    shapes = [(entry["name"], entry["photograph"], np.array(entry["outline"])) for entry in entries]
    for name in names:
        if name not in OBJECTS_ONLY:
            shapes += _patches(name, photographs[name])
    return tuple(cut(photographs[source], outline, name, source) for name, source, outline in shapes)


@lru_cache
def backgrounds(split: str) -> tuple[Background, ...]:
    """Every background of a split.

    Raises:
        ValueError: there is no such split.
        FileNotFoundError: a photograph is missing from the installed scikit-image.
    """
    found = []
    for name in PHOTOGRAPHS[check_split(split)]:
        if name not in TOO_PLAIN:
            image = photograph(name)
            if name == "retina.jpg":
                image = np.ascontiguousarray(image[:, 230:1180, 230:1180])
            found.append(Background(name, _read_only(image)))
    return tuple(found)


def cut(image: np.ndarray, outline: np.ndarray, name: str, source: str, max_side: int = MAX_SIDE) -> Cutout:
    """Cut-out of the inside of an outline, its longer side brought down to ``max_side`` pixels.

    Args:
        image: (H, W, 3) uint8.
        outline: (N, 2) float, polygon of (x, y) in pixels.
        name: what it is.
        source: file name of the photograph.
        max_side: pixels.
    """
    low = np.maximum(np.floor(outline.min(0)).astype(int) - 3, 0)
    high = np.minimum(np.ceil(outline.max(0)).astype(int) + 4, image.shape[1::-1])
    crop = image[low[1] : high[1], low[0] : high[0]]
    scale = min(1.0, max_side / max(crop.shape[:2]))
    width, height = (max(1, round(side * scale)) for side in crop.shape[1::-1])
    crop = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
    ratio = np.array([width, height]) / (high - low)
    border = 3
    polygon = (outline - low + 0.5) * ratio - 0.5 + border
    alpha = _fill(polygon, width + 2 * border, height + 2 * border)
    crop = cv2.copyMakeBorder(crop, border, border, border, border, cv2.BORDER_REPLICATE)
    return Cutout(name, source, _read_only(_extend(crop, alpha).transpose(2, 0, 1)), _read_only(alpha))


def _patches(name: str, image: np.ndarray) -> list[tuple[str, str, np.ndarray]]:
    """Names, photograph and outlines of smooth random blobs, in textured places apart from each other."""
    rng = np.random.default_rng((_PATCH_SEED, zlib.crc32(name.encode())))
    grey, centres = image.mean(2), np.full((1, 2), -1e6)
    found = []
    for number in range(1, PATCHES_PER_PHOTOGRAPH + 1):
        radius = min(image.shape[:2]) * rng.uniform(0.11, 0.17)
        blob = _blob(rng) * radius
        low, high = 1 - blob.min(0), np.array(image.shape[1::-1]) - 2 - blob.max(0)
        places = rng.uniform(low, high, (16, 2))
        boxes = (np.floor(places[:, None] + [blob.min(0), blob.max(0)])).astype(int)
        texture = np.array([grey[y0:y1, x0:x1].std() for (x0, y0), (x1, y1) in boxes])
        apart = np.linalg.norm(places[:, None] - centres, axis=2).min(1)
        best = int(np.argmax(np.minimum(texture, 40) * np.minimum(apart / (2.2 * radius), 1)))
        centres = np.concatenate([centres, places[best : best + 1]])
        found.append((f"patch {number} of {Path(name).stem}", name, places[best] + blob))
    return found


def _blob(rng: np.random.Generator) -> np.ndarray:
    """(96, 2) outline of a smooth random shape of mean radius 1 about the origin."""
    turn = np.linspace(0, 2 * np.pi, 96, endpoint=False)[:, None]
    waves = np.arange(2, 6)
    heights = rng.normal(0, 0.22, 4) / (waves - 1)
    radius = np.maximum(1 + (heights * np.cos(waves * turn + rng.uniform(0, 2 * np.pi, 4))).sum(1), 0.45)
    return radius[:, None] * np.concatenate([np.cos(turn), np.sin(turn)], 1)


def _fill(polygon: np.ndarray, width: int, height: int, finer: int = 4) -> np.ndarray:
    """(height, width) uint8 opacity of a polygon, from ``finer`` x ``finer`` points a pixel, softened."""
    mask = np.zeros((height * finer, width * finer), np.uint8)
    corners = ((polygon + 0.5) * finer - 0.5) * 16
    cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 255, cv2.LINE_8, 4)
    return cv2.GaussianBlur(cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA), (0, 0), 0.6)


def _extend(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The image with the colours well inside the object carried on to the pixels that are not."""
    core = cv2.erode((alpha >= 250).astype(np.uint8), np.ones((3, 3), np.uint8))
    _, labels = cv2.distanceTransformWithLabels(1 - core, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    source = np.zeros(labels.max() + 1, np.int64)
    inside = np.flatnonzero(core)
    source[labels.reshape(-1)[inside]] = inside
    return image.reshape(-1, 3)[source[labels]]


def _read_only(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array
