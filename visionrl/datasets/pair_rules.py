"""What a pair of images or of volumes must be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from visionrl.datasets.samples import PairSample
from visionrl.datasets.validate import _array, _mask, _numbers, _picture

SMALLEST_DETERMINANT = 1e-6


def check_pair(sample: PairSample, where: str) -> PairSample:
    """The pair in its plain form.

    Rules
        fixed, moving: both images (C, H, W) uint8, C = 1 or 3, or both volumes (1, D, H, W) uint8.
        points: as many of ``fixed`` as of ``moving``, (N, d) finite; those of ``fixed`` lie in it.
        transform, start: (d, d + 1) finite, not singular and without a mirror. modalities: two words.
        spacing_mm: finite and > 0; two numbers, or (2, 3) for volumes, which must have it.
        masks: integers >= 0 on the grid of their image, and not 0 everywhere.
        Points, a transform, or both masks are there: else nothing could be measured.

    Raises:
        ValueError: a rule is broken; ``where`` begins the message.
    """
    fixed, moving = _ends(sample, where)
    axes = fixed.ndim - 1
    points = _both(sample, fixed, where)
    maps = {
        name: _map(getattr(sample, name), axes, f"{where}: {name}")
        for name in ("transform", "start")
        if getattr(sample, name) is not None
    }
    masks = {
        name: _labels(getattr(sample, name), image.shape[1:], f"{where}: {name}")
        for name, image in (("fixed_mask", fixed), ("moving_mask", moving))
        if getattr(sample, name) is not None
    }
    if points is None and "transform" not in maps and len(masks) < 2:
        raise ValueError(
            f"{where}: a pair must have points of both images, a transform, or label maps of both, got none"
        )
    ends = {} if points is None else {"fixed_points": points[0], "moving_points": points[1]}
    plain: dict[str, Any] = {"fixed": fixed, "moving": moving, **ends, **maps, **masks}
    spacing = _spacing(sample.spacing_mm, axes, where)
    return replace(sample, **plain, modalities=_words(sample.modalities, where), spacing_mm=spacing)


def _ends(sample: PairSample, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Both images, or both volumes."""
    axes = [getattr(value, "ndim", 3) - 1 for value in (sample.fixed, sample.moving)]
    if set(axes) == {2, 3}:
        raise ValueError(
            f"{where}: fixed and moving must be of one dimension, got a {axes[0]}D and a {axes[1]}D image"
        )
    check = _volume if axes == [3, 3] else _picture
    return check(sample.fixed, f"{where}: fixed"), check(sample.moving, f"{where}: moving")


def _volume(value: Any, where: str) -> np.ndarray:
    """One volume of the pair."""
    volume = _array(value)
    if volume.dtype != np.uint8 or volume.shape[0] != 1 or volume.size == 0:
        raise ValueError(
            f"{where}: volumes are (1, D, H, W) uint8 0-255, got {volume.dtype} of shape {volume.shape}"
        )
    return volume


def _labels(value: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """A label map with a label."""
    mask = _mask(value, shape, where)
    if not mask.any():
        raise ValueError(f"{where}: mask must have a label > 0, got none")
    return mask


def _both(sample: PairSample, fixed: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray] | None:
    """The points of both images, (N, d) each, or None where neither has any."""
    given = [sample.fixed_points, sample.moving_points]
    missing = [value is None for value in given]
    if all(missing):
        return None
    if any(missing):
        raise ValueError(
            f"{where}: points must be given of both images, got none of {('fixed', 'moving')[missing.index(True)]}"
        )
    axes = fixed.ndim - 1
    first, second = (_numbers(value, f"{where}: points") for value in given)
    for points in (first, second):
        if points.ndim != 2 or points.shape[1] != axes or not len(points):
            raise ValueError(f"{where}: points must be (N, {axes}) with N >= 1, got shape {points.shape}")
        if not np.isfinite(points).all():
            raise ValueError(f"{where}: points must be finite, got {points[~np.isfinite(points).all(1)][0]}")
    if len(first) != len(second):
        raise ValueError(
            f"{where}: fixed and moving must have the same points, got {len(first)} and {len(second)}"
        )
    size = np.array(fixed.shape[:0:-1])
    outside = ((first < -0.5) | (first > size - 0.5)).any(axis=1)
    if outside.any():
        names = ("width", "height", "depth")
        shape = ", ".join(f"{name} {side}" for name, side in zip(names, size, strict=False))
        raise ValueError(
            f"{where}: fixed points must lie inside the image of {shape}, got {first[outside][0].tolist()}"
        )
    return first, second


def _map(value: Any, axes: int, where: str) -> np.ndarray:
    """A (d, d + 1) map that can be undone and does not mirror."""
    matrix = _numbers(value, where)
    if matrix.shape != (axes, axes + 1) or not np.isfinite(matrix).all():
        raise ValueError(f"{where} must be {axes} x {axes + 1} finite numbers, got {matrix.tolist()}")
    size = float(np.linalg.det(matrix[:, :axes]))
    if size < SMALLEST_DETERMINANT:
        raise ValueError(
            f"{where} must not be singular nor mirror (determinant >= {SMALLEST_DETERMINANT}), "
            f"got {matrix.tolist()} of determinant {size:.3g}"
        )
    return matrix


def _words(value: Any, where: str) -> tuple[str, str]:
    """The two modalities."""
    words = (value,) if isinstance(value, str) else tuple(value)
    if (
        len(words) != 2
        or not all(isinstance(word, str) for word in words)
        or (not words[0]) != (not words[1])
    ):
        raise ValueError(
            f"{where}: modalities must be two words, of fixed and of moving, or both empty, got {value!r}"
        )
    return words


def _spacing(value: Any, axes: int, where: str) -> np.ndarray | None:
    """Two spacings, or two times three; images may have none."""
    if value is None and axes == 2:
        return None
    shape = (2,) if axes == 2 else (2, 3)
    spacing = _numbers(np.nan if value is None else value, f"{where}: spacing_mm")
    if spacing.shape != shape or not ((spacing > 0) & (spacing < np.inf)).all():
        what = "two numbers" if axes == 2 else "two times (x, y, z)"
        raise ValueError(
            f"{where}: spacing_mm must be {what}, of fixed and of moving, finite and > 0, got {value}"
        )
    return spacing
