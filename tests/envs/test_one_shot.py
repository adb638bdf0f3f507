"""Streams of new classes: what is shown, told, paid, and what users' own images give."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visionrl.agents.evaluation.policies import RandomPolicy
from visionrl.agents.prediction.agent import Agent
from visionrl.agents.prediction.inputs import inputs_of
from visionrl.agents.prediction.predict import predict_files
from visionrl.baselines.one_shot import follow, gram_of, pixel_prototypes, prototype_rule
from visionrl.core import batch, make_task
from visionrl.core.testing import act, at, roll_out, start
from visionrl.datasets import ImageSample, ImageSet
from visionrl.envs.recognition.one_shot import ShowingMetrics

ID = "visionrl/ActiveOneShot-v0"
ASK = 3


def images(classes: int = 5, each: int = 12, side: int = 28, prefix: str = "letter/") -> list[ImageSample]:
    """Noise around one pattern a class."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(classes):
        pattern = rng.integers(40, 216, (1, side, side))
        for view in range(each):
            pixels = np.clip(pattern + rng.normal(0, 20, pattern.shape), 0, 255).astype(np.uint8)
            found.append(ImageSample(pixels, labels=(f"{prefix}{number}",), name=f"{number} {view}"))
    return found


def small(**kwargs: Any) -> Any:
    return make_task(ID, **{"data": images(), **kwargs})


def played(task: Any, policy: Any = "expert", seed: int = 0) -> Any:
    """The last state of one episode and its return."""
    total = 0.0
    for moment in roll_out(task, policy, steps=task.longest, seed=seed, rows=1):
        total += float(moment.reward[0])
        if moment.terminated[0]:
            return moment.after, total
    raise AssertionError("the episode must end with its stream")


def test_a_stream_has_each_class_equally_often_and_no_image_twice() -> None:
    task = small()
    for seed in range(20):
        state = start(task, seed)
        shown, slot = state.stream[0], state.slot[0]
        labels = [task.samples[number].labels[0] for number in shown]
        assert len(shown) == 30 == len(set(shown.tolist()))
        assert np.bincount(slot).tolist() == [10, 10, 10]
        assert len({(label, one) for label, one in zip(labels, slot.tolist(), strict=True)}) == 3


def test_slots_are_drawn_anew_in_each_episode() -> None:
    task = small()
    first = [start(task, seed, item=0) for seed in range(30)]
    slots = {
        int(one.slot[0][[task.samples[n].labels[0] == "letter/0" for n in one.stream[0]]][0]) for one in first
    }
    assert slots == {0, 1, 2}


def test_distractors_are_of_the_same_kind_where_there_are_enough() -> None:
    mixed = [*images(4, prefix="coin/"), *(replace(s, name=f"b{s.name}") for s in images(2, prefix="face/"))]
    for one_kind, kinds in ((True, {("coin",)}), (False, None)):
        task = small(data=mixed, one_kind=one_kind)
        seen = {
            tuple(
                sorted({task.samples[n].labels[0].split("/")[0] for n in start(task, seed, item=0).stream[0]})
            )
            for seed in range(20)
        }
        assert seen == kinds if kinds else ("coin", "face") in seen
    few = start(small(data=mixed), 0, item=5)  # two faces are too few for three slots
    assert len(set(few.slot[0].tolist())) == 3


def test_the_label_is_told_in_the_next_observation_alone_and_only_if_it_was_paid() -> None:
    task = small()
    state = start(task)
    assert not task.observe(state)["label"].any()
    paid = act(task, state, ASK)
    assert paid.reward == pytest.approx(-0.05)
    assert (
        task.observe(paid.state)["label"].argmax() == state.slot[0, 0]
        and task.observe(paid.state)["label"].sum() == 1
    )
    said = act(task, paid.state, 0)
    assert not task.observe(said.state)["label"].any()
    assert said.reward == (1.0 if state.slot[0, 1] == 0 else -1.0)


def test_the_window_is_the_image_now_and_the_last_one_stays() -> None:
    task = small()
    state = start(task)
    np.testing.assert_array_equal(task.observe(state)["window"][0], task.samples[state.stream[0, 0]].image)
    over = at(task, state, step=30)
    np.testing.assert_array_equal(task.observe(over)["window"][0], task.samples[state.stream[0, 29]].image)
    assert task.terminated(over)[0] and task.observe(over)["step"][0, 0] == 1


def test_costs_are_arguments() -> None:
    task = small(wrong_cost=0.25, label_cost=0.5)
    state = start(task)
    wrong = (int(state.slot[0, 0]) + 1) % 3
    assert act(task, state, wrong).reward == -0.25 and act(task, state, ASK).reward == -0.5


def test_the_expert_pays_once_a_class_and_has_all_else_right() -> None:
    task = small()
    end, total = played(task)
    found = task.metrics(end)
    assert total == pytest.approx(27 - 0.15) == float(found["points"][0])
    assert found["accuracy"][0] == 1 and found["requests"][0] == 0.1 and found["is_success"][0]


def test_the_expert_asks_again_where_a_label_was_not_bought() -> None:
    task = small()
    state = start(task)
    first = int(state.slot[0, 0])
    guessed = act(task, state, first).state
    again = at(task, guessed, step=int(np.flatnonzero(state.slot[0, 1:] == first)[0]) + 1)
    assert task.expert(again)[0] == ASK, "a right guess teaches nothing"


