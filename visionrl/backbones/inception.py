"""Inception-v3 (Szegedy et al., 2016), Inception-v4 and Inception-ResNet-v2 (Szegedy et al., 2017)."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from visionrl.backbones._backbone import Parts, named
from visionrl.backbones._libraries import timm_model, torchvision_model
from visionrl.backbones._registry import register_backbone

_HALF = (0.5, 0.5, 0.5)


@register_backbone
def inception_v3() -> Parts:
    """Inception-v3, 299 px, with its auxiliary classifier after the 17x17 stage for training.

    The auxiliary classifier needs a map of 17x17, hence 299 px; the trunk takes any size.
    27,161,264 parameters with the auxiliary; top-5 error 6.55 % (torchvision, 299 px, one crop).
    """
    net, url = torchvision_model("inception_v3", aux_logits=True, init_weights=False)
    stages = named(
        conv1=net.Conv2d_1a_3x3,
        conv2=nn.Sequential(net.Conv2d_2a_3x3, net.Conv2d_2b_3x3),
        conv4=nn.Sequential(net.maxpool1, net.Conv2d_3b_1x1, net.Conv2d_4a_3x3),
        mixed5=nn.Sequential(net.maxpool2, net.Mixed_5b, net.Mixed_5c, net.Mixed_5d),
        mixed6=nn.Sequential(net.Mixed_6a, net.Mixed_6b, net.Mixed_6c, net.Mixed_6d, net.Mixed_6e),
        mixed7=nn.Sequential(net.Mixed_7a, net.Mixed_7b, net.Mixed_7c),
    )
    head = nn.Sequential(net.avgpool, net.dropout, nn.Flatten(), net.fc)
    auxiliary = {"mixed6": nn.Sequential(net.AuxLogits)}
    return Parts(
        stages, 2048, head, auxiliary, whole=net, url=url, min_size=75, mean=_HALF, std=_HALF, volumes=False
    )


@register_backbone
def inception_v4() -> Parts:
    """Inception-v4, 299 px; built by timm.

    42,679,816 parameters; top-5 error 5.0 % (paper, 299 px, one crop).
    """
    net, url = timm_model("inception_v4")
    f = net.features
    stages = named(
        conv1=f[0],
        conv2=f[1:3],
        mixed3=f[3],
        mixed4=f[4],
        inception_a=f[5:10],
        inception_b=f[10:18],
        inception_c=f[18:],
    )
    head = nn.Sequential(net.global_pool, net.head_drop, net.last_linear)
    parts = Parts(stages, 1536, head, whole=net, url=url, min_size=75, mean=_HALF, std=_HALF)
    return replace(parts, min_size_small=37, stem_pool=False)


@register_backbone
def inception_resnet_v2() -> Parts:
    """Inception-ResNet-v2, 299 px; built by timm (stem and widths of the authors' code, not of the figures).

    55,843,464 parameters; top-5 error 4.9 % (paper, 299 px, one crop).
    """
    net, url = timm_model("inception_resnet_v2")
    stages = named(
        conv1=net.conv2d_1a,
        conv2=nn.Sequential(net.conv2d_2a, net.conv2d_2b),
        conv4=nn.Sequential(net.maxpool_3a, net.conv2d_3b, net.conv2d_4a),
        inception_a=nn.Sequential(net.maxpool_5a, net.mixed_5b, net.repeat),
        inception_b=nn.Sequential(net.mixed_6a, net.repeat_1),
        inception_c=nn.Sequential(net.mixed_7a, net.repeat_2, net.block8, net.conv2d_7b),
    )
    head = nn.Sequential(net.global_pool, net.head_drop, net.classif)
    return Parts(stages, 1536, head, whole=net, url=url, min_size=75, mean=_HALF, std=_HALF)
