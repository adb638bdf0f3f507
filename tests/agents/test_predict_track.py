"""Tracking in a file: the boxes and the films, the errors, the memory."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from visionrl.agents import TrainConfig, make_vec_env
from visionrl.agents.evaluation.compare import compare
from visionrl.agents.evaluation.policies import agent_policy
from visionrl.agents.prediction import films as files
from visionrl.agents.prediction.agent import Agent, agent_named, classical, load_agent
from visionrl.agents.prediction.films import FilmOptions
from visionrl.agents.prediction.inputs import inputs_of, parse_box
from visionrl.agents.prediction.predict import Report, predict_files
from visionrl.agents.training.config import resolve
from visionrl.agents.training.models import build_model
from visionrl.agents.training.run_files import write_config
from visionrl.agents.training.saving import load_model
from visionrl.banks import videos as video_bank
from visionrl.cli import main as cli
from visionrl.core import batch, make_task
from visionrl.core.results import BoxTrack
from visionrl.datasets import MotSample, VideoSample, load
from visionrl.datasets.unlabelled import edges_within

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


def track(agent: Agent | str, video: Path, box: Any, out: Path, **options: Any) -> Report:
    """Predict on one video; a name is a classical method's."""
    one = classical(TRACKING, agent) if isinstance(agent, str) else agent
    return predict_files(one, inputs_of([str(video)], one.sample_type, box), out, **options)


def rows(path: Path) -> np.ndarray:
    """The table's numbers."""
    with path.open() as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["frame", "x", "y", "w", "h"]
    return np.array(lines[1:], float)


@pytest.mark.parametrize("name", ["template matching", "Median-Flow", "constant box"])
def test_the_table_has_a_box_a_frame(name: str, video: Path, tmp_path: Path) -> None:
    assert track(name, video, (20, 30, 24, 24), tmp_path / "new" / "a", pictures=False) == Report(1, [])
    found = rows(tmp_path / "new" / "a" / "video.csv")
    np.testing.assert_array_equal(found[:, 0], np.arange(LENGTH))
    np.testing.assert_array_equal(found[0, 1:], [20, 30, 24, 24])
    if name != "constant box":
        wanted = np.stack([20 + 3 * np.arange(LENGTH), np.full(LENGTH, 30)], axis=1)
        np.testing.assert_allclose(found[:, 1:3], wanted, atol=1.5)


def test_the_result_is_a_box_a_frame(video: Path) -> None:
    result = classical(TRACKING, "median flow").predict(video, box=(20, 30, 24, 24))
    assert isinstance(result, BoxTrack) and result.boxes.shape == (LENGTH, 4)
    np.testing.assert_allclose(result.boxes[:, 0], 20 + 3 * np.arange(LENGTH), atol=1.5)
    assert result.to_json()["boxes"][0] == [20, 30, 24, 24]


@pytest.mark.parametrize("layout", ["TCHW", "THWC"])
def test_arrays_are_tracked_like_their_files(layout: str, video: Path) -> None:
    pictures = np.stack([cv2.imread(str(video / f"{n}.png"))[..., ::-1] for n in range(LENGTH)])
    method = classical(TRACKING, "template matching")
    given = pictures if layout == "THWC" else pictures.transpose(0, 3, 1, 2)
    box = (20, 30, 24, 24)
    np.testing.assert_array_equal(method.predict(given, box=box).boxes, method.predict(video, box=box).boxes)
    assert method.predict(pictures[..., 0], box=box).boxes.shape == (LENGTH, 4), "grey"


def test_the_text_files_count_from_one_like_the_benchmarks(video: Path, tmp_path: Path) -> None:
    """OTB's ground truth and MOTChallenge's count pixels from 1: what is written is read back by their readers."""
    track("template matching", video, (20, 30, 24, 24), tmp_path / "out", pictures=False)
    found = rows(tmp_path / "out" / "video.csv")[:, 1:]
    edges = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
    assert (tmp_path / "out" / "video.otb.txt").read_text().startswith("21.000,31.000,24.000,24.000\n")
    assert (tmp_path / "out" / "video.mot.txt").read_text().startswith("1,1,21.000,31.000,24.000,24.000,1,")
    (tmp_path / "otb").mkdir()
    (tmp_path / "mot" / "gt").mkdir(parents=True)
    shutil.copytree(video, tmp_path / "otb" / "img")
    shutil.copytree(video, tmp_path / "mot" / "img1")
    shutil.copy(tmp_path / "out" / "video.otb.txt", tmp_path / "otb" / "groundtruth_rect.txt")
    shutil.copy(tmp_path / "out" / "video.mot.txt", tmp_path / "mot" / "gt" / "gt.txt")
    (one,) = load(f"otb:{tmp_path / 'otb'}", kind=VideoSample, split="all")
    (many,) = load(f"mot:{tmp_path / 'mot'}", kind=MotSample, split="all")
    np.testing.assert_allclose(one.boxes, edges, atol=2e-3)
    np.testing.assert_allclose(np.concatenate(many.boxes), edges, atol=2e-3)


