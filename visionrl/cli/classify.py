"""``visionrl classify``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from annotated_types import Interval

from visionrl.cli.common import check_out
from visionrl.core.arguments import check_arguments

AT_ONCE = 64  # files whose images are held in memory


@dataclass(frozen=True, kw_only=True)
class Classify:
    """Tell images apart by a few examples of each class; with --out write the classes and probabilities.

    The folder gets classes.csv (file, class, probability, and a column for each class) and the same as classes.json. A
    file that cannot be read is reported, and the others go on; the exit code is then 1.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Folder of a few-shot model's run, the name of one that comes with the library, or the name of a backbone, which
    is used as it is (with its published weights, or --weights)."""
    files: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES")]
    """Image files, or folders of them."""
    support: Path
    """Folder with a folder for each class, named after it, with one example image or more."""
    weights: Path | None = None
    """A file of weights, for a backbone."""
    side: Annotated[int, Interval(ge=16, le=1024)] = 96
    """Side in pixels to which a backbone gets the images."""
    out: Path | None = None
    """Folder for the results; without one they are printed alone."""
    overwrite: bool = False
    """Replace results in a folder that is not empty."""
    device: str = "cpu"
    """Where the network lives: "auto", "cpu" or "cuda"."""

    def __post_init__(self) -> None:
        """Check the kinds and bounds of the options."""
        check_arguments(self)

    def run(self) -> None:
        """Print a line a file: its class and the probability; write what was asked for.

        Raises:
            ValueError: the model knows no classes by example, the support is no folder of classes, or there is no file.
            FileExistsError: there is something in the folder already, and ``overwrite`` is off.
            SystemExit: 1 where a file could not be read.
        """
        from visionrl.agents.networks.device import found_device
        from visionrl.agents.prediction.predict import check_folder
        from visionrl.datasets.readers.files import images_below

        listed = (one for path in self.files for one in (images_below(path) if path.is_dir() else [path]))
        files = [*dict.fromkeys(listed)]
        if not files:
            raise ValueError("files must be one image or more, got none")
        if self.out is not None:
            check_out(self.out)
            check_folder(self.out, (), self.overwrite)
        model = self.network(found_device(self.device))
        names, examples, labels = support_of(self.support)
        rows: list[dict[str, Any]] = []
        for start in range(0, len(files), AT_ONCE):
            images = readable(files[start : start + AT_ONCE])
            found = model.classify(examples, labels, [*images.values()]) if images else []
            for path, shares in zip(images, found, strict=True):
                each = {name: round(float(share), 4) for name, share in zip(names, shares, strict=True)}
                best = names[int(shares.argmax())]
                rows.append(
                    {"file": str(path), "class": best, "probability": each[best], "probabilities": each}
                )
                print(f"{path}: {best} ({each[best]:.2f})")
        if self.out is not None:
            write(self.out, names, rows)
        if len(rows) < len(files):
            raise SystemExit(1)

    def network(self, device: str) -> Any:
        """The model, or one of cosines around a backbone.

        Raises:
            ValueError: it is another model, or the name of nothing.
        """
        from visionrl.backbones import is_library_name, list_backbones
        from visionrl.models import load_model, make_model
        from visionrl.models.fewshot._base import FewShotModel
        from visionrl.supervised.models import read_trunk

        if self.model in list_backbones() or is_library_name(self.model):
            options = {"backbone": self.model, "side": self.side, "pretrained": self.weights is None}
            model = make_model("matching", **options, frozen=True)
            if self.weights is not None:
                read_trunk(model, str(self.weights))
            return model.to(device).eval()
        if self.weights is not None:
            raise ValueError(f"weights must be left out for {self.model}, which is no backbone")
        model = load_model(self.model, device)
        if not isinstance(model, FewShotModel):
            raise ValueError(f"model must know classes by example, {self.model} is a {model.name}")
        return model


def support_of(folder: Path) -> tuple[list[str], list[Any], list[int]]:
    """Names of the classes, example images (C, H, W) uint8, and the number of the class of each.

    Raises:
        ValueError: there are fewer than two folders of classes, one is empty, or an image cannot be read.
    """
    from visionrl.datasets import ImageSample, load
    from visionrl.datasets.classes import class_numbers, image_class

    if not folder.is_dir():
        raise ValueError(f"support must be a folder with a folder for each class, got {folder}")
    samples = load(f"imagefolder:{folder}", kind=ImageSample, split="all")
    names = sorted({image_class(sample) for sample in samples})
    if len(names) < 2:
        raise ValueError(f"support must hold two folders of classes or more, {folder} has {len(names)}")
    return names, [sample.image for sample in samples], class_numbers(samples, names)


def readable(files: Sequence[Path]) -> dict[Path, Any]:
    """The images (C, H, W) uint8 of files, without those that cannot be read, which it reports."""
    from visionrl.datasets.readers.files import read_image

    found = {}
    for path in files:
        try:
            found[path] = read_image(path)
        except ValueError as error:
            print(f"failed: {path}: {error}", file=sys.stderr)
    return found


def write(out: Path, names: list[str], rows: list[dict[str, Any]]) -> None:
    """Write the classes as a table and as JSON."""
    from visionrl.agents.prediction.outputs import table, write_in

    lines = [[*list(row.values())[:3], *row["probabilities"].values()] for row in rows]
    head = ["file", "class", "probability", *names]
    out.mkdir(parents=True, exist_ok=True)
    write_in(out, {"classes.json": json.dumps(rows, indent=1) + "\n", "classes.csv": table([head, *lines])})
    print(f"wrote {out}")
