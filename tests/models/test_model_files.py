"""The registry of models, the dual encoder, and models as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_language import ANSWERERS, CAPTIONERS, SMALL, captions, fit, questions, worlds

from visionrl.agents import VisionExtractor
from visionrl.models import (
    list_models,
    load_model,
    make_model,
    model_class,
    register_model,
    save_model,
    shipped_models,
)
from visionrl.models.language.show_and_tell import ShowAndTell

LANGUAGE = [*CAPTIONERS, *ANSWERERS, "dual_encoder"]


def any_model(name: str, **options: Any) -> Any:
    samples = questions(4) if name.startswith("vqa") else captions(4)
    return model_class(name).for_samples(samples, {**SMALL, **options})


def test_the_registry_has_all_models_once() -> None:
    assert set(list_models()) >= set(LANGUAGE)
    assert list_models("vqa") == sorted(ANSWERERS)
    with pytest.raises(ValueError, match="a model's name must be new, got 'show_and_tell'"):
        register_model("show_and_tell")(ShowAndTell)
    with pytest.raises(ValueError, match=r"model must be one of .*did you mean 'show_and_tell'"):
        make_model("show_and_tel")


@pytest.mark.parametrize("name", list_models())
def test_every_model_cites_its_source(name: str) -> None:
    import sys

    model = model_class(name)
    text = (model.__doc__ or "") + (sys.modules[model.__module__].__doc__ or "")
    assert any(str(year) in text for year in range(1990, 2025)), name


@pytest.mark.parametrize("name", LANGUAGE)
@pytest.mark.parametrize("bits", [32, 16, 8])
def test_a_saved_model_is_the_model(name: str, bits: Any, tmp_path: Path) -> None:
    model = any_model(name).eval()
    save_model(model, tmp_path / "m", bits)
    other: Any = load_model(tmp_path / "m")
    assert {file.name for file in (tmp_path / "m").iterdir()} == {"model.json", "model.pt"}
    assert other.name == name and not other.training and other.vocabulary == model.vocabulary
    for key, value in other.state_dict().items():
        given = model.state_dict()[key]
        most = float(given.abs().max()) / 250 if given.is_floating_point() and bits == 8 else 0
        rest = 0 if bits == 32 else 2e-3
        torch.testing.assert_close(value, given, atol=max(most, rest), rtol=rest)
    images = [image for *_, image in worlds(3)]
    if name in CAPTIONERS and bits == 32:
        assert other.caption(images) == model.caption(images)


def test_fewer_bits_are_smaller_files(tmp_path: Path) -> None:
    model = any_model("show_attend_and_tell", width=64)
    sizes = {}
    for bits in (32, 16, 8):
        save_model(model, tmp_path / str(bits), bits)  # type: ignore[arg-type]
        sizes[bits] = (tmp_path / str(bits) / "model.pt").stat().st_size
    assert sizes[8] < 0.65 * sizes[16] < 0.4 * sizes[32]
    with pytest.raises(ValueError, match="bits must be 8, 16 or 32, got 4"):
        save_model(model, tmp_path, 4)  # type: ignore[arg-type]


def test_files_of_strangers_are_looked_at(tmp_path: Path) -> None:
    save_model(any_model("show_and_tell"), tmp_path)
    good = json.loads((tmp_path / "model.json").read_text())
    for change, message in (
        ({"model": "chess"}, "model must be one of"),
        ({"options": {**good["options"], "width": 2**20}}, "must describe the network"),
        ({"options": {**good["options"], "width": 64}}, "must hold the parameters"),
        ({"options": {**good["options"], "wdth": 64}}, "must be among"),
        ({"options": 3}, 'an object as "options"'),
    ):
        (tmp_path / "model.json").write_text(json.dumps({**good, **change}))
        with pytest.raises(ValueError, match=message):
            load_model(tmp_path)
    (tmp_path / "model.json").write_text("[")
    with pytest.raises(ValueError, match="must be a JSON object"):
        load_model(tmp_path)
    save_model(any_model("show_and_tell"), tmp_path)
    (tmp_path / "policy.pt").touch()
    with pytest.raises(ValueError, match=r"model must be a trained model, .* is of an agent"):
        load_model(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"model must be a folder with model\.json"):
        load_model(tmp_path / "nowhere")


def test_the_dual_encoder_names_what_it_sees() -> None:
    net: Any = fit("dual_encoder", captions(64))
    new = worlds(40, seed=7)
    texts = [
        f"a {colour} square on the {place}" for colour in ("red", "green") for place in ("left", "right")
    ]
    found = net.classify([image for *_, image in new], texts)
    right = [texts.index(f"a {colour} square on the {place}") for colour, place, _ in new]
    assert np.mean(np.array(found) == right) > 0.8
    assert net.evaluate(captions(12, seed=3), net.encode(captions(12, seed=3)))["recall_1"] > 0.7
    with pytest.raises(ValueError, match="a text must have a word that the model knows, got 'zebra'"):
        net.similarity(net.encode(captions(2))["images"], ["zebra"])


def test_a_frozen_trunk_stays_as_it_is() -> None:
    net: Any = any_model("prefix_captioner", frozen=True, backbone="pyramid")
    before = {key: value.clone() for key, value in net.image.trunk.state_dict().items()}
    net.train()
    optimizer = torch.optim.Adam([x for x in net.parameters() if x.requires_grad], 0.1)
    net.loss(net.encode(captions(4))).backward()
    optimizer.step()
    for key, value in net.image.trunk.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_the_trunk_of_a_model_is_a_backbone_of_an_agent() -> None:
    from gymnasium import spaces

    net: Any = any_model("show_attend_and_tell")
    space = spaces.Dict({"window": spaces.Box(0, 255, (3, 32, 32), np.uint8)})
    extractor = VisionExtractor(space, backbone=net.image.trunk, features_dim=16)
    assert extractor({"window": torch.rand(2, 3, 32, 32)}).shape == (2, 16)


@pytest.mark.parametrize("one", shipped_models(), ids=lambda one: one.name)
def test_each_shipped_model_is_small_and_has_a_card(one: Any) -> None:
    from visionrl.models._files import HOME

    assert one.size < 2_000_000 and len(one.summary) > 40
    assert {file.name for file in (HOME / one.name).iterdir()} == {"README.md", "model.json", "model.pt"}
    load_model(one.name)


@pytest.mark.parametrize("name", LANGUAGE)
def test_maps_of_a_frozen_trunk_are_worked_out_once(name: str) -> None:
    net: Any = any_model(name, **({} if name == "vqa_question_only" else {"frozen": True})).eval()
    split = net.encode(questions(6) if name.startswith("vqa") else captions(6))
    cached = net.cached(split)
    assert (cached["images"].dtype == torch.float16) == (name != "vqa_question_only")
    torch.manual_seed(3)
    plain = net.loss(split)
    torch.manual_seed(3)
    torch.testing.assert_close(net.loss(cached), plain, atol=2e-3, rtol=2e-3)
    assert any_model(name).cached(split) is split


def test_the_shipped_captioner_says_what_scenes_show() -> None:
    """On forty validation scenes; docs/results/captioning.md has CIDEr-D 4.1 for the test split."""
    from visionrl.datasets.embedded.scenes import Scenes

    model: Any = load_model("captioner-scenes")
    samples = Scenes("val", 40)[:]
    found = model.evaluate(samples, model.encode(samples))
    assert found["cider_d"] > 3 and found["tuple_f1"] > 0.4 and found["bleu_4"] > 0.5