def test_labelled_sequences_need_no_box_and_their_labels_are_not_looked_at(
    video: Path, tmp_path: Path
) -> None:
    (tmp_path / "otb").mkdir()
    shutil.copytree(video, tmp_path / "otb" / "img")
    lines = [f"{21 + 3 * n} 31 24 24" for n in range(LENGTH)]
    (tmp_path / "otb" / "groundtruth_rect.txt").write_text("\n".join(lines))
    method = classical(TRACKING, "template matching")
    report = predict_files(method, inputs_of([f"otb:{tmp_path / 'otb'}"], VideoSample), tmp_path / "a")
    assert report == Report(1, [])
    (told,) = (tmp_path / "a" / "predictions.jsonl").read_text().splitlines()
    bare = method.predict(video, box=(20, 30, 24, 24))
    assert json.loads(told)["boxes"] == bare.to_json()["boxes"]
    assert json.loads(told)["written"] == [f"otb.{end}" for end in ("csv", "gif", "otb.txt", "mot.txt")]


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_the_film_shows_the_box(kind: str, video: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(files, "MAX_PICTURES", 4)
    out = tmp_path / "out"
    track("constant box", video, (20, 30, 24, 24), out, films=FilmOptions(kind))
    with Image.open(out / f"video.{kind}") as shown:
        assert shown.n_frames == 4, "thinned"
        shown.seek(3)
        picture = np.asarray(shown.convert("RGB")).astype(int)
    assert max(picture.shape) <= files.LONGEST_SIDE
    zoom = picture.shape[1] / 140
    x, y = round(20 * zoom), round(42 * zoom)
    orange = np.array([255, 159, 28])
    assert np.abs(picture[y, x - 3 : x + 4] - orange).sum(axis=-1).min() < 120
    assert np.abs(picture[y, x + 20 : x + 40] - orange).sum(axis=-1).min() > 120
    names = {"predictions.jsonl", "video.csv", f"video.{kind}", "video.mot.txt", "video.otb.txt"}
    assert {path.name for path in out.iterdir()} == names


def test_an_mp4_needs_pyav(monkeypatch: Any) -> None:
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"PyAV: pip install \"visionrl\[video\]\""):
        FilmOptions("mp4")


