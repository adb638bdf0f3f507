"""Panels of active labelling: the regions taken in an image, an image under its classes, and several as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from visionrl.rendering import Canvas

COLOURS = np.array(  # of classes, RGB; the first is transparent
    [
        (0, 0, 0),
        (80, 180, 255),
        (240, 70, 70),
        (250, 220, 80),
        (90, 200, 110),
        (220, 120, 230),
        (255, 150, 60),
    ],
    float,
)
SHARE = 0.55  # of a class's colour


def painted(image: np.ndarray, classes: np.ndarray, words: str) -> np.ndarray:
    """An image (C, H, W) under the colours of its classes, with words."""
    high, wide = image.shape[1:]
    held = cv2.resize(classes.astype(np.int32), (wide, high), interpolation=cv2.INTER_NEAREST)
    rgb = np.broadcast_to(image, (3, high, wide)).astype(float)
    colour = COLOURS[np.where(held > 0, 1 + (held - 1) % (len(COLOURS) - 1), 0)].transpose(2, 0, 1)
    mixed = np.where(held > 0, (1 - SHARE) * rgb + SHARE * colour, rgb)
    canvas = Canvas(np.rint(mixed).astype(np.uint8))
    canvas.text(words)
    return canvas.pixels


def with_regions(
    image: np.ndarray, boxes: Sequence[np.ndarray], orders: Sequence[int], words: str
) -> np.ndarray:
    """An image (C, H, W) with the regions that are taken, each with its place in the order, and words."""
    canvas = Canvas(image)
    for box, order in zip(boxes, orders, strict=True):
        canvas.box(box, "agent")
        canvas.text(str(order), (box[0] + 2 / canvas.zoom, box[1] + 18 / canvas.zoom))
    canvas.text(words)
    return canvas.pixels


def tiled(panels: Sequence[np.ndarray], columns: int, shape: tuple[int, ...]) -> np.ndarray:
    """Panels (H, W, 3), brought to one ``shape`` (H, W), in rows of some columns; what is left is black."""
    same = [cv2.resize(panel, shape[::-1], interpolation=cv2.INTER_AREA) for panel in panels]
    same += [np.zeros_like(same[0])] * (-len(same) % columns)
    rows = [np.concatenate(same[k : k + columns], axis=1) for k in range(0, len(same), columns)]
    return np.concatenate(rows)
