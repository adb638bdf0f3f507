"""``visionrl ask``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from visionrl.cli.common import check_out


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Answer a question about an image; with --out draw where the model looked."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Folder of a question answerer's run, or the name of one that comes with the library."""
    image: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
    """The image file."""
    question: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="QUESTION")]
    """The question, such as "what colour is the bag"."""
    out: Path | None = None
    """A PNG file for the picture of where the model looked."""
    device: str = "cpu"
    """Where the network lives: "auto", "cpu" or "cuda"."""

    def run(self) -> None:
        """Print the answer and its probability; draw the picture if it is asked for.

        Raises:
            ValueError: the model is no question answerer or attends to nothing, the image cannot be read, or the model
                knows no word of the question.
        """
        from visionrl.agents.networks.device import found_device
        from visionrl.datasets.readers.files import read_image
        from visionrl.explain.words import attention_sheet
        from visionrl.models import load_model
        from visionrl.models.language.answerer import Answerer
        from visionrl.rendering import write_png

        if self.out is not None:
            if self.out.suffix.lower() != ".png":
                raise ValueError(f"out must end in .png, got {self.out}")
            check_out(self.out.parent)
        device = found_device(self.device)
        model = load_model(self.model, device)
        if not isinstance(model, Answerer):
            raise ValueError(f"model must answer questions, {self.model} is a {model.name}")
        image = read_image(self.image)
        found = model.answer([image], [self.question])[0]
        if self.out is not None and found.attention is None:
            raise ValueError(f"out must be left out for {model.name}, which attends to nothing")
        print(f"{found.text} ({found.probability:.2f})")
        if self.out is not None and found.attention is not None:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            write_png(self.out, attention_sheet(image, found.attention, found.steps))
            print(f"wrote {self.out}")
