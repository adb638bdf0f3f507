"""Jigsaw puzzles: what the tiles show, what a swap earns, and pictures of users that are put in order."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from PIL import Image

from visionrl.agents.networks.extractor import VisionExtractor
from visionrl.agents.prediction.agent import classical
from visionrl.agents.prediction.inputs import inputs_of
from visionrl.agents.prediction.predict import predict_files
from visionrl.agents.training.config import TrainConfig
from visionrl.agents.training.models import check_before_loading
from visionrl.baselines.jigsaw import best_arrangement, by_edges, edge_costs
from visionrl.core import batch, make_task
from visionrl.core.testing import act, at, roll_out, start
from visionrl.datasets import ImageSample
from visionrl.envs.recognition.puzzle_picture import cells_of, joined_cells

ID = "visionrl/JigsawPuzzle-v0"
DONE = 36


def smooth(height: int = 120, width: int = 140, channels: int = 3) -> np.ndarray:
    """An image without two parts alike: slow waves, (C, H, W)."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (9 + k) + k) + np.cos(y / (7 + 2 * k) - k) + (x * y) / 6000 for k in range(channels)]
    return np.clip(np.stack(waves) * 45 + 110, 0, 255).astype(np.uint8)


def small(**kwargs: Any) -> Any:
    return make_task(ID, **{"data": [ImageSample(smooth(), name="waves")], **kwargs})


def test_a_solved_puzzle_without_gaps_shows_a_part_of_the_image() -> None:
    task = small(gap=0)
    state = at(task, order=np.arange(9))
    x, y = state.corner[0, 0]
    np.testing.assert_array_equal(task.observe(state)["image"][0], smooth()[:, y : y + 72, x : x + 72])


def test_a_tile_lies_anywhere_in_its_cell() -> None:
    task = small()
    for seed in range(30):
        state = start(task, seed)
        offset = np.diff(state.corner[0].reshape(3, 3, 2)[..., 0], axis=1)
        assert (offset >= 32 - 8).all() and (offset <= 32 + 8).all()
        image, (x, y) = task.observe(at(task, state, order=np.arange(9)))["image"][0], state.corner[0, 5]
        np.testing.assert_array_equal(image[:, 24:48, 48:], smooth()[:, y : y + 24, x : x + 24])


def test_no_puzzle_begins_solved() -> None:
    task = small(grid=2, swaps=6)
    assert not any(task.in_place(start(task, seed)).all() for seed in range(200))


def test_a_swap_earns_the_tiles_that_it_puts_in_place() -> None:
    task = small()
    state = at(task, order=[1, 0, 2, 4, 5, 3, 6, 7, 8])
    right = act(task, state, task.number[0, 1])
    assert right.reward == pytest.approx(2 / 9 - 0.01) and not right.terminated[0]
    assert right.state.order[0].tolist() == [0, 1, 2, 4, 5, 3, 6, 7, 8]
    back = act(task, right.state, task.number[1, 0])
    assert back.reward == pytest.approx(-2 / 9 - 0.01)
    done = act(task, state, DONE)
    assert done.reward == 0 and done.terminated[0] and not task.metrics(done.state)["is_success"][0]


def test_gains_telescope_and_the_expert_needs_as_few_swaps_as_cycles_want() -> None:
    task = small()
    for seed in range(20):
        state, total = start(task, seed), 0.0
        order = state.order[0].tolist()
        cycles, seen = 0, set[int]()
        for one in range(9):
            cycles += one not in seen
            while one not in seen:
                seen.add(one)
                one = order[one]
        first = float(task.share(state)[0])
        while not task.terminated(state)[0]:
            outcome = act(task, state, task.expert(state))
            state, total = outcome.state, total + float(outcome.reward[0])
        found = task.metrics(state)
        assert found["is_success"][0] and found["swaps"][0] == 9 - cycles <= 8
        assert total == pytest.approx(1 - first - 0.01 * (9 - cycles))


def test_a_swap_is_not_undone() -> None:
    task = small()
    state = start(task)
    assert task.action_mask(state).all()
    mask = task.action_mask(act(task, state, 7).state)
    assert np.flatnonzero(~mask[0]).tolist() == [7]


def test_an_episode_ends_after_its_last_swap() -> None:
    task = small(swaps=2)
    ends = [moment.after.step[0] for moment in roll_out(task, "chance", 60, rows=1) if moment.terminated[0]]
    assert max(ends) == 2


def test_edges_solve_a_puzzle_without_gaps() -> None:
    task = small(gap=0)
    run = by_edges(None)
    for seed in range(3):
        end = run(task, start(task, seed))
        assert (
            task.metrics(end)["is_success"][0]
            and end.finished[0]
            and end.step[0] == (end.taken[0] >= 0).sum()
        )


