"""Banks of embedded sets are written once on a machine, and mapped by every process that wants the same."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from visionrl.banks import patches
from visionrl.banks.images import image_bank
from visionrl.banks.patches import patch_bank
from visionrl.datasets import ImageSample, clear_cache, disk_cache, load
from visionrl.ops import like

WORKERS = """
import multiprocessing
import visionrl
from stable_baselines3.common.vec_env import SubprocVecEnv
import gymnasium

def make():
    return gymnasium.make("visionrl/Detection-v0")

def private(pid):
    lines = open(f"/proc/{pid}/smaps_rollup").read().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))) / 1024

if __name__ == "__main__":
    for _ in range(2):  # the first fills the cache
        workers = SubprocVecEnv([make] * 2)
        workers.reset()
        print(max(private(worker.pid) for worker in workers.processes))
        workers.close()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache that takes blocks of any size, and no bank in memory."""
    monkeypatch.setenv("VISIONRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(disk_cache, "SMALLEST", 1)
    forget()
    yield tmp_path / "cache"
    forget()


def forget() -> None:
    """Forget all samples and banks of this process."""
    clear_cache()
    patches._BANKS.clear()


def fresh(**how: Any) -> Any:
    """The bank of coins, not from memory."""
    forget()
    return image_bank(load("coins", kind=ImageSample, split="val"), **{"window": 16, **how})


def blocks(folder: Path) -> list[Path]:
    """The stored blocks."""
    return sorted((folder / "coins" / "blocks").glob("*"))


def test_a_bank_is_the_same_without_the_cache_when_stored_and_when_mapped(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, mapped = fresh(), fresh()
    monkeypatch.setenv("VISIONRL_CACHE", "off")
    made = fresh()
    assert len(blocks(folder)) == 1
    assert made.pyramid.pixels.array.tobytes() == stored.pyramid.pixels.array.tobytes()
    assert made.pyramid.pixels.array.tobytes() == mapped.pyramid.pixels.array.tobytes()
    assert made.pyramid.pixels.array.flags.writeable and not mapped.pyramid.pixels.array.flags.writeable


def test_other_arguments_other_splits_and_other_banks_have_blocks_of_their_own(folder: Path) -> None:
    fresh()
    fresh(window=64)
    forget()
    patch_bank(load("coins", kind=ImageSample, split="val"), 16, (1, 2))
    patch_bank(load("coins", kind=ImageSample, split="test"), 16, (1, 2))
    assert len(blocks(folder)) == 4


def test_only_the_newest_blocks_of_all_sets_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh(longest=60)
    size = blocks(folder)[0].stat().st_size
    oldest = folder / "another-set" / "blocks" / "block.bin"
    oldest.parent.mkdir(parents=True)
    oldest.write_bytes(bytes(size))
    os.utime(oldest, (1, 1))
    monkeypatch.setattr(disk_cache, "BLOCKS", 3 * size)
    fresh(longest=59)
    assert oldest.exists() and len(blocks(folder)) == 2
    fresh(longest=58)
    assert not oldest.exists() and len(blocks(folder)) == 3
    fresh(longest=60)  # used last from now on
    for longest in (57, 56):
        fresh(longest=longest)
    assert len(blocks(folder)) == 3
    assert size in [file.stat().st_size for file in blocks(folder)]


def test_a_block_above_the_limit_stays_until_the_next(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_cache, "BLOCKS", 1)
    fresh()
    (before,) = blocks(folder)
    fresh(window=64)
    (after,) = blocks(folder)
    assert before != after


def test_nothing_is_stored_where_little_of_the_disk_is_free(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_cache, "RESERVE", 1 << 62)
    assert fresh().pyramid.pixels.array.any()
    assert not [file for file in folder.rglob("*") if file.is_file()]


@pytest.mark.parametrize("harm", [b"", b"short"])
def test_a_block_of_another_length_is_made_again(harm: bytes, folder: Path) -> None:
    before = fresh().pyramid.pixels.array.tobytes()
    blocks(folder)[0].write_bytes(harm)
    assert fresh().pyramid.pixels.array.tobytes() == before
    assert blocks(folder)[0].stat().st_size == len(before)


def test_a_full_disk_is_done_without(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Any) -> None:
        raise OSError(28, "No space left on device")

    fresh()  # stores the samples
    blocks(folder)[0].unlink()
    monkeypatch.setattr(disk_cache, "_sync", full)
    assert fresh().pyramid.pixels.array.any()
    assert blocks(folder) == []


def test_samples_of_the_user_are_not_stored(folder: Path) -> None:
    forget()
    image_bank([ImageSample(np.ones((1, 64, 64), np.uint8), boxes=np.array([[1.0, 1, 9, 9]]))], 16)
    assert not folder.exists()


def test_a_mapped_block_is_lent_to_torch_without_a_warning(folder: Path) -> None:
    fresh()
    pixels = fresh().pyramid.pixels.array
    assert torch.equal(like(pixels, torch.zeros(1)), torch.tensor(pixels.copy()))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is told by Linux")
def test_workers_of_stable_baselines3_hold_little_of_their_own(tmp_path: Path) -> None:
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    command = [sys.executable, str(script)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert float(lines[-1]) < 100  # MiB; torch alone takes 260, the bank 95
