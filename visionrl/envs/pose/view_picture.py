"""Pictures of cameras about a body: from above, and the body from the front."""

from __future__ import annotations

import cv2
import numpy as np

from visionrl.rendering import PALETTE

SIDE = 300


def draw_views(
    centres: np.ndarray,
    looks: np.ndarray,
    pose: np.ndarray,
    truth: np.ndarray,
    links: np.ndarray,
    words: str,
) -> np.ndarray:
    """(300, 600, 3) uint8 RGB: the cameras seen from above, those looked through numbered, and the body.

    Args:
        centres: (V, 3), of the cameras, in the frame of the scene.
        looks: numbers of the cameras looked through, in order.
        pose: (J, 3), what was found.
        truth: (J, 3), NaN where unknown.
        links: (n, 2), bones.
        words: below.
    """
    canvas = np.full((SIDE, 2 * SIDE, 3), 24, np.uint8)
    far = np.abs(centres[:, :2]).max()

    def above(points: np.ndarray) -> np.ndarray:
        return np.asarray(points[..., [1, 0]] / far * (SIDE / 2 - 20) + SIDE / 2)

    for centre in above(centres):
        dot(canvas, centre, (110, 110, 110), 4)
    middle = above(pose.mean(axis=0))
    for order, look in enumerate(looks.tolist(), 1):
        place = above(centres[look])
        cv2.line(canvas, spot(middle), spot(place), PALETTE["look"], 1, cv2.LINE_AA, 4)
        dot(canvas, place, PALETTE["look"], 6)
        text(canvas, str(order), place + 6)
    for points, colour in ((truth, PALETTE["truth"]), (pose, PALETTE["agent"])):
        for place in above(points[~np.isnan(points[:, 0])]):
            dot(canvas, place, colour, 2)
    known = truth if not np.isnan(truth).any(axis=1).all() else pose
    centre = np.nanmean(known, axis=0)
    size = max(float(np.nanmax(np.abs(known - centre))), 1e-6) * 1.4

    def beside(points: np.ndarray) -> np.ndarray:
        flat = np.clip((points - centre)[:, 1:] * [1, -1] / size, -1.2, 1.2) * (SIDE / 2 - 20)
        return np.asarray(flat + np.array([1.5 * SIDE, SIDE / 2]))

    for points, colour in ((truth, PALETTE["truth"]), (pose, PALETTE["agent"])):
        flat = beside(points)
        for a, b in links.tolist():
            if not np.isnan(flat[[a, b]]).any():
                cv2.line(canvas, spot(flat[a]), spot(flat[b]), colour, 2, cv2.LINE_AA, 4)
        for place in flat[~np.isnan(flat[:, 0])]:
            dot(canvas, place, colour, 4)
    text(canvas, words, np.array([SIDE + 8, SIDE - 10]))
    return canvas


def spot(place: np.ndarray) -> tuple[int, int]:
    """A place in sixteenths of a pixel."""
    x, y = np.rint(np.asarray(place) * 16).astype(int).tolist()
    return x, y


def dot(canvas: np.ndarray, place: np.ndarray, colour: tuple[int, ...], radius: int) -> None:
    """Draw a filled circle."""
    cv2.circle(canvas, spot(place), radius * 16, colour, -1, cv2.LINE_AA, 4)


def text(canvas: np.ndarray, words: str, place: np.ndarray) -> None:
    """Write words."""
    x, y = np.rint(place).astype(int).tolist()
    cv2.putText(canvas, words, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
