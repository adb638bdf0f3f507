"""Frontal chest radiographs with exact landmarks, projected from one embedded CT.

Every image is drawn from the CT's voxels by forward projection (splatting: Westover 1990): a smooth free-form
deformation displaces them (cubic B-splines: Rueckert et al. 1999), a rigid motion poses them, and each is dropped
where the cone beam projects it. A landmark is the mean of the projected places of a structure's voxels, so it
is exact for the image.

All images show ONE patient. The splits differ in pose, deformation, contrast and noise, never in anatomy: a
score on "test" says nothing about other people. Hence ``subject`` is left empty. Origin and licence: NOTICE.

Convention
    Volumes are (z, y, x), growing towards superior, posterior and left (LPS, in the order of an array).
    Images show the head up, the patient's left on the viewer's right, bone white and air black.
    Points are (x, y) in pixels; whole numbers are pixel centres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.splits import SPLITS

COUNTS = {"train": 96, "val": 24, "test": 48}
STRUCTURES: tuple[str, ...] = (
    *("heart", "aorta", "trachea", "liver", "spleen", "rib_left_5", "rib_right_5"),
    *("vertebrae_T4", "vertebrae_T6", "vertebrae_T8", "vertebrae_T10", "vertebrae_T12"),
    *("lung_upper_lobe_left", "lung_lower_lobe_left", "lung_upper_lobe_right", "lung_lower_lobe_right"),
)
IMAGE_SIZE = 160
EDGE_MARGIN = 3.0
SOURCE_MM = 1800.0

_ARCHIVE = Path(__file__).parent / "data" / "chest_ct_4mm.npz"
_SEED = 20240803
_BORDER = 8
_CONTROLS = 6
_FINE = 2
_FOOTPRINT_MM = 2.4
_WATER_PER_MM = 0.018


@dataclass(frozen=True)
class ChestCT:
    """A CT of a chest and the structures in it; read-only arrays.

    Attributes:
        volume: (83, 90, 90) int16, Hounsfield units from -1024 to 1016 in steps of 8; -1024 outside the body.
        labels: (83, 90, 90) uint8, the structure of each voxel; 0 is none.
        names: the name of label k at place k; empty where no structure has that label.
        spacing_mm: (z, y, x) size of a voxel.
    """

    volume: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Projection:
    """Projection of the body's voxels onto the detector.

    Attributes:
        xy: (2, N) float32, (x, y) in pixels.
        gain: (N,) float32, squared magnification: what the beam's spread does to a voxel's share of a ray.
        spacing_mm: millimetres per pixel at the isocentre.
    """

    xy: np.ndarray
    gain: np.ndarray
    spacing_mm: float


@dataclass(frozen=True)
class _Body:
    """The N cells that are drawn: voxels joined in pairs from front to back.

    Attributes:
        flat: (N,) places in the flat (z, y, x) volume of cells.
        hounsfield: (N,) Hounsfield units + 1024.
        parts: name -> (M,) cells of a structure, and (M,) how much of each it fills.
        bases: splines along z, y and x.
        cell_mm3: volume of a cell.
    """

    flat: np.ndarray
    hounsfield: np.ndarray
    parts: dict[str, tuple[np.ndarray, np.ndarray]]
    bases: tuple[np.ndarray, ...]
    cell_mm3: float


@lru_cache(maxsize=1)
def chest_ct() -> ChestCT:
    """The embedded CT, loaded once."""
    with np.load(_ARCHIVE, allow_pickle=False) as archive:
        volume = archive["volume"].astype(np.int16) * 8 - 1024
        labels, names, spacing = archive["labels"], archive["names"], archive["spacing_mm"]
    volume.setflags(write=False)
    labels.setflags(write=False)
    z, y, x = (float(s) for s in spacing)
    return ChestCT(volume, labels, tuple(str(n) for n in names), (z, y, x))


class ChestXray(GeneratedDataset[ImageSample]):
    """A split of simulated frontal chest radiographs: (1, 160, 160) uint8 images with named points.

    Image ``i`` depends on the split and on ``i`` alone. It shows the chest turned by up to 15 degrees about
    each axis, moved, scaled and deformed, at 2.0 to 2.6 mm per pixel, with its own contrast, tone and noise.
    ``points`` holds those of ``STRUCTURES`` that lie ``EDGE_MARGIN`` pixels or more inside the image.

    Args:
        split: "train", "val" or "test"; all show the same patient.
        count: number of images; by default 96, 24 or 48.

    Raises:
        ValueError: for an unknown split or a count below 1.
    """

    def __init__(self, split: str = "train", count: int | None = None) -> None:
        """Renders nothing yet: an image is rendered at each access."""
        super().__init__(split, count, COUNTS)

    def _make(self, number: int) -> ImageSample:
        return _sample(self.split, number)


def _sample(split: str, index: int) -> ImageSample:
    """Image ``index`` of a split."""
    rng = np.random.default_rng((_SEED, SPLITS.index(split), index))
    projection = project(rng)
    thickness = splat(projection, attenuation(rng) * projection.gain)
    image = develop(thickness, projection.spacing_mm, rng)
    points = {name: point for name, point in landmarks(projection).items() if _inside(point)}
    name = f"chest-{split}-{index}"
    return ImageSample(image[None], points=points, spacing_mm=projection.spacing_mm, name=name)


def project(rng: np.random.Generator) -> Projection:
    """A random pose and deformation of the chest under a cone beam from behind (a PA radiograph)."""
    body = _body()
    spacing = rng.uniform(2.0, 2.6)
    controls = _camera_controls(rng)
    right, down, forward = np.take(_evaluate(controls, body.bases).reshape(3, -1), body.flat, axis=1)
    zoom = SOURCE_MM / (SOURCE_MM + forward)
    xy = np.stack([right * zoom, down * zoom]) / np.float32(spacing) + np.float32((IMAGE_SIZE - 1) / 2)
    return Projection(xy, zoom * zoom, float(spacing))


def landmarks(projection: Projection) -> dict[str, np.ndarray]:
    """Name -> (2,) float64 (x, y) in pixels: the mean place of a structure's voxels, in the image or not."""
    means = {}
    for name, (rows, share) in _body().parts.items():
        means[name] = np.average(np.take(projection.xy, rows, axis=1), axis=1, weights=share)
    return means


