"""One call from what the user gives as ``data=`` to checked samples."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from visionrl.datasets.disk_cache import stored
from visionrl.datasets.formats import Entry, Format, ReadOptions, Sample, check_path, find_format, parse
from visionrl.datasets.guard import decoding
from visionrl.datasets.samples import ImageSample, VolumeSample
from visionrl.datasets.splits import DEFAULT_RATIOS, DEFAULT_SEED, SPLITS, SplitRule, assign
from visionrl.datasets.stated_splits import listed_splits, split_folders
from visionrl.datasets.validate import validate

NAMED, LONGEST = 10, 600  # bad samples that a message names, and characters about each


class NoSplitError(ValueError):
    """Raised where data have other splits than the one that is asked for, or nothing is left for it."""


def load(
    data: Any,
    *,
    kind: type[Any],
    default: str | None = None,
    split: str = "train",
    split_file: str | None = None,
    split_ratios: Sequence[float] = DEFAULT_RATIOS,
    split_seed: int | None = DEFAULT_SEED,
    classes: Sequence[str] | None = None,
    negatives: bool = False,
    skip_bad: bool = False,
) -> tuple[Any, ...]:
    """The checked samples of one split.

    A string is read once: the same arguments give the same object, so environments share the pixels
    (``clear_cache`` forgets them, after files have changed). Which samples belong to the split:

    * an embedded set has splits of its own;
    * a folder with ``train``, ``val`` or ``test`` folders inside, in any usual spelling (``stated_splits``): those, and
      the names get ``train/`` etc. in front;
    * a folder whose format states splits (COCO's file names, YOLO's yaml), or with lists of the samples of each
      split (``train.txt``, ``ImageSets/Main/val.txt``, ...): those, unless ``split_file``, other ``split_ratios`` or
      another ``split_seed`` cut it anew;
    * any other path: by ``split_file``, else by ``split_ratios`` and ``split_seed`` over its subjects;
    * a sequence *is* the split asked for and is used whole, whatever ``split`` says.

    ``split_file``, ``split_ratios`` and ``split_seed`` are refused where nothing heeds them.

    Args:
        data: None for the default; ``"FORMAT:PATH"`` or the name of an embedded set; or a sequence of samples
            (anything with a length and items, such as a torch ``Dataset``), which is read once, in order.
        kind: one of ``formats.Sample``, such as ``ImageSample``.
        default: the string that None stands for.
        split: "train", "val", "test" or "all".
        split_file: JSON ``{"train": [names], ...}`` or CSV ``name,split``, by sample or subject.
        split_ratios: shares of the subjects for train, val and test.
        split_seed: seed of the shuffle of the subjects; None cuts them in sorted order.
        classes: keeps only the points and boxes of these names; an image that keeps none is left out.
        negatives: with ``classes``, an image with boxes that keeps none stays, as an image without objects.
        skip_bad: leaves out samples that cannot be read or break a rule, with a warning that counts and names them.

    Raises:
        ValueError: an argument or a sample breaks a rule; the message names it. All samples are looked at: of several
            bad ones up to ten are named, the others counted.
    """
    rule = SplitRule(split, split_file and os.path.abspath(split_file), tuple(split_ratios), split_seed)
    if isinstance(classes, str) or (classes is not None and not len(classes)):
        raise ValueError(f"classes must be a sequence of one name or more, got {classes!r}")
    names = None if classes is None else tuple(classes)
    if data is None and default is None:
        raise ValueError(
            'data must be given: "FORMAT:PATH" or a sequence of samples; there is no embedded set'
        )
    data = default if data is None else data
    if isinstance(data, str):
        name, path = parse(data)
        path = path and os.path.abspath(os.path.expanduser(path))
        return _load_string(find_format(name, kind), path, rule, names, negatives, skip_bad)
    return _keep(_unique(_load_sequence(data, kind, rule, skip_bad)), names, negatives)


def load_lazily(data: str, kind: type[Any]) -> list[Entry]:
    """All samples of ``"FORMAT:PATH"``, whatever their split, each of which is read and checked when its turn comes.

    Raises:
        ValueError: the format or the path is none of ``kind``; reading an entry: its sample is bad.
    """
    name, path = parse(data)
    path = path and os.path.abspath(os.path.expanduser(path))
    form, rule = find_format(name, kind), SplitRule("all", None, tuple(DEFAULT_RATIOS), DEFAULT_SEED)
    if (where := check_path(form, path)) is None:
        return [_as_entry(sample, index) for index, sample in enumerate(_embedded(form, rule))]
    entries = _unique(_from_path(form, where, rule))
    return [replace(entry, read=partial(_read, entry, k, kind)) for k, entry in enumerate(entries)]


@lru_cache(maxsize=16)
def _load_string(
    form: Format, path: str, rule: SplitRule, classes: tuple[str, ...] | None, negatives: bool, skip_bad: bool
) -> tuple[Any, ...]:
    """The samples of a format and a path."""
    where = check_path(form, path)
    samples = _unique(
        _embedded(form, rule)
        if where is None
        else _checked(_from_path(form, where, rule), form.kind, skip_bad, f"{form.name}:{where}")
    )
    recipe = (_load_again, (form.name, form.kind, path, rule, classes, negatives, skip_bad))
    return Loaded(_keep(samples, classes, negatives), recipe)


class Loaded(tuple[Any, ...]):
    """The samples of a format and a path; copies share them, and a pickle holds how to load them again."""

    recipe: tuple[Any, ...]
    parts: dict[tuple[int, ...], Loaded]

    def __new__(cls, samples: Sequence[Any], recipe: tuple[Any, ...]) -> Loaded:
        """Keep the samples, and a function with the arguments that give them again."""
        loaded = super().__new__(cls, samples)
        loaded.recipe, loaded.parts = recipe, {}
        return loaded

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments of the loading, not the samples."""
        return self.recipe

    def __copy__(self) -> Loaded:
        """Share the samples, which are never written."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Loaded:
        """Share the samples, which are never written."""
        return self


def choose(samples: Sequence[Any], numbers: Sequence[int]) -> tuple[Any, ...]:
    """Some of the samples, by number; of loaded ones they are the same object each time, and pickled as little."""
    chosen = [samples[number] for number in numbers]
    if not isinstance(samples, Loaded):
        return tuple(chosen)
    return samples.parts.setdefault(tuple(numbers), Loaded(chosen, (choose, (samples, tuple(numbers)))))


def embedded_part(samples: Any) -> tuple[str, str] | None:
    """The name of the embedded set that loaded samples are of, and which of them they are; None for all others."""
    if not isinstance(samples, Loaded):
        return None
    maker, args = samples.recipe
    if maker is choose:
        whole = embedded_part(args[0])
        return whole and (whole[0], f"{whole[1]} {args[1]}")
    name, kind, path, *rest = args
    own = find_format(name, kind).read.__module__.startswith("visionrl.")  # the cache knows when these change
    return None if path or not own else (name, f"{kind.__name__} {rest}")


def _load_again(name: str, kind: type, *rest: Any) -> tuple[Any, ...]:
    """The samples of a pickle, from the process's own cache where they are loaded already."""
    return _load_string(find_format(name, kind), *rest)


