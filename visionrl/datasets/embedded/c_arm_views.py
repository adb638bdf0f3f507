"""A C-arm about the embedded chest CT: real pixels, and what a detector of landmarks makes of each picture.

Each capture is a deformed copy of the CT (``embedded.volumes``) that lies a little turned and shifted on the table.
The C-arm takes 24 radiographs of it, from 12 turns half about the patient at two tilts. In each, vertebrae and ribs
are found by template matching, with templates of other copies, in a part of the picture about where the landmark
usually is. What overlaps is mistaken for something else, as in life: no error is drawn by chance.

All captures show ONE patient, as those of ``embedded.volumes``: splits differ in the family of deformations, in pose
and noise, never in anatomy.

Convention
    Places in the room are (x, y, z) in millimetres towards the patient's left, back and head, from the point that the
    C-arm turns about. Pictures show the head up, as the source sees the patient.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.embedded.volumes import chest_scan, subject
from visionrl.datasets.samples import ViewSample, VolumeSample
from visionrl.datasets.splits import SPLITS
from visionrl.ops.radiograph import Beam, Densities, render
from visionrl.ops.transforms import carry, to_matrix

COUNTS = {"train": 64, "val": 24, "test": 48}
LANDMARKS = (
    *("vertebrae_T4", "vertebrae_T6", "vertebrae_T8", "vertebrae_T10", "vertebrae_T12"),
    *("rib_left_4", "rib_left_6", "rib_left_8", "rib_right_4", "rib_right_6", "rib_right_8", "sternum"),
)
TURNS, TILTS = tuple(range(-90, 90, 15)), (-18, 18)
"""Degrees of the C-arm: the source from behind (0) towards the patient's left, and towards the head."""
SOURCE_MM, DETECTOR_MM = 700.0, 300.0
SIZE, PIXEL_MM = 128, 4.0
DETECTOR_PX = 3.0  # usual error of the template matching

_SEED = 7105
_TONE = (
    (0.0, 0.0),
    (50.0, 0.4),
    (90.0, 0.85),
    (200.0, 1.25),
    (255.0, 2.0),
)  # as of the CT under the other C-arm
_TEMPLATES, _SIDE, _REACH = 10, 31, 12  # copies that templates are made of; pixels
_SHIFT_MM, _TURN_DEG = 12.0, 8.0  # largest, along and about each axis


def directions() -> np.ndarray:
    """(24, 3, 3): of each view, right and down on the detector and the way of the beam."""
    found = []
    for tilt in np.radians(TILTS):
        for turn in np.radians(TURNS):
            back = np.array([np.sin(turn) * np.cos(tilt), np.cos(turn) * np.cos(tilt), np.sin(tilt)])
            right = np.array([-np.cos(turn), np.sin(turn), 0.0])
            found.append([right, np.cross(-back, right), -back])
    return np.array(found)


def c_arm_cameras() -> np.ndarray:
    """(24, 3, 4) cameras for places in the room."""
    focal, middle = (SOURCE_MM + DETECTOR_MM) / PIXEL_MM, (SIZE - 1) / 2
    inner = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    turns = directions()
    shifts = np.tile([0.0, 0.0, SOURCE_MM], (len(turns), 1))
    return np.asarray(inner @ np.concatenate([turns, shifts[..., None]], axis=2))


class CArmViews(GeneratedDataset[ViewSample]):
    """Captures of 24 radiographs each: 12 landmarks with places and scores of a detector, and where they truly are.

    Args:
        split: "train", "val" or "test".
        count: number of captures; by default 64, 24 or 48.

    Raises:
        ValueError: for an unknown split or a count below 1.
    """

    def __init__(self, split: str = "train", count: int | None = None) -> None:
        super().__init__(split, count, COUNTS)

    def _make(self, number: int) -> ViewSample:
        films, points = radiographs(self.split, number)
        places, scores = found_in(films)
        return ViewSample(
            c_arm_cameras(),
            LANDMARKS,
            places,
            scores,
            points,
            np.full((len(films), 2), SIZE),
            tuple(f"{turn:+d}/{tilt:+d}" for tilt in TILTS for turn in TURNS),
            np.array([(0, 1), (1, 2), (2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10)]),
            DETECTOR_PX,
            f"c-arm-{self.split}-{number}",
        )


