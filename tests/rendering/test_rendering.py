"""Pictures and films."""

import numpy as np
import pytest
from PIL import Image

from visionrl.rendering import PALETTE, Canvas, write_gif


def test_a_mark_lies_where_it_is_put_and_keeps_its_colour_in_the_film(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (1, 100, 120), dtype=np.uint8)
    canvas = Canvas(grey)
    canvas.box([10, 20, 40, 60], "agent")
    assert canvas.zoom == 4
    assert canvas.pixels.shape == (400, 480, 3)
    marked = np.argwhere((canvas.pixels == PALETTE["agent"]).all(-1))
    assert np.abs(marked.min(0) - [80, 40]).max() <= 1
    assert np.abs(marked.max(0) - [239, 159]).max() <= 1
    path = write_gif(tmp_path / "film.gif", [canvas.pixels, Canvas(grey).pixels])
    with Image.open(path) as film:
        assert film.n_frames == 2
        first = np.asarray(film.convert("RGB"))
    at = marked[len(marked) // 2]
    assert np.abs(first[tuple(at)].astype(int) - PALETTE["agent"]).max() <= 2


def test_an_empty_film_is_refused(tmp_path):
    with pytest.raises(ValueError, match="frames must not be empty"):
        write_gif(tmp_path / "film.gif", [])
    assert not list(tmp_path.iterdir())
