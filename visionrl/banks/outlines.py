"""Windows around objects whose outline is sought, with their true masks and outlines, held once for all episodes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from visionrl.banks.masks import UNNAMED, labels_of, mask_box
from visionrl.banks.patches import colored, shared
from visionrl.datasets.samples import ImageSample
from visionrl.ops import DeviceTable, Recalled
from visionrl.ops.grabcut import grabcut
from visionrl.ops.polygons import edge_mask, polygon_mask, signed_area

FINER = 4  # of the masks that outlines are taken from, against rounding
# of Douglas and Peucker's simplification, pixels of a window of 56
TOLERANCES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
FEW = 24  # vertices of an outline, if it can be that short
TRIED = 3  # simplifications whose vertices are moved to fit better
WORTH = 0.02  # of IoU, that more vertices must bring
SEED = 5
ROUNDS = 1  # of GrabCut; chosen on the validation split of the composites from 1, 3, 5, 8
INNER = 0.25  # side of the part that is certainly inside, in sides of the box; likewise from 0.25, 0.5
TURN, SHIFT, STRETCH = 30.0, 0.08, 0.12  # of copies: degrees, share of the box, share of its size


@dataclass(frozen=True)
class Found:
    """An object in an image.

    Attributes:
        image: number of the sample.
        label: of its mask; 0 where there is none.
        name: its class.
        box: (4,) float64, (x0, y0, x1, y1) edges, pixels of the file.
    """

    image: int
    label: int
    name: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class View:
    """The map from a window to its image.

    Attributes:
        matrix: (2, 3) float64, takes (x, y, 1) in pixels of the window to pixels of the file, edges as of boxes.
    """

    matrix: np.ndarray

    def to_file(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) points of the window in pixels of the file."""
        return points @ self.matrix[:, :2].T + self.matrix[:, 2]


class OutlineBank(Recalled):
    """The window around each object, its true mask, and outlines of few vertices as an expert draws them.

    Args:
        samples: images with a mask, or with boxes.
        found: the objects, see ``objects_in``.
        side: of the windows, pixels.
        grid: cells along each side, on whose middles vertices of polygons lie.
        context: the box is enlarged by this share before it is cut out as a square.
        copies: windows an object; all but the first are mirrored, turned, shifted and stretched at random.
        most: vertices that an outline may have.
        points: points of the closed spline.
        channels: 1 holds all grey, 3 all in RGB; None is RGB if an image is.
        start: "ellipse" or "grabcut", the contour that a spline begins as.

    Attributes:
        windows: (M, C, S, S) uint8, M = objects x copies, lent to any array library.
        masks: (M, S, S) bool, likewise; the largest part of an object, its holes filled.
        corners: (M, most, 2) int64, cells (x, y) of an outline's vertices, clockwise from the top; the last repeats.
        lengths: (M,) int64, how many they are.
        knots: (M, points, 2) float64, places on the outline for a closed spline, pixels of the window, clockwise.
        starts: (M, points, 2) float64, where the points of a spline begin, likewise.
        boxes: (M, 4) float64, the object's box in pixels of the window.
        views: M maps to the files.
    """

    def __init__(
        self,
        samples: Sequence[ImageSample],
        found: Sequence[Found],
        side: int,
        grid: int,
        context: float,
        copies: int,
        most: int,
        points: int,
        channels: int | None,
        start: str = "ellipse",
    ) -> None:
        self.found = [one for one in found for _ in range(copies)]
        self.channels = channels or max(samples[one.image].image.shape[0] for one in found)
        count = len(self.found)
        windows = np.zeros((count, self.channels, side, side), np.uint8)
        masks, boxes = np.zeros((count, side, side), bool), np.zeros((count, 4))
        corners = np.zeros((count, most, 2), np.int64)
        lengths, knots = np.ones(count, np.int64), np.full((count, points, 2), side / 2)
        self.views, starts = [], np.zeros((count, points, 2))
        for item, one in enumerate(self.found):
            sample, rng = samples[one.image], np.random.default_rng((SEED, item))
            view = view_of(one.box, side, context, rng if item % copies else None)
            self.views.append(view)
            windows[item] = cut(colored(sample.image, self.channels), view, side)
            boxes[item] = box_in(view, one.box)
            starts[item] = ellipse(boxes[item], points)
            if start == "grabcut":
                starts[item] = knots_of(
                    outline_of(outer(grabcut_of_box(windows[item], boxes[item]))), boxes[item], points
                )
            if sample.mask is None or not one.label:
                continue
            masks[item] = outer(cut_mask(sample.mask == one.label, view, side))
            if masks[item].any():
                outline = outline_of(masks[item])
                vertices = few_vertices(masks[item], grid, most)
                lengths[item] = len(vertices)
                corners[item] = vertices[np.minimum(np.arange(most), len(vertices) - 1)]
                knots[item] = knots_of(outline, boxes[item], points)
        self.windows, self.masks, self.corners = (
            DeviceTable(windows),
            DeviceTable(masks),
            DeviceTable(corners),
        )
        self.lengths, self.knots, self.boxes = DeviceTable(lengths), DeviceTable(knots), DeviceTable(boxes)
        self.starts = DeviceTable(np.clip(starts, 0, side))


