"""AlexNet: "ImageNet classification with deep convolutional neural networks" (Krizhevsky et al., 2012)."""

from __future__ import annotations

from torch import nn

from visionrl.backbones._backbone import Parts, named
from visionrl.backbones._libraries import torchvision_model
from visionrl.backbones._registry import register_backbone


@register_backbone
def alexnet() -> Parts:
    """AlexNet in one tower (Krizhevsky, 2014, arXiv 1404.5997), torchvision's form: 224 px, no LRN.

    61,100,840 parameters; top-5 error 20.93 % (torchvision, 224 px, one crop).
    """
    net, url = torchvision_model("alexnet")
    layers = net.features
    stages = named(
        conv1=layers[:2],
        conv2=layers[2:5],
        conv3=layers[5:8],
        conv4=layers[8:10],
        conv5=layers[10:12],
        pool5=layers[12:],
    )
    head = nn.Sequential(net.avgpool, nn.Flatten(), *net.classifier)
    return Parts(stages, 256, head, whole=net, url=url, min_size=63)


@register_backbone
def alexnet2012(lrn: bool = True) -> Parts:
    """AlexNet as published in 2012: two towers (groups), response normalisation.

    227 px, overlapping pooling. 60,965,224 parameters; top-5 error 18.2 % (paper, one network, ten crops).
    `lrn=False` leaves out the normalisation of section 3.3. PyTorch divides its alpha by the window's size n
    = 5; the paper does not.
    """

    def norm() -> nn.Module:
        return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0) if lrn else nn.Identity()

    stages = named(
        conv1=nn.Sequential(nn.Conv2d(3, 96, 11, 4), nn.ReLU(), norm()),
        conv2=nn.Sequential(
            nn.MaxPool2d(3, 2), nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), norm()
        ),
        conv3=nn.Sequential(nn.MaxPool2d(3, 2), nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        conv4=nn.Sequential(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        conv5=nn.Sequential(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU()),
        pool5=nn.MaxPool2d(3, 2),
    )
    return Parts(stages, 256, fully_connected_head(), min_size=67)


def fully_connected_head() -> nn.Sequential:
    """From a 256-channel map, pooled to 6x6 where it is not, through two layers of 4096 to 1000 logits."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(6),
        nn.Flatten(),
        nn.Linear(256 * 6 * 6, 4096),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(4096, 1000),
    )
