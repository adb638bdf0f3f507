"""A dual encoder: images and sentences as vectors of one space, in the form of CLIP (Radford et al., 2021)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.datasets import CaptionSample
from visionrl.layers.recurrent import init_recurrent, last_output
from visionrl.models._images import CHUNK, device_of
from visionrl.models._model import Model, Split
from visionrl.models._registry import register_model
from visionrl.models.language._base import LanguageModel
from visionrl.models.language.captioner import encode_captions, vocabulary_of

LARGEST_SCALE = 100.0  # of the logits, as in the paper


@register_model("dual_encoder")
class DualEncoder(LanguageModel):
    """Two towers that are trained so that an image lies nearest to its own caption among those of a batch (InfoNCE).

    "Learning Transferable Visual Models From Natural Language Supervision", Radford et al., ICML 2021: the form, not
    the weights, which are not to be had here: it knows the words that it was trained on. The image tower is a
    convolutional trunk, the text tower a GRU.

    Args:
        args: see ``LanguageModel``; ``width`` is that of the common space, too.
        options: likewise.
    """

    kind = CaptionSample
    data = "scenes"
    score_name = "recall_1"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        width = self.width
        self.read = nn.GRU(width, width, batch_first=True)
        init_recurrent(self.read)
        self.of_image = nn.Linear(self.image.grid_features, width)
        self.of_text = nn.Linear(width, width)
        self.scale = nn.Parameter(torch.tensor(2.66))  # its exponential is 1 / 0.07

    @classmethod
    def for_samples(cls, samples: Sequence[Any], options: Mapping[str, Any]) -> Model:
        """See ``Captioner.for_samples``."""
        return cls.of(vocabulary_of(samples, options))

    def encode(self, samples: Sequence[Any]) -> Split:
        """Images (N, C, S, S) uint8, and "captions" (N, R, L) int64."""
        images = self.prepare(sample.image for sample in samples)
        return {"images": images, "captions": encode_captions(samples, self.vocabulary, self.length)}

    def see(self, images: Tensor) -> Tensor:
        """(B, width) of length 1 of images (B, C, S, S)."""
        return self.of_map(self.image(images))

    def of_map(self, places: Tensor) -> Tensor:
        """(B, width) of length 1 of the maps of images."""
        return F.normalize(self.of_image(self.drop(self.image.grid(places))), dim=1)

    def understand(self, words: Tensor) -> Tensor:
        """(B, width) of length 1 of sentences (B, L) int64."""
        found = last_output(self.read, self.drop(self.embed(words)), words)
        return F.normalize(self.of_text(found), dim=1)

    def loss(self, batch: Split) -> Tensor:
        """InfoNCE over the images and one caption of each, both ways."""
        captions = batch["captions"]
        which = torch.randint(captions.shape[1], (len(captions),), device=captions.device)
        words = captions[torch.arange(len(captions)), which]
        scale = self.scale.exp().clamp_max(LARGEST_SCALE)
        logits = scale * self.of_map(self.map_of(batch)) @ self.understand(words).T
        right = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2

    def similarity(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(B, T) cosines of images (B, C, S, S) and texts.

        Raises:
            ValueError: a text has no word that the model knows.
        """
        for text in texts:
            self.known_words(text, "a text")
        return self.cosines(images, texts)

    @torch.inference_mode()
    def cosines(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(B, T), as ``similarity``, also of texts without a known word."""
        self.eval()
        words = torch.from_numpy(np.stack([self.vocabulary.encode(text, self.length) for text in texts]))
        home = device_of(self)
        sentences = self.understand(words.to(home))
        return torch.cat([self.see(part.to(home)) @ sentences.T for part in images.split(CHUNK)]).cpu()

    def classify(self, images: Iterable[np.ndarray], texts: Sequence[str]) -> list[int]:
        """The number of the text that fits each image (C, H, W) uint8 best: naming without training for the names."""
        return self.similarity(self.prepare(images), texts).argmax(1).tolist()

    @torch.inference_mode()
    def evaluate(self, samples: Sequence[Any], split: Split) -> dict[str, float]:
        """Recall at 1 and 5: the share of images whose first caption is among the nearest of all first captions.

        Captions that are the same sentence count as the same.
        """
        texts = [sample.captions[0] for sample in samples]
        names = sorted(set(texts))
        own = torch.tensor([names.index(text) for text in texts])
        order = self.cosines(split["images"], names).argsort(1, descending=True)
        hit = order == own[:, None]
        return {f"recall_{k}": float(hit[:, :k].any(1).float().mean()) for k in (1, 5)}
