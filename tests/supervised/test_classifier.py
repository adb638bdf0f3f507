"""Training a classifier: what it leaves behind, how it goes on, how it is stopped."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from visionrl.agents.training.lock import locked
from visionrl.backbones import make_backbone
from visionrl.supervised import classifier
from visionrl.supervised.classifier import (
    ClassifierConfig,
    ClassifierTrainer,
    Images,
    accuracy,
    load_classifier,
    load_images,
    place_in_middle,
    predict,
    train_classifier,
    warp,
)
from visionrl.supervised.trainer import warmup_cosine


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Bright and dark pictures in class folders, 20 a class for training and 8 for each other split."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 8), ("test", 8)):
        for name, low in (("bright", 150), ("dark", 0)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for k in range(count):
                cv2.imwrite(str(folder / f"{k}.png"), rng.integers(low, low + 100, (16, 16), np.uint8))
    return f"imagefolder:{root}"


@pytest.fixture
def config(data, tmp_path):
    return ClassifierConfig(data=data, backbone="small", epochs=6, batch_size=16, lr=5e-3, out=str(tmp_path))


def test_a_run_leaves_weights_metrics_and_a_picture(config):
    run = train_classifier(config)
    assert run == config.folder
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test_accuracy"] == 1
    assert metrics["confusion"] == [[8, 0], [0, 8]]
    assert [row["epoch"] for row in metrics["curve"]] == [1, 2, 3, 4, 5, 6]
    assert cv2.imread(str(run / "confusion.png")).std() > 1
    assert {file.name for file in run.iterdir()} == {
        *("config.json", "metrics.json", "weights.pt", "classifier.pt", "checkpoint.pt", "confusion.png")
    }


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["small", "impala", "resnet18"])
def test_the_weights_are_those_of_a_backbone(config, backbone):
    run = train_classifier(replace(config, backbone=backbone, epochs=1))
    reader, names = load_classifier(run)
    trunk = make_backbone(backbone, 1, weights=run / "weights.pt", image_size=16).eval()
    images = load_images(config.data, "val").pixels
    assert names == ("bright", "dark")
    with torch.no_grad():
        torch.testing.assert_close(trunk(images), reader.classifier.backbone(images))


def test_a_resumed_run_is_the_run_that_was_never_stopped(config, monkeypatch):
    whole = train_classifier(replace(config, name="whole", epochs=4, mixup=0.4, stn=True))
    cut = replace(config, name="cut", epochs=4, mixup=0.4, stn=True)
    stop_after(2, monkeypatch)
    with pytest.raises(SystemExit) as stopped:
        train_classifier(cut)
    assert stopped.value.code == 130
    assert (cut.folder / "classifier.pt").is_file()
    assert not (cut.folder / "metrics.json").exists()
    monkeypatch.undo()
    train_classifier(replace(cut, resume=True))
    one, other = (torch.load(run / "classifier.pt", weights_only=True) for run in (whole, cut.folder))
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def stop_after(epochs, monkeypatch):
    """Ctrl-C in the middle of the epoch that follows."""
    update = ClassifierTrainer.update

    def stops(self, rows):
        if self.epoch == epochs:
            raise KeyboardInterrupt
        return update(self, rows)

    monkeypatch.setattr(ClassifierTrainer, "update", stops)


def test_ctrl_c_in_the_first_epoch_leaves_no_weights(config, monkeypatch):
    stop_after(0, monkeypatch)
    with pytest.raises(SystemExit):
        train_classifier(config)
    assert not (config.folder / "classifier.pt").exists()


def test_training_stops_when_nothing_improves(config, monkeypatch):
    train = ClassifierTrainer(config, load_images(config.data, "train"), load_images(config.data, "val"))
    for score in (0.5, 0.7, 0.7, 0.6):
        train.keep(1.0, score)
    assert not train.stale()
    stricter = ClassifierTrainer(replace(config, patience=2), train.train, train.val)
    stricter.curve = train.curve
    assert stricter.stale()


def test_the_test_split_is_read_once_and_last(config, monkeypatch):
    asked = []

    def note(data, split, canvas):
        asked.append(split)
        return load_images(data, split, canvas)

    monkeypatch.setattr(classifier, "load_images", note)
    train_classifier(replace(config, epochs=1))
    assert asked == ["train", "val", "test"]


def test_bfloat16_learns_too(config):
    run = train_classifier(replace(config, amp=True, epochs=3))
    assert json.loads((run / "metrics.json").read_text())["test_accuracy"] == 1


def test_a_run_is_not_overwritten_nor_resumed_as_another(config):
    with pytest.raises(ValueError, match="resume needs a run to continue"):
        train_classifier(replace(config, resume=True))
    train_classifier(replace(config, epochs=1))
    with pytest.raises(ValueError, match="exists; continue it with --resume"):
        train_classifier(config)
    with pytest.raises(ValueError, match=r"lr must be as in the run that is resumed, 0.005, got 0.1"):
        train_classifier(replace(config, lr=0.1, resume=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number >= 1, got 0"),
        ({"mixup": -1}, "mixup must be a number >= 0.0, got -1"),
        ({"augment": "all"}, "augment must be one of"),
    ],
)
def test_a_config_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        ClassifierConfig(**change)


def test_the_rate_rises_then_falls_to_nothing():
    paces = [warmup_cosine(k / 100) for k in range(101)]
    assert int(np.argmax(paces)) == 5
    assert (paces[0], paces[5], paces[100]) == (0, 1, 0)
    assert (np.diff(paces[5:]) < 0).all()


def test_an_image_lies_in_the_middle_of_its_canvas():
    place = np.zeros((1, 8, 8), np.uint8)
    place_in_middle(np.full((1, 4, 2), 9, np.uint8), place)
    assert (place[0, 2:6, 3:5] == 9).all()
    assert place.sum() == 9 * 8
    place[:] = 0
    place_in_middle(np.full((1, 32, 16), 9, np.uint8), place)
    assert (place[0, :, 2:6] == 9).all()
    assert place.sum() == 9 * 32


def test_digits_are_loaded_as_they_are_or_on_a_canvas():
    images = load_images("digits", "val")
    assert images.pixels.shape == (180, 1, 28, 28)
    wide = load_images("digits", "val", 42)
    assert torch.equal(wide.pixels[:, :, 7:35, 7:35], images.pixels)
    assert torch.bincount(images.labels).tolist() == [17, 19, 18, 18, 18, 19, 18, 18, 17, 18]


def test_warps_are_identity_turn_and_shift():
    pixels = torch.zeros(64, 1, 33, 33, dtype=torch.uint8)
    pixels[:, :, 14:19, 14:19] = 200
    assert warp(pixels, "none", torch.Generator()) is pixels
    light, strong = (warp(pixels, how, torch.Generator().manual_seed(0)) for how in ("light", "affine"))
    assert not torch.equal(light, pixels)
    for how, images, reach in (("light", light, 0.1), ("affine", strong, 0.4)):
        mass = images[:, 0].float()
        share = mass.sum((1, 2))
        places = torch.arange(33).float()
        x = (mass.sum(1) * places).sum(1) / share - 16
        assert x.abs().max() <= reach * 16.5 + 0.5, how
        assert x.abs().max() > reach * 16.5 * 0.8, how
        area = share / (200 * 25)
        low, high = (0.9, 1.1) if how == "light" else (0.7, 1.2)
        assert low**2 - 0.1 < area.min() < area.max() < high**2 + 0.1, how


def test_predictions_of_warped_splits_repeat(config):
    strong = replace(config, augment="affine")
    images = Images(
        torch.randint(0, 255, (6, 1, 16, 16), dtype=torch.uint8), torch.zeros(6).long(), ("a", "b")
    )
    model = ClassifierTrainer(strong, images, images).model
    torch.testing.assert_close(predict(model, images, strong), predict(model, images, strong))
    assert not torch.allclose(predict(model, images, strong), predict(model, images, config))


def test_accuracy():
    logits = torch.tensor([[1.0, 0], [0, 1], [2, 1]])
    assert accuracy(logits, torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)


def test_a_folder_in_use_is_refused(config):
    config.folder.mkdir(parents=True)
    with locked(config.folder), pytest.raises(ValueError, match="is in use by process"):
        train_classifier(config)
    assert not list(config.folder.iterdir())


@pytest.mark.parametrize("name", ["checkpoint.pt", "classifier.pt"])
def test_damaged_tensors_are_refused_by_the_name_of_their_file(config, name):
    run = train_classifier(replace(config, epochs=1))
    content = bytearray((run / name).read_bytes())
    weights = torch.load(run / "weights.pt", weights_only=True)
    content[content.index(max(weights.values(), key=torch.numel).numpy().tobytes()[:64])] ^= 1
    (run / name).write_bytes(content)
    with pytest.raises(
        ValueError, match=f"{name} must be a file of tensors that torch.save wrote whole: the che"
    ):
        load_classifier(run) if name == "classifier.pt" else train_classifier(replace(config, resume=True))
