"""The kernels of ``ops.resample`` on torch tensors, for accelerators; loaded only when a tensor is not on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from visionrl.ops.pyramid import Pyramid


def resize(pyramid: Pyramid, index: Tensor, level: Tensor, edges: Tensor, size: int) -> Tensor:
    """See ``ops.resample.resize``; ``level`` and ``edges`` are what ``Pyramid.locate`` gave."""
    pixels, (height, width, first) = pyramid.pixels.on(index), _layout(pyramid, level)
    low, high = edges[:, :2], edges[:, 2:]
    grid = (torch.arange(size, device=index.device) + 0.5) / size
    at = low[:, None] - 0.5 + grid[:, None] * (high - low)[:, None]  # (B, size, 2), (x, y), pixel centres
    near = torch.clamp(at, low[:, None].double(), (high - 1)[:, None].double())
    floor = torch.floor(near)
    weight = (near - floor).float()
    cells = floor.long()
    beyond = torch.minimum(cells + 1, (high - 1)[:, None])
    base = first + index * height * width * pyramid.channels
    corner = _Corners(pixels, base, height, width, pyramid.channels)
    xs, ys = torch.stack([cells[..., 0], beyond[..., 0]]), torch.stack([cells[..., 1], beyond[..., 1]])
    return _blend(
        [[corner.read(x[:, None, :], y[:, :, None]) for x in xs] for y in ys],
        weight[:, None, None, :, 0],
        weight[:, None, :, None, 1],
    )


def warp(images: Tensor, index: Tensor, matrix: Tensor, size: int) -> Tensor:
    """See ``ops.resample.warp``."""
    _, height, width, channels = images.shape
    line = torch.arange(size, device=index.device, dtype=matrix.dtype)
    y, x = torch.meshgrid(line, line, indexing="ij")
    grid = torch.stack([x, y, torch.ones_like(x)])  # (3, size, size)
    at = torch.einsum("brk,kij->brij", matrix, grid)
    floor = torch.floor(at)
    weight = (at - floor).float()
    cells = floor.long()
    full = torch.full_like(index, height), torch.full_like(index, width)
    corner = _Corners(images.reshape(-1), index * height * width * channels, *full, channels)
    return _blend(
        [[corner.read(cells[:, 0] + dx, cells[:, 1] + dy) for dx in (0, 1)] for dy in (0, 1)],
        weight[:, None, 0],
        weight[:, None, 1],
    )


class _Corners:
    """Pixels at whole positions of (H, W, C) images that lie in one flat tensor; 0 outside."""

    def __init__(self, pixels: Tensor, base: Tensor, height: Tensor, width: Tensor, channels: int) -> None:
        self.pixels, self.channels = pixels, channels
        self.base, self.height, self.width = (part[:, None, None] for part in (base, height, width))
        self.channel = torch.arange(channels, device=base.device)[None, :, None, None]

    def read(self, x: Tensor, y: Tensor) -> Tensor:
        """x, y (B, h, w) int64, which may broadcast -> (B, C, h, w) float32."""
        inside = (x >= 0) & (y >= 0) & (x < self.width) & (y < self.height)
        cell = self.base + (y * self.width + x) * self.channels
        cell = torch.where(inside, cell, torch.zeros_like(cell))[:, None] + self.channel
        return torch.take(self.pixels, cell).float() * inside[:, None]


def _layout(pyramid: Pyramid, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Height, width and first pixel of each row's level, (B,) int64."""
    rows, first = [], 0
    for items, height, width, channels in pyramid.shapes:
        rows.append((height, width, first))
        first += items * height * width * channels
    table = torch.tensor(rows, device=level.device)[level]
    return table[:, 0], table[:, 1], table[:, 2]


def _blend(corners: list[list[Tensor]], right: Tensor, below: Tensor) -> Tensor:
    """Bilinear mixture of 2 x 2 corners, rounded to uint8."""
    (a, b), (c, d) = corners
    top, bottom = a + (b - a) * right, c + (d - c) * right
    return torch.round(top + (bottom - top) * below).to(torch.uint8)
