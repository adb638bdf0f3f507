"""Landmark localization in volumes: cases that can be worked out by hand."""

from __future__ import annotations

import sys
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from visionrl.baselines import localization as classical3d
from visionrl.core import BASELINES, batch, make_task
from visionrl.core.conformance import CHECKS
from visionrl.datasets import VolumeSample
from visionrl.envs.localization.landmark3d import KEPT_SHARE, without_landmark
from visionrl.rendering import PlaneCanvas

ID = "visionrl/LandmarkLocalization3D-v0"
UP, FORWARD, LEFT, RIGHT, BACK, DOWN = range(6)
SPACING = (0.5, 1.0, 2.0)


def volume(seed=0, shape=(1, 50, 70, 60)):
    return np.random.default_rng(seed).integers(1, 256, shape, dtype=np.uint8)


def sample(**kwargs):
    return VolumeSample(
        **{"volume": volume(), "spacing_mm": SPACING, "points": {"a": (30.0, 40.0, 20.0)}, **kwargs}
    )


@pytest.fixture
def task():
    return make_task(ID, data=[sample(volume=volume(i), name=str(i)) for i in range(2)], window=5)


def start(task, x, y, z, stage=0):
    state = batch.stack([task.sample(np.random.default_rng(0), 0)])
    here = np.array([[float(x), float(y), float(z)]])
    trail = np.full_like(state.trail, np.nan)
    trail[:, -1] = here
    return replace(state, position=here, trail=trail, stage=np.array([stage]))


def act(task, state, action):
    action = np.array([action])
    after = task.step(state, action)
    return after, float(task.reward(state, action, after)[0])


@pytest.mark.parametrize(
    ("action", "way"),
    [
        (UP, (0, 0, 1)),
        (FORWARD, (0, -1, 0)),
        (LEFT, (1, 0, 0)),
        (RIGHT, (-1, 0, 0)),
        (BACK, (0, 1, 0)),
        (DOWN, (0, 0, -1)),
    ],
)
def test_moves_go_by_the_step_size_of_the_stage(task, action, way):
    for stage, size in enumerate((9, 3, 1)):
        moved = act(task, start(task, 30, 30, 30, stage), action)[0]
        np.testing.assert_array_equal(moved.position[0], 30 + size * np.array(way))


def test_the_reward_is_the_distance_gained_in_steps_of_a_cube_as_large_as_a_voxel(task):
    _, reward = act(task, start(task, 30, 40, 29), DOWN)
    assert reward == pytest.approx(2.0), "9 voxels of 2 mm, steps of 9 mm: the voxel has 1 mm^3"
    _, reward = act(task, start(task, 39, 40, 20), RIGHT)
    assert reward == pytest.approx(0.5)


def test_the_reward_in_millimetres():
    task = make_task(ID, data=[sample()], window=5, reward_unit="mm")
    assert act(task, start(task, 30, 40, 29), DOWN)[1] == pytest.approx(18)
    assert act(task, start(task, 30, 40, 29), UP)[1] == pytest.approx(-18)


def test_a_move_out_of_the_volume_is_not_made_and_costs_one(task):
    after, reward = act(task, start(task, 30, 30, 45), UP)
    assert after.position.tolist() == [[30, 30, 45]] and reward == -1 and not after.finished[0]


def test_going_to_and_fro_starts_the_next_stage_and_ends_the_last(task):
    state, stages = start(task, 21, 40, 20), []
    for move in [LEFT, RIGHT] * 12:
        state, _ = act(task, state, move)
        stages.append((int(state.stage[0]), bool(state.finished[0])))
        if state.finished[0]:
            break
    assert stages.index((1, False)) == 5 and stages[-1] == (2, True) and len(stages) == 18


def test_errors_are_in_millimetres_by_the_spacing_along_each_axis(task):
    found = task.metrics(start(task, 34, 43, 20))
    np.testing.assert_allclose(found["error_mm"], np.hypot(4 * 0.5, 3 * 1.0))
    np.testing.assert_allclose(found["distance_px"], 5)
    assert [float(found[f"sdr_{r}mm"][0]) for r in ("2", "2.5", "3", "4")] == [0, 0, 0, 1]
    assert not found["is_success"][0] and task.metrics(start(task, 31, 41, 21))["is_success"][0]


def test_resampled_volumes_tell_errors_in_their_own_voxels():
    task = make_task(ID, data=[sample()], window=5, spacing_mm=1.0)
    np.testing.assert_array_equal(task.bank.sizes, [[30, 70, 100]])
    state = start(task, 10, 40, 30)
    gap = np.array([30.5 / 2 - 0.5 - 10, 40 - 40, 20.5 * 2 - 0.5 - 30])
    found = task.metrics(state)
    np.testing.assert_allclose(found["error_mm"], np.linalg.norm(gap))
    np.testing.assert_allclose(found["distance_px"], np.linalg.norm(gap * [2, 1, 0.5]))


