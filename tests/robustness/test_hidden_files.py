"""What systems and tools leave in folders is no part of a data set: hidden files and folders, the copies of macOS."""

import shutil
from pathlib import Path

import pytest
from small_sets import SETS
from test_fuzz import KINDS, data_of

from visionrl.datasets import clear_cache, load


def names(name: str, folder: Path) -> list[str]:
    """The names of the samples of a set."""
    clear_cache()
    return [sample.name for sample in load(data_of(name, folder), kind=KINDS[name], split="all")]


@pytest.mark.parametrize("name", sorted(SETS))
def test_hidden_files_and_folders_are_left_out(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    SETS[name](folder)
    before, files = names(name, folder), [file for file in folder.rglob("*") if file.is_file()]
    for file in files:
        place = folder / "__MACOSX" / file.relative_to(folder).parent
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
        (place / f"._{file.name}").write_bytes(b"\0\5\x16\7" * 20)
        (file.parent / f"._{file.name}").write_bytes(b"\0\5\x16\7" * 20)
        checkpoints = file.parent / ".ipynb_checkpoints"
        checkpoints.mkdir(exist_ok=True)
        shutil.copy(file, checkpoints / f"{file.stem}-checkpoint{file.suffix}")
    assert names(name, folder) == before
