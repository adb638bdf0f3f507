"""Segmentation by a contour: what actions draw, what they earn, what the expert does, on the pixels of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from gymnasium.utils.seeding import np_random

from visionrl.agents.policies.action_map import maps_of
from visionrl.core import batch, make_task
from visionrl.datasets import ImageSample
from visionrl.envs.segmentation.spline_control import PIECES
from visionrl.ops.polygons import closed_spline, polygon_mask

TASK = "visionrl/ContourSegmentation-v0"
CLOSE = 28 * 28


def sample(seed: int = 0) -> ImageSample:
    """A bright disc with a hole, a rectangle in two parts, and a dot."""
    mask = np.zeros((90, 120), np.uint8)
    cv2.circle(mask, (35, 40), 25, 1, cv2.FILLED)
    cv2.circle(mask, (35, 40), 6, 0, cv2.FILLED)
    mask[20:60, 75:110], mask[70:74, 75:79], mask[85, 5] = 2, 2, 3
    noise = np.random.default_rng(seed).integers(0, 60, (3, 90, 120), dtype=np.uint8)
    names = {1: "disc", 2: "plate", 3: "dot"}
    return ImageSample(noise + 180 * (mask > 0).astype(np.uint8), mask=mask, names=names, name=f"s{seed}")


@pytest.fixture(scope="module")
def task() -> Any:
    with pytest.warns(UserWarning, match="1 objects shorter than 12 pixels are left out"):
        return make_task(TASK, data=[sample()])


def first(task: Any) -> Any:
    return batch.stack([task.sample(np_random(0)[0], item) for item in range(task.items)])


def play(task: Any, actions: Any = None, most: int = 60) -> tuple[Any, np.ndarray]:
    """The last state and the sum of the rewards of the expert's actions, or of those of a generator."""
    state, total = first(task), np.zeros(task.items)
    for _ in range(most):
        if state.finished.all():
            break
        action = (
            task.expert(state) if actions is None else actions.integers(task.action_space.n, size=task.items)
        )
        after = task.step(state, action)
        total, state = total + task.reward(state, action, after), after
    return state, total


def cell(x: int, y: int) -> np.ndarray:
    return np.full(2, y * 28 + x)


def test_the_mask_is_that_of_the_vertices_whatever_is_drawn(task: Any) -> None:
    state, rng = first(task), np.random.default_rng(0)
    for _ in range(12):
        state = task.step(state, rng.integers(CLOSE, size=2))
        for row in range(2):
            vertices = state.vertices[row, : state.count[row]]
            assert np.array_equal(state.mask[row], polygon_mask(vertices, 56, 56))
            wanted = polygon_mask(vertices, 56, 56) & task.bank.masks.array[row]
            either = polygon_mask(vertices, 56, 56) | task.bank.masks.array[row]
            assert state.iou[row] == pytest.approx(wanted.sum() / either.sum())


@pytest.mark.parametrize("preset", [None, "spline"])
def test_rewards_add_up_to_the_gain_of_the_overlap(preset: str | None) -> None:
    with pytest.warns(UserWarning, match="left out"):
        task = make_task(TASK, data=[sample()], preset=preset, crossing_cost=0.0)
    for actions in (None, np.random.default_rng(1)):
        state, total = play(task, actions)
        assert np.allclose(total, state.iou - first(task).iou)


@pytest.mark.parametrize("preset", [None, "spline"])
def test_the_expert_draws_the_outline_on_the_pixels_of_the_file(preset: str | None) -> None:
    with pytest.warns(UserWarning, match="left out"):
        task = make_task(TASK, data=[sample()], preset=preset)
    ends, _ = play(task)
    assert ends.finished.all() and (ends.iou > (0.9 if preset is None else 0.8)).all()
    truth = cv2.circle(np.zeros((90, 120), np.uint8), (35, 40), 25, 1, cv2.FILLED) > 0
    result = task.result(batch.take(ends, 0))
    assert result.labels == ("disc",) and result.masks.shape == (1, 90, 120)
    assert (result.masks[0] & truth).sum() / (result.masks[0] | truth).sum() > 0.9


def test_holes_are_filled_and_the_largest_part_counts(task: Any) -> None:
    disc, plate = task.bank.masks.array
    assert disc[28, 28] and len(cv2.findContours(plate.astype(np.uint8), cv2.RETR_EXTERNAL, 2)[0]) == 1


