"""``visionrl caption``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from annotated_types import Ge, Interval

from visionrl.cli.common import check_out
from visionrl.core.arguments import check_arguments


@dataclass(frozen=True, kw_only=True)
class Caption:
    """Say what images show; with --out write the sentences, and where the model looked at each word.

    The folder gets captions.json, a list of {"image_id", "caption", "log_prob"}, and, where the model attends, a
    picture NAME-words.png of each image.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Folder of a captioner's run, or the name of a captioner that comes with the library."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")]
    """Image files."""
    decode: Literal["greedy", "beam", "nucleus"] = "greedy"
    """The likeliest word each time; the likeliest of some beginnings; or words drawn at random."""
    beam: Annotated[int, Interval(ge=1, le=100)] = 5
    """Beginnings that beam search keeps."""
    top_p: Annotated[float, Interval(gt=0, le=1)] = 0.9
    """Words are drawn from the likeliest that have this probability together."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of the draws."""
    out: Path | None = None
    """Folder for the sentences and pictures; without one the sentences are printed alone."""
    overwrite: bool = False
    """Replace results in a folder that is not empty."""
    device: str = "cpu"
    """Where the network lives: "auto", "cpu" or "cuda"."""

    def __post_init__(self) -> None:
        """Check the kinds and bounds of the options."""
        check_arguments(self)

    def run(self) -> None:
        """Print a line an image: the file and the sentence; write what was asked for.

        Raises:
            ValueError: the model is no captioner, an image cannot be read, or there is none.
            FileExistsError: there is something in the folder already, and ``overwrite`` is off.
        """
        import torch

        from visionrl.agents.networks.device import found_device
        from visionrl.agents.prediction.predict import check_folder
        from visionrl.datasets.readers.files import read_image
        from visionrl.models import load_model
        from visionrl.models.language.captioner import Captioner

        if not self.images:
            raise ValueError("images must be one file or more, got none")
        if self.out is not None:
            check_out(self.out)
            check_folder(self.out, (), self.overwrite)
        device = found_device(self.device)
        model = load_model(self.model, device)
        if not isinstance(model, Captioner):
            raise ValueError(f"model must be a captioner, {self.model} is a {model.name}")
        generator = torch.Generator(device).manual_seed(self.seed)
        images = [read_image(path) for path in self.images]
        said = model.say(
            model.prepare(images), self.decode, beam=self.beam, top_p=self.top_p, generator=generator
        )
        texts = [model.vocabulary.decode(row) for row in said.words.tolist()]
        for path, text in zip(self.images, texts, strict=True):
            print(f"{path}: {text}")
        if self.out is not None:
            self.write(self.out, images, texts, said)

    def write(self, out: Path, images: list, texts: list[str], said: Any) -> None:
        """Write the sentences, and where the model looked."""
        from visionrl.agents.prediction.predict import unused
        from visionrl.explain.words import attention_sheet
        from visionrl.rendering import replacing, write_png

        out.mkdir(parents=True, exist_ok=True)
        rows = [
            {"image_id": str(path), "caption": text, "log_prob": round(float(one), 4)}
            for path, text, one in zip(self.images, texts, said.log_prob, strict=True)
        ]
        with replacing(out / "captions.json") as part:
            part.write_text(json.dumps(rows, indent=1) + "\n")
        used: set[str] = set()
        for number, text in enumerate(texts if said.attention is not None else ()):
            words = text.split()
            picture = attention_sheet(images[number], said.attention[number, : len(words)].numpy(), words)
            write_png(out / f"{unused(self.images[number].stem, used)}-words.png", picture)
        print(f"wrote {out}")
