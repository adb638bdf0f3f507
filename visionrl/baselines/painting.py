"""Painting without learning: one colour, strokes by chance or along edges, rectangles; colours and forms of a style."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from visionrl.core import baseline
from visionrl.envs.enhancement.brush import THINNEST, WIDEST
from visionrl.envs.enhancement.painting import Painting, State

Run = Callable[[Painting, State], State]
RADII = (0.16, 0.08, 0.04)  # of the layers of brush strokes, shares of the side
TRIED = 16
TRAINED, UNTRAINED = 10.0, 2.0  # weight of the Gram matrices of a network, where the content has 1


@baseline("Painting-v0", "mean colour", learns=False)
def mean_color(train: None) -> Run:
    """One stroke over the whole canvas, in the mean colour of the picture."""
    everywhere = np.array([[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0]])

    def run(task: Painting, state: State) -> State:
        return ended(task, painted(task, state, np.repeat(everywhere, len(state.image), axis=0), 0))

    return run


@baseline("Painting-v0", "random strokes, fitted", learns=False)
def random_strokes(train: None) -> Run:
    """Strokes by chance, each in the colour that fits best."""
    return lambda task, state: by_chance(task, state, 1)


@baseline("Painting-v0", "best of 16 random strokes", learns=False)
def best_random_strokes(train: None) -> Run:
    """The best of 16 strokes by chance each time, by the squared error that is left; colours fit best."""
    return lambda task, state: by_chance(task, state, TRIED)


@baseline("Painting-v0", "brush strokes along edges", learns=False)
def strokes_along_edges(train: None) -> Run:
    """Layers from coarse to fine; a stroke at the place of the largest error, across the gradient of the picture.

    After Hertzmann (1998), "Painterly rendering with curved brush strokes of multiple sizes"; strokes are straight, and
    their colour fits best.
    """

    def run(task: Painting, state: State) -> State:
        strokes = task.steps * task.bundle
        for number in range(strokes):
            radius = RADII[number * len(RADII) // strokes]
            state = painted(task, state, along_edges(task, state, radius), number)
        return ended(task, state)

    return run


@baseline("Painting-v0", "rectangles (quadtree)", learns=False)
def quadtree(train: None) -> Run:
    """As many rectangles of their mean colour as there are strokes; the worst is cut into four again and again."""

    def run(task: Painting, state: State) -> State:
        pictures = task.levels(state)
        canvas = np.stack([rectangles(picture, task.steps * task.bundle) for picture in pictures])
        return task.finish(state, canvas=canvas.astype(np.float32))

    return run


@baseline("Painting-v0", "Reinhard colour transfer", learns=False, needs="style")
def reinhard(train: None) -> Run:
    """The picture itself, its colours moved and stretched to the mean and deviation of the style's in CIELAB.

    "Color transfer between images", Reinhard et al., 2001, who use l-alpha-beta; intensities alone in grey. It needs a
    ``style``.
    """

    def run(task: Painting, state: State) -> State:
        style = task.colors.pixels
        pictures = np.stack([transferred(picture, style) for picture in task.levels(state)])
        return task.finish(state, canvas=pictures.astype(np.float32))

    return run


@baseline("Painting-v0", "Gatys et al.", learns=False, needs="style")
def gatys(train: None) -> Run:
    """The picture itself, its pixels changed by gradient descent until a network's Gram matrices are the style's.

    "Image style transfer using convolutional neural networks", Gatys et al., 2016; see
    ``visionrl.backbones.style.stylized``. The network is MobileNetV2, with the weights of ``style_network`` or by
    chance. It needs a ``style``.
    """
    from visionrl.backbones.style import stylized  # torch, which takes seconds

    def run(task: Painting, state: State) -> State:
        weight = UNTRAINED if task.style_network is None else TRAINED
        canvas = stylized(task.levels(state), task.style_picture, weight, task.style_network)
        return task.finish(state, canvas=canvas)

    return run


def by_chance(task: Painting, state: State, tried: int) -> State:
    """The last state after strokes by chance, of which the best of ``tried`` is painted each time."""
    rng, rows = np.random.default_rng(0), np.arange(len(state.image))
    for number in range(task.steps * task.bundle):
        offers = np.stack([random_geometry(rng, len(rows)) for _ in range(tried)])
        best = offers[0]
        if tried > 1:
            left = np.stack([task.l2(painted(task, state, one, number)) for one in offers])
            best = offers[left.argmin(axis=0), rows]
        state = painted(task, state, best, number)
    return ended(task, state)


def random_geometry(rng: np.random.Generator, rows: int) -> np.ndarray:
    """(rows, 10) straight opaque strokes, ends and radius uniform in the ranges of a continuous brush."""
    ends = rng.uniform(size=(rows, 2, 2))
    radius = rng.uniform(THINNEST, WIDEST, (rows, 1))
    middle = ends.mean(axis=1)
    return np.concatenate([ends[:, 0], middle, ends[:, 1], radius, radius, np.ones((rows, 2))], axis=1)


def along_edges(task: Painting, state: State, radius: float) -> np.ndarray:
    """(B, 10) strokes at the largest error, across the gradient, four radii long; the radius is a share of the side."""
    found, pixels = [], radius * task.side
    for picture, canvas in zip(task.levels(state), state.canvas, strict=True):
        error = cv2.GaussianBlur(((picture - canvas) ** 2).sum(axis=0), (0, 0), max(pixels, 0.8))
        y, x = np.unravel_index(error.argmax(), error.shape)
        smooth = cv2.GaussianBlur(picture.mean(axis=0), (0, 0), max(pixels, 0.8))
        slope = np.array([cv2.Sobel(smooth, cv2.CV_32F, *order)[y, x] for order in ((1, 0), (0, 1))])
        length = np.linalg.norm(slope)
        along = np.array([-slope[1], slope[0]]) / length if length > 0 else np.array([1.0, 0.0])
        middle = (np.array([x, y]) + 0.5) / task.side
        half = 2 * radius * along
        found.append([*(middle - half), *middle, *(middle + half), radius, radius, 1.0, 1.0])
    return np.array(found)


def painted(task: Painting, state: State, geometry: np.ndarray, number: int) -> State:
    """The state after the strokes (B, 10) of one number, in the colours that fit best; its steps are not counted."""
    return task.paint_stroke(state, geometry, np.full(len(geometry), number), True)


def ended(task: Painting, state: State) -> State:
    """The last state, with the canvas of a state."""
    return task.finish(state, canvas=state.canvas)


def rectangles(picture: np.ndarray, count: int) -> np.ndarray:
    """A picture (C, S, S) as at most ``count`` rectangles of their mean colour."""
    parts = [(0, 0, *picture.shape[1:])]

    def error(part: tuple[int, ...]) -> float:
        y0, x0, y1, x1 = part
        own = picture[:, y0:y1, x0:x1]
        small = min(y1 - y0, x1 - x0) < 2
        return -1.0 if small else float(((own - own.mean(axis=(1, 2), keepdims=True)) ** 2).sum())

    while len(parts) + 3 <= count:
        worst = max(parts, key=error)
        if error(worst) <= 0:
            break
        y0, x0, y1, x1 = worst
        y, x = (y0 + y1) // 2, (x0 + x1) // 2
        parts.remove(worst)
        parts += [(y0, x0, y, x), (y0, x, y, x1), (y, x0, y1, x), (y, x, y1, x1)]
    canvas = np.empty_like(picture)
    for y0, x0, y1, x1 in parts:
        canvas[:, y0:y1, x0:x1] = picture[:, y0:y1, x0:x1].mean(axis=(1, 2), keepdims=True)
    return canvas


def transferred(picture: np.ndarray, style: np.ndarray) -> np.ndarray:
    """A picture (C, H, W) of grey levels with the colours of a style, (N, C) grey levels."""
    if len(picture) == 1:
        return matched(picture[0], style[:, 0]).clip(0, 255)[None]
    lab, wanted = (
        cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        for pixels in (np.ascontiguousarray(picture.transpose(1, 2, 0)), np.ascontiguousarray(style[None]))
    )
    moved = np.stack([matched(lab[..., k], wanted[..., k]) for k in range(3)], axis=-1)
    return (255 * cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_LAB2RGB).clip(0, 1)).transpose(2, 0, 1)


def matched(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Values moved and stretched to the mean and deviation of others."""
    return (values - values.mean()) / (values.std() + 1e-6) * others.std() + others.mean()