def test_metrics_of_showings_count_answers_at_the_nth_image_of_a_class() -> None:
    metric = ShowingMetrics(2, [1, 2, 3])
    task = small(ways=2, showings=3, data=images(2, 3))
    state = at(task, slot=[0, 1, 0, 0, 1, 1], taken=[2, 2, 0, 1, 0, 1], step=6)
    found = metric.compute(metric.record(state))
    assert np.isnan(found["accuracy_1"]) and found["requests_1"] == 1
    assert (found["accuracy_2"], found["requests_2"]) == (0.5, 0)
    assert (found["accuracy_3"], found["requests_3"]) == (0.5, 0)


def test_prototypes_name_patterns_that_they_were_told_and_ask_for_new_ones() -> None:
    gram, slot = gram_of(np.eye(4)[[0, 1, 0, 1, 2, 2]]), np.array([2, 0, 2, 0, 1, 1])
    rules = np.array([0.5, np.inf]), np.zeros(2)
    assert follow(gram, slot, 3, *rules).tolist() == [[3, 3, 2, 0, 3, 1], [3] * 6]
    assert follow(gram, np.full(6, -1), 3, *rules).tolist() == [[3] * 6] * 2
    near = gram_of(np.array([[1.0, 0], [0, 1], [0.8, 0.6], [0.6, 0.8]]))  # the last two lead by 0.2
    assert follow(near, np.array([0, 1, 0, 1]), 2, np.full(2, 0.5), np.array([0.1, 0.3])).tolist() == [
        [2, 2, 0, 1],
        [2, 2, 2, 2],
    ]
    task = small()
    end = pixel_prototypes(task)(task, start(task, 5))
    assert task.metrics(end)["points"][0] > 26, "noise around a pattern is easy"


def test_thresholds_are_chosen_by_what_they_earn() -> None:
    task = small()
    blind = prototype_rule(task, lambda task, numbers: np.ones((len(numbers), 1)))
    end = blind(task, start(task, 3))
    assert (end.taken == ASK).all(), "features that say nothing are asked about"


def test_classes_of_a_folder_without_splits_are_cut_by_class(tmp_path: Path) -> None:
    folder = write(tmp_path / "letters", 8)
    seen = {
        split: make_task(
            ID, data=f"imagefolder:{folder}", split=split, ways=2, split_ratios=(0.5, 0.25, 0.25)
        ).names
        for split in ("train", "val", "test")
    }
    assert [len(names) for names in seen.values()] == [4, 2, 2]
    assert len(set().union(*map(set, seen.values()))) == 8


def write(folder: Path, classes: int, each: int = 10, place: str = "") -> Path:
    """A folder a class with pictures."""
    for sample in images(classes, each, 12):
        path = folder / place / sample.labels[0].replace("/", "-") / f"{sample.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample.image[0]).save(path)
    return folder


def test_a_class_in_two_stated_splits_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "d", 3, place="train")
    folder = write(tmp_path / "d", 3, place="test")
    with pytest.raises(
        ValueError, match=r"no class may be in two splits of .*, 'letter-0' is in train and another"
    ):
        make_task(ID, data=f"imagefolder:{folder}")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"ways": 6}, r"ways must be <= the number of classes of the split \(5\), got 6"),
        (
            {"showings": 13},
            "showings must be <= the number of images of each class, 'letter/0' has 12, got 13",
        ),
        ({"ways": 1}, "ways must be a whole number in"),
        ({"showings": 1}, "showings must be a whole number in"),
        (
            {"data": [ImageSample(np.zeros((1, 28, 28), np.uint8))]},
            "labels must hold the one class of the image",
        ),
        ({"label_cost": -1.0}, "label_cost must be a number >= 0.0"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**kwargs)


def test_a_set_of_images_is_a_stream_and_its_labels_are_told_when_asked() -> None:
    known, new = images(3, 2), [replace(one, labels=(), name=f"new {one.name}") for one in images(3, 4)]
    task = make_task(ID, data=[ImageSet([*new, *known])], labelled=False)
    state = start(task)
    assert (
        task.longest == 18
        and [bool(task.samples[n].labels) for n in state.stream[0]] == [True] * 6 + [False] * 12
    )
    told = task.step(state, np.array([ASK]))
    assert task.observe(told)["label"].sum() == 1
    result = task.result(batch.take(task.step(told, np.array([1])), 0)).to_json()["stream"]
    assert [(row["image"], row["label"], row["asked"]) for row in result] == [
        ("0 0", None, True),
        ("0 1", "letter/1", False),
    ]


def test_a_set_of_more_classes_than_slots_is_refused() -> None:
    with pytest.raises(ValueError, match=r"classes of the images must be 3 at most \(ways\), got 'letter/0'"):
        make_task(ID, data=[ImageSet(images(4, 2))], labelled=False)


def test_predict_reads_a_folder_with_folders_of_known_classes(tmp_path: Path) -> None:
    folder = write(tmp_path / "user", 2, 3)
    for sample in images(2, 2, 12):
        Image.fromarray(sample.image[0]).save(folder / f"new {sample.name}.png")
    (one,) = inputs_of([str(folder)], ImageSet)
    agent = Agent(ID, RandomPolicy(0), {}, name="chance")
    report = predict_files(agent, [one], tmp_path / "out")
    assert report.done == 1 and not report.failed
    rows = next((tmp_path / "out").rglob("*.csv")).read_text().splitlines()
    assert rows[0] == "image,label,asked" and len(rows) == 1 + 6 + 4
    names = {row.split(",")[1] for row in rows[1:]}
    assert names & {"letter-0", "letter-1"} and names <= {"letter-0", "letter-1", "slot 2", ""}


def test_the_picture_shows_the_stream() -> None:
    task = small()
    end, _ = played(task)
    picture = task.draw(batch.take(end, 0))
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert (picture != task.draw(batch.take(start(task), 0))).any()
