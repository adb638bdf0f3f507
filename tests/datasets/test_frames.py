"""Frames that are decoded when looked at, within a limit of memory."""

from __future__ import annotations

import os
import pickle
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest

from visionrl import ops
from visionrl.banks.videos import FrameBank, LazyPyramid, VideoBank, bridged, video_bank
from visionrl.datasets import VideoSample, clear_cache, load
from visionrl.datasets.frames import MEMORY_LIMIT, Recent, VideoFrames, memory_limit

MIB = 1 << 20


def resident():
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Made:
    """Frames that are made when asked for, and count how many bytes of them live and how often they were made."""

    def __init__(self, count, shape=(3, 48, 64)):
        self.count, self.shape, self.live, self.peak, self.made = count, shape, 0, 0, 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if not 0 <= index < self.count:
            raise IndexError(index)
        frame = np.full(self.shape, index % 256, np.uint8)
        self.made += 1
        self.live += frame.nbytes
        self.peak = max(self.peak, self.live)
        weakref.finalize(frame, self.dropped, frame.nbytes)
        return frame

    def dropped(self, size):
        self.live -= size


@pytest.fixture
def film(tmp_path):
    """A file of 150 frames, each of one grey that tells its number."""
    writer = cv2.VideoWriter(str(tmp_path / "film.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (64, 48))
    for number in range(150):
        writer.write(np.full((48, 64, 3), 20 + number, np.uint8))
    writer.release()
    return tmp_path / "film.mp4"


@pytest.fixture
def pictures(tmp_path):
    """A folder of 12 pictures."""
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((20, 30, 3), (0, number, 200), np.uint8))
    return tmp_path


def test_the_limit_is_an_environment_variable_in_mib(monkeypatch):
    assert memory_limit() == MEMORY_LIMIT
    monkeypatch.setenv("VISIONRL_FRAME_MEMORY", "3")
    assert memory_limit() == 3 * MIB
    for wrong in ("", "0", "-1", "1.5", "1G"):
        monkeypatch.setenv("VISIONRL_FRAME_MEMORY", wrong)
        with pytest.raises(ValueError, match="VISIONRL_FRAME_MEMORY must be a whole number of MiB >= 1"):
            memory_limit()


def test_what_was_not_used_for_longest_goes_first():
    made = []
    recent = Recent(lambda n: (made.append(n), (np.zeros(10, np.uint8),))[1], 30)
    for number in (0, 1, 2, 0, 3, 0, 1):
        recent[number]
        assert recent.bytes <= 30
    assert made == [0, 1, 2, 3, 1]
    assert (
        Recent(lambda n: (np.zeros(10, np.uint8),), 1)[5][0].size == 10
    )  # one is kept though it does not fit


def test_frames_of_a_file_are_the_same_in_any_order(film):
    frames = VideoFrames(film, memory=1)
    assert (len(frames), frames[0].shape, frames[0].dtype) == (150, (3, 48, 64), np.uint8)
    said = [int(np.rint(frame.mean())) - 20 for frame in frames]
    offset = np.array(said) - np.arange(150)  # the codec shifts the greys a little
    assert np.abs(offset - np.median(offset)).max() <= 1
    order = np.random.default_rng(0).permutation(150)
    assert [int(np.rint(frames[number].mean())) - 20 for number in order] == [said[n] for n in order]
    assert frames[-1].mean() == frames[149].mean()
    assert len(frames[2:7]) == 5
    with pytest.raises(IndexError):
        frames[150]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(frames))[7], frames[7])


def test_a_folder_of_pictures_is_a_video(pictures):
    frames = VideoFrames(pictures, memory=4 * 3 * 20 * 30)
    assert [int(frame[1].max()) for frame in frames] == list(range(12))
    assert frames[3][0].min() == 200  # RGB
    assert frames._recent.bytes == 4 * 3 * 20 * 30
    with pytest.raises(ValueError, match="read-only"):
        frames[3][:] = 0


