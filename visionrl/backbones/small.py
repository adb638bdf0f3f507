"""Small networks for the windows of an agent; trained from scratch.

All but ``pyramid`` and ``conv4`` are without BatchNorm.
"""

from __future__ import annotations

from torch import Tensor, nn

from visionrl.backbones._backbone import Parts, named
from visionrl.backbones._registry import register_backbone


@register_backbone
def small(in_channels: int = 3) -> Parts:
    """Two cheap convolutions for windows of 24-112 px: 4x4 stride 4 to 32, 3x3 stride 2 to 64, pooled to 4x4.

    1024 features; 0.8 MFLOP and 20,064 parameters for a colour window of 32x32. The non-overlapping first
    layer is what makes it cheap: forward and backward of 64 windows take half the time of a first 3x3 layer
    with stride 2.
    """
    return Parts(
        named(
            conv1=nn.Sequential(nn.Conv2d(in_channels, 32, 4, 4), nn.ReLU()),
            conv2=nn.Sequential(nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU()),
        ),
        channels=64,
        pool=4,
        min_size=24,
        small_stem=False,
    )


@register_backbone
def mlp(in_channels: int = 3, width: int = 128) -> Parts:
    """The pixels themselves, averaged to 8x8, and a linear layer with ReLU, for a retina of about that size.

    The glimpse network of "Recurrent models of visual attention" (Mnih et al., 2014). 128 features; 8,320 parameters
    for a grey retina.
    """
    return Parts(
        named(pixels=nn.Identity()),
        channels=in_channels,
        pool=8,
        neck=nn.Sequential(nn.Linear(in_channels * 64, width), nn.ReLU()),
        neck_features=width,
        min_size=8,
        small_stem=False,
        volumes=False,
    )


@register_backbone
def nature(in_channels: int = 3) -> Parts:
    """The network of DQN ("Human-level control through deep reinforcement learning", Mnih et al., 2015).

    1,684,128 parameters up to the 512 features with the paper's 4 grey frames. At the paper's 84x84 the map
    is the 7x7 that the linear layer wants; at other sizes the map is average-pooled to 7x7.
    """
    return Parts(
        named(
            conv1=nn.Sequential(nn.Conv2d(in_channels, 32, 8, 4), nn.ReLU()),
            conv2=nn.Sequential(nn.Conv2d(32, 64, 4, 2), nn.ReLU()),
            conv3=nn.Sequential(nn.Conv2d(64, 64, 3, 1), nn.ReLU()),
        ),
        channels=64,
        pool=7,
        neck=nn.Sequential(nn.Linear(64 * 7 * 7, 512), nn.ReLU()),
        neck_features=512,
        min_size=36,
        small_stem=False,
    )


@register_backbone
def impala(in_channels: int = 3, width: int = 1) -> Parts:
    """The deep residual network of IMPALA (Espeholt et al., 2018, figure 3), for any size.

    Three sections of 16, 32, 32 channels (times `width`; Cobbe et al., 2020, take 4), each a convolution, a
    max-pooling and two residual blocks; then 256 features. At 64x64 the map is the 8x8 that the linear layer
    wants; at other sizes the map is average-pooled to 8x8. 622,144 parameters for a colour image.
    """
    widths = [in_channels, 16 * width, 32 * width, 32 * width]
    sections = {f"section{i}": _section(widths[i - 1], widths[i]) for i in (1, 2, 3)}
    sections["section3"].append(nn.ReLU())
    return Parts(
        named(**sections),
        channels=widths[3],
        pool=8,
        neck=nn.Sequential(nn.Linear(widths[3] * 64, 256), nn.ReLU()),
        neck_features=256,
        min_size=8,
        small_stem=False,
    )


@register_backbone
def pyramid(in_channels: int = 3, width: int = 32) -> Parts:
    """A trunk for whole images of 64-160 px from which words are said: a map at a sixteenth of the side.

    A 4x4 convolution with stride 4, then five 3x3 convolutions with BatchNorm, two of them with stride 2; 128 channels
    for ``width=32``. 417,312 parameters; 2.1 ms an image of 96x96, forward and backward, on one CPU thread.
    """
    sizes = [2 * width, 3 * width, 3 * width, 4 * width, 4 * width]
    stages: dict[str, nn.Module] = {"stem": nn.Sequential(nn.Conv2d(in_channels, width, 4, 4), nn.ReLU())}
    for number, (before, size) in enumerate(zip([width, *sizes], sizes, strict=False)):
        conv = nn.Conv2d(before, size, 3, 1 + number % 2, 1, bias=False)
        stages[f"conv{number + 1}"] = nn.Sequential(conv, nn.BatchNorm2d(size), nn.ReLU())
    return Parts(named(**stages), channels=sizes[-1], pool=3, min_size=32, small_stem=False)


@register_backbone
def conv4(in_channels: int = 3, width: int = 64) -> Parts:
    """The trunk of few-shot learning: four blocks of a 3x3 convolution, BatchNorm, ReLU and 2x2 max-pooling.

    "Matching Networks for One Shot Learning" (Vinyals et al., 2016). 64 features; 112,832 parameters in
    colour.
    """
    widths = [in_channels, width, width, width, width]
    blocks = {
        f"block{i}": nn.Sequential(
            nn.Conv2d(widths[i - 1], width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        for i in (1, 2, 3, 4)
    }
    half = (0.5,) * 3
    return Parts(named(**blocks), channels=width, min_size=16, small_stem=False, mean=half, std=half)


@register_backbone
def hourglass(in_channels: int = 3, width: int = 16) -> Parts:
    """A small network that sees the whole image and keeps places apart, for actions that are places (``MapPolicy``).

    A 4x4 convolution with stride 4, then maps at a quarter, an eighth and a sixteenth of the side, which are added up
    again at a quarter ("Stacked hourglass networks", Newell, Yang & Deng, 2016, one of them). The map is pooled to
    4x4. 36,000 parameters.
    """
    return Parts(
        named(
            stem=nn.Sequential(nn.Conv2d(in_channels, width, 4, 4), nn.ReLU()),
            glass=_Hourglass(width, 2),
            last=nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()),
        ),
        channels=width,
        pool=4,
        min_size=32,
        small_stem=False,
        volumes=False,
    )


class _Hourglass(nn.Module):
    """A map plus what coarser maps say of it, ``depth`` of them, each half as large."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        wider = width * 3 // 2
        self.here = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(width, wider, 3, 2, 1), nn.ReLU())
        coarser = nn.Sequential(nn.Conv2d(wider, wider, 3, padding=1), nn.ReLU())
        self.below: nn.Module = _Hourglass(wider, depth - 1) if depth > 1 else coarser
        self.up = nn.Conv2d(wider, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        here = self.here(x)
        up = nn.functional.interpolate(self.up(self.below(self.down(here))), here.shape[2:])
        return (here + up).relu()


class _Residual(nn.Module):
    """x + conv(relu(conv(relu(x)))), as in IMPALA."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        convs = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2)]
        self.body = nn.Sequential(nn.ReLU(), convs[0], nn.ReLU(), convs[1])

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        return x + self.body(x)


def _section(channels: int, out: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, out, 3, padding=1)
    return nn.Sequential(conv, nn.MaxPool2d(3, 2, 1), _Residual(out), _Residual(out))
