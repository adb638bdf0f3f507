"""Films of videos in which something was found, written picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.agents.prediction.agent import Prediction
from visionrl.agents.prediction.track_view import draw_tracks
from visionrl.core.results import Summary, Tracks, VideoBoxes
from visionrl.rendering import Canvas, replacing, usual_zoom, write_gif

KINDS = ("gif", "webp", "mp4")
MAX_PICTURES = 150  # of a GIF or WebP, which is held in memory until it is written
LONGEST_SIDE = 480  # of their pictures, pixels


@dataclass(frozen=True)
class FilmOptions:
    """Options of films, and of the live view, of an agent that goes through videos.

    Attributes:
        kind: "gif" or "webp", thinned to 150 pictures of at most 480 pixels; or "mp4", with every frame.
        fps: pictures per second.
        show: shows a frame as it is done and says whether to go on, see ``live_window``; None shows none.
        tell: called after every frame with the number of frames that are done, and of all.
    """

    kind: str = "gif"
    fps: float = 25.0
    show: Any = None
    tell: Callable[[int, int], None] = lambda done, total: None

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: another kind of film, or mp4 without PyAV, or a rate that is out of range.
        """
        if self.kind not in KINDS:
            raise ValueError(f"film must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.kind == "mp4" and not find_spec("av"):
            raise ValueError('film must not be mp4 without PyAV: pip install "visionrl[video]"')
        if not 0 < self.fps <= 1000:
            raise ValueError(f"fps must be in (0, 1000], got {self.fps}")


@dataclass(frozen=True)
class Film:
    """An open film.

    Attributes:
        numbers: of the frames that it shows.
        longest: of a picture's sides, pixels; None is any.
        add: appends a picture, (H, W, 3) uint8 RGB.
    """

    numbers: frozenset[int]
    longest: float | None
    add: Callable[[np.ndarray], None]

    def zoom(self, shape: Sequence[int]) -> float:
        """The zoom, see ``Canvas``, of a frame of (height, width)."""
        usual = usual_zoom(shape)
        return usual if self.longest is None else min(usual, self.longest / max(shape))


@contextmanager
def film_file(path: Path, count: int, fps: float) -> Iterator[Film]:
    """Open the film of a video of ``count`` frames; the file has its name once it is complete."""
    whole = path.suffix.lower() == ".mp4"
    kept = np.linspace(0, count - 1, count if whole else min(count, MAX_PICTURES)).round().astype(int)
    with (mp4_file if whole else pictures_file)(path, fps) as add:
        yield Film(frozenset(kept.tolist()), None if whole else LONGEST_SIDE, add)


def tracks_film(path: Path, prediction: Prediction, options: FilmOptions) -> Path:
    """The film of a video with the tracks that were found in it, or the boxes of each frame."""
    found: Tracks | VideoBoxes = prediction.result  # type: ignore[assignment]
    bank = prediction.task.bank  # type: ignore[attr-defined]
    count = int(bank.lengths[0])
    with film_file(path, count, options.fps) as film:
        for number in sorted(film.numbers):
            here, frame = found.frames == number, bank.image(number)
            names = found.ids[here].tolist() if isinstance(found, Tracks) else [""] * int(here.sum())
            film.add(draw_tracks(frame, names, found.boxes[here], film.zoom(frame.shape[:2])))
    return path


def summary_film(path: Path, prediction: Prediction, options: FilmOptions) -> Path:
    """The skimmed film: the frames of a video that were kept, in order."""
    found: Summary = prediction.result  # type: ignore[assignment]
    with film_file(path, len(found.frames), options.fps) as film:
        for number in sorted(film.numbers):
            frame = np.asarray(prediction.sample.frames[int(found.frames[number])])
            film.add(Canvas(frame, film.zoom(frame.shape[1:])).pixels)
    return path


@contextmanager
def pictures_file(path: Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Open a GIF or WebP, written at the end; yields a function that appends a picture."""
    from PIL import Image

    pictures: list[np.ndarray] = []
    yield pictures.append
    if path.suffix.lower() == ".gif":
        write_gif(path, pictures, fps)
        return
    first, *others = map(Image.fromarray, pictures)
    with replacing(path) as partial:
        first.save(partial, "WEBP", save_all=True, append_images=others, duration=round(1000 / fps), loop=0)


@contextmanager
def mp4_file(path: Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Open an mp4, encoded frame by frame; yields a function that appends a picture."""
    from fractions import Fraction

    import av

    with replacing(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.pix_fmt = "yuv420p"

        def add(picture: np.ndarray) -> None:
            height, width = (side // 2 * 2 for side in picture.shape[:2])  # as the format asks
            if not stream.codec_context.is_open:
                stream.height, stream.width = height, width
            even = np.ascontiguousarray(picture[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))

        yield add
        container.mux(stream.encode())
