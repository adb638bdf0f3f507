"""Photographs of the installed scikit-image, for tasks that restore or enlarge pictures.

A photograph belongs to one split, the same as in ``cutouts``.
"""

from __future__ import annotations

from visionrl.datasets.embedded.cutouts import backgrounds
from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.splits import SPLITS
from visionrl.ops.pyramid import shrink

LONGEST = 320  # pixels


class Photographs(GeneratedDataset[ImageSample]):
    """The photographs of one split with texture in them, (3, H, W) uint8, the longer side at most ``LONGEST`` pixels.

    They are shrunk by averaging, which takes away what compression and the lens left in them.

    Args:
        split: "train", "val" or "test", with 7, 3 and 5 photographs.

    Raises:
        ValueError: another split.
        FileNotFoundError: scikit-image is not installed.
    """

    def __init__(self, split: str = "train") -> None:
        super().__init__(split, None, {name: len(backgrounds(name)) for name in SPLITS})

    def _make(self, number: int) -> ImageSample:
        found = backgrounds(self.split)[number]
        return ImageSample(shrink(found.image, LONGEST)[0], name=found.photograph.partition(".")[0])
