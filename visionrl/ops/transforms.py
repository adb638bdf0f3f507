"""Rigid, similarity and affine maps in two or three axes, as B matrices or as B rows of numbers; array-API code.

Convention
    A map (B, d, d + 1), d = 2 or 3, takes a place x to A x + t. Places are relative to the image's middle, so a turn
    leaves the middle where it is. Its numbers (B, k) are d shifts (in the unit of the places), turns in degrees (one in
    2D, positive from x to y; a rotation vector in 3D), and, for more than a rigid map, stretches and shears in degrees
    too: a stretch of u multiplies by exp(u pi / 180), a shear of u moves by u pi / 180 of the other coordinate.
    A = turn @ stretch @ shear, the shear being upper triangular. "similarity" has one stretch, "affine" d stretches and
    as many shears as turns.
"""

from __future__ import annotations

from math import cos, pi, radians

import numpy as np

from visionrl import ops
from visionrl.ops import Array, columns, xp_of

KINDS = ("rigid", "similarity", "affine")
DEGREE = pi / 180
_CHORD = 1 / (DEGREE * 2**0.5)  # two turns that differ by one degree are 1 / _CHORD apart, entry by entry

REACH_MM, REACH_DEG = 80.0, 45.0  # of poses in a room; those beyond are not taken


def count(kind: str, axes: int) -> int:
    """Number of parameters of a map: 3, 4 or 6 in 2D, 6, 7 or 12 in 3D."""
    turns = axes * (axes - 1) // 2
    return axes + turns + {"rigid": 0, "similarity": 1, "affine": axes + turns}[kind]


def to_matrix(numbers: Array, kind: str, axes: int) -> Array:
    """Maps (B, d, d + 1) of numbers (B, k)."""
    xp, turns = xp_of(numbers), axes * (axes - 1) // 2
    shift, angles = numbers[:, :axes], numbers[:, axes:] * DEGREE
    linear = rotation(angles[:, :turns])
    if kind == "similarity":
        linear = linear * xp.exp(angles[:, turns])[:, None, None]
    elif kind == "affine":
        linear = xp.matmul(linear * xp.exp(angles[:, turns : turns + axes])[:, None, :], _shear(angles, axes))
    return xp.concat([linear, shift[:, :, None]], axis=-1)


def to_numbers(matrix: Array, kind: str) -> Array:
    """The reverse of ``to_matrix``; of a map that is not of the kind, the nearest turn and the mean stretch."""
    xp, axes = xp_of(matrix), matrix.shape[1]
    shift, linear = matrix[:, :, axes], matrix[:, :, :axes]
    turn, upper = _turn_and_rest(linear)
    numbers = [shift, rotation_vector(turn) / DEGREE]
    stretch = xp.stack([upper[:, i, i] for i in range(axes)], axis=-1)
    logs = xp.log(stretch) / DEGREE
    if kind == "similarity":
        numbers.append(xp.mean(logs, axis=-1)[:, None])
    elif kind == "affine":
        pairs = [(i, j) for i in range(axes) for j in range(i + 1, axes)]
        shears = xp.stack([upper[:, i, j] / stretch[:, i] for i, j in pairs], axis=-1)
        numbers += [logs, shears / DEGREE]
    return xp.concat(numbers, axis=-1)


def compose(first: Array, then: Array) -> Array:
    """One map after another: (B, d, d + 1) each."""
    xp, axes = xp_of(first), first.shape[1]
    moved = xp.matmul(then[:, :, :axes], first)
    return xp.concat([moved[:, :, :axes], moved[:, :, axes:] + then[:, :, axes:]], axis=-1)


def invert(matrix: Array) -> Array:
    """The maps back, (B, d, d + 1); not finite where there is none."""
    xp, axes = xp_of(matrix), matrix.shape[1]
    way = [columns(matrix[:, :, j]) for j in range(axes)]
    if axes == 2:
        (a, c), (b, d) = way
        rows = [[d, -b], [-c, a]]
    else:
        rows = [_cross(way[1], way[2]), _cross(way[2], way[0]), _cross(way[0], way[1])]
    linear = _grid(rows) / determinant(matrix)[:, None, None]
    return xp.concat([linear, -xp.matmul(linear, matrix[:, :, axes:])], axis=-1)


