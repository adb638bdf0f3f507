"""``visionrl track``: the boxes and the films, the errors, the memory."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from visionrl.agents import TrainConfig, make_vec_env
from visionrl.agents.evaluation.policies import agent_policy
from visionrl.agents.prediction import track as module
from visionrl.agents.prediction import track_files as files
from visionrl.agents.prediction.track import edges_within, outputs, parse_box, track
from visionrl.agents.training.config import resolve
from visionrl.agents.training.models import build_model
from visionrl.agents.training.run_files import write_config
from visionrl.agents.training.saving import load_model
from visionrl.banks import videos as video_bank
from visionrl.cli import main as cli
from visionrl.core import batch, make_task
from visionrl.datasets import VideoSample

TRACKING = "visionrl/Tracking-v0"
SHAPES = ((90, 140, 3), (24, 24, 3))
LENGTH = 7


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A folder of pictures in which a patch goes right by 3 pixels a frame."""
    rng = np.random.default_rng(0)
    back, thing = (
        cv2.GaussianBlur(rng.integers(0, 256, shape).astype(np.uint8), (0, 0), 2) for shape in SHAPES
    )
    folder = tmp_path / "video"
    folder.mkdir()
    for number in range(LENGTH):
        picture = back.copy()
        picture[30:54, 20 + 3 * number : 44 + 3 * number] = thing
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return folder


def rows(path: Path) -> np.ndarray:
    """The table's numbers."""
    with path.open() as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["frame", "x", "y", "w", "h"]
    return np.array(lines[1:], float)


