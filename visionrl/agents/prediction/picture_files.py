"""Files of pictures that were restored, enlarged, put together or painted."""

from __future__ import annotations

import cv2
import numpy as np

from visionrl.agents.prediction.agent import Prediction
from visionrl.agents.prediction.outputs import Contents, png, writes
from visionrl.core.results import Picture, StrokePainting
from visionrl.rendering import Canvas, gif_bytes, hues


@writes(Picture)
def picture_files(prediction: Prediction) -> Contents:
    """A restored, enlarged or solved picture, a film of the steps, and a map of the operators, a panel a step.

    A solved puzzle has no such map: a swap is of two tiles, and the film shows it.
    """
    result: Picture = prediction.result  # type: ignore[assignment]
    found: Contents = {f"-{result.kind}.png": png(result.image.transpose(1, 2, 0))}
    if result.kind != "solved":
        found["-operators.png"] = png(operators_map(result))
    if film := result.film():
        found["-steps.gif"] = gif_bytes([Canvas(image, 1).pixels for image in film], fps=1.0)
    return found


@writes(StrokePainting)
def painting_files(prediction: Prediction) -> Contents:
    """A painting, its strokes as a drawing, and a film of them; the painting alone where a method has no strokes."""
    result: StrokePainting = prediction.result  # type: ignore[assignment]
    found: Contents = {"-painted.png": png(result.image.transpose(1, 2, 0))}
    if result.canvas is None:
        found["-strokes.svg"] = result.svg()
        found["-strokes.gif"] = gif_bytes([Canvas(image, 1).pixels for image in result.film()], fps=8.0)
    return found


def operators_map(result: Picture) -> np.ndarray:
    """Draw a map of the operators applied: (H, W, 3) uint8 RGB, panels of the steps side by side above a legend."""
    names = sorted({name for tile in result.tiles for name in tile.operators})
    steps = max(1, *(len(tile.shares()) for tile in result.tiles))
    colours = hues(len(names))
    width, height = result.size
    wide = max(width * steps, 120)
    picture = np.zeros((height + 16 * (len(names) + 1), wide, 3), np.uint8)
    for tile in result.tiles:
        (x, y), (high, across) = tile.corner, tile.image.shape[1:]
        own = colours[[names.index(name) for name in tile.operators]]
        maps = own[:, None, None] if tile.chosen is None else own[tile.chosen]
        for step, colour in enumerate(maps):
            left = x + step * width
            picture[y : y + high, left : left + across] = colour
    for row, (name, colour) in enumerate(zip(names, colours.tolist(), strict=True)):
        place = (6, height + 14 + 16 * row)
        cv2.putText(picture, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    return picture
