"""Writes a page for every registered environment into docs/environments, from its docstring.

python scripts/make_docs.py            # the pages
python scripts/make_docs.py --films    # also the expert's GIFs beside them
python scripts/make_docs.py --films Tracking-v0 Detection-v0    # films of these alone
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
from pathlib import Path

from visionrl.core import BASELINES, TASKS, describe_arguments, make_task
from visionrl.core.capabilities import name_of
from visionrl.core.registry import Entry, entry_of

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "environments"
ITEMS = {
    "visionrl/AnomalyStream-v0": 3,
    "visionrl/TemporalDetection-v0": 3,
}  # which a film shows, where the first has nothing to find


def page(entry: Entry) -> str:
    """The page of one environment, Markdown."""
    task = make_task(entry.id)
    name = entry.id.removeprefix("visionrl/")
    parts = [
        f"# {name}",
        f"![An expert's episode]({name}.gif)",
        inspect.cleandoc(task.__class__.__doc__ or ""),
        f'```python\nimport gymnasium as gym\nimport visionrl\n\nenv = gym.make("{entry.id}")\n```',
        "## Arguments",
        argument_table(entry),
        "## Spaces",
        "\n".join(
            ["| key | space |", "|---|---|"]
            + [f"| `{key}` | `{space}` |" for key, space in task.observation_space.items()]
            + [f"| action | `{name_of(task.action_space)}` |"]
        ),
        f"Time limit: {entry.max_steps or 'none; the rules end every episode'}. "
        f"Backends: {', '.join(task.backends)}. Tags: {', '.join(entry.tags)}.",
        "## Presets",
        "\n".join(
            ["| preset | arguments |", "|---|---|"]
            + [f"| `{preset}` | `{json.dumps(kwargs)}` |" for preset, kwargs in entry.presets.items()]
        ),
        "## Classical methods it is compared with",
        "\n".join(
            f"* {name}" + (f", with ``{method.needs}``" if method.needs else "")
            for name, method in BASELINES.get(entry.id, {}).items()
        ),
    ]
    return "\n\n".join(re.sub("(?<!`)``(?!`)", "`", part) for part in parts) + "\n"


def argument_table(entry: Entry) -> str:
    """The arguments of a task, Markdown: its own first, then those of its bases."""
    own = sorted(describe_arguments(entry.task), key=lambda one: one.owner == "Task")
    rows = [
        f"| `{one.name}` | `{one.default!r}` | {one.rule} | {one.text} |".replace("``", "`") for one in own
    ]
    return "\n".join(["| name | default | values | meaning |", "|---|---|---|---|", *rows])


def index() -> str:
    """The list of all environments, Markdown."""
    rows = ["# Environments", "", "| | environment | in a line |", "|---|---|---|"]
    for entry in TASKS.values():
        name = entry.id.removeprefix("visionrl/")
        line = inspect.cleandoc(entry.task.__doc__ or "").splitlines()[0]
        rows.append(f"| ![]({name}.gif) | [{name}]({name}.md) | {line} |")
    return "\n".join(rows) + "\n"


def pages() -> dict[str, str]:
    """File name -> text, of all pages."""
    made = {f"{entry.id.removeprefix('visionrl/')}.md": page(entry) for entry in TASKS.values()}
    return {"README.md": index(), **made}


def main() -> None:
    """Write the pages, and the films if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", action="store_true", help="also play the expert and write its GIFs")
    parser.add_argument("names", nargs="*", help="environments whose GIFs are written; default: all")
    words = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        partial = FOLDER / f".{name}.part"
        partial.write_text(text)
        os.replace(partial, FOLDER / name)
    if words.films:
        from visionrl.agents.evaluation.policies import expert_policy
        from visionrl.agents.evaluation.record import record

        for name in words.names or [entry.removeprefix("visionrl/") for entry in TASKS]:
            entry = entry_of(name)
            until = "detection" in entry.tags
            record(
                entry.id,
                expert_policy,
                FOLDER / f"{name}.gif",
                item=ITEMS.get(entry.id, 0),
                until_success=until,
            )


if __name__ == "__main__":
    main()
