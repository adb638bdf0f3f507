"""The embedded sets as formats without a path, such as ``"chest-xray"`` and ``"digits"``."""

from __future__ import annotations

from collections.abc import Sequence

from visionrl.datasets.formats import ReadOptions, register_format
from visionrl.datasets.samples import ImageSample, MotSample, VideoSample


@register_format("chest-xray", kind=ImageSample, embedded=True)
def read_chest_xray(path: None, options: ReadOptions) -> Sequence[ImageSample]:
    """Projections of a real chest CT with landmarks; see ``ChestXray``."""
    from visionrl.datasets.embedded.chest import ChestXray

    return ChestXray(options.split)


@register_format("cutout-videos", kind=VideoSample, embedded=True)
def read_cutout_videos(path: None, options: ReadOptions) -> Sequence[VideoSample]:
    """Real cut-outs that move over real photographs; see ``CutoutVideos``."""
    from visionrl.datasets.embedded.videos import CutoutVideos

    return CutoutVideos(options.split)


@register_format("long-cutout-videos", kind=VideoSample, embedded=True)
def read_long_cutout_videos(path: None, options: ReadOptions) -> Sequence[VideoSample]:
    """``"cutout-videos"`` with 64 videos of 60 frames for training; the other splits are unchanged."""
    from visionrl.datasets.embedded.videos import CutoutVideos

    return CutoutVideos("train", 64, 60) if options.split == "train" else CutoutVideos(options.split)


@register_format("jumping-cutout-videos", kind=VideoSample, embedded=True)
def read_jumping_cutout_videos(path: None, options: ReadOptions) -> Sequence[VideoSample]:
    """64 of 80 frames for training, the other splits as in ``"cutout-videos"``, all less a quarter of their frames."""
    from visionrl.datasets.embedded.videos import CutoutVideos

    if options.split == "train":
        return CutoutVideos("train", 64, 80, jump=True)
    return CutoutVideos(options.split, jump=True)


@register_format("cutout-crowds", kind=MotSample, embedded=True)
def read_cutout_crowds(path: None, options: ReadOptions) -> Sequence[MotSample]:
    """Many real cut-outs that move over a real photograph; see ``CutoutCrowds``."""
    from visionrl.datasets.embedded.crowds import CutoutCrowds

    return CutoutCrowds(options.split)


@register_format("digits", kind=ImageSample, embedded=True)
def read_digits(path: None, options: ReadOptions) -> Sequence[ImageSample]:
    """Handwritten digits; see ``Digits``."""
    from visionrl.datasets.embedded.digits import Digits

    return Digits(options.split)


@register_format("cluttered-digits", kind=ImageSample, embedded=True)
def read_cluttered_digits(path: None, options: ReadOptions) -> Sequence[ImageSample]:
    """Digits at random places of a larger canvas, among fragments of others; see ``ClutteredDigits``."""
    from visionrl.datasets.embedded.digits import ClutteredDigits

    return ClutteredDigits(options.split)


@register_format("objects", kind=ImageSample, embedded=True)
def read_objects(path: None, options: ReadOptions) -> Sequence[ImageSample]:
    """Real cut-outs of five classes on real photographs, with boxes; see ``Objects``."""
    from visionrl.datasets.embedded.objects import Objects

    return Objects(options.split)


@register_format("coins", kind=ImageSample, embedded=True)
def read_coins(path: None, options: ReadOptions) -> Sequence[ImageSample]:
    """Parts of a photograph of coins, with boxes; see ``Coins``."""
    from visionrl.datasets.embedded.coins import Coins

    return Coins(options.split)


@register_format("photographs", kind=ImageSample, embedded=True)
def read_photographs(path: None, options: ReadOptions) -> Sequence[ImageSample]:
    """Photographs without labels; see ``Photographs``."""
    from visionrl.datasets.embedded.photographs import Photographs

    return Photographs(options.split)


@register_format("composites", kind=ImageSample, embedded=True)
def read_composites(path: None, options: ReadOptions) -> Sequence[ImageSample]:
    """Real cut-outs on real photographs, with the mask and the name of each; see ``Composites``."""
    from visionrl.datasets.embedded.composites import Composites

    return Composites(options.split)
