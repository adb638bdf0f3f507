"""Visual question answering: looks uncover cells, answers earn their accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from visionrl.core import BASELINES, batch, make_task
from visionrl.datasets import QuestionSample
from visionrl.datasets.embedded.scenes import SceneQuestions

QUESTIONS = list(SceneQuestions("val", 6))
VQA = "visionrl/VisualQuestionAnswering-v0"


def made(data: Any = QUESTIONS, **kwargs: Any) -> Any:
    return make_task(VQA, data=data, **kwargs)


def starts(task: Any, items: Any = (0,)) -> Any:
    return batch.stack([task.sample(np.random.default_rng(5), item) for item in items])


def answer(task: Any, text: str) -> np.ndarray:
    return np.array([task.answers.start + task.answer_names.index(text)])


def test_an_answer_earns_its_accuracy_and_looks_cost() -> None:
    task = made(cost=0.01)
    right = QUESTIONS[0].answers[0]
    state = starts(task)
    total = 0.0
    for action in (np.array([0]), np.array([8]), answer(task, right)):
        after = task.step(state, action)
        total += task.reward(state, action, after)[0]
        state = after
    assert state.finished[0] and total == pytest.approx(1 - 0.02)
    assert task.metrics(state)["accuracy"] == [1] and task.metrics(state)["looks"] == [3]
    wrong = next(name for name in task.answer_names if name != right)
    over = task.step(starts(task), answer(task, wrong))
    assert over.finished[0] and task.metrics(over)["accuracy"] == [0]
    assert task.result(batch.take(state, 0)).answer == right
    assert task.result(batch.take(state, 0)).glimpses.shape == (3, 2)


def test_the_agent_sees_the_cells_that_it_looked_at() -> None:
    task = made()
    state = task.step(starts(task), np.array([2]))
    seen = task.observe(state)
    image = QUESTIONS[0].image
    np.testing.assert_array_equal(seen["window"][0, :3], image[:, 0:32, 64:96])
    np.testing.assert_array_equal(seen["seen"][0, :3, 0:32, 64:96], image[:, 0:32, 64:96])
    assert (seen["seen"][0, 3, 0:32, 64:96] == 255).all() and (seen["seen"][0, 3, 64:, :32] == 85).all()
    np.testing.assert_allclose(seen["position"][0], [2 / 3, -2 / 3], atol=1e-6)
    assert seen["looks"][0].argmax() == 1
    np.testing.assert_array_equal(
        seen["question"][0], task.words.encode(QUESTIONS[0].question, 12, end=False)
    )


def test_one_look_too_many_ends_without_an_answer() -> None:
    task = made(looks=2)
    state = task.step(starts(task), np.array([1]))
    assert not task.action_mask(state)[0, : task.answers.start].any()
    state = task.step(state, np.array([3]))
    assert state.finished[0] and state.answer[0] == -1 and task.metrics(state)["accuracy"] == [0]
    assert task.result(batch.take(state, 0)).answer is None


def test_without_looks_an_episode_is_one_answer() -> None:
    task = made(looks=0)
    assert task.action_space.n == len(task.answer_names)
    assert set(task.observation_space) == {"question", "image"}
    state = starts(task, range(len(QUESTIONS)))
    after = task.step(state, task.expert(state))
    assert after.finished.all() and task.metrics(after)["accuracy"].mean() == 1


def test_the_expert_looks_at_what_the_question_names() -> None:
    task = made()
    number = next(k for k, sample in enumerate(QUESTIONS) if sample.kind == "colour")
    state = starts(task, [number])
    while not state.finished[0]:
        state = task.step(state, task.expert(state))
    cells = {int(x // 32 + 3 * (y // 32)) for x, y in QUESTIONS[number].places}
    assert cells <= set(state.taken[0].tolist()) and task.metrics(state)["accuracy"] == [1]


def test_a_random_gaze_does_not_heed_the_agent() -> None:
    task = made(gaze="random")
    state = batch.stack([task.sample(np.random.default_rng(seed), 0) for seed in range(8)])
    first, second = (task.step(state, np.full(8, cell)).taken for cell in (0, 8))
    np.testing.assert_array_equal(first, second)
    assert len(set(first[:, 1].tolist())) > 2


def test_questions_about_one_image_share_its_pixels() -> None:
    task = made()
    assert len(task.bank.sizes) == 6 < task.items == len(QUESTIONS)
    assert {task.source_of(k, task.sample(np.random.default_rng(0), k)) for k in range(9)} == set(range(9))


def test_metrics_are_told_by_kind() -> None:
    task = made()
    kinds = [task.names[k] for k in task.class_of(starts(task, range(task.items)))]
    assert kinds == [sample.kind for sample in QUESTIONS]


def test_ten_answers_count_by_agreement() -> None:
    samples = [QuestionSample(QUESTIONS[0].image, "what is it", ["dog"] * 8 + ["wolf"] * 2, name="x")]
    task = made([*samples, QuestionSample(QUESTIONS[1].image, "what now", ["wolf"], name="y")], looks=0)
    state = starts(task, [0, 0])
    after = task.step(state, np.array([task.answer_names.index("dog"), task.answer_names.index("wolf")]))
    np.testing.assert_allclose(task.metrics(after)["accuracy"], [1, 0.6])


def test_words_and_answers_travel_to_other_splits() -> None:
    train = made()
    given = train.resolved_arguments
    odd = QuestionSample(QUESTIONS[0].image, "zounds", ["perhaps"], name="odd")
    with pytest.warns(UserWarning, match=r"of 2 questions 1 have no known word, 1 have no right answer"):
        other = made([odd, QUESTIONS[0]], **given)
    assert other.action_space == train.action_space
    with pytest.warns(UserWarning, match="have no right answer among those that can be given"):
        assert made(top_answers=5).action_space.n == 9 + 5


def test_a_question_needs_no_answer_when_an_agent_is_used() -> None:
    given = made().resolved_arguments
    task = made([QuestionSample(QUESTIONS[0].image, "what is red")], labelled=False, **given)
    state = task.step(starts(task), answer(task, "bag"))
    assert task.result(batch.take(state, 0)).to_json()["answer"] == "bag"
    assert task.draw(batch.take(state, 0)).shape[2] == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": [QuestionSample(QUESTIONS[0].image, "what")]}, "answers_known must be two or more"),
        ({"data": [*QUESTIONS[:9], QuestionSample(QUESTIONS[0].image, "what", name="x")]}, "'x' has none"),
        ({"answers_known": ["yes", "yes"]}, "answers_known must be two or more, of different names"),
        ({"answers_known": ["perhaps", "maybe"]}, "answers_known must hold an answer to a question"),
        ({"labelled": False}, "vocabulary and answers_known must be given"),
        ({"scales": (3, 1)}, "scales must be whole numbers >= 1 that grow"),
        ({"data": "scenes"}, "yields CaptionSample, but QuestionSample is needed"),
        ({"looks": 30}, "looks must be a whole number in"),
    ],
)
def test_bad_arguments_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**{"data": QUESTIONS, **given})


def test_baselines_answer() -> None:
    train = made(looks=0)
    for name, one in BASELINES[VQA].items():
        run = one.fit(train)
        ends = [run(train, starts(train, [k])) for k in range(train.items)]
        accuracy = np.mean([train.metrics(end)["accuracy"] for end in ends])
        assert all(end.finished.all() for end in ends) and accuracy > 0.25, name
        if name.startswith("nearest"):
            assert accuracy > 0.9
