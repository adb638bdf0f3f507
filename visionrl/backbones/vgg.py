"""VGG: "Very deep convolutional networks for large-scale image recognition" (Simonyan & Zisserman, 2015)."""

from __future__ import annotations

from torch import nn

from visionrl.backbones._backbone import Parts, named
from visionrl.backbones._libraries import torchvision_model
from visionrl.backbones._registry import register_backbone


def _vgg(name: str) -> Parts:
    """Five stages as in the paper's table 1, each with the max-pooling that ends it."""
    net, url = torchvision_model(name, init_weights=False)
    blocks: list[list[nn.Module]] = [[]]
    for layer in net.features:
        blocks[-1].append(layer)
        if isinstance(layer, nn.MaxPool2d):
            blocks.append([])
    stages = named(**{f"conv{i}": nn.Sequential(*block) for i, block in enumerate(blocks[:5], 1)})
    _draw(stages)
    head = nn.Sequential(net.avgpool, nn.Flatten(), *net.classifier)
    return Parts(stages, 512, head, whole=net, url=url, small_stem=False)


def _draw(stages: nn.Module) -> None:
    """He et al.'s (2015) initialisation of the convolutions, as torchvision does."""
    for layer in stages.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@register_backbone
def vgg11() -> Parts:
    """VGG-11 (configuration A).

    132,863,336 parameters; top-5 error 11.37 % (torchvision, 224 px, one crop).
    """
    return _vgg("vgg11")


@register_backbone
def vgg13() -> Parts:
    """VGG-13 (configuration B).

    133,047,848 parameters; top-5 error 10.75 % (torchvision, 224 px, one crop).
    """
    return _vgg("vgg13")


@register_backbone
def vgg16() -> Parts:
    """VGG-16 (configuration D).

    138,357,544 parameters; top-5 error 9.62 % (torchvision, 224 px, one crop).
    """
    return _vgg("vgg16")


@register_backbone
def vgg19() -> Parts:
    """VGG-19 (configuration E).

    143,667,240 parameters; top-5 error 9.12 % (torchvision, 224 px, one crop).
    """
    return _vgg("vgg19")


@register_backbone
def vgg11_bn() -> Parts:
    """VGG-11 (configuration A) with BatchNorm.

    132,868,840 parameters; top-5 error 10.19 % (torchvision, 224 px, one crop).
    """
    return _vgg("vgg11_bn")


@register_backbone
def vgg13_bn() -> Parts:
    """VGG-13 (configuration B) with BatchNorm.

    133,053,736 parameters; top-5 error 9.63 % (torchvision, 224 px, one crop).
    """
    return _vgg("vgg13_bn")


@register_backbone
def vgg16_bn() -> Parts:
    """VGG-16 (configuration D) with BatchNorm.

    138,365,992 parameters; top-5 error 8.48 % (torchvision, 224 px, one crop).
    """
    return _vgg("vgg16_bn")


@register_backbone
def vgg19_bn() -> Parts:
    """VGG-19 (configuration E) with BatchNorm.

    143,678,248 parameters; top-5 error 8.16 % (torchvision, 224 px, one crop).
    """
    return _vgg("vgg19_bn")
