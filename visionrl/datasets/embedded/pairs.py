"""Pairs of images with known maps between them, made of real pixels: photographs, and slices of scans.

A pair is two views of one photograph or slice, drawn straight from its pixels, so the map between them is exact. The
photographs of a split are those of ``cutouts.PHOTOGRAPHS``. The slices come from one chest CT and one template of the
brain: each split has its own block of slices, with a gap between the blocks, but all show one anatomy, so a score on
"test" says nothing about other people. Hence ``subject`` is left empty.

Seven photographs are few to learn from: ``strewn_scene`` has more for training, and the same pairs for the rest.

The views of a photograph differ in brightness, contrast and noise. Those of a scan are of two modalities: the T1 image
and its tissue map, or the CT and a contrast in which bright and dark are swapped more than once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from visionrl.datasets.embedded.chest import chest_ct
from visionrl.datasets.embedded.compose import blur, is_grey, layer, paste, poses, tint
from visionrl.datasets.embedded.cutouts import backgrounds, cutouts
from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.embedded.volumes import mni_scan
from visionrl.datasets.samples import PairSample
from visionrl.datasets.splits import SPLITS

COUNTS = {"train": 96, "val": 24, "test": 48}
KINDS = ("rigid", "similarity", "affine")
SIDE = 192  # pixels of both images of a pair
_CANVAS = 400  # of a photograph that cut-outs are strewn over
GRID = 5  # points along each side of a pair

_SEED = 20251123
_TURN, _SHIFT, _STRETCH, _SHEAR = (
    15.0,
    12.0,
    0.16,
    0.1,
)  # of a pair's own map: degrees, pixels, log of scale, shear
_BLOCKS = {"train": (0.18, 0.48), "val": (0.53, 0.61), "test": (0.66, 0.84)}  # shares of the slices of a scan


@dataclass(frozen=True)
class Scene:
    """Two aligned images that the views of a pair are cropped from.

    Attributes:
        fixed: (H, W, C) uint8.
        moving: (H, W, C') uint8.
        modalities: of both.
        zoom: pixels of the scene per pixel of the views, least and most.
        inside: whether the views must lie inside the scene; a scan has an empty border of its own.
    """

    fixed: np.ndarray
    moving: np.ndarray
    modalities: tuple[str, str]
    zoom: tuple[float, float]
    inside: bool


Scenes = Callable[[str, np.random.Generator], Scene]


class Pairs(GeneratedDataset[PairSample]):
    """A split of pairs of 192 x 192 pixels with 25 points each.

    Pair ``i`` depends on the split, the kind and on ``i`` alone. Its own map turns by up to 15 degrees about the middle
    and shifts by up to 12 pixels; a similarity also stretches by up to 17 %, an affine map stretches each axis so and
    shears by up to 0.1.

    Args:
        scenes: ``photo_scene``, ``strewn_scene`` or ``scan_scene``.
        name: begins the names of the pairs.
        split: "train", "val" or "test".
        kind: "rigid", "similarity" or "affine".
        count: number of pairs; by default 96, 24 or 48.

    Raises:
        ValueError: for an unknown split or kind, or a count below 1.
    """

    def __init__(
        self, scenes: Scenes, name: str, split: str = "train", kind: str = "rigid", count: int | None = None
    ) -> None:
        """Generates nothing yet: a pair is generated at each access."""
        super().__init__(split, count, COUNTS)
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
        self.scenes, self.name, self.kind = scenes, name, kind

    def _make(self, number: int) -> PairSample:
        part = SPLITS.index(self.split), KINDS.index(self.kind)
        rng = np.random.default_rng((_SEED, *part, number))
        name = f"{self.name}-{self.split}-{number}"
        return view_pair(rng, self.scenes(self.split, rng), own_map(rng, self.kind), name)


def own_map(rng: np.random.Generator, kind: str) -> np.ndarray:
    """(2, 3) random map from pixels of the fixed image to pixels of the moving one."""
    angle = np.radians(rng.uniform(-_TURN, _TURN))
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift, stretch, shear = (
        rng.uniform(-_SHIFT, _SHIFT, 2),
        rng.uniform(-_STRETCH, _STRETCH, 2),
        rng.uniform(-1, 1),
    )
    if kind == "similarity":
        linear = linear * np.exp(stretch[0])
    elif kind == "affine":
        linear = linear @ np.diag(np.exp(stretch)) @ np.array([[1.0, shear * _SHEAR], [0.0, 1.0]])
    middle = np.full(2, (SIDE - 1) / 2)
    return np.column_stack([linear, middle + shift - linear @ middle])


def view_pair(rng: np.random.Generator, scene: Scene, transform: np.ndarray, name: str) -> PairSample:
    """Two views of a scene between which a map lies."""
    to_scene = _placed(rng, scene)
    back = cv2.invertAffineTransform(transform)
    from_moving = np.column_stack([to_scene[:, :2] @ back[:, :2], to_scene @ [*back[:, 2], 1]])
    line = np.linspace(0.15, 0.85, GRID) * (SIDE - 1)
    points = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    return PairSample(
        _developed(rng, _view(scene.fixed, to_scene)),
        _developed(rng, _view(scene.moving, from_moving)),
        points,
        points @ transform[:, :2].T + transform[:, 2],
        transform,
        modalities=scene.modalities,
        name=name,
    )


def photo_scene(split: str, rng: np.random.Generator) -> Scene:
    """One of the photographs of a split."""
    photographs = backgrounds(split)
    image = np.ascontiguousarray(photographs[rng.integers(len(photographs))].image.transpose(1, 2, 0))
    return Scene(image, image, ("photo", "photo"), (0.65, 1.1), inside=True)


def strewn_scene(split: str, rng: np.random.Generator) -> Scene:
    """For training a photograph, or three times in four one with cut-outs strewn over it; else a photograph."""
    if split != "train" or rng.random() < 0.25:
        return photo_scene(split, rng)
    photographs, pieces = backgrounds(split), cutouts(split)
    image = photographs[rng.integers(len(photographs))].image.transpose(1, 2, 0)
    canvas = cv2.warpAffine(
        image, _cropped(rng, image), (_CANVAS, _CANVAS), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    canvas = cv2.LUT(canvas, tint(rng, grey=True))
    for _ in range(rng.integers(5, 40)):
        piece = pieces[rng.integers(len(pieces))]
        longest = max(piece.image.shape[1:])
        drawn = layer(piece, rng.uniform(20, 150) / longest, tint(rng, is_grey(piece.image)))
        at, angle = rng.uniform(0, _CANVAS, (1, 2)), rng.uniform(-np.pi, np.pi, 1)
        paste(canvas, drawn, poses(drawn, at, np.ones(1), angle)[0], blur(np.zeros(2), rng.uniform(0, 0.8)))
    return Scene(canvas, canvas, ("photo", "photo"), (0.65, 1.1), inside=True)


def _cropped(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """(2, 3) map from pixels of a canvas to those of a part of an image, from half of it on."""
    most = min(image.shape[:2]) / _CANVAS
    zoom = rng.uniform(0.5, 1) * most
    room = np.array(image.shape[1::-1]) - zoom * _CANVAS
    return np.column_stack([zoom * np.eye(2), rng.uniform(0, 1, 2) * room])


def scan_scene(split: str, rng: np.random.Generator) -> Scene:
    """An axial slice of the brain or the chest of a split's block, in two modalities."""
    if rng.random() < 0.5:
        scan = mni_scan()
        volume, labels = scan.volume, scan.labels
        cut = _slice_of(split, len(volume), rng)
        image = np.clip(np.rint(volume[cut]), 0, 255).astype(np.uint8)
        tones = np.array([0.0, rng.uniform(60, 110), rng.uniform(150, 240)])
        grey = np.take(tones if rng.random() < 0.5 else tones[[0, 2, 1]], labels[cut]).astype(np.uint8)
        return _scan(image, grey, ("t1", "tissue"), 2)
    volume = _chest_grey()
    image = volume[_slice_of(split, len(volume), rng)]
    knots = np.array([0, 50, 90, 140, 200, 255])
    values = np.array([0, rng.uniform(90, 140), rng.uniform(180, 250), rng.uniform(70, 130), 40, 20])
    contrast = np.interp(image, knots, values).astype(np.uint8)
    return _scan(image, contrast, ("ct", "contrast"), 2)


@lru_cache(maxsize=1)
def _chest_grey() -> np.ndarray:
    """(D, H, W) uint8, the chest CT with more grey levels for soft tissue than for the rest."""
    tone = np.array(((-1024, 0), (-600, 50), (-150, 90), (250, 200), (1016, 255)), float)
    return np.interp(chest_ct().volume, *tone.T).astype(np.uint8)


def _slice_of(split: str, depth: int, rng: np.random.Generator) -> int:
    """A slice of the block of a split."""
    low, high = _BLOCKS[split]
    return int(rng.integers(round(low * depth), round(high * depth)))


def _scan(image: np.ndarray, other: np.ndarray, modalities: tuple[str, str], finer: int) -> Scene:
    """A slice as a scene; either modality may be enlarged by a whole factor."""
    big = [
        cv2.resize(x, None, fx=finer, fy=finer, interpolation=cv2.INTER_CUBIC)[..., None]
        for x in (image, other)
    ]
    return Scene(big[0], big[1], modalities, (0.95, 1.15), inside=False)


def _placed(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """(2, 3) map from pixels of the fixed view to those of the scene."""
    size = np.array(scene.fixed.shape[1::-1], float)
    radius = SIDE / 2**0.5 + _SHIFT
    most = min(scene.zoom[1], (size.min() / 2 - 1) / radius) if scene.inside else scene.zoom[1]
    zoom, angle = rng.uniform(min(scene.zoom[0], most), most), rng.uniform(-np.pi, np.pi)
    if not scene.inside:
        angle /= 9  # scans lie almost straight
    room = np.maximum(size / 2 - 1 - radius * zoom, 0) if scene.inside else np.full(2, 6.0)
    middle = (size - 1) / 2 + rng.uniform(-room, room)
    linear = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([linear, middle - linear @ np.full(2, (SIDE - 1) / 2)])


def _view(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(C, 192, 192) uint8 of an (H, W, C) image seen through a map from the view to the image."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=flags)
    return np.ascontiguousarray(np.atleast_3d(seen).transpose(2, 0, 1))


def _developed(rng: np.random.Generator, view: np.ndarray) -> np.ndarray:
    """(C, H, W) uint8 with a contrast, a brightness and noise of its own; what is black stays dark."""
    gamma, gain, noise = rng.uniform(0.8, 1.25), rng.uniform(0.8, 1.1), rng.uniform(1, 5)
    bright = 255 * gain * (view / 255) ** gamma
    return np.clip(np.rint(bright + rng.normal(0, noise, view.shape)), 0, 255).astype(np.uint8)
