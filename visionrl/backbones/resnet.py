"""ResNet: "Deep residual learning for image recognition" (He et al., CVPR 2016)."""

from __future__ import annotations

from torch import nn

from visionrl.backbones._backbone import Parts, named
from visionrl.backbones._libraries import torchvision_model
from visionrl.backbones._registry import register_backbone


def _resnet(name: str) -> Parts:
    """Stages as in the paper's table 1: conv1, then conv2_x (with its pooling) to conv5_x."""
    net, url = torchvision_model(name)
    stages = named(
        conv1=nn.Sequential(net.conv1, net.bn1, net.relu),
        conv2=nn.Sequential(net.maxpool, net.layer1),
        conv3=net.layer2,
        conv4=net.layer3,
        conv5=net.layer4,
    )
    head = nn.Sequential(net.avgpool, nn.Flatten(), net.fc)
    return Parts(stages, net.fc.in_features, head, whole=net, url=url)


@register_backbone
def resnet18() -> Parts:
    """ResNet-18.

    11,689,512 parameters; top-5 error 10.92 % (torchvision, 224 px, one crop).
    """
    return _resnet("resnet18")


@register_backbone
def resnet34() -> Parts:
    """ResNet-34.

    21,797,672 parameters; top-5 error 8.58 % (torchvision, 224 px, one crop).
    """
    return _resnet("resnet34")


@register_backbone
def resnet50() -> Parts:
    """ResNet-50.

    25,557,032 parameters; top-5 error 7.14 % (torchvision, 224 px, one crop).
    """
    return _resnet("resnet50")


@register_backbone
def resnet101() -> Parts:
    """ResNet-101.

    44,549,160 parameters; top-5 error 6.45 % (torchvision, 224 px, one crop).
    """
    return _resnet("resnet101")


@register_backbone
def resnet152() -> Parts:
    """ResNet-152.

    60,192,808 parameters; top-5 error 5.95 % (torchvision, 224 px, one crop).
    """
    return _resnet("resnet152")
