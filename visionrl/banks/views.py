"""The cameras and detections of captures, held once for all episodes; lengths are radii of the scene."""

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
        middles: (M, 3) float64, millimetres.
        points: (M, J, 3) float64, true places; NaN where unknown.
        ups: (M, 3) float64, the way that is up in the pictures, on average; of length 1.
        names: of the points.
    """

    def __init__(self, samples: Sequence[ViewSample], count: int) -> None:
        self.names = tuple(samples[0].joint_names)
        self.samples = samples
        filled = [np.arange(count) % len(sample.cameras) for sample in samples]
        self.real = DeviceTable(np.array([np.arange(count) < len(sample.cameras) for sample in samples]))
        scenes = [scene_of(sample.cameras) for sample in samples]
        self.middles = np.array([middle for middle, _ in scenes])
        self.radii = DeviceTable(np.array([radius for _, radius in scenes]))
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
        self.points = (np.array(truth) - self.middles[:, None]) / self.radii.array[:, None, None]
        down = linear[:, :, 1] - (linear[:, :, 1] * linear[:, :, 2]).sum(axis=-1)[..., None] * linear[:, :, 2]
        down = (down / np.linalg.norm(down, axis=-1, keepdims=True)).mean(axis=1)
        self.ups = -down / np.maximum(np.linalg.norm(down, axis=1, keepdims=True), 1e-9)

    def turned(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """The true places of a capture (J, 3), turned about the upright line through their own middle."""
        angle, axis, points = rng.uniform(0, 2 * np.pi), self.ups[number], self.points[number]
        middle = np.nanmean(points, axis=0)
        gap = points - middle
        along = (gap @ axis)[:, None] * axis
        return np.asarray(
            middle + along + np.cos(angle) * (gap - along) + np.sin(angle) * np.cross(axis, gap)
        )

    def detections(
        self, rng: np.random.Generator, number: int, points: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Places (V, J, 2), 0 where there is none, and scores (V, J): the capture's, or of a made-up detector."""
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
