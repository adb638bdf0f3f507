"""Output files of tracking in a video: a table of boxes, and a film."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from visionrl.agents.prediction.track_view import FrameView, draw_view
from visionrl.rendering import replacing, usual_zoom

MOST_PICTURES = 150  # of a GIF or WebP, which is held in memory until it is written
LONGEST_SIDE = 480  # of their pictures, pixels


@contextmanager
def boxes_file(path: Path) -> Iterator[Callable[[int, np.ndarray], None]]:
    """Open a CSV file of boxes; yields a function that appends one line per frame."""
    with replacing(path) as partial, partial.open("w") as file:
        file.write("frame,x,y,w,h\n")

        def write(number: int, edges: np.ndarray) -> None:
            x0, y0, x1, y1 = edges.tolist()
            file.write(f"{number},{x0:.3f},{y0:.3f},{x1 - x0:.3f},{y1 - y0:.3f}\n")

        yield write


@contextmanager
def film_file(path: Path, count: int, fps: float) -> Iterator[Callable[[np.ndarray, FrameView], None]]:
    """Open a film of ``count`` frames; yields a function that draws a view on a frame, (H, W, C), and appends it."""
    whole = path.suffix.lower() == ".mp4"
    kept = (
        np.linspace(0, count - 1, count if whole else min(count, MOST_PICTURES)).round().astype(int).tolist()
    )
    wanted = set(kept)
    with (mp4_file if whole else pictures_file)(path, fps) as add:

        def draw(image: np.ndarray, looked: FrameView) -> None:
            if looked.number in wanted:
                usual = usual_zoom(image.shape[:2])
                add(
                    draw_view(
                        image, looked, usual if whole else min(usual, LONGEST_SIDE / max(image.shape[:2]))
                    )
                )

        yield draw


@contextmanager
def pictures_file(path: Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Open a GIF or WebP, written at the end; yields a function that appends a picture."""
    from PIL import Image

    from visionrl.rendering import write_gif

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
