"""The embedded sets of volumes as formats without a path: ``"chest-ct-volumes"`` and ``"mni"``."""

from __future__ import annotations

from collections.abc import Sequence

from visionrl.datasets.formats import ReadOptions, register_format
from visionrl.datasets.samples import VolumeSample


@register_format("chest-ct-volumes", kind=VolumeSample, embedded=True)
def read_chest_ct_volumes(path: None, options: ReadOptions) -> Sequence[VolumeSample]:
    """Subjects made of a real chest CT; see ``datasets.volumes``."""
    from visionrl.datasets.embedded.volumes import DeformedVolumes, chest_scan

    return DeformedVolumes(chest_scan, options.split)


@register_format("mni", kind=VolumeSample, embedded=True)
def read_mni(path: None, options: ReadOptions) -> Sequence[VolumeSample]:
    """Subjects made of a real template of the brain; see ``datasets.volumes``."""
    from visionrl.datasets.embedded.volumes import DeformedVolumes, mni_scan

    return DeformedVolumes(mni_scan, options.split)
