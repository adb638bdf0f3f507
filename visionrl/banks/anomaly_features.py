"""Handcrafted features of the blocks of an image, and detectors that give blocks an anomaly score by them.

A detector is fitted in closed form to features of training images, (N, b, b, D), and to which of their blocks are
defective; its score is higher where a defect is likelier.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

BLOCK = 8
"""Pixels from one block to the next; a block is described by the square of twice this side around it."""

DEFECTIVE = 0.25  # of a block, from which it is one of a defect
ROWS, WAVES = (
    12_000,
    512,
)  # most blocks of each class that the regression is fitted to, and its Fourier features
WIDTH, PENALTY = 0.3, 1e-5  # of its kernel and its ridge, chosen on the validation split of the embedded set
MEMORY = 2000  # good blocks in the memory bank

Scores = Callable[[np.ndarray], np.ndarray]  # (..., D) -> (...)


def block_features(image: np.ndarray) -> np.ndarray:
    """Intensity, contrast and structure at three scales of each block, after the illumination is evened out.

    Args:
        image: (C, H, W) uint8, H and W multiples of ``BLOCK``.

    Returns:
        (H / BLOCK, W / BLOCK, 13) float32.
    """
    grey = image.astype(np.float32).mean(axis=0)
    small = cv2.resize(grey, (grey.shape[1] // 4, grey.shape[0] // 4), interpolation=cv2.INTER_AREA)
    light = cv2.resize(cv2.GaussianBlur(small, (0, 0), 5), grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
    even = grey - light
    even /= even.std() + 4
    maps, finer = [even], even
    for width in (1, 2, 4):
        coarser = cv2.GaussianBlur(even, (0, 0), width)
        maps.append(np.abs(finer - coarser))
        if width <= 2:
            across, along = (np.abs(cv2.Sobel(finer, cv2.CV_32F, 1 - k, k)) / 4 for k in (0, 1))
            maps += [across, along] if width == 2 else [across, along, np.sqrt(across * along)]
        finer = coarser
    side, first = 2 * BLOCK, slice(BLOCK // 2, None, BLOCK)
    pooled = [cv2.blur(one, (side, side)) for one in maps]
    pooled.append(np.sqrt(np.maximum(cv2.blur(even * even, (side, side)) - pooled[0] ** 2, 0)))
    square, smooth = np.ones((side, side), np.uint8), cv2.GaussianBlur(even, (0, 0), 1)
    pooled += [cv2.dilate(smooth, square), cv2.erode(smooth, square)]
    return np.stack([one[first, first] for one in pooled], axis=-1)


def padim(features: np.ndarray, share: np.ndarray) -> Scores:
    """Mahalanobis distance to the good blocks.

    After Defard et al. (2021), "PaDiM: a patch distribution modeling framework for anomaly detection and localization",
    with one distribution for all places, as textures have it.

    Args:
        features: (N, b, b, D) of the training images.
        share: (N, b, b) in [0, 1], of each block, that is defective.
    """
    good = features[share == 0].astype(float)
    centre, whiten = _whitened(good)
    return lambda blocks: (((blocks - centre) @ whiten) ** 2).sum(axis=-1)


def patchcore(features: np.ndarray, share: np.ndarray) -> Scores:
    """Distance to the nearest of ``MEMORY`` good blocks, squared, whitened.

    After Roth et al. (2022), "Towards total recall in industrial anomaly detection", with blocks drawn by chance in
    the place of a coreset.

    Args:
        features: as of ``padim``.
        share: as of ``padim``.
    """
    good = features[share == 0].astype(float)
    centre, whiten = _whitened(good)
    chosen = np.random.default_rng(0).permutation(len(good))[:MEMORY]
    memory = ((good[chosen] - centre) @ whiten).astype(np.float32)
    length = (memory**2).sum(axis=1)

    def scores(blocks: np.ndarray) -> np.ndarray:
        """Squared distances (...) of blocks (..., D) to the memory bank."""
        rows = ((blocks.reshape(-1, blocks.shape[-1]) - centre) @ whiten).astype(np.float32)
        near = [
            (length - 2 * (some @ memory.T)).min(axis=1)
            for some in np.array_split(rows, -(-len(rows) // 4096))
        ]
        return ((rows**2).sum(axis=1) + np.concatenate(near)).reshape(blocks.shape[:-1])

    return scores


def trained(features: np.ndarray, share: np.ndarray) -> Scores:
    """Ridge regression on Fourier features: defective blocks are 1, good ones -1, both classes weigh the same.

    Defective are blocks of which a quarter is, or where all defects are thinner, those with the largest part.

    Args:
        features: as of ``padim``.
        share: as of ``padim``.

    Raises:
        ValueError: no block is defective.
    """
    rng, wide = np.random.default_rng(0), features.shape[-1]
    if share.max() <= 0:
        raise ValueError(
            "detector must be 'padim' or 'patchcore' where fewer than two training images have a defect with its "
            "place, got 'trained'"
        )
    bad, good = features[share >= min(DEFECTIVE, share.max())], features[share == 0]
    bad, good = (some[rng.permutation(len(some))[:ROWS]] for some in (bad, good))
    rows = np.concatenate([bad, good])
    centre, scale = good.mean(axis=0), good.std(axis=0) + 1e-6
    turn = (rng.normal(size=(wide, WAVES)) * np.sqrt(2 * WIDTH / wide)).astype(np.float32)
    phase = rng.uniform(0, 2 * np.pi, WAVES).astype(np.float32)

    def waves(blocks: np.ndarray) -> np.ndarray:
        """(N, WAVES + 1)."""
        found = np.cos(((blocks - centre) / scale) @ turn + phase) * np.float32((2 / WAVES) ** 0.5)
        return np.concatenate([found, np.ones_like(found[:, :1])], axis=1)

    seen = waves(rows).astype(float)
    weight = np.repeat([0.5 / len(bad), 0.5 / len(good)], [len(bad), len(good)])[:, None]
    target = np.repeat([1.0, -1.0], [len(bad), len(good)])
    gram = (seen * weight).T @ seen + PENALTY * np.eye(WAVES + 1)
    solved = np.linalg.solve(gram, (seen * weight).T @ target)

    def scores(blocks: np.ndarray) -> np.ndarray:
        """Values (...) of the regression for blocks (..., D), about -1 where they are good, 1 where defective."""
        flat = blocks.reshape(-1, wide)
        parts = [waves(some) @ solved for some in np.array_split(flat, -(-len(flat) // 8192))]
        return np.concatenate(parts).reshape(blocks.shape[:-1])

    return scores


DETECTORS: dict[str, Callable[[np.ndarray, np.ndarray], Scores]] = {
    "trained": trained,
    "padim": padim,
    "patchcore": patchcore,
}


def _whitened(good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean (D,) of features (N, D), and a matrix (D, D) after which their covariance is about the identity."""
    spread = np.cov(good.T)
    spread = spread + 0.01 * np.diag(np.diag(spread)) + 1e-9 * np.eye(len(spread))
    return good.mean(axis=0), np.linalg.cholesky(np.linalg.inv(spread))
