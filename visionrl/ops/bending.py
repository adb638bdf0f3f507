"""Random smooth deformations of images and volumes for episodes, on a lattice of nodes; NumPy.

A deformation is the flow along a random smooth velocity for one unit of time, by scaling and squaring (Arsigny et al.,
2006), then a small turn, stretch and shift. As in ``datasets.deform`` the splits differ in the family of the bending.

Convention
    Fields are (n, ..., n, d): how far a place is displaced, in pixels and in the order (x, y) or (x, y, z), while their
    axes are in the order of arrays, (y, x) or (z, y, x). Nodes lie evenly from an image's first pixel to its last.
"""

from __future__ import annotations

import numpy as np

from visionrl.ops.deform import FAMILIES

SQUARINGS = 6
TURN, STRETCH, SHIFT = 6.0, 0.08, 0.03  # degrees, share, share of the side; largest


def deformation(
    rng: np.random.Generator, split: str, nodes: int, axes: int, side: int, bend: float
) -> np.ndarray:
    """A random field (nodes, ..., nodes, axes).

    Args:
        rng: all chance.
        split: "train", "val", "test" or "all"; decides the family.
        nodes: along each axis.
        axes: 2 or 3.
        side: pixels along each axis.
        bend: root mean square of the velocity, shares of the side.
    """
    family = {"train": FAMILIES[0], "val": FAMILIES[1], "test": FAMILIES[2]}.get(split, FAMILIES[0])
    places = lattice(nodes, axes) * (side - 1)
    bent = places + exponential(velocity(rng, family, nodes, axes) * bend * side, (side - 1) / (nodes - 1))
    linear = turn(np.radians(rng.uniform(-TURN, TURN, 3)), axes) * rng.uniform(1 - STRETCH, 1 + STRETCH, axes)
    middle = (side - 1) / 2
    return (bent - middle) @ linear.T + middle + rng.uniform(-SHIFT, SHIFT, axes) * side - places


def velocity(rng: np.random.Generator, family: str, nodes: int, axes: int) -> np.ndarray:
    """(nodes, ..., nodes, axes) smooth random field whose root mean square length is 1.

    "noise" is white noise under a Gaussian, "bumps" 16 Gaussian pushes, "waves" 8 plane waves; an eighth to a third of
    the side wide.
    """
    at = lattice(nodes, axes)
    if family == "noise":
        from scipy.ndimage import gaussian_filter

        white = rng.normal(size=(axes, *[nodes] * axes))
        field = np.stack([gaussian_filter(part, nodes / 8, mode="wrap") for part in white], axis=-1)
    elif family == "bumps":
        gaps = ((at[..., None, :] - rng.uniform(0, 1, (16, axes))) ** 2).sum(axis=-1)
        field = np.exp(-gaps / (2 * rng.uniform(0.1, 0.2, 16) ** 2)) @ rng.normal(size=(16, axes))
    else:
        ways = rng.normal(size=(8, axes))
        ways *= 2 * np.pi / rng.uniform(0.45, 1.1, (8, 1)) / np.linalg.norm(ways, axis=1, keepdims=True)
        field = np.sin(at @ ways.T + rng.uniform(0, 2 * np.pi, 8)) @ rng.normal(size=(8, axes))
    return field / np.sqrt((field**2).sum(axis=-1).mean())


def exponential(field: np.ndarray, step: float) -> np.ndarray:
    """The displacement after one unit of time along a velocity, both in pixels, ``step`` of them from node to node."""
    index, bent = np.moveaxis(np.indices(field.shape[:-1]).astype(float), 0, -1), field / 2**SQUARINGS
    for _ in range(SQUARINGS):
        bent = bent + between(bent, index + bent[..., ::-1] / step)
    return bent


def between(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values (..., k) on a lattice at places (..., d) in nodes, in the order of the axes; the outermost ones go on."""
    from scipy.ndimage import map_coordinates

    at = np.moveaxis(places, -1, 0)
    parts = [map_coordinates(values[..., k], at, order=1, mode="nearest") for k in range(values.shape[-1])]
    return np.stack(parts, axis=-1)


def warped(image: np.ndarray, field: np.ndarray, order: int) -> np.ndarray:
    """What places of an image (side, ..., side) show after displacement; 0 outside.

    Args:
        image: any numbers.
        field: see above.
        order: 1 linear, 0 nearest.
    """
    from scipy.ndimage import map_coordinates

    side, nodes = image.shape[0], field.shape[0]
    index = np.moveaxis(np.indices(image.shape).astype(float), 0, -1)
    dense = between(field, index * (nodes - 1) / (side - 1))
    at = np.moveaxis(index + dense[..., ::-1], -1, 0)
    return map_coordinates(image, at, order=order, mode="grid-constant")


def lattice(nodes: int, axes: int) -> np.ndarray:
    """(nodes, ..., nodes, axes) places from 0 to 1, (x, y) or (x, y, z)."""
    line = np.linspace(0, 1, nodes)
    return np.stack(np.meshgrid(*[line] * axes, indexing="ij")[::-1], axis=-1)


def turn(angles: np.ndarray, axes: int) -> np.ndarray:
    """(axes, axes) rotation by the first angle in 2D, by three about x, y and z in 3D; radians."""
    whole = np.eye(axes)
    for angle, (i, j) in zip(angles, [(0, 1)] if axes == 2 else [(1, 2), (2, 0), (0, 1)], strict=False):
        part = np.eye(axes)
        part[i, i] = part[j, j] = np.cos(angle)
        part[i, j], part[j, i] = -np.sin(angle), np.sin(angle)
        whole = part @ whole
    return whole


def developed(rng: np.random.Generator, image: np.ndarray, change: float) -> np.ndarray:
    """An image of its own contrast, brightness and noise, uint8; what is black stays dark.

    Args:
        rng: all chance.
        image: grey levels from 0 to 255.
        change: how much differs; 0 not at all.
    """
    gamma, gain = np.exp(rng.uniform(-0.25, 0.25, 2) * (change, change / 2))
    noise = rng.normal(0, 1, image.shape) * rng.uniform(1, 6) * change
    return np.clip(np.rint(255 * gain * (image / 255) ** gamma + noise), 0, 255).astype(np.uint8)
