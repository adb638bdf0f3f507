"""``visionrl classify``."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from annotated_types import Interval

from visionrl.cli.common import check_out
from visionrl.core.arguments import check_arguments


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
        from visionrl.datasets.readers.files import images_below, read_image

        files = [one for path in self.files for one in (images_below(path) if path.is_dir() else [path])]
        if not files:
            raise ValueError("files must be one image or more, got none")
        if self.out is not None:
            check_out(self.out)
            check_folder(self.out, (), self.overwrite)
        model = self.network(found_device(self.device))
        names, examples, labels = support_of(self.support)
        images, read, failed = [], [], 0
        for path in files:
            try:
                images.append(read_image(path))
                read.append(path)
            except ValueError as error:
                failed += 1
                print(f"failed: {path}: {error}", file=sys.stderr)
        found = model.classify(examples, labels, images) if images else []
        rows = [
            {"file": str(path), "class": names[int(row.argmax())], "probability": round(float(row.max()), 4)}
            | {"probabilities": {name: round(float(p), 4) for name, p in zip(names, row, strict=True)}}
            for path, row in zip(read, found, strict=True)
        ]
        for row in rows:
            print(f"{row['file']}: {row['class']} ({row['probability']:.2f})")
        if self.out is not None:
            write(self.out, names, rows)
        if failed:
            raise SystemExit(1)

    def network(self, device: str) -> Any:
        """The model, or one of cosines around a backbone.

        Raises:
            ValueError: it is another model, or the name of nothing.
        """
        from visionrl.backbones import is_library_name, list_backbones, make_backbone
        from visionrl.models import load_model, make_model
        from visionrl.models.fewshot._base import FewShotModel

        if self.model in list_backbones() or is_library_name(self.model):
            model: Any = make_model("matching")
            weights: dict[str, Any] = (
                {"pretrained": True} if self.weights is None else {"weights": self.weights}
            )
            model.image.trunk = make_backbone(self.model, 3, image_size=self.side, frozen=True, **weights)
            model.side = self.side
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
    from visionrl.datasets.readers.files import images_below, list_folders, read_image

    if not folder.is_dir():
        raise ValueError(f"support must be a folder with a folder for each class, got {folder}")
    folders = list_folders(folder)
    if len(folders) < 2:
        raise ValueError(f"support must hold two folders of classes or more, {folder} has {len(folders)}")
    examples, labels = [], []
    for number, place in enumerate(folders):
        found = images_below(place)
        if not found:
            raise ValueError(f"each class of support must have an image or more, {place} has none")
        examples += [read_image(path) for path in found]
        labels += [number] * len(found)
    return [place.name for place in folders], examples, labels


def write(out: Path, names: list[str], rows: list[dict[str, Any]]) -> None:
    """Write the classes as a table and as JSON."""
    from visionrl.rendering import replacing

    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "classes.json") as part:
        part.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    with replacing(out / "classes.csv") as part, part.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "class", "probability", *names])
        for row in rows:
            table.writerow([row["file"], row["class"], row["probability"], *row["probabilities"].values()])
    print(f"wrote {out}")