def test_the_window_shows_the_volume_around_the_position(task):
    window = task.observe(start(task, 30, 41, 20))["window"][0]
    assert window.shape == (3, 5, 5, 5)
    np.testing.assert_array_equal(window[2], volume()[0, 18:23, 39:44, 28:33])
    coarse = volume()[0, :48, :69].reshape(16, 3, 23, 3, 20, 3).mean((1, 3, 5))
    assert np.abs(window[0] - coarse[4:9, 11:16, 8:13]).max() <= 0.5, (
        "((20, 41, 30) + 0.5) / 3 - 0.5, rounded"
    )


def test_past_places_are_shown_when_asked_for():
    task = make_task(ID, data=[sample()], window=5, frames=2, shown_scales="stage")
    state = start(task, 30, 40, 20)
    first = task.observe(state)["window"][0]
    second = task.observe(act(task, state, LEFT)[0])["window"][0]
    assert not first[0].any(), "there is no past at the start"
    np.testing.assert_array_equal(second[0], first[1])


def test_episodes_start_inside_the_margin():
    task = make_task(ID, data=[sample()], window=5, margin=0.4)
    starts = np.array([task.sample(np.random.default_rng(k), 0).position for k in range(200)])
    sides = np.array([60, 70, 50])
    assert (starts >= np.floor(0.4 * sides)).all() and (starts < 0.6 * sides).all()
    assert (starts == np.floor(starts)).all() and (starts.std(axis=0) > 2).all()


def test_volumes_of_different_size_and_spacing_live_in_one_bank():
    other = sample(
        volume=volume(1, (1, 30, 90, 40)), spacing_mm=(3, 3, 3), name="b", points={"a": (5, 80, 10)}
    )
    task = make_task(ID, data=[sample(name="a"), other], window=5)
    states = batch.stack([task.sample(np.random.default_rng(0), item) for item in range(2)])
    at = np.array([[30.0, 41, 20], [39, 89, 29]])
    seen = task.observe(
        replace(states, position=at, trail=np.concatenate([states.trail[:, 1:], at[:, None]], 1))
    )
    np.testing.assert_array_equal(seen["window"][0, 2], volume()[0, 18:23, 39:44, 28:33])
    corner = np.zeros((5, 5, 5), np.uint8)
    corner[:3, :3, :3] = other.volume[0, -3:, -3:, -3:]
    np.testing.assert_array_equal(seen["window"][1, 2], corner)


# -- absence ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def cut():
    """A task whose landmarks are always cut off."""
    return make_task(ID, data=[sample()], window=5, absent_share=1.0)


def test_what_is_cut_off_holds_the_landmark_and_is_not_shown(cut):
    for seed in range(60):
        state = batch.stack([cut.sample(np.random.default_rng(seed), 0)])
        assert not cut.present(state)[0]
        kept = (state.high - state.low + 1)[0] / [60, 70, 50]
        assert (kept < 1).sum() == 1 and kept.min() >= KEPT_SHARE
        assert ((state.position >= state.low) & (state.position <= state.high)).all()
    low, high = state.low[0].astype(int), state.high[0].astype(int)
    full = volume()[0].copy()
    part = np.zeros_like(full)
    inner = tuple(slice(a, b + 1) for a, b in zip(low[::-1], high[::-1], strict=True))
    part[inner] = full[inner]
    edge = np.clip([30, 40, 20], low, high)
    x, y, z = edge
    seen = cut.observe(
        replace(
            state,
            position=edge[None].astype(float),
            trail=np.concatenate([state.trail[:, 1:], edge[None, None].astype(float)], 1),
        )
    )
    want = np.pad(part, 2)[z : z + 5, y : y + 5, x : x + 5]
    np.testing.assert_array_equal(seen["window"][0, 2], want)
    assert (want == 0).any()


def test_walking_out_is_right_where_the_landmark_is_absent(cut):
    state = replace(
        start(cut, 30, 30, 45),
        low=np.zeros((1, 3)),
        high=np.array([[59.0, 69, 10]]),
        position=np.array([[30.0, 30, 5]]),
    )
    after, reward = act(cut, state, UP)
    assert reward == 1 and after.outside[0] and after.finished[0]
    found = cut.metrics(after)
    assert found["is_success"][0] and found["knows_absence"][0]
    stays = cut.metrics(replace(state, finished=np.ones(1, bool)))
    assert not stays["is_success"][0] and not stays["knows_absence"][0]


def test_walking_out_is_wrong_where_the_landmark_is_there(cut):
    state = replace(start(cut, 30, 30, 45), low=np.zeros((1, 3)), high=np.array([[59.0, 69, 49]]))
    after, reward = act(cut, state, UP)
    assert reward == -1 and after.finished[0] and not cut.metrics(after)["is_success"][0]
    assert int(cut.expert(state)[0]) == DOWN


@pytest.mark.parametrize(
    "rule", ["array_api", "no_device_leak", "state_untouched", "rows_independent", "expert"]
)
def test_the_rules_hold_where_landmarks_may_be_absent(rule):
    CHECKS[rule](ID, data=[sample(name=str(k)) for k in range(2)], window=7, absent_share=0.5)