def structure_weights(name: str) -> np.ndarray:
    """(N,) float32, how much of each drawn cell one structure fills; ``splat`` then shows it alone."""
    rows, share = _body().parts[name]
    weights = np.zeros(_body().flat.size, np.float32)
    weights[rows] = share
    return weights


def attenuation(rng: np.random.Generator) -> np.ndarray:
    """(N,) float32, random attenuation of the drawn cells: air 0, water 1; lung, flesh and bone vary."""
    lung, flesh, bone = rng.uniform((0.7, 0.7, 1.5), (1.2, 1.4, 3.5))
    knots = (-1024, -400, 0, 150, 1016)
    values = (0.0, 0.6 * lung, 1.0, 1.0 + 0.15 * flesh, 1.0 + 0.15 * flesh + 0.866 * bone)
    table = np.interp(np.arange(-1024, 1017), knots, values).astype(np.float32)
    return np.take(table, _body().hounsfield)


def splat(projection: Projection, weights: np.ndarray) -> np.ndarray:
    """(160, 160) float32, the weights dropped on the detector, in millimetres of whatever has weight 1.

    A voxel lands bilinearly on a grid twice finer and is then spread by a Gaussian of about half its size:
    both keep its centroid, and a coarser grid would beat with the lattice of voxels.
    """
    size = (IMAGE_SIZE + 2 * _BORDER) * _FINE
    shift = np.float32((_BORDER + 0.5) * _FINE - 0.5)
    x, y = np.clip(projection.xy * np.float32(_FINE) + shift, 0, size - 1.01)
    column, row = x.astype(np.int64), y.astype(np.int64)
    corner = row * size + column
    lower = weights * (y - row)
    right, lower_right = weights * (x - column), lower * (x - column)
    shares = (weights - lower - right + lower_right, right - lower_right, lower - lower_right, lower_right)
    grid = np.zeros(size * size)
    for offset, share in zip((0, 1, size, size + 1), shares, strict=True):
        grid[offset:] += np.bincount(corner, share, size * size)[: size * size - offset]
    image: np.ndarray = grid.reshape(size, size).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), _FOOTPRINT_MM * _FINE / projection.spacing_mm)
    image = cv2.resize(image, None, fx=1 / _FINE, fy=1 / _FINE, interpolation=cv2.INTER_AREA)
    scale = _body().cell_mm3 * (_FINE / projection.spacing_mm) ** 2
    return image[_BORDER:-_BORDER, _BORDER:-_BORDER] * np.float32(scale)


