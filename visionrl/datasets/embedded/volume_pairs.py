"""Pairs of volumes with known maps between them, made of one real chest CT and one real template of the brain.

A pair is one subject, that is the scan deformed as in ``datasets.volumes``, seen by two scanners: other voxels,
contrast, bias field and noise, and moved by a rigid, similarity or affine map. The map is exact to 0.2 mm on average,
since the deformation is linear between nodes 9 to 18 mm apart. Pairs of the chest and of the brain alternate. Landmarks
and labels are carried along. All subjects are ONE anatomy each; as there, the splits differ in the family of the
deformations and in every seed, so a score on "test" says nothing about other people, and ``subject`` is left empty.

Of "multimodal" pairs the moving volume is another modality: the tissue map of the brain's T1 image, or a contrast of
the CT in which bright and dark are swapped more than once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.embedded.pairs import KINDS
from visionrl.datasets.embedded.volumes import Scan, chest_scan, mni_scan
from visionrl.datasets.samples import PairSample
from visionrl.datasets.splits import SPLITS
from visionrl.ops.deform import (
    FAMILIES,
    Grid,
    ScanDeformation,
    random_flow,
    rescan,
    rotation_zyx,
    sample_scan,
)

COUNTS = {"train": 16, "val": 8, "test": 24}
SPACING_MM = {"chest": 4.5, "mni": 3.0}  # of the scanners, about

_SEED = 20251124
_TURN, _SHIFT, _STRETCH, _SHEAR = (
    12.0,
    10.0,
    0.12,
    0.08,
)  # of a pair's own map: degrees, mm, log of scale, shear
_ORDER = [2, 1, 0]  # (z, y, x) <-> (x, y, z)

Place = Callable[[np.ndarray], np.ndarray]
"""From millimetres about a new scan's middle to voxels of the source; see ``ops.deform.random_flow``."""


class VolumePairs(GeneratedDataset[PairSample]):
    """A split of pairs of volumes.

    Pair ``i`` depends on the split, the kind, the modalities and on ``i`` alone. Its own map turns by up to 12 degrees
    and shifts by up to 10 mm along each axis; a similarity also stretches by up to 13 %, an affine map stretches each
    axis so and shears by up to 0.08.

    Args:
        multimodal: whether the moving volume is of another modality.
        split: "train", "val" or "test".
        kind: "rigid", "similarity" or "affine".
        count: number of pairs; by default 16, 8 or 24.

    Raises:
        ValueError: for an unknown split or kind, or a count below 1.
    """

    def __init__(
        self, multimodal: bool = False, split: str = "train", kind: str = "rigid", count: int | None = None
    ) -> None:
        """Generates nothing yet: a pair is generated at each access."""
        super().__init__(split, count, COUNTS)
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
        self.multimodal, self.kind = multimodal, kind

    def _make(self, number: int) -> PairSample:
        part = SPLITS.index(self.split)
        rng = np.random.default_rng((_SEED, part, KINDS.index(self.kind), self.multimodal, number))
        scan = (chest_scan, mni_scan)[number % 2]()
        place = random_flow(rng, FAMILIES[part], Grid(scan.volume.shape, scan.spacing_mm), scan.strength_mm)
        matrix = own_map(rng, self.kind)
        values = other_modality(rng, scan) if self.multimodal else scan.volume
        first = _seen(rng, scan, scan.volume, place, np.eye(3, 4))
        second = _seen(rng, scan, values, place, matrix)
        names = ("ct", "contrast") if scan.name == "chest" else ("t1", "tissue")
        modalities = names if self.multimodal else (names[0], names[0])
        return _joined(first, second, matrix, modalities, f"{scan.name}-{self.split}-{number}")