def clear_cache() -> None:
    """Forgets what ``load`` has read, so that changed files are read anew."""
    _load_string.cache_clear()


def _load_sequence(data: Any, kind: type, rule: SplitRule, skip_bad: bool) -> list[Any]:
    """The samples of a sequence."""
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")) or isinstance(data, Mapping):
        raise ValueError(
            f'data must be "FORMAT:PATH" or a sequence of {kind.__name__} (len and items), '
            f"got {type(data).__name__}"
        )
    rule.refuse_cut("a sequence of samples is the split asked for")
    if len(data) == 0:
        raise ValueError(f"data must hold one {kind.__name__} or more, got an empty {type(data).__name__}")
    entries = [Entry("", "", partial(data.__getitem__, index)) for index in range(len(data))]
    return _checked(entries, kind, skip_bad, f"the {type(data).__name__}")


def _embedded(form: Format, rule: SplitRule) -> list[Any]:
    """The samples of an embedded set; "all" is its three splits one after another."""
    rule.refuse_cut(f"the embedded data set {form.name!r} has splits of its own")
    samples = []
    for split in SPLITS if rule.split == "all" else (rule.split,):
        make = partial(_made, form, split)
        own = form.read.__module__.startswith("visionrl.")  # the cache knows when these change
        samples += stored(form.name, split, form.kind, make) if own else make()
    return samples


