"""The embedded sets of pairs as formats without a path: "photo-pairs", "scan-pairs", "photo-pairs-affine" and so on."""

from __future__ import annotations

from collections.abc import Sequence

from visionrl.datasets.formats import ReadOptions, register_format
from visionrl.datasets.samples import PairSample

NAMES = tuple(
    (f"{source}-pairs" + (f"-{kind}" if kind != "rigid" else ""), source, kind)
    for source in ("photo", "scan")
    for kind in ("rigid", "similarity", "affine")
)


def _register(name: str, source: str, kind: str) -> None:
    """Makes one set known."""

    @register_format(name, kind=PairSample, embedded=True)
    def read(path: None, options: ReadOptions) -> Sequence[PairSample]:
        """Pairs of a source with maps of a kind; see ``datasets.pairs``."""
        from visionrl.datasets.pairs import Pairs, photo_scene, scan_scene

        return Pairs(photo_scene if source == "photo" else scan_scene, name, options.split, kind)


for _name in NAMES:
    _register(*_name)
