"""Memory of labelled images: how alike the image now is to each of those whose labels were told."""

from __future__ import annotations

import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional

LABEL = "label"  # key of the label of the observation before, one-hot, zeros where it was not told
SCALE = 10.0  # of cosines in a softmax, at first


class MatchingMemory(nn.Module):
    """A matching network's head over an episode (Vinyals et al., 2016): the past is a support set.

    The label in one observation belongs to the image of the observation before. Of each slot the head gives the cosine
    of the image now to the mean of its images (Snell et al., 2017), the probability that follows from these, the cosine
    to the nearest image, the share of the attention over all that were told, and whether any was told; and how much of
    the window is filled. Whatever a slot is called, the same numbers come out in its place.

    Args:
        slots: K, length of the labels.

    Attributes:
        num_features: 5 K + 1.
        weights: (B, T), attention of the last forward; zeros where nothing was told.
    """

    def __init__(self, slots: int) -> None:
        super().__init__()
        self.num_features = 5 * slots + 1
        self.log_scale = nn.Parameter(torch.tensor(SCALE).log())
        self.weights = torch.zeros(0, 0)

    def forward(self, features: Tensor, real: Tensor, labels: Tensor) -> Tensor:
        """(B, 5 K + 1) from (B, T, n), a mask (B, T), True at the end of each row, and labels (B, T, K)."""
        centred = features - features.mean(dim=2, keepdim=True)
        vectors = functional.normalize(centred, dim=2) * real[..., None]
        told = torch.cat([labels[:, 1:], torch.zeros_like(labels[:, :1])], dim=1)
        cosines = (vectors @ vectors[:, -1, :, None])[..., 0]
        known = told.amax(dim=1)
        means = functional.normalize(told.mT @ vectors, dim=2)
        to_means = (means @ vectors[:, -1, :, None])[..., 0]
        to_nearest = (told * (cosines[..., None] + 1)).amax(dim=1) - known
        scale, some = self.log_scale.exp(), known.amax(dim=1, keepdim=True)
        likely = (scale * to_means).masked_fill(known < 0.5, -1e4).softmax(dim=1) * some
        weights = (scale * cosines).masked_fill(told.amax(dim=2) < 0.5, -1e4).softmax(dim=1) * some
        self.weights = weights.detach()
        votes = (weights[:, None] @ told)[:, 0]
        filled = real.to(features.dtype).mean(dim=1, keepdim=True)
        return torch.cat([to_means, to_nearest, votes, known, likely, filled], dim=1)


def label_slots(space: spaces.Dict) -> int:
    """Number of slots of the labels in an observation.

    Raises:
        ValueError: it shows none.
    """
    label = space.spaces.get(LABEL)
    if not isinstance(label, spaces.Box) or len(label.shape) != 1:
        raise ValueError(f"memory must not be matching where no {LABEL!r} is shown, got {', '.join(space)}")
    return label.shape[0]
