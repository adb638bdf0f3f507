"""DenseNet: "Densely connected convolutional networks" (Huang et al., CVPR 2017)."""

from __future__ import annotations

from torch import nn

from visionrl.backbones._backbone import Parts, named
from visionrl.backbones._libraries import torchvision_model
from visionrl.backbones._registry import register_backbone


def _densenet(name: str) -> Parts:
    """Stages as in the paper's table 1, each dense block with the pooling or transition in front of it."""
    net, url = torchvision_model(name)
    f = net.features
    stages = named(
        conv=nn.Sequential(f.conv0, f.norm0, f.relu0),
        dense1=nn.Sequential(f.pool0, f.denseblock1),
        dense2=nn.Sequential(f.transition1, f.denseblock2),
        dense3=nn.Sequential(f.transition2, f.denseblock3),
        dense4=nn.Sequential(f.transition3, f.denseblock4, f.norm5, nn.ReLU()),
    )
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.classifier)
    return Parts(stages, net.classifier.in_features, head, whole=net, url=url)


@register_backbone
def densenet121() -> Parts:
    """DenseNet-121 (growth rate 32).

    7,978,856 parameters; top-5 error 8.03 % (torchvision, 224 px, one crop).
    """
    return _densenet("densenet121")


@register_backbone
def densenet161() -> Parts:
    """DenseNet-161 (growth rate 48).

    28,681,000 parameters; top-5 error 6.44 % (torchvision, 224 px, one crop).
    """
    return _densenet("densenet161")


@register_backbone
def densenet169() -> Parts:
    """DenseNet-169 (growth rate 32).

    14,149,480 parameters; top-5 error 7.19 % (torchvision, 224 px, one crop).
    """
    return _densenet("densenet169")


@register_backbone
def densenet201() -> Parts:
    """DenseNet-201 (growth rate 32).

    20,013,928 parameters; top-5 error 6.63 % (torchvision, 224 px, one crop).
    """
    return _densenet("densenet201")
