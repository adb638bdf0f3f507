"""Evaluation: the same episodes for all, honest intervals, a table that says what it must."""

from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image
from scipy.stats import bootstrap

import visionrl  # noqa: F401
from visionrl.agents.evaluation.compare import compare, evaluate
from visionrl.agents.evaluation.episodes import MOST_EPISODES, select_episodes
from visionrl.agents.evaluation.policies import RandomPolicy, ScoredPolicy, agent_policy, expert_policy
from visionrl.agents.evaluation.record import record
from visionrl.agents.evaluation.table import estimate, summarize
from visionrl.core import make_task
from visionrl.datasets import ImageSample, VideoSample

LANDMARK, TRACKING = "visionrl/LandmarkLocalization-v0", "visionrl/Tracking-v0"
RNG = np.random.default_rng(0)


def images(count: int = 5) -> list[ImageSample]:
    """Noise with two points; a shape of its own for every image."""
    made = []
    for k in range(count):
        pixels = RNG.integers(0, 256, (1, 60 + k % 9, 80)).astype(np.uint8)
        made.append(ImageSample(pixels, points={"a": (30 + k % 40, 20), "b": (50, 40 - k % 30)}, name=f"{k}"))
    return made


def videos(count: int = 3, length: int = 6, pace: int = 3) -> list[VideoSample]:
    """A box that goes right, over noise."""
    made = []
    for k in range(count):
        frames = RNG.integers(0, 256, (length, 3, 60, 80)).astype(np.uint8)
        boxes = np.array([[10 + pace * t, 10, 30 + pace * t, 30 + k] for t in range(length)], float)
        made.append(VideoSample(frames, boxes, name=f"{k}"))
    return made


IMAGES, VIDEOS = images(), videos()
SETTINGS = {LANDMARK: {"data": IMAGES}, TRACKING: {"data": VIDEOS, "window": 32}}


@pytest.mark.parametrize("env_id", SETTINGS)
@pytest.mark.parametrize("num_envs", [1, 3])
def test_results_do_not_depend_on_how_many_run_at_a_time(env_id, num_envs):
    one, many = (
        evaluate(env_id, expert_policy, episodes=7, num_envs=n, env_kwargs=SETTINGS[env_id])
        for n in (num_envs, 64)
    )
    assert list(one) == list(many)
    for key in one:
        np.testing.assert_array_equal(one[key], many[key], err_msg=key)


def test_an_episode_is_that_of_the_single_environment():
    got = evaluate(LANDMARK, expert_policy, episodes=12, seed=5, env_kwargs=SETTINGS[LANDMARK])
    env = gym.make(LANDMARK, split="test", **SETTINGS[LANDMARK])
    for k in (0, 4, 11):
        env.reset(seed=5 + k, options={"item": k % 10})
        total, steps, over = 0.0, 0, False
        while not over:
            inner = env.unwrapped
            _, reward, terminated, truncated, info = env.step(inner.task.expert(inner.state)[0])
            total, steps, over = total + reward, steps + 1, terminated or truncated
        assert (got["item"][k], got["length"][k]) == (k % 10, steps)
        assert got["return"][k] == pytest.approx(total)
        assert got["distance_px"][k] == pytest.approx(info["distance_px"])


def test_the_time_limit_holds():
    got = evaluate(LANDMARK, RandomPolicy(0), env_kwargs={**SETTINGS[LANDMARK], "max_episode_steps": 7})
    assert got["length"].max() == 7


def test_episodes_take_every_item_in_turn_or_spread_over_them():
    task = make_task(LANDMARK, data=IMAGES)
    assert select_episodes(task, None, 0).items == list(range(10))
    assert select_episodes(task, 23, 0).items == [k % 10 for k in range(23)]
    few = select_episodes(task, 5, 3)
    assert [item // 2 for item in few.items] == list(range(5))  # one of each fifth
    assert few.groups.tolist() == list(range(5))  # items 2 k and 2 k + 1 are on image k
    many = make_task(LANDMARK, data=images(300))
    assert len(set(select_episodes(many, None, 0).items)) == MOST_EPISODES


def test_videos_are_whole_unless_told_otherwise():
    whole = evaluate(TRACKING, expert_policy, env_kwargs=SETTINGS[TRACKING])
    clips = evaluate(TRACKING, expert_policy, env_kwargs={**SETTINGS[TRACKING], "clip": 2})
    assert (whole["length"] >= 6).all()
    assert (clips["length"] < whole["length"]).all()


@pytest.mark.parametrize(("name", "value"), [("episodes", 0), ("num_envs", 0)])
def test_arguments_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be >= 1, got 0"):
        evaluate(LANDMARK, expert_policy, env_kwargs=SETTINGS[LANDMARK], **{name: value})


def test_random_actions_can_be_repeated():
    runs = [evaluate(LANDMARK, RandomPolicy(seed), env_kwargs=SETTINGS[LANDMARK]) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0]["return"], runs[1]["return"])
    assert (runs[0]["return"] != runs[2]["return"]).any()


