"""Where the control points of a deformation lie, and which of them are worth a move; NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrl.ops.bending import lattice


def visits(points: Sequence[int], axes: int, side: int) -> tuple[tuple, tuple[float, ...], tuple[int, ...]]:
    """Of every visit the control point, (x, y) or (x, y, z) in pixels, how wide its spline is, and its stage.

    Each stage divides an image into cells; its control points are their middles.
    """
    places, widths, stages = [], [], []
    for stage, count in enumerate(points):
        some = (lattice(count, axes).reshape(-1, axes) * (count - 1) + 0.5) * side / count - 0.5
        places += [tuple(place) for place in some.tolist()]
        widths += [side / count] * len(some)
        stages += [stage] * len(some)
    return tuple(places), tuple(widths), tuple(stages)


def check_points(points: Sequence[int], nodes: int) -> None:
    """Refuse grids of control points that a lattice cannot show.

    Raises:
        ValueError: there is none, or one has no point along an axis or more than there are nodes.
    """
    whole = len(points) > 0 and all(isinstance(n, int) and 1 <= n <= nodes for n in points)
    if not whole:
        raise ValueError(f"points must be whole numbers in [1, {nodes}], one a stage, got {points!r}")


def near_body(
    places: tuple, widths: tuple[float, ...], stages: tuple[int, ...], nodes: int, body: np.ndarray, side: int
) -> np.ndarray:
    """Numbers of the control points within half a width of the body, of those of the first stage all.

    Args:
        places: of the control points, as ``visits`` gives them, like the next two.
        widths: of their splines.
        stages: of each.
        nodes: along each axis of the lattice on which the body is known.
        body: (nodes^d,), more than 0 where it is.
        side: pixels along each axis.
    """
    points = np.array(places)
    there = (lattice(nodes, points.shape[1]).reshape(-1, points.shape[1]) * (side - 1))[body > 0]
    gaps = np.abs(points[:, None] - there).max(axis=-1)
    near = (gaps <= np.array(widths)[:, None] / 2).any(axis=1)
    return np.flatnonzero(near | (np.array(stages) == 0))
