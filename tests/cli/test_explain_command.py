"""Pictures of where networks look: what is explained, what is drawn, what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from visionrl.agents import TrainConfig, VisionExtractor, make_vec_env
from visionrl.agents.evaluation.attention import BAR, attention_film, beside
from visionrl.agents.training.config import resolve
from visionrl.agents.training.models import build_model, make_training_env
from visionrl.agents.training.run_files import write_config
from visionrl.agents.training.saving import load_model, save_agent
from visionrl.backbones import make_backbone, make_classifier
from visionrl.cli import main as cli
from visionrl.cli.explain import GAP, read_image
from visionrl.explain.deconv import deconvolve
from visionrl.explain.saliency import grad_cam, occlusion_map, overlay
from visionrl.supervised.classifier import ClassifierConfig, build_reader

LANDMARK = "visionrl/LandmarkLocalization-v0"


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise with a bright patch, 100 x 80."""
    pixels = np.random.default_rng(0).integers(0, 80, (80, 100, 3), dtype=np.uint8)
    pixels[10:30, 60:90] += 150
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


def explain(*args: object) -> None:
    cli.main(["explain", *map(str, args)])


def panels(path: Path) -> list[np.ndarray]:
    """The three pictures of a file, (H, W, 3)."""
    with Image.open(path) as file:
        assert file.format == "PNG"
        picture = np.asarray(file.convert("RGB"))
    width = (picture.shape[1] - 2 * GAP) // 3
    assert picture.shape[1] == 3 * width + 2 * GAP
    return [picture[:, k * (width + GAP) :][:, :width] for k in range(3)]


def drawn(images: torch.Tensor) -> np.ndarray:
    return images[0].permute(1, 2, 0).numpy()


def run_folder(
    tmp_path: Path, algo: str, env_args: tuple[str, ...] = (), env: str = LANDMARK, **options: Any
) -> Path:
    """A run with an untrained agent in it."""
    given: dict[str, Any] = {"env": env, "algo": algo, "env_args": env_args, "num_envs": 1, **options}
    config = resolve(TrainConfig(device="cpu", **given))
    venv = make_training_env(config)
    model = build_model(config, venv)
    tmp_path.mkdir(exist_ok=True)
    write_config(tmp_path, config, venv.unwrapped.observation_space, venv.action_space)
    save_agent(model, tmp_path)
    return tmp_path


def test_a_classifier_is_explained_by_its_class(photo: Path, tmp_path: Path, capsys: Any) -> None:
    torch.manual_seed(1)
    own = make_classifier("resnet18").eval()
    whole = {**own.backbone.stages.state_dict(prefix="stages."), **own.head.state_dict(prefix="head.")}
    torch.save(whole, tmp_path / "w.pt")
    images = read_image(photo, 3, short=64)
    with torch.no_grad():
        scores = own(images)[0]
    out = tmp_path / "new" / "a.png"
    explain(
        "resnet18",
        "--image",
        photo,
        "--weights",
        tmp_path / "w.pt",
        "--size",
        64,
        "--layer",
        "conv4",
        "--out",
        out,
    )
    said = capsys.readouterr().out
    assert f"grad-cam at conv4 of class {int(scores.argmax())}, score {scores.max():.4g}\n" in said
    assert "random" not in said and str(out) in said
    heat = grad_cam(own, images, own.backbone.stages.conv4)
    shown, heated, both = panels(out)
    factor = shown.shape[0] // 64
    np.testing.assert_array_equal(shown[::factor, ::factor], drawn(images))
    np.testing.assert_allclose(both[::factor, ::factor], drawn(overlay(images, heat)), atol=2)
    assert heated.max() > 0
    assert [path.name for path in out.parent.iterdir()] == ["a.png"]


def test_a_backbone_without_a_classifier_by_its_strongest_feature(
    photo: Path, tmp_path: Path, capsys: Any
) -> None:
    net = make_backbone("small").eval()
    torch.save(net.state_dict(), tmp_path / "w.pt")
    images = read_image(photo, 3, short=32)
    common = ("--image", photo, "--weights", tmp_path / "w.pt", "--size", 32, "--out", tmp_path / "a.png")
    explain("small", *common, "--method", "occlusion")
    best = int(net(images)[0].argmax())
    assert f"occlusion of feature {best}, score" in capsys.readouterr().out
    heat = occlusion_map(net, images, best, 4, 2).clamp_min(0)
    _, _, both = panels(tmp_path / "a.png")
    factor = both.shape[0] // 32
    np.testing.assert_allclose(both[::factor, ::factor], drawn(overlay(images, heat / heat.max())), atol=2)


