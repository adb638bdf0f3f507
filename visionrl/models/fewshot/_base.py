"""Common base of few-shot models: a trunk, training in episodes, and classes given by a few images each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.backbones import Backbone, make_backbone
from visionrl.datasets import ImageSample
from visionrl.datasets.classes import image_class
from visionrl.models._images import CHUNK, device_of, fit_images
from visionrl.models._model import Model, Split
from visionrl.models.fewshot.episodes import EpisodeSampler, episode_accuracies

Positive = Annotated[int, Ge(1)]

WAY, SHOTS, QUERY = 5, (1, 5), 15  # of an evaluation
SEED = 20260


class Trunk(nn.Module):
    """Holds a backbone as ``trunk``, under the name that it has in the files of all models.

    Args:
        backbone: name.
        channels: of the images.
        side: of the images in pixels.
        grid: side of the grid that the map is pooled to; 1 leaves the backbone its own pooling.
        pretrained: take the published weights, and keep them.
        frozen: it does not learn.
    """

    trunk: Backbone

    def __init__(
        self, backbone: str, channels: int, side: int, grid: int, pretrained: bool, frozen: bool
    ) -> None:
        super().__init__()
        pool = None if grid == 1 else grid
        self.trunk = make_backbone(
            backbone, channels, pretrained, frozen=frozen or pretrained, image_size=side, pool=pool
        )
        self.channels, self.side = channels, side

    def forward(self, images: Tensor) -> Tensor:
        """(B, features) of images (B, C, S, S), uint8 or in [0, 1]."""
        return self.trunk(images.contiguous(memory_format=torch.channels_last))


class FewShotModel(Model):
    """A model of classes that it gets to know by a few images each.

    Args:
        backbone: name of the trunk.
        channels: of the images, 1 or 3.
        side: of the square images in pixels; others are resized to it.
        grid: side of the grid that the trunk's map is pooled to.
        way: classes of an episode of training.
        shot: images of each class to learn from in an episode of training.
        query: images of each class to be told apart in an episode of training.
        episodes: in an epoch, one a step.
        turns: 4 takes the quarter turns of a class for classes of their own (Santoro et al., 2016), 8 those of its
            mirror image, too; 1 takes none.
        distort: strength of random affine distortions of the images of training; 1 is that of Koch et al. (2015).
        pretrained: take the published weights of the trunk, and keep them.
        frozen: the trunk does not learn.

    Attributes:
        image: holds the trunk as ``image.trunk``, a backbone for agents.
    """

    kind = ImageSample
    data = "instances"
    score_name = "accuracy_1"
    evaluated: ClassVar[int] = 200  # episodes

    def __init__(
        self,
        backbone: str = "conv4",
        channels: Literal[1, 3] = 3,
        side: Positive = 28,
        grid: Positive = 1,
        way: Annotated[int, Ge(2)] = 20,
        shot: Positive = 1,
        query: Positive = 4,
        episodes: Positive = 100,
        turns: Literal[1, 4, 8] = 1,
        distort: Annotated[float, Interval(ge=0, le=2)] = 0.0,
        pretrained: bool = False,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.image = Trunk(backbone, channels, side, grid, pretrained, frozen)
        self.channels, self.side, self.way, self.shot, self.query = channels, side, way, shot, query
        self.episodes, self.turns, self.distort = episodes, turns, distort

    @property
    def features(self) -> int:
        """Length of ``embed``."""
        return self.image.trunk.num_features

    @classmethod
    def for_samples(cls, samples: Sequence[Any], options: Mapping[str, Any]) -> Model:
        """A model for the channels of training samples, with some options given.

        Raises:
            ValueError: an option is wrong, a sample has no class, or there are too few for an episode.
        """
        channels = max(len(sample.image) for sample in samples)
        model = cls.of({"channels": channels, **options})
        assert isinstance(model, FewShotModel)
        labels = [image_class(sample, number) for number, sample in enumerate(samples)]
        EpisodeSampler(labels, model.way, model.shot, model.query, np.random.default_rng(0))
        return model

    def prepare(self, images: Iterable[np.ndarray]) -> Tensor:
        """(N, C, S, S) uint8 of images (C', H, W) uint8 of any size, see ``fit_images``."""
        return fit_images([*images], self.channels, self.side)

    def encode(self, samples: Sequence[Any]) -> Split:
        """Images (N, C, S, S) uint8, and "labels" (N,) int64, the numbers of the sorted classes of the samples."""
        names = [image_class(sample, number) for number, sample in enumerate(samples)]
        labels = torch.from_numpy(np.unique(names, return_inverse=True)[1])
        return {"images": self.prepare(sample.image for sample in samples), "labels": labels}

    def augmented(self, split: Split) -> Split:
        """The split with the turned and mirrored images as further classes, if ``turns`` wants them."""
        images, labels = split["images"], split["labels"]
        count = int(labels.max()) + 1
        turned = [torch.rot90(images, number % 4, (2, 3)) for number in range(self.turns)]
        turned[4:] = [part.flip(3) for part in turned[4:]]
        return {
            "images": torch.cat(turned).contiguous(),
            "labels": torch.cat([labels + number * count for number in range(self.turns)]),
        }

    def batches(self, split: Split, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """The rows of one episode a step; ``size`` is of no account."""
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        sampler = EpisodeSampler(split["labels"].numpy(), self.way, self.shot, self.query, rng)
        for _ in range(self.episodes):
            yield torch.from_numpy(sampler.sample().rows)

    def steps_per_epoch(self, count: int, size: int) -> int:
        """Episodes of an epoch."""
        return self.episodes

    def embed(self, images: Tensor) -> Tensor:
        """(B, features) of images (B, C, S, S), uint8 or in [0, 1]."""
        return self.image(images)

    def distorted(self, images: Tensor) -> Tensor:
        """(B, C, S, S) in [0, 1] of uint8 images to learn from, distorted if ``distort`` wants it."""
        images = images.float() / 255
        return affine_distortions(images, self.distort) if self.distort else images

    @abstractmethod
    def logits(self, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """(Q, way) logits of what ``remember`` keeps of queries, from that of support images.

        Args:
            support: (N, ...).
            labels: (N,) int64 from 0 to way - 1; each is there.
            query: (Q, ...).
        """

    @torch.no_grad()
    def remember(self, images: Tensor) -> Tensor:
        """Features of images (N, C, S, S) uint8, as ``logits`` takes them."""
        self.eval()
        home = device_of(self)
        return torch.cat([self.embed(part.to(home)) for part in images.split(CHUNK)])

    def classify(
        self, support: Sequence[np.ndarray], labels: Sequence[int], images: Sequence[np.ndarray]
    ) -> np.ndarray:
        """(Q, way) float64 probabilities of the classes of images, each (C', H, W) uint8.

        Args:
            support: images of the classes, each (C', H, W) uint8.
            labels: the class of each, from 0 to way - 1; each is there.
            images: Q in number.

        Raises:
            ValueError: there is no image, or a class without one.
        """
        known = torch.as_tensor(labels, dtype=torch.int64)
        if len(known) != len(support) or not len(known):
            raise ValueError(f"labels must be one a support image, got {len(known)} for {len(support)}")
        if not torch.equal(known.unique(), torch.arange(int(known.max()) + 1)):
            raise ValueError(f"labels must be 0 to way - 1, each there, got {sorted(set(known.tolist()))}")
        home = device_of(self)
        kept, asked = (self.remember(self.prepare(some)) for some in (support, images))
        found = self.logits(kept, known.to(home), asked).detach()
        if not torch.isfinite(found).all():
            raise ValueError(f"logits of {self.name} must be finite; does the trunk give NaN?")
        return found.double().softmax(1).cpu().numpy()

    def accuracies(
        self,
        split: Split,
        way: int,
        shot: int,
        query: int = QUERY,
        count: int | None = None,
        seed: int = SEED,
    ) -> np.ndarray:
        """(count,) the accuracy in each of some episodes of a split, see ``EpisodeSampler``; None is ``evaluated``."""
        sampler = EpisodeSampler(split["labels"].numpy(), way, shot, query, np.random.default_rng(seed))
        kept, home = self.remember(split["images"]), device_of(self)

        def logits(support: Tensor, labels: Tensor, asked: Tensor) -> Tensor:
            return self.logits(kept[support.to(home)], labels.to(home), kept[asked.to(home)]).detach()

        return episode_accuracies(sampler, logits, count or self.evaluated)

    def evaluate(self, samples: Sequence[Any], split: Split) -> dict[str, float]:
        """Mean accuracy of episodes of five classes with one image of each, and with five where there are enough.

        Raises:
            ValueError: there are fewer than two classes, or one has a single image.
        """
        counts = torch.bincount(split["labels"])
        way, most = min(WAY, len(counts)), int(counts.min())
        shots = [shot for shot in SHOTS if shot == 1 or shot < most]
        return {
            f"accuracy_{shot}": float(
                self.accuracies(split, way, shot, max(1, min(QUERY, most - shot))).mean()
            )
            for shot in shots
        }

    def episode(self, batch: Split) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The images of an episode of training: support, its classes, query, its classes."""
        images = self.distorted(batch["images"])
        both = images.unflatten(0, (self.way, self.shot + self.query))
        support, query = both[:, : self.shot].flatten(0, 1), both[:, self.shot :].flatten(0, 1)
        numbers = torch.arange(self.way, device=images.device)
        return support, numbers.repeat_interleave(self.shot), query, numbers.repeat_interleave(self.query)

    def loss(self, batch: Split) -> Tensor:
        """Cross-entropy of the queries of an episode."""
        support, labels, query, wanted = self.episode(batch)
        kept = self.embed(torch.cat([support, query]))
        return F.cross_entropy(self.logits(kept[: len(support)], labels, kept[len(support) :]), wanted)


def class_means(features: Tensor, labels: Tensor) -> Tensor:
    """(way, D) means of features (N, D) by class (N,)."""
    member = F.one_hot(labels).to(features)
    return (member.T @ features) / member.sum(0)[:, None]


def affine_distortions(images: Tensor, strength: float) -> Tensor:
    """Images (B, C, S, S) in [0, 1], each turned, sheared, scaled and shifted at random; edges are drawn out.

    The ranges of Koch et al. (2015) at strength 1: 10 degrees, shear 0.3, scale 0.8 to 1.2, a fourteenth of the side.
    """
    turn, shear_x, shear_y, scale_x, scale_y, *shift = (
        strength * (2 * torch.rand(7, len(images), device=images.device) - 1)
    ).unbind(0)
    angle = turn * (torch.pi / 18)
    linear = (
        torch.stack(
            [
                torch.stack([angle.cos(), -angle.sin() + 0.3 * shear_x], 1),
                torch.stack([angle.sin() + 0.3 * shear_y, angle.cos()], 1),
            ],
            1,
        )
        * torch.stack([1 + 0.2 * scale_x, 1 + 0.2 * scale_y], 1)[:, None]
    )
    matrix = torch.cat([linear, torch.stack(shift, 1)[:, :, None] / 7], 2)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
