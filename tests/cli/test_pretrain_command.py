"""``visionrl pretrain``: from images without labels to weights that an agent starts from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from PIL import Image

import visionrl  # noqa: F401
from visionrl.agents import VisionExtractor
from visionrl.backbones import make_backbone
from visionrl.cli.main import main
from visionrl.models import load_model
from visionrl.supervised.pretrain import PretextTrainer
from visionrl.supervised.pretrain_images import check_key

ENV = ["--env", "LandmarkLocalization-v0", "--preset", "cpu"]
SHORT = ["--steps", "20", "--batch-size", "8", "--images", "24"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of colour pictures, one of grey ones, and one with a single picture."""
    folder, rng = tmp_path_factory.mktemp("pretrain"), np.random.default_rng(0)
    for name, count, shape in (("colour", 16, (30, 40, 3)), ("grey", 6, (30, 40)), ("one", 1, (30, 40, 3))):
        (folder / name).mkdir()
        for k in range(count):
            image = np.clip(
                rng.integers(0, 255, shape[2:] or (1,)) + rng.integers(-20, 20, shape[:2])[..., None], 0, 255
            )
            Image.fromarray(image.astype(np.uint8).squeeze()).save(folder / name / f"{k:02d}.png")
    shutil.copytree(folder / "colour", folder / "val_alone" / "val")
    return folder


