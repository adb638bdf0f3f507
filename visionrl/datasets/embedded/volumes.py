"""Volumes with landmarks: many subjects made of one real chest CT, and of one real template of the brain.

A subject is the scan, deformed smoothly and invertibly, then seen by another scanner: other voxels, contrast, bias
field and noise (``datasets.deform``). Labels and landmarks are carried along, so they are exact.

All subjects of a set are ONE anatomy. The splits differ in the family of the deformations ("noise" in train,
"bumps" in val, "waves" in test), in all that the scanner does, and in every seed, never in the person: a score on
"test" says nothing about other people. Hence ``subject`` is left empty. Origins and licences: NOTICE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from visionrl.datasets.embedded.chest import chest_ct
from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.samples import VolumeSample
from visionrl.datasets.splits import SPLITS
from visionrl.ops.deform import FAMILIES, Grid, ScanDeformation, random_flow, rescan, sample_scan

COUNTS = {"train": 24, "val": 8, "test": 16}
SMALLEST = 64  # voxels of a structure whose centroid is a landmark

_ARCHIVE = Path(__file__).parent / "data" / "mni152_2mm.npz"
_SEED = 20251122
_TONE = ((-1024, 0), (-600, 50), (-150, 90), (250, 200), (1016, 255))  # Hounsfield units -> grey levels


@dataclass(frozen=True)
class Scan:
    """A scan that subjects are generated from.

    Attributes:
        name: of the scan.
        volume: (D, H, W) float32 in [0, 255].
        labels: (D, H, W) uint8.
        names: name of each label.
        spacing_mm: (z, y, x).
        points: name -> (z, y, x) in voxels.
        strength_mm: root mean square velocity of the deformations.
        noise: grey levels, at most.
    """

    name: str
    volume: np.ndarray
    labels: np.ndarray
    names: dict[int, str]
    spacing_mm: np.ndarray
    points: dict[str, np.ndarray]
    strength_mm: float
    noise: float


@lru_cache(maxsize=1)
def chest_scan() -> Scan:
    """The embedded chest CT, 4 mm, with more grey levels for soft tissue than for the rest.

    Its points are the centroids of the structures that have 64 voxels or more and are not cut off by its border.
    """
    ct = chest_ct()
    grey = np.interp(ct.volume, *np.array(_TONE, float).T).astype(np.float32)
    names = {k: name for k, name in enumerate(ct.names) if name and k}
    cut = {int(k) for axis in range(3) for k in np.unique(ct.labels.take([0, -1], axis))}
    whole = {k: name for k, name in names.items() if k not in cut}
    points = {name: at[::-1] for name, at in centroids(ct.labels, whole, SMALLEST).items()}
    return Scan("chest", grey, ct.labels, names, np.array(ct.spacing_mm), points, strength_mm=9.0, noise=6.0)


@lru_cache(maxsize=1)
def mni_scan() -> Scan:
    """The embedded template of the brain, MNI152 (nonlinear, symmetric, 2009): T1, 2 mm, without the skull.

    Its labels are grey and white matter; its points are the 32 anatomical fiducials of Lau et al. (2019), named by
    their abbreviations: "AC" and "PC" are the anterior and posterior commissures.
    """
    with np.load(_ARCHIVE, allow_pickle=False) as archive:
        volume, labels = archive["t1"].astype(np.float32), archive["labels"]
        points = dict(zip(archive["names"].tolist(), archive["points"][:, ::-1], strict=True))
        spacing = archive["spacing_mm"]
    names = {1: "grey matter", 2: "white matter"}
    return Scan("mni", volume, labels, names, spacing, points, strength_mm=6.0, noise=8.0)


class DeformedVolumes(GeneratedDataset[VolumeSample]):
    """A split of subjects made of one scan.

    Subject ``i`` depends on the split and on ``i`` alone. Their sizes differ by up to 8 % and their spacings by up to
    10 %, along each axis apart.

    Args:
        scan: ``chest_scan`` or ``mni_scan``, or another function without arguments that gives a scan.
        split: "train", "val" or "test".
        count: number of subjects; by default 24, 8 or 16.

    Raises:
        ValueError: for an unknown split or a count below 1.
    """

    def __init__(self, scan: Callable[[], Scan], split: str = "train", count: int | None = None) -> None:
        """Generates nothing yet: a subject is generated at each access."""
        super().__init__(split, count, COUNTS)
        self.scan = scan

    def _make(self, number: int) -> VolumeSample:
        return subject(self.scan(), self.split, number)


def subject(scan: Scan, split: str, index: int) -> VolumeSample:
    """Subject ``index`` of a split."""
    part = SPLITS.index(split)
    rng = np.random.default_rng((_SEED, part, index))
    source = Grid(scan.volume.shape, scan.spacing_mm)
    shape = np.rint(np.array(source.shape) * rng.uniform(0.94, 1.08, 3)).astype(int)
    target = Grid(tuple(shape.tolist()), np.round(scan.spacing_mm * rng.uniform(0.9, 1.1, 3), 3))
    place = random_flow(rng, FAMILIES[part], source, scan.strength_mm)
    bent = ScanDeformation(source, target, place(target.nodes()))
    values, labels = sample_scan(scan.volume, scan.labels, bent.everywhere())
    carried = bent.carry(np.stack(list(scan.points.values())))
    inside = np.flatnonzero(((carried >= 0) & (carried <= shape - 1)).all(axis=1))
    names = list(scan.points)
    points = {names[k]: carried[k, ::-1].copy() for k in inside.tolist()}
    return VolumeSample(
        rescan(rng, values, scan.noise)[None],
        spacing_mm=target.spacing[::-1].copy(),
        points=points,
        mask=labels,
        names=scan.names,
        name=f"{scan.name}-{split}-{index}",
    )


def centroids(labels: np.ndarray, names: Mapping[int, str], smallest: int = 1) -> dict[str, np.ndarray]:
    """Name -> (x, y, z) in voxels: the mean place of each label's voxels.

    Args:
        labels: (D, H, W) integers >= 0, 0 is background.
        names: the labels to find.
        smallest: labels with fewer voxels are left out.
    """
    flat = np.flatnonzero(labels)
    which = labels.reshape(-1)[flat]
    z, y, x = np.unravel_index(flat, labels.shape)
    count = np.bincount(which, minlength=max(names, default=0) + 1)
    sums = np.stack([np.bincount(which, axis, len(count)) for axis in (x, y, z)], axis=-1)
    return {name: sums[k] / count[k] for k, name in names.items() if count[k] >= smallest}
