"""Defects that are drawn into images of good parts: what an inspector learns from where no real ones are known.

``paste`` is the CutPaste of Li et al. (2021, "CutPaste: self-supervised learning for anomaly detection and
localization") with a soft edge, ``scratch`` their thin form of it as a line; the others are blots of dirt, holes and
places out of focus.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

KNOWN = ("paste", "scratch", "blot")
"""Kinds that stand in for real defects."""

Draw = Callable[[np.random.Generator, np.ndarray], tuple[np.ndarray, np.ndarray]]


def with_defect(rng: np.random.Generator, image: np.ndarray, kinds: Sequence[str] = KNOWN) -> tuple:
    """An image with one defect of a kind drawn by chance.

    Args:
        rng: all chance.
        image: (C, H, W) uint8; it is not written to.
        kinds: some of ``DEFECTS``.

    Returns:
        The image, (C, H, W) uint8; the mask, (H, W) uint8, 1 where the defect covers half of a pixel or more; the kind.
    """
    kind = str(kinds[int(rng.integers(len(kinds)))])
    pixels = image.transpose(1, 2, 0).astype(np.float32)
    while True:
        cover, fill = DEFECTS[kind](rng, pixels)
        mask = cover >= 0.5
        if mask.any():
            break
    mixed = pixels + cover[..., None] * (fill - pixels)
    drawn = np.clip(np.rint(mixed), 0, 255).astype(np.uint8).transpose(2, 0, 1)
    return np.ascontiguousarray(drawn), mask.astype(np.uint8), kind


def paste(rng: np.random.Generator, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The image itself, turned, two to three times smaller and of another brightness, in 0.5 to 2.5 % of the area."""
    height, width = pixels.shape[:2]
    shrunk = tuple(max(round(side / rng.uniform(2, 3)), 1) for side in (width, height))
    small = _planes(cv2.resize(np.rot90(pixels, int(rng.integers(4))), shrunk, interpolation=cv2.INTER_AREA))
    tiled = np.tile(small, (-(-height // small.shape[0]), -(-width // small.shape[1]), 1))[:height, :width]
    return _ellipse(rng, pixels.shape, 0.005, 0.025), tiled * np.float32(_either(rng, 0.6, 0.8))


def scratch(rng: np.random.Generator, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A bent line, brighter or darker than what it crosses."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    start, angle = rng.uniform(0.1, 0.9, 2) * (width, height), rng.uniform(0, 2 * np.pi)
    points = [start]
    for _ in range(8):
        angle += rng.normal(0, 0.25)
        points.append(points[-1] + side * rng.uniform(0.015, 0.05) * np.array([np.cos(angle), np.sin(angle)]))
    cover, scale = np.zeros((height, width), np.uint8), 16
    line = np.rint(scale * np.array(points)).astype(np.int32)[:, None]
    cv2.polylines(cover, [line], False, 255, max(round(side * rng.uniform(0.004, 0.012)), 1), cv2.LINE_AA, 4)
    return cover.astype(np.float32) / 255, pixels + np.float32(rng.choice([-1, 1]) * rng.uniform(50, 110))


def blot(rng: np.random.Generator, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A stain, under which the texture is still seen."""
    cover = _ellipse(rng, pixels.shape, 0.004, 0.02)
    return cover, pixels * np.float32(_either(rng, 0.45, 0.7))


def hole(rng: np.random.Generator, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A small even spot, dark or bright, which hides the texture."""
    cover = _ellipse(rng, pixels.shape, 0.001, 0.006)
    level = float(np.quantile(pixels, rng.choice([0.08, 0.92])))
    return cover, np.full_like(pixels, level)


def smear(rng: np.random.Generator, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A place out of focus."""
    width = min(pixels.shape[:2]) * rng.uniform(0.015, 0.03)
    return _ellipse(rng, pixels.shape, 0.008, 0.03), _planes(cv2.GaussianBlur(pixels, (0, 0), width))


DEFECTS: dict[str, Draw] = {"paste": paste, "scratch": scratch, "blot": blot, "hole": hole, "smear": smear}


def _ellipse(rng: np.random.Generator, shape: tuple[int, ...], least: float, most: float) -> np.ndarray:
    """(H, W) float32 opacity of an ellipse with a bumpy, soft edge, whose area is a share of the image's."""
    height, width = shape[:2]
    radius = np.sqrt(rng.uniform(least, most) * height * width / np.pi)
    stretch, turn = rng.uniform(0.6, 1.7), rng.uniform(0, np.pi)
    room = np.minimum(2 * radius, 0.45 * np.array([width, height]))
    x0, y0 = rng.uniform(room, np.array([width, height]) - room)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    along = (x - x0) * np.cos(turn) + (y - y0) * np.sin(turn)
    across = (y - y0) * np.cos(turn) - (x - x0) * np.sin(turn)
    bumps = rng.normal(0, 0.08, 3)
    angle = np.arctan2(across, along)
    wave = 1 + sum(b * np.cos((k + 2) * angle + 6 * b) for k, b in enumerate(bumps))
    distance = np.hypot(along / np.sqrt(stretch), across * np.sqrt(stretch)) / (radius * wave)
    return np.clip((1 - distance) * radius / 1.5 + 0.5, 0, 1).astype(np.float32)


def _either(rng: np.random.Generator, least: float, most: float) -> float:
    """A factor between two that darken, or one over it, which brightens as much."""
    factor = rng.uniform(least, most)
    return factor if rng.random() < 0.5 else 1 / factor


def _planes(pixels: np.ndarray) -> np.ndarray:
    """(H, W, C) of pixels from which OpenCV may have dropped an axis C of 1."""
    return pixels if pixels.ndim == 3 else pixels[..., None]