@pytest.mark.parametrize("name", ["template matching", "Median-Flow", "constant box"])
def test_the_table_has_a_box_a_frame(name: str, video: Path, tmp_path: Path) -> None:
    (table,) = track(name, video, (20, 30, 24, 24), tmp_path / "new" / "a.csv")
    found = rows(table)
    np.testing.assert_array_equal(found[:, 0], np.arange(LENGTH))
    np.testing.assert_array_equal(found[0, 1:], [20, 30, 24, 24])
    if name != "constant box":
        wanted = np.stack([20 + 3 * np.arange(LENGTH), np.full(LENGTH, 30)], axis=1)
        np.testing.assert_allclose(found[:, 1:3], wanted, atol=1.5)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_the_film_shows_the_box(kind: str, video: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(files, "MOST_PICTURES", 4)
    table, film = track("constant box", video, (20, 30, 24, 24), tmp_path / f"a.{kind}")
    assert table == tmp_path / "a.csv"
    with Image.open(film) as shown:
        assert shown.n_frames == 4, "thinned"
        shown.seek(3)
        picture = np.asarray(shown.convert("RGB")).astype(int)
    assert max(picture.shape) <= files.LONGEST_SIDE
    zoom = picture.shape[1] / 140
    x, y = round(20 * zoom), round(42 * zoom)
    orange = np.array([255, 159, 28])
    assert np.abs(picture[y, x - 3 : x + 4] - orange).sum(axis=-1).min() < 120
    assert np.abs(picture[y, x + 20 : x + 40] - orange).sum(axis=-1).min() > 120
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", f"a.{kind}", "video"]


def test_an_mp4_needs_pyav(video: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"PyAV: pip install \"visionrl\[video\]\""):
        track("constant box", video, (20, 30, 24, 24), tmp_path / "a.mp4")


def test_an_mp4_has_every_frame(video: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    _, film = track("constant box", video, (20, 30, 24, 24), tmp_path / "a.mp4", fps=12.5)
    capture = cv2.VideoCapture(str(film))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == LENGTH
    assert capture.get(cv2.CAP_PROP_FPS) == 12.5


def agent(folder: Path, env: str = TRACKING, env_args: tuple[str, ...] = ("window=24", "clip=2")) -> Path:
    """A run with an untrained agent in it."""
    config = resolve(TrainConfig(env=env, algo="dqn", env_args=env_args, num_envs=1, device="cpu"))
    made = make_vec_env(env, 1, **config.env_kwargs)
    model = build_model(config, made)
    folder.mkdir()
    write_config(folder, config, made.observation_space, made.action_space)
    torch.save(model.policy.state_dict(), folder / "policy.pt")
    return folder


def test_an_agents_boxes_are_those_of_its_episode(video: Path, tmp_path: Path) -> None:
    run = agent(tmp_path / "run")
    (table,) = track(run, video, (20, 30, 24, 24), tmp_path / "a.csv", device="cpu")
    pictures = np.stack(
        [cv2.imread(str(video / f"{n}.png"))[..., ::-1].transpose(2, 0, 1) for n in range(LENGTH)]
    )
    sample = VideoSample(pictures, np.tile([20.0, 30, 44, 54], (LENGTH, 1)))
    task = make_task(TRACKING, data=[sample], window=24, clip=None)
    policy = agent_policy(load_model(run, "cpu")[0])
    state = batch.stack([task.sample(np.random.default_rng(0), 0)])
    wanted = []
    while not state.finished[0]:
        after = task.step(state, policy(task.observe(state), task, state))
        if after.finished[0] or after.frame[0] > state.frame[0]:
            wanted.append(after.box[0])
        state = after
    edges = np.array(wanted)
    np.testing.assert_allclose(rows(table)[:, 1:3], edges[:, :2], atol=6e-4)
    np.testing.assert_allclose(rows(table)[:, 3:], edges[:, 2:] - edges[:, :2], atol=2e-3)


def test_agents_of_other_tasks_are_refused(video: Path, tmp_path: Path) -> None:
    run = agent(tmp_path / "run", "visionrl/LandmarkLocalization-v0", ())
    with pytest.raises(
        ValueError, match=r"agent must be of visionrl/Tracking-v0, .* is of visionrl/Landmark"
    ):
        track(run, video, (20, 30, 24, 24), tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--box", "20,30,24"], "box must be four numbers x,y,w,h, got '20,30,24'"),
        (["--box", "20,30,24,a"], "box must be four numbers"),
        (["--box", "130,30,24,24"], "box must lie within the frame, 140 x 90, got 130,30,24,24"),
        (["--box", "20,30,0,24"], "box must have a width and height of at least one pixel"),
        (["--box", "nan,30,24,24"], "box must have a width and height"),
        (["--box", "20,30,24,24", "--fps", "0"], "fps must be in"),
        (
            ["--box", "20,30,24,24", "--out", "a.avi"],
            "out must end in .gif, .webp, .mp4 or .csv, got 'a.avi'",
        ),
    ],
)
def test_wrong_arguments_are_one_line(
    wrong: list[str], words: str, video: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["track", "constant box", str(video), *wrong])
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["video"]


def test_wrong_paths_and_names(video: Path, tmp_path: Path) -> None:
    box = (20, 30, 24, 24)
    with pytest.raises(
        ValueError, match=r"agent must be a run's folder or one of constant box, .*got 'nobody'"
    ):
        track("nobody", video, box, tmp_path / "a.csv")
    with pytest.raises(ValueError, match="the video must exist"):
        track("constant box", tmp_path / "none.mp4", box, tmp_path / "a.csv")
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match="must be a folder of pictures or a video that OpenCV can read"):
        track("constant box", tmp_path / "b.mp4", box, tmp_path / "a.csv")
    with pytest.raises(ValueError, match="out must not be the video itself"):
        outputs(tmp_path / "b.gif", tmp_path / "b.gif")
    (video / "3.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"3\.png"):
        track("constant box", video, box, tmp_path / "a.csv")
    assert not list(tmp_path.glob("*.csv")) and not list(tmp_path.glob(".*"))


def test_what_fails_on_the_way_leaves_no_file(video: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        track("constant box", video, (20, 30, 24, 24), tmp_path / "a.gif", tell=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["video"]


def test_the_command_says_what_it_wrote(video: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    cli.main(["track", "constant box", str(video), "--box", "20,30,24,24"])
    assert capsys.readouterr().out == "wrote video-track.csv, video-track.gif\n"
    assert (tmp_path / "video-track.gif").exists()


def test_boxes_are_parsed_and_turned_into_edges() -> None:
    assert parse_box("1.5, 2,3,4") == [1.5, 2, 3, 4]
    np.testing.assert_array_equal(edges_within([1.5, 2, 3, 4], np.zeros((3, 6, 9))), [1.5, 2, 4.5, 6])
    with pytest.raises(ValueError, match="within the frame, 9 x 6"):
        edges_within([1.5, 2.5, 3, 4], np.zeros((3, 6, 9)))


def test_a_long_video_keeps_to_the_limit(tmp_path: Path, monkeypatch: Any) -> None:
    """300 frames of 36 KiB with their halvings within 1 MiB, read in order, and a thinned film."""
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (128, 96))
    for number in range(300):
        writer.write(np.full((96, 128, 3), number % 200, np.uint8))
    writer.release()
    monkeypatch.setenv("VISIONRL_FRAME_MEMORY", "1")
    monkeypatch.setattr(files, "MOST_PICTURES", 20)
    held = []
    taken = video_bank.FrameBank.image

    def image(self: Any, frame: int) -> np.ndarray:
        held.append(self.pyramid.recent.bytes)
        return taken(self, frame)

    monkeypatch.setattr(video_bank.FrameBank, "image", image)
    table, film = track("constant box", tmp_path / "v.avi", (20, 30, 24, 24), tmp_path / "a.gif")
    assert len(rows(table)) == 300
    with Image.open(film) as shown:
        assert shown.n_frames == files.MOST_PICTURES
    assert 1 << 19 < max(held) <= 1 << 20
