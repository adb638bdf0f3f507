"""Common base of captioners, question answerers and the dual encoder: words, and an image to go with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Interval
from torch import Tensor, nn

from visionrl.datasets.words import UNK, Vocabulary
from visionrl.layers.transformer import word_vectors
from visionrl.models._images import ImageEncoder, ImageModel, fit_images

Positive = Annotated[int, Ge(1)]


class LanguageModel(ImageModel):
    """A model of images and words.

    Args:
        words: of the vocabulary, without the special ones.
        length: most words of a sentence, its end included; of a question, words that are read.
        side: of the square images in pixels; others are resized to it.
        channels: of the images.
        backbone: name of the trunk.
        width: of the vectors of places and words, a multiple of 4.
        dropout: share of inputs dropped in training.
        pretrained: take the published weights of the trunk, and keep them.
        frozen: the trunk does not learn; its maps are then worked out once.

    Attributes:
        vocabulary: of the words.
        image: the encoder of images; its ``trunk`` is a backbone for agents.
    """

    of_samples: ClassVar[Mapping[str, Any]] = {"min_count": Positive}

    def __init__(
        self,
        words: Sequence[str],
        length: Positive = 16,
        side: Positive = 96,
        channels: Positive = 3,
        backbone: str = "pyramid",
        width: Positive = 192,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.2,
        pretrained: bool = False,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.vocabulary, self.length = Vocabulary(words), length
        self.side, self.channels, self.width = side, channels, width
        self.image = ImageEncoder(backbone, channels, side, width, pretrained, frozen)
        self.embed = word_vectors(len(self.vocabulary), width)
        self.drop = nn.Dropout(dropout)

    def prepare(self, images: Iterable[np.ndarray]) -> Tensor:
        """(N, C, S, S) uint8 of images (C', H, W) uint8 of any size, see ``fit_images``."""
        return fit_images([*images], self.channels, self.side)

    def known_words(self, text: str, name: str = "question") -> np.ndarray:
        """(L,) int64, the numbers of a text's words, without an end.

        Args:
            text: in question.
            name: what a message calls it.

        Raises:
            ValueError: the model knows none of them.
        """
        words = self.vocabulary.encode(text, self.length, end=False)
        if not (words > UNK).any():
            raise ValueError(f"{name} must have a word that the model knows, got {text!r:.80}")
        return words
