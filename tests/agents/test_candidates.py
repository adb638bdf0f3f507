"""Agents that choose one of several candidates: order does not matter, every algorithm learns, runs can be loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from PIL import Image

from visionrl.agents.policies.candidates import (
    POLICIES,
    CandidateExtractor,
    ScoreEach,
    candidate_policy,
    offers_candidates,
)
from visionrl.agents.prediction.agent import classical, load_agent
from visionrl.agents.prediction.inputs import inputs_of
from visionrl.agents.prediction.predict import predict_files
from visionrl.agents.training.config import TrainConfig, resolve
from visionrl.agents.training.models import build_model, make_training_env
from visionrl.agents.training.saving import load_model
from visionrl.agents.training.train import train
from visionrl.datasets import ImageSet

ID = "visionrl/ActiveLabelling-v0"
SPACE = spaces.Dict({"candidates": spaces.Box(-1, 1, (5, 7)), "context": spaces.Box(-1, 1, (3,))})


def config(algo: str, **more) -> TrainConfig:
    small = {"num_envs": 2, "timesteps": 40, "eval_every": 40, "eval_episodes": 2, "test_episodes": 2}
    return TrainConfig(env=ID, algo=algo, **{**small, **more})


def seen(rows: int = 2) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"candidates": torch.randn(rows, 5, 7), "context": torch.randn(rows, 3)}


def test_scores_move_with_the_candidates():
    net = torch.nn.Sequential(CandidateExtractor(SPACE, 16), ScoreEach(5, 16, common=True))
    obs, order = seen(), torch.tensor([3, 0, 4, 1, 2])
    moved = {**obs, "candidates": obs["candidates"][:, order]}
    torch.testing.assert_close(net(moved), net(obs)[:, order])
    assert net(obs).std() > 0


def test_a_score_depends_on_the_other_candidates_and_on_the_context():
    net = torch.nn.Sequential(CandidateExtractor(SPACE, 16), ScoreEach(5, 16))
    obs = seen()
    other, context = {**obs, "candidates": obs["candidates"].clone()}, {**obs, "context": -obs["context"]}
    other["candidates"][:, 1:] *= 3
    for changed in (other, context):
        assert not torch.allclose(net(changed)[:, 0], net(obs)[:, 0])


def test_what_offers_candidates():
    assert offers_candidates(SPACE, spaces.Discrete(5))
    assert not offers_candidates(SPACE, spaces.Discrete(4)), "another number of actions"
    image = spaces.Dict({**SPACE.spaces, "window": spaces.Box(0, 255, (1, 8, 8), np.uint8)})
    assert not offers_candidates(image, spaces.Discrete(5)), "an image needs a backbone"


@pytest.mark.parametrize("algo", POLICIES)
def test_every_algorithm_acts_and_learns(algo):
    given = config(
        algo,
        recipe="none",
        algo_args=["n_steps=8", "batch_size=8"] if algo not in ("dqn", "ddqn", "a2c") else (),
    )
    env = make_training_env(given)
    model = build_model(given, env)
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    model.learning_starts = 8
    model.learn(64)
    assert any(not torch.equal(value, before[key]) for key, value in model.policy.state_dict().items())
    env.close()


@pytest.mark.parametrize("algo", ["qrdqn", "recurrentppo"])
def test_other_algorithms_are_refused_by_name(algo):
    with pytest.raises(ValueError, match=f"for a task of candidates, got '{algo}'"):
        candidate_policy(algo)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("backbone", {"backbone": "impala"}),
        ("fusion", {"fusion": "film"}),
        ("memory", {"memory": "gru"}),
        ("attention", {"attention": "soft"}),
        ("stn", {"stn": True}),
        ("cache", {"cache": True, "frozen": True}),
        ("net_arch", {"algo_args": ["net_arch=[8]"]}),
        ("action_maps", {"algo_args": ["action_maps=1"]}),
    ],
)
def test_options_about_images_are_refused_by_name(name: str, given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be left out for a task of candidates, got"):
        make_training_env(resolve(config("ppo", recipe="none", **given)))


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["dqn", "ppo"])
def test_a_run_is_loaded_and_used_on_a_folder(algo, tmp_path: Path):
    quick = ["candidates=6", "budget=4", "budget_spread=1", "scored_pixels=300"]
    more = {"algo_args": ["n_steps=8", "batch_size=16"]} if algo == "ppo" else {}
    run = train(config(algo, out=str(tmp_path / "runs"), name="r", clone_steps=20, env_args=quick, **more))
    model, _ = load_model(run)
    assert type(model.policy) is candidate_policy(algo)
    folder = tmp_path / "mine"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    found = load_agent(run).predict(folder).to_json()["regions"]
    assert 1 <= len(found) <= 5 and {one["image"] for one in found} <= {"0", "1", "2"}


def test_a_folder_is_one_set_and_its_images_come_with_the_masks_they_have(tmp_path: Path):
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        Image.fromarray(rng.integers(0, 256, (30, 40), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 5:20] = 255
    Image.fromarray(mask).save(tmp_path / "b_mask.png")
    for word in (str(tmp_path), f"masks:{tmp_path}"):
        (one,) = inputs_of([word], ImageSet)
        found = one.read()
        assert [(image.name, image.mask is not None) for image in found.images] == [
            ("a", False),
            ("b", True),
            ("c", False),
        ]
        assert found.name == tmp_path.name and set(np.unique(found.images[1].mask)) == {0, 1}
    (several,) = inputs_of([str(tmp_path / "a.png"), str(tmp_path / "c.png")], ImageSet)
    assert [image.name for image in several.read().images] == ["a", "c"]
    with pytest.raises(ValueError, match="files must exist"):
        inputs_of([str(tmp_path / "d.png")], ImageSet)


def test_pixels_of_255_are_not_labelled_yet(tmp_path: Path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (45, 60), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    mask = np.full((45, 60), 255, np.uint8)
    mask[:15, :15], mask[:15, 15:30] = 0, 1
    mask[:5, 20:25] = 2
    Image.fromarray(mask).save(tmp_path / "a_mask.png")
    agent = classical(ID, "entropy")
    sample = agent.sample_of(tmp_path)
    task = agent.task_on(sample)
    assert task.names == ("background", "1", "2")
    assert np.flatnonzero(task.bank.known.array).tolist() == [0, 1] and len(task.pool) == 2 * 12 - 2
    state = task.sample(rng, 0)
    assert state.count.tolist() == [225, 200, 25]
    found = agent.predict_sample(sample).result.to_json()["regions"]
    assert not {("a", 0.0, 0.0), ("a", 15.0, 0.0)} & {(r["image"], r["x0"], r["y0"]) for r in found}


def test_entropy_says_which_regions_of_a_folder_to_label_next(tmp_path: Path):
    rng, folder = np.random.default_rng(0), tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for name in "abcdef":
        Image.fromarray(rng.integers(0, 256, (45, 60), dtype=np.uint8)).save(
            folder / "images" / f"{name}.png"
        )
    mask = np.zeros((45, 60), np.uint8)
    mask[10:30, 10:30], mask[30:, 40:] = 1, 2
    Image.fromarray(mask).save(folder / "masks" / "a.png")
    agent, out = classical(ID, "entropy"), tmp_path / "out"
    report = predict_files(agent, inputs_of([str(folder)], agent.sample_type), out)
    assert (report.done, report.failed) == (1, [])
    found = json.loads((out / "mine.json").read_text())["regions"]
    assert [one["order"] for one in found] == list(range(1, 21))
    assert {one["image"] for one in found} <= set("bcdef") and all(0 < one["score"] <= 1 for one in found)
    assert len({(one["image"], one["x0"], one["y0"]) for one in found}) == 20, "none twice"
    rows = (out / "mine.csv").read_text().splitlines()
    assert rows[0] == "order,image,x0,y0,x1,y1,score" and len(rows) == 21
    assert (out / "mine.png").is_file()
