"""Writes a page of results from the folders of finished runs: one task, one configuration, several seeds.

python scripts/make_results.py landmarks runs/LandmarkLocalization-v0-dqn-small-s{0,1,2}
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tyro

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "results"


def rows(runs: list[dict[str, Any]], metrics: list[str]) -> list[str]:
    """The table: methods that need no training once, the agent once per seed, and its mean over seeds."""
    first = runs[0]["test"]["rows"]
    lines = [f"| method | {' | '.join(metrics)} | ms/episode |", "|---" * (len(metrics) + 2) + "|"]
    for row in first:
        if row["kind"] != "agent":
            lines.append(line(row["name"], row, metrics))
            continue
        agents = [next(r for r in run["test"]["rows"] if r["kind"] == "agent") for run in runs]
        lines += [
            line(f"{row['name']}, seed {run['seed']}", r, metrics)
            for run, r in zip(runs, agents, strict=True)
        ]
        means = [[r["metrics"][m]["value"] for r in agents] for m in metrics]
        cells = [f"**{np.mean(values):.3f}** ± {np.std(values, ddof=1):.3f}" for values in means]
        lines.append(f"| **{row['name']}, mean ± sd of {len(runs)} seeds** | {' | '.join(cells)} | |")
    return lines


def line(name: str, row: dict[str, Any], metrics: list[str]) -> str:
    """One row with 95 % intervals."""
    cells = [row["metrics"][m] for m in metrics]
    shown = [f"{c['value']:.3f} [{c['low']:.3f}, {c['high']:.3f}]" for c in cells]
    return f"| {name} | {' | '.join(shown)} | {row['ms_per_episode']:.1f} |"


def curves(folders: list[Path], metric: str, path: Path) -> None:
    """The validation curves of all seeds in one picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for folder in folders:
        with (folder / "curve.csv").open() as file:
            points = [(float(row["timesteps"]), float(row[metric])) for row in csv.DictReader(file)]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=folder.name)
    axes.set(xlabel="environment steps", ylabel=f"{metric}, validation split")
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main(
    name: str,
    runs: tuple[Path, ...],
    /,
    machine: str = "2 cores of an Intel Xeon at 2.8 GHz, no GPU",
    note: str = "",
) -> None:
    """Write ``docs/results/<name>.md`` with its curve and film.

    Args:
        name: of the page.
        runs: folders of finished runs.
        machine: where they ran.
        note: a paragraph for the reader.
    """
    configs = [json.loads((run / "config.json").read_text()) for run in runs]
    found = [json.loads((run / "metrics.json").read_text()) for run in runs]
    for run, config in zip(found, configs, strict=True):
        run["seed"] = config["config"]["seed"]
    test = found[0]["test"]
    agent = next(row for row in test["rows"] if row["kind"] == "agent")
    wanted = [
        test["primary_metric"],
        f"median_{test['primary_metric']}",
        "is_success",
        "median_error_mm",
        "precision_20px",
    ]
    metrics = [m for m in wanted if m in agent["metrics"]]
    commands = "\n".join(f"visionrl train --env {test['env_id']} --seed {run['seed']}" for run in found)
    better = "more" if test["more_is_better"] else "less"
    parts = [
        f"# {test['env_id'].removeprefix('visionrl/')}",
        f"```\n{commands}\n```",
        f"{machine}; {found[0]['timesteps']:,} steps per run. The agent is the best of its evaluations on the "
        f"validation split; the test split ({agent['episodes']} episodes over {test['clusters']} images or videos) was "
        "looked at once per run. [95 % intervals], bootstrap over images or videos; "
        f"{test['primary_metric']}: {better} is better.",
        "\n".join(rows(found, metrics)),
        *([note] if note else []),
        f"![Validation curves]({name}.png)",
        f"An episode of the test split (seed {found[0]['seed']}): orange is the agent, green the truth.",
        f"![An episode]({name}.gif)",
    ]
    FOLDER.mkdir(parents=True, exist_ok=True)
    curves(list(runs), test["primary_metric"], FOLDER / f"{name}.png")
    shutil.copy(runs[0] / "episode.gif", FOLDER / f"{name}.gif")
    (FOLDER / f"{name}.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
