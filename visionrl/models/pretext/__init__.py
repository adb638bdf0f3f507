"""Pretexts: tasks that images set themselves, from which a backbone learns before there are labels or rewards."""

from visionrl.models.pretext import (
    colorization,
    context,
    exemplar,
    inpainting,
    jigsaw,
    mae,
    moco,
    rotation,
    simclr,
)
from visionrl.models.pretext._base import Pretext

__all__ = [
    "Pretext",
    "colorization",
    "context",
    "exemplar",
    "inpainting",
    "jigsaw",
    "mae",
    "moco",
    "rotation",
    "simclr",
]