def develop(thickness: np.ndarray, spacing_mm: float, rng: np.random.Generator) -> np.ndarray:
    """(160, 160) uint8, a radiograph of so much water: photon noise, edge enhancement, tone curve."""
    photons, sharpen, flatten, gamma = rng.uniform((9.5, 0.8, 0.3, 0.8), (12.0, 2.0, 0.6, 1.25))
    noise = rng.standard_normal(thickness.shape, np.float32)
    film = thickness + noise * np.exp((thickness * _WATER_PER_MM - photons) / 2) / np.float32(_WATER_PER_MM)
    fine = cv2.GaussianBlur(film, (0, 0), 6.0 / spacing_mm)
    small = cv2.resize(film, (IMAGE_SIZE // 4, IMAGE_SIZE // 4), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(cv2.GaussianBlur(small, (0, 0), 12.0 / spacing_mm), film.shape)
    film = film + sharpen * (film - fine) - flatten * coarse
    low, high = np.percentile(film[thickness > 30.0], (1.0, 99.5))
    tone = np.clip((film - low) / max(high - low, 1.0), 0.0, 1.0) ** gamma
    return np.round(tone * np.clip(thickness / 30.0, 0.0, 1.0) * 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _body() -> _Body:
    """Prepares once the parts of the CT that the projections need."""
    ct = chest_ct()
    height, voxels, width = ct.volume.shape
    paired = (height, voxels // 2, 2, width)
    hounsfield = ct.volume.reshape(paired).mean(axis=2)
    labels = ct.labels.reshape(paired)
    filled = {name: (labels == ct.names.index(name)).mean(axis=2) for name in STRUCTURES}
    flat = np.flatnonzero(np.maximum.reduce([hounsfield > -1000, *filled.values()]))
    shares = {name: share.ravel()[flat] for name, share in filled.items()}
    parts = {name: (np.flatnonzero(share), share[share > 0]) for name, share in shares.items()}
    bases = tuple(_spline_basis(n) for n in hounsfield.shape)
    rounded = np.round(hounsfield.ravel()[flat]).astype(np.int64) + 1024
    return _Body(flat, rounded, parts, bases, 2 * float(np.prod(ct.spacing_mm)))


def _spline_basis(size: int) -> np.ndarray:
    """(size, 6) float32, uniform cubic B-splines at the centres of the cells along an axis; rows sum to 1."""
    t = (np.arange(size) + 0.5) / size * (_CONTROLS - 3)
    distance = np.abs(t[:, None] - (np.arange(_CONTROLS) - 1))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(2 - distance, 0) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def _evaluate(controls: np.ndarray, bases: tuple[np.ndarray, ...]) -> np.ndarray:
    """(3, Z, Y, X) float32, the spline of the (3, 6, 6, 6) controls at every cell."""
    z, y, x = bases
    field = y @ (controls.astype(np.float32) @ x.T)
    return (z @ field.reshape(3, _CONTROLS, -1)).reshape(3, len(z), len(y), len(x))


def _camera_controls(rng: np.random.Generator) -> np.ndarray:
    """(3, 6, 6, 6) float64, spline controls in millimetres: right, down and away from the source.

    Cubic B-splines reproduce straight lines, so controls on a regular lattice give the undeformed chest.
    """
    ct = chest_ct()
    lattice = (np.arange(_CONTROLS) - 1) / (_CONTROLS - 3) - 0.5
    steps = [n * spacing * lattice for n, spacing in zip(ct.volume.shape, ct.spacing_mm, strict=True)]
    superior, posterior, left = np.meshgrid(*steps, indexing="ij")
    chest = np.stack([left, -superior, -posterior])
    chest = chest * rng.uniform(0.93, 1.05, (3, 1, 1, 1)) + rng.normal(0.0, 7.0, chest.shape)
    shift = rng.uniform((-20.0, -15.0, -60.0), (20.0, 15.0, 60.0))
    turned = np.tensordot(_rotation(np.radians(rng.uniform(-15.0, 15.0, 3))), chest, axes=1)
    return turned + shift[:, None, None, None]


def _rotation(angles: np.ndarray) -> np.ndarray:
    """(3, 3) rotation by the angles in radians about the first, then the second, then the third axis."""
    first, second, third = (cv2.Rodrigues(vector)[0] for vector in np.diag(angles))
    return third @ second @ first


def _inside(point: np.ndarray) -> bool:
    """True if the point lies inside the image by the margin or more."""
    return bool(np.all(point >= EDGE_MARGIN) and np.all(point <= IMAGE_SIZE - 1 - EDGE_MARGIN))
