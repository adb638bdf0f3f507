"""The supervised row of point models: what its network sees, the maps, how they are read, how it ends an episode."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.envs.test_shape_pose import pictures, task_on
from visionrl.agents import compare
from visionrl.baselines.shapes import picture_of
from visionrl.core.testing import start
from visionrl.supervised.heatmaps import (
    HeatmapConfig,
    HeatmapNet,
    HeatmapTrainer,
    find_points,
    fit_heatmaps,
    gaussians,
    heatmap_policy,
    read_out,
    seen_through,
    start_square,
)

ID = "visionrl/ShapePose-v0"


class Knows(torch.nn.Module):
    """Maps that peak at given places, pixels of the image that it sees."""

    def __init__(self, places: np.ndarray) -> None:
        super().__init__()
        self.places = torch.nn.Parameter(torch.from_numpy(places).float())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        side = images.shape[-1]
        return (
            gaussians(self.places[None], (side // 2,) * 2, side, 2.0).log().view(1, -1, side // 2, side // 2)
        )


def test_the_network_gives_a_map_a_point() -> None:
    assert HeatmapNet(5)(torch.zeros(2, 1, 64, 64)).shape == (2, 5, 32, 32)


def test_targets_are_distributions_and_are_read_out_between_cells() -> None:
    places = torch.tensor([[[20.3, 31.8], [40.0, 12.6]]])
    target = gaussians(places, (32, 32), 64, 2.0)
    assert torch.allclose(target.sum(-1), torch.ones(1, 2))
    assert torch.allclose(read_out(target.log().view(1, 2, 32, 32), 64, 2.0), places, atol=0.05)


def test_a_second_peak_far_away_does_not_move_the_place() -> None:
    maps = gaussians(torch.tensor([[[20.0, 20.0]]]), (32, 32), 64, 2.0)
    maps = maps + 0.5 * gaussians(torch.tensor([[[50.0, 50.0]]]), (32, 32), 64, 2.0)
    assert torch.allclose(
        read_out(maps.log().view(1, 1, 32, 32), 64, 2.0)[0, 0], torch.tensor(20.0), atol=0.1
    )


@pytest.mark.parametrize(("turn", "grow"), [(0.0, 1.0), (0.3, 1.1)])
def test_the_square_is_about_the_box_at_the_start(turn: float, grow: float) -> None:
    task = task_on(jitter=0.2)
    state = start(task)
    box = task.points(state, state.position)[0]
    middle = (box.min(axis=0) + box.max(axis=0)) / 2
    way = start_square(task, state, turn, grow)
    centre = np.full(2, (task.side - 1) / 2)
    assert np.allclose(way[:, :2] @ centre + way[:, 2], middle)
    shown = np.ptp(box, axis=0).max() * 1.7 / task.side
    assert np.sqrt(np.linalg.det(way[:, :2])) == pytest.approx(shown / grow)


def test_training_images_show_the_points_where_they_say() -> None:
    task = task_on(jitter=0.1)
    work = HeatmapTrainer(HeatmapConfig(turn=10, contrast=0), task, task)
    for item in range(3):
        image, places = work.changed(item)
        assert image.shape == (task.side,) * 2 and image.dtype == np.float32 and image.max() <= 1
        for x, y in np.rint(places).astype(int):
            assert image[y, x] > 0.6  # the middle of a bright disc


def test_what_is_seen_is_the_frame_where_the_box_is_right() -> None:
    task = task_on(jitter=0.0)
    state = start(task)
    seen = seen_through(picture_of(task, 0), start_square(task, state))
    assert seen.shape == (task.side,) * 2 and np.abs(seen * 255 - picture_of(task, 0)).mean() < 1.0


def test_an_episode_ends_with_the_model_fitted_to_what_is_found() -> None:
    task: Any = task_on(jitter=0.2)
    state = start(task)
    way = start_square(task, state)
    places = (state.truth[0] - way[:, 2]) @ np.linalg.inv(way[:, :2]).T
    net: Any = Knows(places)
    assert np.abs(find_points(net, task, [state], 2.0)[0] - state.truth[0]).max() < 0.2
    end = heatmap_policy(net, 2.0)(task, state)
    assert task.terminated(end)[0] and task.metrics(end)["is_success"][0]


def test_a_configuration_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"spread must be a number > 0\.0, got 0\.0"):
        HeatmapConfig(spread=0.0)


@pytest.mark.slow
def test_it_learns_discs_and_is_a_row() -> None:
    samples, lines = pictures(16), list[str]()
    train, val = task_on(samples[:12]), task_on(samples[12:], train_data=samples[:12])
    config = HeatmapConfig(epochs=60, batch_size=4)
    run = fit_heatmaps(train, val, config, lines.append)
    kwargs = {"data": samples[12:], "train_data": samples[:12], "window": 9}
    fitted = {**kwargs, "data": samples[:12]}
    table = compare(ID, methods={"heat maps": run}, rows=["mean shape"], env_kwargs=kwargs, fit_kwargs=fitted)
    errors = {row.name: row.metrics["nme"].value for row in table.rows}
    assert len(lines) == 60 and errors["heat maps"] < 0.5 * errors["mean shape"]
