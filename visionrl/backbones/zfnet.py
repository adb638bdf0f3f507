"""ZFNet: "Visualizing and understanding convolutional networks" (Zeiler & Fergus, ECCV 2014), figure 3."""

from __future__ import annotations

from torch import nn

from visionrl.backbones._backbone import Parts, named
from visionrl.backbones._registry import register_backbone
from visionrl.backbones.alexnet import fully_connected_head


@register_backbone
def zfnet(lrn: bool = True) -> Parts:
    """ZFNet: AlexNet with a first layer of 7x7 stride 2 and a second of stride 2, one tower, 224 px.

    62,357,608 parameters; top-5 error 16.5 % (paper, one network). `lrn=False` leaves out the contrast
    normalisation across feature maps.
    """

    def norm() -> nn.Module:
        return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0) if lrn else nn.Identity()

    stages = named(
        conv1=nn.Sequential(nn.Conv2d(3, 96, 7, 2, 1), nn.ReLU()),
        pool1=nn.Sequential(nn.MaxPool2d(3, 2, 1), norm()),
        conv2=nn.Sequential(nn.Conv2d(96, 256, 5, 2), nn.ReLU()),
        pool2=nn.Sequential(nn.MaxPool2d(3, 2, 1), norm()),
        conv3=nn.Sequential(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        conv4=nn.Sequential(nn.Conv2d(384, 384, 3, padding=1), nn.ReLU()),
        conv5=nn.Sequential(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        pool5=nn.MaxPool2d(3, 2),
    )
    return Parts(stages, 256, fully_connected_head(), min_size=53)
