"""``visionrl predict``: all kinds of files, broken ones, folders, interruptions; one line for each error."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
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
from visionrl.cli.main import main

IMAGES, VOLUMES = "visionrl/LandmarkLocalization-v0", "visionrl/LandmarkLocalization3D-v0"
TRACKING = "visionrl/Tracking-v0"
WALK = ("scales=[1]", "step_sizes=[2]", "max_episode_steps=6")
ARGS = {
    IMAGES: ("window=16", 'target=["heart", "liver"]', "channels=1", *WALK),
    VOLUMES: ("window=9", 'target=["heart"]', *WALK),
    TRACKING: ("window=24", "clip=2"),
}
GREY = np.random.default_rng(0).integers(0, 256, (80, 100), dtype=np.uint8)


def agent(folder: Path, env: str) -> str:
    """A run with an untrained agent in it."""
    config = resolve(TrainConfig(env=env, algo="dqn", env_args=ARGS[env], num_envs=1, device="cpu"))
    made = make_vec_env(env, 1, **config.env_kwargs)
    model = build_model(config, made)
    folder.mkdir()
    write_config(folder, config, made.observation_space, made.action_space)
    torch.save(model.policy.state_dict(), folder / "policy.pt")
    return str(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: Any) -> dict[str, str]:
    """Runs by task."""
    home = tmp_path_factory.mktemp("runs")
    return {env: agent(home / env.split("/")[1], env) for env in ARGS}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with a file of each kind."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, pixels in {
        "grey.png": GREY,
        "colour.png": np.dstack([GREY, GREY[::-1], GREY]),
        "photo.jpg": np.dstack([GREY] * 3),
        "deep.png": GREY.astype(np.uint16) * 257,
    }.items():
        Image.fromarray(pixels).save(folder / name)
    return folder


def refused(*args: str) -> int:
    """The exit code of a command that is refused."""
    with pytest.raises(SystemExit) as ended:
        main(["predict", *args])
    return int(ended.value.code or 0)


def lines(out: Path) -> list[dict[str, Any]]:
    """The lines of predictions.jsonl."""
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


def test_every_kind_of_image_has_its_results(runs: Any, images: Path, tmp_path: Path, capsys: Any) -> None:
    main(["predict", runs[IMAGES], str(images), "--out", str(tmp_path / "out")])
    assert capsys.readouterr().out == f"4 of 4 files; results in {tmp_path / 'out'}\n"
    found = {line["name"]: line for line in lines(tmp_path / "out")}
    assert set(found) == {"grey", "colour", "photo", "deep"}
    assert found["grey"]["points"] == found["deep"]["points"], "the high byte of 16 bits is the 8-bit image"
    for name, line in found.items():
        assert (
            line["written"] == [f"{name}.csv", f"{name}.png"] and line["agent"] == "LandmarkLocalization-v0"
        )
        assert Path(line["file"]).stem == name and line["steps"] == 12 and line["milliseconds"] > 0
        with (tmp_path / "out" / f"{name}.csv").open() as file:
            (_, *rows) = csv.reader(file)
        assert {row[0]: [float(x) for x in row[1:]] for row in rows} == line["points"]
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert picture.mode == "RGB"


def test_a_broken_file_is_reported_and_the_others_go_on(
    runs: Any, images: Path, tmp_path: Path, capsys: Any
) -> None:
    (images / "broken.png").write_bytes(b"\x89PNG no")
    (images / "half.png").write_bytes((images / "grey.png").read_bytes()[:900])
    assert refused(runs[IMAGES], str(images), "--out", str(tmp_path / "out")) == 1
    said = capsys.readouterr()
    assert said.out.startswith("4 of 6 files; ")
    first, second = said.err.splitlines()
    assert first.startswith(
        f"failed: {images}/broken.png: image file {images}/broken.png is truncated or no image"
    )
    assert second.startswith(f"failed: {images}/half.png: ")
    assert len(lines(tmp_path / "out")) == 4


def test_a_folder_with_results_is_kept(runs: Any, images: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert refused(runs[IMAGES], str(images), "--out", str(out)) == 2
    assert capsys.readouterr().err == (
        f"error: out must be a new or empty folder, {out} has mine.txt; --overwrite replaces results\n"
    )
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    assert refused("mean position", "--env", IMAGES, str(images), "--out", str(out)) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: out must be a new") and "\n" not in said[:-1]  # before it learns anything
    main(["predict", runs[IMAGES], str(images / "grey.png"), "--out", str(out), "--overwrite"])
    main(["predict", runs[IMAGES], str(images / "photo.jpg"), "--out", str(out), "--overwrite"])
    assert [line["name"] for line in lines(out)] == ["photo"] and (out / "mine.txt").read_text() == "mine"


def test_a_result_never_replaces_a_file_that_is_predicted(
    runs: Any, images: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(images)
    before = (images / "grey.png").read_bytes()
    assert refused(runs[IMAGES], "grey.png", "--out", ".", "--overwrite") == 2
    assert "out must be another folder than that of the files, got . with grey.png" in capsys.readouterr().err
    assert (images / "grey.png").read_bytes() == before


@pytest.mark.parametrize(
    ("env", "word", "rule"),
    [
        (IMAGES, "empty", "empty must hold images"),
        (VOLUMES, "empty", "empty must hold scans"),
        (IMAGES, "absent.png", "files must exist, got "),
        (VOLUMES, "csv:photos", "; the task reads FORMAT:PATH with dicom, mha, nifti, nrrd"),
        (TRACKING, "images/grey.png", "box must be given for "),
        (IMAGES, "csv:empty", "empty must "),
    ],
)
def test_what_cannot_be_predicted_is_one_line(
    env: str, word: str, rule: str, runs: Any, images: Path, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "empty").mkdir()
    head, colon, tail = word.rpartition(":")
    assert refused(runs[env], f"{head}{colon}{tmp_path / tail}", "--out", str(tmp_path / "out")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and rule in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("env", "name"), [(IMAGES, "scan.nii.gz"), (VOLUMES, "grey.png")])
def test_a_file_of_another_kind_is_one_line(
    env: str, name: str, runs: Any, images: Path, tmp_path: Path, capsys: Any
) -> None:
    (images / "scan.nii.gz").write_bytes(b"no scan")
    assert refused(runs[env], str(images / name), "--out", str(tmp_path / "out")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"failed: {images / name}: ")


def test_a_run_or_method_that_is_not_there_is_one_line(images: Path, tmp_path: Path, capsys: Any) -> None:
    assert refused(str(tmp_path / "absent"), str(images)) == 2
    assert refused("prior", str(images), "--env", IMAGES) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert (
        "a run's folder must have config.json" in first and "agent must be a run's folder or one of" in second
    )


def test_a_run_that_is_not_finished_is_one_line_that_says_how_to_finish_it(
    runs: Any, images: Path, tmp_path: Path, capsys: Any
) -> None:
    run = tmp_path / "stopped"
    shutil.copytree(runs[IMAGES], run)
    (run / "policy.pt").unlink()
    assert refused(str(run), str(images)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"a finished run must have policy.pt, {run} has none" in line and "--resume" in line


def test_a_folder_without_scans_is_one_line(runs: Any, images: Path, tmp_path: Path, capfd: Any) -> None:
    """SimpleITK writes its own complaints to the file descriptor, past ``sys.stderr``."""
    pytest.importorskip("SimpleITK")
    assert refused(runs[VOLUMES], str(images), "--out", str(tmp_path / "out")) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert f"{images} must hold scans" in line


def test_a_scan_has_slicers_files(runs: Any, tmp_path: Path) -> None:
    nib = pytest.importorskip("nibabel")
    voxels = np.random.default_rng(0).integers(-1000, 1000, (30, 28, 26)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([4.0, 4, 4, 1])), tmp_path / "ct.nii.gz")
    main(["predict", runs[VOLUMES], str(tmp_path / "ct.nii.gz"), "--out", str(tmp_path / "out")])
    (line,) = lines(tmp_path / "out")
    assert line["written"] == ["ct.csv", "ct.fcsv", "ct.mrk.json", "ct.png"]


@pytest.mark.slow
def test_ctrl_c_leaves_whole_files(runs: Any, tmp_path: Path) -> None:
    folder, out = tmp_path / "many", tmp_path / "out"
    folder.mkdir()
    for number in range(400):
        Image.fromarray(np.roll(GREY, number)).save(folder / f"{number:03}.png")
    heed = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # ignored in the background
    )
    command = [sys.executable, "-c", f"{heed}; from visionrl.cli.main import main; main()"]
    command += ["predict", runs[IMAGES], str(folder), "--out", str(out)]
    paths = os.pathsep.join([str(Path(visionrl.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [*command, "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    log, until = out / "predictions.jsonl", time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n") >= 3):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 130 and said == ""
    (line,) = complained.splitlines()
    found = lines(out)
    assert line == f"stopped after {len(found)} of 400 files; results in {out}"
    assert 3 <= len(found) < 400
    for one in found:
        for name in one["written"]:
            assert (out / name).stat().st_size > 0
    for path in out.glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
    assert not list(out.glob(".*")), "no half-written file is left"


def test_arrays_and_samples_are_predicted_in_python(runs: Any) -> None:
    found = visionrl.load_agent(runs[IMAGES], "cpu")
    same = [GREY, GREY[None], np.dstack([GREY] * 3), np.stack([GREY] * 3)]
    results = [found.predict(image).points for image in same]
    assert results[0] == results[1] == results[2] == results[3] and set(results[0]) == {"heart", "liver"}


@pytest.mark.parametrize(
    ("env", "data", "rule"),
    [
        (IMAGES, GREY / 255.0, "uint8"),
        (IMAGES, np.zeros((2, 3, 4, 5), np.uint8), "image"),
        (IMAGES, 3, "image"),
        (IMAGES, "absent.png", "absent.png must exist"),
        (VOLUMES, np.zeros((9, 9, 9), np.uint8), "spacing_mm must be given with an array"),
        (VOLUMES, "a.png", "a.png must exist"),
    ],
)
def test_what_is_no_sample_of_the_task_is_a_plain_error(env: str, data: Any, rule: str, runs: Any) -> None:
    with pytest.raises(ValueError, match=rule):
        visionrl.load_agent(runs[env], "cpu").predict(data)


def test_a_second_image_is_refused(runs: Any) -> None:
    with pytest.raises(ValueError, match="moving must not be given for visionrl/LandmarkLocalization-v0"):
        visionrl.load_agent(runs[IMAGES], "cpu").predict(GREY, GREY)
