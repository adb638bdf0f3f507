"""The study of learning after cloning runs, goes on where it stopped, and compares with the clone."""

import importlib
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SMALL = {"env": "GlimpseClassification-v0", "algo": "ppo", "num_envs": 4, "clone_steps": 64, "timesteps": 64}
SMALL |= {"env_args": ("scales=[4]", "mosaic_side=8"), "eval_episodes": 4, "test_episodes": 6}


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    module = importlib.import_module("rl_after_cloning")
    still = {"learning_rate": 1e-12, "n_steps": 8, "batch_size": 32}
    monkeypatch.setattr(module, "TASKS", {"glimpse": (SMALL, still)})
    monkeypatch.setattr(module, "RECIPES", {"ppo": {"as it was": {}, "KL 0.1": {"clone_kl": 0.1}}})
    return module


def run(module, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["rl_after_cloning.py", *words])
    module.main()


def test_every_recipe_of_a_seed_begins_with_one_clone_and_a_run_is_not_repeated(
    study, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "found.jsonl"
    run(study, monkeypatch, "run", "--out", str(out), "--seeds", "3")
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["recipe"] for line in lines] == ["as it was", "KL 0.1"]
    assert len({line["clone"] for line in lines}) == 1
    assert all(line[agent]["gain"] == 0 for line in lines for agent in ("last", "best", "kept"))
    run(study, monkeypatch, "run", "--out", str(out), "--seeds", "3")
    assert len(out.read_text().splitlines()) == 2
    capsys.readouterr()
    run(study, monkeypatch, "table", "--out", str(out))
    assert "| KL 0.1 | +0.000 [+0.000, +0.000] | +0.000 | +0.000 | +0.000 |" in capsys.readouterr().out


def test_all_seeds_of_what_matters_most_come_first(study, monkeypatch):
    monkeypatch.setattr(study, "RANK", {"KL 0.1": 0})
    found = study.order([0, 1])
    assert [recipe for _, recipe, _ in found] == ["KL 0.1", "KL 0.1", "as it was", "as it was"]
