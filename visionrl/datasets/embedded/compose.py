"""Draw cut-outs on photographs: layers, their boxes, paths, poses, colours and blur.

Convention
    Affine matrices are (2, 3) and map (x, y) pixel centres of a layer to pixel centres of a canvas, where
    (0, 0) is the centre of the top-left pixel. Boxes are edges, as in ``samples``. Canvases: (H, W, 3) uint8.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from visionrl.datasets.embedded.cutouts import Cutout


@dataclass(frozen=True)
class Layer:
    """A cut-out brought to the size at which it is drawn.

    Attributes:
        rgba: (H, W, 4) uint8, colours multiplied by opacity.
        hull: (N, 2) float64, convex hull of the region of opacity over one half, (x, y) in pixel centres.
        middle: (3,) float64, (x, y, 1), the middle of the hull's box.
    """

    rgba: np.ndarray
    hull: np.ndarray
    middle: np.ndarray


def layer(cutout: Cutout, scale: float, colours: np.ndarray | None = None) -> Layer:
    """The cut-out at ``scale`` times its size, ready for ``paste``.

    Args:
        cutout: what to draw.
        scale: size factor, over 0.
        colours: (256, 1, 3) uint8 table of ``tint`` that maps each channel, or None to leave the colours.
    """
    rgb = cutout.image.transpose(1, 2, 0)
    if colours is not None:
        rgb = cv2.LUT(np.ascontiguousarray(rgb), colours)
    weight = cutout.alpha[..., None] * np.float32(1 / 255)
    rgba = np.concatenate([rgb * weight, weight * 255], axis=2)
    size = [max(2, round(side * scale)) for side in rgba.shape[1::-1]]
    rgba = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    rgba = np.clip(np.rint(rgba), 0, 255).astype(np.uint8)
    hull = _hull(np.ascontiguousarray(rgba[..., 3]))
    return Layer(rgba, hull, np.append((hull.min(0) + hull.max(0)) / 2, 1))


def extent(drawn: Layer, matrices: np.ndarray) -> np.ndarray:
    """(..., 4) float64 boxes (x0, y0, x1, y1) of the layer drawn with each of the (..., 2, 3) matrices.

    A box is the tight extent of the whole object, to where its opacity is one half; hidden parts and parts
    outside the canvas count.
    """
    moved = drawn.hull @ np.swapaxes(matrices[..., :2], -1, -2) + matrices[..., None, :, 2] + 0.5
    return np.concatenate([moved.min(-2), moved.max(-2)], axis=-1)


def paste(canvas: np.ndarray, drawn: Layer, matrix: np.ndarray, kernel: np.ndarray | None = None) -> None:
    """Draw a layer on a canvas, in place.

    Args:
        canvas: (H, W, 3) uint8.
        drawn: the layer.
        matrix: (2, 3) float, from the layer's pixels to the canvas's.
        kernel: (K, K) float32 blur of ``blur``; None draws it sharp.
    """
    margin = 2 if kernel is None else 2 + kernel.shape[0] // 2
    x0, y0, x1, y1 = extent(drawn, matrix)
    x0, y0 = max(int(x0) - margin, 0), max(int(y0) - margin, 0)
    x1, y1 = min(int(x1 + 1) + margin, canvas.shape[1]), min(int(y1 + 1) + margin, canvas.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    local = matrix - np.array([[0, 0, x0], [0, 0, y0]])
    rgba = cv2.warpAffine(drawn.rgba, local, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    if kernel is not None:
        rgba = cv2.filter2D(rgba, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    rest = cv2.cvtColor(cv2.bitwise_not(cv2.extractChannel(rgba, 3)), cv2.COLOR_GRAY2RGB)
    region = canvas[y0:y1, x0:x1]
    region[:] = cv2.add(cv2.multiply(region, rest, scale=1 / 255), cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB))


def tint(rng: np.random.Generator, grey: bool) -> np.ndarray:
    """(256, 1, 3) uint8 random colours: two tones for grey images, a mild jitter for coloured ones."""
    level = np.linspace(0, 1, 256)[:, None] ** rng.uniform(0.75, 1.3)
    if grey:
        hue, shift = rng.uniform(0, 2 * np.pi), rng.uniform(-0.8, 0.8)
        third = np.array([0, 2, 4]) * np.pi / 3
        dark = 0.11 + 0.09 * np.cos(hue + shift + third)
        light = 0.86 + rng.uniform(0, 0.12) * np.cos(hue + third)
        table = dark + (light - dark) * level
    else:
        table = level * rng.uniform(0.88, 1.1, 3)
    return np.clip(np.rint(table * 255), 0, 255).astype(np.uint8)[:, None]


def is_grey(image: np.ndarray) -> bool:
    """True if the channels of a (3, H, W) image are equal."""
    return bool(np.array_equal(image[0], image[1]) and np.array_equal(image[0], image[2]))


def blur(motion: np.ndarray, defocus: float) -> np.ndarray | None:
    """(K, K) float32 kernel, K odd, of a straight motion and a Gaussian; None where neither would be seen.

    Args:
        motion: (2,) float, (x, y) in pixels; under 1 px is none.
        defocus: standard deviation in pixels; under 0.3 px is none.
    """
    stretch = float(np.hypot(motion[0], motion[1]))
    if stretch < 1 and defocus < 0.3:
        return None
    reach = int(np.ceil(stretch / 2 + 2 * max(defocus, 0.3)))
    grid = np.arange(-reach, reach + 1.0)
    along = np.linspace(-0.5, 0.5, int(2 * stretch) + 1)[:, None] if stretch >= 1 else np.zeros((1, 1))
    fall = -0.5 / max(defocus, 0.4) ** 2
    across = np.exp(fall * (grid - along * motion[0]) ** 2)
    down = np.exp(fall * (grid - along * motion[1]) ** 2)
    kernel = down.T @ across
    return (kernel / kernel.sum()).astype(np.float32)


def smooth(rng: np.random.Generator, length: int, every: float) -> np.ndarray:
    """(length,) smooth random curve of about -1 to 1 that turns about every ``every`` frames."""
    knots = rng.uniform(-1, 1, int(np.ceil(length / every)) + 4)
    return spline(knots[:, None], length, every, rng.uniform())[:, 0]


def spline(knots: np.ndarray, length: int, every: float, start: float = 0.0) -> np.ndarray:
    """(length, D) curve through (K, D) knots ``every`` frames apart (cubic, Catmull and Rom 1974)."""
    place = start + np.arange(length) / every
    first = np.minimum(place.astype(int), len(knots) - 4)
    t = (place - first)[:, None]
    a, b, c, d = (knots[first + shift] for shift in range(4))
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


def wander(
    rng: np.random.Generator, side: np.ndarray, low: np.ndarray, high: np.ndarray, fastest: float
) -> np.ndarray:
    """(T, 2) smooth random path of (x, y) in the rectangle between two corners.

    Args:
        rng: chance.
        side: (T,) float, size of what moves in pixels.
        low: (2,) float, the corner of least x and y.
        high: (2,) float, the corner of most x and y.
        fastest: most that it moves in a frame, in sides; a third of that is usual.
    """
    every, length = 7, len(side)
    knots = [rng.uniform(low, high)]
    heading = rng.uniform(0, 2 * np.pi)
    for _ in range(int(np.ceil(length / every)) + 3):
        reach = side.mean() * every * np.clip(rng.lognormal(np.log(fastest / 3), 0.6), 0.03, 0.85 * fastest)
        for _ in range(12):
            heading += rng.normal(0, 1)
            ahead = knots[-1] + reach * np.array([np.cos(heading), np.sin(heading)])
            if np.all((ahead >= low) & (ahead <= high)):
                break
        knots.append(np.clip(ahead, low, high))
    path = np.clip(spline(np.array(knots), length, every), low, high)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1) / np.minimum(side[1:], side[:-1])
    return path.mean(0) + (path - path.mean(0)) * min(1, fastest / max(steps.max(initial=0), fastest))


def poses(drawn: Layer, centre: np.ndarray, scale: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """(T, 2, 3) matrices that turn and scale a layer about its middle and put that at ``centre``.

    Args:
        drawn: the layer.
        centre: (T, 2) float, (x, y) in pixel centres.
        scale: (T,) float.
        angle: (T,) float, radians, clockwise as seen.
    """
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    return np.concatenate([turn, (centre - turn @ drawn.middle[:2])[..., None]], axis=-1)


def _hull(alpha: np.ndarray, finer: int = 8) -> np.ndarray:
    """(N, 2) convex hull of where the bilinear opacity passes one half, to about 1 / 16 px."""
    padded = cv2.copyMakeBorder(alpha, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    fine = cv2.resize(padded, None, fx=finer, fy=finer, interpolation=cv2.INTER_LINEAR)
    contours, _ = cv2.findContours((fine > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(np.concatenate(contours))[:, 0]
    return (hull + 0.5) / finer - 1.5
