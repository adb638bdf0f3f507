"""Where the agent looked in a video: recorded, drawn, shown in a window that can be closed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from visionrl.agents.prediction import agent as agents
from visionrl.agents.prediction import track as module
from visionrl.agents.prediction.agent import Agent, classical
from visionrl.agents.prediction.films import FilmOptions
from visionrl.agents.prediction.inputs import inputs_of
from visionrl.agents.prediction.predict import predict_files
from visionrl.agents.prediction.track_view import (
    FrameView,
    TrackedTask,
    draw_view,
    fit_zoom,
    inset,
    live_window,
)
from visionrl.cli import main as cli
from visionrl.core import make_task
from visionrl.datasets import VideoSample
from visionrl.rendering import PALETTE

TRACKING = "visionrl/Tracking-v0"
LENGTH = 6
BOX = np.array([10.0, 20, 34, 44])
TWICE_RIGHT, STOP = 3, 10
STEPS = 5  # to the right by two pixels each, then stop
PIXELS: dict[str, Any] = {"window": 24}
FOLLOW: dict[str, Any] = {"control": "follow", "views": ["response"], "response_side": 32}


class Right:
    """Five double steps to the right in every frame; with one choice a frame, to the strongest peak."""

    def __init__(self, choices: int = STEPS + 1) -> None:
        self.choices = choices

    def reset(self) -> None:
        self.made = 0

    def keep(self, rows: np.ndarray) -> None:
        assert not rows.any()

    def __call__(self, seen: Any, task: Any, state: Any) -> np.ndarray:
        self.made += 1
        if self.choices == 1:
            return np.array([0])
        return np.array([STOP if self.made % self.choices == 0 else TWICE_RIGHT])


def pictures() -> np.ndarray:
    """(F, 3, H, W): grey noise without any blue or orange."""
    noise = np.random.default_rng(0).integers(60, 120, (LENGTH, 1, 80, 160)).astype(np.uint8)
    return noise.repeat(3, axis=1)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    folder = tmp_path / "video"
    folder.mkdir()
    for number, picture in enumerate(pictures()):
        cv2.imwrite(str(folder / f"{number}.png"), picture.transpose(1, 2, 0))
    return folder


def script(choices: int = STEPS + 1, **kwargs: Any) -> Agent:
    """The script as an agent."""
    return Agent(TRACKING, Right(choices), kwargs or PIXELS, name="scripted")


@pytest.fixture
def scripted(monkeypatch: Any) -> None:
    """The command follows by the script instead of an agent that is loaded."""
    monkeypatch.setattr(agents, "load_agent", lambda name, device: script())


def track(agent: Agent, video: Path, out: Path, **options: Any) -> None:
    """Follow the object of the pictures."""
    predict_files(agent, inputs_of([str(video)], VideoSample, (10, 20, 24, 24)), out, **options)


@pytest.fixture
def pygame(monkeypatch: Any) -> Any:
    """Pygame with a display that nobody sees."""
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    return pytest.importorskip("pygame")


def near(picture: np.ndarray, colour: str, tolerance: int = 0) -> np.ndarray:
    """(H, W) where a picture has a colour of the palette."""
    return np.abs(picture.astype(int) - PALETTE[colour]).max(axis=-1) <= tolerance


def watched(choices: int, kwargs: dict[str, Any]) -> list[FrameView]:
    """What is noted of the script on the pictures."""
    sample = VideoSample(pictures(), np.tile(BOX, (LENGTH, 1)))
    told: list[FrameView] = []

    def noted(task: Any) -> Any:
        def note(looked: FrameView) -> bool:
            told.append(looked)
            return True

        return TrackedTask(task, note)

    result: Any = script(choices, **kwargs).predict_sample(sample, wrap=noted).result
    assert [looked.number for looked in told] == list(range(LENGTH))
    np.testing.assert_array_equal(result.boxes, [looked.box for looked in told])
    return told


def test_every_move_is_a_look() -> None:
    for looked in watched(STEPS + 1, PIXELS):
        left = 10 + 2 * STEPS * looked.number + 2 * np.arange(STEPS + 1)
        np.testing.assert_allclose(np.stack(looked.boxes)[:, 0], left)
        np.testing.assert_allclose(np.stack(looked.boxes)[:, 1:3] - [[0, 24]], np.c_[0 * left + 20, left])
        np.testing.assert_array_equal(looked.box, looked.boxes[-1])
        assert not looked.squares and looked.window is not None and looked.window.shape == (3, 24, 24)


def test_the_window_is_what_the_agent_saw_last() -> None:
    sample = VideoSample(pictures(), np.tile(BOX, (LENGTH, 1)))
    task = make_task(TRACKING, data=[sample], clip=None, split="test", **PIXELS)
    looked = watched(STEPS + 1, PIXELS)[2]
    np.testing.assert_array_equal(looked.window, task.look(np.array([2]), looked.box[None])[0])


def test_a_filter_searches_a_square_of_four_sides() -> None:
    first, second, *_ = watched(1, FOLLOW)
    np.testing.assert_allclose(first.squares, [[22 - 48, 32 - 48, 22 + 48, 32 + 48]])
    np.testing.assert_array_equal(first.boxes, [BOX])
    np.testing.assert_array_equal(second.boxes, [first.box])
    assert first.window is None


def test_a_classical_method_has_no_looks(video: Path, tmp_path: Path, monkeypatch: Any) -> None:
    told: list[FrameView] = []

    def noted(task: Any, tell: Any) -> Any:
        return TrackedTask(task, lambda at: (told.append(at), tell(at))[1])  # type: ignore[func-returns-value]

    monkeypatch.setattr(module, "TrackedTask", noted)
    track(classical(TRACKING, "template matching"), video, tmp_path / "a", pictures=False)
    assert len(told) == LENGTH
    assert not any(looked.boxes or looked.squares or looked.window is not None for looked in told)


def test_the_drawing_has_thin_looks_and_a_strong_box() -> None:
    looked = FrameView(3, np.array([60.0, 20, 90, 50]), [BOX], [np.array([5.0, 5, 120, 70])])
    picture = draw_view(pictures()[0].transpose(1, 2, 0), looked, 3)
    assert picture.shape == (240, 480, 3)
    blue, orange = near(picture, "look"), near(picture, "agent")
    assert blue[60:132, 30].all() and not blue[64:128, 31:101].any(), "the look's left edge, one pixel wide"
    assert blue[60:132, 101].all() and blue[60, 30:102].all() and blue[131, 30:102].all()
    assert blue[15:210, 15].all() and blue[15:210, 359].all(), "the square"
    for x in (180, 269):
        assert orange[60:150, x - 1 : x + 2].all() and not orange[70:140, x + 2].any(), "three pixels wide"


@pytest.mark.parametrize(("factor", "thin", "strong"), [(1, 1, 3), (4, 5, 13)])
def test_lines_keep_their_strength_in_large_frames(factor: int, thin: int, strong: int) -> None:
    image = np.full((480 * factor, 640 * factor, 3), 90, np.uint8)
    looked = FrameView(
        0, factor * np.array([300.0, 100, 400, 200]), [factor * np.array([100.0, 100, 200, 200])]
    )
    picture = draw_view(image, looked, 1)
    row = 150 * factor
    assert [near(picture, colour)[row].sum() for colour in ("look", "agent")] == [2 * thin, 2 * strong]
    small = draw_view(image, looked, 480 / (640 * factor))
    assert small.shape == (360, 480, 3)
    assert near(small, "look")[112].sum() == 2 and near(small, "agent")[112].sum() == 6


def test_the_film_shows_the_trail(video: Path, tmp_path: Path) -> None:
    track(script(), video, tmp_path / "a")
    with Image.open(tmp_path / "a" / "video.gif") as shown:
        shown.seek(2)
        picture = np.asarray(shown.convert("RGB"))
    assert picture.shape == (240, 480, 3)
    middle = 3 * 32
    blue = np.flatnonzero(near(picture, "look", 40)[middle])
    left = 3 * (10 + 2 * STEPS * 2 + 2 * np.arange(STEPS + 1))
    np.testing.assert_array_equal(blue[blue < left[-1] - 2], left[:-1])
    assert near(picture, "agent", 40)[middle, left[-1] - 1 : left[-1] + 2].all()


def test_the_inset_keeps_away_from_the_box() -> None:
    frame = np.full((80, 160, 3), 90, np.uint8)
    for x, corner in ((10, slice(-60, None)), (100, slice(0, 60))):
        looked = FrameView(0, np.array([x, 20.0, x + 30, 50]), window=np.full((3, 24, 24), 200, np.uint8))
        bare = draw_view(frame, looked, 3)
        shown = inset(bare, looked, 160)
        assert (shown[-59:-1, corner][:, 1:-1] == 200).all()
        assert near(shown[-60:, corner][[0, -1]], "look").all()
        assert (shown != bare).any(axis=-1).sum() <= 60 * 60
    plain = FrameView(0, BOX)
    assert inset(bare, plain, 160) is bare


@pytest.mark.parametrize(
    ("shape", "room", "zoom"),
    [
        ((90, 140), (1800, 900), 4),
        ((480, 640), (1800, 900), 1),
        ((300, 400), (700, 900), 1),
        ((24, 24), (1800, 900), 20),
        ((2160, 3840), (1920, 900), 900 / 2160),
    ],
)
def test_frames_fit_the_screen(shape: tuple[int, int], room: tuple[int, int], zoom: float) -> None:
    assert fit_zoom(shape, room) == pytest.approx(zoom)


@pytest.mark.parametrize("how", ["escape", "close"])
def test_ending_early_keeps_what_is_done(
    how: str, pygame: Any, video: Path, tmp_path: Path, scripted: None, monkeypatch: Any, capsys: Any
) -> None:
    wanted = {
        "escape": pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE),
        "close": pygame.event.Event(pygame.QUIT),
    }
    flips = []
    flip = pygame.display.flip

    def third() -> None:
        flip()
        flips.append(1)
        if len(flips) == 3:
            pygame.event.post(wanted[how])

    monkeypatch.setattr(pygame.display, "flip", third)
    out = tmp_path / "a"
    cli.main(["predict", "scripted", str(video), "--box", "10,20,24,24", "--live", "--out", str(out)])
    said = f"1 of 1 files; results in {out}; {video} stopped at frame 2, the last is 5\n"
    assert said in capsys.readouterr().out
    assert len(flips) == 3 and not pygame.display.get_init()
    table = np.loadtxt(out / "video.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(table[:, 0], [0, 1, 2])
    np.testing.assert_allclose(table[:, 1], 10 + 2 * STEPS * np.arange(1, 4))
    assert len((out / "video.otb.txt").read_text().splitlines()) == 3
    with Image.open(out / "video.gif") as shown:
        assert shown.n_frames == 3
    names = ["predictions.jsonl", "video.csv", "video.gif", "video.mot.txt", "video.otb.txt"]
    assert sorted(path.name for path in out.iterdir()) == names


def test_the_window_shows_the_frame_the_looks_and_the_agents_view(
    pygame: Any, video: Path, tmp_path: Path
) -> None:
    shown = []

    def tell(done: int, total: int) -> None:
        if done > 1:  # the frame before is in the window
            surface = pygame.display.get_surface()
            shown.append(pygame.surfarray.array3d(surface).transpose(1, 0, 2))

    with live_window(1000) as show:
        track(script(), video, tmp_path / "a", pictures=False, films=FilmOptions(show=show, tell=tell))
    table = tmp_path / "a" / "video.csv"
    assert len(table.read_text().splitlines()) == LENGTH + 1 and len(shown) == LENGTH - 1
    looks = watched(STEPS + 1, PIXELS)
    for number, picture in enumerate(shown):
        frame = pictures()[number].transpose(1, 2, 0)
        np.testing.assert_array_equal(picture, inset(draw_view(frame, looks[number], 3), looks[number], 160))
    assert near(shown[1], "look")[96, 3 * 22] and near(shown[1], "agent")[96, 3 * 30]


def test_other_keys_do_not_end_it(pygame: Any) -> None:
    frame = np.full((80, 160, 3), 90, np.uint8)
    with live_window(1000) as show:
        assert show(frame, FrameView(0, BOX))
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_SPACE))
        assert show(frame, FrameView(1, BOX))
        assert pygame.display.get_surface().get_size() == (480, 240)


def test_without_a_display_it_says_so_first(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", "nobody", "no-video", "--box", "20,30,24,24", "--live", "--out", "new/a"])
    assert stopped.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert errors == ["error: live must not be asked for without a window: there is no display"]
    assert not list(tmp_path.iterdir())


def test_a_display_that_does_not_answer_is_an_error(pygame: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "no-such-driver")
    with pytest.raises(ValueError, match="live must not be asked for without a window: "), live_window(25):
        pass
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame.display.init()
    monkeypatch.delenv("SDL_VIDEODRIVER")
    monkeypatch.setattr(pygame.display, "get_driver", lambda: "offscreen")
    with pytest.raises(ValueError, match="the display does not answer"), live_window(25):
        pass
    assert not pygame.display.get_init()


def test_only_the_window_needs_pygame(video: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    track(script(), video, tmp_path / "a")
    assert (tmp_path / "a" / "video.gif").exists()


def test_only_videos_are_live(pygame: Any, tmp_path: Path, capsys: Any) -> None:
    line = [
        "predict",
        "landmarks3d-chest",
        str(tmp_path),
        "--live",
        "--out",
        str(tmp_path / "a"),
        "--device",
        "cpu",
    ]
    with pytest.raises(SystemExit):
        cli.main(line)
    assert "live must not be asked for with visionrl/LandmarkLocalization3D-v0" in capsys.readouterr().err
