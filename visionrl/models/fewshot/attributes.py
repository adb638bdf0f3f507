"""Classes without a single image, known by their attributes: zero-shot learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.datasets import ImageSample
from visionrl.datasets.classes import class_numbers
from visionrl.models._images import CHUNK, device_of, fit_images
from visionrl.models._model import Model, Split
from visionrl.models._registry import register_model
from visionrl.models.fewshot._base import Positive, Trunk

UNSURE = 1e-6  # probabilities are kept that far from 0 and 1


def signatures_of(classes: Sequence[str]) -> tuple[list[str], list[str], np.ndarray]:
    """Names of classes, names of attributes (sorted), and which class has which: (K, A) bool.

    Args:
        classes: each "CLASS=ATTRIBUTE,ATTRIBUTE,...".

    Raises:
        ValueError: one is not of that form, a class stands twice, or two classes have the same attributes.
    """
    found: dict[str, frozenset[str]] = {}
    for text in classes:
        name, sign, rest = text.partition("=")
        if not sign or not name or name in found:
            raise ValueError(
                f"classes must be CLASS=ATTRIBUTE,ATTRIBUTE,... of different names, got {text!r}"
            )
        found[name] = frozenset(filter(None, rest.split(",")))
    attributes = sorted(frozenset().union(*found.values()))
    if len(found) < 2 or len(set(found.values())) < len(found):
        raise ValueError(f"classes must be two or more of different attributes, got {', '.join(classes)}")
    return [*found], attributes, np.array([[one in own for one in attributes] for own in found.values()])


def dap(probabilities: np.ndarray, signatures: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """(N, K) log posteriors of classes up to a constant a row, by direct attribute prediction.

    "Learning to Detect Unseen Object Classes by Between-Class Attribute Transfer", Lampert, Nickisch & Harmeling, CVPR
    2009: the product over attributes of p(a_m | x) / p(a_m).

    Args:
        probabilities: (N, A) of the attributes.
        signatures: (K, A) bool, which class has which.
        prior: (A,) shares of the classes seen in training that have an attribute.
    """
    p, q = np.clip(probabilities, UNSURE, 1 - UNSURE)[:, None], np.clip(prior, 0.05, 0.95)
    terms = np.where(signatures, np.log(p) - np.log(q), np.log1p(-p) - np.log1p(-q))
    return terms.sum(2)


def eszsl(
    features: np.ndarray, labels: np.ndarray, signatures: np.ndarray, gamma: float, lam: float
) -> np.ndarray:
    """(D, A) the matrix V of which x V s is the score of class signature s for features x, in closed form.

    "An embarrassingly simple approach to zero-shot learning", Romera-Paredes & Torr, ICML 2015.

    Args:
        features: (N, D) of images.
        labels: (N,) the class of each, a row of ``signatures``.
        signatures: (K, A) of the classes seen in training.
        gamma: weight of the norm of V s, > 0.
        lam: weight of the norm of x V, > 0.

    Raises:
        ValueError: a weight is not > 0.
    """
    if gamma <= 0 or lam <= 0:
        raise ValueError(f"gamma and lam must be > 0, got {gamma} and {lam}")
    x, s = np.asarray(features, float), np.asarray(signatures, float)
    wanted = 2.0 * (labels[:, None] == np.arange(len(s))) - 1
    left = x.T @ x + gamma * np.eye(x.shape[1])
    right = s.T @ s + lam * np.eye(s.shape[1])
    return np.linalg.solve(left, np.linalg.solve(right, (x.T @ wanted @ s).T).T)


@register_model("attributes")
class Attributes(Model):
    """The probability of each attribute of an image; classes follow from their attributes, seen in training or not.

    Direct attribute prediction (Lampert et al., 2009), see ``dap``: a trunk and a logistic regression an attribute.

    Args:
        classes: each "CLASS=ATTRIBUTE,ATTRIBUTE,..."; images of those in the training split are learnt from.
        backbone: name of the trunk.
        channels: of the images, 1 or 3.
        side: of the square images in pixels.
        grid: side of the grid that the trunk's map is pooled to.
        pretrained: take the published weights of the trunk, and keep them.
        frozen: the trunk does not learn.

    Attributes:
        names: of the classes.
        attributes: names, sorted.
        image: holds the trunk as ``image.trunk``, a backbone for agents.
    """

    kind = ImageSample
    data = "instances"
    score_name = "accuracy"
    signatures: Tensor

    def __init__(
        self,
        classes: Sequence[str],
        backbone: str = "conv4",
        channels: Literal[1, 3] = 3,
        side: Positive = 32,
        grid: Positive = 1,
        pretrained: bool = False,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.names, self.attributes, table = signatures_of(classes)
        self.image = Trunk(backbone, channels, side, grid, pretrained, frozen)
        self.head = nn.Linear(self.image.trunk.num_features, len(self.attributes))
        self.register_buffer("signatures", torch.from_numpy(table), persistent=False)
        self.channels, self.side = channels, side

    @classmethod
    def for_samples(cls, samples: Sequence[Any], options: Mapping[str, Any]) -> Model:
        """A model for the channels of training samples; ``classes`` must be among the options."""
        return cls.of({"channels": max(len(sample.image) for sample in samples), **options})

    def prepare(self, images: Sequence[np.ndarray]) -> Tensor:
        """(N, C, S, S) uint8 of images (C', H, W) uint8 of any size."""
        return fit_images([*images], self.channels, self.side)

    def encode(self, samples: Sequence[Any]) -> Split:
        """Images (N, C, S, S) uint8, and "labels" (N,) int64, the numbers of their classes among ``names``.

        Raises:
            ValueError: a sample has no class, or one that is not among them.
        """
        labels = torch.tensor(class_numbers(samples, self.names))
        return {"images": self.prepare([sample.image for sample in samples]), "labels": labels}

    def forward(self, images: Tensor) -> Tensor:
        """(B, A) logits of the attributes of images (B, C, S, S), uint8 or in [0, 1]."""
        return self.head(self.image(images))

    def loss(self, batch: Split) -> Tensor:
        """Mean binary cross-entropy of the attributes."""
        wanted = self.signatures[batch["labels"]].float()
        return F.binary_cross_entropy_with_logits(self(batch["images"]), wanted)

    @torch.inference_mode()
    def probabilities(self, images: Tensor) -> Tensor:
        """(N, A) on the CPU of images (N, C, S, S) uint8."""
        self.eval()
        home = device_of(self)
        return torch.cat([self(part.to(home)).sigmoid().cpu() for part in images.split(CHUNK)])

    def evaluate(self, samples: Sequence[Any], split: Split) -> dict[str, float]:
        """Accuracy of the classes by ``dap``, among those of the split, and mean accuracy of single attributes."""
        known, labels = torch.unique(split["labels"], return_inverse=True)
        likely, own = self.probabilities(split["images"]).numpy(), self.signatures[known].cpu().numpy()
        right = dap(likely, own, self.signatures.float().mean(0).cpu().numpy()).argmax(1) == labels.numpy()
        wanted = self.signatures[split["labels"]].cpu().numpy()
        return {"accuracy": float(right.mean()), "attributes": float(((likely > 0.5) == wanted).mean())}
