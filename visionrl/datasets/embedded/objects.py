"""Embedded images for object detection: real cut-outs of five classes on real photographs, with exact boxes.

Every pixel comes from an image inside the installed scikit-image; what is made up is where the objects lie,
their scale, rotation, mirroring and light. What belongs to which split:

* The objects: each brick, coin, face, galaxy and printed word lies in one split (a word by what it says). All
  bricks come from one photograph, and so do all coins, galaxies and words; the faces are 100 images of
  people, of whom scikit-image does not say whether any is shown twice.
* The backgrounds: each photograph lies in one split, as in ``cutouts``; three to five are few, so they are seen
  at many scales and orientations, blended, and with irregular patches of each other on them. None is one that
  objects come from, and parts of them that show faces or writing are cut away.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from visionrl.datasets.embedded.compose import blur, extent, is_grey, layer, paste, poses, tint
from visionrl.datasets.embedded.cutouts import Cutout, backgrounds, cut, cutouts
from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.readers.files import read_image
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.splits import SPLITS, split_subjects

CLASSES = ("brick", "coin", "face", "galaxy", "word")
COUNTS = {"train": 800, "val": 40, "test": 60}
OBJECTS = 4
"""Most objects in an image; one image in ten has none."""

MAX_OVERLAP = 0.2
"""Most that two boxes share, as a part of the smaller one."""

_SEED = 20260
_RATIOS = (0.6, 0.15, 0.25)
_TURN = {"brick": 90, "coin": 180, "face": 15, "galaxy": 180, "word": 12}  # most degrees, either way
_LONGEST = {"brick": 115, "coin": 95, "face": 95, "galaxy": 95, "word": 125}  # pixels
_SHORTEST = {"brick": 65, "coin": 45, "face": 45, "galaxy": 45, "word": 65}
_VIEWS = {  # rows and columns of a background that are used, where not all are
    "astronaut.png": (slice(200, None), slice(None)),
    "camera.png": (slice(None), slice(285, None)),
}
_LEFT_OUT = ("brick.png", "coins.png", "hubble_deep_field.jpg", "text.png")
_OUTLINES = Path(__file__).parent / "data" / "objects.json"
_FACES = "lfw_subset.npy"


class Objects(GeneratedDataset[ImageSample]):
    """The images of one split, (3, 120..192, 160..224) of differing sizes, each with none to four objects.

    ``boxes`` are the tight extents of the whole objects, to where the opacity is one half; an object lies inside
    the image, and two boxes share at most ``MAX_OVERLAP`` of the smaller, where the later object is in front.
    ``labels`` are among ``CLASSES``. Images 9, 19, 29, ... of a split show a background alone. An image is a
    pure function of the split and its index.

    Args:
        split: "train", "val" or "test".
        count: the number of images; None takes ``COUNTS``.

    Raises:
        ValueError: another split, or a count below 1.
        FileNotFoundError: scikit-image, or an image in it, is not installed.
    """

    def __init__(self, split: str = "train", count: int | None = None) -> None:
        super().__init__(split, count, COUNTS)
        members(split)  # a missing image fails here

    def _make(self, number: int) -> ImageSample:
        return compose(self.split, number)


def picture(name: str) -> np.ndarray:
    """(3, H, W) uint8 image of the installed scikit-image.

    Raises:
        FileNotFoundError: it is not installed.
    """
    image = read_image(_installed(name))
    return np.repeat(image, 3, axis=0) if len(image) == 1 else image


def _installed(name: str) -> Path:
    """The file in scikit-image's data folder."""
    spec = find_spec("skimage")
    if spec is None or spec.origin is None or not (Path(spec.origin).parent / "data" / name).is_file():
        raise FileNotFoundError(f"{name} must be in the installed scikit-image (pip install scikit-image)")
    return Path(spec.origin).parent / "data" / name


