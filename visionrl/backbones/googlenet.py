"""GoogLeNet: "Going deeper with convolutions" (Szegedy et al., CVPR 2015)."""

from __future__ import annotations

from torch import nn

from visionrl.backbones._backbone import Parts, named
from visionrl.backbones._libraries import torchvision_model
from visionrl.backbones._registry import register_backbone


@register_backbone
def googlenet() -> Parts:
    """GoogLeNet (Inception-v1, with BatchNorm), with auxiliary classifiers after 4a and 4d for training.

    6,624,904 parameters without the auxiliaries; top-5 error 10.47 % (torchvision, 224 px, one crop).
    """
    net, url = torchvision_model("googlenet", aux_logits=True, init_weights=False)
    stages = named(
        conv1=net.conv1,
        conv2=nn.Sequential(net.maxpool1, net.conv2, net.conv3),
        inception3=nn.Sequential(net.maxpool2, net.inception3a, net.inception3b),
        inception4a=nn.Sequential(net.maxpool3, net.inception4a),
        inception4d=nn.Sequential(net.inception4b, net.inception4c, net.inception4d),
        inception4e=net.inception4e,
        inception5=nn.Sequential(net.maxpool4, net.inception5a, net.inception5b),
    )
    head = nn.Sequential(net.avgpool, nn.Flatten(), net.dropout, net.fc)
    auxiliary = {"inception4a": nn.Sequential(net.aux1), "inception4d": nn.Sequential(net.aux2)}
    return Parts(stages, 1024, head, auxiliary, whole=net, url=url, mean=(0.5,) * 3, std=(0.5,) * 3)
