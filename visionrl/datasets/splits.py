"""Assignment of samples to train, val and test.

Splits are by subject: all samples of one subject lie in one split, whatever the order
of the files, the operating system or the process; only the set of subjects, the ratios and the seed matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visionrl.datasets.text import read_json, read_rows

SPLITS = ("train", "val", "test")
DEFAULT_RATIOS = (0.6, 0.2, 0.2)
DEFAULT_SEED = 0

WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainset", "minitrain"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "valset"), "val"),
    **dict.fromkeys(("dev", "development", "devset", "eval", "evaluation", "minival"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "testset"), "test"),
}
NEUTRAL = {
    *("set", "sets", "data", "dataset", "split", "list", "files", "obj", "subset", "part", "folder"),
    *(
        "image",
        "images",
        "img",
        "imgs",
        "pictures",
        "photos",
        "instances",
        "frames",
        "sequences",
        "seq",
        "videos",
    ),
}


@dataclass(frozen=True)
class SplitRule:
    """Split to use, and the rule that cuts a data set without splits of its own.

    Attributes:
        split: "train", "val", "test", or "all" for the whole set.
        file: path of a JSON or CSV split file (``read_split_file``); it takes the place of ratios and seed.
        ratios: shares of the subjects for train, val and test.
        seed: seed of the shuffle of the subjects; None cuts them in sorted order.
    """

    split: str = "train"
    file: str | None = None
    ratios: tuple[float, ...] = DEFAULT_RATIOS
    seed: int | None = DEFAULT_SEED

    def __post_init__(self) -> None:
        """Refuses an unknown split and ratios that are no shares."""
        if self.split not in (*SPLITS, "all"):
            raise ValueError(f'split must be "train", "val", "test" or "all", got {self.split!r}')
        shares = np.asarray(self.ratios, dtype=float)
        if shares.shape != (3,) or not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-6:
            raise ValueError(f"split_ratios must be three shares >= 0 that sum to 1, got {self.ratios}")
        if self.file is not None and not self.has_default_cut:
            raise ValueError(
                "split_file takes the place of split_ratios and split_seed: give one or the others"
            )

    @property
    def has_default_cut(self) -> bool:
        """True if ratios and seed are the defaults."""
        return self.ratios == DEFAULT_RATIOS and self.seed == DEFAULT_SEED

    @property
    def given(self) -> bool:
        """True if a split file, ratios or a seed were given."""
        return self.file is not None or not self.has_default_cut

    def refuse_cut(self, why: str) -> None:
        """Raises a ValueError where a split file, ratios or a seed were given but are not used."""
        if self.given:
            raise ValueError(f"{why}: leave split_file, split_ratios and split_seed out")


def check_split(split: str) -> str:
    """The split, if it is one.

    Raises:
        ValueError: it is not.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    return split


def split_of(name: str, among_others: bool = False) -> str:
    """The split that a name states, or nothing: ``"Validation"`` and ``"obj_valid_data"`` are ``"val"``.

    Args:
        name: of a folder or a file, without suffix.
        among_others: other words may stand beside it, as in ``instances_train2017``.
    """
    found = {WORDS[word] for word in _words(name) if word in WORDS}
    return found.pop() if len(found) == 1 and (among_others or not rest_of(name)) else ""


def is_train_and_val(name: str) -> bool:
    """True if a name states train and val at once, as ``"trainval"``, ``"train_val"`` and ``"TrainVal2012"``."""
    words = [word for word in _words(name) if word not in NEUTRAL]
    return "".join(words) in ("trainval", "trainvalid")


def rest_of(name: str) -> str:
    """The rest of a name beside a split, such as ``"seg"`` of ``"seg_train"``."""
    return " ".join(word for word in _words(name) if word not in WORDS and word not in NEUTRAL)


def _words(name: str) -> list[str]:
    """The words of a name, in small letters."""
    return re.findall("[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def split_subjects(
    subjects: Iterable[str], ratios: Sequence[float] = DEFAULT_RATIOS, seed: int | None = DEFAULT_SEED
) -> dict[str, str]:
    """The split of each subject, by ratios.

    The distinct subjects are sorted, shuffled by the seed (None: not shuffled) and cut. The counts are the
    ratios times the number of subjects by the method of largest remainders; then a split with a ratio above 0
    that came out empty takes one subject from the largest split, while that one has two or more.

    Args:
        subjects: any order, repeats allowed.
        ratios: shares of train, val and test, summing to 1.
        seed: of ``np.random.default_rng``.
    """
    names = sorted(set(subjects))
    order = np.arange(len(names)) if seed is None else np.random.default_rng(seed).permutation(len(names))
    which = np.repeat(SPLITS, _counts(len(names), ratios))
    return {names[j]: str(split) for j, split in zip(order, which, strict=True)}


