"""A C-arm that looks at CT volumes: where its rays are, what it renders, and how its X-rays differ from renders.

Convention
    Places are (x, y, z) in millimetres, towards the patient's left, back and head; the C-arm turns about the origin,
    and so does what lies on its table. Seen from the front (0 degrees), the source is behind the patient and the
    detector before him: the head is up, the patient's left on the viewer's right. A pose (B, 3, 4) takes places of a
    volume, from its middle, to places in the room.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from visionrl import ops
from visionrl.banks.patches import shared
from visionrl.banks.volumes import to_spacing
from visionrl.datasets import VolumeSample, XraySample
from visionrl.ops import Array, DeviceTable, Recalled, const, xp_of
from visionrl.ops.radiograph import Beam, Densities, render
from visionrl.ops.transforms import carry

# How much thicker than seen from the front at the origin a volume may look before it is all white
HEADROOM = 1.15
CHEST_TONE = ((0.0, 0.0), (50.0, 0.4), (90.0, 0.85), (200.0, 1.25), (255.0, 2.0))  # of the embedded CT
PLAIN_TONE = ((0.0, 0.0), (255.0, 2.0))
SHARES = (0.2, 0.5, 0.8)  # where the fiducials lie along each side of a volume that has no points


class Geometry(NamedTuple):
    """Geometry of a C-arm: places of source and detector.

    Attributes:
        source_mm: from the source to the origin.
        detector_mm: from the origin to the detector.
        pixel_mm: side of the detector's pixels.
        size: pixels along each side of it.
        views: degrees by which the C-arm is turned, the source towards the patient's left, one a picture.
    """

    source_mm: float
    detector_mm: float
    pixel_mm: float
    size: int
    views: tuple[float, ...]

    def across(self, view: int) -> str:
        """The axis of volumes that a view looks along, more or less."""
        back = self.ways(view)[0]
        return "y" if abs(back[1]) >= abs(back[0]) else "x"

    def ways(self, view: int) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
        """Directions of length 1: towards the source, and right and down on the detector."""
        angle = np.radians(self.views[view])
        sine, cosine = float(np.sin(angle)), float(np.cos(angle))
        return (sine, cosine, 0.0), (cosine, -sine, 0.0), (0.0, 0.0, -1.0)

    def source(self, view: int) -> tuple[float, ...]:
        """Place of the source."""
        return tuple(self.source_mm * part for part in self.ways(view)[0])

    def beam(self, view: int, pose: Array) -> Beam:
        """The rays of a view as volumes in poses (B, 3, 4) see them."""
        xp = xp_of(pose)
        back, right, down = (np.array(way) for way in self.ways(view))
        middle = (self.size - 1) / 2 * self.pixel_mm
        corner = -self.detector_mm * back - middle * (right + down)
        linear, shift = pose[:, :, :3], pose[:, :, 3]

        def seen(way: Sequence[float], moved: Array) -> Array:
            return xp.matmul((const(tuple(map(float, way)), pose)[None, :] - moved)[:, None, :], linear)[
                :, 0, :
            ]

        still = xp.zeros_like(shift)
        ends = (self.source(view), shift), (corner, shift), (right * self.pixel_mm, still)
        return Beam(*(seen(*end) for end in (*ends, (down * self.pixel_mm, still))))

    def project(self, view: int, places: np.ndarray) -> np.ndarray:
        """Pixels (N, 2), (x, y), where places in the room (N, 3) are seen."""
        back, *flat = (np.array(way) for way in self.ways(view))
        ray = places - self.source(view)
        zoom = (self.source_mm + self.detector_mm) / -(ray @ back) / self.pixel_mm
        return np.stack([ray @ way * zoom for way in flat], axis=-1) + (self.size - 1) / 2


class CArm(Recalled):
    """The volumes of one split under a C-arm.

    Args:
        samples: CT volumes.
        geometry: where source and detector are.
        spacing: side of the cubic voxels to which volumes are resampled, millimetres.
        tone: knots (grey level, attenuation as a multiple of water's) from which voxels have theirs.

    Attributes:
        points: (M, P, 3) float64, the fiducials: a volume's points, or 27 places in it; millimetres from its middle.
        weights: (M, P) float64, of the fiducials; those of a volume add up to 1.
        full: (M,) float64, millimetres of water that are white.
    """

    def __init__(
        self,
        samples: Sequence[VolumeSample],
        geometry: Geometry,
        spacing: float,
        tone: tuple[tuple[float, float], ...],
    ) -> None:
        self.geometry = geometry
        table = np.interp(np.arange(256), *np.array(tone).T).astype(np.float32)
        held = [to_spacing(sample.volume, sample.spacing_mm, spacing) for sample in samples]
        sides = np.array([s.spacing_mm * factor for s, (_, factor) in zip(samples, held, strict=True)], float)
        volumes = [np.take(table, volume[0]) for volume, _ in held]
        needed = {geometry.across(view) for view in range(len(geometry.views))}
        self.densities = {across: Densities(volumes, sides, across) for across in sorted(needed)}
        fiducials = [fiducials_of(sample) for sample in samples]
        points = np.zeros((len(samples), max(map(len, fiducials)), 3))
        weights = np.zeros(points.shape[:2])
        for number, places in enumerate(fiducials):
            points[number, : len(places)], weights[number, : len(places)] = places, 1 / len(places)
        self.points, self.weights = DeviceTable(points), DeviceTable(weights)
        rest = np.broadcast_to(np.eye(3, 4), (len(samples), 3, 4))
        self.full = DeviceTable(np.ones(len(samples)))
        most = self.thickness(np.arange(len(samples)), rest).max(axis=(1, 2, 3))
        self.full = DeviceTable(np.maximum(HEADROOM * most.astype(float), 1e-3))

    def thickness(self, image: Array, pose: Array) -> Array:
        """Attenuation along each ray, 1 being white: (B, views, size, size) float32."""
        xp, geometry = xp_of(pose), self.geometry
        shown = [
            render(self.densities[geometry.across(v)], image, geometry.beam(v, pose), geometry.size)
            for v in range(len(geometry.views))
        ]
        full = xp.astype(self.full.rows(image), shown[0].dtype)
        return xp.stack(shown, axis=1) / full[:, None, None, None]

    def renders(self, image: Array, pose: Array) -> Array:
        """Digitally reconstructed radiographs, bone white: (B, views, size, size) uint8."""
        xp = xp_of(pose)
        return xp.astype(xp.round(255 * xp.clip(self.thickness(image, pose), 0.0, 1.0)), xp.uint8)

    def fiducials(self, image: Array) -> tuple[Array, Array]:
        """Points (B, P, 3) and weights (B, P)."""
        return self.points.rows(image), self.weights.rows(image)

    def error(self, image: Array, pose: Array, target: Array) -> Array:
        """Mean target registration error of poses (B, 3, 4), the mean over the fiducials: (B,) millimetres."""
        points, weights = self.fiducials(image)
        return xp_of(pose).sum(weights * ops.norm(carry(pose, points) - carry(target, points)), axis=-1)

    def reprojection_error(self, image: Array, pose: Array, target: Array) -> Array:
        """From the fiducials to the rays through where they truly are, the mean of all views: (B,) millimetres.

        Source: van de Kraats et al. (2005), "Standardized evaluation methodology for 2-D-3-D registration".
        """
        points, weights = self.fiducials(image)
        distances = self.ray_distances(carry(target, points), carry(pose, points))
        return xp_of(pose).sum(weights * distances, axis=-1)

    def ray_distances(self, there: Array, here: Array) -> Array:
        """From places (B, P, 3) to the rays through others, the mean over the views: (B, P) millimetres."""
        xp, total = xp_of(here), 0.0
        for view in range(len(self.geometry.views)):
            source = const(self.geometry.source(view), here)
            ray, way = there - source, here - source
            unit = ray / ops.norm(ray)[..., None]
            total = total + ops.norm(way - xp.sum(way * unit, axis=-1)[..., None] * unit)
        return total / len(self.geometry.views)


def c_arm(
    samples: Sequence[VolumeSample], geometry: Geometry, spacing: float, tone: tuple[tuple[float, float], ...]
) -> CArm:
    """Some samples under a C-arm; environments over the same arrays share it."""
    return shared(CArm, [sample.volume for sample in samples], samples, geometry, spacing, tone)


def fiducials_of(sample: VolumeSample) -> np.ndarray:
    """(P, 3) millimetres from the middle of a volume: its points, or a lattice of 27 where it has fewer than 4."""
    size = np.array(sample.volume.shape[:0:-1])
    voxels = np.array(list(sample.points.values()), float).reshape(-1, 3)
    if len(voxels) < 4:
        voxels = np.stack(np.meshgrid(*[SHARES] * 3), axis=-1).reshape(-1, 3) * (size - 1)
    return (voxels - (size - 1) / 2) * np.asarray(sample.spacing_mm, float)


def checked_tone(tone: Sequence[Sequence[float]]) -> tuple[tuple[float, float], ...]:
    """Knots (grey level, attenuation).

    Raises:
        ValueError: there are fewer than two, grey levels do not rise, or an attenuation is negative.
    """
    knots = np.asarray(tone, float)
    good = knots.ndim == 2 and knots.shape[1:] == (2,) and len(knots) > 1 and np.isfinite(knots).all()
    if not good or (np.diff(knots[:, 0]) <= 0).any() or (knots[:, 1] < 0).any():
        raise ValueError(
            f"tone must be two knots (grey level, attenuation >= 0) or more, grey levels rising, got {tone!r}"
        )
    return tuple((float(grey), float(value)) for grey, value in knots)


def exposed(rng: np.random.Generator, thickness: np.ndarray, change: float) -> np.ndarray:
    """X-rays of their own contrast, brightness and noise: (views, size, size) uint8.

    Tone curve, gain, offset, a gain that falls off to one side (the anode's heel), a blur and a noise that grows with
    the thickness.

    Args:
        rng: all chance.
        thickness: (views, size, size), what ``CArm.thickness`` gives.
        change: how much differs; 0 leaves a plain render.
    """
    size = thickness.shape[-1]
    line = np.linspace(-1, 1, size)
    films = []
    for part in thickness.astype(float):
        gamma, gain = np.exp(rng.uniform(-0.35, 0.35, 2) * (change, change / 2))
        offset, heel = rng.uniform(-0.08, 0.08) * change, rng.uniform(-0.15, 0.15, 2) * change
        film = gain * np.clip(part, 0, None) ** gamma + offset
        film *= 1 + heel[0] * line + heel[1] * line[:, None]
        if change:
            film = cv2.GaussianBlur(film, (0, 0), rng.uniform(0.3, 0.3 + 0.4 * change))
        noise = rng.uniform(0.004, 0.02) * change
        film += rng.standard_normal(film.shape) * noise * np.exp(np.clip(part, 0, 1))
        films.append(np.clip(np.rint(255 * film), 0, 255))
    return np.array(films).astype(np.uint8)


def detector_films(samples: Sequence[XraySample], views: int, size: int) -> list[np.ndarray]:
    """The X-rays of some samples at the size of the detector, (views, size, size) uint8 each.

    Raises:
        ValueError: a sample has more or fewer X-rays than there are views.
    """
    for sample in samples:
        if len(sample.xrays) != views:
            raise ValueError(
                f"xrays must be one a view ({views}), sample {sample.name!r} has {len(sample.xrays)}"
            )
    return [np.stack([resized(xray, size) for xray in sample.xrays]) for sample in samples]


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """A square image (S, S) uint8 at another size."""
    way = cv2.INTER_AREA if len(image) > size else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=way)