def _made(form: Format, split: str) -> list[Any]:
    """The checked samples of an embedded set's split."""
    return _checked(_entries(form, None, split), form.kind, False, form.name)


def _checked(entries: Sequence[Entry], kind: type, skip_bad: bool, source: str) -> list[Any]:
    """The checked samples of some entries.

    Raises:
        ValueError: some are bad and not to be left out, or all are; names up to ten.
    """
    samples, bad = [], []
    for index, entry in enumerate(entries):
        try:
            sample = _read(entry, index, kind)
        except ValueError as error:
            bad.append(error)
        else:
            samples += [] if bad and not skip_bad else [sample]
    if not bad:
        return samples
    if len(bad) == 1 and not skip_bad:
        raise bad[0]
    more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    named = "; ".join(str(one)[:LONGEST] for one in bad[:NAMED])
    text = f"{len(bad)} of {len(entries)} samples of {source} are bad: {named}{more}"
    if not skip_bad or not samples:
        raise ValueError(text if skip_bad else f"{text} (skip_bad=True leaves them out)") from bad[0]
    warnings.warn(f"{text}; they are left out", stacklevel=4)
    return samples


def _from_path(form: Format, path: Path, rule: SplitRule) -> list[Entry]:
    """The entries of one split of a path."""
    folders = split_folders(path) if path.is_dir() and not form.own_splits else {}
    if folders:
        return _from_split_folders(form, path, folders, rule)
    entries = _unique(_entries(form, path, "all" if rule.given else rule.split))
    if path.is_dir() and not rule.given and not any(entry.split for entry in entries):
        stated = listed_splits(path, [(entry.name, entry.subject) for entry in entries])
        listed = [replace(entry, split=stated[entry.name]) for entry in entries if entry.name in stated]
        entries = listed or entries
    if any(entry.split for entry in entries) and not rule.given:
        return _of_own_split(path, entries, rule)
    if rule.split == "all" and rule.file is None:
        return entries
    splits = assign([(entry.name, entry.subject) for entry in entries], rule)
    chosen = [entry for entry, split in zip(entries, splits, strict=True) if rule.split in (split, "all")]
    if not chosen:
        by = rule.file or f"split_ratios {rule.ratios}"
        subjects = len({entry.subject for entry in entries})
        raise NoSplitError(
            f"the {rule.split} split of {form.name}:{path} is empty: "
            f"{len(entries)} sample(s) of {subjects} subject(s), "
            f'split by subject by {by}; give split="all", other split_ratios or a split_file'
        )
    return chosen


def _from_split_folders(form: Format, path: Path, folders: dict[str, Path], rule: SplitRule) -> list[Entry]:
    """The entries of the folders that bear the split's name."""
    listed = ", ".join(folder.name for folder in folders.values())
    rule.refuse_cut(f"{path} has split folders of its own ({listed})")
    if rule.split not in (*folders, "all"):
        raise NoSplitError(f"{path} must have a folder {rule.split!r} for that split, it has {listed}")
    _warn_beside(form, path, folders)
    asked = list(folders) if rule.split == "all" else [rule.split]
    return [
        replace(entry, name=f"{split}/{entry.name}", subject=f"{split}/{entry.subject}")
        for split in asked
        for entry in _entries(form, folders[split], split)
    ]


def _warn_beside(form: Format, path: Path, folders: dict[str, Path]) -> None:
    """Warn of folders that hold samples beside those of splits, and state none."""
    lost = []
    for child in sorted(path.iterdir()):
        if child.is_dir() and child.name[0] != "." and child not in folders.values():
            try:
                with warnings.catch_warnings(action="ignore"):
                    lost += [child.name] if len(_entries(form, child, "all")) else []
            except ValueError:
                continue
    if lost:
        warnings.warn(f"{path}: folders that state no split are not read: {', '.join(lost)}", stacklevel=2)


