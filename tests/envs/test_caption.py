"""Captioning: words earn what they add to the sentence's score, and the expert says what people said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from visionrl.core import BASELINES, batch, make_task
from visionrl.core.capabilities import compute_all, record_all
from visionrl.core.results import Caption
from visionrl.datasets import CaptionSample, ImageSample
from visionrl.datasets.embedded.scenes import Scenes
from visionrl.datasets.words import BOS, EOS, PAD, UNK

SCENES = list(Scenes("val", 12))
CAPTION = "visionrl/CaptionGeneration-v0"


def made(data: Any = SCENES, **kwargs: Any) -> Any:
    return make_task(CAPTION, data=data, side=32, **kwargs)


def starts(task: Any, items: Any = range(4)) -> Any:
    return batch.stack([task.sample(np.random.default_rng(0), item) for item in items])


def say(task: Any, text: str, items: Any = (0,)) -> tuple[Any, np.ndarray]:
    """The last state after a sentence, and the sum of rewards."""
    state, total = starts(task, items), np.zeros(len(items))
    for word in [*task.words.encode(text, task.longest)]:
        if state.finished.all() or word == PAD:
            break
        action = np.full(len(items), word)
        after = task.step(state, action)
        total += task.reward(state, action, after)
        state = after
    return state, total


@pytest.mark.parametrize("reward_at", ["step", "end"])
@pytest.mark.parametrize(
    "metric", ["cider_d", "bleu_4", "rouge_l", "tuple_f1", {"cider_d": 1.0, "tuple_f1": 0.5}]
)
def test_rewards_add_up_to_the_score_of_the_sentence(reward_at: str, metric: Any) -> None:
    task = made(metric=metric, reward_at=reward_at)
    for text in (SCENES[0].captions[1], "a red coin", "three large"):
        state, total = say(task, text)
        assert total == pytest.approx(state.score) and state.finished.all()
    assert say(task, SCENES[0].captions[0])[1] > 0.4


def test_a_reference_is_exact_and_all_true() -> None:
    task = made()
    state, _ = say(task, SCENES[0].captions[0])
    found = {key: value[0] for key, value in task.metrics(state).items()}
    assert found["exact"] == 1 and found["tuple_f1"] == 1 and found["cider_d"] > 3 and found["is_success"]
    assert found["words"] == len(SCENES[0].captions[0].split())
    corpus = compute_all(task, record_all(task, state))
    assert corpus["bleu_4"] == pytest.approx(1) and corpus["rouge_l"] == pytest.approx(1)
    assert task.result(batch.take(state, 0)) == Caption(SCENES[0].captions[0])


def test_the_expert_goes_on_from_any_beginning() -> None:
    task = made()
    state = starts(task, [0])
    other = SCENES[0].captions[3].split()
    for word in other[:3]:
        state = task.step(state, np.array([task.words.number(word)]))
    while not state.finished[0]:
        word = task.expert(state)
        assert task.action_mask(state)[0, word[0]]
        state = task.step(state, word)
    assert task.words.decode(state.taken[0]) in SCENES[0].captions
    astray = task.step(starts(task, [0]), np.array([task.words.number("coins")]))
    for _ in range(task.longest):
        word = task.expert(astray)
        assert astray.finished[0] or task.action_mask(astray)[0, word[0]]
        astray = task.step(astray, word)
    assert astray.finished[0]


def test_masks_forbid_what_is_no_sentence() -> None:
    task = made(max_words=13)
    state = starts(task, [0])
    first = task.action_mask(state)[0]
    assert not first[[PAD, BOS, EOS, UNK]].any() and first[4:].all()
    state = task.step(state, np.array([7]))
    mask = task.action_mask(state)[0]
    assert mask[EOS] and not mask[7] and mask[8]
    for word in (8, 7) * 6:
        state = task.step(state, np.array([word]))
    assert state.finished[0] and state.step[0] == 13
    late = task.step(task.step(starts(task, [0]), np.array([5])), np.array([UNK]))
    assert late.finished[0] and late.taken[0].tolist()[:3] == [5, EOS, PAD]
    last = task.action_mask(state)[0]
    assert last.sum() == 1 and last[EOS]


def test_a_finished_sentence_does_not_change() -> None:
    task = made()
    state, _ = say(task, "a red coin")
    again = task.step(state, np.array([9]))
    np.testing.assert_array_equal(again.taken, state.taken)
    assert again.step == state.step and task.reward(state, np.array([9]), again) == 0


def test_pictures_of_a_long_sentence_are_of_one_size() -> None:
    task = made(max_words=40)
    state, shapes = starts(task, [0]), set()
    for word in ("large", "red", "bricks") * 13:
        shapes.add(task.draw(batch.take(state, 0)).shape)
        state = task.step(state, np.array([task.words.number(word)]))
    assert {*shapes, task.draw(batch.take(state, 0)).shape} == shapes and len(shapes) == 1


def test_words_come_from_training_and_travel_to_other_splits() -> None:
    train = made(SCENES[:2])
    other = made(SCENES[4:6], **train.resolved_arguments)
    assert other.words == train.words and other.action_space == train.action_space
    assert len(made(SCENES).words) > len(train.words)
    assert len(other.references.metric.vocabulary) > len(other.words)
    assert made(SCENES, min_count=30).action_space.n < made(SCENES).action_space.n


def test_rare_words_are_not_said_but_count_in_the_score() -> None:
    texts = ("a cat and a dog", "a cat", "a cat and a cat")
    samples = [CaptionSample(SCENES[k].image, (texts[k],), name=str(k)) for k in range(3)]
    task = made(samples, vocabulary=["a", "cat", "and", "bird"])
    state = starts(task, [0])
    said = []
    while not state.finished[0]:
        word = task.expert(state)
        said.append(task.words.words[word[0]])
        state = task.step(state, word)
    assert said == ["a", "cat", "and", "a", "<eos>"]
    assert 0 < task.metrics(state)["cider_d"][0] < 10


def test_images_need_no_captions_when_an_agent_is_used() -> None:
    given = made(SCENES[:2]).resolved_arguments
    task = made([ImageSample(SCENES[3].image)], labelled=False, **given)
    state = task.step(starts(task, [0]), np.array([6]))
    assert task.result(batch.take(state, 0)).caption == task.words.words[6]
    assert task.draw(batch.take(state, 0)).shape[2] == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": [CaptionSample(SCENES[0].image, name="x")]}, "min_count must leave a word"),
        (
            {"data": [SCENES[0], CaptionSample(SCENES[1].image, name="x")]},
            "samples must have captions, 'x' has none",
        ),
        ({"min_count": 10_000}, "min_count must leave a word, got 10000"),
        ({"vocabulary": ["a", "b", "c"]}, "vocabulary must have 4 words or more"),
        ({"metric": {"spice": 1.0}}, "metric must be of cider_d, bleu_4, rouge_l, tuple_f1, got spice"),
        ({"metric": {"cider_d": float("nan")}}, "metric must have finite numbers for weights, got .*nan"),
        ({"metric": {"cider_d": "1"}}, "metric must have finite numbers for weights"),
        ({"metric": {}}, "metric must be of .*, got none"),
        ({"labelled": False}, "vocabulary must be given where data has no captions"),
        ({"data": [], "labelled": False, "vocabulary": ["a", "b", "c", "d"]}, "got an empty list"),
        ({"data": "captions:nowhere"}, "the path of 'captions' must exist"),
        ({"data": "coins"}, "yields ImageSample, but CaptionSample is needed"),
        ({"max_words": 1}, "max_words must be a whole number in"),
    ],
)
def test_bad_arguments_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**{"data": SCENES, **given})


def test_facts_that_are_unknown_give_no_tuples() -> None:
    samples = [CaptionSample(one.image, one.captions, name=one.name) for one in SCENES]
    task = made(samples)
    assert "tuple_f1" not in task.metrics(starts(task))
    with pytest.raises(ValueError, match="metric must not be tuple_f1 where the facts"):
        made(samples, metric="tuple_f1")


def test_long_captions_are_counted_when_the_task_is_made() -> None:
    with pytest.warns(UserWarning, match=r"\d+ of 60 captions have more than 5 words"):
        made(max_words=6)


def test_baselines_say_a_sentence() -> None:
    train = made(SCENES[:8])
    test = made(SCENES[8:], **train.resolved_arguments)
    for name, one in BASELINES[CAPTION].items():
        state = one.fit(train)(test, starts(test, [1]))
        assert state.finished.all() and state.step[0] > 3, name
    nearest = BASELINES[CAPTION]["caption of the nearest image"].fit(train)(train, starts(train, [5]))
    assert train.metrics(nearest)["exact"] == [1]