def own_map(rng: np.random.Generator, kind: str) -> np.ndarray:
    """(3, 4) random map, (z, y, x) in millimetres from the middle of the fixed volume to that of the moving one."""
    linear = rotation_zyx(np.radians(rng.uniform(-_TURN, _TURN, 3)))
    stretch, shear = rng.uniform(-_STRETCH, _STRETCH, 3), rng.uniform(-_SHEAR, _SHEAR, 3)
    if kind == "similarity":
        linear = linear * np.exp(stretch[0])
    elif kind == "affine":
        upper = np.eye(3)
        upper[[0, 0, 1], [1, 2, 2]] = shear
        linear = linear @ np.diag(np.exp(stretch)) @ upper
    return np.column_stack([linear, rng.uniform(-_SHIFT, _SHIFT, 3)])


def other_modality(rng: np.random.Generator, scan: Scan) -> np.ndarray:
    """(D, H, W) float32 grey of what another device would show of a scan."""
    if scan.name == "mni":
        tones = np.array([0.0, rng.uniform(60, 110), rng.uniform(150, 240)], np.float32)
        return np.take(tones if rng.random() < 0.5 else tones[[0, 2, 1]], scan.labels)
    knots = (0, 50, 90, 140, 200, 255)
    values = (0, rng.uniform(90, 140), rng.uniform(180, 250), rng.uniform(70, 130), 40, 20)
    return np.interp(scan.volume, knots, values).astype(np.float32)


@dataclass(frozen=True)
class _View:
    """One of the two volumes of a pair.

    Attributes:
        grid: of its voxels.
        volume: (D, H, W) uint8.
        labels: (D, H, W).
        points: (N, 3) landmarks (z, y, x), voxels; some may lie outside.
    """

    grid: Grid
    volume: np.ndarray
    labels: np.ndarray
    points: np.ndarray


def _seen(
    rng: np.random.Generator, scan: Scan, values: np.ndarray, place: Place, matrix: np.ndarray
) -> _View:
    """A subject moved by a map and seen by a new scanner."""
    size = np.array(scan.volume.shape) * scan.spacing_mm * rng.uniform(0.97, 1.05, 3)
    spacing = np.round(SPACING_MM[scan.name] * rng.uniform(0.9, 1.1, 3), 3)
    grid = Grid(tuple(np.rint(size / spacing).astype(int).tolist()), spacing)
    back = np.linalg.inv(matrix[:, :3])
    nodes = (grid.nodes() - matrix[:, 3]) @ back.T
    bent = ScanDeformation(Grid(scan.volume.shape, scan.spacing_mm), grid, place(nodes))
    grey, labels = sample_scan(values, scan.labels, bent.everywhere())
    return _View(grid, rescan(rng, grey, scan.noise), labels, bent.carry(_fiducials(scan.name)))


@lru_cache
def _fiducials(name: str) -> np.ndarray:
    """(N, 3) landmarks (z, y, x) of a scan, voxels."""
    return np.stack(list((chest_scan if name == "chest" else mni_scan)().points.values()))


def _joined(
    first: _View, second: _View, matrix: np.ndarray, modalities: tuple[str, str], name: str
) -> PairSample:
    """Two views as a pair; its points are the landmarks that both show."""
    inside = np.all(
        [((v.points >= 0) & (v.points <= np.array(v.grid.shape) - 1)).all(axis=1) for v in (first, second)],
        axis=0,
    )
    corners = np.concatenate([np.zeros((1, 3)), np.eye(3)])  # of the fixed volume, voxels
    mm = first.grid.to_mm(corners) @ matrix[:, :3].T + matrix[:, 3]
    there = second.grid.to_voxels(mm)
    voxels = np.column_stack([(there[1:] - there[0]).T, there[0]])[_ORDER][:, [*_ORDER, 3]]
    return PairSample(
        first.volume[None],
        second.volume[None],
        first.points[inside][:, ::-1].copy(),
        second.points[inside][:, ::-1].copy(),
        voxels,
        modalities=modalities,
        spacing_mm=np.stack([view.grid.spacing[::-1] for view in (first, second)]),
        fixed_mask=first.labels,
        moving_mask=second.labels,
        name=name,
    )
