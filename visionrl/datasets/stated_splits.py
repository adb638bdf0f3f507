"""Splits that a data set states itself: by the names of its folders and files, and by lists of names.

A name states a split if one of its words does, in any case, and the others say nothing (set, data, images, ...):
``Train``, ``training``, ``train2017``, ``obj_train_data``, ``valid``, ``Validation``, ``val_set``, ``dev``,
``Testing``. ``trainval`` is train where neither train nor val is there. Where folders differ in that word alone
(``seg_train``, ``seg_test``), the others may say something.

A list is a text file whose name states a split, in the data set's folder, in ``splits``, in ``ImageSets`` or in a
folder in there (``ImageSets/Main/train.txt``). Each line begins with the name of a sample or of its subject, with
or without suffix and folders in front. What no list names is left out. A list of train that names every sample, and
no other list, states nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from visionrl.datasets.splits import SPLITS, is_train_and_val, rest_of, split_of
from visionrl.datasets.text import read_lines


def split_folders(path: Path) -> dict[str, Path]:
    """The folders of a path that are splits: split -> folder.

    Raises:
        ValueError: the path is a file, or two folders state one split.
    """
    if not path.is_dir():
        raise ValueError(f"the path must be a folder, got the file {path}")
    folders = [child for child in sorted(path.iterdir()) if child.is_dir() and child.name[0] != "."]
    alike = _alike(folders)
    stated = [(split_of(child.name, among_others=child in alike), child) for child in folders]
    return _with_both(_one_each(stated, f"{path} must have one folder"), folders)


def _one_each(stated: Sequence[tuple[str, Path]], rule: str) -> dict[str, Path]:
    """Split -> path, of pairs of a split ("" where there is none) and a path.

    Raises:
        ValueError: two paths state one split; ``rule`` begins the message.
    """
    found: dict[str, Path] = {}
    for split, path in stated:
        if split in found:
            raise ValueError(f"{rule} for the split {split!r}, got {found[split]} and {path}")
        if split:
            found[split] = path
    return found


def _with_both(found: dict[str, Path], paths: Sequence[Path]) -> dict[str, Path]:
    """The splits in order; ``trainval`` is train where neither train nor val is there."""
    both = next((one for one in paths if is_train_and_val(one.stem)), None)
    if both and not {"train", "val"} & set(found):
        found = {**found, "train": both}
    return {split: found[split] for split in SPLITS if split in found}


def _alike(folders: Sequence[Path]) -> set[Path]:
    """Folders whose names differ in the split alone, as ``seg_train`` and ``seg_test``; one of them is of train."""
    groups: dict[str, dict[str, Path]] = {}
    for folder in folders:
        split, rest = split_of(folder.name, among_others=True), rest_of(folder.name)
        if split and rest:
            groups.setdefault(rest, {})[split] = folder
    good = [group for group in groups.values() if len(group) > 1 and "train" in group]
    return set(good[0].values()) if len(good) == 1 else set()


def split_lists(path: Path, suffix: str = ".txt") -> dict[str, Path]:
    """The lists in one folder: split -> file.

    Raises:
        ValueError: two files state one split.
    """
    files = sorted(file for file in path.iterdir() if file.suffix.lower() == suffix) if path.is_dir() else []
    stated = [(split_of(file.stem) if file.is_file() and file.name[0] != "." else "", file) for file in files]
    return _with_both(_one_each(stated, f"{path} must have one list"), files)


def listed_splits(path: Path, names: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Splits by the lists of a data set: name of a sample -> split; empty where there is no list.

    Of several folders with lists the one counts that names most of the samples.

    Args:
        path: the folder of the data set.
        names: (name, subject) of its samples.

    Raises:
        ValueError: a list names what is not there, or one sample stands in two.
    """
    inside = path / "ImageSets"
    deeper = sorted(child for child in inside.iterdir() if child.is_dir()) if inside.is_dir() else []
    main = [inside / "Main"] if split_lists(inside / "Main") else [path, path / "splits", inside, *deeper]
    found, errors = [], []
    for lists in filter(None, map(split_lists, main)):
        try:
            found.append(_read_lists(lists, names))
        except ValueError as error:
            errors.append(error)
    if errors and not found:
        raise errors[0]
    best = max(found, key=len, default={})
    return {} if len(best) == len(names) and set(best.values()) == {"train"} else best


def _read_lists(lists: Mapping[str, Path], names: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Name of a sample -> split, by the lists of one folder."""
    known: dict[str, list[str]] = {}
    for name, subject in names:
        for key in {name, subject}:
            known.setdefault(key, []).append(name)
    found: dict[str, str] = {}
    for split, file in lists.items():
        for number, line in read_lines(file):
            for name in match_line(line, known, f"{file}, line {number}"):
                if found.setdefault(name, split) != split:
                    raise ValueError(
                        f"{file}, line {number}: {name!r} must be in one list, it is in that of "
                        f"{found[name]!r}, too"
                    )
    return found


def match_line(line: str, known: Mapping[str, list[str]], where: str) -> list[str]:
    """The samples that a line of a list names.

    Raises:
        ValueError: there is none; ``where`` names file and line.
    """
    for word in (line, re.split(r"[\s,;]", line)[0]):
        parts = PurePosixPath(word.replace("\\", "/")).parts
        tails = ["/".join(parts[j:]) for j in range(len(parts))]
        for text in (*tails, *parts[::-1]):
            for key in (text, str(PurePosixPath(text).with_suffix("")) if text.strip("/.") else text):
                if key in known:
                    return known[key]
    raise ValueError(f"{where}: {line!r:.200} must be a sample of the data set, there is none of that name")
