"""CIELAB (illuminant D65) of sRGB pixels and back, on tensors."""

from __future__ import annotations

import torch
from torch import Tensor

TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
WHITE = (0.95047, 1.0, 1.08883)
LOW, SLOPE, SHIFT = 0.008856, 7.787, 16 / 116  # of CIE's function near black


def to_lab(images: Tensor) -> Tensor:
    """(B, 3, H, W) lightness in [0, 100], a and b, of images (B, 3, H, W) in [0, 1]."""
    linear = torch.where(images > 0.04045, ((images + 0.055) / 1.055) ** 2.4, images / 12.92)
    xyz = torch.einsum("ij,bjhw->bihw", images.new_tensor(TO_XYZ), linear)
    xyz = xyz / images.new_tensor(WHITE).view(1, 3, 1, 1)
    x, y, z = torch.where(xyz > LOW, xyz.clamp_min(LOW) ** (1 / 3), SLOPE * xyz + SHIFT).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def to_rgb(lab: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] of what ``to_lab`` gives; colours that no screen has are clipped."""
    y = (lab[:, 0] + 16) / 116
    cubes = torch.stack([y + lab[:, 1] / 500, y, y - lab[:, 2] / 200], 1)
    xyz = torch.where(cubes > LOW ** (1 / 3), cubes**3, (cubes - SHIFT) / SLOPE)
    xyz = xyz * lab.new_tensor(WHITE).view(1, 3, 1, 1)
    linear = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(lab.new_tensor(TO_XYZ)), xyz).clamp(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
