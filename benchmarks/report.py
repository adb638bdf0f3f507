"""The tables of a measurement, as Markdown."""

from __future__ import annotations

from typing import Any

import numpy as np

GOALS = (  # setups, numerator, denominator, at least / at most, bound, what it says
    (("landmark", "landmark-84"), "envpool/Pong/64", "{}/numpy/64", ">=", 100, "EnvPool Pong / engine"),
    (
        ("landmark", "landmark-84"),
        "ap-gym/CircleSquare/64",
        "{}/numpy/64",
        ">=",
        30,
        "ap-gym CircleSquare / engine",
    ),
    (
        ("landmark", "landmark-84"),
        "{}/sync-gym/64",
        "{}/numpy/64",
        ">=",
        4,
        "SyncVectorEnv of the task / engine",
    ),
    (
        ("landmark", "landmark-84"),
        "{}/sync-scalar/64",
        "{}/numpy/64",
        ">=",
        25,
        "SyncVectorEnv of scalar / engine",
    ),
    (
        ("landmark", "landmark-84"),
        "{}/numpy/64",
        "{}/memcpy/64",
        "<=",
        4,
        "engine / memcpy of the observations",
    ),
    (("landmark", "landmark-84"), "{}/gym/1", "{}/scalar/1", "<=", 3, "gym.make / scalar, one environment"),
    (("tracking", "tracking-84"), "envpool/Pong/64", "{}/numpy/64", ">=", 10, "EnvPool Pong / engine"),
    (
        ("tracking", "tracking-84"),
        "ap-gym/CircleSquare/64",
        "{}/numpy/64",
        ">=",
        3,
        "ap-gym CircleSquare / engine",
    ),
    (("tracking", "tracking-84"), "{}/numpy/64", "{}/crops/64", "<=", 1.3, "engine / its crops"),
    (("tracking", "tracking-84"), "{}/gym/1", "{}/scalar/1", "<=", 3, "gym.make / scalar, one environment"),
)


def page(result: dict[str, Any]) -> str:
    """The whole page."""
    found = result["contenders"]
    return "\n".join(
        [
            "# Speed",
            "",
            f"Written by `{_command(result)}`; do not edit.",
            "",
            *_machine(result),
            "",
            "## Goals",
            "",
            *_goals(found),
            "",
            "Ratios of the medians over the rounds; in brackets the quartiles of the ratios within a round.",
            "CPU time counts all threads of the process.",
            "",
            "## All rows",
            "",
            *[f"* `{name}`: {about}" for name, about in result["setups"].items()],
            "",
            *_rows(found),
            "",
            *_missing(result["missing"]),
            "",
        ]
    )


def _command(result: dict[str, Any]) -> str:
    pace = f"--rounds {result['rounds']} --budget {result['budget_s']}" + " --quick" * result["quick"]
    return f"python benchmarks/steps_per_second.py {pace} --write docs/results/speed.md"


def _machine(result: dict[str, Any]) -> list[str]:
    machine = result["machine"]
    libraries = ", ".join(f"{name} {v}" for name, v in machine["libraries"].items() if v)
    load = ", ".join(f"{value:.1f}" for value in machine["load"])
    pace = f"{result['rounds']} rounds of {result['budget_s']} s a contender" + (" (quick)" * result["quick"])
    return [
        f"* {machine['cpu']}, {machine['cores']} cores, GPU: {machine['gpu'] or 'none'}; {machine['system']}",
        f"* Python {machine['python']}, {libraries}",
        f"* one process, all contenders in turns, {pace}; one thread each unless it says otherwise",
        f"* load average of the machine at the start: {load} (others used it meanwhile where this exceeds 1)",
    ]


def _goals(found: dict[str, Any]) -> list[str]:
    lines = ["| task | ratio | goal | wall | CPU | reached |", "|---|---|---|---|---|---|"]
    for setups, over, under, sign, bound, what in GOALS:
        for setup in setups:
            pair = over.format(setup), under.format(setup)
            if any(name not in found for name in pair):
                lines.append(f"| {setup} | {what} | {sign} {bound} | missing | missing | not measured |")
                continue
            wall, cpu = (_ratio(found, *pair, kind) for kind in ("wall_us", "cpu_us"))
            reached = wall[0] >= bound if sign == ">=" else wall[0] <= bound
            cells = f"{wall[0]:.3g} ({wall[1]:.3g}-{wall[2]:.3g}) | {cpu[0]:.3g}"
            lines.append(
                f"| {setup} | {what} | {sign} {bound} | {cells} | {'yes' if reached else '**no**'} |"
            )
    return lines


def _ratio(found: dict[str, Any], over: str, under: str, kind: str) -> tuple[float, float, float]:
    """Ratio of the medians, and the quartiles of the ratios within a round."""
    top, bottom = (np.array(found[name][kind]) for name in (over, under))
    low, high = np.percentile(top / bottom, (25, 75))
    return float(np.median(top) / np.median(bottom)), float(low), float(high)


def _rows(found: dict[str, Any]) -> list[str]:
    lines = [
        "| contender / rows | steps/s (wall) | us per step, wall: median (IQR) | us per step, CPU: median |",
        "|---|---|---|---|",
    ]
    for name, row in sorted(found.items(), key=lambda item: _order(item[0])):
        low, middle, high = np.percentile(row["wall_us"], (25, 50, 75))
        cpu = np.median(row["cpu_us"])
        lines.append(f"| {name} | {1e6 / middle:,.0f} | {middle:.3g} ({low:.3g}-{high:.3g}) | {cpu:.3g} |")
    return lines


def _order(name: str) -> tuple[str, str, int]:
    setup, kind, rows = name.split("/")
    return setup, kind, int(rows)


def _missing(missing: dict[str, str]) -> list[str]:
    return ["Missing:", "", *[f"* {name}: {why}" for name, why in missing.items()]] if missing else []