def determinant(matrix: Array) -> Array:
    """Factor by which maps (B, d, d + 1) enlarge areas or volumes: (B,); negative where they mirror."""
    way = [columns(matrix[:, :, j]) for j in range(matrix.shape[1])]
    if len(way) == 2:
        return way[0][0] * way[1][1] - way[0][1] * way[1][0]
    across = _cross(way[1], way[2])
    return way[0][0] * across[0] + way[0][1] * across[1] + way[0][2] * across[2]


def move(pose: Array, numbers: Array, kind: str) -> Array:
    """Maps after a further motion, which comes first: what is move_pose and turned is the grid of the fixed image."""
    return compose(to_matrix(numbers, kind, pose.shape[1]), pose)


def residual(pose: Array, target: Array, kind: str) -> Array:
    """The numbers (B, k) of the motion that makes the target of a pose: ``move(pose, residual) == target``."""
    return to_numbers(compose(target, invert(pose)), kind)


def distance(a: Array, b: Array) -> Array:
    """Distance of maps, (B,): a unit of shift counts as much as a degree of turn."""
    xp, axes = xp_of(a), a.shape[1]
    squares = (a - b) ** 2
    return xp.sqrt(
        xp.sum(squares[:, :, axes], axis=-1) + _CHORD**2 * xp.sum(squares[:, :, :axes], axis=(1, 2))
    )


def carry(matrix: Array, places: Array) -> Array:
    """Places (B, P, d) carried by maps (B, d, d + 1)."""
    xp, axes = xp_of(matrix), matrix.shape[1]
    return xp.matmul(places, xp.matrix_transpose(matrix[:, :, :axes])) + matrix[:, :, axes][:, None, :]


def rotation(angles: Array) -> Array:
    """(B, d, d) turns by angles (B, 1) or rotation vectors (B, 3), radians (Rodrigues' formula)."""
    xp = xp_of(angles)
    if angles.shape[1] == 1:
        cosine, sine = xp.cos(angles[:, 0]), xp.sin(angles[:, 0])
        return _grid([[cosine, -sine], [sine, cosine]])
    angle = ops.norm(angles)
    x, y, z = columns(angles / xp.where(angle > 0, angle, xp.ones_like(angle))[:, None])
    c, s = xp.cos(angle), xp.sin(angle)
    k = 1 - c
    return _grid(
        [
            [c + x * x * k, x * y * k - z * s, x * z * k + y * s],
            [x * y * k + z * s, c + y * y * k, y * z * k - x * s],
            [x * z * k - y * s, y * z * k + x * s, c + z * z * k],
        ]
    )


def rotation_vector(turn: Array) -> Array:
    """The reverse of ``rotation``, for turns of less than pi: (B, d, d) -> (B, 1) or (B, 3), radians."""
    xp = xp_of(turn)
    if turn.shape[1] == 2:
        return xp.atan2(turn[:, 1, 0], turn[:, 0, 0])[:, None]
    axis = xp.stack([turn[:, j, i] - turn[:, i, j] for i, j in ((1, 2), (2, 0), (0, 1))], axis=-1) / 2
    sine, cosine = ops.norm(axis), (turn[:, 0, 0] + turn[:, 1, 1] + turn[:, 2, 2] - 1) / 2
    ratio = xp.where(sine > 1e-12, xp.atan2(sine, cosine) / xp.where(sine > 1e-12, sine, 1.0), 1.0)
    return axis * ratio[:, None]