class Model:
    """Goes on or back and forth; remembers which rows it was told of, and for how many steps."""

    def __init__(self, task):
        self.observation_space, self.action_space, self.calls = task.observation_space, task.action_space, []

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.calls.append((state, episode_start.copy(), deterministic))
        rows, steps = state or (np.arange(len(episode_start))[None, :, None], np.zeros((1, 1, 1)))
        actions = np.array(
            [len(self.calls) % 2 if row else 0 for row in rows.ravel()]
        )  # row 0 goes straight on
        return actions, (rows, np.broadcast_to(steps.max() + 1, rows.shape))


def test_an_agent_keeps_its_memory_through_an_episode_and_forgets_between():
    model = Model(make_task(LANDMARK, data=IMAGES))
    kwargs = {**SETTINGS[LANDMARK], "max_episode_steps": 60}
    ended = evaluate(LANDMARK, agent_policy(model), episodes=6, num_envs=3, env_kwargs=kwargs)
    lengths, begins = (
        ended["length"].reshape(2, 3),
        [k for k, call in enumerate(model.calls) if call[0] is None],
    )
    assert begins == [0, lengths[0].max()]
    assert len(set(lengths.ravel())) > 1  # some are over before others
    for k, (state, start, deterministic) in enumerate(model.calls):
        group = int(k >= begins[1])
        done = k - begins[group]
        assert deterministic and start.all() == (done == 0)
        if state is not None:  # of those that go on alone
            assert state[0].ravel().tolist() == np.flatnonzero(lengths[group] > done).tolist()
            assert (state[1] == done).all()


def test_chance_does_not_depend_on_when_others_end():
    """Rows that are over are drawn for, and left out."""
    task, policy, other = make_task(LANDMARK, data=IMAGES), RandomPolicy(3), RandomPolicy(3)
    shown = {"window": np.zeros((4, 1))}
    policy.reset()
    assert (policy(shown, task, None) == other(shown, task, None)).all()
    policy.keep(np.array([True, False, True, False]))
    for _ in range(3):
        part = policy({"window": np.zeros((2, 1))}, task, None)
        assert (part == other(shown, task, None)[[0, 2]]).all()


def test_rows_that_go_on_are_told_to_a_policy_behind_a_scorer():
    told = []

    class Forgetful:
        def reset(self):
            pass

        def keep(self, rows):
            told.append(rows)

    ScoredPolicy(Forgetful(), len).keep(np.array([True, False]))
    assert told[0].tolist() == [True, False]


def test_a_policy_that_remembers_must_be_able_to_go_on_with_some_rows():
    class Old:
        def reset(self):
            pass

        def __call__(self, observations, task, state):
            return task.expert(state)

    with pytest.raises(TypeError, match=r"must have keep\(rows\), got Old"):
        evaluate(LANDMARK, Old(), env_kwargs=SETTINGS[LANDMARK])


def test_an_agent_refuses_what_it_was_not_trained_on():
    model = Model(make_task(LANDMARK, data=IMAGES, window=20))
    with pytest.raises(
        ValueError, match=r"observation 'window' must be of shape \(3, 20, 20\).*got \(3, 40, 40\)"
    ):
        evaluate(LANDMARK, agent_policy(model), env_kwargs=SETTINGS[LANDMARK])


def test_the_interval_of_a_mean_is_that_of_scipy():
    values = RNG.normal(3, 1, 80)
    got = estimate(values)
    want = bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert got.value == pytest.approx(values.mean())
    assert (got.low, got.high) == pytest.approx((want.low, want.high), abs=0.03)


