"""Parameters, memory and milliseconds per image of every backbone, at batch 1 and 32, on one thread.

    nice -n 10 python benchmarks/backbones.py --json backbones.json --write docs/results/backbones.md
    python benchmarks/backbones.py --only "^resnet" --repeats 3        # a few, printed only

Every network gets its paper's input size, the small ones for RL their windows'. Only the forward pass is timed, in
evaluation mode without gradients; the weights are random, which changes nothing about the time. The CPU time of the
process is published beside the wall clock, so that load from elsewhere can be seen.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # before any library reads it

import torch  # noqa: E402

from visionrl.backbones import list_backbones, make_backbone  # noqa: E402

torch.set_num_threads(1)
SIZES = {
    "alexnet": 224,
    "alexnet2012": 227,
    "inception_v3": 299,
    "inception_v4": 299,
    "inception_resnet_v2": 299,
}
SIZES |= {
    "mlp": 8,
    "vit_tiny8": 64,
    "unet": 64,
    "small": 64,
    "correlation": 64,
    "hourglass": 64,
    "conv4": 28,
    "nature": 84,
    "impala": 64,
}  # all others 224
BATCHES = (1, 32)


def measure(name: str, repeats: int, seconds: float) -> dict[str, Any]:
    """One backbone's numbers; times in milliseconds per image, one entry a pass."""
    net, side = make_backbone(name).eval(), SIZES.get(name, 224)
    row: dict[str, Any] = {"side": side, "num_features": net.num_features}
    row["parameters"] = sum(p.numel() for p in net.parameters())
    row["weights_mb"] = sum(x.nbytes for x in (*net.parameters(), *net.buffers())) / 1e6
    with torch.inference_mode():
        row["outputs_mb"] = outputs(net, torch.rand(1, 3, side, side)) / 1e6
        for batch in BATCHES:
            times = passes(net, torch.rand(batch, 3, side, side), repeats, seconds)
            row[f"wall_ms_{batch}"] = [wall / batch for wall, _ in times]
            row[f"cpu_ms_{batch}"] = [cpu / batch for _, cpu in times]
    return row


def passes(
    net: torch.nn.Module, images: torch.Tensor, repeats: int, seconds: float
) -> list[tuple[float, float]]:
    """Times of forward passes after a warm-up; one that takes longer than ``seconds`` counts itself."""
    times = [timed(net, images)]
    while len(times) <= repeats and sum(wall for wall, _ in times) < 1000 * seconds:
        times.append(timed(net, images))
    return times[1:] or times


def outputs(net: torch.nn.Module, image: torch.Tensor) -> int:
    """Bytes of the layers' outputs for one image, those written in place not counted twice."""
    found = []

    def note(_layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if output.untyped_storage().data_ptr() != inputs[0].untyped_storage().data_ptr():
            found.append(output.nbytes)

    hooks = [layer.register_forward_hook(note) for layer in net.modules() if not [*layer.children()]]
    net(image)
    for hook in hooks:
        hook.remove()
    return sum(found)


def timed(net: torch.nn.Module, images: torch.Tensor) -> tuple[float, float]:
    """Wall and CPU milliseconds of one forward pass."""
    wall, cpu = time.perf_counter(), time.process_time()
    net(images)
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


def middle(values: list[float]) -> float:
    """The median."""
    return sorted(values)[len(values) // 2]


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The numbers as Markdown, smallest network first."""
    head = ["backbone", "input, px", "features", "parameters, M", "weights, MB", "outputs, MB"]
    head += [f"{clock} ms, batch {batch}" for batch in BATCHES for clock in ("wall", "CPU")]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for name, row in sorted(rows.items(), key=lambda item: item[1]["parameters"]):
        sizes = [f"`{name}`", str(row["side"]), str(row["num_features"])]
        sizes += [f"{row['parameters'] / 1e6:.2f}", f"{row['weights_mb']:.1f}", f"{row['outputs_mb']:.3g}"]
        times = [middle(row[f"{clock}_ms_{batch}"]) for batch in BATCHES for clock in ("wall", "cpu")]
        lines.append(
            "| " + " | ".join([*sizes, *(f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}" for ms in times)]) + " |"
        )
    return "\n".join(lines)


def machine() -> str:
    """The processor's name and the number of cores."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.is_file() else []
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def page(result: dict[str, Any]) -> str:
    """The page of the documentation."""
    return f"""# Cost of the backbones

Forward pass of one colour image, in milliseconds per image, on one CPU thread: median of up to
{result["repeats"]} passes after a warm-up (one pass alone where it takes longer than {result["seconds"]:g} s);
weights and BatchNorm statistics in float32. Where the wall clock exceeds the CPU time the machine was busy with
other work; the CPU columns compare then. This page is generated:

    {result["command"]}

Machine: {result["machine"]}; load at the start {result["load"]:.1f}; torch {result["versions"]["torch"]},
torchvision {result["versions"]["torchvision"]}, Python {result["versions"]["python"]}.

{table(result["backbones"])}

Parameters and weights are the trunk's, without the published classifier; outputs are those of all layers for one
image, about what training has to keep of it. Inception-v3 and later and AlexNet (2012) have their papers' input,
small networks that of an agent's window or less, all others 224 px.
{missing_note(result["missing"])}"""


def missing_note(missing: dict[str, str]) -> str:
    """Why networks are not in the table."""
    return "".join(f"\nNot measured: `{name}` ({why}).\n" for name, why in missing.items())


def measure_all(args: argparse.Namespace) -> dict[str, Any]:
    """All numbers, and how they came about."""
    rows: dict[str, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    result: dict[str, Any] = {"machine": machine(), "load": os.getloadavg()[0]}
    for name in list_backbones():
        if re.search(args.only, name):
            try:
                rows[name] = measure(name, args.repeats, args.seconds)
            except ImportError as error:
                missing[name] = str(error).splitlines()[0]
            print(name, "done" if name in rows else missing[name], file=sys.stderr)
    command = f"nice -n 10 python benchmarks/backbones.py --repeats {args.repeats} --seconds {args.seconds:g}"
    command += (f" --only '{args.only}'" if args.only else "") + " --write docs/results/backbones.md"
    versions = {name: version(name) for name in ("torch", "torchvision", "visionrl")}
    versions["python"] = platform.python_version()
    result |= {"command": command, "versions": versions, "repeats": args.repeats, "seconds": args.seconds}
    return {**result, "missing": missing, "backbones": rows}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--only", default="", help="regular expression of names")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="about how long one batch size may take")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", type=Path, help="file of the page")
    args = parser.parse_args()
    result = measure_all(args)
    print(table(result["backbones"]))
    for path, text in ((args.json, json.dumps(result, indent=1) + "\n"), (args.write, page(result))):
        if path:
            part = path.with_name(f".{path.name}.part")
            part.write_text(text)
            os.replace(part, path)


if __name__ == "__main__":
    main()
