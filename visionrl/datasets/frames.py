"""Frames of videos, decoded on access, and kept within a stated amount of memory.

``MEMORY_LIMIT`` bytes is the limit unless the variable VISIONRL_FRAME_MEMORY gives another, in MiB.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any, overload

import cv2
import numpy as np

from visionrl.datasets.guard import decoding
from visionrl.datasets.limits import check_image_size
from visionrl.datasets.readers.files import list_images, read_image

MEMORY_LIMIT = 1 << 30  # bytes
EXACT = (".avi", ".mp4", ".mov", ".m4v")  # containers whose header counts the frames; others estimate
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
SLACK = 2  # frames that a whole file may lack
PLAYLISTS = (b"#extm3u", b"ffconcat", b"<?xml", b"<mpd", b"v=0", b"[playlist]")
NEAR = 64  # frames that are passed one by one rather than by a jump to a key frame


def memory_limit() -> int:
    """Limit of the memory for decoded frames, in bytes.

    Raises:
        ValueError: VISIONRL_FRAME_MEMORY is no whole number of MiB, 1 or more.
    """
    asked = os.environ.get("VISIONRL_FRAME_MEMORY")
    if asked is None:
        return MEMORY_LIMIT
    if not asked.isdigit() or not int(asked):
        raise ValueError(f"VISIONRL_FRAME_MEMORY must be a whole number of MiB >= 1, got {asked!r}")
    return int(asked) << 20


class Recent:
    """Cache of the arrays read last, up to a number of bytes; the newest is kept in any case.

    Args:
        read: number -> arrays; called by one thread at a time.
        limit: bytes.

    Attributes:
        bytes: of all arrays in the cache.
    """

    def __init__(self, read: Callable[[int], tuple[np.ndarray, ...]], limit: int) -> None:
        self.read, self.limit, self.bytes = read, limit, 0
        self._held: OrderedDict[int, tuple[np.ndarray, ...]] = OrderedDict()
        self._lock = Lock()

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        with self._lock:
            if index not in self._held:
                self._keep(index, self.read(index))
            self._held.move_to_end(index)
            return self._held[index]

    def _keep(self, index: int, arrays: tuple[np.ndarray, ...]) -> None:
        self._held[index] = arrays
        self.bytes += _size(arrays)
        while self.bytes > self.limit and len(self._held) > 1:
            self.bytes -= _size(self._held.popitem(last=False)[1])

    def __getstate__(self) -> dict[str, Any]:
        return {"read": self.read, "limit": self.limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class VideoFrames(Sequence[np.ndarray]):
    """The frames of a video file, or of a folder of images in order of their numbers: (C, H, W) uint8, RGB or grey.

    A video file is decoded once when it is opened, to count its frames. Frames in order cost one decoding each; a file
    that is read out of order costs many, for it decodes from the last key frame on, or from its start. All frames have
    the size of the first.

    Args:
        path: a folder of images, or any file that OpenCV's FFmpeg reads (mp4, avi, webm, ...).
        memory: bytes of decoded frames to keep; None is ``memory_limit()``.

    Raises:
        ValueError: there is nothing at the path, or it is no video, or a video without a frame.
    """

    def __init__(self, path: str | Path, memory: int | None = None) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise ValueError(f"the video must exist, got {str(path)!r}")
        self._source: _Pictures | _File = (_Pictures if self.path.is_dir() else _File)(self.path)
        if not len(self._source):
            raise ValueError(f"a video must have one frame or more, got 0 in {self.path}")
        self._recent = Recent(self._read, memory_limit() if memory is None else memory)
        self._shape: tuple[int, ...] | None = None

    def __len__(self) -> int:
        """The number of frames; of a file, those that can be decoded, or those that it has lost, too."""
        return len(self._source)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        """One frame, read-only.

        Raises:
            IndexError: there is no such frame.
            ValueError: it cannot be read, or is not of the first one's size.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return self._recent[range(len(self))[index]][0]

    def _read(self, index: int) -> tuple[np.ndarray, ...]:
        frame = self._source.read(index)
        self._shape = self._shape or (frame if index == 0 else self._source.read(0)).shape
        if frame.shape != self._shape:
            raise ValueError(
                f"{self._source.name(index)}: all frames must have the shape of the first, {self._shape}, "
                f"got {frame.shape}"
            )
        frame.flags.writeable = False
        return (frame,)


