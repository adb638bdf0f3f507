"""Panels that explain a network on one image: the image, where the network looks, and both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from visionrl.backbones import Backbone
from visionrl.explain.deconv import deconvolve
from visionrl.explain.saliency import grad_cam, occlusion_map, overlay


@dataclass(frozen=True)
class Subject:
    """A network and the input that it is explained on.

    Attributes:
        backbone: the network whose stages are looked at.
        images: (1, C, H, W) uint8.
        scores: images (B, C, H, W) to scores (B, n).
        fed: images to what the backbone is fed with, (B, C', H, W); the images are its first channels.
        noun: what a score is of.
        home: the default file, without the method and the suffix.
        remark: what to know about the picture.
        names: number -> name of a score.
    """

    backbone: Backbone
    images: Tensor
    scores: Callable[[Tensor], Tensor]
    fed: Callable[[Tensor], Tensor]
    noun: str
    home: str
    remark: str = ""
    names: Mapping[int, str] = field(default_factory=dict)


def stage_of(backbone: Backbone, name: str | None) -> str:
    """The name of a stage, by default of the last.

    Raises:
        ValueError: there is no such stage.
    """
    names = [stage for stage, _ in backbone.stages.named_children()]
    if name is not None and name not in names:
        raise ValueError(f"layer must be one of {', '.join(names)}, got {name!r}")
    return name or names[-1]


def heat_panels(
    subject: Subject, layer: str, method: Literal["grad-cam", "occlusion"], target: int | None = None
) -> tuple[list[Tensor], str]:
    """The panels of Grad-CAM or occlusion, (1, 3, H, W) uint8 each, and a sentence about them.

    Args:
        subject: network and image.
        layer: stage that Grad-CAM looks at.
        method: gradients at the layer, or a square that hides.
        target: number of the score; None is the largest.

    Raises:
        ValueError: there is no such score.
    """
    with torch.no_grad():
        scores = subject.scores(subject.images)[0]
    chosen = int(scores.argmax()) if target is None else target
    if not 0 <= chosen < len(scores):
        raise ValueError(f"target must be in [0, {len(scores)}), got {chosen}")
    if method == "grad-cam":
        stage = subject.backbone.stages.get_submodule(layer)
        heat = grad_cam(subject.scores, subject.images, stage, chosen)[-1:]  # of a window its newest image
    else:
        side = max(min(subject.images.shape[2:]) // 7, 2)
        heat = occlusion_map(subject.scores, subject.images, chosen, side, side // 2).clamp_min(0)
        heat = heat / heat.max().clamp_min(1e-12)
    shown = (
        subject.fed(subject.images)[:, : subject.images.shape[1]] if method == "grad-cam" else subject.images
    )
    black = torch.zeros(1, 3, *shown.shape[2:])
    panels = [overlay(shown, 0 * heat), overlay(black, heat, 1.0), overlay(shown, heat)]
    where = f" at {layer}" if method == "grad-cam" else ""
    name = f" ({subject.names[chosen]})" if chosen in subject.names else ""
    return panels, f"{method}{where} of {subject.noun} {chosen}{name}, score {scores[chosen]:.4g}"


def projected_panels(subject: Subject, layer: str, channel: int | None) -> tuple[list[Tensor], str]:
    """The panels of the deconvnet, (1, 3, H, W) uint8 each, and a sentence about them.

    Args:
        subject: network and image.
        layer: stage whose activation is projected back.
        channel: of that stage; None is the one that is most active.
    """
    shown = subject.fed(subject.images)
    found = deconvolve(subject.backbone, shown, layer, channel)
    first = subject.images.shape[1]
    pixels = F.interpolate(found.pixels[:, :first], shown.shape[2:], mode="bilinear")
    strength = pixels.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    heat, none = (pixels.abs() / strength).amax(1), torch.zeros(1, *pixels.shape[2:])
    shown = shown[:, :first]
    panels = [overlay(shown, none), overlay(0.5 + pixels / strength / 2, none), overlay(shown, heat)]
    where = f"channel {int(found.channel)} of {layer}, activation {float(found.activation):.4g}"
    return panels, f"deconv of {where} at row, column {tuple(found.position[0].tolist())}"