def test_to_close_and_to_set_the_first_vertex_again_end_the_episode(task: Any) -> None:
    state = first(task)
    for action in (cell(5, 5), cell(20, 5), cell(20, 20)):
        state = task.step(state, action)
    assert not state.finished.any()
    closed, again = task.step(state, np.full(2, CLOSE)), task.step(state, cell(5, 5))
    for ended in (closed, again):
        assert ended.finished.all() and np.array_equal(ended.mask, state.mask) and (ended.count == 3).all()


def test_an_edge_that_crosses_an_earlier_one_costs(task: Any) -> None:
    state = first(task)
    for action in (cell(2, 2), cell(20, 20), cell(20, 2)):
        state = task.step(state, action)
    after = task.step(state, cell(2, 20))
    assert (after.crossings == 1).all()
    assert np.allclose(task.reward(state, cell(2, 20), after), after.iou - state.iou - 0.02)


def test_masks_forbid_the_last_vertex_and_early_ends(task: Any) -> None:
    state = first(task)
    assert not task.action_mask(state)[:, CLOSE].any() and task.action_mask(state)[:, :CLOSE].all()
    state = task.step(task.step(state, cell(3, 3)), cell(9, 3))
    assert not task.action_mask(state)[:, [CLOSE, 3 * 28 + 3, 3 * 28 + 9]].any()
    allowed = task.action_mask(task.step(state, cell(9, 9)))
    assert allowed[:, [CLOSE, 3 * 28 + 3]].all() and not allowed[:, 9 * 28 + 9].any()


def test_the_maps_show_what_is_drawn(task: Any) -> None:
    state = first(task)
    for x, y in ((4, 4), (24, 4), (24, 24), (4, 24)):
        state = task.step(state, cell(x, y))
    filled, vertices, last, start = task.observe(state)["drawn"][0]
    assert np.array_equal(filled > 0, state.mask[0]) and filled.any()
    assert np.argwhere(vertices[::2, ::2]).tolist() == [[4, 4], [4, 24], [24, 4], [24, 24]]
    assert (
        np.argwhere(last[1::2, ::2]).tolist() == [[24, 4]]
        and start[8:10, 8:10].all()
        and (start > 0).sum() == 4
    )
    assert not task.observe(first(task))["drawn"].any()


def test_a_spline_begins_as_the_ellipse_and_its_points_move() -> None:
    with pytest.warns(UserWarning, match="left out"):
        task = make_task(TASK, data=[sample()], preset="spline")
    state = first(task)
    after = task.step(state, np.array([8 * 3 + 4, 8 * 12]))
    moved = after.vertices - state.vertices
    assert moved[0, 3].tolist() == [2, 0] and not np.delete(moved[0], 3, axis=0).any() and not moved[1].any()
    assert after.finished.tolist() == [False, True]
    assert np.array_equal(after.mask[0], polygon_mask(task.controller.polygon(batch.take(after, 0)), 56, 56))


def test_a_spline_may_begin_as_the_contour_that_grabcut_finds() -> None:
    with pytest.warns(UserWarning, match="left out"):
        ellipse, refined = (make_task(TASK, data=[sample()], preset=name) for name in ("spline", "refine"))
    assert (first(refined).iou > first(ellipse).iou + 0.02).any() and (first(refined).iou > 0.8).all()
    assert first(refined).iou[1] == pytest.approx(iou_of(refined, 1))


def iou_of(task: Any, row: int) -> float:
    """Overlap of the first contour of an item, drawn anew from its points."""
    drawn = polygon_mask(closed_spline(task.bank.starts.array[row], PIECES), 56, 56)
    truth = task.bank.masks.array[row]
    return (drawn & truth).sum() / (drawn | truth).sum()


def test_moves_are_described_by_what_lies_along_them() -> None:
    with pytest.warns(UserWarning, match="left out"):
        task = make_task(TASK, data=[sample()], preset="spline")
    rows = task.observe(first(task))["candidates"]
    assert rows.shape == (2, 97, 26) and np.abs(rows).max() <= 1
    assert (rows[:, 96, :-1] == 0).all() and (rows[:, 96, -1] == 1).all() and (rows[:, :96, -1] == 0).all()
    assert np.array_equal(rows[:, 0:4, :24], rows[:, 4:8, :24]) and (rows[:, 4:8, 24] == 1).all()
    disc = rows[0]  # its top point: the object lies below, the background above
    down, up = disc[2], disc[3]
    assert down[8] > 0.3 > up[8] and np.allclose(down[3], up[3])