def fit(kind: str, source: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """The map of a kind that takes points (P, d) nearest to others, by least squares: (d, d + 1), NumPy.

    Raises:
        ValueError: there are too few points, or they lie on a line (in a plane), so that many maps are as good.

    Source: Umeyama (1991) for rigid and similarity maps.
    """
    axes = source.shape[1]
    if not is_determined(kind, source):
        needed = axes + 1 if kind == "affine" else axes
        raise ValueError(f"{kind} needs {needed} points or more that span it, got {len(source)} points")
    start, end = source.mean(axis=0), goal.mean(axis=0)
    centred = source - start
    if kind == "affine":
        linear = np.linalg.lstsq(centred, goal - end, rcond=None)[0].T
    else:
        left, values, right = np.linalg.svd((goal - end).T @ centred)
        signs = np.ones(axes)
        signs[-1] = np.sign(np.linalg.det(left) * np.linalg.det(right))
        linear = left @ np.diag(signs) @ right
        if kind == "similarity":
            linear = linear * (values @ signs) / (centred**2).sum()
    return np.column_stack([linear, end - linear @ start])


def is_determined(kind: str, source: np.ndarray, twice: bool = False) -> bool:
    """True where points (P, d) leave one map of a kind that fits best; ``twice``: and are twice as many as it needs."""
    axes = source.shape[1]
    needed = axes + 1 if kind == "affine" else axes
    spans = np.linalg.matrix_rank(source - source.mean(axis=0), tol=1e-6) >= needed - 1
    return bool(spans and len(source) >= needed * (1 + twice))


def move_pose(pose: Array, numbers: Array) -> Array:
    """Poses (B, 3, 4) after shifts and turns (B, 6) along the axes of the room, the turn about the volume's middle."""
    xp, motion = xp_of(pose), to_matrix(numbers, "rigid", 3)
    linear = xp.matmul(motion[:, :, :3], pose[:, :, :3])
    return xp.concat([linear, pose[:, :, 3:] + motion[:, :, 3:]], axis=-1)


def pose_residual(pose: Array, target: Array) -> Array:
    """The shifts and turns (B, 6) from poses to others: ``move_pose(pose, pose_residual) == target``."""
    xp = xp_of(pose)
    linear = xp.matmul(target[:, :, :3], xp.matrix_transpose(pose[:, :, :3]))
    return to_numbers(xp.concat([linear, target[:, :, 3:] - pose[:, :, 3:]], axis=-1), "rigid")


def pose_in_reach(pose: Array) -> Array:
    """True where poses are within reach, (B,) bool."""
    trace = pose[:, 0, 0] + pose[:, 1, 1] + pose[:, 2, 2]
    near = ops.every(xp_of(pose).abs(pose[:, :, 3]) <= REACH_MM)
    return near & (trace >= 1 + 2 * cos(radians(REACH_DEG)))


def _turn_and_rest(linear: Array) -> tuple[Array, Array]:
    """A turn and an upper triangle whose product is ``linear``, (B, d, d) each (Gram & Schmidt)."""
    xp, axes = xp_of(linear), linear.shape[1]
    basis: list[Array] = []
    for j in range(axes):
        way = linear[:, :, j]
        for other in basis:
            way = way - xp.sum(other * way, axis=-1)[:, None] * other
        basis.append(way / ops.norm(way)[:, None])
    turn = xp.stack(basis, axis=-1)
    return turn, xp.matmul(xp.matrix_transpose(turn), linear)


def _shear(angles: Array, axes: int) -> Array:
    """(B, d, d) upper triangles with ones on the diagonal, from the last columns of the angles."""
    xp = xp_of(angles)
    ones = xp.ones_like(angles[:, 0])
    values = iter(columns(angles[:, -(axes * (axes - 1) // 2) :]))
    return _grid(
        [[ones if i == j else next(values) if i < j else 0 * ones for j in range(axes)] for i in range(axes)]
    )


def _cross(a: list[Array], b: list[Array]) -> list[Array]:
    """The cross product, component by component."""
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


def _grid(rows: list[list[Array]]) -> Array:
    """(B, n, m) of n rows of m entries (B,)."""
    xp = xp_of(rows[0][0])
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)
