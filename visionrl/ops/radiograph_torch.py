"""The kernel of ``ops.radiograph`` on torch tensors; loaded only when a tensor is not on the CPU, or by name."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from visionrl.ops.radiograph import Beam, Densities


def render(densities: Densities, index: Tensor, beam: Beam, size: int) -> Tensor:
    """See ``ops.radiograph.render``."""
    store = densities.slices.on(index)
    sides, spacing = densities.sizes.on(index)[index], densities.spacings.on(index)[index]
    order = torch.tensor(densities.axes, device=index.device)
    rays = _rays(beam, size)[:, order]  # (B, 3, size, size), along K, U, Z
    source = beam.source[:, order]
    sides, spacing = (part[:, :, None, None] for part in (sides, spacing))
    slope, middle = (
        rays[:, 1:] / rays[:, :1] * spacing[:, :1] / spacing[:, 1:],
        (sides - 1) / 2,
    )  # voxels a slice
    ahead = (
        source[:, :1, None, None] / spacing[:, :1] + middle[:, :1]
    )  # slices from the first one to the source
    first = source[:, 1:, None, None] / spacing[:, 1:] + middle[:, 1:] - ahead * slope
    ends = torch.tensor(store.shape[:1:-1], device=index.device).clamp(min=2) - 1  # of U and Z
    start, step = ((2 * way.permute(0, 2, 3, 1) / ends).float() for way in (first, slope))
    total = torch.zeros((len(index), size, size), device=index.device)
    for number in range(store.shape[1]):  # slices beyond a smaller volume are 0
        seen = F.grid_sample(store[index, number][:, None], start + number * step - 1, align_corners=True)
        total = total + seen[:, 0]
    stride = spacing[:, 0] * rays.square().sum(dim=1).sqrt() / rays[:, 0].abs()
    return total * stride.float()


def _rays(beam: Beam, size: int) -> Tensor:
    """(B, 3, size, size) ways from the source to every pixel."""
    line = torch.arange(size, device=beam.source.device, dtype=beam.source.dtype)
    start, right, down = (way[:, :, None, None] for way in (beam.corner - beam.source, beam.right, beam.down))
    return start + right * line + down * line[:, None]