def test_bad_videos_are_named(tmp_path, pictures):
    with pytest.raises(ValueError, match=r"the video must exist, got '.*none.mp4'"):
        VideoFrames(tmp_path / "none.mp4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"a video must have one frame or more, got 0 in .*empty"):
        VideoFrames(tmp_path / "empty")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"text.mp4 must be a folder of pictures or a video"):
        VideoFrames(tmp_path / "text.mp4")
    cv2.imwrite(str(pictures / "5.png"), np.zeros((20, 31, 3), np.uint8))
    frames = VideoFrames(pictures)
    with pytest.raises(
        ValueError, match=r"5.png: all frames must have the shape of the first, \(3, 20, 30\)"
    ):
        frames[5]
    (pictures / "5.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"5.png is truncated"):
        frames[5]


def test_a_damaged_file_is_named_where_it_ends(tmp_path):
    path = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for _ in range(40):
        writer.write(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = VideoFrames(path)
    with pytest.raises(
        ValueError, match=r"a.avi, frame \d+ must be readable, the file ends or is damaged there"
    ):
        for frame in frames:
            frame.max()


@pytest.fixture
def banks():
    """The same videos held whole, and held ten frames at a time."""
    rng = np.random.default_rng(1)
    shapes = ((9, 1, 60, 90), (30, 3, 64, 70), (5, 3, 41, 97))
    videos = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    return FrameBank(videos, 16), FrameBank(videos, 16, memory=10 * 64 * 97 * 3)


def test_frames_held_in_part_look_like_frames_held_whole(banks):
    eager, lazy = banks
    assert isinstance(lazy.pyramid, LazyPyramid)
    assert not isinstance(eager.pyramid, LazyPyramid)
    rng = np.random.default_rng(2)
    for rows in (1, 7, 100):  # the last goes through several threads
        frame, corner = rng.integers(0, 44, rows), rng.uniform(-20, 60, (rows, 2))
        box = np.concatenate([corner, corner + rng.uniform(3, 90, (rows, 2))], axis=1)
        np.testing.assert_array_equal(
            ops.resize(lazy.pyramid, frame, box, 16), ops.resize(eager.pyramid, frame, box, 16)
        )
    for number in range(44):
        np.testing.assert_array_equal(lazy.image(number), eager.image(number))
    assert lazy.pyramid.recent.bytes <= lazy.pyramid.recent.limit
    again = pickle.loads(pickle.dumps(lazy))
    np.testing.assert_array_equal(again.image(11), eager.image(11))


def test_frames_held_in_part_serve_torch_on_the_cpu_alone(banks):
    torch = pytest.importorskip("torch")
    eager, lazy = banks
    frame, box = torch.tensor([3, 40]), torch.tensor([[1.0, 2, 30, 40], [-5, 3, 20, 30]], dtype=torch.float64)
    assert torch.equal(ops.resize(lazy.pyramid, frame, box, 16), ops.resize(eager.pyramid, frame, box, 16))
    with pytest.raises(ValueError, match=r"44 frames are more than 0.17\d+ MiB and stay on the CPU"):
        ops.resize(lazy.pyramid, frame.to("meta"), box.to("meta"), 16)


@pytest.mark.slow
def test_ten_thousand_frames_stay_within_the_limit():
    frames, limit = Made(10_000), 16 * MIB  # 122 MiB with their halvings
    before = resident()
    bank = FrameBank([frames], 16, memory=limit)
    rng, most = np.random.default_rng(0), 0
    for number in [*range(10_000), *rng.integers(0, 10_000, 500)]:
        box = np.array([[5.0, 5, 40, 40]])
        seen = ops.resize(bank.pyramid, np.array([number]), box, 16)
        most = max(most, resident() - before if number % 10 == 0 else 0)
        assert bank.pyramid.recent.bytes <= limit
    assert seen.shape == (1, 3, 16, 16)
    assert most < limit + 8 * MIB
    assert frames.peak <= 4 * 3 * 48 * 64  # what the decoder gives is not kept beside


def test_frames_looked_at_again_are_not_decoded_again():
    frames = Made(1000)
    bank = FrameBank([frames], 16, memory=4 * MIB)
    for _ in range(5):
        for number in range(100, 120):
            bank.image(number)
    assert frames.made == 21  # and the first, for its size


@pytest.mark.slow
def test_a_video_of_ten_thousand_files_stays_within_the_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("VISIONRL_FRAME_MEMORY", "16")
    images = tmp_path / "Long" / "img"
    images.mkdir(parents=True)
    for number in range(10_000):
        if number < 10:
            cv2.imwrite(str(images / f"{number}.jpg"), np.full((48, 64, 3), 20 * number, np.uint8))
        else:
            os.link(images / f"{number % 10}.jpg", images / f"{number}.jpg")
    (tmp_path / "Long" / "groundtruth_rect.txt").write_text("10,10,20,20\n" * 10_000)
    before = resident()
    (video,) = load(f"otb:{tmp_path}", kind=VideoSample, split="all")
    bank = video_bank([video], 16)
    peak = 0
    for number in range(0, 10_000, 19):
        assert abs(int(bank.image(number)[20, 20, 0]) - 20 * (number % 10)) < 4
        peak = max(peak, resident() - before)
    assert peak < 24 * MIB
    clear_cache()


def test_boxes_are_bridged_over_gaps():
    nan = [np.nan] * 4
    boxes = np.array([[0, 0, 10, 10], nan, nan, [6, 3, 16, 13], nan, [7, 3, 17, 13], nan], float)
    wanted = [0, 2, 4, 6, 6.5, 7, 7]
    np.testing.assert_allclose(bridged(boxes)[:, 0], wanted)
    bank = VideoBank([VideoSample(np.zeros((7, 1, 20, 30), np.uint8), boxes)], 8)
    np.testing.assert_allclose(bank.boxes.array[:, 0], wanted)
    assert bank.seen.array.tolist() == [True, False, False, True, False, True, False]


def moving(path, code, count=40):
    """A video in which every frame differs, or None where there is no encoder; and its frames, decoded in order."""
    rng = np.random.default_rng(0)
    back = cv2.GaussianBlur(rng.integers(0, 255, (96, 128, 3)).astype(np.uint8), (0, 0), 5)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*code), 25, (128, 96))
    if not writer.isOpened():
        pytest.skip(f"no encoder {code}")
    for k in range(count):
        frame = back.copy()
        frame[30:50, 2 * k : 2 * k + 20] = 255
        writer.write(frame)
    writer.release()
    capture, frames = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), []
    while True:
        good, frame = capture.read()
        if not good:
            return frames
        frames.append(frame[..., ::-1].transpose(2, 0, 1))


