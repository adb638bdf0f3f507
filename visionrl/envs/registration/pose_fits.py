"""Which small motions of a volume would make its renders look like X-rays, by least squares; array-API code."""

from __future__ import annotations

import numpy as np

from visionrl.banks.c_arm import CArm
from visionrl.envs.registration.choice import cut
from visionrl.ops import Array, DeviceTable, xp_of
from visionrl.ops.least_squares import TOLD, by_knots
from visionrl.ops.poses import shifted

COARSER = (4, 2)  # pixels of a picture per side of a pixel that is compared
# Of a picture's side: the spread of the Gaussian mean that is taken off, and with it slow changes of exposure.
BLUR = 1 / 8
LITTLE = 1.0  # millimetre and degree by which the volume is moved to see what changes
NUMBERS = 6


class PoseFits:
    """Motions by which renders would look like X-rays if they changed linearly with them.

    The X-ray is written as a broken line of the render, so that tones may differ, both less their own blur; what the render
    changes with each number of the motion is seen by six more renders.

    Source: Lucas & Kanade (1981).

    Args:
        bank: the volumes.
        largest: no number of a motion exceeds it, either way.

    Attributes:
        count: F, how many motions there are, one a scale.
        size: how many numbers the agent is told.
    """

    def __init__(self, bank: CArm, largest: float) -> None:
        self.bank, self.largest = bank, largest
        self.count, self.size = len(COARSER), len(COARSER) * (NUMBERS + TOLD)
        line = np.arange(bank.geometry.size)
        weights = np.exp(-0.5 * ((line[:, None] - line) / (BLUR * len(line))) ** 2)
        self.blur = DeviceTable(weights / weights.sum(axis=1, keepdims=True))
        self.means = [DeviceTable(block_means(len(line), coarser)) for coarser in COARSER]

    def made(self, image: Array, xray: Array, pose: Array) -> Array:
        """The motions and how good each is, (B, F, 8) float64.

        Args:
            image: (B,) index of the volume.
            xray: (B, views, size, size) uint8.
            pose: (B, 3, 4).

        The last two of each are the shares of the X-ray's variance that is explained, without and with the motion.
        """
        xp, rows = xp_of(pose), pose.shape[0]
        way = LITTLE * xp.eye(NUMBERS, dtype=pose.dtype, device=pose.device)
        moved = [shifted(pose, xp.broadcast_to(way[k : k + 1, :], (rows, NUMBERS))) for k in range(NUMBERS)]
        poses = xp.reshape(xp.stack([pose, *moved], axis=1), (-1, 3, 4))
        shown = self.bank.thickness(xp.repeat(image, NUMBERS + 1, axis=0), poses)
        shown = xp.clip(xp.astype(shown, pose.dtype), 0.0, 1.0)
        renders = self.sharp(xp.reshape(shown, (rows, -1, *shown.shape[1:])))
        seen = self.sharp(xp.astype(xray, pose.dtype) / 255)
        return cut(
            xp.concat([fit(renders, seen, mean.on(pose)) for mean in self.means], axis=1), self.largest
        )

    def sharp(self, pictures: Array) -> Array:
        """Pictures (..., size, size) less their blur."""
        xp, blur = xp_of(pictures), self.blur.on(pictures)
        return pictures - xp.matmul(xp.matmul(blur, pictures), xp.matrix_transpose(blur))


def fit(renders: Array, xray: Array, mean: Array) -> Array:
    """The motions of one scale, (B, 1, 8), from renders (B, 7, views, size, size) and X-rays (B, views, size, size)."""
    xp, rows = xp_of(xray), xray.shape[0]
    renders, xray = (xp.matmul(xp.matmul(mean, some), xp.matrix_transpose(mean)) for some in (renders, xray))
    renders, xray = xp.reshape(renders, (rows, NUMBERS + 1, -1)), xp.reshape(xray, (rows, 1, -1))
    now = renders[:, :1, :]
    descent = xp.matrix_transpose((now - renders[:, 1:, :]) / LITTLE)[:, None, ...]
    return by_knots(descent, now, xray, xp.ones_like(xray))


def block_means(side: int, coarser: int) -> np.ndarray:
    """(side // coarser, side), what takes the mean of every few pixels in a row; pixels that are left over count nowhere."""
    means = np.kron(np.eye(side // coarser), np.full((1, coarser), 1 / coarser))
    return np.pad(means, ((0, 0), (0, side % coarser)))
