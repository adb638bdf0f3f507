"""The embedded sets of images, videos and volumes as formats without a path, such as ``"chest-xray"`` and ``"digits"``.

Those of pairs are in ``embedded_pairs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from visionrl.datasets.formats import ReadOptions, Sample, register_format
from visionrl.datasets.samples import (
    CaptionSample,
    ClipSample,
    ImageSample,
    MotSample,
    QuestionSample,
    VideoSample,
    ViewSample,
    VolumeSample,
)

SETS: dict[str, tuple[type[Sample], str, str]] = {
    "chest-xray": (ImageSample, "chest", "ChestXray"),
    "chest-ct-slices": (ImageSample, "slices", "ChestSlices"),
    "digits": (ImageSample, "digits", "Digits"),
    "cluttered-digits": (ImageSample, "digits", "ClutteredDigits"),
    "objects": (ImageSample, "objects", "Objects"),
    "coins": (ImageSample, "coins", "Coins"),
    "photographs": (ImageSample, "photographs", "Photographs"),
    "composites": (ImageSample, "composites", "Composites"),
    "defects": (ImageSample, "defects", "Defects"),
    "unseen-defects": (ImageSample, "defects", "UnseenDefects"),
    "cutout-videos": (VideoSample, "videos", "CutoutVideos"),
    "cutout-crowds": (MotSample, "crowds", "CutoutCrowds"),
    "event-films": (ClipSample, "clips", "EventFilms"),
    "motions": (ClipSample, "clips", "Motions"),
    "motion-films": (ClipSample, "motion_films", "MotionFilms"),
    "scenes": (CaptionSample, "scenes", "Scenes"),
    "scene-questions": (QuestionSample, "scenes", "SceneQuestions"),
    "c-arm-views": (ViewSample, "c_arm_views", "CArmViews"),
    "instances": (ImageSample, "instances", "Instances"),
}
"""Name -> kind, module of ``datasets.embedded`` and class in it, which is made of a split alone."""


def _register(name: str, kind: type[Sample], module: str, maker: str) -> None:
    """Make one set known; its module is imported when the set is read."""

    @register_format(name, kind=kind, embedded=True)
    def read(path: None, options: ReadOptions) -> Sequence[Any]:
        """The samples of a split; see the class of the set."""
        return getattr(import_module(f"visionrl.datasets.embedded.{module}"), maker)(options.split)


for _name, _set in SETS.items():
    _register(_name, *_set)


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


@register_format("many-scenes", kind=CaptionSample, embedded=True)
def read_many_scenes(path: None, options: ReadOptions) -> Sequence[CaptionSample]:
    """``"scenes"`` with 8,000 scenes for training; the other splits are unchanged."""
    from visionrl.datasets.embedded.scenes import MANY, Scenes

    return Scenes(options.split, MANY if options.split == "train" else None)


@register_format("many-scene-questions", kind=QuestionSample, embedded=True)
def read_many_scene_questions(path: None, options: ReadOptions) -> Sequence[QuestionSample]:
    """``"scene-questions"`` about 8,000 scenes for training; the other splits are unchanged."""
    from visionrl.datasets.embedded.scenes import MANY, SceneQuestions

    return SceneQuestions(options.split, MANY if options.split == "train" else None)


@register_format("chest-ct-volumes", kind=VolumeSample, embedded=True)
def read_chest_ct_volumes(path: None, options: ReadOptions) -> Sequence[VolumeSample]:
    """Subjects made of a real chest CT; see ``embedded.volumes``."""
    from visionrl.datasets.embedded.volumes import DeformedVolumes, chest_scan

    return DeformedVolumes(chest_scan, options.split)


@register_format("mni", kind=VolumeSample, embedded=True)
def read_mni(path: None, options: ReadOptions) -> Sequence[VolumeSample]:
    """Subjects made of a real template of the brain; see ``embedded.volumes``."""
    from visionrl.datasets.embedded.volumes import DeformedVolumes, mni_scan

    return DeformedVolumes(mni_scan, options.split)