def test_a_network_of_torchvision_by_its_name(photo: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    explain("torchvision:shufflenet_v2_x0_5", "--image", photo, "--size", 64)
    assert len(panels(tmp_path / "torchvision-shufflenet_v2_x0_5-grad-cam.png")) == 3


def test_a_trunk_of_other_weights_is_not_taken_for_a_classifier(
    photo: Path, tmp_path: Path, capsys: Any
) -> None:
    """A file without the 1000 classes says nothing about them."""
    net = make_classifier("resnet18", 7)
    whole = {**net.backbone.stages.state_dict(prefix="stages."), **net.head.state_dict(prefix="head.")}
    torch.save(whole, tmp_path / "w.pt")
    explain(
        "resnet18",
        "--image",
        photo,
        "--weights",
        tmp_path / "w.pt",
        "--size",
        64,
        "--out",
        tmp_path / "a.png",
    )
    assert "of feature " in capsys.readouterr().out


def test_deconv_draws_the_projection(photo: Path, tmp_path: Path, capsys: Any) -> None:
    torch.manual_seed(0)
    net = make_classifier("vgg11").backbone.eval()
    explain(
        "vgg11",
        "--image",
        photo,
        "--method",
        "deconv",
        "--layer",
        "conv2",
        "--size",
        64,
        "--out",
        tmp_path / "a.png",
    )
    said = capsys.readouterr().out
    found = deconvolve(net, read_image(photo, 3, short=64), "conv2")
    assert f"channel {int(found.channel)} of conv2" in said
    assert "the weights are random" in said
    _, projection, _ = panels(tmp_path / "a.png")
    factor = projection.shape[0] // 64
    wanted = 127.5 + 127.5 * found.pixels / found.pixels.abs().max()
    np.testing.assert_allclose(projection[::factor, ::factor], drawn(wanted), atol=2)


@pytest.mark.parametrize("algo", ["dqn", "qrdqn", "ppo", "a2c"])
@pytest.mark.parametrize("method", ["grad-cam", "deconv", "occlusion"])
def test_an_agent_is_explained_by_the_action_it_chooses(
    algo: str, method: str, tmp_path: Path, capsys: Any
) -> None:
    run = run_folder(tmp_path / "run", algo)
    explain(run, "--method", method, "--item", 3, "--seed", 5)
    said = capsys.readouterr().out
    model, _ = load_model(run, "cpu")
    env: Any = make_vec_env(LANDMARK, 1, split="test", window=32).unwrapped
    obs, _ = env.venv.reset(seed=[5], options={"item": [3]})
    shown, heated, _ = panels(run / f"explain-{method}.png")
    np.testing.assert_array_equal(shown[::7, ::7], obs["window"][0].transpose(1, 2, 0))
    assert shown.shape == (224, 224, 3)
    assert len(np.unique(heated)) > 2
    if method != "deconv":
        action = int(model.predict(obs, deterministic=True)[0][0])
        found = re.search(r"of action (\d+) \((up|right|down|left)\), score (\S+)", said)
        assert found and int(found[1]) == action == ["up", "right", "down", "left"].index(found[2])
        if algo == "dqn":
            values = model.policy.q_net({key: torch.as_tensor(value) for key, value in obs.items()})[0]
            assert float(found[3]) == pytest.approx(values[action].item(), rel=1e-3)


def test_an_agent_of_tiles_is_explained_by_occlusion_alone(tmp_path: Path, capsys: Any) -> None:
    run = run_folder(tmp_path / "run", "ppo", tiles=2)
    explain(run, "--method", "occlusion")
    assert len(np.unique(panels(run / "explain-occlusion.png")[1])) > 2
    with pytest.raises(SystemExit) as stop:
        explain(run)
    assert stop.value.code == 2
    assert "method must be occlusion for an agent that sees tiles one by one, got" in capsys.readouterr().err


@pytest.mark.parametrize("stn", [False, True])
def test_a_classifiers_run_is_explained_by_a_class_of_its_own(
    stn: bool, photo: Path, tmp_path: Path, capsys: Any
) -> None:
    config = ClassifierConfig(backbone="small", stn=stn, out=str(tmp_path), name="run")
    about = {"in_channels": 1, "side": 32, "classes": ["cat", "dog", "cow"]}
    reader = build_reader(config, about).eval()
    config.folder.mkdir()
    (config.folder / "config.json").write_text(json.dumps({"config": asdict(config), **about}))
    torch.save(reader.state_dict(), config.folder / "classifier.pt")
    explain(config.folder, "--image", photo)
    images = read_image(photo, 1, short=32)
    best = int(reader(images)[0].argmax())
    assert f"grad-cam at conv2 of class {best} ({about['classes'][best]}), score" in capsys.readouterr().out
    shown, _, _ = panels(config.folder / "explain-grad-cam.png")
    np.testing.assert_allclose(shown[::7, ::7], drawn(images.expand(-1, 3, -1, -1)), atol=1)


def test_the_heat_is_where_the_agent_looks(tmp_path: Path, photo: Path) -> None:
    """An agent whose values hang on the map's upper left cell alone."""
    run = run_folder(tmp_path / "run", "dqn")
    model, _ = load_model(run, "cpu")
    extractor = next(m for m in model.policy.modules() if isinstance(m, VisionExtractor))
    trunk: Any = extractor.backbones["window"]
    with torch.no_grad():
        weight = extractor.head.weight
        kept = weight[:, : trunk.num_features].view(-1, trunk.num_channels, trunk.pool, trunk.pool)
        corner = kept[:, :, :1, :1].abs().clone()
        kept.zero_()
        kept[:, :, :1, :1] = corner
    torch.save(model.policy.state_dict(), run / "policy.pt")
    explain(run, "--image", photo, "--method", "occlusion")
    shown, heated, _ = panels(run / "explain-occlusion.png")
    np.testing.assert_array_equal(shown[::7, ::7], drawn(read_image(photo, 3, size=(32, 32))))
    hot = heated.max(2) > 0
    assert hot[:84, :84].any()
    assert not hot[112:, 112:].any()  # neither the cell's pixels nor those of a square that hides them


def test_the_template_is_part_of_what_a_tracker_sees(tmp_path: Path, capsys: Any) -> None:
    run = run_folder(tmp_path / "run", "dqn", ("window=24", "clip=2"), "visionrl/Tracking-v0")
    for method in ("grad-cam", "deconv"):
        explain(run, "--method", method, "--layer", "conv1")
        shown, _, _ = panels(run / f"explain-{method}.png")
        assert shown.shape == (24 * 9, 24 * 9, 3)


@pytest.mark.parametrize(("args", "words"), [
    (["chess"], "subject must be the folder of a run, an agent's name or one of alexnet"),
    (["small"], "image must be given"),
    (["small", "--image", "nowhere.png"], "nowhere.png"),
    (["small", "--image", "PHOTO", "--size", "4"], "size must be a whole number in [8, 4096] or None, got 4"),
    (["small", "--image", "PHOTO", "--out", "a.jpg"], "out must end in .png, got a.jpg"),
    (["small", "--image", "PHOTO", "--layer", "conv9"], "layer must be one of conv1, conv2, got 'conv9'"),
    (["small", "--image", "PHOTO", "--target", "1024"], "target must be in [0, 1024), got 1024"),
    (["small", "--image", "PHOTO", "--weights", "nowhere.pt"], "weights must be a file"),
    (["small", "--image", "PHOTO", "--pretrained"], "has no published weights"),
    (["resnet18", "--image", "PHOTO", "--method", "deconv"], "the network must be a chain"),
    (["FOLDER"], "config.json"),
    (["torchvision:resnet19"], "subject must be a classification network of torchvision"),
    (["FOLDER", "--pretrained"], "weights and pretrained are for a backbone"),
    (["small", "--image", "TEXT"], "is truncated or no image"),
])  # fmt: skip
def test_wrong_arguments_are_one_line(
    args: list[str], words: str, photo: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = tmp_path / "text.png"
    text.write_text("no image")
    (tmp_path / "folder").mkdir()
    named = {"PHOTO": str(photo), "TEXT": str(text), "FOLDER": str(tmp_path / "folder")}
    with pytest.raises(SystemExit) as stop:
        explain(*[named.get(arg, arg) for arg in args])
    shown = capsys.readouterr()
    assert stop.value.code == 2
    assert shown.out == "" and words in shown.err.splitlines()[0]
    assert "Traceback" not in shown.err
    assert not list(tmp_path.glob("*grad-cam*"))


def test_images_take_the_channels_asked_for(photo: Path) -> None:
    with Image.open(photo) as file:
        colours, grey = np.asarray(file), np.asarray(file.convert("L"))
    same = {"size": (80, 100)}
    np.testing.assert_array_equal(drawn(read_image(photo, 3, **same)), colours)  # type: ignore[arg-type]
    np.testing.assert_array_equal(drawn(read_image(photo, 6, **same))[..., 3:], colours)  # type: ignore[arg-type]
    np.testing.assert_array_equal(drawn(read_image(photo, 4, **same))[..., 3], grey)  # type: ignore[arg-type]
    assert read_image(photo, 1, short=40).shape == (1, 1, 40, 50)


@pytest.mark.parametrize(
    ("algo", "options"),
    [("dqn", {"memory": "gru", "recall": 3}), ("recurrentppo", {"memory": "lstm"})],
)
def test_an_agent_that_remembers_is_explained_after_some_steps(
    algo: str, options: dict[str, Any], tmp_path: Path, capsys: Any
) -> None:
    run = run_folder(tmp_path / "run", algo, ("window=32",), **options)
    model, _ = load_model(run, "cpu")
    env: Any = make_vec_env(LANDMARK, 1, split="test", window=32, recall=3 if algo == "dqn" else 1)
    env.seed(5)
    env.set_options({"item": 3})
    obs, state = env.reset(), None
    for method in ("grad-cam", "occlusion"):
        explain(run, "--method", method, "--item", 3, "--seed", 5, "--step", 2)
        shown, heated, _ = panels(run / f"explain-{method}.png")
        assert len(np.unique(heated)) > 2
    said = capsys.readouterr().out
    for _ in range(3):
        acts, state = model.predict(obs, state=state, episode_start=np.zeros(1, bool), deterministic=True)
        last, obs = obs, env.step(acts)[0]
    window = last["window"][0, -1] if algo == "dqn" else last["window"][0]
    np.testing.assert_array_equal(shown[::7, ::7], window.transpose(1, 2, 0))
    found = re.findall(r"of action (\d+) ", said)
    assert found == [str(acts[0])] * 2


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "soft"},
        {"attention": "self", "algo": "ppo"},
        {"attention": "multihead", "memory": "attention", "recall": 3},
        {"memory": "attention", "cache": True, "frozen": True},
        {"attention": "hard", "algo": "recurrentppo"},
    ],
)
def test_where_a_policy_attends_is_a_film(options: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    given = {"algo": "dqn", **options}
    run = run_folder(tmp_path / "run", given.pop("algo"), ("window=32", "max_episode_steps=6"), **given)
    explain(run, "--method", "attention", "--item", 1)
    assert "attention in 6 steps of item 1" in capsys.readouterr().out
    with Image.open(run / "explain-attention.gif") as film:
        assert film.n_frames == 6 and film.width > film.height + GAP


def test_a_film_shows_the_attention_of_the_newest_observation(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", "ppo", ("window=32",), attention="soft", memory="attention", recall=3)
    model, config = load_model(run, "cpu")
    extractor = next(m for m in model.policy.modules() if isinstance(m, VisionExtractor))
    attention: Any = extractor.attentions["window"]
    attention.look.logits = lambda flat, query, keys: torch.cat(
        [torch.full((len(flat), 1), 50.0), torch.zeros(len(flat), flat[0, 0].numel() - 1)], 1
    )
    path = tmp_path / "a.gif"
    _, notes = attention_film(
        config.env, model, path, env_kwargs={**config.env_kwargs, "max_episode_steps": 4}
    )
    assert len(notes) == 4
    for noted, count in zip(notes, (1, 2, 3, 3), strict=True):
        assert noted.heat.shape == attention.size and noted.heat[0, 0] > 0.99
        assert noted.image.shape == (3, 32, 32)
        assert noted.weights.sum() == pytest.approx(1, abs=1e-5) and (noted.weights > 0).sum() == count
    panel = beside(np.zeros((120, 100, 3), np.uint8), notes[0])
    assert panel.shape == (120, 100 + GAP + 90, 3)
    plain = cv2.resize(notes[0].image.transpose(1, 2, 0), (90, 90), interpolation=cv2.INTER_NEAREST)
    changed = np.abs(panel[:90, 106:].astype(int) - plain).max(2)
    assert changed[:10, :10].min() > 5 and not changed[60:, 60:].any()
    strip = panel[90:, 106:]
    assert (strip[:, 70] == BAR).all() and not (strip[:, 15] == BAR).all(1).any()


def test_a_film_needs_an_agent_that_attends(tmp_path: Path, capsys: Any) -> None:
    run = run_folder(tmp_path / "run", "dqn")
    for args, words in (
        ([run], "agent must attend to be filmed"),
        ([run, "--out", tmp_path / "a.png"], "out must end in .gif"),
        ([run, "--image", tmp_path / "a.png"], "image must be left out for attention"),
        ([run, "--target", 0], "target must be left out for attention, the film of an episode, got 0"),
        ([run, "--step", 2], "step must be left out for attention"),
        (
            ["resnet18"],
            "subject must be an agent, the folder of its run or a name, for attention, got 'resnet18'",
        ),
    ):
        with pytest.raises(SystemExit) as stop:
            explain(*args, "--method", "attention")
        assert stop.value.code == 2 and words in capsys.readouterr().err
    with pytest.raises(SystemExit):
        explain(run_folder(tmp_path / "short", "dqn", ("max_episode_steps=3",)), "--step", 3)
    assert "step must be <= 2, after which the episode ends, got 3" in capsys.readouterr().err


def test_an_agent_of_the_library_is_explained_into_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    explain("glimpses-digits")
    assert "wrote glimpses-digits-explain-grad-cam.png" in capsys.readouterr().out
    assert len(panels(tmp_path / "glimpses-digits-explain-grad-cam.png")) == 3