def test_candidates_are_for_splines() -> None:
    with pytest.raises(ValueError, match="shows must be 'pictures' for control 'polygon'"):
        make_task(TASK, data=[sample()], shows="candidates")


def test_pictures_of_a_spline_show_what_it_fills_and_its_points() -> None:
    with pytest.warns(UserWarning, match="left out"):
        task = make_task(TASK, data=[sample()], control="spline")
    seen = task.observe(first(task))
    assert seen["drawn"].shape == (2, 1, 56, 56) and seen["drawn"][0, 0, 28, 28] == 255
    assert seen["points"].shape == (2, 24) and np.abs(seen["points"]).max() <= 1


def test_copies_are_turned_and_the_first_is_the_object_itself() -> None:
    with pytest.warns(UserWarning, match="left out"):
        plain, many = (make_task(TASK, data=[sample()], copies=k) for k in (1, 4))
    assert many.items == 8
    assert np.array_equal(many.bank.windows.array[::4], plain.bank.windows.array)
    ends, _ = play(many)
    assert (ends.iou > 0.88).all()


def test_classes_keep_the_objects_of_some_names() -> None:
    assert make_task(TASK, data=[sample()], classes=["plate"]).items == 1
    with pytest.raises(ValueError, match="classes must be among disc, dot, plate, got cat"):
        make_task(TASK, data=[sample()], classes=["cat"])


def test_data_without_masks_and_with_objects_of_a_pixel_are_refused() -> None:
    image = np.zeros((3, 40, 40), np.uint8)
    with pytest.raises(ValueError, match="data must have images with masks"):
        make_task(TASK, data=[ImageSample(image)])
    with pytest.raises(ValueError, match="data must have images with masks"):
        make_task(TASK, data=[ImageSample(image, mask=np.zeros((40, 40), np.uint8))])
    with pytest.raises(ValueError, match="objects must be >= 12 pixels long, got 1 smaller ones"):
        make_task(TASK, data=[sample()], classes=["dot"])
    for mask in (np.zeros((40, 41), np.uint8), np.full((40, 40), np.nan)):
        with pytest.raises(ValueError, match=r"mask must be integers of shape \(40, 40\)"):
            make_task(TASK, data=[ImageSample(image, mask=mask)])


def test_a_folder_of_one_s_own_is_one_string(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), sample().image.transpose(1, 2, 0))
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), (sample().mask == 2) * np.uint8(255))
    task = make_task(TASK, data=f"masks:{tmp_path}", split="all")
    assert task.items == 1 and play(task)[0].iou[0] > 0.9


def test_the_window_is_a_multiple_of_the_grid() -> None:
    with pytest.raises(ValueError, match="window must be a multiple of grid, 28, got 60"):
        make_task(TASK, data=[sample()], window=60)


def test_the_cells_are_a_map_of_actions_with_one_behind_it(task: Any) -> None:
    assert maps_of(int(task.action_space.n), 1) == (28, 1)
    assert task.observation_space["drawn"].shape[1:] == task.observation_space["window"].shape[1:]


def test_a_spline_of_few_points_may_move_more_often_than_it_has_moves() -> None:
    task = make_task(TASK, data=[sample()], classes=["disc"], preset="spline", points=4, max_actions=50)
    state = first(task)
    for _ in range(50):
        assert task.action_mask(state).shape == (1, 33) and task.action_mask(state).all()
        state = task.step(state, np.array([0]))
    assert state.finished.all() and task.observe(state)["step"].tolist() == [[1.0]]


@pytest.mark.parametrize("boxes", [None, np.zeros((0, 4))])
def test_without_labels_and_boxes_the_image_is_the_box(boxes: np.ndarray | None) -> None:
    task = make_task(TASK, data=[ImageSample(sample().image, boxes=boxes)], labelled=False)
    assert [one.box for one in task.bank.found] == [(0, 0, 120, 90)] and task.bank.found[0].name == "object"
