"""Frames of videos, decoded on access, and kept within a stated amount of memory.

``MEMORY_LIMIT`` bytes is the limit unless the variable VISIONRL_FRAME_MEMORY gives another, in MiB.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, overload

import cv2
import numpy as np

from visionrl.datasets.readers.files import list_images, read_image

MEMORY_LIMIT = 1 << 30  # bytes
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

    Frames in order cost one decoding each; a video file that is read out of order costs many, for it decodes from
    the last key frame on. All frames have the size of the first.

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
        """The number of frames; of a file, what its header says."""
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
    """A video file, opened when its first frame is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._capture, self._next = self._open(), 0
        self._count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if self._count < 1:  # the header does not say
            self._count = 0
            while self._capture.grab():
                self._count += 1
            self._capture = self._open()

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> np.ndarray:
        self._seek(index)
        good, frame = self._capture.read()
        if not good:
            raise ValueError(f"{self.name(index)} must be readable, the file ends or is damaged there")
        self._next = index + 1
        return np.ascontiguousarray(frame[..., ::-1].transpose(2, 0, 1))

    def name(self, index: int) -> str:
        return f"{self.path}, frame {index}"

    def _seek(self, index: int) -> None:
        """So that the next frame is ``index``."""
        if not 0 <= index - self._next <= NEAR:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, index)
            self._next = int(self._capture.get(cv2.CAP_PROP_POS_FRAMES))
            if self._next > index:  # a file that can only be read from its start
                self._capture, self._next = self._open(), 0
        while self._next < index and self._capture.grab():
            self._next += 1

    def _open(self) -> Any:
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise ValueError(f"{self.path} must be a folder of pictures or a video that OpenCV can read")
        return capture

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _size(arrays: tuple[np.ndarray, ...]) -> int:
    """Bytes of all."""
    return sum(array.nbytes for array in arrays)
