"""The embedded sets as formats without a path: ``"chest-xray"`` and ``"cutout-videos"``."""

from __future__ import annotations

from collections.abc import Sequence

from visionrl.datasets.formats import ReadOptions, register_format
from visionrl.datasets.samples import ImageSample, VideoSample


@register_format("chest-xray", kind=ImageSample, embedded=True)
def read_chest_xray(path: None, options: ReadOptions) -> Sequence[ImageSample]:
    """Projections of a real chest CT with landmarks; see ``ChestXray``."""
    from visionrl.datasets.chest import ChestXray

    return ChestXray(options.split)


@register_format("cutout-videos", kind=VideoSample, embedded=True)
def read_cutout_videos(path: None, options: ReadOptions) -> Sequence[VideoSample]:
    """Real cut-outs that move over real photographs; see ``CutoutVideos``."""
    from visionrl.datasets.videos import CutoutVideos

    return CutoutVideos(options.split)
