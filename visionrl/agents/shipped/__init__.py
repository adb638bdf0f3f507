"""Trained agents that come with the library: ``visionrl list --agents``, ``visionrl predict NAME FILES``.

Each is a folder like that of a run, with its networks in half precision and without those that only training needs, and
a card, ``README.md``: what the agent does, its data, command, seed, figures and limits. ``training.saving.ship`` writes
one.
"""

import json
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).parent
CARD = "README.md"


@dataclass(frozen=True)
class Shipped:
    """An agent that comes with the library.

    Attributes:
        name: for ``load_agent`` and the command line.
        env: id of its task.
        summary: the first paragraph of its card.
        size: bytes of its files.
    """

    name: str
    env: str
    summary: str
    size: int


def shipped_agents(home: Path = HOME) -> list[Shipped]:
    """The agents of a folder, by name."""
    found = []
    for folder in sorted(path.parent for path in home.glob("*/config.json")):
        env = json.loads((folder / "config.json").read_text(encoding="utf-8"))["config"]["env"]
        size = sum(path.stat().st_size for path in folder.iterdir())
        found.append(Shipped(folder.name, env, summary_of(folder / CARD), size))
    return found


def summary_of(card: Path) -> str:
    """The first paragraph below a card's title, in one line; empty where there is no card."""
    blocks = card.read_text(encoding="utf-8").split("\n\n") if card.is_file() else []
    return " ".join(blocks[1].split()) if len(blocks) > 1 else ""
