"""AnomalyDetection-v0: rewards, ranking, what is seen, defects that are drawn in, and images of the user."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from visionrl.banks.anomalies import GOOD, HIGHEST, LOWEST, defective_cells, kind_of, with_synthetic
from visionrl.baselines.anomaly import every_image, looking, raster, with_looks
from visionrl.core import BASELINES, batch, make_task
from visionrl.core.testing import act, start
from visionrl.datasets import ImageSample
from visionrl.metrics.ranking import auroc

ID = "visionrl/AnomalyDetection-v0"
SMALL = {"grid": 4, "cell": 16, "overview": 24, "budget": 3}


def parts(count: int = 12, side: int = 64, known: bool = True, seed: int = 0) -> list[ImageSample]:
    """Noise, and in every second image a dark square of 12 pixels in cell 5, of 16 x 16 pixels."""
    rng, found = np.random.default_rng(seed), []
    for number in range(count):
        image = rng.normal(120, 12, (1, side, side)).clip(0, 255).astype(np.uint8)
        mask = np.zeros((side, side), np.uint8)
        if number % 2:
            mask[18:30, 18:30] = 1
            image[0][mask > 0] = 20
        label = "dent" if number % 2 else "good"
        found.append(ImageSample(image, labels=(label,), mask=mask if known else None, name=f"p{number}"))
    return found


def task_of(**more: Any) -> Any:
    """The task on such parts."""
    return make_task(ID, **{"data": parts(), **SMALL, **more})


def test_verdicts_are_paid_and_looks_cost() -> None:
    task = task_of()
    good, bad = start(task, item=0), start(task, item=1)
    _, reward, over = act(task, good, 16)
    assert reward[0] == 1 and over[0]
    assert act(task, good, 17).reward[0] == -0.5 and act(task, bad, 16).reward[0] == -1
    assert act(task, bad, 17).reward[0] == 1, "without a look there is no place"
    seen, reward, over = act(task, bad, 5)
    assert reward[0] == pytest.approx(-0.02) and not over[0]
    assert act(task, seen, 17).reward[0] == 1.5
    off = act(task, seen, 0).state
    end, reward, _ = act(task, off, 17)
    assert reward[0] == 1 and task.metrics(end)["points"][0] == pytest.approx(0.96)


def test_one_look_too_many_is_a_wrong_verdict() -> None:
    task = task_of()
    for item, cost in ((0, -0.5), (1, -1.0)):
        state = start(task, item=item)
        for cell in (0, 1, 2):
            state = act(task, state, cell).state
        assert task.action_mask(state)[0].tolist() == [False] * 16 + [True] * 2
        end, reward, over = act(task, state, 3)
        assert over[0] and reward[0] == cost and end.said[0] == -1 and not task.metrics(end)["is_success"][0]


def test_a_dent_is_the_most_unusual_cell() -> None:
    task = task_of()
    held, best = defective_cells(task.bank)
    assert best.tolist() == [-1, 5] * 6 and held.sum() == 6
    assert (task.bank.nearby.array[1::2].argmax(axis=1) == 5).all()
    assert task.names == ("normal", "defect") and set(task.bank.kinds) == {"good", "dent"}


@pytest.mark.parametrize("detector", ["padim", "patchcore", "trained"])
def test_all_detectors_find_dents_in_images_they_have_not_learnt_from(detector: str) -> None:
    task = task_of(data=parts(seed=1), train_data=parts(), detector=detector)
    assert task.bank.nearby.array[1::2].max(axis=1).min() > task.bank.nearby.array[::2].max(axis=1).max()


def test_what_was_not_looked_at_is_not_shown() -> None:
    task = task_of(window=True, shows="maps")
    first = start(task, item=1)
    other = start(task, item=0)
    seen, blank = task.observe(act(task, first, 5).state), task.observe(first)
    assert not blank["maps"][0, 1:].any() and not blank["window"].any() and blank["context"][0, 0] == 0
    assert seen["maps"][0, 2, 6:12, 6:12].min() == 255 and seen["maps"][0, 2].sum() == 255 * 36
    assert seen["maps"][0, 1, 6, 6] > 100 and seen["window"].any()
    assert (task.observe(other)["maps"][0, 2] == 0).all()


def test_candidates_tell_of_a_cell_only_what_was_seen_of_it_and_beside_it() -> None:
    task = task_of()
    first = start(task, item=1)
    blank = task.observe(first)["candidates"][0]
    assert blank.shape == (18, 12) and blank[:16, 0].all() and not blank[:, 5:8].any()
    assert blank[16].tolist() == [0] * 11 + [1] and blank[17].tolist() == [0, 1] + [0] * 10
    far = task.bank.hints.array[1] / HIGHEST
    assert np.allclose(blank[:16, 2], np.clip(far, -2, 2)) and blank[:16, 3].max() == 0
    seen = task.observe(act(task, first, 5).state)["candidates"][0]
    assert seen[:16, 0].tolist() == [k != 5 for k in range(16)] and seen[5, 5] == 1
    assert np.flatnonzero(seen[:16, 6]).tolist() == [5]
    beside = [0, 1, 2, 4, 6, 8, 9, 10]
    assert np.allclose(seen[beside, 8], seen[5, 6]) and np.allclose(seen[[3, 7, 11, 15], 8], LOWEST / HIGHEST)
    assert seen[0, 7] == pytest.approx(1 / 3) and seen[10, 7] == pytest.approx(1 / 8)
    assert seen[:16, 9].reshape(4, 4)[:, 0].tolist() == seen[:16, 10].reshape(4, 4)[0].tolist()


def test_scores_rank_images_and_dismissed_ones_come_last() -> None:
    task = task_of()
    first = every_image(task)
    metrics = task.dataset_metrics[0]
    full = with_looks(first, raster(task, first.image))
    found = metrics.compute(metrics.record(full))
    assert found["auroc"] == 1 and found["ap"] == 1 and found["pixel_auroc"] > 0.95
    assert auroc(task.score(full), task.bank.defect) == found["auroc"]
    assert task.score(first).max() < -70 < task.score(full).min()
    nothing = metrics.compute(metrics.record(first))
    assert nothing["pixel_auroc"] == 0.5


def test_good_images_alone_have_no_ranking() -> None:
    task = task_of(data=parts()[::2], train_data=parts(), synthetic="never")
    metrics = task.dataset_metrics[0]
    assert all(np.isnan(x) for x in metrics.compute(metrics.record(every_image(task))).values())


def test_defects_are_drawn_where_training_has_none() -> None:
    good = parts()[::2]
    task = task_of(data=good)
    assert task.items == 12 and task.bank.defect.tolist() == [False] * 6 + [True] * 6
    assert task.sample_names[6].startswith("p0 with ")
    assert make_task(ID, data=good, split="test", detector="padim", **SMALL).items == 6
    assert len(with_synthetic(tuple(parts()), "auto")) == 12 and len(with_synthetic(parts(), "always")) == 18
    again = with_synthetic(good, "auto")
    assert (again[6].image == task.samples[6].image).all()


def test_the_expert_looks_at_the_defect_and_says_so_and_spends_its_looks_on_good_images() -> None:
    task = task_of()
    state = start(task, item=1)
    assert task.expert(state).tolist() == [5]
    assert task.expert(act(task, state, 5).state).tolist() == [17]
    unknown = task_of(data=parts(known=False), train_data=parts())
    for one, item, verdict in ((task, 0, 16), (unknown, 1, 17)):
        state, cells = start(one, item=item), []
        for _ in range(3):
            cells.append(int(one.expert(state)[0]))
            state = act(one, state, cells[-1]).state
        assert cells == np.argsort(-one.bank.hints.array[item])[:3].tolist()
        assert one.expert(state).tolist() == [verdict]


def test_rules_end_in_a_verdict_and_all_cells_may_exceed_the_budget() -> None:
    task = task_of()
    for name, method in BASELINES[ID].items():
        run = method.fit(task)
        end = run(task, start(task, item=1))
        assert end.finished.all() and end.step[0] == (16 if name == "all cells" else end.step[0])
    end = looking(raster, task, every=True)(task, start(task, item=1))
    assert task.metrics(end)["accuracy"][0] == 1 and task.metrics(end)["looks"][0] == 16


def test_new_images_are_judged_by_the_detector_of_the_training_images() -> None:
    new = [replace(one, labels=(), mask=None) for one in parts(4, seed=2)]
    task = make_task(ID, data=new, train_data=parts(), labelled=False, **SMALL)
    run = BASELINES[ID]["detector's own surprise first, until found"].fit(task_of())
    ends = [run(task, start(task, item=item)) for item in range(4)]
    found = [task.result(batch.take(end, 0)) for end in ends]
    assert [one.label for one in found] == ["normal", "defect"] * 2
    assert found[0].place is None and found[1].to_json()["place"] == [16, 16, 16, 16]
    assert np.isfinite(found[1].heat).sum() == 4 * len(found[1].looks) and found[1].heat.shape == (8, 8)
    assert task.draw(batch.take(ends[1], 0)).ndim == 3


def test_kinds_come_from_labels_or_masks() -> None:
    sample = parts()[1]
    assert kind_of(sample) == "dent" and kind_of(replace(sample, labels=())) == "defect"
    assert kind_of(parts()[0]) == GOOD[0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"budget": 17}, r"budget must be <= the number of cells \(16\), got 17"),
        ({"cell": 12}, "cell must be a multiple of 8"),
        ({"window": True}, "window must be False where candidates are shown, got True"),
        ({"overview": 26}, "overview one of grid"),
        ({"labelled": False}, "train_data must be given where data has no labels"),
        ({"data": parts(side=12)}, r"images must have sides >= cell \(16\), 'p0' has 12 x 12"),
        ({"data": parts()[1::2]}, "training images must have a good one"),
        (
            {"data": [replace(parts()[1], mask=np.zeros((64, 64), int))]},
            "must show its defect, 'dent', got an empty",
        ),
        ({"data": [replace(parts()[1], labels=("good",))]}, "must be empty, as its class is 'good'"),
        (
            {"data": [replace(parts()[0], labels=(), mask=None)]},
            "must have a class or a mask, 'p0' has neither",
        ),
        (
            {"data": parts()[::2], "synthetic": "never"},
            "where fewer than two training images have a defect",
        ),
    ],
)
def test_what_cannot_be_inspected_is_refused(more: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task_of(**more)
