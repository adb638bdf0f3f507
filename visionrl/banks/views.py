"""The cameras and detections of captures, held once for all episodes; places are in the frame of the scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrl.banks.joint_detector import detect, hidden, other_sides
from visionrl.banks.patches import shared
from visionrl.datasets import ViewSample
from visionrl.ops import DeviceTable, Recalled
from visionrl.ops.triangulation import in_scene, project, scene_of

WIDTHS = 160.0  # pictures are so many usual errors of a detector wide, where nothing else is said


class ViewBank(Recalled):
    """The captures of one split; M captures of V cameras and J points.

    Args:
        samples: captures of the same points.
        count: number of cameras, V; captures with fewer are filled with cameras that cannot be chosen.

    Attributes:
        cameras: (M, V, 3, 4) float64, see ``ops.triangulation``.
        centres: (M, V, 3) float64, of the cameras.
        real: (M, V) bool, False where there is no camera.
        sizes: (M, V, 2) float64, width and height, pixels.
        radii: (M,) float64, millimetres.
        scales: (M,) float64, the detector's usual error, pixels.
        middles: (M, 3) float64, of the scenes in their worlds, millimetres.
        frames: (M, 3, 3) float64, of the scenes; see ``ops.triangulation.scene_of``.
        points: (M, J, 3) float64, true places; NaN where unknown.
        names: of the points.
    """

    def __init__(self, samples: Sequence[ViewSample], count: int) -> None:
        self.names = tuple(samples[0].joint_names)
        self.samples = samples
        filled = [np.arange(count) % len(sample.cameras) for sample in samples]
        self.real = DeviceTable(np.array([np.arange(count) < len(sample.cameras) for sample in samples]))
        scenes = [scene_of(sample.cameras) for sample in samples]
        self.middles, radii, self.frames = (np.array(part) for part in zip(*scenes, strict=True))
        self.radii = DeviceTable(radii)
        cameras = [
            in_scene(sample.cameras, *scene)[rows]
            for sample, scene, rows in zip(samples, scenes, filled, strict=True)
        ]
        self.cameras = DeviceTable(np.array(cameras))
        linear = self.cameras.array[..., :3]
        self.centres = DeviceTable(-np.linalg.solve(linear, self.cameras.array[..., 3:])[..., 0])
        self.sizes = DeviceTable(
            np.array([sample.resolution[rows] for sample, rows in zip(samples, filled, strict=True)])
        )
        known = [sample.detector_px for sample in samples]
        widths = self.sizes.array[:, :, 0].mean(axis=1)
        self.scales = DeviceTable(
            np.array([width / WIDTHS if px is None else px for px, width in zip(known, widths, strict=True)])
        )
        unknown = np.full((len(self.names), 3), np.nan)
        truth = [unknown if sample.points is None else sample.points for sample in samples]
        places = (np.array(truth) - self.middles[:, None]) / radii[:, None, None]
        self.points = places @ self.frames.transpose(0, 2, 1)

    def millimetres(self, number: int, points: np.ndarray) -> np.ndarray:
        """Places (J, 3) in the frame of the scene of a capture, as places in its world, millimetres."""
        return points @ self.frames[number] * self.radii.array[number] + self.middles[number]

    def turned(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """The true places of a capture (J, 3), turned about the upright line through their own middle."""
        angle, points = rng.uniform(0, 2 * np.pi), self.points[number]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        middle = np.nanmean(points, axis=0)[:2]
        return np.concatenate([(points[:, :2] - middle) @ turn.T + middle, points[:, 2:]], axis=1)

    def detections(
        self, rng: np.random.Generator, number: int, points: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Places (V, J, 2), 0 where there is none, and scores (V, J): the capture's, or a simulated detector's."""
        sample, rows = self.samples[number], np.arange(self.real.array.shape[1])
        rows, real = rows % len(sample.cameras), self.real.array[number]
        if sample.detections is not None and sample.scores is not None:
            places, scores = sample.detections[rows], sample.scores[rows]
        else:
            known = ~np.isnan(points).any(axis=1)
            plain = np.where(known[:, None], points, np.nanmean(points, axis=0))
            seen, depth = (part[0] for part in project(self.cameras.array[number][None], plain[None]))
            inside = (depth > 0) & ((seen >= 0) & (seen < self.sizes.array[number][:, None])).all(axis=-1)
            radius = self.radii.array[number]
            cover = hidden(plain * radius, self.centres.array[number] * radius, np.asarray(sample.links))
            others, scale = other_sides(self.names), float(self.scales.array[number])
            places, scores = detect(rng, seen, inside & known, cover, others, scale)
        return np.nan_to_num(places), scores * real[:, None]


def view_bank(samples: Sequence[ViewSample], count: int) -> ViewBank:
    """The bank of some captures; environments over the same arrays share it."""
    return shared(ViewBank, [sample.cameras for sample in samples], samples, count)
