"""``visionrl play --no-labelled``: what a person finds in files without labels, by scripted keys."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visionrl.cli import main as cli
from visionrl.cli.play import ARROWS

Press = Callable[..., list[np.ndarray]]
ENTER, ESCAPE = "return", "escape"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two photographs without labels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate(("a", "b")):
        noise = np.random.default_rng(number).integers(0, 256, (60, 80), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def press(monkeypatch: Any) -> Press:
    """Says which keys are pressed, one at each picture; gives the pictures."""
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame = pytest.importorskip("pygame")
    codes = {ENTER: pygame.K_RETURN, ESCAPE: pygame.K_ESCAPE, **ARROWS}

    def pressed(*keys: str | tuple[int, int, int]) -> list[np.ndarray]:
        shown: list[np.ndarray] = []
        waiting, flip = list(keys), pygame.display.flip

        def next_key() -> None:
            flip()
            shown.append(pygame.surfarray.array3d(pygame.display.get_surface()).transpose(1, 0, 2))
            key = waiting.pop(0)
            if isinstance(key, tuple):  # x and y in the window, and the button
                about = {"pos": key[:2], "button": key[2]}
                pygame.event.post(pygame.event.Event(pygame.MOUSEBUTTONDOWN, **about))
                return
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=codes.get(key) or ord(key)))

        monkeypatch.setattr(pygame.display, "flip", next_key)
        return shown

    return pressed


def play(task: str, data: Path, out: Path, *more: str) -> None:
    cli.main(["play", task, "--no-labelled", "--data", str(data), "--out", str(out), *more])


def told(out: Path) -> list[Any]:
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


def test_the_places_that_a_person_goes_to_are_written(
    images: Path, tmp_path: Path, press: Press, capsys: Any
) -> None:
    shown = press("right", "right", "down", "x", ENTER, ENTER)
    task = ("--env-args", 'target=["heart"]', "step_sizes=[4]", "scales=[1]", "window=16")
    out = tmp_path / "out"
    play("LandmarkLocalization-v0", images, out, *task)
    assert "2 of 2 files; results in" in capsys.readouterr().out
    first, second = told(out)
    assert (first["steps"], second["steps"], first["agent"]) == (3, 0, "person")
    start = np.array(second["points"]["heart"])  # the same seed, the same size
    np.testing.assert_allclose(first["points"]["heart"], start + np.array([8, 4]))
    with (out / "a.csv").open() as file:
        assert next(row for row in csv.reader(file) if row[0] == "heart")[1:] == [
            str(x) for x in first["points"]["heart"]
        ]
    assert np.asarray(Image.open(out / "a.png")).ndim == 3
    assert len(shown) == 6 and (shown[0] != shown[1]).any() and (shown[3] == shown[4]).all(), "x is no action"


def test_reports_of_a_person_are_boxes_of_confidence_1(images: Path, tmp_path: Path, press: Press) -> None:
    press(*"008", ENTER, ENTER)
    task = ("--env-args", 'category=["cat"]', "window=16", "max_side=64", "channels=1", "max_reports=2")
    play("Detection-v0", images, tmp_path / "out", *task)
    first, second = told(tmp_path / "out")
    assert [(row["label"], row["score"]) for row in first["boxes"]] == [("cat", 1.0)]
    assert second["boxes"] == [] and (tmp_path / "out" / "coco.json").exists()


def test_an_object_is_tracked_by_hand(images: Path, tmp_path: Path, press: Press) -> None:
    """Key 3 is two steps to the right, key a goes on to the next frame."""
    press("3", "a", "a")
    play("Tracking-v0", images, tmp_path / "out", "--box", "20,20,20,20", "--env-args", "window=16")
    (one,) = told(tmp_path / "out")
    assert one["boxes"] == [[22, 20, 20, 20], [22, 20, 20, 20]]
    assert one["written"] == ["photos.csv", "photos.gif", "photos.otb.txt", "photos.mot.txt"]


def test_escape_ends_it_and_keeps_what_is_done(
    images: Path, tmp_path: Path, press: Press, capsys: Any
) -> None:
    press("right", ENTER, "right", ESCAPE)
    play("LandmarkLocalization-v0", images, tmp_path / "out", "--env-args", "target=heart", "window=16")
    assert f"stopped after 1 of 2 files; results in {tmp_path / 'out'}" in capsys.readouterr().out
    assert [one["name"] for one in told(tmp_path / "out")] == ["a"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"predictions.jsonl", "a.csv", "a.png"}


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_played(
    images: Path, tmp_path: Path, press: Press, capsys: Any
) -> None:
    (images / "a.png").write_bytes(b"no picture")
    press(ENTER)
    with pytest.raises(SystemExit) as stopped:
        play("LandmarkLocalization-v0", images, tmp_path / "out", "--env-args", "target=heart", "window=16")
    assert stopped.value.code == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"failed: {images / 'a.png'}: ") and "1 of 2 files" in said.out
    assert [one["name"] for one in told(tmp_path / "out")] == ["b"]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (["LandmarkLocalization-v0"], "files must be given with --no-labelled"),
        (["LandmarkLocalization-v0", "--data", "nowhere.png"], "files must exist, got 'nowhere.png'"),
        (
            ["LandmarkLocalization-v0", "--data", "photos"],
            "files without labels must be played in a window: there is no display",
        ),
        (["Tracking-v0", "--data", "photos"], "box must be given for photos"),
        (["DeformableRegistration2D-v0", "--data", "photos/a.png"], "files must be pairs, fixed and moving"),
        (["Tracking-v0", "--labelled", "--box", "1,2,3,4"], "box must be given with --no-labelled alone"),
    ],
)
def test_what_cannot_be_played_is_one_line(
    line: list[str], rule: str, images: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.chdir(images.parent)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["play", "--no-labelled", *line])
    assert stopped.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert rule in said and not (images.parent / "predictions").exists()


def test_an_object_is_segmented_by_clicks_and_its_mask_is_written(
    tmp_path: Path, press: Press, capsys: Any
) -> None:
    """Left on the object, right beside it; a photograph of 60 x 40 is shown eight times as large."""
    photo = np.zeros((40, 60, 3), np.uint8)
    photo[10:30, 10:30] = 230
    Image.fromarray(photo).save(tmp_path / "photo.png")
    shown = press((160, 160, 1), (400, 60, 3), "x", ENTER)
    play("Segmentation-v0", tmp_path / "photo.png", tmp_path / "out")
    assert capsys.readouterr().out.startswith(
        "left click on the object, right click beside it; Enter is done"
    )
    (one,) = told(tmp_path / "out")
    assert one["steps"] == 2 and one["agent"] == "person"
    mask = np.asarray(Image.open(tmp_path / "out" / "photo-mask.png"))
    truth = photo[..., 0] > 0
    assert mask.shape == truth.shape and (mask > 0)[truth].mean() > 0.95 and (mask > 0)[~truth].mean() < 0.05
    assert (shown[0] != shown[1]).any() and (shown[1] != shown[2]).any()


def test_several_files_are_played_one_after_another(images: Path, tmp_path: Path, press: Press) -> None:
    press(ENTER, ENTER)
    files = [str(images / name) for name in ("b.png", "a.png")]
    task = ("--env-args", "target=heart", "window=16", "--out", str(tmp_path / "out"))
    cli.main(["play", "LandmarkLocalization-v0", *files, "--no-labelled", *task])
    assert [one["name"] for one in told(tmp_path / "out")] == ["b", "a"]


def test_files_are_not_for_play_with_labels(images: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["play", "LandmarkLocalization-v0", str(images / "a.png")])
    assert stopped.value.code == 2
    assert "files must be given with --no-labelled alone" in capsys.readouterr().err