def outline_bank(samples: Sequence[ImageSample], found: Sequence[Found], *args: object) -> OutlineBank:
    """The bank of some objects; environments over the same arrays share it."""
    arrays = [array for sample in samples for array in (sample.image, sample.mask, sample.boxes)]
    return shared(OutlineBank, arrays, samples, tuple(found), *args)


def objects_in(
    samples: Sequence[ImageSample], names: Sequence[str] | None, labelled: bool, smallest: int
) -> list[Found]:
    """The objects of all images: the labels of the masks; without labels the boxes, else the whole image.

    Args:
        samples: the images.
        names: keeps only objects of these classes; None keeps all.
        labelled: False asks for boxes and does not look at masks.
        smallest: objects whose box has a shorter longer side, pixels, are left out with a warning.

    Raises:
        ValueError: there is none.
    """
    if not labelled:
        return [one for item, sample in enumerate(samples) for one in prompts(item, sample)]
    every = [one for item, sample in enumerate(samples) for one in regions(item, sample)]
    if not every:
        raise ValueError("data must have images with masks, got none with a label > 0")
    kept = [one for one in every if names is None or one.name in names]
    if not kept:
        known = ", ".join(sorted({one.name for one in every}))
        raise ValueError(f"classes must be among {known}, got {', '.join(map(str, names or ()))}")
    large = [one for one in kept if max(one.box[2] - one.box[0], one.box[3] - one.box[1]) >= smallest]
    if not large:
        raise ValueError(f"objects must be >= {smallest} pixels long, got {len(kept)} smaller ones")
    if len(large) < len(kept):
        warnings.warn(
            f"{len(kept) - len(large)} objects shorter than {smallest} pixels are left out", stacklevel=2
        )
    return large


def regions(item: int, sample: ImageSample) -> list[Found]:
    """The objects of one image's mask, each with the extent of its label."""
    return [
        Found(item, label, name, mask_box(np.equal(np.asarray(sample.mask), label)))
        for label, name in labels_of(sample).items()
    ]


def prompts(item: int, sample: ImageSample) -> list[Found]:
    """The boxes of one image, else the image as one box."""
    whole = np.array([[0, 0, *sample.image.shape[:0:-1]]])
    boxes = whole if sample.boxes is None or not len(sample.boxes) else np.asarray(sample.boxes)
    labels = sample.labels or (UNNAMED,) * len(boxes)
    rows = zip(boxes.astype(float).tolist(), labels, strict=True)
    return [Found(item, 0, label, (x0, y0, x1, y1)) for (x0, y0, x1, y1), label in rows]


def view_of(box: Sequence[float], side: int, context: float, rng: np.random.Generator | None = None) -> View:
    """The square window around a box enlarged by a share; with ``rng`` mirrored, turned, shifted and stretched."""
    x0, y0, x1, y1 = box
    middle, length = np.array([x0 + x1, y0 + y1]) / 2, max(x1 - x0, y1 - y0)
    turn = np.eye(2)
    if rng is not None:
        angle = np.radians(rng.uniform(-TURN, TURN))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turn = turn @ np.diag([rng.choice([-1.0, 1.0]), 1.0])
        middle = middle + rng.uniform(-SHIFT, SHIFT, 2) * length
        length *= 1 + rng.uniform(-STRETCH / 2, STRETCH)
    linear = turn * (length * (1 + context) / side)
    return View(np.concatenate([linear, (middle - linear @ [side / 2, side / 2])[:, None]], axis=1))


