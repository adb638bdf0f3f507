"""Captioning: describe an image word by word; the reward is a metric of the sentence."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Interval
from gymnasium import spaces

from visionrl.banks.captions import SCORES, caption_bank, vocabulary_of
from visionrl.banks.squares import square_bank
from visionrl.core import arguments, register
from visionrl.core.observables import Image, OneHot, Words
from visionrl.core.results import Caption
from visionrl.datasets import CaptionSample, ImageSample
from visionrl.datasets.words import EOS, SPECIAL, Vocabulary
from visionrl.envs.language.pictures import with_lines
from visionrl.envs.select import Select, Selection
from visionrl.metrics.captions import References, corpus_bleu
from visionrl.ops import Array, one_hot, xp_of
from visionrl.rendering import Canvas

LETTERS = 9  # of a word and the space behind it, at most, for most words
Metric = Literal["cider_d", "bleu_4", "rouge_l", "tuple_f1"]


@dataclass(frozen=True)
class State(Selection):
    """The words said so far; B episodes of at most L words. ``taken`` are their numbers, 0 beyond the last.

    Attributes:
        image: (B,) int64, index into the bank.
        finished: (B,) bool, whether the sentence is at its end.
        score: (B,) float64, what the sentence would earn if it ended here.
    """

    image: Array
    finished: Array
    score: Array


@register(
    "CaptionGeneration-v0",
    max_steps=64,
    tags=("language", "2d", "discrete", "selection"),
    presets={
        "vinyals2015": {"reward_at": "end", "metric": "bleu_4", "max_words": 20, "min_count": 5},
        "rennie2017": {"reward_at": "end", "metric": "cider_d", "min_count": 5},
    },
)
@arguments
class CaptionGeneration(Select[State]):
    """The agent describes an image, one word a step, until it says that the sentence is over.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``image`` (C, side, side) uint8; ``words`` (L,) int16: numbers of the words said so far, 0 beyond; ``count`` one-hot: how many they are |
    | Action      | Discrete(V), see below |
    | Reward      | what the word adds to the score of the sentence against the references, or the whole score at the end; CIDEr-D counts a tenth, so that a perfect sentence earns 1 |
    | Ends        | when the agent ends the sentence, or after L words |

    | Action | Meaning |
    |--------|---------|
    | 0, 1, 3 | padding, begin, an unknown word: taken for the end; masked |
    | 2 | the end of the sentence; masked at the first word |
    | 4 to V - 1 | say this word of ``vocabulary``; masked where it was the last one |

    The score counts the end as a word, else sentences that break off after "a" cost nothing. N-grams weigh by how rare
    they are among the captions of the split, as in COCO's evaluation. ``info`` has ``cider_d`` (0 to 10, without the
    end), ``exact``, 1 where the sentence is one of the references, ``words``, and where facts are known ``tuple_f1``,
    the harmonic mean of the shares of what is said that is true, and of what is true that is said. BLEU-1 to BLEU-4
    and ROUGE-L are metrics of the whole split. METEOR and SPICE are left out.

    The embedded scenes have references that follow exactly from what was put into them. The expert says on what a
    reference says that begins as the sentence does. Source: Vinyals et al. (2015), "Show and tell"; the rewards are
    those of Ranzato et al. (2016) and Rennie et al. (2017), "Self-critical sequence training".
    """

    max_words: Annotated[int, Interval(ge=2, le=62)] = 16
    """Number of steps of the longest sentence, L; the end is one of them."""
    vocabulary: Sequence[str] | None = None
    """Words that can be said, in the order of their numbers; None takes those of the captions of the training split."""
    min_count: Annotated[int, Ge(1)] = 1
    """Words that are rarer than this in the training split cannot be said."""
    max_vocabulary: Annotated[int, Ge(8)] | None = None
    """Most words of the vocabulary, the four special ones included; None has no limit."""
    metric: Metric | Mapping[str, float] = "cider_d"
    """Score that is rewarded, or several with their weights, as in {"cider_d": 1, "tuple_f1": 0.5}."""
    reward_at: Literal["step", "end"] = "step"
    """Pay what each word adds, or all at the end; the sums are equal."""
    success: Annotated[float, Interval(ge=0.0, le=10.0)] = 1.0
    """CIDEr-D from which a caption is a success."""
    side: Annotated[int, Ge(16)] = 96
    """Side of the square that images are squeezed to, pixels."""
    channels: Literal[1, 3] | None = None
    """1 shows all images grey, 3 in RGB; None is RGB if an image of the split is."""

    sample_type, unlabelled_type, embedded = CaptionSample, ImageSample, "scenes"
    primary_metric = ("cider_d", True)

    def setup(self) -> None:
        self.words = self.own_vocabulary()
        named = self.labelled or isinstance(self.data, str | None)
        plain = not named and len(self.data) and isinstance(self.data[0], ImageSample)
        self.samples = self.load(kind=ImageSample if plain else CaptionSample)
        self.items, size = len(self.samples), len(self.words)
        self.bank = square_bank(self.samples, self.side, self.channels)
        if self.labelled:
            self.load_captions()
        self.action_space = spaces.Discrete(size)
        self.show(
            image=Image(self.bank.channels, self.side),
            words=Words(size, self.longest),
            count=OneHot(self.longest),
        )

    def own_vocabulary(self) -> Vocabulary:
        """The words that can be said."""
        if self.vocabulary is None and not self.labelled:
            raise ValueError("vocabulary must be given where data has no captions, got None")
        if self.vocabulary is None:
            samples = self.load(split="train") if isinstance(self.data, str | None) else self.load()
            found = vocabulary_of(samples, self.min_count, self.max_vocabulary)
        else:
            found = tuple(self.vocabulary)
        if len(found) < len(SPECIAL):
            raise ValueError(f"vocabulary must have {len(SPECIAL)} words or more, got {list(found)}")
        return Vocabulary(found)

    def load_captions(self) -> None:
        """Make the tables of the references, and check that they can be scored."""
        if bare := next((sample.name for sample in self.samples if not sample.captions), None):
            raise ValueError(f"samples must have captions, {bare!r} has none")
        own = self.words.words[len(SPECIAL) :]
        self.references = caption_bank(self.samples, own, self.longest)
        if self.references.cut:
            total = sum(len(sample.captions) for sample in self.samples)
            warnings.warn(
                f"{self.references.cut} of {total} captions have more than {self.longest - 1} words; max_words cuts what "
                "the expert says of them",
                stacklevel=2,
            )
        weights = {self.metric: 1.0} if isinstance(self.metric, str) else dict(self.metric)
        if not weights or not set(weights) <= set(SCORES):
            raise ValueError(f"metric must be of {', '.join(SCORES)}, got {', '.join(weights) or 'none'}")
        if not all(isinstance(one, int | float) and np.isfinite(one) for one in weights.values()):
            raise ValueError(f"metric must have finite numbers for weights, got {weights}")
        if "tuple_f1" in weights and self.references.tuples is None:
            raise ValueError("metric must not be tuple_f1 where the facts of the images are unknown")
        self.weights = weights
        self.dataset_metrics = [CorpusMetrics(self.references.metric)]

    @property
    def longest(self) -> int:
        """Most steps of an episode, L."""
        return self.max_words

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"vocabulary": list(self.words.words[len(SPECIAL) :]), "channels": self.bank.channels}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        return State(
            taken=np.zeros(self.longest, np.int64),
            step=np.int64(0),
            image=np.int64(item),
            finished=np.False_,
            score=np.float64(0),
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.taken)
        word = xp.astype(action, xp.int64)
        word = xp.where(word >= len(SPECIAL), word, xp.full_like(word, EOS))
        taken = xp.where(state.finished[:, None], state.taken, self.take(state, word))
        count = state.step + xp.astype(~state.finished, xp.int64)
        over = state.finished | (word == EOS) | (count >= self.longest)
        score = self.score_of(taken, state.image) if self.labelled else state.score
        return replace(state, taken=taken, step=count, finished=over, score=score)

    def score_of(self, words: Array, image: Array) -> Array:
        """(B,) float64, the weighted scores of sentences."""
        parts = [weight * self.references.score(name, words, image) for name, weight in self.weights.items()]
        return sum(parts[1:], start=parts[0])

    def observe(self, state: State) -> dict[str, Array]:
        return self.seen(image=self.bank.rows(state.image), words=state.taken, count=state.step)

    def reward(self, before: State, action: Array, after: State) -> Array:
        if self.reward_at == "step":
            return after.score - before.score
        return xp_of(after.score).where(after.finished & ~before.finished, after.score, 0 * after.score)

    def terminated(self, state: State) -> Array:
        return state.finished

    def action_mask(self, state: State) -> Array:
        xp = xp_of(state.taken)
        number = xp.arange(len(self.words), device=state.taken.device)[None, :]
        last = xp.take_along_axis(state.taken, xp.clip(state.step - 1, 0, None)[:, None], axis=1)
        first, final = state.step[:, None] == 0, state.step[:, None] >= self.longest - 1
        free = (number >= len(SPECIAL)) & (number != last) & ~final
        return free | ((number == EOS) & (final | ~first))

    def metrics(self, state: State) -> dict[str, Array]:
        xp, held = xp_of(state.taken), self.references
        cider = held.metric.cider_d(state.taken, state.image)
        found = {
            "cider_d": cider,
            "is_success": cider >= self.success,
            "exact": held.metric.exact(state.taken, state.image),
            "words": xp.sum(xp.astype(state.taken > EOS, xp.int64), axis=1),
        }
        return (
            found if held.tuples is None else {**found, "tuple_f1": held.tuples.f1(state.taken, state.image)}
        )

    def expert(self, state: State) -> Array:
        xp = xp_of(state.taken)
        ways = self.references.ways.rows(state.image)
        place = xp.arange(self.longest, device=state.taken.device)[None, None, :]
        same = (ways == state.taken[:, None, :]) & (place < state.step[:, None, None])
        shared_words = xp.sum(xp.cumulative_prod(xp.astype(same, xp.int64), axis=2), axis=2)
        best = xp.argmax(shared_words, axis=1)
        way = xp.take_along_axis(ways, best[:, None, None], axis=1)[:, 0, :]
        now = xp.clip(state.step, None, self.longest - 1)[:, None]
        word = xp.take_along_axis(way, now, axis=1)[:, 0]
        allowed = xp.take_along_axis(self.action_mask(state), word[:, None], axis=1)[:, 0]
        return xp.where(allowed, word, xp.full_like(word, EOS))

    def good_actions(self, state: State) -> Array:
        """(B, V) bool, the expert's word: what another one is worth shows only at the end."""
        return one_hot(self.expert(state), len(self.words)) > 0

    # -- edge ------------------------------------------------------------------------------------------------------
    def result(self, state: State) -> Caption:
        return Caption(self.words.decode(state.taken))

    def draw(self, state: State) -> np.ndarray:
        said = self.words.decode(state.taken) + ("." if state.finished else " ...")
        captions = self.samples[int(state.image)].captions if self.labelled else ()
        picture = Canvas(self.samples[int(state.image)].image).pixels
        lines = [(said, "agent"), *((text, "truth") for text in captions)]
        return with_lines(picture, lines, LETTERS * self.longest)


@dataclass(frozen=True)
class CorpusMetrics:
    """BLEU-1 to BLEU-4 and ROUGE-L of a split.

    Args:
        references: of the split.
    """

    references: References

    def record(self, ends: State) -> dict[str, np.ndarray]:
        """Counts of n-grams (N, 10), and ROUGE-L (N,)."""
        counts = self.references.bleu_statistics(ends.taken, ends.image)
        return {"bleu_counts": counts, "rouge": self.references.rouge_l(ends.taken, ends.image)}

    def compute(self, records: Mapping[str, np.ndarray]) -> dict[str, float]:
        """``bleu_1`` to ``bleu_4`` and ``rouge_l``, in [0, 1]."""
        return {**corpus_bleu(records["bleu_counts"]), "rouge_l": float(records["rouge"].mean())}
