"""Agents that come with the library do what their pages say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from visionrl.agents import TrainConfig, agent_policy, evaluate, load_agent, load_model, train
from visionrl.agents.shipped import HOME, Shipped, shipped_agents
from visionrl.agents.training.card import card
from visionrl.agents.training.saving import fill_state_dict, folder_of, ship
from visionrl.cli.main import main
from visionrl.datasets import VolumeSample
from visionrl.datasets.embedded.chest import chest_ct
from visionrl.datasets.embedded.volumes import chest_scan
from visionrl.datasets.readers.scan_grid import to_grey

NAMES = sorted(path.name for path in HOME.iterdir() if (path / "config.json").is_file())


@pytest.mark.parametrize("name", NAMES)
def test_each_is_small_and_carries_no_code(name: str) -> None:
    files = {path.name: path.stat().st_size for path in (HOME / name).iterdir()}
    assert set(files) == {"README.md", "config.json", "policy.pt"} and sum(files.values()) < 2_000_000
    state = torch.load(HOME / name / "policy.pt", weights_only=True)
    assert all(value.dtype == torch.float16 for value in state.values())


def test_the_one_for_the_chest_is_as_good_as_stated() -> None:
    """On validation scans: docs/results/landmarks3d.md has 3.6 mm on average, voxels have 4."""
    model, config = load_model("landmarks3d-chest", "cpu")
    found = evaluate(config.env, agent_policy(model), split="val", episodes=32, env_kwargs=config.env_kwargs)
    assert np.median(found["error_mm"]) < 4 and found["error_mm"].mean() < 4.5
    assert found["is_success"].mean() > 0.95


@pytest.mark.slow
def test_the_one_for_the_chest_finds_its_structures_in_a_finer_scan_in_hounsfield_units() -> None:
    """A CT of 1.33 mm, as hospitals have them, with the tone of a reader of files: 4.5 mm on average, 81 without its
    spacing.
    """
    ct, truth = chest_ct(), chest_scan().points
    fine = ndimage.zoom(ct.volume.astype(np.float32), 3, order=1, grid_mode=True, mode="nearest")
    sample = VolumeSample(to_grey(fine, Path("ct"))[None], np.full(3, ct.spacing_mm[0] / 3))
    found: Any = load_agent("landmarks3d-chest", "cpu").predict(sample)
    assert len(found.points) == 8
    places = {name: (np.array(at) + 0.5) / 3 - 0.5 for name, at in found.points.items()}  # voxels of 4 mm
    errors = {name: 4 * np.linalg.norm(at - truth[name][::-1]) for name, at in places.items()}
    assert np.mean([*errors.values()]) < 6, errors


@pytest.mark.slow
def test_a_run_is_shipped_and_loaded(tmp_path: Path) -> None:
    args: dict[str, Any] = {"env_args": ("window=24", "scales=[2]", "step_sizes=[4]", "max_episode_steps=10")}
    sizes: dict[str, Any] = {"num_envs": 2, "eval_episodes": 2, "test_episodes": 2, "eval_every": 32}
    config = TrainConfig(
        timesteps=32,
        clone_steps=64,
        out=str(tmp_path),
        device="cpu",
        algo_args=("buffer_size=32",),
        **args,
        **sizes,
    )
    run = train(config)
    folder = ship(run, "own", tmp_path / "home", summary="It finds\nthings.", limits=["One scan."])
    (one, _), (other, again) = load_model(run, "cpu"), load_model(folder, "cpu")
    assert again.name == "own" and again.env_args == load_model(run, "cpu")[1].env_args
    for key, value in one.policy.state_dict().items():
        if "target" not in key:
            torch.testing.assert_close(other.policy.state_dict()[key], value, atol=1e-3, rtol=1e-3)

    check_card(run, folder)


def check_card(run: Path, folder: Path) -> None:
    """A card has the summary, the command, the data, the figures of the run, and the limits."""
    (one,) = shipped_agents(folder.parent)
    sizes = sum(path.stat().st_size for path in folder.iterdir())
    assert one == Shipped("own", "visionrl/LandmarkLocalization-v0", "It finds things.", sizes)
    text = (folder / "README.md").read_text()
    about, test = (json.loads((run / f"{name}.json").read_text()) for name in ("config", "metrics"))
    assert about["command"] in text and "`chest-xray`" in text and "Seed: 0" in text and "* One scan." in text
    for row in test["test"]["rows"]:
        assert f"| {row['name']} | {row['metrics']['distance_px']['value']:.4g}" in text


def test_a_run_without_figures_has_a_card_that_says_so() -> None:
    about = json.loads((HOME / NAMES[0] / "config.json").read_text())
    text = card("own", about, None, "It finds things.")
    assert "None were kept." in text and "Nothing is known about data that differ" in text


def test_each_has_a_card_with_all_that_one_needs() -> None:
    assert [one.name for one in shipped_agents()] == NAMES
    for one in shipped_agents():
        text = (HOME / one.name / "README.md").read_text()
        assert text.startswith(f"# {one.name}\n") and 20 < len(one.summary) < 160
        assert json.loads((HOME / one.name / "config.json").read_text())["command"] in text
        for words in (
            one.env,
            "Data: ",
            "Seed: ",
            "## Figures",
            "## Limits",
            f"visionrl predict {one.name} ",
        ):
            assert words in text


def test_the_list_tells_what_each_does(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list", "--agents"])
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    for one in shipped_agents():
        assert one.name in said and one.env in said and f"{one.size / 1e6:.1f}" in said
        assert one.summary.split()[0] in said


def test_target_networks_are_what_they_follow() -> None:
    state = {"q_net.a": torch.ones(1)}
    wanted = {"q_net.a": None, "q_net_target.a": None}
    assert fill_state_dict(state, wanted) == {"q_net.a": state["q_net.a"], "q_net_target.a": state["q_net.a"]}
    assert fill_state_dict({"actor.a": 1}, {"actor.a": None}) == {"actor.a": 1}


def test_a_run_of_the_same_name_goes_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert folder_of("landmarks3d-chest") == HOME / "landmarks3d-chest"
    assert folder_of("runs/landmarks3d-chest") == Path("runs/landmarks3d-chest")
    (tmp_path / "landmarks3d-chest").mkdir()
    (tmp_path / "landmarks3d-chest" / "config.json").write_text("{}")
    assert folder_of("landmarks3d-chest") == Path("landmarks3d-chest")
    with pytest.raises(FileNotFoundError):
        load_model("nothing-of-this-name")


@pytest.mark.slow
def test_from_the_command_line(tmp_path: Path) -> None:
    args = ["evaluate", "landmarks3d-chest", "--split", "val", "--episodes", "2", "--out", "found"]
    subprocess.run([sys.executable, "-m", "visionrl", *args], check=True, cwd=tmp_path)
    assert (tmp_path / "found" / "metrics-val.json").is_file()
    subprocess.run([sys.executable, "-m", "visionrl", *args[:-2], "--no-compare"], check=True, cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["found"], "nothing is written without --out"