def open_frames(path: Path) -> tuple[VideoFrames, float | None]:
    """The frames of a video file or a folder of pictures, and frames per second; None where nothing says how many.

    Raises:
        ValueError: see ``VideoFrames``.
    """
    frames = VideoFrames(path, memory=1)  # the newest frame alone is kept: banks hold what is looked at
    if path.is_dir():
        return frames, None
    fps = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FPS)
    return frames, float(fps) if 0 < fps <= 1000 else None


class _Pictures:
    """A folder of images."""

    def __init__(self, path: Path) -> None:
        self.files = list_images(path)

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> np.ndarray:
        return read_image(self.files[index])

    def name(self, index: int) -> str:
        return str(self.files[index])


class _File:
    """A video file; decoded once when it is opened, to count its frames and to know the time of each.

    A jump is believed only where the frame that is reached has the time of the one that was asked for: in some
    containers (MPEG programme and transport streams) a jump ends elsewhere. Otherwise frames are passed one by one,
    from the start if need be. The number of frames in the header counts only where it is exact and says that the file
    has lost some: then the first that is lost cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _refuse_playlist(path)
        self._capture, self._next, self._jumps = self._open(), 0, True
        times = []
        with decoding(path, "must be a video that OpenCV can read"):
            while self._capture.grab():
                times.append(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        self._times, said = times, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        lost = path.suffix.lower() in EXACT and said > len(times) + max(SLACK, len(times) // 50)
        self._count = said if lost and times else len(times)  # what is lost is named when it is read
        self._jumps = all(first < second for first, second in pairwise(times))
        self._capture = self._open()

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> np.ndarray:
        with decoding(self.name(index)):
            self._seek(index)
            good, frame = self._capture.retrieve()
            if not good:
                raise ValueError(f"{self.name(index)} must be readable, the file ends or is damaged there")
            return np.ascontiguousarray(frame[..., ::-1].transpose(2, 0, 1))

    def name(self, index: int) -> str:
        return f"{self.path}, frame {index}"

    def _seek(self, index: int) -> None:
        """So that the frame that was grabbed last is ``index``."""
        if index >= len(self._times):
            raise ValueError(f"{self.name(index)} must be readable, the file ends or is damaged there")
        near = 0 <= index - self._next <= NEAR
        if not near and not (self._jumps and self._jump(index)) and index < self._next:
            self._capture, self._next = self._open(), 0
        while self._next <= index:
            if not self._capture.grab():
                raise ValueError(f"{self.name(index)} must be readable, the file ends or is damaged there")
            self._next += 1

    def _jump(self, index: int) -> bool:
        """True if a jump to a frame reached it; else the file is where it cannot be read on, and opened anew."""
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        if self._capture.grab() and self._capture.get(cv2.CAP_PROP_POS_MSEC) == self._times[index]:
            self._next = index + 1
            return True
        self._jumps = False
        self._capture, self._next = self._open(), 0
        return False

    def _open(self) -> Any:
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise ValueError(f"{self.path} must be a folder of pictures or a video that OpenCV can read")
        width, height = (
            int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        check_image_size(self.path, width, height, 3)
        return capture

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _refuse_playlist(path: Path) -> None:
    """Refuses text that names other files or addresses as a video."""
    with path.open("rb") as stream:
        head = stream.read(64).lstrip(b"\xef\xbb\xbf \r\n\t")
    if head.lower().startswith(PLAYLISTS):
        raise ValueError(f"{path} must be a video, not a list of videos")


def _size(arrays: tuple[np.ndarray, ...]) -> int:
    """Bytes of all."""
    return sum(array.nbytes for array in arrays)
