"""Classes of whole images, and the list of class names, for classification."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from visionrl.datasets.load import choose, load
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.splits import DEFAULT_RATIOS, DEFAULT_SEED, SPLITS, split_subjects


def image_class(sample: ImageSample, index: int = 0) -> str:
    """The one name that a sample has in ``labels``; with or without a box.

    Raises:
        ValueError: it has none, or several.
    """
    if len(sample.labels) != 1:
        raise ValueError(
            f"sample {index} ({sample.name!r}): labels must hold the one class of the image, "
            f"got {list(sample.labels)}"
        )
    return sample.labels[0]


def class_numbers(samples: Sequence[ImageSample], names: Sequence[str]) -> list[int]:
    """The number of each sample's class.

    Raises:
        ValueError: a class is not among the names.
    """
    found = [image_class(sample, index) for index, sample in enumerate(samples)]
    for index, name in enumerate(found):
        if name not in names:
            raise ValueError(f"the class of sample {index} must be one of {', '.join(names)}, got {name!r}")
    return [names.index(name) for name in found]


def class_names(
    data: Any, default: str | None = None, classes: Sequence[str] | None = None, **loading: Any
) -> tuple[str, ...]:
    """The classes of a data set, numbered by their places; the same for all splits.

    They are ``classes`` in the order given; else the sorted names in all splits, for which all images are read
    once; else, where ``data`` is a sequence of samples, those in it.

    Args:
        data: as for ``load``.
        default: as for ``load``.
        classes: the names.
        loading: ``split_file``, ``split_ratios``, ``split_seed``; without effect, as all splits are read.

    Raises:
        ValueError: there are fewer than two.
    """
    if classes:
        names = tuple(classes)
    else:
        samples = load(data, kind=ImageSample, default=default, split="all", **loading)
        names = tuple(sorted({image_class(sample, index) for index, sample in enumerate(samples)}))
    if len(set(names)) < 2 or len(set(names)) != len(names):
        raise ValueError(f"there must be two classes or more, of different names, got {list(names)}")
    return names


def load_by_class(task: Any) -> tuple[ImageSample, ...]:
    """The images of the classes of a task's split; no class is in two splits.

    Splits that data state are kept where they part the classes, as those of the embedded sets and of Omniglot do. Data
    without splits are cut by class, by ``split_ratios`` and ``split_seed``. A sequence is used whole.

    Args:
        task: with ``load`` and the arguments about splits of ``visionrl.core.Task``.

    Raises:
        ValueError: stated splits share a class, the split has none, or an image has not one class.
    """
    own = task.load(classes=None)
    if isinstance(task.data, str) and task.data != task.embedded and task.split != "all":
        own = _parted(task, own)
    own = of_classes(own, task.classes) if task.classes else own
    task.sample_names = tuple(sample.name for sample in own)
    task.subjects = tuple(dict.fromkeys(image_class(sample, index) for index, sample in enumerate(own)))
    return own


def _parted(task: Any, own: tuple[ImageSample, ...]) -> tuple[ImageSample, ...]:
    """The images of a split, whose images are ``own`` as they were loaded, once no class is in two splits."""
    plain = {"split_file": None, "split_ratios": DEFAULT_RATIOS, "split_seed": DEFAULT_SEED}
    every = task.load(classes=None, split="all", **plain)
    names, labels = {sample.name for sample in own}, [image_class(one, k) for k, one in enumerate(every)]
    rest = {label for sample, label in zip(every, labels, strict=True) if sample.name not in names}
    shared = sorted({image_class(sample) for sample in own} & rest)
    if not shared:
        return own
    if task.split_file or all(sample.name.split("/")[0] in SPLITS for sample in every):
        raise ValueError(
            f"no class may be in two splits of {task.data}, {shared[0]!r} is in {task.split} and another"
        )
    splits = split_subjects(labels, task.split_ratios, task.split_seed)
    chosen = [number for number, label in enumerate(labels) if splits[label] == task.split]
    if not chosen:
        raise ValueError(
            f"the {task.split} split of {task.data} has no class: {len(splits)} classes, split by split_ratios "
            f"{task.split_ratios}"
        )
    return choose(every, chosen)


def of_classes(samples: tuple[ImageSample, ...], classes: Sequence[str]) -> tuple[ImageSample, ...]:
    """The samples of some classes; a warning names those that no sample has.

    Raises:
        ValueError: no sample has any of them.
    """
    known = {label for sample in samples for label in sample.labels}
    missing = [name for name in classes if name not in known]
    if len(missing) == len(classes):
        listed = ", ".join(sorted(known)) or "none"
        raise ValueError(f"classes must be names in the data set, got {', '.join(missing)}; known: {listed}")
    if missing:
        warnings.warn(f"no image of the split has {', '.join(missing)}", stacklevel=2)
    kept = [number for number, sample in enumerate(samples) if set(sample.labels) & set(classes)]
    if any(set(samples[number].labels) - set(classes) for number in kept):
        return tuple(restricted(samples[number], classes) for number in kept)
    return samples if len(kept) == len(samples) else choose(samples, kept)


def restricted(sample: ImageSample, classes: Sequence[str]) -> ImageSample:
    """The sample with only the labels, and their boxes, of some classes."""
    rows = [row for row, label in enumerate(sample.labels) if label in classes]
    boxes = None if sample.boxes is None else sample.boxes[rows]
    return replace(sample, boxes=boxes, labels=tuple(sample.labels[row] for row in rows))
