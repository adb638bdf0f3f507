"""Sequences as the Cell Tracking Challenge lays them out: boxes of masks, identities, bits, and broken ones."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from visionrl.core import batch, make_task
from visionrl.datasets import MotSample, clear_cache, load

HEIGHT, WIDTH = 20, 30
TABLE = "1 0 1 0\n2 2 2 1\n3 2 2 1\n"  # a division in the third frame


def save(file, pixels):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def mask_of(*cells, kind=np.uint16):
    mask = np.zeros((HEIGHT, WIDTH), kind)
    for label, x0, y0, x1, y1 in cells:
        mask[y0:y1, x0:x1] = label
    return mask


MASKS = [[(1, 3, 4, 9, 8)], [(1, 4, 4, 12, 8)], [(2, 3, 4, 7, 9), (3, 9, 2, 14, 7)]]


def dataset(folder, name="01", masks=MASKS, table=TABLE, frame=np.uint8):
    """A sequence whose frame t has the grey 10 t, 4000 t in 16 bit, and darker and brighter columns at the edges."""
    for time, cells in enumerate(masks):
        pixels = np.full((HEIGHT, WIDTH), 10 * time if frame == np.uint8 else 4000 * time + 5000, frame)
        pixels[:, 0], pixels[:, -1] = 0, 20_000 if frame == np.uint16 else 255
        save(folder / name / f"t{time:03d}.tif", pixels)
        save(folder / f"{name}_GT" / "TRA" / f"man_track{time:03d}.tif", mask_of(*cells))
    (folder / f"{name}_GT" / "TRA" / "man_track.txt").write_text(table)
    return folder


def read(path):
    clear_cache()
    return load(f"ctc:{path}", kind=MotSample, split="all")


def test_boxes_are_the_masks_extents_and_daughters_are_new(tmp_path):
    (cells,) = read(dataset(tmp_path))
    assert cells.name == "01"
    assert [ids.tolist() for ids in cells.ids] == [[1], [1], [2, 3]]
    assert [boxes.tolist() for boxes in cells.boxes] == [
        [[3, 4, 9, 8]],
        [[4, 4, 12, 8]],
        [[3, 4, 7, 9], [9, 2, 14, 7]],
    ]
    assert cells.visibility is None
    assert cells.detections is None
    assert [frame[0, 5, 5] for frame in cells.frames] == [0, 10, 20]
    assert cells.frames[0].shape == (1, HEIGHT, WIDTH)


def test_16_bit_goes_by_the_first_frames_line(tmp_path):
    (cells,) = read(dataset(tmp_path, frame=np.uint16))
    first, _, last = cells.frames
    assert first.dtype == np.uint8
    assert (first[0, 0, 0], first[0, 0, -1]) == (0, 255)  # the percentiles of so few pixels are the extremes
    assert first[0, 5, 5] == round(5000 / 20_000 * 255)
    assert last[0, 5, 5] == round(13_000 / 20_000 * 255)
    save(tmp_path / "01" / "t001.tif", np.full((HEIGHT, WIDTH), 60_000, np.uint16))
    (cells,) = read(tmp_path)
    assert (cells.frames[1] == 255).all()


def test_folders_of_three_depths(tmp_path):
    dataset(dataset(tmp_path / "HeLa", "01"), "02")
    dataset(tmp_path / "U373", "01")
    assert [cells.name for cells in read(tmp_path)] == ["HeLa/01", "HeLa/02", "U373/01"]
    assert [cells.name for cells in read(tmp_path / "HeLa")] == ["01", "02"]
    assert [cells.name for cells in read(tmp_path / "HeLa" / "02")] == ["02"]


def test_cells_may_be_away_and_frames_empty(tmp_path):
    (cells,) = read(dataset(tmp_path, masks=[MASKS[0], [], MASKS[0]], table="1 0 2 0\n"))
    assert [len(ids) for ids in cells.ids] == [1, 0, 1]
    assert cells.boxes[1].shape == (0, 4)


@pytest.mark.parametrize("where", ["ST", "GT"])
def test_whole_masks_take_the_place_of_marks(tmp_path, where):
    dataset(tmp_path)
    whole = [
        [(7, 2, 3, 11, 9)],
        [(1, 6, 4, 29, 8)],  # covers 6 of the mark's 8 columns
        [(4, 3, 4, 14, 9)],  # covers both daughters' marks
    ]
    for time, cells in enumerate(whole):
        save(tmp_path / f"01_{where}" / "SEG" / f"man_seg{time:03d}.tif", mask_of(*cells))
    (cells,) = read(tmp_path)
    assert cells.boxes[0].tolist() == [[2, 3, 11, 9]]
    assert cells.boxes[1].tolist() == [[6, 4, 29, 8]]
    assert cells.boxes[2].tolist() == [[3, 4, 7, 9], [9, 2, 14, 7]]
    (tmp_path / f"01_{where}" / "SEG" / "man_seg002.tif").unlink()
    (cells,) = read(tmp_path)  # not one for every frame
    assert cells.boxes[0].tolist() == [[3, 4, 9, 8]]


def test_a_segment_that_covers_half_of_a_mark_is_not_its_cell(tmp_path):
    dataset(tmp_path)
    for time, cells in enumerate([[(1, 6, 4, 20, 8)], [], []]):  # 3 of 6 columns
        save(tmp_path / "01_ST" / "SEG" / f"man_seg{time:03d}.tif", mask_of(*cells))
    assert read(tmp_path)[0].boxes[0].tolist() == [[3, 4, 9, 8]]


TABLES = {
    "man_track.txt, line 2: must hold 4 numbers, got 3": "1 0 1 0\n2 2 2\n",
    "man_track.txt, line 1: must be whole numbers >= 0, the first 1 to 65535": "0 0 1 0\n",
    "man_track.txt, line 3: identities must be once in the file, got 2 2 2 1": TABLE[:16] + "2 2 2 1\n",
    "man_track.txt, line 2: last frame must be >= first, got 2 2 1 1": "1 0 1 0\n2 2 1 1\n3 2 2 1\n",
    "man_track.txt, line 2: the mother must be a cell that ended before frame 2, got 3": TABLE.replace(
        "2 2 2 1", "2 2 2 3"
    ),
    "man_track.txt, line 3: the mother must be a cell that ended before frame 2, got 9": TABLE.replace(
        "3 2 2 1", "3 2 2 9"
    ),
    "man_track.txt, line 1: cell 1 must be in frames 0 to 0 alone, got it in .*man_track001.tif": TABLE.replace(
        "1 0 1", "1 0 0"
    ),
    "man_track.txt, line 4: cell 8 must be in a mask of .*TRA, got none": TABLE + "8 0 2 0\n",
    "mask .*man_track002.tif: every cell must have a line in man_track.txt, got 3 without": TABLE[:16],
    "man_track.txt must have a line a cell, got none": "\n",
}


@pytest.mark.parametrize("words", TABLES)
def test_broken_tables_name_file_and_line(tmp_path, words):
    masks = MASKS if TABLES[words].strip() else [[], [], []]
    dataset(tmp_path, masks=masks, table=TABLES[words])
    with pytest.raises(ValueError, match=words):
        read(tmp_path)


def spoil(folder, how):
    """Breaks one file of a sequence."""
    frame, mask = folder / "01" / "t001.tif", folder / "01_GT" / "TRA" / "man_track001.tif"
    if how == "size":
        save(mask, np.zeros((HEIGHT, WIDTH + 1), np.uint16))
    elif how == "truncated mask":
        mask.write_bytes(mask.read_bytes()[:-100])
    elif how == "truncated frame":
        frame.write_bytes(b"")
    elif how == "bits":
        save(frame, np.zeros((HEIGHT, WIDTH), np.uint16))
    elif how == "frame size":
        save(frame, np.zeros((HEIGHT, WIDTH + 1), np.uint8))
    elif how == "colours":
        save(frame, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    elif how == "volume":
        page = Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8))
        page.save(frame, save_all=True, append_images=[page] * 4)
    elif how == "twice":
        save(folder / "01" / "t0001.tif", np.zeros((HEIGHT, WIDTH), np.uint8))
    else:
        {"no frame": frame, "no mask": mask, "no table": mask.with_name("man_track.txt")}[how].unlink()


SPOILT = {
    "size": r"mask .*man_track001.tif must have the frame's shape \(20, 30\).*, got \(20, 31\)",
    "truncated mask": "mask .*man_track001.tif is truncated or no image",
    "truncated frame": "frame 1: must be readable, got: image file .*t001.tif is truncated or no image",
    "bits": "image file .*t001.tif must have uint8 as the first frame, got uint16",
    "frame size": r"frame 1 \(.*t001.tif\): all frames must have the shape of the first",
    "colours": "image file .*t001.tif must have palette indices or greys, got colours",
    "volume": "image file .*t001.tif must be one picture, got 5",
    "twice": "must be the only one of frame 1, got t0001.tif too",
    "no frame": r"TRA must have one man_track\*.tif a frame of .*01, got 3 for 2 frames: 1 without the other",
    "no mask": r"got 2 for 3 frames: 1 without the other",
    "no table": "man_track.txt must exist",
}


@pytest.mark.parametrize("how", SPOILT)
def test_broken_files_are_named(tmp_path, how):
    spoil(dataset(tmp_path), how)
    with pytest.raises(ValueError, match=SPOILT[how]):
        read(tmp_path)


def test_a_folder_without_sequences_says_what_was_looked_for(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"must be or hold sequences: looked for 01/t000.tif"):
        read(tmp_path)


def test_the_expert_follows_cells(tmp_path):
    masks = [[(1, 3 + 2 * t, 4, 11 + 2 * t, 12)] for t in range(4)]
    dataset(tmp_path, masks=masks, table="1 0 3 0\n")
    args = {"window": 8, "clip": None, "miss_rate": 0.0, "false_positives": 0.0, "jitter": 0.0}
    task = make_task("visionrl/MultiObjectTracking-v0", data=f"ctc:{tmp_path}", split="all", **args)
    state = batch.stack([task.sample(np.random.default_rng(0), 0)])
    while not state.finished[0]:
        state = task.step(state, task.expert(state))
    assert task.metrics(state)["hota"][0] == pytest.approx(1)


def test_a_cell_that_outlives_the_frames_is_refused(tmp_path):
    folder = tmp_path / "a"
    dataset(folder, masks=[[(1, 2, 2, 5, 5)], [(1, 2, 2, 5, 5)]], table="1 0 30 0\n")
    with pytest.raises(
        ValueError, match=r"man_track.txt, line 1: cell 1 must end by the last frame, 1, got 30"
    ):
        read(folder)
