"""Classes of whole images, and the list of class names, for classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from visionrl.datasets.load import load
from visionrl.datasets.samples import ImageSample


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
