"""A data set with bad samples: predicted are the others; of pairs the modalities can be said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visionrl.agents import make_vec_env
from visionrl.agents.evaluation.policies import AgentPolicy
from visionrl.agents.prediction.agent import Agent
from visionrl.agents.prediction.inputs import inputs_of, parse_modalities
from visionrl.agents.training.config import TrainConfig, resolve
from visionrl.agents.training.models import build_model
from visionrl.cli import main as cli
from visionrl.core import make_task
from visionrl.core.results import ImageClass
from visionrl.datasets import PairSample


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photographs in VOC's layout, of which one is cut off and one has a box without area."""
    home = tmp_path / "set"
    home.mkdir()
    for k in range(4):
        noise = np.random.default_rng(k).integers(0, 256, (60, 80), dtype=np.uint8)
        Image.fromarray(noise).save(home / f"{k}.png")
        edges = {"xmin": 9, "ymin": 9, "xmax": 9 if k == 2 else 40, "ymax": 30}
        box = "".join(f"<{key}>{value}</{key}>" for key, value in edges.items())
        text = f"<annotation><object><name>cat</name><bndbox>{box}</bndbox></object></annotation>"
        (home / f"{k}.xml").write_text(text)
    (home / "1.png").write_bytes((home / "1.png").read_bytes()[:200])
    return home


def test_bad_samples_of_a_data_set_are_reported_and_the_others_done(
    folder: Path, tmp_path: Path, capsys: Any
) -> None:
    out, home = tmp_path / "out", tmp_path / "classes" / "7"
    home.mkdir(parents=True)
    for k in range(4):
        (home / f"{k}.png").write_bytes((folder / f"{k}.png").read_bytes())
    (home / "3.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", "glimpses-digits", f"imagefolder:{home.parent}", "--out", str(out)])
    assert stopped.value.code == 1
    said = capsys.readouterr()
    assert "2 of 4 files" in said.out
    failed = [line for line in said.err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2 and "1.png" in failed[0] and "3.png" in failed[1]
    names = [json.loads(line)["name"] for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert names == ["7/0.png", "7/2.png"]


def test_samples_are_read_when_their_turn_comes(folder: Path) -> None:
    good, bad, flat, _ = inputs_of([f"voc:{folder}"], make_task("Detection-v0").sample_type)
    assert good.read().image.shape == (1, 60, 80)
    with pytest.raises(ValueError, match=r"1\.png"):
        bad.read()
    with pytest.raises(ValueError, match="xmin < xmax"):
        flat.read()


def test_two_files_of_a_pair_can_be_of_two_modalities(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.fromarray(np.eye(40, dtype=np.uint8) * 255).save(tmp_path / f"{name}.png")
    words = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    (plain,), (mixed,) = inputs_of(words, PairSample), inputs_of(words, PairSample, modalities=("mr", "ct"))
    assert plain.read().modalities == ("", "") and mixed.read().modalities == ("mr", "ct")
    assert parse_modalities("mr, ct") == ("mr", "ct")


@pytest.mark.parametrize("text", ["mr", "mr,", "a,b,c", ""])
def test_modalities_are_two_words(text: str) -> None:
    with pytest.raises(ValueError, match="modalities must be two words, FIXED,MOVING such as mr,ct"):
        parse_modalities(text)


def test_modalities_are_for_pairs_of_files_alone(folder: Path) -> None:
    with pytest.raises(ValueError, match="modalities must be given for pairs of files alone"):
        inputs_of([str(folder)], make_task("Detection-v0").sample_type, modalities=("mr", "ct"))


@pytest.mark.parametrize("algo", ["ppo", "dqn"])
def test_a_class_has_the_probability_of_its_answer_where_the_policy_has_one(algo: str) -> None:
    env = "visionrl/GlimpseClassification-v0"
    kwargs: dict[str, Any] = {"classes": ["0", "1", "2"], "places": 1, "memory": False, "channels": 1}
    config = resolve(TrainConfig(env=env, algo=algo, recipe="none", num_envs=1, device="cpu", seed=3))
    model = build_model(config, make_vec_env(env, 1, **kwargs))
    agent = Agent(env, AgentPolicy(model), kwargs)
    for seed in range(20):
        found: Any = agent.predict(np.random.default_rng(seed).integers(0, 256, (28, 28), dtype=np.uint8))
        assert isinstance(found, ImageClass)
        if found.label is None or algo == "dqn":
            assert found.confidence is None
        else:
            assert 1 / 3 <= found.confidence <= 1
    assert (agent.policy.answer_probability is None) == (algo == "dqn")


def test_what_may_take_minutes_is_said(folder: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["full image, nearest neighbours", str(folder / "0.png"), "--env", "GlimpseClassification-v0"]
    cli.main(["predict", *words, "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert "fitting full image, nearest neighbours to the training split of the embedded set" in said
