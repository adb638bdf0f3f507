"""Trains the networks of ``SuperResolution-v0`` on the training photographs: a shallow and a deep one a scale.

python scripts/train_upscalers.py espcn --scale 3 --seconds 50               # and --scale 2, --scale 4
python scripts/train_upscalers.py deep --scale 3 --seconds 580
python scripts/train_upscalers.py deep --scale 2 --seconds 50 --start 3      # and --scale 4

Both give sub-pixels of the small picture (Shi et al., 2016) that are added to its bicubic enlargement, as in Kim et
al. (2016); one has 3 layers of 16 maps, the other 10 of 24.

One thread; the seconds are CPU time. It prints PSNR on the validation photographs, and writes the weights, half
precision, to ``visionrl/banks/upscalers``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.banks.enlarged import as_bytes
from visionrl.datasets.embedded.cutouts import backgrounds
from visionrl.datasets.embedded.photographs import Photographs
from visionrl.metrics.image_quality import psnr
from visionrl.ops.pyramid import shrink
from visionrl.ops.upscale import bicubic, luma, read_layers

FOLDER = Path(__file__).resolve().parents[1] / "visionrl" / "banks" / "upscalers"
CROP, BATCH = 96, 8  # pixels of the enlarged picture, crops
SHAPES = {"espcn": (16, 3, 5), "deep": (24, 10, 3)}  # maps, layers, side of the first layer's kernels
Kind = Literal["espcn", "deep"]


def network(scale: int, width: int, depth: int, first: int) -> nn.Sequential:
    """Layers on the small picture, the last of which gives a square of pixels for each of its pixels."""
    layers: list[nn.Module] = [nn.Conv2d(1, width, first), nn.ReLU()]
    for _ in range(depth - 2):
        layers += [nn.Conv2d(width, width, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(width, scale**2, 3))


def pictures(split: str) -> list[np.ndarray]:
    """Luma of the photographs of a split; of the training split also of all pixels that the files have."""
    found = [luma(sample.image) for sample in Photographs(split)]
    if split == "train":
        found += [luma(shrink(one.image, 640)[0]) for one in backgrounds(split)]
    return found


def pair(truth: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The small picture, its bicubic enlargement and the true one."""
    high, wide = (length // scale for length in truth.shape)
    truth = truth[: high * scale, : wide * scale]
    low = as_bytes(bicubic(truth, high, wide)).astype(np.float32) / 255
    return low, bicubic(low, *truth.shape).copy(), truth


def crops(
    pairs: list[tuple[np.ndarray, ...]], scale: int, far: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Inputs with a margin of what the network sees, and what it should add, of random places, turned at random."""
    inputs, wanted = [], []
    weights, side = np.array([truth.size for *_, truth in pairs], float), CROP // scale
    for number in rng.choice(len(pairs), BATCH, p=weights / weights.sum()):
        low, enlarged, truth = pairs[number]
        y, x = (int(rng.integers(far, length - side - far)) for length in low.shape)
        part = low[y - far : y + side + far, x - far : x + side + far]
        place = slice(y * scale, (y + side) * scale), slice(x * scale, (x + side) * scale)
        turns, flips = int(rng.integers(4)), bool(rng.integers(2))
        for some, into in ((part, inputs), ((truth - enlarged)[place], wanted)):
            turned = np.rot90(some, turns)
            into.append(np.ascontiguousarray(turned[:, ::-1] if flips else turned))
    return torch.from_numpy(np.stack(inputs))[:, None], torch.from_numpy(np.stack(wanted))[:, None]


@torch.no_grad()
def score(net: nn.Sequential, scale: int, far: int) -> tuple[float, float]:
    """Mean PSNR of the validation photographs, by the network and by bicubic enlargement."""
    rows = []
    for truth in pictures("val"):
        low, enlarged, truth = pair(truth, scale)
        padded = F.pad(torch.from_numpy(low)[None, None], (far,) * 4, mode="replicate")
        more = F.pixel_shuffle(net(padded), scale)[0, 0].numpy()
        planes = 255 * np.stack([enlarged + more, enlarged, truth])[:, None, scale:-scale, scale:-scale]
        rows.append(psnr(planes[:2], planes[2:]))
    ours, theirs = np.mean(rows, axis=0)
    return float(ours), float(theirs)


def main(
    kind: tyro.conf.Positional[Kind],
    scale: Literal[2, 3, 4] = 3,
    seconds: float = 60,
    start: int | None = None,
    seed: int = 0,
    rate: float = 2e-3,
) -> None:
    """Train one network and write it.

    Args:
        kind: of network.
        scale: of the enlargement.
        seconds: CPU time.
        start: scale of the network from whose layers, all but the last, it begins.
        seed: of everything.
        rate: learning rate at the start; it falls to a hundredth along a cosine.
    """
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng, net = np.random.default_rng(seed), network(scale, *SHAPES[kind])
    convolutions = [layer for layer in net if isinstance(layer, nn.Conv2d)]
    begin(convolutions, None if start is None else FOLDER / f"{kind}-x{start}.npz")
    far = sum(layer.kernel_size[0] // 2 for layer in convolutions)
    pairs = [pair(truth, scale) for truth in pictures("train")]
    adam = torch.optim.Adam(net.parameters(), lr=rate)
    began, step, told = time.process_time(), 0, 0.0
    while (spent := time.process_time() - began) < seconds:
        for group in adam.param_groups:
            group["lr"] = rate * (0.01 + 0.99 * (0.5 + 0.5 * np.cos(np.pi * spent / seconds)))
        inputs, wanted = crops(pairs, scale, far, rng)
        loss = F.mse_loss(F.pixel_shuffle(net(inputs), scale), wanted)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        adam.step()
        step += 1
        if spent - told > 60:
            told = spent
            print(f"{spent:.0f} s, {step} steps: {score(net, scale, far)[0]:.3f} dB", flush=True)
    ours, theirs = score(net, scale, far)
    print(f"x{scale}: {ours:.3f} dB, bicubic {theirs:.3f}, {step} steps")
    write(convolutions, FOLDER / f"{kind}-x{scale}.npz")


def begin(layers: list[nn.Conv2d], path: Path | None) -> None:
    """Set the first weights: at random, all but the last layer's from a file where one is given."""
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    nn.init.normal_(layers[-1].weight, std=1e-3)
    if path is not None:
        for layer, (weights, biases) in zip(layers[:-1], read_layers(path), strict=False):
            layer.weight.data = torch.tensor(weights.transpose(3, 2, 0, 1))
            layer.bias.data = torch.tensor(biases)  # type: ignore[union-attr]


def write(layers: list[nn.Conv2d], path: Path) -> None:
    """Write weights (k, k, C, D) and biases (D,) in half precision."""
    arrays = {}
    for number, layer in enumerate(layers):
        arrays[f"weights{number}"] = layer.weight.detach().numpy().transpose(2, 3, 1, 0).astype(np.float16)
        arrays[f"biases{number}"] = layer.bias.detach().numpy().astype(np.float16)  # type: ignore[union-attr]
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **arrays)


if __name__ == "__main__":
    tyro.cli(main)
