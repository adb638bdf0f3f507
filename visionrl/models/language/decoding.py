"""Sentences out of a captioner: greedy, beam search, and nucleus sampling; the map of attention word by word."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor

from visionrl.core import check_choice
from visionrl.datasets.words import BOS, EOS, PAD, UNK

How = Literal["greedy", "beam", "nucleus"]

State = tuple[Tensor, ...]
"""What a decoder remembers, each part with one row a sentence."""


class Speaker(Protocol):
    """A source of words, each after those before, such as a ``Captioner``.

    Attributes:
        length: most words of a sentence, its end included.
    """

    length: int

    def eval(self) -> Any:
        """Drop nothing from now on."""

    def begin(self, images: Tensor) -> State:
        """The state before the first word, of images (B, C, S, S)."""

    def next(self, last: Tensor, state: State) -> tuple[Tensor, State, Tensor | None]:
        """Logits (B, V) of the word after ``last`` (B,), the state, attention (B, h, w) or None."""


class Sentences(NamedTuple):
    """Sentences of a captioner about B images.

    Attributes:
        words: (B, L) int64, numbers of words, ``EOS``, padding.
        log_prob: (B,) log-probability of the sentence, ``EOS`` included.
        attention: (B, L, h, w), where it looked at each word; None where the captioner attends to nothing.
    """

    words: Tensor
    log_prob: Tensor
    attention: Tensor | None


@torch.inference_mode()
def say(
    captioner: Speaker,
    images: Tensor,
    how: How = "greedy",
    beam: int = 5,
    top_p: float = 0.9,
    generator: torch.Generator | None = None,
) -> Sentences:
    """The sentences of a captioner, in evaluation mode.

    Args:
        captioner: in question.
        images: (B, C, S, S) uint8, as the captioner wants them.
        how: "greedy" takes the likeliest word each time; "beam" keeps the likeliest ``beam`` beginnings and takes
            the end of highest log-probability a word; "nucleus" draws from the likeliest words that have ``top_p``
            of the probability together (Holtzman et al., 2020).
        beam: beginnings that beam search keeps.
        top_p: see above.
        generator: of nucleus sampling, on the device of the captioner.

    Raises:
        ValueError: another way, ``beam`` below 1, or ``top_p`` out of (0, 1].
    """
    check_choice("how", how, get_args(How))
    if isinstance(beam, bool) or int(beam) != beam or beam < 1:
        raise ValueError(f"beam must be a whole number >= 1, got {beam}")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1], got {top_p}")
    captioner.eval()
    state = captioner.begin(images)
    if how == "beam":
        return _search(captioner, state, len(images), beam)
    return _draw(captioner, state, len(images), top_p if how == "nucleus" else None, generator)


def allowed(logits: Tensor, last: Tensor, first: bool, final: bool) -> Tensor:
    """Log-probabilities (B, V) of the words that may come: as the mask of ``CaptionGeneration-v0`` has them.

    No padding, begin or unknown word; no word twice in a row; no end at once; the end at the last place.
    """
    bad = torch.zeros_like(logits, dtype=torch.bool)
    bad[:, [PAD, BOS, UNK]] = True
    bad[:, EOS] = first
    bad.scatter_(1, last[:, None], True)
    if final:
        bad[:] = True
        bad[:, EOS] = False
    return logits.float().masked_fill(bad, -torch.inf).log_softmax(1)


def _draw(captioner: Speaker, state: State, count: int, top_p: float | None, generator: Any) -> Sentences:
    """Greedy sentences, or samples of the nucleus."""
    length = captioner.length
    device = state[0].device
    last = torch.full((count,), BOS, device=device)
    words = torch.zeros(count, length, dtype=torch.int64, device=device)
    total, maps = torch.zeros(count, device=device), []
    for place in range(length):
        logits, state, seen = captioner.next(last, state)
        scores = allowed(logits, last, place == 0, place == length - 1)
        chosen = scores.argmax(1) if top_p is None else _sample(scores, top_p, generator)
        alive = last != EOS
        last = torch.where(alive, chosen, last)
        words[:, place] = torch.where(alive, chosen, PAD)
        total += torch.where(alive, scores.gather(1, chosen[:, None])[:, 0], 0.0)
        maps.append(seen)
        if bool((last == EOS).all()):
            break
    return Sentences(words, total, _stacked(maps, length))


def _sample(scores: Tensor, top_p: float, generator: Any) -> Tensor:
    """(B,) draws from the likeliest words of (B, V) log-probabilities whose sum reaches ``top_p``."""
    ordered, order = scores.exp().sort(1, descending=True)
    kept = torch.where(ordered.cumsum(1) - ordered < top_p, ordered, 0.0)
    return order.gather(1, torch.multinomial(kept, 1, generator=generator))[:, 0]


def _search(captioner: Speaker, state: State, count: int, beam: int) -> Sentences:
    """The best sentences of a beam search, by log-probability a word."""
    length, device = captioner.length, state[0].device
    state = tuple(part.repeat_interleave(beam, 0) for part in state)
    words = torch.zeros(count, beam, length, dtype=torch.int64, device=device)
    total = torch.full((count, beam), -torch.inf, device=device)
    total[:, 0] = 0  # at first there is one beginning
    last = torch.full((count, beam), BOS, device=device)
    maps: list[Tensor | None] = []
    for place in range(length):
        logits, state, seen = captioner.next(last.flatten(), state)
        scores = allowed(logits, last.flatten(), place == 0, place == length - 1).view(count, beam, -1)
        ended = (last == EOS)[..., None]
        stay = torch.full_like(scores, -torch.inf)
        stay[..., PAD] = 0
        total, flat = (total[..., None] + torch.where(ended, stay, scores)).flatten(1).topk(beam)
        origin, chosen = flat // scores.shape[2], flat % scores.shape[2]
        rows = (torch.arange(count, device=device)[:, None] * beam + origin).flatten()
        words, state = words.flatten(0, 1)[rows].view_as(words), tuple(part[rows] for part in state)
        maps = [None if one is None else one[rows] for one in [*maps, seen]]
        words[..., place] = chosen
        last = torch.where(last.gather(1, origin) == EOS, EOS, chosen)
        if bool((last == EOS).all()):
            break
    best = (total / (words > 0).sum(2)).argmax(1)
    rows = torch.arange(count, device=device) * beam + best
    maps = [None if one is None else one[rows] for one in maps]
    chosen_words = words.flatten(0, 1)[rows]
    return Sentences(chosen_words, total.flatten()[rows], _stacked(maps, length))


def _stacked(maps: list[Tensor | None], length: int) -> Tensor | None:
    """(B, L, h, w) of maps (B, h, w), zeros behind the last; None where there are none."""
    seen = [one for one in maps if one is not None]
    if not seen:
        return None
    found = torch.stack(seen, 1)
    blank = found.new_zeros(len(found), length - found.shape[1], *found.shape[2:])
    return torch.cat([found, blank], 1)