def radiographs(split: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The radiographs of a capture, (24, 128, 128) uint8, and its landmarks (12, 3), millimetres in the room."""
    volume = subject(chest_scan(), split, number)
    rng = np.random.default_rng((_SEED, SPLITS.index(split), number))
    motion = rng.uniform(-1, 1, (1, 6)) * np.repeat([_SHIFT_MM, _TURN_DEG], 3)
    pose = to_matrix(motion, "rigid", 3)
    middle = (np.array(volume.volume.shape[:0:-1]) - 1) / 2
    nowhere = np.full(3, np.nan)
    voxels = np.array([volume.points.get(name, nowhere) for name in LANDMARKS])
    points = carry(pose, ((voxels - middle) * volume.spacing_mm)[None])[0]
    return exposures(rng, shadows(volume, pose[0])), points


def shadows(volume: VolumeSample, pose: np.ndarray) -> np.ndarray:
    """(24, 128, 128) float32, attenuation along each ray, millimetres of water."""
    table = np.interp(np.arange(256), *np.array(_TONE).T).astype(np.float32)
    voxels = np.take(table, volume.volume[0])
    spacing = np.asarray(volume.spacing_mm, float)[None]
    bodies = {across: Densities([voxels], spacing, across) for across in ("x", "y")}
    corner = (SIZE - 1) / 2 * PIXEL_MM
    linear, shift = pose[:, :3], pose[:, 3]
    out = []
    for right, down, ahead in directions():
        source = -SOURCE_MM * ahead
        first = DETECTOR_MM * ahead - corner * (right + down)
        ends = [source - shift, first - shift, right * PIXEL_MM, down * PIXEL_MM]
        across = "y" if abs(ahead[1]) >= abs(ahead[0]) else "x"
        beam = Beam(*((end @ linear)[None] for end in ends))
        out.append(render(bodies[across], np.zeros(1, np.int64), beam, SIZE)[0])
    return np.array(out)


def exposures(rng: np.random.Generator, thickness: np.ndarray) -> np.ndarray:
    """Radiographs of thicknesses, uint8: edges enhanced, a gamma of their own, noise."""
    films = []
    for part in thickness:
        flat = part - 0.8 * cv2.GaussianBlur(part, (0, 0), 12.0)
        low, high = np.percentile(flat, (1.0, 99.5))
        film = np.clip((flat - low) / max(high - low, 1e-3), 0, 1) ** np.exp(rng.uniform(-0.25, 0.25))
        film += rng.normal(0, rng.uniform(0.01, 0.035), film.shape)
        films.append(np.clip(np.rint(255 * film), 0, 255))
    return np.array(films).astype(np.uint8)


def seen_at(points: np.ndarray) -> np.ndarray:
    """Project places (J, 3), millimetres, into the 24 views: (24, J, 2) pixels."""
    cameras = c_arm_cameras()
    seen = points @ cameras[:, :, :3].transpose(0, 2, 1) + cameras[:, None, :, 3]
    return np.asarray(seen[..., :2] / seen[..., 2:])


@lru_cache(maxsize=1)
def _templates() -> tuple[np.ndarray, np.ndarray]:
    """Patches of each landmark in each view, (10, 24, 12, 31, 31) float32, and its usual place (24, 12, 2).

    They are of ten copies that no split has.
    """
    half = _SIDE // 2
    patches, places = [], []
    for number in range(_TEMPLATES):
        films, points = radiographs("train", 10_000 + number)
        seen = seen_at(points)
        places.append(seen)
        corners = np.rint(np.nan_to_num(seen, nan=SIZE / 2)).astype(int)
        padded = np.pad(films, ((0, 0), (half, half), (half, half)), mode="edge").astype(np.float32)
        corners = np.clip(corners, 0, SIZE - 1)
        patches.append(
            [
                [padded[view, y : y + _SIDE, x : x + _SIDE] for x, y in row]
                for view, row in enumerate(corners.tolist())
            ]
        )
    return np.array(patches, np.float32), np.nanmean(places, axis=0)


def found_in(films: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the landmarks by template matching: places (24, 12, 2), pixels, and scores (24, 12), correlations.

    A place whose template would reach out of the picture cannot be found. The score is 0 where the search has no place.
    """
    templates, usual = _templates()
    places, scores = np.full(usual.shape, np.nan), np.zeros(usual.shape[:2])
    half = _SIDE // 2
    for view, film in enumerate(films.astype(np.float32)):
        for joint, (x, y) in enumerate(np.rint(usual[view]).astype(int).tolist()):
            left, top = max(x - _REACH - half, 0), max(y - _REACH - half, 0)
            area = film[top : max(y + _REACH + half + 1, 0), left : max(x + _REACH + half + 1, 0)]
            if min(area.shape) < _SIDE:
                continue
            fits = np.array(
                [cv2.matchTemplate(area, one[view, joint], cv2.TM_CCOEFF_NORMED) for one in templates]
            )
            _, row, column = np.unravel_index(fits.argmax(), fits.shape)
            places[view, joint] = left + column + half, top + row + half
            scores[view, joint] = np.clip(fits.max(), 0.01, 1.0)
    return places, scores
