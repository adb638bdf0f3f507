"""Training a model: what it leaves behind, how it goes on, what it refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visionrl.backbones import make_backbone
from visionrl.datasets import CaptionSample, QuestionSample, clear_cache
from visionrl.models import load_model, model_class, shipped_models
from visionrl.supervised import models
from visionrl.supervised.models import ModelConfig, ModelTrainer, read_trunk, ship_model, train_model

OPTIONS = ("side=32", "backbone=small", "width=16", "dropout=0.1")


def samples_of(config: ModelConfig, split: str) -> Sequence[Any]:
    """Red or green pictures, and what is said about them."""
    rng, found = np.random.default_rng(("train", "val", "test").index(split)), []
    for number in range(24 if split == "train" else 8):
        image = rng.integers(0, 60, (3, 32, 32), np.uint8)
        image[number % 2] += 150
        colour = ("red", "green")[number % 2]
        found.append(
            QuestionSample(image, "what colour is it", (colour,), name=f"{split} {number}")
            if config.model.startswith("vqa")
            else CaptionSample(image, (f"all is {colour}", f"it is {colour}"), name=f"{split} {number}")
        )
    return found


@pytest.fixture
def config(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> ModelConfig:
    monkeypatch.setattr(models, "samples_of", samples_of)
    return ModelConfig(
        model="show_and_tell", options=OPTIONS, epochs=4, batch_size=8, lr=1e-2, out=str(tmp_path)
    )


@pytest.mark.parametrize(("model", "score"), [("show_and_tell", "cider_d"), ("vqa_cnn_rnn", "accuracy")])
def test_a_run_leaves_a_model_and_its_metrics(config: ModelConfig, model: str, score: str) -> None:
    run = train_model(replace(config, model=model, epochs=8, device="auto"))
    found = json.loads((run / "metrics.json").read_text())
    assert found["curve"][-1]["loss"] < found["curve"][0]["loss"]
    assert found[f"val_{score}"] == max(row[score] for row in found["curve"])
    assert found["samples"] == 8 and score in found["test"] and found["parameters"] > 1000
    trained, test = load_model(run), samples_of(replace(config, model=model), "test")
    assert trained.evaluate(test, trained.encode(test)) == pytest.approx(found["test"])
    assert {file.name for file in run.iterdir()} == {
        *("config.json", "metrics.json", "model.json", "model.pt", "checkpoint.pt")
    }


def test_a_resumed_run_is_the_run_that_was_never_stopped(config: ModelConfig, monkeypatch: Any) -> None:
    whole, cut = train_model(replace(config, name="whole")), replace(config, name="cut")
    update = ModelTrainer.update

    def stops(self: Any, rows: Any) -> Any:
        if self.epoch == 2:
            raise KeyboardInterrupt
        return update(self, rows)

    monkeypatch.setattr(ModelTrainer, "update", stops)
    with pytest.raises(SystemExit) as stopped:
        train_model(cut)
    assert stopped.value.code == 130
    assert (cut.folder / "model.pt").is_file() and not (cut.folder / "metrics.json").exists()
    monkeypatch.setattr(ModelTrainer, "update", update)
    train_model(replace(cut, resume=True))
    one, other = (torch.load(run / "model.pt", weights_only=True) for run in (whole, cut.folder))
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
    with pytest.raises(ValueError, match=r"lr must be as in the run that is resumed, 0.01, got 0.1"):
        train_model(replace(cut, lr=0.1, resume=True))
    with pytest.raises(ValueError, match="exists; continue it with --resume"):
        train_model(cut)


def test_a_run_that_is_stopped_in_its_first_epoch_goes_on(
    config: ModelConfig, monkeypatch: Any, capsys: Any
) -> None:
    def stops(self: Any, rows: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(ModelTrainer, "update", stops)
        train_model(config)
    assert "stopped after epoch 0; there are no weights yet, --resume goes on" in capsys.readouterr().out
    train_model(replace(config, resume=True))
    one, other = (
        load_model(run).state_dict() for run in (config.folder, train_model(replace(config, name="w")))
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_model_starts_from_the_trunk_of_another(config: ModelConfig) -> None:
    first = train_model(replace(config, epochs=1))
    work = ModelTrainer(replace(config, model="vqa_cnn_rnn", start=str(first)))
    given = load_model(first).state_dict()
    own = work.model.state_dict()
    assert all(torch.equal(own[key], given[key]) for key in own if key.startswith("image."))
    again = ModelTrainer(replace(config, start=str(first))).model.state_dict()
    assert all(torch.equal(again[key], value) for key, value in given.items())
    dry = tuple("dropout=0.3" if one == "dropout=0.1" else one for one in OPTIONS)
    again = ModelTrainer(replace(config, options=dry, start=str(first))).model.state_dict()
    assert all(torch.equal(again[key], value) for key, value in given.items())
    wide = tuple("width=32" if one == "width=16" else one for one in OPTIONS)
    own = ModelTrainer(replace(config, options=wide, start=str(first))).model.state_dict()
    assert all(torch.equal(own[key], given[key]) for key in own if key.startswith("image.trunk."))
    deep = tuple("backbone=pyramid" if one == "backbone=small" else one for one in OPTIONS)
    with pytest.raises(ValueError, match="start must have the model's trunk"):
        ModelTrainer(replace(config, options=deep, start=str(first)))
    with pytest.raises(ValueError, match="start must be left out for vqa_question_only"):
        ModelTrainer(replace(config, model="vqa_question_only", start=str(first)))


def test_a_trunk_takes_the_weights_of_a_file_and_keeps_them_where_it_is_frozen(
    config: ModelConfig, tmp_path: Any
) -> None:
    torch.manual_seed(7)
    trunk = make_backbone("small", 3, image_size=32)
    file = tmp_path / "trunk.pt"
    torch.save(trunk.state_dict(), file)
    given = replace(config, weights=str(file), epochs=1, options=(*OPTIONS, "frozen=true"))
    kept = load_model(train_model(given)).image.trunk.state_dict()
    assert all(torch.equal(kept[key], value) for key, value in trunk.state_dict().items())
    with pytest.raises(
        ValueError, match="weights must be left out for vqa_question_only, which has no trunk"
    ):
        ModelTrainer(replace(config, model="vqa_question_only", weights=str(file)))
    with pytest.raises(FileNotFoundError, match="weights must be a file, got nowhere"):
        train_model(replace(config, weights="nowhere", name="other"))
    deep = tuple("backbone=pyramid" if one == "backbone=small" else one for one in OPTIONS)
    with pytest.raises(ValueError, match="weights must fit"):
        ModelTrainer(replace(config, options=deep, weights=str(file)))


@pytest.mark.parametrize(
    ("name", "more"), [("prototypical", {}), ("attributes", {"classes": ["a=x", "b=y"]})]
)
def test_a_few_shot_trunk_takes_the_weights_of_a_file(name: str, more: dict, tmp_path: Path) -> None:
    state = make_backbone("conv4", 1, image_size=28).state_dict()
    torch.save(state, tmp_path / "trunk.pt")
    net: Any = model_class(name).of({"channels": 1, "side": 28, "frozen": True, **more})
    read_trunk(net, str(tmp_path / "trunk.pt"))
    kept = net.image.trunk.state_dict()
    assert all(torch.equal(kept[key], value) for key, value in state.items())
    assert not any(x.requires_grad for x in net.image.trunk.parameters())


def test_a_folder_is_split_by_a_file_and_bad_images_are_left_out(tmp_path: Any) -> None:
    rng, lines = np.random.default_rng(0), ["image,caption"]
    for number in range(8):
        Image.fromarray(rng.integers(0, 255, (20, 20, 3), np.uint8)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,picture number {number}")
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    names = {"train": ["0", "1", "2", "3"], "val": ["4", "5"], "test": ["6", "7"]}
    (tmp_path / "splits.json").write_text(json.dumps(names))
    config = ModelConfig(
        model="show_and_tell",
        data=f"captions:{tmp_path}",
        options=OPTIONS,
        epochs=1,
        batch_size=4,
        split_file=str(tmp_path / "splits.json"),
        out=str(tmp_path / "runs"),
    )
    assert [one.name for one in models.samples_of(config, "test")] == ["6", "7"]
    assert json.loads((train_model(config) / "metrics.json").read_text())["samples"] == 2
    (tmp_path / "3.png").write_bytes(b"no image")
    clear_cache()
    with pytest.raises(ValueError, match=r"3\.png is truncated or no image"):
        models.samples_of(config, "train")
    with pytest.warns(UserWarning, match=r"3\.png"):
        left = models.samples_of(replace(config, skip_bad=True), "train")
    assert [one.name for one in left] == ["0", "1", "2"]


def test_a_folder_without_a_test_split_is_refused_before_the_training(tmp_path: Any) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / split / f"{split}.png")
        (tmp_path / f"{split}.csv").write_text(f"image,caption\n{split}.png,a black picture\n")
    config = ModelConfig(model="show_and_tell", data=f"captions:{tmp_path}", out=str(tmp_path / "runs"))
    with pytest.raises(ValueError, match="must have a split 'test', it has train, val; a split_file"):
        train_model(config)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "show_and_tel"}, "did you mean 'show_and_tell'"),
        ({"options": ("wdth=3",)}, "options of show_and_tell must be among"),
        ({"options": ("width",)}, "arguments must look like name=value"),
        ({"options": ("width=wide",)}, "width must be a whole number >= 1, got 'wide'"),
        ({"options": ("min_count=x",)}, "min_count must be a whole number >= 1, got 'x'"),
        (
            {"model": "vqa_film", "options": ("top_answers=0",)},
            "top_answers must be a whole number >= 1, got 0",
        ),
        ({"epochs": 0}, "epochs must be a whole number >= 1, got 0"),
        ({"resume": True}, "resume needs a run to continue"),
    ],
)
def test_wrong_configs_are_refused(config: ModelConfig, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_model(replace(config, **change))


def test_wrong_data_and_starts_are_refused(tmp_path: Any) -> None:
    plain = ModelConfig(model="show_and_tell", out=str(tmp_path))
    with pytest.raises(ValueError, match="digits"):
        train_model(replace(plain, data="digits"))
    with pytest.raises(FileNotFoundError, match=r"start must be a folder with model\.json .* got 'nowhere'"):
        train_model(replace(plain, data="digits", start="nowhere"))


def test_a_shipped_run_has_a_card_with_its_figures(config: ModelConfig, tmp_path: Any) -> None:
    run, home, summary = train_model(replace(config, epochs=1)), tmp_path / "home", "Says which colour it is."
    folder = ship_model(run, "colours", summary, ["It knows two."], 16, home)
    (found,) = shipped_models(home)
    assert (found.name, found.model, found.summary) == ("colours", "show_and_tell", summary)
    model, test = load_model(folder), samples_of(config, "test")
    card = (folder / "README.md").read_text()
    for name, value in model.evaluate(test, model.encode(test)).items():
        assert f"| {name} | {value:.3f} |" in card
    assert "visionrl caption colours IMAGES" in card and "* It knows two." in card
    assert f"--options {' '.join(OPTIONS)}" in card


def test_a_run_does_not_go_on_with_other_words(config: ModelConfig, monkeypatch: Any) -> None:
    train_model(replace(config, epochs=1))
    other = [
        replace(one, captions=("purple it may be", "all is else")) for one in samples_of(config, "train")
    ]
    monkeypatch.setattr(models, "samples_of", lambda config, split: other)
    with pytest.raises(ValueError, match=r"checkpoint\.pt must be of the network that is trained"):
        train_model(replace(config, resume=True))


def test_a_single_sample_is_too_little_to_train_on(config: ModelConfig, monkeypatch: Any) -> None:
    monkeypatch.setattr(models, "samples_of", lambda config, split: samples_of(config, split)[:1])
    with pytest.raises(ValueError, match="the training split must have 2 samples or more, got 1"):
        train_model(config)
    with pytest.raises(ValueError, match="batch_size must be a whole number >= 2, got 1"):
        replace(config, batch_size=1)