def test_weights_picture_figures_and_the_pretext_are_written(home: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "new" / "w.pt"
    line = ["pretrain", "--pretext", "simclr", "--data", f"images:{home / 'colour'}", "--out", str(out)]
    main([*line, *SHORT, "--options", "side=32", "temperature=0.5"])
    said = capsys.readouterr().out
    assert "round 10: loss" in said and "20 steps" in said and "accuracy" in said
    assert {path.name for path in out.parent.iterdir()} == {"w.pt", "w.png", "w.json", "w-pretext"}
    about = json.loads(out.with_suffix(".json").read_text())
    assert about["steps"] == 20 and set(about["figures"]) == {"loss", "accuracy"}
    assert about["config"]["pretext"] == "simclr" and about["side"] == 32 and len(about["curve"]) == 10
    assert np.array(Image.open(out.with_suffix(".png"))).ndim == 3
    net: Any = load_model(out.parent / "w-pretext")
    trunk = make_backbone("small", weights=str(out))
    for key, value in net.backbone.state_dict().items():
        assert (trunk.state_dict()[key] == value).all()
    assert (trunk.stages.conv1[0].weight != make_backbone("small").stages.conv1[0].weight).any()


def test_equal_seeds_give_equal_weights_and_others_others(home: Path, tmp_path: Path) -> None:
    line = ["pretrain", "--pretext", "rotation", "--data", f"images:{home / 'colour'}", *SHORT]
    states = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        main([*line, "--seed", seed, "--out", str(tmp_path / f"{name}.pt")])
        states.append(torch.load(tmp_path / f"{name}.pt", weights_only=True))
    assert all((states[0][key] == states[1][key]).all() for key in states[0])
    assert any((states[0][key] != states[2][key]).any() for key in states[0])


def test_data_without_validation_are_learned_and_said_to_be_so(
    home: Path, tmp_path: Path, capsys: Any
) -> None:
    shutil.copytree(home / "colour", tmp_path / "data" / "train")
    (tmp_path / "data" / "train" / "bad.png").write_text("no picture")
    line = ["pretrain", "--pretext", "rotation", "--data", f"images:{tmp_path / 'data'}", *SHORT]
    line += ["--options", "channels=1", "side=32"]
    with pytest.warns(UserWarning, match=r"1 of 17 samples .* are left out"):
        main([*line, "--skip-bad", "--steps", "2", "--out", str(tmp_path / "w.pt")])
    said = capsys.readouterr().out
    assert "16 images of 1 x 32 x 32, none for validation" in said
    about = json.loads((tmp_path / "w.json").read_text())
    assert (about["images"], about["validation"]) == (16, 0) and len(about["curve"]) == 2


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights learned from what an environment shows."""
    out = tmp_path_factory.mktemp("walked") / "w.pt"
    main(["pretrain", "--pretext", "rotation", *ENV, "--out", str(out), *SHORT])
    return out


def test_what_an_environment_shows_is_learned_and_a_policy_starts_from_it(walked: Path) -> None:
    about = json.loads(walked.with_suffix(".json").read_text())
    assert about["side"] == 32 and about["channels"] == 3
    assert not load_model(walked.parent / "w-pretext").colour  # three scales, no colours
    space: Any = gym.make("visionrl/LandmarkLocalization-v0", preset="cpu").observation_space
    net = VisionExtractor(space, backbone="small", weights=str(walked), frozen=True)
    first = net.backbones["window"].stages.conv1[0].weight
    assert (first == torch.load(walked, weights_only=True)["stages.conv1.0.weight"]).all()
    assert not first.requires_grad


@pytest.mark.slow
def test_the_train_command_keeps_frozen_weights(walked: Path, tmp_path: Path) -> None:
    line = ["train", *ENV, "--algo", "ppo", "--backbone", "small", "--weights", str(walked), "--frozen"]
    few = ["--timesteps", "64", "--eval-episodes", "2", "--num-envs", "2"]
    args = ["--algo-args", "n_steps=16", "batch_size=16"]
    main([*line, *few, *args, "--out", str(tmp_path), "--name", "run"])
    policy = torch.load(tmp_path / "run" / "policy.pt", weights_only=True)
    first = next(x for key, x in policy.items() if key.endswith("stages.conv1.0.weight"))
    assert (first == torch.load(walked, weights_only=True)["stages.conv1.0.weight"]).all()


def test_an_environment_without_images_is_refused() -> None:
    volume = spaces.Dict({"window": spaces.Box(0, 255, (1, 8, 8, 8), np.uint8)})
    with pytest.raises(ValueError, match="key must be that of an image, and the environment shows none, got"):
        check_key(SimpleNamespace(single_observation_space=volume), "window")  # type: ignore[arg-type]


def test_weights_of_three_channels_serve_a_window_and_a_template() -> None:
    state = make_backbone("small", 3).state_dict()
    wide = make_backbone("small", 6, weights=state).stages.conv1[0].weight
    torch.testing.assert_close(wide[:, :3] * 2, state["stages.conv1.0.weight"])
    narrow = make_backbone("small", 1, weights=state).stages.conv1[0].weight
    assert narrow.shape == (32, 1, 4, 4)


def test_ctrl_c_keeps_what_was_learned(home: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    update = PretextTrainer.update

    def interrupted(self: Any, rows: Any) -> float:
        if self.step == 7:
            raise KeyboardInterrupt
        return update(self, rows)

    monkeypatch.setattr(PretextTrainer, "update", interrupted)
    line = ["pretrain", "--pretext", "inpainting", "--data", f"images:{home / 'colour'}", *SHORT]
    with pytest.raises(SystemExit) as stop:
        main([*line, "--out", str(tmp_path / "w.pt")])
    assert stop.value.code == 130
    assert "stopped after 7 steps" in capsys.readouterr().out
    assert make_backbone("small", weights=str(tmp_path / "w.pt")).num_features == 1024


def test_a_time_ends_the_training(home: Path, tmp_path: Path, capsys: Any) -> None:
    line = ["pretrain", "--pretext", "context", "--data", f"images:{home / 'colour'}", "--minutes", "0.005"]
    main([*line, "--images", "24", "--out", str(tmp_path / "w.pt")])
    assert json.loads((tmp_path / "w.json").read_text())["seconds"] >= 0.3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rotation --data digits --out {there}", "there.pt is there; --overwrite replaces it"),
        ("rotation --data digits --out {tmp}/photo.pt", "photo.png is there; --overwrite replaces it"),
        ("rotation --data digits --overwrite --out {tmp}/folder.pt", "out must be a file, "),
        ("rotation --data images:{home}/val_alone --out {new}.pt", "must have a split 'train', it has val"),
        ("rotation --data images:{home}/one --out {new}.pt", "data must have 2 training images or more"),
        ("colorization --data images:{home}/grey --out {new}.pt", "images of 3 channels"),
    ],
)
def test_a_wrong_line_is_one_sentence(
    home: Path, tmp_path: Path, line: str, message: str, capsys: Any
) -> None:
    for name in ("there.pt", "photo.png"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder.pt").mkdir()
    before = sorted(tmp_path.iterdir())
    words = line.format(home=home, tmp=tmp_path, new=tmp_path / "new", there=tmp_path / "there.pt").split()
    with pytest.raises(SystemExit) as stop:
        main(["pretrain", "--pretext", *words])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1 and message in said
    assert sorted(tmp_path.iterdir()) == before


def test_weights_that_are_no_numbers_any_more_are_not_written(
    home: Path, tmp_path: Path, capsys: Any
) -> None:
    line = ["pretrain", "--pretext", "rotation", "--data", f"images:{home / 'colour'}", "--lr", "1e30"]
    with pytest.raises(SystemExit) as stop:
        main([*line, *SHORT, "--out", str(tmp_path / "w.pt")])
    assert stop.value.code == 2 and "loss must be finite, got nan after" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_weights_of_another_network_are_refused(home: Path, tmp_path: Path, capsys: Any) -> None:
    line = ["pretrain", "--pretext", "mae", "--data", f"images:{home / 'colour'}", "--steps", "2"]
    main([*line, "--options", "side=32", "--out", str(tmp_path / "w.pt")])
    train = ["train", "--env", "LandmarkLocalization-v0", "--backbone", "small", "--timesteps", "64"]
    with pytest.raises(SystemExit) as stop:
        main([*train, "--weights", str(tmp_path / "w.pt"), "--out", str(tmp_path), "--name", "run"])
    assert stop.value.code == 2 and "weights must fit" in capsys.readouterr().err
