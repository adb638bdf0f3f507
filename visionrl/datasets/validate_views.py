"""Rules for captures by several cameras."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from visionrl.datasets.arrays import as_floats
from visionrl.datasets.samples import ViewSample

SINGULAR = 1e-9  # least determinant of a camera's part for directions, its rows of length 1


def check_views(sample: ViewSample, where: str) -> ViewSample:
    """The checked capture: cameras with a third row of length 1 and positive depth, arrays float64."""
    cameras = _cameras(sample.cameras, where)
    names = tuple(sample.joint_names)
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise ValueError(f"{where}: joint_names must be one or more words, none twice, got {names!r:.200}")
    called = tuple(sample.camera_names) or tuple(map(str, range(len(cameras))))
    if len(called) != len(cameras) or len(set(called)) < len(called):
        raise ValueError(
            f"{where}: camera_names must be one a camera ({len(cameras)}), none twice, got {called!r:.200}"
        )
    shape = (len(cameras), len(names))
    if sample.detections is None and sample.points is None:
        raise ValueError(f"{where}: detections or points must be given, got neither")
    detections, scores = _detections(sample, shape, where)
    points = None if sample.points is None else _points(sample.points, cameras, called, names, where)
    size = as_floats(sample.resolution, f"{where}: resolution")
    if size.shape not in ((2,), (shape[0], 2)) or not ((size >= 1) & (size <= 1e6)).all():
        raise ValueError(
            f"{where}: resolution must be (width, height) or one a camera, >= 1, got {size.tolist()!r:.200}"
        )
    links = np.asarray(sample.links)
    links = np.zeros((0, 2), np.int64) if not links.size else links
    whole = links.dtype.kind in "iuf" and not (links % 1).any()
    if links.ndim != 2 or links.shape[1] != 2 or not whole or not ((links >= 0) & (links < shape[1])).all():
        raise ValueError(
            f"{where}: links must be (n, 2) whole numbers of points below {shape[1]}, got {links.tolist()!r:.200}"
        )
    error = sample.detector_px
    if error is not None and not 0 < error < np.inf:
        raise ValueError(f"{where}: detector_px must be finite and > 0, got {error}")
    return replace(
        sample,
        cameras=cameras,
        joint_names=names,
        detections=detections,
        scores=scores,
        points=points,
        resolution=np.broadcast_to(size, (shape[0], 2)).copy(),
        camera_names=called,
        links=links.astype(np.int64),
    )


def _cameras(value: Any, where: str) -> np.ndarray:
    """(V, 3, 4) cameras."""
    cameras = as_floats(value, f"{where}: cameras")
    if cameras.ndim != 3 or cameras.shape[1:] != (3, 4):
        raise ValueError(f"{where}: cameras must be (V, 3, 4), got shape {cameras.shape}")
    if len(cameras) < 2:
        raise ValueError(f"{where}: cameras must be 2 or more, got {len(cameras)}")
    for number, camera in enumerate(cameras):
        if not np.isfinite(camera).all():
            raise ValueError(f"{where}, camera {number}: must be finite, got {camera.tolist()}")
        lengths = np.linalg.norm(camera[:, :3], axis=1)
        size = np.linalg.det(camera[:, :3] / np.maximum(lengths, 1e-300)[:, None])
        if abs(size) < SINGULAR:
            raise ValueError(
                f"{where}, camera {number}: must not be singular (its left 3 x 3 part), got {camera.tolist()}"
            )
    signs = np.sign(np.linalg.det(cameras[:, :, :3]))
    return np.asarray(cameras * (signs / np.linalg.norm(cameras[:, 2, :3], axis=1))[:, None, None])


def _detections(
    sample: ViewSample, shape: tuple[int, int], where: str
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(V, J, 2) places and (V, J) scores, 0 where there is no place."""
    if sample.detections is None:
        if sample.scores is not None:
            raise ValueError(f"{where}: scores must be left out without detections")
        return None, None
    places = as_floats(sample.detections, f"{where}: detections")
    if places.shape != (*shape, 2):
        raise ValueError(
            f"{where}: detections must be (cameras, points, 2), {(*shape, 2)}, got shape {places.shape}"
        )
    if np.isinf(places).any():
        raise ValueError(f"{where}: detections must be finite, or NaN where there is none, got infinity")
    there = ~np.isnan(places).any(axis=2)
    scores = np.ones(shape) if sample.scores is None else as_floats(sample.scores, f"{where}: scores")
    if scores.shape != shape:
        raise ValueError(f"{where}: scores must be (cameras, points), {shape}, got shape {scores.shape}")
    bad = there & ~((scores >= 0) & (scores <= 1))
    if bad.any():
        raise ValueError(f"{where}: scores must be in [0, 1], got {scores[bad][0]:g}")
    if not (there & (scores > 0)).any():
        raise ValueError(f"{where}: detections must have one place or more with a score > 0, got none")
    return np.where(there[..., None], places, np.nan), np.where(there, scores, 0.0)


def _points(
    value: Any, cameras: np.ndarray, called: tuple[str, ...], names: tuple[str, ...], where: str
) -> np.ndarray:
    """(J, 3) true places, rows of NaN where unknown."""
    points = as_floats(value, f"{where}: points")
    if points.shape != (len(names), 3):
        raise ValueError(f"{where}: points must be ({len(names)}, 3), got shape {points.shape}")
    if np.isinf(points).any():
        raise ValueError(f"{where}: points must be finite, or NaN where unknown, got infinity")
    known = ~np.isnan(points).any(axis=1)
    if not known.any():
        raise ValueError(f"{where}: points must have a known place, all are NaN")
    depth = points[known] @ cameras[:, 2, :3].T + cameras[:, 2, 3]  # (known, V)
    if (depth <= 0).any():
        joint, camera = (int(k) for k in np.argwhere(depth <= 0)[0])
        name = [n for n, there in zip(names, known, strict=True) if there][joint]
        raise ValueError(
            f"{where}: points must lie before all cameras, {name!r} is {-depth[joint, camera]:g} mm behind "
            f"{called[camera]!r}"
        )
    return np.where(known[:, None], points, np.nan)
