"""The supervised row of segmentation tasks: the network, what it learns from, how its masks end an episode."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from visionrl.agents import compare
from visionrl.backbones import make_backbone
from visionrl.core import batch, make_task
from visionrl.datasets import ImageSample
from visionrl.supervised.segmentation import (
    MaskNet,
    SegmentationConfig,
    SegmentationTrainer,
    first_observations,
    fit_segmentation,
    recoloured,
    seen_images,
    segmentation_policy,
    true_masks,
    turned,
)

TASKS = ["Segmentation-v0", "ContourSegmentation-v0"]


def discs(count: int, seed: int = 0) -> list[ImageSample]:
    """Bright discs on noise, 48 x 48 pixels."""
    rng, found = np.random.default_rng(seed), []
    y, x = np.mgrid[:48, :48]
    for number in range(count):
        middle, radius = rng.uniform(16, 32, 2), rng.uniform(8, 13)
        mask = np.hypot(x - middle[0], y - middle[1]) < radius
        image = rng.integers(0, 90, (1, 48, 48)) + 120 * mask
        found.append(ImageSample(image.astype(np.uint8), mask=mask.astype(int), name=f"d{number}"))
    return found


@pytest.mark.parametrize(("high", "wide"), [(64, 64), (33, 50)])
def test_the_network_gives_a_logit_a_pixel_and_is_small(high: int, wide: int) -> None:
    net = MaskNet(4)
    assert net(torch.zeros(2, 4, high, wide)).shape == (2, 1, high, wide)
    assert 100_000 < sum(x.numel() for x in net.parameters()) < 120_000


def test_recoloured_images_keep_which_pixels_are_alike_and_no_strength_changes_nothing() -> None:
    chance = torch.Generator().manual_seed(0)
    images = torch.full((6, 3, 8, 8), 0.3)
    images[:, :, :4] = torch.rand(6, 3, 1, 1, generator=chance)
    assert recoloured(images, 0.0, chance) is images
    changed = recoloured(images, 1.0, chance)
    assert changed.min() >= 0 and changed.max() <= 1 and (changed - images).abs().mean((1, 2, 3)).min() > 0.01
    for half in (changed[:, :, :4], changed[:, :, 4:]):
        assert (half.amax((2, 3)) - half.amin((2, 3))).max() < 1e-5


def test_what_it_learned_is_what_an_agent_may_begin_with(tmp_path: Any) -> None:
    train = make_task(TASKS[0], data=discs(4))
    fit_segmentation(train, train, SegmentationConfig(epochs=1, batch_size=4), weights=tmp_path / "unet.pt")
    images, _ = first_observations(train)
    trunk = make_backbone("unet", images.shape[1], weights=str(tmp_path / "unet.pt"))
    drawn = make_backbone("unet", images.shape[1])
    assert trunk.pretrained and not torch.equal(trunk(images), drawn(images))


@pytest.mark.parametrize("kind", range(8))
def test_images_and_masks_are_turned_alike(kind: int) -> None:
    image = torch.arange(16).view(1, 1, 4, 4)
    mask = image[:, 0] > 10
    assert torch.equal(turned(image, kind)[:, 0] > 10, turned(mask, kind))
    assert len({tuple(turned(image, k).flatten().tolist()) for k in range(8)}) == 8


@pytest.mark.parametrize("env_id", TASKS)
def test_it_sees_what_an_agent_sees_at_first_and_its_masks_are_scored(env_id: str) -> None:
    task: Any = make_task(env_id, data=discs(3))
    images, masks = first_observations(task)
    side = masks.shape[-1]
    assert images.shape[0] == task.items == 3 and images.shape[-2:] == (side, side)
    assert 0.03 < masks.float().mean() < 0.6
    state = batch.stack([task.sample(np.random.default_rng(1), 1)])
    truth = torch.from_numpy(true_masks(task, state))

    class Knows(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.shape[1] == images.shape[1]
            return truth.float()[:, None] - 0.5 + self.bias

    end = segmentation_policy(Knows())(task, state)
    assert task.metrics(end)["iou"].tolist() == [1.0] and task.terminated(end)[0]
    assert task.metrics(end)["is_success"][0] and np.array_equal(
        seen_images(task, state)[0], images[1].numpy()
    )


def test_a_run_goes_on_exactly_where_it_stopped(tmp_path: Any) -> None:
    from rich.console import Console

    from visionrl.supervised.trainer import save

    data = first_observations(make_task(TASKS[0], data=discs(8)))
    config = SegmentationConfig(epochs=2, batch_size=4)

    def begun() -> SegmentationTrainer:
        torch.manual_seed(0)
        return SegmentationTrainer(config, data, data, colours=1)

    whole, half, again = begun(), begun(), begun()
    list(whole.run(Console(quiet=True)))
    next(half.run(Console(quiet=True)))
    save(tmp_path / "state.pt", half.state())
    again.restore(tmp_path / "state.pt")
    list(again.run(Console(quiet=True)))
    assert whole.curve[1] == again.curve[1]


def test_a_task_without_masks_is_refused() -> None:
    with pytest.raises(ValueError, match="task must be one of masks, got SimpleNamespace"):
        true_masks(SimpleNamespace(bank=SimpleNamespace()), SimpleNamespace())


@pytest.mark.parametrize("env_id", TASKS)
def test_each_of_several_objects_of_an_image_has_its_own_true_mask(env_id: str) -> None:
    mask = np.zeros((48, 64), int)
    mask[8:40, 4:28], mask[20:36, 36:60] = 1, 2
    image = (mask * 90).astype(np.uint8)[None]
    task: Any = make_task(env_id, data=[ImageSample(image, mask=mask, name="two")])
    state: Any = batch.stack([task.sample(np.random.default_rng(0), item) for item in range(task.items)])
    areas = true_masks(task, state).sum((1, 2))
    assert task.items == len(areas) == 2 and areas[0] != areas[1]


@pytest.mark.slow
@pytest.mark.parametrize("env_id", TASKS)
def test_it_learns_discs_and_is_a_row(env_id: str) -> None:
    lines: list[str] = []
    train, val = (make_task(env_id, data=discs(16, seed)) for seed in (0, 1))
    run = fit_segmentation(train, val, SegmentationConfig(epochs=20, batch_size=8), lines.append)
    table = compare(env_id, methods={"U-Net": run}, rows=["random"], env_kwargs={"data": discs(6, 2)})
    rows = {row.name: row.metrics["iou"].value for row in table.rows}
    assert len(lines) == 20 and rows["U-Net"] > 0.8 > rows["random"]
