"""Captioners learn to say what they see, and look where it is."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from toy_language import CAPTIONERS, SIDE, SMALL, captions, fit, worlds

from visionrl.datasets import CaptionSample
from visionrl.datasets.words import BOS, EOS, PAD, UNK
from visionrl.models import make_model, model_class
from visionrl.models.language.decoding import say

HOW = {"show_attend_and_tell": (100, 1e-2), "show_and_tell": (130, 4e-3), "prefix_captioner": (130, 4e-3)}


@pytest.fixture(scope="module", params=CAPTIONERS)
def captioner(request: pytest.FixtureRequest) -> Any:
    steps, lr = HOW.get(request.param, (100, 1e-2))
    return fit(request.param, captions(40), steps, lr)


def untrained(name: str, **options: Any) -> Any:
    torch.manual_seed(1)
    return model_class(name).for_samples(captions(4), {**SMALL, **options}).eval()


def test_each_learns_to_say_colour_and_place_of_new_pictures(captioner: Any) -> None:
    new = captions(24, seed=9)
    found = captioner.evaluate(new, captioner.encode(new))
    assert found["exact"] > 0.9 and found["bleu_1"] > 0.9
    assert "tuple_f1" not in found  # only scenes have facts


@pytest.mark.parametrize("how", ["greedy", "beam", "nucleus"])
def test_sentences_end_and_hold_no_word_that_is_none(captioner: Any, how: Any) -> None:
    said = captioner.say(captioner.encode(captions(8, seed=2))["images"], how)
    for row in said.words.tolist():
        length = row.index(EOS)
        assert length >= 1 and set(row[length + 1 :]) <= {PAD}
        assert not {PAD, BOS, UNK} & set(row[:length])
        assert all(one != other for one, other in itertools.pairwise(row[:length]))
    assert (said.log_prob <= 0).all() and torch.isfinite(said.log_prob).all()


@pytest.mark.parametrize("name", CAPTIONERS)
def test_what_is_taught_is_what_is_said(name: str) -> None:
    """Logits word by word are those of teacher forcing."""
    net = untrained(name)
    images = net.encode(captions(3))["images"]
    words = torch.randint(4, len(net.vocabulary), (3, 5))
    before = torch.cat([torch.full((3, 1), BOS), words[:, :-1]], 1)
    state = net.begin(images)
    together = net.teach(state, before)
    for place in range(5):
        logits, state, _ = net.next(before[:, place], state)
        torch.testing.assert_close(logits, together[:, place], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CAPTIONERS)
def test_a_word_depends_on_no_later_one(name: str) -> None:
    net = untrained(name)
    state = net.begin(net.encode(captions(2))["images"])
    before = torch.randint(4, len(net.vocabulary), (2, 5))
    other = before.clone()
    other[:, 3:] = 4 + (other[:, 3:] - 3) % (len(net.vocabulary) - 4)
    one, two = net.teach(state, before), net.teach(state, other)
    torch.testing.assert_close(one[:, :3], two[:, :3])
    assert not torch.allclose(one[:, 3:], two[:, 3:])


@pytest.mark.parametrize("name", CAPTIONERS)
def test_a_wide_beam_finds_sentences_at_least_as_likely_as_greedy_ones(name: str) -> None:
    net = untrained(name)
    images = net.encode(captions(6))["images"]
    greedy, beam = net.say(images), net.say(images, "beam", beam=20)
    rate = [x.log_prob / (x.words > 0).sum(1) for x in (greedy, beam)]
    assert (rate[1] >= rate[0] - 1e-5).float().mean() > 0.6
    one = net.say(images, "beam", beam=1)
    assert torch.equal(one.words, greedy.words)
    torch.testing.assert_close(one.log_prob, greedy.log_prob)


def test_nucleus_of_almost_nothing_is_greedy_and_draws_follow_their_seed() -> None:
    net = untrained("show_and_tell")
    images = net.encode(captions(6))["images"]
    assert torch.equal(say(net, images, "nucleus", top_p=1e-6).words, say(net, images).words)
    draws = [
        say(net, images, "nucleus", top_p=1.0, generator=torch.Generator().manual_seed(seed)).words
        for seed in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_soft_attention_is_a_share_of_each_place() -> None:
    images = torch.from_numpy(np.stack([image for *_, image in worlds(4, seed=5)]))
    maps = untrained("show_attend_and_tell").say(images).attention
    torch.testing.assert_close(maps[:, 0].sum((1, 2)), torch.ones(4))
    assert maps[:, 0].min() > 0 and maps[:, 0].max() < 1


def test_hard_attention_is_one_place_and_learns() -> None:
    net: Any = fit("show_attend_and_tell", captions(40), *HOW["show_attend_and_tell"], attention="hard")
    images = torch.from_numpy(np.stack([image for *_, image in worlds(16, seed=5)]))
    assert set(net.say(images).attention[:, 0].flatten().tolist()) == {0.0, 1.0}
    assert net.evaluate(captions(16, seed=5), net.encode(captions(16, seed=5)))["exact"] > 0.8


def test_a_transformer_shows_where_it_looked_and_show_and_tell_does_not() -> None:
    images = torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8)
    seen = untrained("caption_transformer").say(images).attention
    torch.testing.assert_close(seen[:, 0].sum((1, 2)), torch.ones(2))
    assert untrained("show_and_tell").say(images).attention is None


def test_images_of_any_size_and_grey_ones_are_taken() -> None:
    net: Any = untrained("show_and_tell")
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 255, shape, np.uint8) for shape in ((3, 50, 90), (1, 20, 20), (3, SIDE, SIDE))]
    assert len(net.caption(photos)) == 3


def test_the_loss_counts_no_padding() -> None:
    net: Any = untrained("show_and_tell")
    split = net.encode([CaptionSample(np.zeros((3, SIDE, SIDE), np.uint8), ("a red square",))])
    longer = {**split, "captions": torch.cat([split["captions"], torch.zeros(1, 1, net.length).long()], 2)}
    short = net.loss(split)
    net.length *= 2
    torch.testing.assert_close(net.loss(longer), short)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 33}, "width must be a multiple of 4, got 33"),
        ({"length": 0}, "length must be a whole number >= 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be a number in \[0.0, 1.0\), got 1.0"),
        ({"attention": "medium"}, "attention must be one of 'soft', 'hard', got 'medium'"),
        ({"frozen": "maybe"}, "frozen must be True or False, got 'maybe'"),
        ({"width": 16.5}, "width must be a whole number >= 1, got 16.5"),
        ({"atention": "soft"}, "options of show_attend_and_tell must be among .*'atention'.*did you mean"),
        ({"words": ["Two"]}, "words must be lower-case"),
    ],
)
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model("show_attend_and_tell", **{"words": ["a", "b"], **SMALL, **options})


def test_a_model_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="options of show_and_tell must have words, got side, backbone"):
        make_model("show_and_tell", **SMALL)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        *(("caption_transformer", one) for one in ("layers", "heads")),
        *(("prefix_captioner", one) for one in ("layers", "heads", "prefix")),
        *(("vqa_transformer", one) for one in ("layers", "heads")),
        ("vqa_stacked_attention", "hops"),
        ("vqa_film", "blocks"),
    ],
)
def test_there_is_one_of_each_part_at_least(name: str, option: str) -> None:
    answers = {"answers": ["yes"]} if name.startswith("vqa") else {}
    with pytest.raises(ValueError, match=f"{option} must be a whole number >= 1, got 0"):
        make_model(name, words=["a", "b"], **answers, **SMALL, **{option: 0})


def test_images_of_other_channels_are_refused() -> None:
    net: Any = untrained("show_and_tell")
    with pytest.raises(ValueError, match="channels must be 1, 3 or those of the images, 4, got 3"):
        net.caption([np.zeros((4, SIDE, SIDE), np.uint8)])


def test_samples_without_captions_teach_nothing() -> None:
    with pytest.raises(ValueError, match="samples must have captions to learn from, got none"):
        model_class("show_and_tell").for_samples([CaptionSample(np.zeros((3, 8, 8), np.uint8))], SMALL)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"how": "best"}, "how must be one of 'greedy', 'beam', 'nucleus'"),
        ({"beam": 0}, "beam must be a whole number >= 1, got 0"),
        ({"top_p": 0}, r"top_p must be in \(0, 1\], got 0"),
    ],
)
def test_wrong_ways_to_say_are_refused(wrong: dict, message: str) -> None:
    net: Any = untrained("show_and_tell")
    with pytest.raises(ValueError, match=message):
        net.say(torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8), **wrong)