def _counts(total: int, ratios: Sequence[float]) -> list[int]:
    """Number of subjects of each ratio, out of ``total``."""
    exact = np.asarray(ratios, dtype=float) * total
    counts = np.floor(exact + 1e-9).astype(int)
    by_remainder = np.argsort(-(exact - counts), kind="stable")
    counts[by_remainder[: total - counts.sum()]] += 1
    for j, ratio in enumerate(ratios):
        if ratio > 0 and counts[j] == 0 and counts.max() > 1:
            counts[np.argmax(counts)] -= 1
            counts[j] += 1
    return counts.tolist()


def read_split_file(path: str | Path) -> dict[str, str]:
    """The split of each name in a file: JSON ``{"train": [names], ...}`` or CSV lines ``name,split``.

    A CSV may start with a header whose second column is ``split``.

    Raises:
        ValueError: the file is missing, has another form, another split than train, val and test, or a name
            twice.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"split_file must exist, got {str(path)!r}")
    if path.suffix.lower() not in (".json", ".csv"):
        raise ValueError(f"split_file must end in .json or .csv, got {str(path)!r}")
    pairs = _json_pairs(path) if path.suffix.lower() == ".json" else _csv_pairs(path)
    splits: dict[str, str] = {}
    for name, stated in pairs:
        split = split_of(stated)
        if not split:
            raise ValueError(f"{path}: a split must be train, val or test, got {stated!r:.100}")
        if name in splits:
            raise ValueError(f"{path}: {name!r} stands twice, in {splits[name]} and {split}")
        splits[name] = split
    return splits


def _json_pairs(path: Path) -> list[tuple[str, str]]:
    """(name, split) pairs of a JSON split file."""
    content = read_json(path)
    lists = content.values() if isinstance(content, dict) else [None]
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists):
        raise ValueError(
            f'{path}: a JSON split file must be {{"train": [names], "val": [...], "test": [...]}}'
        )
    return [(name, split) for split, names in content.items() for name in names]


def _csv_pairs(path: Path) -> list[tuple[str, str]]:
    """(name, split) pairs of a CSV split file."""
    rows = read_rows(path)
    for line, row in rows:
        if len(row) != 2:
            raise ValueError(f"{path}, line {line}: must be name,split, got {','.join(row)!r}")
    return [(row[0], row[1]) for _, row in rows if row[1].lower() != "split"]


def assign(items: Sequence[tuple[str, str]], rule: SplitRule) -> list[str]:
    """The split of each item.

    A split file names each item by its name or by its subject. It must cover every item, may name nothing
    else, and may not part a subject.

    Args:
        items: (name, subject) pairs; names are unique.
        rule: its ``split`` is not used.

    Raises:
        ValueError: see above; the message names the item.
    """
    if rule.file is None:
        by_subject = split_subjects((subject for _, subject in items), rule.ratios, rule.seed)
        return [by_subject[subject] for _, subject in items]
    given = read_split_file(rule.file)
    _check_cover(items, given, rule.file)
    found = [given[name] if name in given else given[subject] for name, subject in items]
    first: dict[str, str] = {}
    for (name, subject), split in zip(items, found, strict=True):
        if first.setdefault(subject, split) != split:
            raise ValueError(
                f"{rule.file}: the samples of one subject must share a split, "
                f"got {first[subject]} and {split} for subject {subject!r} (sample {name!r})"
            )
    return found


def _check_cover(items: Sequence[tuple[str, str]], given: dict[str, str], file: str) -> None:
    """Refuses a split file that misses an item, or names what is not there."""
    known = {label for item in items for label in item}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(
            f"{file} names {len(unknown)} that the data set lacks: {_some(unknown)}; it has {_some(known)}"
        )
    missing = [name for name, subject in items if name not in given and subject not in given]
    if missing:
        raise ValueError(f"{file} must name every sample, but misses {len(missing)}: {_some(missing)}")


def _some(names: Iterable[str], at_most: int = 5) -> str:
    """A few names in sorted order, for a message."""
    ordered = sorted(names)
    return ", ".join(map(repr, ordered[:at_most])) + (", ..." if len(ordered) > at_most else "")