def test_cuts_lie_on_every_side():
    size, rng = np.array([60.0, 70, 50]), np.random.default_rng(0)
    cuts = [without_landmark(rng, np.array([30.0, 35, 25]), size) for _ in range(100)]
    sides = {(tuple(low > 0), tuple(high < size - 1)) for low, high in cuts}
    assert len(sides) == 6


# -- arguments, pictures ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"target": "liver"}, "target must be among a; got liver"),
        ({"shown_scales": "some"}, "shown_scales must be one of 'all', 'stage', got 'some'"),
        ({"reward_unit": "px"}, "reward_unit must be one of"),
        ({"step_sizes": (3, 1)}, "scales must have one entry a step size"),
        ({"frames": 0}, "frames must be a whole number >= 1, got 0"),
        ({"frames": 21}, "frames must be <= 20, the trail's length, got 21"),
        ({"window": 4}, "window must be a whole number >= 5, got 4"),
        ({"margin": 0.5}, r"margin must be a number in \[0.0, 0.49\], got 0.5"),
        ({"success_radius": -1}, "success_radius must be a number >= 0.0, got -1"),
        ({"absent_share": 1.5}, r"absent_share must be a number in \[0.0, 1.0\], got 1.5"),
        ({"spacing_mm": 0}, "spacing_mm must be a number >= 0.01 or None, got 0"),
        ({"step_sizes": (9, 3, 0)}, "step_sizes must be 1 or more values, each a whole number >= 1, got"),
        ({"scales": (60, 2, 1)}, "volume 0 must have sides >= 60"),
    ],
)
def test_wrong_arguments_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        make_task(ID, data=[sample()], **wrong)


def test_presets_have_the_papers_constants():
    paper = make_task(ID, "alansary2019", data=[sample()])
    assert paper.observation_space["window"].shape == (4, 45, 45, 45)
    assert (paper.step_sizes, paper.bank.scales) == ((9, 3, 1), (3, 2, 1))
    assert make_task(ID, "ghesu2016", data=[sample()]).observation_space["window"].shape == (1, 26, 26, 26)


def test_a_picture_shows_three_planes_and_marks_in_their_places():
    env = gym.make(ID, data=[sample()], window=5, render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().dtype == np.uint8 and env.render().shape[2] == 3
    planes = PlaneCanvas(np.zeros((1, 50, 70, 60), np.uint8), SPACING, np.array([30, 40, 20]))
    np.testing.assert_allclose(planes._on(0, np.array([0.0, 0, 0])), (0.5, 1.0), err_msg="0.5 mm are a pixel")
    x, y = planes._on(1, np.array([0.0, 0, 49]))
    assert (x, y) == (62 + 0.5, 2.0), "the head is up, beside an axial plane of 60 pixels and a gap"


# -- baselines -------------------------------------------------------------------------------------------------------
def bodies(count, seed):
    """Ellipsoids with a bright ball inside, at random places, and where the ball is."""
    rng, made = np.random.default_rng(seed), []
    z, y, x = np.indices((32, 36, 40))
    for k in range(count):
        cx, cy, cz = np.array([20, 18, 16]) + rng.uniform(-3, 3, 3)
        body = ((x - cx) / 13) ** 2 + ((y - cy) / 10) ** 2 + ((z - cz) / 11) ** 2 < 1
        ball = np.array([cx + 5, cy - 3, cz + 4])
        inner = (x - ball[0]) ** 2 + (y - ball[1]) ** 2 + (z - ball[2]) ** 2 < 9
        seen = 100.0 * body + 100 * inner + rng.normal(0, 3, body.shape) + 10
        made.append(
            VolumeSample(
                np.clip(seen, 0, 255).astype(np.uint8)[None], (2, 2, 2.5), {"ball": ball}, name=str(k)
            )
        )
    return made


def solve(name):
    task, learning = (make_task(ID, data=bodies(n, seed), window=5) for n, seed in ((2, 1), (5, 0)))
    run = BASELINES[ID][name].fit(learning)
    ends = [run(task, batch.stack([task.sample(np.random.default_rng(0), k)])) for k in range(task.items)]
    assert all(end.finished[0] for end in ends)
    return np.array([float(task.metrics(end)["error_mm"][0]) for end in ends])


def test_the_mean_position_is_the_mean_position():
    train, test = bodies(5, 0), bodies(2, 1)
    mean = np.mean([s.points["ball"] for s in train], axis=0)
    want = [np.linalg.norm((mean - s.points["ball"]) * s.spacing_mm) for s in test]
    np.testing.assert_allclose(solve("mean position"), want)


@pytest.mark.parametrize("name", ["atlas, affine", "atlas, B-spline"])
def test_atlases_find_what_moved(name, monkeypatch):
    pytest.importorskip("SimpleITK")
    monkeypatch.setattr(classical3d, "SAMPLES", 2000)
    monkeypatch.setattr(classical3d, "MESH", 2)
    assert solve(name).max() < 2 < solve("mean position").max()


def test_without_simpleitk_the_atlas_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(ImportError, match=r"registration needs SimpleITK: pip install 'visionrl\[volumes\]'"):
        classical3d.atlas_affine(make_task(ID, data=[sample()], window=5))
