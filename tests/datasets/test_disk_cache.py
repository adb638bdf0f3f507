"""Embedded samples come from the disk exactly as they are made, and from nowhere else where the disk is of no use."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visionrl.datasets import (
    ClipSample,
    ImageSample,
    MotSample,
    PairSample,
    VideoSample,
    VolumeSample,
    clear_cache,
    disk_cache,
    load,
)

SETS = {
    "coins": ImageSample,
    "cluttered-digits": ImageSample,
    "chest-xray": ImageSample,
    "cutout-videos": VideoSample,
    "cutout-crowds": MotSample,
    "event-films": ClipSample,
    "mni": VolumeSample,
    "scan-pairs": PairSample,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and none in memory."""
    monkeypatch.setenv("VISIONRL_CACHE", str(tmp_path / "cache"))
    clear_cache()
    yield tmp_path / "cache"
    clear_cache()


def fresh(name: str, kind: type = ImageSample, split: str = "val") -> tuple[Any, ...]:
    """The samples, not from memory."""
    clear_cache()
    return load(name, kind=kind, split=split)


def place(folder: Path, name: str, split: str = "val") -> Path:
    """The folder of the one stored version."""
    (found,) = (folder / name / split).iterdir()
    return found


def mapped(array: np.ndarray) -> bool:
    """Whether the pixels lie in a file."""
    base: Any = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    return isinstance(base, np.memmap)


def assert_same(first: Any, second: Any) -> None:
    """Equal in type, bits, and the order in memory."""
    assert type(first) is type(second)
    if isinstance(first, np.ndarray):
        assert (first.dtype, first.shape) == (second.dtype, second.shape)
        assert first.tobytes() == second.tobytes()
        assert first.size < 2 or np.array_equal(np.argsort(first.strides), np.argsort(second.strides))
        assert not first.flags.writeable and not second.flags.writeable
    elif isinstance(first, dict):
        assert list(first) == list(second)
        assert_same(list(first.values()), list(second.values()))
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    elif hasattr(first, "__dataclass_fields__"):
        for field in fields(first):
            assert_same(getattr(first, field.name), getattr(second, field.name))
    else:
        assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_samples_are_the_same_without_the_cache_when_stored_and_when_read(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, read = tuple(fresh(name, SETS[name])), tuple(fresh(name, SETS[name]))
    monkeypatch.setenv("VISIONRL_CACHE", "off")
    made = tuple(fresh(name, SETS[name]))
    assert_same(made, stored)
    assert_same(made, read)


def test_all_is_the_three_splits_and_stores_each_once(folder: Path) -> None:
    together = fresh("coins", split="all")
    assert sorted(path.name for path in (folder / "coins").iterdir()) == ["test", "train", "val"]
    one_by_one = [sample for split in ("train", "val", "test") for sample in fresh("coins", split=split)]
    assert_same(list(together), one_by_one)


def test_a_second_process_reads_what_the_first_has_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mapped(fresh("coins")[0].image)
    monkeypatch.setattr(disk_cache, "_write", lambda *_: pytest.fail("made again"))
    assert mapped(fresh("coins")[0].image)


@pytest.mark.parametrize("file", ["samples.json", "checksum", "arrays.bin"])
@pytest.mark.parametrize("harm", ["cut", "emptied", "missing"])
def test_a_damaged_set_is_made_again(file: str, harm: str, folder: Path) -> None:
    before = [np.array(sample.image) for sample in fresh("coins")]
    clear_cache()
    damaged = place(folder, "coins") / file
    content = damaged.read_bytes()
    damaged.unlink()
    if harm != "missing":
        damaged.write_bytes(content[: len(content) // 2] if harm == "cut" else b"")
    after = fresh("coins")
    assert all((old == new.image).all() for old, new in zip(before, after, strict=True))
    assert (place(folder, "coins") / file).read_bytes() == content


def test_a_changed_text_is_noticed(folder: Path) -> None:
    names = [sample.name for sample in fresh("coins")]
    text = place(folder, "coins") / "samples.json"
    text.write_bytes(text.read_bytes().replace(names[0].encode(), b"x" * len(names[0])))
    assert [sample.name for sample in fresh("coins")] == names


def test_another_version_is_made_anew_and_replaces_the_old(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh("coins")
    old = place(folder, "coins")
    monkeypatch.setattr(disk_cache, "_version", lambda: "another")
    fresh("coins")
    assert place(folder, "coins").name == "another" and not old.exists()


def test_folders_of_processes_that_died_are_removed_and_those_at_work_stay(folder: Path) -> None:
    died, works = (folder / "coins" / "val" / f"{disk_cache.WRITING}{name}" for name in ("died", "works"))
    died.mkdir(parents=True)
    works.mkdir()
    os.utime(died, (0, 0))
    fresh("coins")
    assert works.exists() and not died.exists()


def test_two_processes_may_store_a_set_at_once(folder: Path) -> None:
    program = (
        "import hashlib; from visionrl.datasets import ImageSample, load; "
        "print(hashlib.sha256(b''.join(s.image.tobytes() for s in load('coins', kind=ImageSample))).hexdigest())"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    printed = {process.communicate(timeout=120)[0] for process in running}
    assert len(printed) == 1 and printed != {""}
    assert not list((folder / "coins" / "train").glob(f"{disk_cache.WRITING}*"))


@pytest.mark.parametrize("asked", ["", "off"])
def test_an_empty_variable_or_off_stores_nothing(
    asked: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIONRL_CACHE", asked)
    monkeypatch.chdir(tmp_path)
    image = fresh("coins")[0].image
    assert disk_cache.cache_folder() is None and not mapped(image) and not list(tmp_path.iterdir())


def test_without_the_variable_it_lies_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VISIONRL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert disk_cache.cache_folder() == tmp_path / "visionrl"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert disk_cache.cache_folder() == tmp_path / ".cache" / "visionrl"


def test_a_folder_that_cannot_be_written_is_done_without(folder: Path) -> None:
    folder.write_text("a file where the folder would be")
    assert not mapped(fresh("coins")[0].image)


def test_a_full_disk_is_done_without(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk_cache, "_sync", full)
    assert not mapped(fresh("coins")[0].image)
    assert not list((folder / "coins" / "val").iterdir())


def test_samples_outlive_the_files(folder: Path) -> None:
    samples = fresh("coins")
    shutil.rmtree(folder)
    assert int(samples[0].image.sum()) > 0


def test_what_cannot_be_stored_is_returned_as_it_was_made(folder: Path) -> None:
    lazy = VideoSample(frames=range(3), boxes=np.zeros((3, 4)))  # type: ignore[arg-type]
    (sample,) = disk_cache.stored("lazy", "val", VideoSample, lambda: [lazy])
    assert sample.frames == range(3) and not sample.boxes.flags.writeable
    assert not list((folder / "lazy" / "val").iterdir())