def test_an_mp4_has_every_frame(video: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    track("constant box", video, (20, 30, 24, 24), tmp_path / "a", films=FilmOptions("mp4", 12.5))
    capture = cv2.VideoCapture(str(tmp_path / "a" / "video.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == LENGTH
    assert capture.get(cv2.CAP_PROP_FPS) == 12.5


def run_of(folder: Path, env: str = TRACKING, env_args: tuple[str, ...] = ("window=24", "clip=2")) -> Path:
    """A run with an untrained agent in it."""
    config = resolve(TrainConfig(env=env, algo="dqn", env_args=env_args, num_envs=1, device="cpu"))
    made = make_vec_env(env, 1, **config.env_kwargs)
    model = build_model(config, made)
    folder.mkdir()
    write_config(folder, config, made.observation_space, made.action_space)
    torch.save(model.policy.state_dict(), folder / "policy.pt")
    return folder


def test_an_agents_boxes_are_those_of_its_episode(video: Path, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    found = load_agent(run, "cpu").predict(video, box=(20, 30, 24, 24)).boxes
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
    np.testing.assert_array_equal(found, np.array(wanted))


def test_agents_of_other_tasks_are_refused(video: Path, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "visionrl/LandmarkLocalization-v0", ())
    agent = load_agent(run, "cpu")
    with pytest.raises(ValueError, match="box must not be given for visionrl/LandmarkLocalization-v0"):
        agent.predict(video, box=(20, 30, 24, 24))
    with pytest.raises(ValueError, match="box must be given for one image, a file"):
        inputs_of([str(video)], agent.sample_type, (20, 30, 24, 24))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--box", "20,30,24"], "box must be four numbers x,y,w,h, got '20,30,24'"),
        (["--box", "20,30,24,a"], "box must be four numbers"),
        (["--box", "130,30,24,24"], "box must lie within the frame, 140 x 90, got 130,30,24,24"),
        (["--box", "20,30,0,24"], "box must have a width and height of at least one pixel"),
        (["--box", "nan,30,24,24"], "box must have a width and height"),
        (["--box", "20,30,24,24", "--fps", "0"], "fps must be a number in (0.0, 1000.0], got 0.0"),
        (["again.mp4", "--box", "20,30,24,24"], "box must be given for one video"),
        (["--box", "20,30,24,24", "--film", "avi"], "film"),
        ([], "box must be given for"),
    ],
)
def test_wrong_arguments_are_one_line(
    wrong: list[str], words: str, video: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "again.mp4").touch()
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", "constant box", str(video), *wrong, "--env", "Tracking-v0"])
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.mp4", "video"]


def test_wrong_paths_and_names(video: Path, tmp_path: Path) -> None:
    box, out = (20, 30, 24, 24), tmp_path / "out"
    with pytest.raises(
        ValueError, match=r"agent must be a run's folder or one of constant box; .*got 'nobody'"
    ):
        agent_named("nobody", TRACKING)
    with pytest.raises(ValueError, match=r"files must exist, got '.*none\.mp4'"):
        track("constant box", tmp_path / "none.mp4", box, out)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match="must be a folder of pictures or a video that OpenCV can read"):
        track("constant box", tmp_path / "b.mp4", box, out)
    with pytest.raises(
        ValueError, match=r"box must be given for visionrl/Tracking-v0: \(x, y, width, height"
    ):
        classical(TRACKING, "constant box").predict(video)
    (video / "3.png").write_bytes(b"no picture")
    report = track("constant box", video, box, out)
    assert report.done == 0 and "3.png" in report.failed[0][1] and "\n" not in report.failed[0][1]
    assert [path.name for path in out.iterdir()] == ["predictions.jsonl"]


def test_a_film_does_not_replace_the_video(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (128, 96))
    for number in range(3):
        writer.write(np.full((96, 128, 3), number, np.uint8))
    writer.release()
    (tmp_path / "v.avi").rename(tmp_path / "v.gif")  # read by what is in it
    content = (tmp_path / "v.gif").read_bytes()
    with pytest.raises(ValueError, match="out must be another folder than that of the files"):
        track("constant box", tmp_path / "v.gif", (20, 30, 24, 24), tmp_path, overwrite=True)
    assert (tmp_path / "v.gif").read_bytes() == content


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_fails_on_the_way_leaves_no_file(
    error: type[BaseException], video: Path, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        raise error("in the middle")

    with pytest.raises(error, match="in the middle"):
        track("constant box", video, (20, 30, 24, 24), tmp_path / "out", films=FilmOptions(tell=stop))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["predictions.jsonl"]
    assert not (tmp_path / "out" / "predictions.jsonl").read_text()


def test_the_command_says_what_it_wrote(video: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    cli.main(["predict", "constant box", str(video), "--env", "Tracking-v0", "--box", "20,30,24,24"])
    assert capsys.readouterr().out == "1 of 1 files; results in predictions\n"
    (told,) = (tmp_path / "predictions" / "predictions.jsonl").read_text().splitlines()
    said = json.loads(told)
    assert said["agent"] == "constant box" and said["boxes"] == [[20, 30, 24, 24]] * LENGTH
    assert all((tmp_path / "predictions" / name).stat().st_size for name in said["written"])


def test_boxes_are_parsed_and_turned_into_edges() -> None:
    assert parse_box("1.5, 2,3,4") == [1.5, 2, 3, 4]
    np.testing.assert_array_equal(edges_within([1.5, 2, 3, 4], np.zeros((3, 6, 9))), [1.5, 2, 4.5, 6])
    with pytest.raises(ValueError, match="within the frame, 9 x 6"):
        edges_within([1.5, 2.5, 3, 4], np.zeros((3, 6, 9)))


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_without_labels_whole_videos_of_any_length_have_their_paths(backend: str) -> None:
    rng = np.random.default_rng(0)
    samples = []
    for length in (5, 3):
        boxes = np.full((length, 4), np.nan)
        boxes[0] = 20, 10, 44, 34
        samples.append(VideoSample(rng.integers(0, 256, (length, 1, 48, 64), dtype=np.uint8), boxes))
    kwargs: dict[str, Any] = {"window": 16, "clip": 2, "start": "temporal", "control": "continuous"}
    task = make_task(TRACKING, data=samples, split="all", labelled=False, **kwargs)
    assert task.items == 2
    state = batch.stack([task.sample(np.random.default_rng(0), item) for item in range(2)])
    if backend == "torch":
        state = batch.each(state, torch.as_tensor)
    right = np.tile([0.25, 0, 0], (2, 1)).astype(np.float32)
    for _ in range(5):
        state = task.step(state, torch.as_tensor(right) if backend == "torch" else right)
    rows = [batch.each(batch.take(state, row), np.asarray) for row in range(2)]
    assert all(row.finished for row in rows)
    for row, length in zip(rows, (5, 3), strict=True):
        found = task.result(row)
        assert isinstance(found, BoxTrack)
        np.testing.assert_allclose(found.boxes[:, 0], 20 + 6 * np.arange(1, length + 1))


def test_the_truth_is_not_in_a_task_without_labels(video: Path) -> None:
    pictures = np.stack([cv2.imread(str(video / f"{n}.png")).transpose(2, 0, 1) for n in range(LENGTH)])
    sample = VideoSample(pictures, np.tile([20.0, 30, 44, 54], (LENGTH, 1)))
    labelled = make_task(TRACKING, data=[sample], split="all", clip=None, window=16)
    task: Any = make_task(TRACKING, data=[sample], split="all", clip=None, window=16, labelled=False)
    assert not np.isnan(labelled.bank.boxes.array).any(), "one bank of both would be a leak"  # type: ignore[attr-defined]
    assert np.isnan(task.bank.boxes.array[1:]).all() and not np.isnan(task.bank.boxes.array[0]).any()
    state = batch.stack([task.sample(np.random.default_rng(0), 0)])
    with pytest.raises(ValueError, match="expert needs samples with labels"):
        task.expert(state)
    picture = task.draw(batch.take(task.step(state, np.array([10])), 0))
    green = np.abs(picture.astype(int) - [46, 204, 113]).sum(axis=-1)
    assert green.min() > 0, "nothing is drawn as the truth where none is known"


@pytest.mark.parametrize("start", ["first", "temporal"])
def test_evaluation_of_whole_videos_keeps_their_boxes(start: str) -> None:
    found: list[Any] = []
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 1, 48, 64), dtype=np.uint8)
    data = [VideoSample(pixels, np.tile([20.0, 10, 44, 34], (40, 1)), name="one")]
    task: dict[str, Any] = {"data": data, "window": 16, "start": start}
    compare(TRACKING, rows=["constant box"], keep=found.extend, env_kwargs=task, episodes=20)
    assert [line["name"] for line in found[:1]] == ["one"] and len(found[0]["boxes"]) == 40
    late = make_task(TRACKING, split="all", clip=None, **task)
    state = batch.stack([late.sample(np.random.default_rng(0), late.items - 1)])
    while not state.finished[0]:
        state = late.step(state, np.array([10]))
    result: Any = late.result(batch.take(state, 0))
    assert (result.first, len(result.boxes)) == ((0, 40) if start == "first" else (20, 20))


def test_a_long_video_keeps_to_the_limit(tmp_path: Path, monkeypatch: Any) -> None:
    """300 frames of 36 KiB with their halvings within 1 MiB, read in order, and a thinned film."""
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (128, 96))
    for number in range(300):
        writer.write(np.full((96, 128, 3), number % 200, np.uint8))
    writer.release()
    monkeypatch.setenv("VISIONRL_FRAME_MEMORY", "1")
    monkeypatch.setattr(files, "MAX_PICTURES", 20)
    held = []
    taken = video_bank.FrameBank.image

    def image(self: Any, frame: int) -> np.ndarray:
        held.append(self.pyramid.recent.bytes)
        return taken(self, frame)

    monkeypatch.setattr(video_bank.FrameBank, "image", image)
    track("constant box", tmp_path / "v.avi", (20, 30, 24, 24), tmp_path / "a")
    assert len(rows(tmp_path / "a" / "v.csv")) == 300
    with Image.open(tmp_path / "a" / "v.gif") as shown:
        assert shown.n_frames == files.MAX_PICTURES
    assert 1 << 19 < max(held) <= 1 << 20