@lru_cache
def members(split: str) -> dict[str, tuple[Cutout, ...]]:
    """The cut-outs of each class that belong to a split."""
    found: dict[str, tuple[Cutout, ...]] = {}
    for kind, cutouts_of_kind in _all_members().items():
        names = [subject_of(cutout) for cutout in cutouts_of_kind]
        splits = split_subjects(names, _RATIOS, seed=_SEED)
        pairs = zip(names, cutouts_of_kind, strict=True)
        found[kind] = tuple(cutout for name, cutout in pairs if splits[name] == split)
    return found


@lru_cache
def _all_members() -> dict[str, list[Cutout]]:
    """The cut-outs of each class, of all splits."""
    found: dict[str, list[Cutout]] = {kind: [] for kind in CLASSES}
    found["coin"] = [cutout for cutout in cutouts("train") if cutout.photograph == "coins.png"]
    found["face"] = _faces()
    for entry in json.loads(_OUTLINES.read_text()):
        image = _channels_last(entry["photograph"])
        outline = np.array(entry["outline"], float)
        found[entry["class"]].append(cut(image, outline, entry["name"], entry["photograph"]))
    return found


def subject_of(cutout: Cutout) -> str:
    """Subject of a cut-out, which lies in one split: the text of a word, the name of anything else."""
    return cutout.name.split()[0] if cutout.photograph == "page.png" else cutout.name


@lru_cache
def _channels_last(name: str) -> np.ndarray:
    """(H, W, 3) uint8."""
    return np.ascontiguousarray(picture(name).transpose(1, 2, 0))


def _faces() -> list[Cutout]:
    """The faces of 25 x 25 pixels, three times enlarged, in an oval."""
    pixels = np.load(_installed(_FACES), allow_pickle=False)[:100]
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    oval = np.stack([37 + 28 * np.cos(turn), 37 + 35 * np.sin(turn)], 1)
    found = []
    for number, face in enumerate(pixels, 1):
        large = cv2.resize(face.astype(np.float32), (75, 75), interpolation=cv2.INTER_CUBIC)
        grey = np.clip(np.rint(255 * large), 0, 255).astype(np.uint8)
        found.append(cut(cv2.merge([grey] * 3), oval, f"face {number}", _FACES))
    return found


