"""Networks for small machines: MobileNetV2 (Sandler et al., 2018) and EfficientNet-Lite0 (Tan & Le, 2019)."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from visionrl.backbones._backbone import Parts, named
from visionrl.backbones._libraries import timm_model, torchvision_model
from visionrl.backbones._registry import register_backbone


@register_backbone
def mobilenet_v2() -> Parts:
    """MobileNetV2. 3,504,872 parameters; top-5 error 9.71 % (torchvision, 224 px, one crop).

    Stages as in the paper's table 2: a convolution, seven groups of bottlenecks, a convolution.
    """
    net, url = torchvision_model("mobilenet_v2")
    f = net.features
    cuts = [1, 2, 4, 7, 11, 14, 17, 18]
    groups = {f"bottleneck{i}": f[a:b] for i, (a, b) in enumerate(pairwise(cuts), 1)}
    stages = named(conv1=f[0], **groups, conv9=f[18])
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *net.classifier)
    return Parts(stages, 1280, head, whole=net, url=url)


@register_backbone
def efficientnet_lite0() -> Parts:
    """EfficientNet-Lite0 (EfficientNet-B0 without squeeze-and-excitation, ReLU6), built by timm.

    4,652,008 parameters; top-5 error 7.83 % (timm, 224 px, one crop). Stages: a convolution, seven groups of
    bottlenecks, a convolution.
    """
    net, url = timm_model("tf_efficientnet_lite0")
    groups = {f"bottleneck{i}": group for i, group in enumerate(net.blocks, 1)}
    stages = named(
        conv1=nn.Sequential(net.conv_stem, net.bn1), **groups, conv9=nn.Sequential(net.conv_head, net.bn2)
    )
    head = nn.Sequential(net.global_pool, net.classifier)
    return Parts(stages, 1280, head, whole=net, url=url, mean=(0.5,) * 3, std=(0.5,) * 3)
