"""Painting: what strokes do to a canvas, what an episode earns, what is written of a picture."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from visionrl.agents.evaluation.compare import compare
from visionrl.agents.prediction.agent import Agent, classical
from visionrl.backbones.style import stylized
from visionrl.cli.main import main
from visionrl.core import BASELINES, make_task
from visionrl.core.results import StrokePainting
from visionrl.core.testing import start
from visionrl.datasets import ImageSample
from visionrl.envs.enhancement.brush import ANGLES, GRID

ID = "visionrl/Painting-v0"


def flat(*colors: tuple[int, int, int], side: int = 64) -> list[ImageSample]:
    """Pictures of one colour each."""
    return [
        ImageSample(np.broadcast_to(np.array(one, np.uint8)[:, None, None], (3, side, side)).copy())
        for one in colors
    ]


@pytest.fixture(scope="module")
def task():
    return make_task(ID, steps=4)


def test_rewards_add_up_to_the_share_of_the_error_that_is_gone(task):
    first = state = start(task, rows=4)
    total = np.zeros(4)
    for _ in range(4):
        action = task.expert(state)
        after = task.step(state, action)
        total, state = total + task.reward(state, action, after), after
    assert task.terminated(state).all() and (total > 0.6).all()
    error = ((state.target - state.canvas) ** 2).sum((1, 2, 3)) / (first.target.astype(float) ** 2).sum(
        (1, 2, 3)
    )
    np.testing.assert_allclose(total, 1 - error, rtol=1e-4)
    np.testing.assert_allclose(task.metrics(state)["l2"], error, rtol=1e-4)


def test_one_large_stroke_of_the_right_colour_paints_a_flat_picture():
    task = make_task(ID, data=flat((200, 40, 90)), steps=2, split="test")  # training swaps channels
    state = start(task)
    middle = ANGLES * GRID**2 * 0 + (GRID // 2) * GRID + GRID // 2  # large, level
    after = task.step(state, np.array([middle]))
    cover = after.canvas[0, 0] / 200
    assert 0.5 < cover.mean() < 0.7 and cover.max() == pytest.approx(
        1, rel=0.02
    )  # edges want it a little brighter
    np.testing.assert_allclose(after.canvas[0, :, 32, 32], [200, 40, 90], rtol=0.02)
    np.testing.assert_allclose(after.strokes[0, 0, 10:], after.canvas[0, :, 32, 32] / 255, atol=1e-5)
    assert np.isnan(after.strokes[0, 1]).all()


def test_the_estimated_gains_are_close_to_what_strokes_earn(task):
    state = start(task, rows=3)
    state = task.step(state, task.expert(state))
    gains = task.gains(state)
    for number in np.argsort(gains[0])[:: len(gains[0]) // 12]:
        action = np.full(3, number)
        earned = task.reward(state, action, task.step(state, action))
        np.testing.assert_allclose(gains[:, number], earned, atol=0.01)


def test_a_black_picture_is_done_from_the_start():
    task = make_task(ID, data=flat((0, 0, 0)), steps=2)
    state = start(task)
    assert task.metrics(state)["is_success"].all() and task.metrics(state)["l2"] == 0
    after = task.step(state, np.array([5]))
    assert task.reward(state, np.array([5]), after) == 0 and np.isfinite(after.quality[0, 1])


@pytest.mark.parametrize("stroke", ["capsule", "bezier"])
@pytest.mark.parametrize("color", ["fitted", "chosen"])
def test_continuous_strokes_of_the_expert_paint_as_the_discrete_ones(stroke, color):
    task = make_task(ID, control="continuous", stroke=stroke, color=color, bundle=2, steps=5, split="val")
    assert task.action_space.shape == (2 * ({"capsule": 6, "bezier": 10}[stroke] + 3 * (color == "chosen")),)
    state = start(task, rows=4)
    for _ in range(5):
        action = task.expert(state)
        assert (np.abs(action) <= 1).all()
        state = task.step(state, action)
    assert (task.metrics(state)["l2"] < 0.15).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"color": "chosen"}, "color must be 'fitted' for control 'discrete', got 'chosen'"),
        ({"bundle": 2}, "bundle must be 1 for control 'discrete', got 2"),
        ({"stop": True}, "stop must be False, got True"),
        ({"style": "nothing.png"}, "nothing.png"),
        ({"style_network": "net.pt"}, "style_network must be None without a style, got 'net.pt'"),
        ({"side": 16}, "side must be one of 32, 64, 128, 256, got 16"),
    ],
)
def test_what_cannot_be_painted_with_is_refused(wrong, message):
    with pytest.raises((ValueError, OSError), match=message):
        make_task(ID, **wrong)


@pytest.fixture
def style(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """File of a picture of two bands; gradient descent takes three steps."""
    monkeypatch.setattr("visionrl.backbones.style.stylized", partial(stylized, steps=3))
    bands = np.zeros((40, 60, 3), np.uint8)
    bands[:, :30], bands[:, 30:] = (10, 120, 240), (200, 60, 20)  # blue, green, red of OpenCV
    cv2.imwrite(str(tmp_path / "style.png"), bands)
    return str(tmp_path / "style.png")


def test_a_style_gives_its_colours(style: str):
    task = make_task(ID, style=style, steps=6, style_weight=0.5)
    state = start(task, rows=4)
    first = task.metrics(state)["style_distance"]
    for _ in range(6):
        state = task.step(state, task.expert(state))
    assert (task.metrics(state)["style_distance"] < first).all()
    colors = np.unique(np.rint(255 * state.strokes[..., 10:]).reshape(-1, 3), axis=0)
    assert {tuple(one) for one in colors.astype(int)} <= {(240, 120, 10), (20, 60, 200)}


def test_a_picture_of_the_user_is_painted_whole_and_written_as_a_drawing(tmp_path: Path):
    picture = np.full((3, 50, 80), 30, np.uint8)
    picture[:, :, 40:] = 220
    agent = Agent(ID, env_kwargs={"steps": 6}, method=roll)
    result = agent.predict(picture)
    assert isinstance(result, StrokePainting) and result.image.shape == (3, 50, 80)
    assert np.abs(result.image[:, 10:40, 60:75] - 220.0).mean() < 40
    assert len(result.strokes) == 6 and result.svg().count("<line") == 6
    assert result.to_json()["width"] == 80


def roll(task, state):
    """The last state of one that takes the stroke of the largest gain."""
    while not task.terminated(state).all():
        state = task.step(state, task.gains(state).argmax(axis=1))
    return state


def test_the_style_s_forms_are_looked_at_in_the_square_in_its_middle(style: str):
    task = make_task(ID, style=style, style_network=None)
    assert task.style_picture.shape == (3, 64, 64) and task.style_picture.dtype == np.uint8
    np.testing.assert_array_equal(task.style_picture[:, 5, [5, 60]].T, [[240, 120, 10], [20, 60, 200]])
    with pytest.raises(FileNotFoundError, match=r"style_network must be a file of weights, got 'none\.pt'"):
        make_task(ID, style=style, style_network="none.pt")


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_transfer_gives_the_mean_of_the_style(channels: int, style: str):
    task = make_task(ID, style=style, split="val", channels=channels)
    state = start(task, rows=2)
    picture = task.finish(state, canvas=task.levels(state))
    end = BASELINES[ID]["Reinhard colour transfer"].fit(None)(task, state)
    assert (task.style_distance(end) < task.style_distance(picture)).all() and (task.l2(end) > 0).all()


def test_methods_of_style_are_left_out_without_one(style: str):
    table = compare(ID, split="val", episodes=1, rows=["Gatys et al.", "mean colour"])
    assert [row.name for row in table.rows] == ["mean colour"]
    assert table.notes == ("Gatys et al.: left out, needs style",)
    table = compare(ID, split="val", episodes=1, rows=["Gatys et al."], env_kwargs={"style": style})
    assert [row.name for row in table.rows] == ["Gatys et al."] and not table.notes
    with pytest.raises(ValueError, match=r"env_args must have style for Gatys et al\."):
        classical(ID, "Gatys et al.")


@pytest.mark.parametrize("name", sorted(BASELINES[ID]))
def test_methods_end_with_a_canvas(name: str, style: str):
    task = make_task(ID, steps=8, split="val", style=style if BASELINES[ID][name].needs else None)
    end = BASELINES[ID][name].fit(None)(task, start(task, rows=2))
    assert task.terminated(end).all()
    error = task.metrics(end)["l2"]
    assert (error < 0.9).all() and (error >= 0).all()


@pytest.mark.parametrize("name", sorted(BASELINES[ID]))
def test_methods_paint_files(name: str, style: str, tmp_path: Path):
    whole = name == "rectangles (quadtree)" or BASELINES[ID][name].needs is not None  # no strokes
    image = np.full((3, 40, 90), 30, np.uint8)
    image[:, :, 45:] = 220
    cv2.imwrite(str(tmp_path / "a.png"), image.transpose(1, 2, 0))
    given = ["--env-args", f"style={style}"] if BASELINES[ID][name].needs else []
    main(["predict", name, str(tmp_path / "a.png"), "--env", ID, "--out", str(tmp_path / "out"), *given])
    painted = cv2.imread(str(tmp_path / "out" / "a-painted.png"))
    assert painted.shape == (40, 90, 3)
    brighter = painted[:, 60:].mean() - painted[:, :30].mean()
    assert brighter > 50 if whole else painted.any()
    assert "NaN" not in (tmp_path / "out" / "predictions.jsonl").read_text()
    drawing = tmp_path / "out" / "a-strokes.svg"
    assert drawing.exists() != whole
    assert not drawing.exists() or "nan" not in drawing.read_text()


def test_a_large_painting_takes_little_memory():
    rng = np.random.default_rng(0)
    strokes = np.column_stack(
        [rng.random((40, 6)), np.full((40, 2), 0.1), np.ones((40, 2)), rng.random((40, 3))]
    )
    painting = StrokePainting((3000, 2000), strokes)
    assert painting.image.shape == (3, 2000, 3000)
    film = painting.film()
    assert len(film) == 40 and film[0].shape == (3, 341, 512)


def test_files_of_ones_own_end_at_a_quality():
    task = make_task(ID, data=flat((90, 90, 90)), labelled=False, until=0.5, steps=30)
    state = start(task)
    while not task.terminated(state).all():
        state = task.step(state, task.gains(state).argmax(axis=1))
    assert int(state.steps[0]) < 5
