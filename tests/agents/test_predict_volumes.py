"""Agents of view planes and teams on volumes without labels: results lie where the file says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visionrl.agents.evaluation.policies import RandomPolicy
from visionrl.agents.prediction.agent import Agent
from visionrl.agents.prediction.inputs import Input
from visionrl.agents.prediction.outputs import contents_of
from visionrl.agents.prediction.predict import predict_files
from visionrl.core.results import Plane, Points
from visionrl.datasets import VolumeSample

VIEW: dict[str, Any] = {"landmarks": ["a", "b", "c"], "window": 9, "axis": 0}
TEAM: dict[str, Any] = {"target": ["a", "b"], "window": 9, "scales": [1], "step_sizes": [1]}
TASKS = {"ViewPlane3D-v0": VIEW, "MultiLandmarkLocalization3D-v0": TEAM, "LandmarkLocalization3D-v0": TEAM}
TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
SPACING = np.array([1.5, 1.0, 2.0])


def affine() -> np.ndarray:
    """An oblique grid, (x, y, z) in voxels to millimetres."""
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = TURN * SPACING, (-30.0, 12.0, 100.0)
    return found


def ramp(**more: Any) -> VolumeSample:
    """A volume whose voxels are 5 x + 3 y + 2 z, (x, y, z) in voxels."""
    z, y, x = np.indices((20, 24, 16))
    return VolumeSample((5 * x + 3 * y + 2 * z).astype(np.uint8)[None], SPACING, name="ramp", **more)


def labelled() -> VolumeSample:
    """The ramp with its truth."""
    return ramp(points={"a": (3.0, 4, 5), "b": (9.0, 16, 7), "c": (5.0, 8, 15)}, affine=affine())


def agent(env: str, steps: int = 30) -> Agent:
    """One that acts by chance."""
    return Agent(env, RandomPolicy(3), {**TASKS[env], "max_episode_steps": steps}, name="chance")


@pytest.mark.parametrize("env", TASKS)
def test_labels_change_nothing(env: str) -> None:
    with_, without = (agent(env).predict_sample(one) for one in (labelled(), ramp(affine=affine())))
    assert with_.to_json()["steps"] == without.to_json()["steps"]
    assert with_.result.to_json() == without.result.to_json()
    for one, other in zip(with_.pictures(), without.pictures(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("env", TASKS)
def test_rewards_metrics_and_the_expert_need_labels(env: str) -> None:
    task = agent(env).task_on(ramp())
    for name in ("reward", "metrics", "expert"):
        with pytest.raises(ValueError, match=f"{name} needs samples with labels"):
            getattr(task, name)(None)


def test_a_slice_shows_what_lies_where_its_matrix_says() -> None:
    found = agent("ViewPlane3D-v0").predict_sample(ramp(affine=affine()))
    plane: Any = found.result
    rows, columns = np.indices(plane.image.shape)
    places = np.stack([columns, rows, 0 * rows, 1 + 0 * rows], axis=-1) @ plane.matrix.T
    inside = ((places[..., :3] >= 0) & (places[..., :3] <= [15, 23, 19])).all(axis=-1)
    wanted = places[..., :3] @ [5, 3, 2]
    assert inside.sum() > 100
    assert np.abs(plane.image - wanted)[inside].max() < 0.51
    np.testing.assert_allclose(plane.matrix_mm, affine() @ plane.matrix)
    axes = plane.matrix_mm[:3, :3]
    np.testing.assert_allclose(axes.T @ axes, np.eye(3) * SPACING.min() ** 2, atol=1e-9)


def test_a_slice_covers_the_volume_and_is_in_the_plane() -> None:
    found = agent("ViewPlane3D-v0").predict_sample(ramp(affine=affine()))
    plane, state = found.result, found.ends
    corner = np.linalg.inv(plane.matrix) @ [*state.middle[0], 1.0]
    height, width = plane.image.shape
    assert 0 < corner[0] < width - 1 and 0 < corner[1] < height - 1
    assert abs(corner[2]) * SPACING.min() == pytest.approx(abs(state.position[0, 3]))
    assert width >= 24 and height >= 40  # y, z of the volume in pixels of 1 mm


def test_a_slice_opens_where_it_lies(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    found = agent("ViewPlane3D-v0").predict_sample(ramp(affine=affine()))
    contents = contents_of(found)
    assert set(contents) == {".matrix.txt", ".slice.png", ".slice.mha"}
    path = tmp_path / "a.mha"
    path.write_bytes(contents[".slice.mha"])  # type: ignore[arg-type]
    image = sitk.ReadImage(str(path))
    assert image.GetSize() == (*found.result.image.shape[::-1], 1)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image)[0], found.result.image)
    place = found.result.matrix_mm @ [7.0, 11.0, 0.0, 1.0]
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((7, 11, 0)), place[:3], atol=1e-6)
    (tmp_path / "a.txt").write_text(contents[".matrix.txt"])  # type: ignore[arg-type]
    np.testing.assert_allclose(np.loadtxt(tmp_path / "a.txt"), found.result.matrix_mm, atol=1e-5)


def test_a_view_without_millimetres_is_in_voxels() -> None:
    found = agent("ViewPlane3D-v0").predict_sample(ramp())
    contents = contents_of(found)
    assert set(contents) == {".matrix.txt", ".slice.png"} and found.result.matrix_mm is None
    assert "to voxels (x, y, z)" in str(contents[".matrix.txt"]).splitlines()[0]


def test_a_view_needs_the_axis_of_its_training() -> None:
    blind = Agent("ViewPlane3D-v0", RandomPolicy(0), {**VIEW, "axis": None})
    with pytest.raises(ValueError, match="axis must be 0, 1 or 2 where samples have no labels, got None"):
        blind.predict(ramp())


def test_a_team_finds_a_point_an_agent() -> None:
    found = agent("MultiLandmarkLocalization3D-v0").predict_sample(ramp(affine=affine()))
    points: Any = found.result
    assert list(points.points) == ["a", "b"]
    for name, place in zip("ab", found.ends.position[0], strict=True):
        assert points.points[name] == tuple(place)
        np.testing.assert_allclose(points.points_mm[name], (affine() @ [*place, 1.0])[:3])


def test_a_team_on_coarser_voxels_counts_those_of_the_file() -> None:
    coarse = agent("MultiLandmarkLocalization3D-v0")
    coarse.env_kwargs["spacing_mm"] = 2.0
    task = coarse.task_on(ramp(affine=affine()))
    state = task.sample(np.random.default_rng(0), 0)
    state = replace(state, position=np.array([[2.0, 3, 4], [5.0, 6, 7]]))
    found = task.result(state)
    assert isinstance(found, Points)
    wanted = (state.position + 0.5) * state.factor - 0.5
    np.testing.assert_allclose(np.array([*found.points.values()]), wanted)
    assert state.factor[0] == pytest.approx(16 / 12)


def test_files_of_a_view(tmp_path: Path) -> None:
    report = predict_files(agent("ViewPlane3D-v0", 3), [Input("x", lambda: ramp(affine=affine()))], tmp_path)
    assert report.done == 1
    names = {
        "predictions.jsonl",
        *(f"ramp{end}" for end in (".png", ".matrix.txt", ".slice.png", ".slice.mha")),
    }
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_view_is_one() -> None:
    one, other = (Plane(np.zeros((1, 1), np.uint8), np.eye(4) * k) for k in (1, 2))
    assert one.joined([other]) is one