@lru_cache
def places_of(split: str) -> tuple[np.ndarray, ...]:
    """The (H, W, 3) backgrounds of a split, the shorter side brought down to 300 pixels."""
    found = []
    for place in backgrounds(split):
        if place.photograph not in _LEFT_OUT:
            image = cv2.merge(list(place.image))[_VIEWS.get(place.photograph, slice(None))]
            scale = min(300 / min(image.shape[:2]), 1)
            found.append(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return tuple(found)


def compose(split: str, index: int) -> ImageSample:
    """Image ``index`` of a split."""
    rng = np.random.default_rng((_SEED, SPLITS.index(split), index))
    width, height = int(rng.integers(160, 225)), int(rng.integers(120, 193))
    canvas = _backdrop(rng, split, width, height)
    boxes = np.zeros((0, 4))
    labels: list[str] = []
    wanted = 0 if index % 10 == 9 else int(rng.integers(1, OBJECTS + 1))
    for _ in range(wanted):
        kind = CLASSES[rng.integers(len(CLASSES))]
        box = _add(rng, canvas, boxes, kind, members(split)[kind])
        if box is not None:
            boxes = np.concatenate([boxes, box[None]])
            labels.append(kind)
    image = _expose(rng, canvas)
    return ImageSample(np.ascontiguousarray(image.transpose(2, 0, 1)), boxes, labels, name=f"{split} {index}")


def _add(
    rng: np.random.Generator, canvas: np.ndarray, taken: np.ndarray, kind: str, choices: Sequence[Cutout]
) -> np.ndarray | None:
    """Draws one object of a class and gives its (4,) box, or None where it found no room in 20 places at random."""
    cutout = choices[int(rng.integers(len(choices)))]
    if kind != "word" and rng.random() < 0.5:
        cutout = replace(
            cutout, image=cutout.image[..., ::-1], alpha=np.ascontiguousarray(cutout.alpha[:, ::-1])
        )
    longest = rng.uniform(_SHORTEST[kind], _LONGEST[kind])
    drawn = layer(cutout, longest / (max(cutout.alpha.shape) - 6), tint(rng, is_grey(cutout.image)))
    angle = np.radians(rng.uniform(-_TURN[kind], _TURN[kind]))
    frame = np.array(canvas.shape[1::-1], float)
    for _ in range(20):
        matrix = poses(drawn, rng.uniform(0, frame)[None], np.ones(1), np.array([angle]))[0]
        box = extent(drawn, matrix)
        if (box[:2] >= 0).all() and (box[2:] <= frame).all() and _covered(box, taken) <= MAX_OVERLAP:
            paste(canvas, drawn, matrix, blur(np.zeros(2), rng.uniform(0, 0.8)))
            return box
    return None


def _covered(box: np.ndarray, others: np.ndarray) -> float:
    """The largest share of the smaller box that two boxes have in common."""
    if not len(others):
        return 0.0
    sides = np.clip(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0, None)
    areas = np.minimum(np.prod(box[2:] - box[:2]), np.prod(others[:, 2:] - others[:, :2], axis=1))
    return float((np.prod(sides, axis=1) / areas).max())


def _backdrop(rng: np.random.Generator, split: str, width: int, height: int) -> np.ndarray:
    """(height, width, 3) part of a background, now and then two seen through each other, with patches of others.

    A split has few photographs, so they are seen at any scale, orientation and colour, and patches of them are there
    that are no object of any class.
    """
    canvas = background_part(rng, split, width, height)
    if rng.random() < 0.5:
        share = rng.uniform(0.2, 0.8)
        canvas = cv2.addWeighted(canvas, share, background_part(rng, split, width, height), 1 - share, 0)
    for _ in range(rng.integers(4)):
        side = int(rng.integers(24, 90))
        turn = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
        corners = (
            side
            / 2
            * (1 + rng.uniform(0.4, 0.95, (len(turn), 1)) * np.stack([np.cos(turn), np.sin(turn)], 1))
        )
        mask = cv2.fillPoly(np.zeros((side, side), np.uint8), [corners.astype(np.int32)], 1)[..., None]
        x, y = rng.integers(0, width - side), rng.integers(0, height - side)
        under = canvas[y : y + side, x : x + side]
        canvas[y : y + side, x : x + side] = np.where(mask, background_part(rng, split, side, side), under)
    return canvas


def background_part(rng: np.random.Generator, split: str, width: int, height: int) -> np.ndarray:
    """(height, width, 3) part of a photograph, turned, in other colours, now and then out of focus."""
    image = np.rot90(places_of(split)[rng.integers(len(places_of(split)))], int(rng.integers(4)))
    scale = rng.uniform(0.2, 1) * min(image.shape[1] / width, image.shape[0] / height)
    wide, high = max(int(width * scale), 8), max(int(height * scale), 8)
    x, y = (rng.integers(0, room + 1) for room in (image.shape[1] - wide, image.shape[0] - high))
    part = cv2.resize(image[y : y + high, x : x + wide], (width, height), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        part = part[:, ::-1]
    if rng.random() < 0.3:
        part = cv2.GaussianBlur(part, (0, 0), rng.uniform(0.7, 1.5))
    return cv2.LUT(np.ascontiguousarray(part), tint(rng, is_grey(part.transpose(2, 0, 1))))


def _expose(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """The image brighter or darker, with grain."""
    grain = cv2.merge([rng.standard_normal(canvas.shape[:2], np.float32)] * 3)
    gain, strength, shift = rng.uniform(0.75, 1.15), rng.uniform(0.5, 3), rng.uniform(-10, 10)
    return cv2.addWeighted(canvas, gain, grain, strength, shift, dtype=cv2.CV_8U)
