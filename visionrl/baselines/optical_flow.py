"""Median flow: a classical tracker by optical flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from visionrl.baselines.tracking import Run, run_tracker
from visionrl.core import baseline


@dataclass(frozen=True)
class FlowConfig:
    """Constants of the tracker, those of Kalal et al.; the window is that of OpenCV's own sparse flow.

    Attributes:
        points: a grid of so many points by as many lies on the box.
        window: side of what is compared around a point, pixels, at each level of the pyramid.
        levels: halvings of the frame that the flow begins with.
        patch: side of the patches that are compared before and after, pixels.
        lost: the box stays where it is if half of the points come back farther off than this, pixels.
        least: and if fewer points than this are left.
        growth: largest change of size in a frame.
    """

    points: int = 10
    window: int = 15
    levels: int = 5
    patch: int = 10
    lost: float = 10.0
    least: int = 4
    growth: float = 1.2


@baseline("Tracking-v0", "median flow", learns=False)
def median_flow(train: Any, config: FlowConfig = FlowConfig()) -> Run:
    """Lucas-Kanade flow of points; those of low forward-backward error and high correlation move and scale the box.

    Source: Kalal, Mikolajczyk & Matas (2010), "Forward-backward error: automatic detection of tracking failures".
    """
    return run_tracker(lambda image, box: MedianFlow(image, box, config))


class MedianFlow:
    """A tracker from frame to frame; see ``FlowConfig``."""

    def __init__(self, image: np.ndarray, box: np.ndarray, config: FlowConfig) -> None:
        self.config, self.grey, self.box = config, to_grey(image), box

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The box in the next frame."""
        before, self.grey = self.grey, to_grey(image)
        start = point_grid(self.box, self.config.points)
        there, kept = self.track_points(before, self.grey, start)
        if kept.sum() >= self.config.least:
            self.box = self.move(start[kept], there[kept])
        return self.box

    def track_points(
        self, before: np.ndarray, after: np.ndarray, start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions to which (N, 2) points went, and (N,) bool, which of them are reliable."""
        there, ahead = self.flow(before, after, start)
        back, again = self.flow(after, before, there)
        found = ahead & again
        error = np.linalg.norm(back - start, axis=1)
        if not found.any() or np.median(error[found]) > self.config.lost:
            return there, np.zeros(len(start), bool)
        alike = patch_correlation(
            cut_patches(before, start, self.config.patch), cut_patches(after, there, self.config.patch)
        )
        return there, found & (error <= np.median(error[found])) & (alike >= np.median(alike[found]))

    def flow(self, before: np.ndarray, after: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions to which (N, 2) float32 points went, and (N,) bool, for which that was found."""
        sides, levels = (self.config.window, self.config.window), self.config.levels
        there, found, _ = cv2.calcOpticalFlowPyrLK(
            before, after, start, start.copy(), winSize=sides, maxLevel=levels
        )
        return there, found.ravel() > 0

    def move(self, start: np.ndarray, there: np.ndarray) -> np.ndarray:
        """The box moved by the median shift, and scaled by the median change of the points' distances."""
        first, second = np.triu_indices(len(start), 1)
        apart = np.linalg.norm(start[first] - start[second], axis=1)
        scale = np.median(np.linalg.norm(there[first] - there[second], axis=1) / apart)
        half = (self.box[2:] - self.box[:2]) / 2 * np.clip(scale, 1 / self.config.growth, self.config.growth)
        center = (self.box[:2] + self.box[2:]) / 2 + np.median(there - start, axis=0)
        return np.concatenate([center - half, center + half])


def to_grey(image: np.ndarray) -> np.ndarray:
    """(H, W) uint8 of an (H, W, C) image."""
    return (
        np.ascontiguousarray(image[..., 0])
        if image.shape[2] == 1
        else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    )


def point_grid(box: np.ndarray, count: int) -> np.ndarray:
    """(count^2, 2) float32 (x, y), evenly over a box, in the coordinates of pixels' midpoints."""
    share = (np.arange(count) + 0.5) / count
    x, y = np.meshgrid(*(low + (high - low) * share for low, high in zip(box[:2], box[2:], strict=True)))
    return np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32) - np.float32(0.5)


def cut_patches(image: np.ndarray, points: np.ndarray, side: int) -> np.ndarray:
    """(N, side, side) float32 around (N, 2) points; beyond the border the image's last pixels repeat."""
    y, x = np.mgrid[:side, :side].astype(np.float32) - np.float32((side - 1) / 2)
    where = points[:, None, None, :] + np.stack([x, y], axis=-1)
    x, y = where.reshape(-1, side, 2).astype(np.float32).transpose(2, 0, 1).copy()
    cut = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cut.reshape(-1, side, side).astype(np.float32)


def patch_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Normalised correlation of patches, pair by pair: (N, s, s), (N, s, s) -> (N,); 0 where one is flat."""
    a, b = (x - x.mean(axis=(1, 2), keepdims=True) for x in (a, b))
    scale = np.sqrt((a * a).sum((1, 2)) * (b * b).sum((1, 2)))
    return np.divide((a * b).sum((1, 2)), scale, out=np.zeros_like(scale), where=scale > 0)
