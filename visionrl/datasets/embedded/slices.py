"""Axial slices of the embedded chest CT with the structures in them.

Each split has its own block of slices, with a gap between the blocks, but all show one person, so a score on "test"
says nothing about other people. Hence ``subject`` is left empty.
"""

from __future__ import annotations

import numpy as np

from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.embedded.volumes import chest_scan
from visionrl.datasets.samples import ImageSample

ABDOMEN = (
    "liver",
    "spleen",
    "stomach",
    "kidney",
    "pancreas",
    "gallbladder",
    "adrenal",
    "duodenum",
    "colon",
    "small_b",
)
BONES = ("vertebrae", "rib", "sternum", "costal", "scapula", "clavicula", "humerus")
VESSELS = (
    "heart",
    "aorta",
    "pulmonary_vein",
    "atrial",
    "brachio",
    "subclavian",
    "carotid",
    "superior_v",
    "inferior_v",
)
# ways of dividing the structures into classes: name -> class -> beginnings of its structures' names
GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "organs": {
        "lungs": ("lung",),
        "heart and vessels": VESSELS,
        "bone": BONES,
        "abdomen": ABDOMEN,
        "muscle": ("autochthon", "iliopsoas", "gluteus"),
    },
    "skeleton": {
        "spine": ("vertebrae", "spinal_cord"),
        "ribs": ("rib", "sternum", "costal"),
        "shoulders": ("scapula", "clavicula", "humerus"),
        "soft organs": ("lung", "heart", *ABDOMEN),
    },
}
BLOCKS = {"train": (10, 40), "val": (43, 51), "test": (54, 70)}  # of 83 slices, from the feet to the head


class ChestSlices(GeneratedDataset[ImageSample]):
    """A split of slices: (1, 90, 90) uint8 images of 4 mm per pixel with a mask of 89 structures.

    Args:
        split: "train", "val" or "test".
        count: number of slices; by default 30, 8 or 16, all of the block.

    Raises:
        ValueError: for an unknown split, or a count below 1.
    """

    def __init__(self, split: str = "train", count: int | None = None) -> None:
        """Makes nothing yet."""
        super().__init__(split, count, {name: last - first for name, (first, last) in BLOCKS.items()})

    def _make(self, number: int) -> ImageSample:
        scan = chest_scan()
        first, last = BLOCKS[self.split]
        level = first + number % (last - first)
        image = np.clip(np.rint(scan.volume[level]), 0, 255).astype(np.uint8)
        return ImageSample(
            image[None],
            mask=scan.labels[level],
            names=scan.names,
            spacing_mm=float(scan.spacing_mm[1]),
            name=f"chest-slice-{self.split}-{number}",
        )
