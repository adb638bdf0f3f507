"""Trace bricks, galaxies and words in scikit-image's photographs: write visionrl/datasets/embedded/data/objects.json.

Each is found by a threshold and a rule of size; words are named by what they say, so that one word never lies in
two splits. Only outlines are stored: the pixels stay in the installed scikit-image.
Run: ``python scripts/make_objects.py``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np

from visionrl.datasets.embedded.objects import picture

OUT = Path(__file__).resolve().parents[1] / "visionrl" / "datasets" / "embedded" / "data" / "objects.json"

TEXT = """Region-based segmentation
Let us first determine markers of the coins and the
background. These markers are pixels that we can label
unambiguously as either object or background. Here,
the markers are found at the two extreme parts of the"""


def parts(mask: np.ndarray) -> list[np.ndarray]:
    """The (H, W) uint8 masks of the connected parts that do not touch the edge."""
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    height, width = mask.shape
    inside = [
        number
        for number, (x, y, w, h, _) in enumerate(stats)
        if number > 0 and x > 0 and y > 0 and x + w < width and y + h < height
    ]
    return [(numbers == number).astype(np.uint8) for number in inside]


def hull(mask: np.ndarray, grow: int = 0) -> np.ndarray:
    """(N, 2) convex hull of a mask, ``grow`` pixels wider."""
    if grow:
        mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1)))
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.convexHull(max(contours, key=cv2.contourArea))[:, 0]


def bricks() -> list[np.ndarray]:
    """Outlines of the whole bricks: darker than the mortar."""
    grey = cv2.GaussianBlur(picture("brick.png")[0], (0, 0), 1.0)
    level = cv2.blur(grey, (61, 61)).astype(float)
    dark = cv2.morphologyEx((grey < level + 4).astype(np.uint8), cv2.MORPH_OPEN, np.ones((7, 7), np.uint8))
    return [hull(mask) for mask in parts(dark) if 700 < mask.sum() < 6000]


def galaxies() -> list[np.ndarray]:
    """Outlines of the galaxies of 17 pixels and more: brighter than the sky."""
    bright = cv2.GaussianBlur(picture("hubble_deep_field.jpg").max(0), (0, 0), 1.2) > 62
    masks = parts(cv2.morphologyEx(bright.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    found = [hull(mask, grow=2) for mask in masks]
    return [outline for outline in found if 17 <= max(np.ptp(outline, axis=0)) <= 80]


def words() -> dict[str, np.ndarray]:
    """Outlines of the printed words: ink, joined over the gaps between letters, with a margin of paper."""
    grey = picture("page.png")[0]
    ink = (cv2.GaussianBlur(grey, (31, 31), 0).astype(float) - grey > 14).astype(np.uint8)
    ink[121:] = 0
    padded = cv2.copyMakeBorder(ink, 9, 9, 9, 9, cv2.BORDER_CONSTANT)
    joined = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((3, 5), np.uint8))[9:-9, 9:-9]
    extents = np.array([cv2.boundingRect(mask) for mask in parts(joined)])
    extents = extents[(extents[:, 2] >= 10) & (extents[:, 3] >= 7)]  # leaves out the rule and the dots
    baseline = extents[:, 1] + extents[:, 3] / 2
    lines = [extents[np.abs(baseline - y) < 8] for y in (22, 56, 74, 92, 109)]
    found = [extent for line in lines for extent in line[np.argsort(line[:, 0])]]
    if len(found) != len(TEXT.split()):
        raise ValueError(f"there must be {len(TEXT.split())} words, found {len(found)}")
    corners = {}
    for number, (text, (x, y, width, height)) in enumerate(zip(TEXT.split(), found, strict=True), 1):
        left, top, right, bottom = x - 2, y - 2, x + width + 1, y + height + 1
        corners[f"{text.strip('.,').lower()} {number}"] = np.array(
            [(left, top), (right, top), (right, bottom), (left, bottom)]
        )
    return corners


def main() -> None:
    """Trace every object and write the file."""
    shapes = [("brick", f"brick {j}", "brick.png", outline) for j, outline in enumerate(bricks(), 1)]
    shapes += [
        ("galaxy", f"galaxy {j}", "hubble_deep_field.jpg", outline) for j, outline in enumerate(galaxies(), 1)
    ]
    shapes += [("word", name, "page.png", outline) for name, outline in words().items()]
    lines = [
        json.dumps({"class": kind, "name": name, "photograph": source, "outline": outline.tolist()})
        for kind, name, source, outline in shapes
    ]
    temporary = OUT.with_suffix(".tmp")
    temporary.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    os.replace(temporary, OUT)
    print(f"{len(lines)} outlines -> {OUT}")


if __name__ == "__main__":
    main()
