"""Spatial transformer: "Spatial transformer networks" (Jaderberg et al., NIPS 2015).

Convention: coordinates are (x, y) in [-1, 1] over the outer edges of the corner pixels
(`align_corners=False`), of the output for a grid's place and of the input for its value. Outside the image is
zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Transform = Literal["affine", "shift_scale", "thin_plate"]


class SpatialTransformer(nn.Module):
    """Looks at an image, chooses a warp of it, and warps it: localisation net, grid generator, sampler.

    At the start it is the identity, whatever the image.

    Attributes:
        localisation: from images (B, C, H, W) to features (B, n), of which `last` makes the warp's
            parameters.
        transform: "affine" (6 parameters), "shift_scale" (scale, x, y: a window that attends) or "thin_plate"
            (the shifts of `points` x `points` control points).
        output_size: (height, width) of the output; None keeps the input's.

    Args:
        in_channels: channels of the images.
        transform: the family of warps.
        output_size: (height, width) of the output; None keeps the input's.
        points: control points per side of the thin plate.
        localisation: features (B, n) of the images, in the place of the small default network.
        localisation_features: n, needed with `localisation`.

    Raises:
        ValueError: an unknown transform, or fewer than two control points per side.
    """

    identity: Tensor
    controls: Tensor
    plate: Tensor

    def __init__(
        self,
        in_channels: int = 3,
        transform: Transform = "affine",
        output_size: tuple[int, int] | None = None,
        points: int = 4,
        localisation: nn.Module | None = None,
        localisation_features: int = 64,
    ) -> None:
        super().__init__()
        self.transform, self.output_size = transform, output_size
        self.register_buffer("identity", _identity(transform, points), persistent=False)
        self.localisation = localisation or small_localisation(in_channels, localisation_features)
        self.last = nn.Linear(localisation_features, len(self.identity))
        self.reset()
        self.register_buffer("controls", unit_grid(points, points).view(-1, 2), persistent=False)
        self.register_buffer("plate", thin_plate_inverse(points), persistent=False)

    def reset(self) -> None:
        """Back to the identity."""
        with torch.no_grad():
            self.last.weight.zero_()
            self.last.bias.copy_(self.identity)

    def apply(self, fn: Callable[[nn.Module], None]) -> SpatialTransformer:
        """As `nn.Module.apply`, then `reset`, for SB3's orthogonal initialisation would undo the identity."""
        super().apply(fn)
        self.reset()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Warped images (B, C, h, w), float; uint8 images are divided by 255 first."""
        x = x.float() / 255 if x.dtype == torch.uint8 else x
        return F.grid_sample(x, self.grid(x), align_corners=False)

    def grid(self, x: Tensor) -> Tensor:
        """Sampling grid, the source of each output pixel: (B, h, w, 2), (x, y) in [-1, 1]."""
        theta = self.last(self.localisation(x))
        height, width = self.output_size or x.shape[2:]
        places = pixel_grid(height, width).to(theta)
        if self.transform == "thin_plate":
            sources = self.controls.to(theta) + theta.view(len(x), -1, 2)
            weights = F.pad(sources, (0, 0, 0, 3))
            lifted = lift(places.view(-1, 2), self.controls.to(theta)) @ self.plate.to(theta)
            return (lifted @ weights).view(len(x), height, width, 2)
        matrix = self.matrix(theta)
        return places @ matrix[:, None, :, :2].mT + matrix[:, None, None, :, 2]

    def matrix(self, theta: Tensor) -> Tensor:
        """The affine maps (B, 2, 3) of the parameters; for the thin plate there are none."""
        if self.transform == "affine":
            return theta.view(-1, 2, 3)
        scale, x, y = theta.unbind(1)
        zero = torch.zeros_like(scale)
        return torch.stack([scale, zero, x, zero, scale, y], 1).view(-1, 2, 3)


def small_localisation(in_channels: int, features: int) -> nn.Sequential:
    """Two strided convolutions, pooled to 4x4, and a linear layer: (B, C, H, W) to (B, features)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 16, 5, 2, 2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(32 * 16, features),
        nn.ReLU(),
    )


def unit_grid(height: int, width: int) -> Tensor:
    """(height, width, 2) points (x, y) evenly from -1 to 1, both ends included."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return torch.stack([x, y], -1)


def pixel_grid(height: int, width: int) -> Tensor:
    """(height, width, 2) centres (x, y) of the pixels, where -1 and 1 are the image's outer edges."""
    shrink = torch.tensor([(width - 1) / width, (height - 1) / height])
    return unit_grid(height, width) * shrink


def lift(points: Tensor, controls: Tensor) -> Tensor:
    """(n, K + 3): of each point the thin plate's kernel to each control point, then 1, x, y."""
    square = (points[:, None] - controls[None]).square().sum(-1)
    kernel = square * square.clamp_min(1e-12).log()
    return torch.cat([kernel, torch.ones_like(points[:, :1]), points], 1)


def thin_plate_inverse(points: int) -> Tensor:
    """(K + 3, K + 3): from values at the control points, and three zeros, to weights (Bookstein, 1989)."""
    controls = unit_grid(points, points).view(-1, 2).double()
    rows = lift(controls, controls)
    affine = rows[:, -3:]
    system = torch.cat([rows, F.pad(affine.T, (0, 3))], 0)
    return torch.linalg.inv(system).float()


def _identity(transform: str, points: int) -> Tensor:
    """The parameters that change nothing."""
    start = {"affine": [1.0, 0, 0, 0, 1, 0], "shift_scale": [1.0, 0, 0], "thin_plate": [0.0] * 2 * points**2}
    if transform not in start:
        raise ValueError(f"transform must be one of {tuple(start)}, got {transform!r}")
    if points < 2:
        raise ValueError(f"points must be >= 2, got {points}")
    return torch.tensor(start[transform])
