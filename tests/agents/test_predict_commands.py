"""``visionrl evaluate`` and ``visionrl predict`` of one run: the same is found in images with labels and without."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import visionrl
from visionrl.agents import TrainConfig, make_vec_env
from visionrl.agents.training.config import resolve
from visionrl.agents.training.models import build_model
from visionrl.agents.training.run_files import write_config
from visionrl.agents.training.train import resolve_env_args
from visionrl.cli import main as cli
from visionrl.core import make_task

COUNT = 8
EDGES = {"xmin": 20, "ymin": 10, "xmax": 70, "ymax": 60}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Noise, grey but for one image, with a cat and a dog in VOC's XML."""
    home = tmp_path / "in"
    home.mkdir()
    for k in range(COUNT):
        pixels = np.random.default_rng(k).integers(
            0, 256, (80, 100 + k, 3)[: 3 if k == 3 else 2], dtype=np.uint8
        )
        Image.fromarray(pixels).save(home / f"{k}.png")
        edges = "".join(f"<{key}>{value + k}</{key}>" for key, value in EDGES.items())
        both = [f"<object><name>{name}</name><bndbox>{edges}</bndbox></object>" for name in ("cat", "dog")]
        (home / f"{k}.xml").write_text(
            f"<annotation><filename>{k}.png</filename>{''.join(both)}</annotation>"
        )
    return home


def run_of(run: Path, env: str, data: str, *env_args: str, favourite: int) -> Path:
    """A run whose agent is untrained but for an action that it likes."""
    config = resolve(TrainConfig(env=env, data=data, env_args=env_args, num_envs=1, device="cpu", seed=3))
    config, *_ = resolve_env_args(config, make_task(env, **config.env_kwargs))
    made = make_vec_env(env, 1, **config.env_kwargs)
    model: Any = build_model(config, made)
    layers = [one for one in model.policy.q_net.modules() if isinstance(one, torch.nn.Linear)]
    with torch.no_grad():
        layers[-1].bias[favourite] += 10
    run.mkdir()
    write_config(run, config, made.observation_space, made.action_space)
    torch.save(model.policy.state_dict(), run / "policy.pt")
    return run


def lines_of(out: Path) -> dict[str, Any]:
    """The lines of the predictions, or of those of an evaluation, by name."""
    (file,) = out.glob("predictions*.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return {line["name"]: line for line in lines}


@pytest.mark.parametrize(("env", "report"), [("Detection-v0", 8), ("HierarchicalDetection-v0", 5)])
def test_boxes(env: str, report: int, folder: Path, tmp_path: Path, capsys: Any) -> None:
    data = f"voc:{folder}"
    small = ("window=16", "max_side=64", "max_reports=3")
    run = run_of(tmp_path / "run", f"visionrl/{env}", data, *small, favourite=report)
    cli.main(
        [
            "evaluate",
            str(run),
            "--no-compare",
            "--split",
            "all",
            "--device",
            "cpu",
            "--out",
            str(tmp_path / "a"),
        ]
    )
    shown = capsys.readouterr().out
    assert "ap_50 of each" in shown and "random" not in shown and "expert" not in shown
    for place in folder.glob("*.xml"):
        place.unlink()
    cli.main(["predict", str(run), str(folder), "--voc", "--device", "cpu", "--out", str(tmp_path / "b")])
    labelled, free = lines_of(tmp_path / "a"), lines_of(tmp_path / "b")
    assert len(free) == COUNT and labelled.keys() == free.keys()
    for name, line in free.items():
        assert len(line["boxes"]) == 6 and {box["label"] for box in line["boxes"]} == {"cat", "dog"}
        for one, other in zip(line["boxes"], labelled[name]["boxes"], strict=True):
            np.testing.assert_allclose(one["bbox"], other["bbox"], atol=1e-9)
            assert one["score"] == pytest.approx(other["score"], abs=1e-4)
        assert {f"{name}.png", f"{name}.csv", f"{name}.xml"} <= set(line["written"])
    assert len(json.loads((tmp_path / "b" / "coco-results.json").read_text())) == 6 * COUNT
    found = visionrl.load_agent(run, device="cpu").predict(folder / "3.png").to_json()
    assert found["boxes"] == free["3"]["boxes"]


def test_classes(folder: Path, tmp_path: Path) -> None:
    for k in range(COUNT):
        for split in ("train", "val", "test"):
            place = tmp_path / "classes" / split / ("cat", "dog")[k % 2]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{k}.png").write_bytes((folder / f"{k}.png").read_bytes())
    data = f"imagefolder:{tmp_path / 'classes'}"
    small = ("max_side=32", "glimpses=2")
    run = run_of(tmp_path / "run", "visionrl/GlimpseClassification-v0", data, *small, favourite=26)
    cli.main(["evaluate", str(run), "--no-compare", "--device", "cpu", "--out", str(tmp_path / "a")])
    cli.main(["predict", str(run), str(folder), "--device", "cpu", "--out", str(tmp_path / "b")])
    labelled, free = lines_of(tmp_path / "a"), lines_of(tmp_path / "b")
    assert len(labelled) == len(free) == COUNT
    assert {line["label"] for line in (*labelled.values(), *free.values())} == {"dog"}
    with (tmp_path / "b" / "classes.csv").open() as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["dog"] * COUNT
    first = next(iter(labelled.values()))  # episode k has seed k
    np.testing.assert_allclose(free["0"]["glimpses"], first["glimpses"])
