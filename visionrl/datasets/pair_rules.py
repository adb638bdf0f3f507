"""What a pair of images must be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from visionrl.datasets.samples import PairSample
from visionrl.datasets.validate import _mask, _numbers, _picture

SMALLEST_DETERMINANT = 1e-6


def check_pair(sample: PairSample, where: str) -> PairSample:
    """The pair in its plain form.

    Rules
        fixed, moving: both (C, H, W) uint8, C = 1 or 3; a pair of an image and a volume is refused.
        points: as many of ``fixed`` as of ``moving``, (N, 2) finite; those of ``fixed`` lie in it.
        transform, start: (2, 3) finite, not singular and without a mirror. modalities: two words.
        spacing_mm: two numbers, finite and > 0. masks: integers >= 0 on the grid of their image.
        One at least of points and transform is there: else nothing could be measured.

    Raises:
        ValueError: a rule is broken; ``where`` begins the message.
    """
    fixed, moving = (
        _picture_of(sample.fixed, f"{where}: fixed"),
        _picture_of(sample.moving, f"{where}: moving"),
    )
    points = _both(sample, fixed, where)
    maps = {
        name: _map(getattr(sample, name), f"{where}: {name}")
        for name in ("transform", "start")
        if getattr(sample, name) is not None
    }
    if points is None and "transform" not in maps:
        raise ValueError(f"{where}: a pair must have points of both images, or a transform, got neither")
    masks = {
        name: _mask(getattr(sample, name), image.shape[1:], f"{where}: {name}")
        for name, image in (("fixed_mask", fixed), ("moving_mask", moving))
        if getattr(sample, name) is not None
    }
    ends = {} if points is None else {"fixed_points": points[0], "moving_points": points[1]}
    plain: dict[str, Any] = {"fixed": fixed, "moving": moving, **ends, **maps, **masks}
    spacing = None if sample.spacing_mm is None else _spacing(sample.spacing_mm, where)
    return replace(sample, **plain, modalities=_words(sample.modalities, where), spacing_mm=spacing)


def _picture_of(value: Any, where: str) -> np.ndarray:
    """One image of the pair."""
    if getattr(value, "ndim", 3) != 3:
        raise ValueError(
            f"{where} must be a 2D image (C, H, W) as the other one is, got shape {tuple(value.shape)}"
        )
    return _picture(value, where)


def _both(sample: PairSample, fixed: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray] | None:
    """The points of both images, (N, 2) each, or None where neither has any."""
    given = [sample.fixed_points, sample.moving_points]
    missing = [value is None for value in given]
    if all(missing):
        return None
    if any(missing):
        raise ValueError(
            f"{where}: points must be given of both images, got none of {('fixed', 'moving')[missing.index(True)]}"
        )
    first, second = (_numbers(value, f"{where}: points") for value in given)
    for points in (first, second):
        if points.ndim != 2 or points.shape[1] != 2 or not len(points):
            raise ValueError(f"{where}: points must be (N, 2) with N >= 1, got shape {points.shape}")
        if not np.isfinite(points).all():
            raise ValueError(f"{where}: points must be finite, got {points[~np.isfinite(points).all(1)][0]}")
    if len(first) != len(second):
        raise ValueError(
            f"{where}: fixed and moving must have the same points, got {len(first)} and {len(second)}"
        )
    size = np.array(fixed.shape[:0:-1])
    outside = ((first < -0.5) | (first > size - 0.5)).any(axis=1)
    if outside.any():
        raise ValueError(
            f"{where}: fixed points must lie inside the image of width {size[0]} and height {size[1]}, "
            f"got {first[outside][0].tolist()}"
        )
    return first, second


def _map(value: Any, where: str) -> np.ndarray:
    """A (2, 3) map that can be undone and does not mirror."""
    matrix = _numbers(value, where)
    if matrix.shape != (2, 3) or not np.isfinite(matrix).all():
        raise ValueError(f"{where} must be 2 x 3 finite numbers, got {matrix.tolist()}")
    size = float(np.linalg.det(matrix[:, :2]))
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


def _spacing(value: Any, where: str) -> np.ndarray:
    """Two spacings."""
    spacing = _numbers(value, f"{where}: spacing_mm")
    if spacing.shape != (2,) or not ((spacing > 0) & (spacing < np.inf)).all():
        raise ValueError(
            f"{where}: spacing_mm must be two numbers, of fixed and of moving, finite and > 0, got {value}"
        )
    return spacing
