"""Goals in words: how well what an image shows fits sentences, or answers a question, as a score of observations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch

from visionrl.core import check_choice
from visionrl.metrics.captions import References
from visionrl.models.language.answerer import Answerer
from visionrl.models.language.captioner import Captioner
from visionrl.models.language.dual_encoder import DualEncoder
from visionrl.reward_models._images import ScoreOfImages, fitted

Metric = Literal["bleu", "rouge_l"]


class CaptionReward(ScoreOfImages):
    """Score of a captioner's sentence about the image against sentences that are wanted: BLEU-4 or ROUGE-L, in [0, 1].

    The captioner says the likeliest words (greedy). CIDEr-D is not offered: it weighs words by how many of several
    images' references have them, and here there is one goal, so every weight would be 0.

    Args:
        captioner: trained, see ``visionrl.models.load_model``.
        references: the sentences that are wanted.
        metric: "rouge_l", or "bleu", smoothed for single sentences.
        key: name of the image in the observation.
        channels: which channels of the image the captioner sees; None is all.
        batch: images per call of the captioner.

    Raises:
        ValueError: there is no sentence, or the captioner knows no word of one.
    """

    network: Captioner

    def __init__(
        self,
        captioner: Captioner,
        references: Sequence[str],
        metric: Metric = "rouge_l",
        key: str = "window",
        channels: slice | None = None,
        batch: int = 256,
    ) -> None:
        super().__init__(captioner, key, channels, batch)
        check_choice("metric", metric, get_args(Metric))
        if isinstance(references, str) or not len(references):
            raise ValueError(f"references must be one or more sentences, got {references!r:.80}")
        for text in references:
            captioner.known_words(text, "references")
        self.metric = metric
        self.references = References([list(references)], captioner.vocabulary)

    def score(self, images: torch.Tensor) -> np.ndarray:
        """(B,) float64 of images (B, C, H, W) uint8."""
        net = self.network
        said = net.say(fitted(images, net)).words.numpy()
        return np.asarray(getattr(self.references, self.metric)(said, np.zeros(len(said), np.int64)))


class TextMatch(ScoreOfImages):
    """Nearness of an image and a sentence in the space of a dual encoder: (1 + cosine) / 2, in [0, 1].

    Args:
        dual_encoder: trained, see ``visionrl.models.load_model``.
        text: the sentence.
        key: name of the image in the observation.
        channels: which channels of the image the encoder sees; None is all.
        batch: images per call of the encoder.

    Raises:
        ValueError: the encoder knows no word of the sentence.
    """

    network: DualEncoder

    def __init__(
        self,
        dual_encoder: DualEncoder,
        text: str,
        key: str = "window",
        channels: slice | None = None,
        batch: int = 256,
    ) -> None:
        super().__init__(dual_encoder, key, channels, batch)
        dual_encoder.known_words(text, "text")
        self.text = text

    def score(self, images: torch.Tensor) -> np.ndarray:
        """(B,) float64 of images (B, C, H, W) uint8."""
        net = self.network
        seen = fitted(images, net)
        return (1 + net.similarity(seen, [self.text])[:, 0].double().numpy()) / 2


class AnswerReward(ScoreOfImages):
    """Probability that a question about the image has the answer that is wanted, in [0, 1].

    Args:
        answerer: trained, see ``visionrl.models.load_model``.
        question: such as "is there a red bag".
        answer: such as "yes".
        key: name of the image in the observation.
        channels: which channels of the image the answerer sees; None is all.
        batch: images per call of the answerer.

    Raises:
        ValueError: the answerer knows no word of the question, or not the answer.
    """

    network: Answerer

    def __init__(
        self,
        answerer: Answerer,
        question: str,
        answer: str,
        key: str = "window",
        channels: slice | None = None,
        batch: int = 256,
    ) -> None:
        super().__init__(answerer, key, channels, batch)
        if answer not in answerer.answers:
            raise ValueError(f"answer must be one of {', '.join(answerer.answers[:40])}, got {answer!r}")
        self.words = torch.from_numpy(answerer.known_words(question))
        self.number = answerer.answers.index(answer)

    def score(self, images: torch.Tensor) -> np.ndarray:
        """(B,) float64 of images (B, C, H, W) uint8."""
        net = self.network
        seen = fitted(images, net)
        likely = net.predict(seen, self.words.expand(len(seen), 1, -1))
        return likely[:, 0, self.number].double().numpy()