@pytest.mark.parametrize("count", [200, 201])
def test_the_interval_of_a_median_is_that_of_scipy(count):
    values = RNG.normal(3, 1, count)
    got = estimate(values, median=True)
    want = bootstrap(
        (values,), np.median, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert got.value == pytest.approx(np.median(values))
    assert (got.low, got.high) == pytest.approx((want.low, want.high), abs=0.06)


def test_episodes_of_one_image_count_as_one_piece_of_evidence():
    centres = RNG.normal(0, 1, 20)
    values, groups = np.repeat(centres, 16), np.repeat(np.arange(20), 16)
    apart, together = estimate(values), estimate(values, groups)
    once = estimate(centres)
    assert together.high - together.low == pytest.approx(once.high - once.low, rel=0.1)
    assert together.high - together.low > 3 * (apart.high - apart.low)


def test_one_image_tells_no_interval_and_no_value_is_an_error():
    alone = estimate(np.arange(5), np.zeros(5, int))
    assert alone.value == 2
    assert np.isnan([alone.low, alone.high]).all()
    with pytest.raises(ValueError, match="values must not be empty"):
        estimate(np.array([]))


def test_errors_get_a_median_and_shares_do_not():
    found = summarize(
        {"error_mm": np.array([1.0, 1, 10]), "sdr_2mm": np.array([1.0, 1, 0]), "length": np.ones(3)}
    )
    assert list(found) == ["error_mm", "median_error_mm", "sdr_2mm"]
    assert (found["error_mm"].value, found["median_error_mm"].value) == (4, 1)


def test_the_table_has_its_rows_in_order_and_is_json():
    table = compare(
        LANDMARK, {"mine": expert_policy}, env_kwargs=SETTINGS[LANDMARK], fit_kwargs={"data": images()}
    )
    kinds = [row.kind for row in table.rows]
    assert (kinds[0], kinds[-2:], set(kinds[1:-2])) == ("random", ["agent", "expert"], {"classical"})
    assert table.columns[:2] == ["distance_px", "median_distance_px"]
    assert table.clusters == 5
    plain = json.loads(json.dumps(table.to_dict(), allow_nan=False))
    assert plain["rows"][-1]["metrics"]["is_success"]["value"] == 1
    assert plain["rows"][-1]["metrics"] == plain["rows"][-2]["metrics"]
    assert plain["rows"][1]["steps"] is None
    lines = table.to_markdown().splitlines()
    assert lines[0].startswith("| method | distance_px | median_distance_px |")
    assert len({line.count("|") for line in lines[: 2 + len(table.rows)]}) == 1


def test_an_agent_cannot_take_the_name_of_another_row():
    with pytest.raises(ValueError, match="agents must not be named like other rows, got expert"):
        compare(LANDMARK, {"expert": RandomPolicy(0)}, env_kwargs=SETTINGS[LANDMARK])


@pytest.mark.parametrize("width", [60, 80, 400])
def test_one_block_has_what_fits_and_the_rest_is_named(width, capsys):
    table = compare(TRACKING, env_kwargs=SETTINGS[TRACKING])
    from rich.console import Console

    table.print(Console(width=width, color_system=None))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= width and "…" not in shown
    block, notes = shown.split("more is better")[:2]
    assert block.count("method") == 1 and all(row.name.split()[0] in block for row in table.rows)
    beyond = " ".join(notes.partition("success_auc of each")[0].split()).partition("Beyond the width: ")[2]
    words = " ".join(block.split())
    for column in (*table.columns, "ms/episode"):
        assert column in beyond or set(column.replace("/", "/_").split("_")) <= {*words.split()}, column
    assert "success_auc" not in beyond and (width == 60 or "ms/episode" not in beyond)
    assert bool(beyond) == (width < 400)


def test_sequences_have_a_row_each(capsys):
    table = compare(TRACKING, env_kwargs=SETTINGS[TRACKING], rows=("random", "expert"))
    names = list(table.rows[0].classes)
    assert len(names) == table.rows[0].episodes > 1
    assert table.rows[1].classes[names[0]]["episodes"] == 1
    table.print()
    assert "success_auc of each" in (shown := capsys.readouterr().out)
    assert all(name in shown for name in names)


def test_units_stand_below_the_names_of_metrics(capsys):
    compare(LANDMARK, env_kwargs=SETTINGS[LANDMARK], rows=("expert",)).print()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert any(line[:4] == ["method", "px", "px", "success"] for line in lines)


def test_methods_that_learn_are_left_out_where_there_is_nothing_to_learn_from():
    table = compare(LANDMARK, episodes=3, env_kwargs=SETTINGS[LANDMARK])
    assert [row.kind for row in table.rows] == ["random", "expert"]
    assert "no training split" in table.notes[0]
    assert [row.kind for row in compare(TRACKING, env_kwargs=SETTINGS[TRACKING]).rows][1] == "classical"


def test_a_film_shows_first_and_last_state_and_stays_small(tmp_path):
    path = record(
        LANDMARK, RandomPolicy(0), tmp_path / "a.gif", env_kwargs=SETTINGS[LANDMARK], item=3, seed=2
    )
    with Image.open(path) as film:
        assert 2 <= film.n_frames <= 200
    assert path.stat().st_size <= 2_000_000


def test_a_long_noisy_film_is_thinned(tmp_path):
    noise = {"data": videos(1, 20, pace=1), "window": 32}
    path = record(TRACKING, expert_policy, tmp_path / "a.gif", env_kwargs=noise)
    assert path.stat().st_size <= 2_000_000
