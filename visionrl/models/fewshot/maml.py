"""Model-agnostic meta-learning: weights from which a few steps of gradient descent learn new classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from visionrl.models._model import Split
from visionrl.models._registry import register_model
from visionrl.models.fewshot._base import FewShotModel, Positive

Weights = dict[str, Tensor]


@register_model("maml")
class Maml(FewShotModel):
    """Weights that are fine-tuned on the support of each episode by gradient descent, all of them.

    "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", Finn, Abbeel & Levine, ICML 2017; by default to
    first order. The classes of an episode begin with one and the same row of the last layer, so that a model takes any
    number of them in any order ("How to Train Your MAML to Excel in Few-Shot Classification", Ye & Chao, ICLR 2022).
    BatchNorm takes the statistics of the support, for queries, too: an answer does not depend on the other queries. In
    training alone it takes those of the support and all queries together, since the gradient has to go through them.

    Args:
        way: classes of an episode of training, best as many as in the test.
        inner_steps: of gradient descent on the support in training.
        test_steps: likewise afterwards.
        inner_rate: of gradient descent.
        first_order: take the gradient at the end of the descent for that of the start.
        tasks: episodes of a step of training.
        options: see ``FewShotModel``.
    """

    evaluated = 40

    def __init__(
        self,
        *,
        way: Annotated[int, Ge(2)] = 5,
        inner_steps: Positive = 3,
        test_steps: Positive = 10,
        inner_rate: Annotated[float, Gt(0)] = 0.1,
        first_order: bool = True,
        tasks: Positive = 4,
        **options: Any,
    ) -> None:
        super().__init__(way=way, **options)
        self.inner_steps, self.test_steps, self.inner_rate = inner_steps, test_steps, inner_rate
        self.first_order, self.tasks = first_order, tasks
        self.row = nn.Parameter(torch.zeros(1, self.features))
        for module in self.image.trunk.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0  # the statistics are those of the last batch

    def batches(self, split: Split, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """The rows of ``tasks`` episodes a step."""
        several = [super(Maml, self).batches(split, size, generator) for _ in range(self.tasks)]
        return (torch.cat(rows) for rows in zip(*several, strict=True))

    def remember(self, images: Tensor) -> Tensor:
        """The images themselves, as the trunk changes with the support."""
        return images.to(self.row.device)

    def adapted(
        self, support: Tensor, labels: Tensor, steps: int, first_order: bool
    ) -> tuple[Weights, Weights]:
        """The weights after gradient descent on a support, and the statistics of its features before the last step."""
        trunk = self.image.trunk
        weights: Weights = {name: x for name, x in trunk.named_parameters() if x.requires_grad}
        weights["row"] = self.row.expand(int(labels.max()) + 1, -1)
        state = {name: x.clone() for name, x in trunk.named_buffers()}
        for _ in range(steps):
            loss = F.cross_entropy(self.scores(weights, state, support, True), labels)
            slopes = torch.autograd.grad(loss, [*weights.values()], create_graph=not first_order)
            pairs = zip(weights.items(), slopes, strict=True)
            weights = {name: x - self.inner_rate * slope for (name, x), slope in pairs}
        return weights, state

    def scores(self, weights: Weights, state: Weights, images: Tensor, learning: bool) -> Tensor:
        """(B, way) logits of images by some weights; learning writes the statistics of the batch into ``state``."""
        trunk, mode = self.image.trunk, self.image.trunk.training
        trunk.train(learning)
        others = {name: x for name, x in weights.items() if name != "row"}
        images = images.contiguous(memory_format=torch.channels_last)
        found = functional_call(trunk, {**others, **state}, (images,))
        trunk.train(mode)
        return found @ weights["row"].T

    def logits(self, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """See ``FewShotModel.logits``; of images."""
        with torch.enable_grad():
            weights, state = self.adapted(support, labels, self.test_steps, True)
        with torch.no_grad():
            self.scores(weights, state, support, True)  # the statistics at the last weights
            return self.scores(weights, state, query, False)

    def loss(self, batch: Split) -> Tensor:
        """Mean cross-entropy of the queries of some episodes, each after gradient descent on its support."""
        losses = []
        for images in batch["images"].chunk(self.tasks):
            support, labels, query, wanted = self.episode({"images": images})
            weights, state = self.adapted(support, labels, self.inner_steps, self.first_order)
            found = self.scores(weights, state, torch.cat([support, query]), True)
            losses.append(F.cross_entropy(found[len(support) :], wanted))
        return torch.stack(losses).mean()