def box_in(view: View, box: Sequence[float]) -> np.ndarray:
    """(4,) extent in the window of a box of the file."""
    x0, y0, x1, y1 = box
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    places = (corners - view.matrix[:, 2]) @ np.linalg.inv(view.matrix[:, :2]).T
    return np.concatenate([places.min(0), places.max(0)])


def cut(image: np.ndarray, view: View, side: int) -> np.ndarray:
    """(C, side, side) uint8 window of a (C, H, W) image, its border repeated outside; averaged where it shrinks."""
    scale = np.sqrt(abs(np.linalg.det(view.matrix[:, :2])))
    height, width = image.shape[1:]
    small = [max(round(width / scale), 1), max(round(height / scale), 1)] if scale > 1 else [width, height]
    shares = np.array([small[0] / width, small[1] / height])
    matrix = pixel_centres(view.matrix * shares[:, None])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found = []
    for plane in image:
        if scale > 1:
            plane = cv2.resize(plane, small, interpolation=cv2.INTER_AREA)
        found.append(
            cv2.warpAffine(plane, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        )
    return np.stack(found)


def cut_mask(mask: np.ndarray, view: View, side: int) -> np.ndarray:
    """(side, side) bool, pixels of a window of which more than half lie in an (H, W) bool mask; nothing outside."""
    matrix = pixel_centres(np.concatenate([view.matrix[:, :2] / FINER, view.matrix[:, 2:]], axis=1))
    flags, size = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, (side * FINER, side * FINER)
    fine = cv2.warpAffine(mask.astype(np.uint8), matrix, size, flags=flags)
    return fine.reshape(side, FINER, side, FINER).mean((1, 3)) > 0.5


def pixel_centres(matrix: np.ndarray) -> np.ndarray:
    """A (2, 3) map of edges of pixels as one of their centres, as OpenCV counts."""
    return np.concatenate([matrix[:, :2], (matrix @ [0.5, 0.5, 1.0] - 0.5)[:, None]], axis=1)


def outer(mask: np.ndarray) -> np.ndarray:
    """The largest part of an (H, W) bool mask, its holes filled."""
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not lines:
        return mask
    largest = max(lines, key=cv2.contourArea)
    return cv2.drawContours(np.zeros(mask.shape, np.uint8), [largest], -1, 1, cv2.FILLED).astype(bool)


def outline_of(mask: np.ndarray) -> np.ndarray:
    """(N, 2) float64 outline of an (S, S) bool mask of one part, pixels, clockwise."""
    fine = np.kron(mask, np.ones((FINER, FINER))).astype(np.uint8)
    lines, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = (max(lines, key=len)[:, 0].astype(float) + 0.5) / FINER
    return outline if signed_area(outline) >= 0 else outline[::-1]


def few_vertices(mask: np.ndarray, grid: int, most: int) -> np.ndarray:
    """(n, 2) int64 cells of a simpler outline, clockwise from the topmost: that of seven whose mask fits best.

    The fit is that of the mask at two pixels a cell, whatever its size. Of outlines that fit about as well, after each
    vertex has been moved by up to a cell, the one of fewest vertices is taken.

    Args:
        mask: (S, S) bool of one part, what it must fit.
        grid: cells along each side.
        most: vertices at most; more than 24 are taken only where no tolerance gives so few.
    """
    side = 2 * grid
    mask = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA) > 0.5
    outline = outline_of(outer(mask)) if mask.any() else np.array([[grid, grid], [grid, grid + 1.0]])
    cell, scores = 2, []
    for tolerance in TOLERANCES:
        lines = outline.astype(np.float32)[:, None]
        corners = cv2.approxPolyDP(lines, tolerance * side / 56, True)[:, 0].astype(float)
        cells = np.clip(np.rint(corners / cell - 0.5), 0, grid - 1).astype(np.int64)
        cells = cells[np.any(cells != np.roll(cells, 1, axis=0), axis=1)]
        if 3 <= len(cells) <= most:
            drawn = polygon_mask((cells + 0.5) * cell, side, side)
            fit = (drawn & mask).sum() / max((drawn | mask).sum(), 1)
            scores.append((len(cells) <= min(FEW, most), fit, cells))
    if not scores:
        low, high = outline.min(0), outline.max(0)
        box = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
        return np.clip(np.rint(box / cell - 0.5), 0, grid - 1).astype(np.int64)[:most]
    short = [one for one in scores if one[0]] or scores
    tried = [nudged(cells, mask, grid) for *_, cells in sorted(short, key=lambda one: -one[1])[:TRIED]]
    most_like = max(fit for _, fit in tried)
    best = min((cells for cells, fit in tried if fit >= most_like - WORTH), key=len)
    return np.roll(best, -int(np.lexsort((best[:, 0], best[:, 1]))[0]), axis=0)


