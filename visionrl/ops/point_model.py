"""Point models: a mean shape, its modes of variation, and a similarity (Cootes et al., 1995).

Convention
    A shape is (J, 2) places (x, y). In a model's own frame its middle is the origin and the root mean square distance
    of its points from there is 1. A pose is 4 + k numbers: x and y of the middle, logarithm of the size, angle in
    radians, and k modes in standard deviations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from visionrl.ops.xp import Array, DeviceTable, xp_of

ROUNDS = 10  # of aligning shapes to their mean, and of fitting a pose
MOST = 3.0  # standard deviations of a mode


@dataclass(frozen=True)
class PointModel:
    """A mean shape with modes.

    Attributes:
        mean: (J, 2) float64.
        modes: (k, J, 2) float64, orthonormal, times their standard deviation.
    """

    mean: np.ndarray
    modes: np.ndarray

    def __post_init__(self) -> None:
        """Lend the tables to any library."""
        object.__setattr__(self, "_mean", DeviceTable(self.mean))
        object.__setattr__(self, "_modes", DeviceTable(self.modes.reshape(len(self.modes), self.mean.size)))

    def points(self, pose: Array) -> Array:
        """Shapes (B, J, 2) of poses (B, 4 + k)."""
        xp = xp_of(pose)
        mean, modes = self._mean.on(pose), self._modes.on(pose)  # type: ignore[attr-defined]
        bent = xp.reshape(xp.matmul(pose[:, 4:], modes), (pose.shape[0], *mean.shape)) + mean[None, :, :]
        size, angle = xp.exp(pose[:, 2])[:, None], pose[:, 3]
        cosine, sine = xp.cos(angle)[:, None] * size, xp.sin(angle)[:, None] * size
        x = cosine * bent[..., 0] - sine * bent[..., 1] + pose[:, 0:1]
        y = sine * bent[..., 0] + cosine * bent[..., 1] + pose[:, 1:2]
        return xp.stack([x, y], axis=-1)

    def fit(self, shape: np.ndarray) -> np.ndarray:
        """The pose (4 + k,) whose shape is nearest to a given one (J, 2), modes within 3 standard deviations."""
        wanted = as_complex(shape)
        middle, gap = wanted.mean(), wanted - wanted.mean()
        power = np.maximum((self.modes**2).sum(axis=(1, 2)), 1e-12)
        weights = np.zeros(len(self.modes))
        for _ in range(ROUNDS):
            bent = as_complex(self.mean + np.tensordot(weights, self.modes, 1))
            bent = bent - bent.mean()
            turn = np.vdot(bent, gap) / max(np.vdot(bent, bent).real, 1e-12)
            turn = turn if abs(turn) > 1e-9 else 1e-9 + 0j
            back = gap / turn
            rest = np.stack([back.real, back.imag], axis=-1) - self.mean
            weights = np.clip((self.modes * rest).sum(axis=(1, 2)) / power, -MOST, MOST)
        bent = as_complex(self.mean + np.tensordot(weights, self.modes, 1))
        middle -= turn * bent.mean()
        return np.array([middle.real, middle.imag, np.log(abs(turn)), np.angle(turn), *weights])


def as_complex(shape: np.ndarray) -> np.ndarray:
    """(..., 2) places as (...) complex numbers x + iy, so that a similarity is a product and a sum."""
    return np.asarray(shape[..., 0] + 1j * shape[..., 1])


def fit_point_model(shapes: np.ndarray, modes: int) -> PointModel:
    """Fit a model to shapes (N, J, 2): generalised Procrustes alignment, then principal components.

    Args:
        shapes: two or more, each with points at two places or more.
        modes: most of them; there are no more than N - 1, nor than the shapes need.
    """
    flat = as_complex(shapes)
    flat = flat - flat.mean(axis=1, keepdims=True)
    flat = flat / np.sqrt((np.abs(flat) ** 2).mean(axis=1, keepdims=True))
    mean = flat[0]
    for _ in range(ROUNDS):
        turns = (np.conj(flat) * mean).sum(axis=1, keepdims=True)
        aligned = flat * (turns / np.abs(turns))
        mean = aligned.mean(axis=0)
        mean = mean / np.sqrt((np.abs(mean) ** 2).mean())
    upright = np.angle((np.conj(mean) * flat.mean(axis=0)).sum())  # as the shapes stand on average
    aligned, mean = aligned * np.exp(1j * upright), mean * np.exp(1j * upright)
    gap = aligned - mean
    table = np.stack([gap.real, gap.imag], axis=-1).reshape(len(shapes), -1)
    values, vectors = np.linalg.svd(table - table.mean(axis=0), full_matrices=False)[1:]
    count = min(modes, len(shapes) - 1, int((values > 1e-6 * max(values[0], 1e-9)).sum()))
    scaled = vectors[:count] * (values[:count] / np.sqrt(len(shapes)))[:, None]
    return PointModel(np.stack([mean.real, mean.imag], axis=-1), scaled.reshape(count, *mean.shape, 2))
