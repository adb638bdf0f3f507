"""The embedded set of slices as a format without a path: ``"chest-ct-slices"``."""

from __future__ import annotations

from collections.abc import Sequence

from visionrl.datasets.formats import ReadOptions, register_format
from visionrl.datasets.samples import ImageSample


@register_format("chest-ct-slices", kind=ImageSample, embedded=True)
def read_chest_ct_slices(path: None, options: ReadOptions) -> Sequence[ImageSample]:
    """Axial slices of a real chest CT; see ``datasets.slices``."""
    from visionrl.datasets.embedded.slices import ChestSlices

    return ChestSlices(options.split)
