"""The embedded sets of pairs as formats without a path.

Images: "photo-pairs"; "strewn-photo-pairs", 384 for training, most of photographs with cut-outs strewn over them, while
the other splits are those of "photo-pairs"; "scan-pairs". Volumes: "volume-pairs", "volume-pairs-multimodal". Each also
with "-similarity" or "-affine" for maps of these kinds.
"""

from __future__ import annotations

from collections.abc import Sequence

from visionrl.datasets.formats import ReadOptions, register_format
from visionrl.datasets.samples import PairSample

KINDS = ("rigid", "similarity", "affine")
STREWN = 384  # training pairs of "strewn-photo-pairs"
SOURCES = ("photo-pairs", "strewn-photo-pairs", "scan-pairs", "volume-pairs", "volume-pairs-multimodal")


def _register(source: str, kind: str) -> None:
    """Makes one set known."""
    name = source if kind == "rigid" else f"{source}-{kind}"

    @register_format(name, kind=PairSample, embedded=True)
    def read(path: None, options: ReadOptions) -> Sequence[PairSample]:
        """Pairs of a source with maps of a kind; see ``embedded.pairs`` and ``embedded.volume_pairs``."""
        if source.startswith("volume"):
            from visionrl.datasets.embedded.volume_pairs import VolumePairs

            return VolumePairs(source.endswith("multimodal"), options.split, kind)
        from visionrl.datasets.embedded.pairs import Pairs, photo_scene, scan_scene, strewn_scene

        scenes = {"photo-pairs": photo_scene, "strewn-photo-pairs": strewn_scene, "scan-pairs": scan_scene}
        count = STREWN if (source, options.split) == ("strewn-photo-pairs", "train") else None
        return Pairs(scenes[source], name, options.split, kind, count)


for _source in SOURCES:
    for _kind in KINDS:
        _register(_source, _kind)
