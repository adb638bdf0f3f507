"""The benchmark runs, and the hand-written environments that it compares with play by the tasks' rules."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import gymnasium as gym
import numpy as np
import pytest

import visionrl  # noqa: F401
from visionrl.datasets import CaptionSample, ImageSample, QuestionSample, VideoSample

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
RNG = np.random.default_rng(5)


@pytest.fixture
def scalar_envs(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("scalar_envs")


def play(first, second, seed):
    """Both environments take the same random actions for one episode; returns their pairs of windows."""
    (seen, _), (other, _) = first.reset(seed=seed), second.reset(seed=seed)
    windows = [(seen["window"], other["window"])]
    rng = np.random.default_rng(seed)
    for _ in range(150):
        action = int(rng.integers(first.action_space.n))
        seen, reward, over, _, info = first.step(action)
        other, reward2, over2, _, info2 = second.step(action)
        assert over == over2
        assert reward == pytest.approx(reward2, abs=1e-9)
        assert set(seen) == set(other)
        for key in set(seen) - {"window"}:
            np.testing.assert_allclose(seen[key], other[key], atol=1e-6)
        for key in info2:
            assert info[key] == pytest.approx(info2[key], abs=1e-9)
        windows.append((seen["window"], other["window"]))
        if over:
            break
    return windows


def test_scalar_landmark_plays_by_the_rules(scalar_envs):
    images = RNG.integers(0, 256, (2, 3, 60, 70), dtype=np.uint8)
    points = [(20.0, 33.0), (41.5, 12.0)]
    samples = [
        ImageSample(i, points={"a": p}, name=str(k))
        for k, (i, p) in enumerate(zip(images, points, strict=True))
    ]
    sizes = {"window": 16, "step_sizes": (3, 1), "scales": (1, 1)}
    task = gym.make("visionrl/LandmarkLocalization-v0", data=samples, **sizes).unwrapped
    pairs = [(k, 0, point) for k, point in enumerate(points)]
    plain = scalar_envs.ScalarLandmark([i.transpose(1, 2, 0).copy() for i in images], pairs, 1, **sizes)
    windows = [pair for seed in range(8) for pair in play(task, plain, seed)]
    assert len(windows) > 80
    for ours, theirs in windows:
        np.testing.assert_array_equal(ours, theirs)


def test_scalar_tracking_plays_by_the_rules(scalar_envs):
    videos = RNG.integers(0, 256, (2, 12, 3, 60, 70), dtype=np.uint8)
    low = np.cumsum(RNG.uniform(-1, 1.5, (2, 12, 2)), axis=1) + 15
    boxes = np.concatenate([low, low + np.array([20.0, 16.0])], axis=-1)
    samples = [VideoSample(videos[k], boxes[k], name=str(k)) for k in range(2)]
    task = gym.make("visionrl/Tracking-v0", data=samples, window=32, views=("window",)).unwrapped
    plain = scalar_envs.ScalarTracking(list(videos.transpose(0, 1, 3, 4, 2).copy()), list(boxes), window=32)
    windows = [pair for seed in range(8) for pair in play(task, plain, seed)]
    assert len(windows) > 80
    same = [np.array_equal(ours, theirs) for ours, theirs in windows]
    assert np.mean(same) > 0.95  # a box whose edge falls on half a pixel may be rounded the other way


@pytest.mark.slow
def test_benchmark_runs_and_writes_every_sample(tmp_path):
    saved, page = tmp_path / "speed.json", tmp_path / "speed.md"
    command = [
        sys.executable,
        "-W",
        "ignore",
        str(FOLDER / "steps_per_second.py"),
        "--quick",
        "--rounds",
        "2",
    ]
    rest = ["--budget", "0.001", "--only", "^tracking/", "--json", str(saved), "--write", str(page)]
    done = subprocess.run([*command, *rest], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(saved.read_text())
    assert {"tracking/numpy/64", "tracking/torch/64", "tracking/sync-scalar/64"} <= set(result["contenders"])
    for row in result["contenders"].values():
        assert len(row["wall_us"]) == len(row["cpu_us"]) == 2
        assert min(row["wall_us"]) > 0
    assert "| tracking | engine / its crops | <= 1.3 |" in page.read_text()
    assert "not measured" in page.read_text()


def test_labels_after_every_choice_are_those_of_an_ordinary_episode(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    labelling = importlib.import_module("active_labelling")
    small = {"candidates": 5, "budget": 4, "budget_spread": 0, "scored_pixels": 500}
    plan = labelling.prepare(labelling.ID, "val", 3, 0, 3, small)
    ordinary = labelling.evaluate_policy(plan, labelling.most_unsure).values["miou"]
    np.testing.assert_allclose(labelling.in_rounds(plan, labelling.most_unsure, 1), ordinary)
    assert not np.allclose(labelling.in_rounds(plan, labelling.most_unsure, 4), ordinary)


def test_images_to_label_and_to_score_are_found_by_name(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))
    labelling = importlib.import_module("active_labelling")
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for k in range(4):
            pixels = RNG.integers(0, 256, (20, 20)) if kind == "images" else np.eye(20) * 255
            cv2.imwrite(str(tmp_path / kind / f"{k}.png"), pixels.astype(np.uint8))
    data = f"masks:{tmp_path}"
    found = labelling.images_of(data, ["3", "0"], ["1", "2"])
    assert [Path(sample.name).stem for sample in found] == ["3", "1", "0", "2"]
    with pytest.raises(SystemExit, match="which has no 7"):
        labelling.images_of(data, ["7"], ["1"])
    with pytest.raises(SystemExit, match="got 2 and 1"):
        labelling.images_of(data, ["0", "3"], ["1"])


def test_the_nearest_image_knows_two_toys_and_one_caption_or_answer_for_all_knows_half(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    language = importlib.import_module("language")
    images = {"red": np.zeros((3, 20, 20), np.uint8), "green": np.full((3, 20, 20), 200, np.uint8)}
    said = [CaptionSample(images[name], (f"all of it is {name}",)) for name in ("red", "green") * 3]
    asked = [QuestionSample(one.image, "what is it", one.captions[0].split()[-1:], "what") for one in said]
    monkeypatch.setattr(
        language, "load", lambda data, kind, **given: said if kind is CaptionSample else asked
    )
    monkeypatch.setattr(language, "SOME", len(said))
    for rows, column in ((language.CaptionRows, 6), (language.AnswerRows, 1)):
        table = [row.split(" | ") for row in rows("toys").plain()]
        nearest = next(row for row in table if "nearest" in row[0])
        assert float(nearest[column].split()[0]) == 1
        assert float(table[1][column].split()[0]) == 0.5
    assert language.interval(np.array([0.0, 1.0]), np.array([0, 0])) == "0.500 [0.500, 0.500]"
