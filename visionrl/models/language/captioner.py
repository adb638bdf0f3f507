"""Base of the captioners: data, loss by teacher forcing, sentences, metrics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visionrl.datasets import CaptionSample
from visionrl.datasets.words import BOS, PAD, SPECIAL, Vocabulary, tokenize
from visionrl.metrics.captions import References, corpus_bleu
from visionrl.metrics.scene_tuples import SceneTuples
from visionrl.models._images import CHUNK, device_of
from visionrl.models._model import Model, Split
from visionrl.models.language._base import LanguageModel
from visionrl.models.language.decoding import How, Sentences, State, say

LONGEST = 24  # words of a sentence at most, its end included, where nothing else is said
REFERENCES = 2  # captions of an image that one step learns from


class Captioner(LanguageModel):
    """A network that says what an image shows, one word after another.

    A subclass has ``start``, ``step`` and ``follow``. It learns to give every word of the references the highest
    probability, given the image and the words before (teacher forcing; cross-entropy).

    Args:
        args: see ``LanguageModel``.
        options: likewise.
    """

    kind = CaptionSample
    data = "scenes"
    score_name = "cider_d"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.out = torch.nn.Linear(self.width, len(self.vocabulary))

    @classmethod
    def for_samples(cls, samples: Sequence[Any], options: Mapping[str, Any]) -> Model:
        """A captioner for the words of training samples, with some options given.

        ``min_count`` among the options leaves out rarer words; ``length`` is by default that of the longest caption
        and its end, 24 at most.
        """
        return cls.of(vocabulary_of(samples, options))

    @abstractmethod
    def start(self, places: Tensor) -> State:
        """The state before the first word, of the maps of images (B, width, h, w)."""

    def begin(self, images: Tensor) -> State:
        """The state before the first word, of images (B, C, S, S)."""
        return self.start(self.image(images))

    @abstractmethod
    def step(self, last: Tensor, state: State) -> tuple[Tensor, State, Tensor | None]:
        """Vectors (B, width) after one more word ``last`` (B,), the state, attention (B, h, w) or None."""

    @abstractmethod
    def follow(self, state: State, before: Tensor) -> Tensor:
        """Vectors (B, L, width) after each of some words (B, L) int64, of which the first is ``BOS``."""

    def next(self, last: Tensor, state: State) -> tuple[Tensor, State, Tensor | None]:
        """Logits (B, V) of the word after ``last`` (B,), the state, attention (B, h, w) or None."""
        found, state, seen = self.step(last, state)
        return self.out(self.drop(found)), state, seen

    def teach(self, state: State, before: Tensor) -> Tensor:
        """Logits (B, L, V) of all words, given those before each, (B, L) int64, of which the first is ``BOS``."""
        return self.out(self.drop(self.follow(state, before)))

    def encode(self, samples: Sequence[Any]) -> Split:
        """Images (N, C, S, S) uint8, and "captions" (N, R, L) int64, where there are fewer than R in turn."""
        images = self.prepare(sample.image for sample in samples)
        return {"images": images, "captions": encode_captions(samples, self.vocabulary, self.length)}

    def loss(self, batch: Split) -> Tensor:
        """Cross-entropy of the words of some references of each image."""
        captions = batch["captions"]
        several = min(REFERENCES, captions.shape[1])
        which = torch.rand(captions.shape[:2], device=captions.device).topk(several, 1).indices
        words = captions.gather(1, which[..., None].expand(-1, -1, self.length)).flatten(0, 1)
        words = words[:, : int((words > PAD).sum(1).max())]
        state = tuple(part.repeat_interleave(several, 0) for part in self.start(self.map_of(batch)))
        before = torch.cat([torch.full_like(words[:, :1], BOS), words[:, :-1]], 1)
        logits = self.teach(state, before)
        return F.cross_entropy(logits.flatten(0, 1).float(), words.flatten(), ignore_index=PAD)

    def say(self, images: Tensor, how: How = "greedy", **options: Any) -> Sentences:
        """Sentences about images (B, C, S, S), a part at a time; see ``decoding.say``."""
        home = device_of(self)
        parts = [say(self, part.to(home), how, **options) for part in images.split(CHUNK)]
        maps = [part.attention for part in parts if part.attention is not None]
        words, log_prob = (torch.cat(some).cpu() for some in list(zip(*parts, strict=True))[:2])
        return Sentences(words, log_prob, torch.cat(maps).cpu() if maps else None)

    def caption(self, images: Iterable[np.ndarray], how: How = "greedy", **options: Any) -> list[str]:
        """Sentences about images (C, H, W) uint8 of any size; see ``decoding.say``."""
        said = self.say(self.prepare(images), how, **options)
        return [self.vocabulary.decode(row) for row in said.words.tolist()]

    def evaluate(self, samples: Sequence[Any], split: Split, how: How = "greedy") -> dict[str, float]:
        """CIDEr-D (with the split's own document frequencies), BLEU, ROUGE-L; of scenes also tuple F1 and exact."""
        return caption_metrics(self.say(split["images"], how).words.numpy(), samples, self.vocabulary)


def vocabulary_of(samples: Sequence[CaptionSample], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a model of captions: those given, the words of training samples, and the length of the longest.

    Raises:
        ValueError: no sample has a caption.
    """
    given = dict(options)
    texts = [text for sample in samples for text in sample.captions]
    if not texts:
        raise ValueError("samples must have captions to learn from, got none")
    vocabulary = Vocabulary.build(texts, given.pop("min_count", 1))
    longest = max(len(tokenize(text)) for text in texts)
    return {"words": list(vocabulary.words[len(SPECIAL) :]), "length": min(longest + 1, LONGEST), **given}


def encode_captions(samples: Sequence[CaptionSample], vocabulary: Vocabulary, length: int) -> Tensor:
    """(N, R, L) int64, the captions of samples; where there are fewer than R they come again in turn.

    A sample without captions has padding alone.
    """
    most = max((len(sample.captions) for sample in samples), default=0)
    captions = np.zeros((len(samples), most, length), np.int64)
    for sample, rows in zip(samples, captions, strict=True):
        for number in range(most if len(sample.captions) else 0):
            rows[number] = vocabulary.encode(sample.captions[number % len(sample.captions)], length)
    return torch.from_numpy(captions)


def caption_metrics(
    words: np.ndarray, samples: Sequence[CaptionSample], vocabulary: Vocabulary
) -> dict[str, float]:
    """Metrics of one caption of each sample.

    Args:
        words: (N, L) int64.
        samples: with captions.
        vocabulary: of the words; words of the references that it lacks are taken for one unknown word.

    Raises:
        ValueError: a sample has no captions.
    """
    held = References([sample.captions for sample in samples], vocabulary)
    image = np.arange(len(samples))
    found = {"cider_d": float(held.cider_d(words, image).mean())}
    found |= corpus_bleu(held.bleu_statistics(words, image))
    found["rouge_l"] = float(held.rouge_l(words, image).mean())
    found["exact"] = float(held.exact(words, image).mean())
    if all(sample.facts for sample in samples):
        tuples = SceneTuples([sample.facts for sample in samples], vocabulary)
        found["tuple_f1"] = float(tuples.f1(words, image).mean())
    return found