def nudged(cells: np.ndarray, mask: np.ndarray, grid: int) -> tuple[np.ndarray, float]:
    """(n, 2) cells, each in turn moved to that neighbour with which the polygon fits the mask best, and the IoU."""
    side, count, cells, overlap = len(mask), len(cells), cells.copy(), 0.0
    ways = np.array([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)])
    ways = ways[np.argsort(np.abs(ways).sum(1), kind="stable")]  # to stay comes first
    drawn = polygon_mask((cells + 0.5) * side / grid, side, side)
    for k in range(count):
        before, after = cells[k - 1], cells[(k + 1) % count]
        tried = np.clip(cells[k] + ways, 0, grid - 1)
        corners = (
            (np.stack([np.broadcast_to(x, tried.shape) for x in (before, tried, after)]) + 0.5) * side / grid
        )
        joints = edge_mask(corners[0], corners[1], side, side) ^ edge_mask(corners[1], corners[2], side, side)
        masks = drawn ^ joints[0] ^ joints
        fit = (masks & mask).sum((1, 2)) / (masks | mask).sum((1, 2))
        fit[np.all(tried == before, axis=1) | np.all(tried == after, axis=1)] = -1
        best = int(np.argmax(fit))
        cells[k], drawn, overlap = tried[best], masks[best], float(fit[best])
    return cells, overlap


def ellipse(box: np.ndarray, points: int) -> np.ndarray:
    """(points, 2) places on the ellipse in a box (x0, y0, x1, y1), clockwise from the top."""
    turn = 2 * np.pi * np.arange(points) / points
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    return middle + half * np.stack([np.sin(turn), -np.cos(turn)], axis=1)


def knots_of(outline: np.ndarray, box: np.ndarray, points: int) -> np.ndarray:
    """(points, 2) places evenly along an outline, clockwise; they begin where all lie nearest to the box's ellipse."""
    lengths = np.linalg.norm(np.roll(outline, -1, axis=0) - outline, axis=1)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    closed, start = np.vstack([outline, outline[:1]]), ellipse(box, points)
    best, least = start, np.inf
    for first in np.arange(4 * points) / (4 * points):
        at = (first + np.arange(points) / points) % 1 * along[-1]
        places = np.stack([np.interp(at, along, closed[:, axis]) for axis in range(2)], axis=1)
        gap = float(((places - start) ** 2).sum())
        if gap < least:
            best, least = places, gap
    return best


def rectangle(box: np.ndarray, side: int) -> np.ndarray:
    """(side, side) bool, the pixels whose centres are in a box."""
    x0, y0, x1, y1 = box
    return polygon_mask(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]), side, side)


def grabcut_of_box(window: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(S, S) bool of GrabCut (Rother et al., 2004), the ellipse where it finds nothing.

    Outside the box is background, the middle of the box the object; the rest is asked.

    Args:
        window: (C, S, S) uint8.
        box: (4,) pixels of the window.
    """
    side, inside = window.shape[1], rectangle(box, window.shape[1])
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * INNER
    labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    labels[rectangle(np.concatenate([middle - half, middle + half]), side)] = cv2.GC_FGD
    both = (labels == cv2.GC_BGD).any() and (labels == cv2.GC_FGD).any()
    found = grabcut(window, labels, ROUNDS) if both else inside
    return found if found.any() else polygon_mask(ellipse(box, 48), side, side)