def test_the_best_arrangement_joins_a_ramp() -> None:
    ramp = np.add.outer(np.arange(24.0) * 5, np.arange(24.0)).astype(np.float32)[None]
    tiles = np.stack(cells_of(ramp, 2))
    order = np.array([2, 0, 3, 1])
    found = best_arrangement(edge_costs(tiles[order]), 2)
    np.testing.assert_array_equal(order[found], np.arange(4))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"data": [ImageSample(smooth(95, 120), name="flat")]}, r"at least 96 x 96 .* 'flat' has 120 x 95"),
        ({"grid": 4}, r"grid must be a whole number in \[2, 3\], got 4"),
        ({"tile": 4}, r"tile must be a whole number in \[8, 128\], got 4"),
        ({"gap": -1}, r"gap must be a whole number in \[0, 64\], got -1"),
        (
            {"data": [ImageSample(smooth(11, 300), name="line")], "labelled": False},
            "'line' has 300 x 11 pixels",
        ),
    ],
    ids=str,
)
def test_bad_arguments_are_named(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**kwargs)


def test_one_channel_and_other_shapes_work() -> None:
    grey = small(
        data=[ImageSample(smooth(100, 200, 1), name="a"), ImageSample(smooth(200, 100, 1), name="b")]
    )
    assert grey.observation_space["image"].shape == (1, 72, 72)
    both = small(data=[ImageSample(smooth(100, 200, 1), name="a"), ImageSample(smooth(), name="b")])
    assert both.observation_space["image"].shape == (3, 72, 72)


def test_a_users_shuffled_picture_is_put_in_order_and_written(tmp_path: Path) -> None:
    whole = smooth(122, 185)  # 2 rows and 2 columns are left over
    order = [4, 0, 8, 1, 3, 2, 7, 5, 6]
    puzzle = joined_cells([cells_of(whole, 3)[k] for k in order], 3)
    Image.fromarray(puzzle.transpose(1, 2, 0)).save(tmp_path / "puzzle.png")
    agent = classical(ID, "edges")
    (one,) = inputs_of([str(tmp_path / "puzzle.png")], ImageSample)
    report = predict_files(agent, [one], tmp_path / "out")
    assert report.done == 1 and not report.failed
    solved = np.array(Image.open(next((tmp_path / "out").rglob("*-solved.png")))).transpose(2, 0, 1)
    np.testing.assert_array_equal(solved, whole[:, :120, :183])
    assert list((tmp_path / "out").rglob("*-steps.gif")), "a film of the swaps"


def test_clicks_swap_neighbours() -> None:
    task = small()
    state = start(task)
    assert task.click_action(state, np.array([0.1, 0.1]), True) == task.number[0, 1]
    assert task.click_action(state, np.array([0.9, 0.5]), True) == task.number[5, 3]
    assert task.click_action(state, np.array([0.5, 0.99]), False) == task.number[7, 1]


def test_the_picture_frames_what_lies_right_and_what_was_swapped() -> None:
    task = small()
    state = at(task, order=[1, 0, 2, 3, 4, 5, 6, 7, 8])
    before, after = (task.draw(batch.take(one, 0)) for one in (state, act(task, state, 0).state))
    assert before.shape == after.shape and before.shape[2] == 3 and (before != after).any()


def test_tiles_go_through_one_backbone_one_by_one() -> None:
    space = spaces.Dict({"image": spaces.Box(0, 255, (3, 72, 72), np.uint8)})
    net = VisionExtractor(space, "conv4", features_dim=16, tiles=3).eval()
    image = torch.rand(1, 3, 72, 72)
    encoder = net.backbones["image"].encoder  # type: ignore[union-attr]
    joined = net.encode("image", image)
    assert joined.shape == (1, 9 * encoder.num_features) and net({"image": image}).shape == (1, 16)
    swapped = torch.cat([image[..., 24:48], image[..., :24], image[..., 48:]], dim=3)
    there, here = (net.encode("image", one).view(3, 3, -1) for one in (image, swapped))
    torch.testing.assert_close(here[:, [1, 0, 2]], there)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tiles": 0}, "tiles must be in"),
        ({"tiles": 3, "attention": "soft"}, "tiles must be 1 with attention"),
    ],
)
def test_tiles_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    space = spaces.Dict({"image": spaces.Box(0, 255, (3, 72, 72), np.uint8)})
    with pytest.raises(ValueError, match=message):
        VisionExtractor(space, "conv4", **options)


def test_tiles_exclude_the_cache_of_whole_images() -> None:
    config = TrainConfig(env=ID, algo="ppo", tiles=3, cache=True, frozen=True, timesteps=64)
    with pytest.raises(ValueError, match="tiles must be 1 with cache, which encodes whole images, got 3"):
        check_before_loading(config)