KINDS = [
    ("a.avi", "MJPG"),
    ("a.mp4", "mp4v"),
    ("a.mpg", "MPG2"),
    ("a.ts", "MPG2"),
    ("a.mkv", "MJPG"),
    ("a.flv", "FLV1"),
]
ORDERS = {
    "in order": range(40),
    "again": [0, 1, 2, 0, 39, 0, 5],
    "backwards": [39, 20, 10, 0],
    "jumps": [30, 3, 25, 1],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("name", "code"), KINDS)
def test_frames_are_those_of_decoding_whatever_the_order(tmp_path, name, code, order):
    true = moving(tmp_path / name, code)
    frames = VideoFrames(tmp_path / name, memory=1)
    assert len(frames) == len(true)
    for k in ORDERS[order]:
        np.testing.assert_array_equal(frames[k], true[k], err_msg=f"frame {k}")


def test_a_header_that_claims_more_frames_than_there_are_is_found_out(tmp_path):
    path = tmp_path / "a.avi"
    true = moving(path, "MJPG")
    content = bytearray(path.read_bytes())
    for tag, offset in ((b"avih", 24), (b"strh", 40)):
        at = content.find(tag) + offset
        content[at : at + 4] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    frames = VideoFrames(path)
    np.testing.assert_array_equal(frames[39], true[39])
    with pytest.raises(
        ValueError, match=r"a.avi, frame 40 must be readable, the file ends or is damaged there"
    ):
        frames[40]


@pytest.mark.parametrize(
    "text", ["#EXTM3U\nb.ts\n", "ffconcat version 1.0\nfile b.mp4\n", "<?xml version='1.0'?><MPD/>", "v=0\n"]
)
def test_a_list_of_videos_is_no_video(tmp_path, text):
    (tmp_path / "a.mp4").write_text(text)
    with pytest.raises(ValueError, match=r"a.mp4 must be a video, not a list of videos"):
        VideoFrames(tmp_path / "a.mp4")
