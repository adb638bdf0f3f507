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


@pytest.mark.parametrize(("channels", "most"), [(1, 2), (3, 6)])
def test_a_film_keeps_greys_and_colours_nearly_as_they_are(channels, most, tmp_path):
    """Smooth pictures: an octree alone puts greys up to 16 levels away."""
    y, x = np.mgrid[:120, :160]
    planes = [x * 255 // 159, y * 255 // 119, (x + y) * 255 // 278][:channels]
    frame = np.stack(planes * (3 // channels), axis=-1).astype(np.uint8)
    with Image.open(write_gif(tmp_path / "film.gif", [frame, frame])) as film:
        shown = np.asarray(film.convert("RGB")).astype(int)
    assert np.abs(shown - frame).mean() < most


def test_words_stay_in_the_picture_and_are_left_out_where_there_is_no_place():
    canvas = Canvas(np.zeros((1, 40, 60), np.uint8), 4)
    bare = canvas.pixels.copy()
    canvas.text("heart", [np.nan, 3])
    np.testing.assert_array_equal(canvas.pixels, bare)
    for at in ([59, 1], [0, 39], [30, 20]):
        canvas = Canvas(np.zeros((1, 40, 60), np.uint8), 4)
        canvas.text("heart", at)
        rows, columns = np.nonzero(canvas.pixels[..., 0])
        whole = Canvas(np.zeros((1, 40, 60), np.uint8), 4)
        whole.text("heart")
        assert len(rows) == np.count_nonzero(whole.pixels[..., 0]), "no letter is cut off"
        assert abs(rows.mean() - 4 * at[1]) < 30 and abs(columns.mean() - 4 * at[0]) < 60


def test_an_empty_film_is_refused(tmp_path):
    with pytest.raises(ValueError, match="frames must not be empty"):
        write_gif(tmp_path / "film.gif", [])
    assert not list(tmp_path.iterdir())
