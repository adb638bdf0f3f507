"""MoCo: a view finds its like among a queue of keys from a slower encoder (He et al., 2020)."""

from __future__ import annotations

from copy import deepcopy
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.models._model import Split
from visionrl.models._registry import register_model
from visionrl.models.pretext._base import Figures, Pretext, to_unit
from visionrl.models.pretext._contrast import projector, queue_loss, retrieval
from visionrl.models.pretext._views import view
from visionrl.models.pretext.simclr import Temperature, pairs


@register_model("moco")
class MoCo(Pretext):
    """The network finds the key of each view among a queue of earlier images' keys, which its slow copy makes.

    "Momentum contrast for unsupervised visual representation learning" (He et al., 2020), with the projector of its
    second version (Chen, Fan, Girshick & He, 2020). There is one device, so BatchNorm is not shuffled: prefer
    backbones without it.

    Args:
        queue: keys that are kept.
        momentum: share of itself that the copy keeps in a step.
        temperature: of the similarities.
        options: see ``Pretext``.
    """

    queue: Tensor
    place: Tensor

    def __init__(
        self,
        queue: Annotated[int, Interval(ge=2, le=65536)] = 2048,
        momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.99,
        temperature: Temperature = 0.2,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.momentum, self.temperature = momentum, temperature
        self.project = projector(self.backbone.num_features)
        self.slow = deepcopy(nn.Sequential(self.backbone, self.project)).requires_grad_(False)
        generator = torch.Generator().manual_seed(0)
        keys = F.normalize(torch.randn(queue, 128, generator=generator), dim=1)
        self.register_buffer("queue", keys)
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def objective(self, batch: Split, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """InfoNCE, and the share of views that find their key in the batch; in training the queue moves on."""
        images = to_unit(batch["images"])
        query = self.project(self.backbone(view(images, generator, self.colour)))
        with torch.no_grad():
            if self.training:
                self.follow()
            key = F.normalize(self.slow(view(images, generator, self.colour)), dim=1)
        loss = queue_loss(query, key, self.queue.clone(), self.temperature)
        if self.training:
            self.push(key)
        return loss, {"accuracy": retrieval(query.detach(), key).float().mean().item()}

    @torch.no_grad()
    def follow(self) -> None:
        """Move the slow copy a little towards the network."""
        fast = [*self.backbone.parameters(), *self.project.parameters()]
        for slow, now in zip(self.slow.parameters(), fast, strict=True):
            slow.lerp_(now, 1 - self.momentum)

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Put keys (B, d) of length 1 in place of the oldest ones."""
        count = len(self.queue)
        where = (int(self.place) + torch.arange(len(keys), device=keys.device)) % count
        self.queue[where[-count:]] = keys[-count:]
        self.place.fill_((int(self.place) + len(keys)) % count)

    @torch.no_grad()
    def picture(self, images: Tensor, generator: torch.Generator) -> np.ndarray:
        """Pairs of views, and of the keys the one that is nearest to the first view."""
        first, second = (view(to_unit(images), generator, self.colour) for _ in range(2))
        return pairs(self.colour, first, second, self.project(self.backbone(first)), self.slow(second))