def _of_own_split(path: Path, entries: list[Entry], rule: SplitRule) -> list[Entry]:
    """The entries that the data set itself puts in the split."""
    found = sorted({entry.split for entry in entries}, key=("", *SPLITS).index)
    if not found[0]:
        lost = next(entry.name for entry in entries if not entry.split)
        raise ValueError(f"{path} must have all its samples in splits, or none; {lost!r} is in none")
    if rule.split not in (*found, "all"):
        raise NoSplitError(
            f"{path} must have a split {rule.split!r}, it has {', '.join(found)}; "
            "a split_file, or split_ratios other than the default, cut it anew"
        )
    return [entry for entry in entries if rule.split in (entry.split, "all")]


def _entries(form: Format, path: Path | None, split: str) -> list[Entry]:
    """Entries of the reader; samples are wrapped as entries."""
    with decoding(path or form.name):
        found = form.read(path, ReadOptions(split))
    if len(found) == 0:
        raise ValueError(
            f"format {form.name!r} found no sample" + (f" in {path}" if path else f" for split {split!r}")
        )
    return [_as_entry(found[index], index) for index in range(len(found))]


def _as_entry(item: Any, index: int) -> Entry:
    """The item itself, or an entry that yields it."""
    if isinstance(item, Entry):
        return item
    name = getattr(item, "name", "") or str(index)
    return Entry(name, getattr(item, "subject", "") or name, lambda: item)


def _read(entry: Entry, index: int, kind: type) -> Any:
    """The checked sample of an entry, under the entry's name where it has one."""
    where = f"sample {index}" + (f" ({entry.name!r:.300})" if entry.name else "")
    with decoding(f"{where}:"):
        sample = entry.read()
    if entry.name and isinstance(sample, Sample):
        sample = replace(sample, name=entry.name, subject=entry.subject)
    with decoding(f"sample {index}"):
        return validate(sample, index, kind)


def _unique(items: list[Any]) -> list[Any]:
    """The items, once no two share a name."""
    seen: dict[str, int] = {}
    for index, item in enumerate(items):
        if seen.setdefault(item.name, index) != index:
            raise ValueError(
                f"sample names must be unique, got {item.name!r} for samples {seen[item.name]} and {index}"
            )
    return items


def _keep(samples: Sequence[Any], classes: tuple[str, ...] | None, negatives: bool) -> tuple[Any, ...]:
    """The samples with only the points and boxes of these names; one that keeps none is left out, or a negative."""
    if classes is None:
        return tuple(samples)
    if not all(isinstance(sample, ImageSample | VolumeSample) for sample in samples):
        raise ValueError(
            f"classes must be left out for videos, pairs and texts, which have no class names, got {classes}"
        )
    known = {name for sample in samples for name in (*sample.points, *getattr(sample, "labels", ()))}
    unknown = [name for name in classes if name not in known]
    if unknown:
        listed = ", ".join(sorted(known)) or "none"
        raise ValueError(f"classes must be names in the data set, got {', '.join(unknown)}; known: {listed}")
    kept = [_restrict(sample, set(classes)) for sample in samples]
    return tuple(sample for sample in kept if _has_something(sample, negatives))


def _has_something(sample: Any, negatives: bool) -> bool:
    """True where a sample has a point or a class; with ``negatives``, also whether it could have boxes."""
    named = sample.points or getattr(sample, "labels", ())
    return bool(named) or (negatives and getattr(sample, "boxes", None) is not None)


def _restrict(sample: ImageSample | VolumeSample, classes: set[str]) -> ImageSample | VolumeSample:
    """The sample with only the points and boxes of these names."""
    points = {name: point for name, point in sample.points.items() if name in classes}
    if isinstance(sample, VolumeSample):
        return replace(sample, points=points)
    rows = [j for j, label in enumerate(sample.labels) if label in classes]
    boxes = None if sample.boxes is None else sample.boxes[rows]
    return replace(sample, points=points, boxes=boxes, labels=tuple(sample.labels[j] for j in rows))
