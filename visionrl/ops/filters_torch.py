"""The filters of ``ops.filters`` on torch tensors; loaded only when images are not on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visionrl.ops.kernels import DCT_SIDE, DCT_STRIDE, Kernel, dct_matrix
from visionrl.ops.xp import const


def convolve(images: Tensor, kernel: Kernel) -> Tensor:
    """See ``ops.filters.convolve``."""
    taps, half = const(kernel, images), len(kernel) // 2
    flat = F.pad(images, (half,) * 4, mode="reflect").flatten(0, 1)[:, None]
    return F.conv2d(flat, taps[None, None]).reshape(images.shape)


def median(images: Tensor, size: int) -> Tensor:
    """See ``ops.filters.median``."""
    return torch.stack(list(_shifts(images, size, "replicate"))).median(dim=0).values


def bilateral(images: Tensor, size: int, sigma_color: float, sigma_space: float) -> Tensor:
    """See ``ops.filters.bilateral``."""
    total, weights, half = torch.zeros_like(images), torch.zeros_like(images[:, :1]), size // 2
    for number, other in enumerate(_shifts(images, size, "reflect")):
        away = (number // size - half) ** 2 + (number % size - half) ** 2
        if away > half**2:
            continue
        gap = (other - images).abs().sum(1, keepdim=True)
        weight = torch.exp(-0.5 * (gap / sigma_color) ** 2 - 0.5 * away / sigma_space**2)
        total, weights = total + weight * other, weights + weight
    return total / weights


def dct_threshold(images: Tensor, threshold: float) -> Tensor:
    """See ``ops.filters.dct_threshold``."""
    return dct_thresholds(images, (threshold,))[0]


def dct_thresholds(images: Tensor, thresholds: Sequence[float]) -> tuple[Tensor, ...]:
    """See ``ops.filters.dct_thresholds``."""
    side = DCT_SIDE
    basis = const(tuple(map(tuple, dct_matrix().tolist())), images).reshape(side * side, 1, side, side)
    flat = F.pad(images, (side - 1,) * 4, mode="reflect").flatten(0, 1)[:, None]
    found = F.conv2d(flat, basis, stride=DCT_STRIDE)
    height, width = images.shape[-2:]
    out = []
    for threshold in thresholds:
        weak = found.abs() < threshold
        weak[:, 0] = False
        summed = F.conv_transpose2d(found.masked_fill(weak, 0.0), basis, stride=DCT_STRIDE)
        inner = summed[..., side - 1 : side - 1 + height, side - 1 : side - 1 + width]
        out.append(inner.reshape(images.shape) / (side // DCT_STRIDE) ** 2)
    return tuple(out)


def _shifts(images: Tensor, size: int, mode: str) -> Iterator[Tensor]:
    """The images moved to each place of a square, row by row."""
    half, (height, width) = size // 2, images.shape[-2:]
    padded = F.pad(images, (half,) * 4, mode=mode)
    for row, column in np.ndindex(size, size):
        yield padded[..., row : row + height, column : column + width]
