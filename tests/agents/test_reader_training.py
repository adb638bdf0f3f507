"""A captioner or an answerer reads for the policy of a training run, and the agent needs no other folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from visionrl.agents.policies.words import WordsExtractor
from visionrl.agents.prediction.agent import load_agent
from visionrl.agents.training.config import TrainConfig, resolve
from visionrl.agents.training.models import build_model, make_training_env
from visionrl.agents.training.readers import starts_trained, with_words
from visionrl.agents.training.saving import load_model
from visionrl.agents.training.train import train
from visionrl.datasets.embedded.scenes import Scenes
from visionrl.models import make_model, save_model

WORDS = tuple(
    word
    for line in ("a two three large small red blue", "left right of above below and bag bags coin coins")
    for word in line.split()
)
GIVEN: dict[str, Any] = {
    "env": "CaptionGeneration-v0",
    "algo": "maskableppo",
    "backbone": "nature",
    "features_dim": 16,
    "num_envs": 4,
    "clone_steps": 32,
    "timesteps": 64,
    "env_args": ("side=36",),
    "algo_args": ("n_steps=16", "batch_size=32", "n_epochs=1"),
    "eval_episodes": 4,
    "test_episodes": 4,
    "eval_every": 1000,
}


def captioner(folder: Path) -> Path:
    """A captioner that knows few words."""
    torch.manual_seed(0)
    save_model(
        make_model("show_and_tell", words=WORDS, length=9, side=36, backbone="nature", width=16), folder
    )
    return folder


def test_the_recipe_names_a_model_and_none_takes_it_away() -> None:
    assert resolve(TrainConfig(env="CaptionGeneration-v0")).model == "show_attend_and_tell"
    assert resolve(TrainConfig(env="VisualQuestionAnswering-v0")).model == "vqa_film"
    assert resolve(TrainConfig(env="Tracking-v0")).model == "none"
    assert resolve(TrainConfig(env="CaptionGeneration-v0", model="none")).model == "none"


def test_a_policy_starts_as_the_trained_captioner_and_takes_its_words(tmp_path: Path) -> None:
    folder = captioner(tmp_path / "captioner")
    given = {**GIVEN, "model": str(folder), "clone_steps": 0, "self_critical": "greedy", "env_args": ()}
    config = with_words(resolve(TrainConfig(**given)))
    assert {"max_words=9", "side=36"} <= set(config.env_args)
    with pytest.warns(UserWarning, match="captions have more than 8 words"):
        env = make_training_env(config)
    model: Any = build_model(config, env)
    task = env.get_attr("task")[0]
    assert task.words.words[4:] == WORDS
    extractor = model.policy.features_extractor
    assert isinstance(extractor, WordsExtractor)
    assert torch.equal(model.policy.action_net.weight, extractor.model.out.weight)
    assert not model.policy.value_net.weight.any()


def test_a_frozen_trunk_of_a_trained_captioner_stays_as_it_is(tmp_path: Path) -> None:
    folder = captioner(tmp_path / "captioner")
    given = {**GIVEN, "model": str(folder), "clone_steps": 0, "env_args": ()}
    for frozen in (True, False):
        config = with_words(resolve(TrainConfig(**given, frozen=frozen)))
        assert starts_trained(config)
        with pytest.warns(UserWarning, match="captions have more than 8 words"):
            env = make_training_env(config)
        model: Any = build_model(config, env)
        trunk = model.policy.features_extractor.model.image.trunk
        assert [x.requires_grad for x in trunk.stages.parameters()].count(frozen) == 0
    assert not starts_trained(resolve(TrainConfig(env="CaptionGeneration-v0")))


@pytest.mark.slow
def test_an_agent_is_saved_with_all_that_it_needs(tmp_path: Path) -> None:
    folder = captioner(tmp_path / "captioner")
    given = {
        **GIVEN,
        "model": str(folder),
        "clone_steps": 0,
        "out": str(tmp_path),
        "name": "run",
        "env_args": (),
    }
    with pytest.warns(UserWarning, match="captions have more than 8 words"):
        run = train(TrainConfig(**given))
    (folder / "model.json").unlink()
    model, _ = load_model(run, "cpu")
    assert model.policy.features_extractor.model.width == 16
    said: Any = load_agent(run, "cpu").predict(Scenes("val")[3].image)
    assert set(said.caption.split()) <= set(WORDS)
    assert json.loads((run / "model.json").read_text())["model"] == "show_and_tell"


@pytest.mark.slow
def test_an_answerer_by_name_learns_where_to_look(tmp_path: Path) -> None:
    given = {
        **GIVEN,
        "env": "VisualQuestionAnswering-v0",
        "env_args": (),
        "out": str(tmp_path),
        "name": "run",
    }
    run = train(TrainConfig(**given))
    image = Scenes("val")[3].image
    found = load_agent(run, "cpu").predict(image, question="is there a red bag").to_json()
    assert found["question"] == "is there a red bag" and len(found["glimpses"]) >= 1
    assert found["answer"] is None or 0 <= found["confidence"] <= 1
    with pytest.raises(ValueError, match="question must be given"):
        load_agent(run, "cpu").predict(np.zeros((3, 96, 96), np.uint8))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"env": "LandmarkLocalization-v0", "algo": "ppo", "env_args": ()}, "which shows no words"),
        ({"stn": True}, "stn must be left out with model 'show_and_tell'"),
        ({"tiles": 2}, "tiles must be left out with model 'show_and_tell', got 2"),
        ({"fusion": "film"}, "fusion must be left out with model 'show_and_tell', got 'film'"),
        ({"memory": "gru", "algo": "ppo"}, "memory must be left out with model"),
        ({"model": "vqa_film"}, "model must be a captioner where words are seen, got vqa_film"),
        ({"model": "nowhere"}, "nowhere"),
        (
            {"env": "Tracking-v0", "model": "captioner-scenes", "env_args": ()},
            "model must be none for .*no words",
        ),
        (
            {"model": "answers-scenes", "env_args": ("max_words=16",)},
            "model must be a captioner where words are seen",
        ),
    ],
)
def test_what_does_not_fit_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        config = with_words(resolve(TrainConfig(**{**GIVEN, "model": "show_and_tell", **more})))
        build_model(config, make_training_env(config))
