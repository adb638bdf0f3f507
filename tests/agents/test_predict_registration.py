"""Registration of new pairs: maps that ITK applies to the same picture, on any grids."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from visionrl.agents.prediction.agent import Agent, classical
from visionrl.agents.prediction.inputs import inputs_of
from visionrl.agents.prediction.outputs import contents_of, write_all
from visionrl.agents.prediction.predict import predict_files
from visionrl.agents.prediction.registration_files import warp
from visionrl.banks.pair_geometry import without_truth
from visionrl.cli import main as cli
from visionrl.core import make_task
from visionrl.datasets import PairSample, load
from visionrl.datasets.readers.pair_files import read_map

SMALL = {"window": 16, "scales": (2, 1)}
MOVES = {
    2: np.array([3.0, -2.0, 5.0]),
    3: np.array([4.0, -3.0, 2.0, 3.0, -5.0, 4.0]),
}


def scripted(env: str, **kwargs: Any) -> Agent:
    """An agent that moves by the same numbers at its first step, and then keeps still."""

    def act(observations: Any, task: Any, state: Any) -> np.ndarray:
        count = task.action_space.shape[0]
        some = np.resize(MOVES[task.axes], count) / task.max_step
        first = np.isnan(state.trail[:, -1, 0, 0])
        return np.where(first[:, None], some, 0.0)

    return Agent(env, act, {"control": "continuous", **SMALL, **kwargs})


def texture(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Smooth noise."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), [2.0] * len(shape))
    return np.clip(128 + 50 * noise / noise.std(), 0, 255).astype(np.uint8)


def write_volume(path: Path, shape: tuple[int, int, int], affine: np.ndarray, seed: int) -> Path:
    nibabel.save(nibabel.Nifti1Image(texture(shape, seed), affine), path)
    return path


def turned(
    spacing: tuple[float, float, float], signs: tuple[int, int, int], order: tuple[int, int, int]
) -> Any:
    """An oblique RAS affine with flipped and exchanged axes."""
    angle = np.radians(7)
    oblique = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = oblique @ (np.diag(signs)[:, list(order)] * np.array(spacing))
    affine[:3, 3] = (-31.0, 17.0, 44.0)
    return affine


@pytest.mark.parametrize("transform", ["rigid", "affine"])
@pytest.mark.parametrize("longest", [None, 40])
def test_itk_resamples_images_to_the_same_picture(
    transform: str, longest: int | None, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), texture((60, 90)))
    cv2.imwrite(str(tmp_path / "b.png"), texture((75, 64), seed=1))
    agent = scripted("Registration2D-v0", transform=transform, max_side=longest)
    report = predict_files(
        agent, inputs_of([str(tmp_path / "a.png"), str(tmp_path / "b.png")], PairSample), tmp_path / "out"
    )
    assert report.done == 1
    stem = tmp_path / "out" / "a-b"
    fixed, moving = (sitk.ReadImage(str(tmp_path / f"{name}.png")) for name in "ab")
    itk = sitk.ReadTransform(str(stem) + ".tfm")
    wanted = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, itk, sitk.sitkLinear, 0.0))
    warped: Any = cv2.imread(str(stem) + "-warped.png", cv2.IMREAD_UNCHANGED)
    assert warped.shape == (60, 90) and warped.any()
    assert np.abs(warped.astype(int) - wanted).max() <= 1
    matrix = np.loadtxt(str(stem) + ".txt")
    np.testing.assert_allclose(itk.TransformPoint((7.0, 9.0)), (matrix @ (7, 9, 1))[:2])
    np.testing.assert_allclose(read_map(Path(str(stem) + ".txt")), matrix[:2])
    assert Path(str(stem) + ".png").is_file()


@pytest.mark.parametrize("transform", ["rigid", "affine"])
def test_itk_resamples_volumes_to_the_same_picture(transform: str, tmp_path: Path) -> None:
    first = write_volume(
        tmp_path / "a.nii.gz", (30, 36, 20), turned((2.0, 1.5, 3.0), (1, -1, 1), (0, 1, 2)), 0
    )
    second = write_volume(
        tmp_path / "b.nii.gz", (24, 28, 40), turned((2.5, 2.0, 1.25), (-1, 1, -1), (1, 2, 0)), 1
    )
    agent = scripted("Registration3D-v0", transform=transform, voxel_mm=2.0)
    prediction = agent.predict_sample(agent.sample_of(first, second))
    write_all(tmp_path / "found", contents_of(prediction))
    fixed, moving = sitk.ReadImage(str(first)), sitk.ReadImage(str(second))
    itk = sitk.ReadTransform(str(tmp_path / "found.tfm"))
    wanted = sitk.Resample(moving, fixed, itk, sitk.sitkLinear, 0.0)
    warped = sitk.ReadImage(str(tmp_path / "found-warped.nii.gz"))
    same_grid = sitk.Resample(warped, fixed, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
    gap = sitk.GetArrayFromImage(same_grid).astype(int) - sitk.GetArrayFromImage(wanted)
    assert sitk.GetArrayFromImage(wanted).any()
    assert np.abs(gap).max() <= 1
    assert warped.GetNumberOfPixels() == fixed.GetNumberOfPixels()
    result: Any = prediction.result
    np.testing.assert_allclose(np.loadtxt(tmp_path / "found.txt"), result.matrix_mm)
    np.testing.assert_allclose(itk.TransformPoint((7.0, 9, 11)), (result.matrix_mm @ (7, 9, 11, 1))[:3])
    assert result.to_json()["matrix_mm"][3] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("env", "data"), [("Registration2D-v0", "photo-pairs"), ("Registration3D-v0", "volume-pairs")]
)
def test_labels_change_nothing(env: str, data: str) -> None:
    pair = load(data, kind=PairSample, split="val")[0]
    agent = scripted(env, reward_type="truth", stop_distance=0.5, augment=True, offset=(20.0, 20.0))
    known, unknown = (agent.predict_sample(some) for some in (pair, without_truth(pair)))
    assert known.steps == unknown.steps
    np.testing.assert_array_equal(known.result.matrix, unknown.result.matrix)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(known.pictures()[0], unknown.pictures()[0])
    with pytest.raises(ValueError, match="expert needs samples with labels"):
        known.task.expert(known.ends)


def bender(env: str, **kwargs: Any) -> Agent:
    """An agent that moves each control point by other numbers."""

    def act(observations: Any, task: Any, state: Any) -> np.ndarray:
        return 0.25 * np.sin(state.visited[:, None] + np.arange(task.axes))

    return Agent(
        env, act, {"side": 32, "nodes": 9, "window": 8, "scales": (1,), "control_points": (1, 2), **kwargs}
    )


def itk_field(path: Path) -> sitk.Transform:
    """The transform of a displacement field's file."""
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))


def test_itk_bends_images_to_the_same_picture(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), texture((60, 90)))
    cv2.imwrite(str(tmp_path / "b.png"), texture((75, 64), seed=1))
    agent = bender("DeformableRegistration2D-v0")
    pair = inputs_of([str(tmp_path / "a.png"), str(tmp_path / "b.png")], agent.sample_type)
    assert predict_files(agent, pair, tmp_path / "out").done == 1
    fixed, moving = (sitk.ReadImage(str(tmp_path / f"{name}.png")) for name in "ab")
    itk = itk_field(tmp_path / "out" / "a-b-field.nii")
    wanted = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, itk, sitk.sitkLinear, 0.0)).astype(int)
    warped: Any = cv2.imread(str(tmp_path / "out" / "a-b-warped.png"), cv2.IMREAD_UNCHANGED)
    assert np.ptp(warped) > 100 and np.abs(warped - wanted).max() <= 1
    stiff = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, sitk.Transform(), sitk.sitkLinear, 0.0))
    assert np.abs(stiff.astype(int) - wanted).mean() > 5, "the field bends"


def test_itk_bends_volumes_to_the_same_picture(tmp_path: Path) -> None:
    first = write_volume(
        tmp_path / "a.nii.gz", (30, 36, 20), turned((2.0, 1.5, 3.0), (1, -1, 1), (0, 1, 2)), 0
    )
    second = write_volume(
        tmp_path / "b.nii.gz", (24, 28, 40), turned((2.5, 2.0, 1.25), (-1, 1, -1), (1, 2, 0)), 1
    )
    agent = bender("DeformableRegistration3D-v0")
    prediction = agent.predict_sample(agent.sample_of(first, second))
    write_all(tmp_path / "found", contents_of(prediction))
    fixed, moving = sitk.ReadImage(str(first)), sitk.ReadImage(str(second))
    wanted = sitk.Resample(moving, fixed, itk_field(tmp_path / "found-field.nii"), sitk.sitkLinear, 0.0)
    warped = sitk.ReadImage(str(tmp_path / "found-warped.nii.gz"))
    same_grid = sitk.Resample(warped, fixed, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
    gap = sitk.GetArrayFromImage(same_grid).astype(int) - sitk.GetArrayFromImage(wanted)
    # places on the very rim of a volume may round to either side
    assert sitk.GetArrayFromImage(wanted).any() and np.quantile(np.abs(gap), 0.999) <= 1
    assert prediction.result.to_json()["displacement_px"]["largest"] > 1


@pytest.mark.parametrize("axes", [2, 3])
def test_the_field_shows_what_the_agent_saw(axes: int) -> None:
    """On images of the size at which they are held, the moving image under the field is the task's own."""
    images = [texture((32,) * axes, seed)[None] for seed in (0, 1)]
    spacing = np.ones((2, 3)) if axes == 3 else None
    agent = bender(f"DeformableRegistration{axes}D-v0")
    prediction = agent.predict_sample(PairSample(images[0], images[1], spacing_mm=spacing))
    task: Any = prediction.task
    line = np.arange(32.0)[None]
    seen = task.bank.compare(
        prediction.ends.image, prediction.ends.fixed, prediction.ends.field, [line] * axes
    )[1][0]
    field = prediction.result.field  # type: ignore[attr-defined]
    warped = warp(
        images[1], images[0].shape[1:], lambda at: at + field[(slice(None), *at.T[::-1].astype(int))].T
    )[0]
    inside = (slice(4, -4),) * axes
    assert np.abs(warped[inside].astype(int) - seen[inside]).max() <= 1


def test_labels_change_no_field() -> None:
    image, other = texture((40, 50))[None], texture((50, 40), 1)[None]
    masks = [(some[0] > 128).astype(int) for some in (image, other)]
    points = [[3, 4], [30, 5], [20, 30]], [[5, 4], [30, 8], [20, 30]]
    known = PairSample(image, other, *points, fixed_mask=masks[0], moving_mask=masks[1])
    agent = bender("DeformableRegistration2D-v0", reward_type="dice", dice_of=[1])
    fields = [agent.predict(some).field for some in (known, without_truth(known))]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(*fields)


def test_deformable_registration_without_labels_needs_pairs() -> None:
    with pytest.raises(ValueError, match="moving must be given for visionrl/DeformableRegistration2D-v0"):
        bender("DeformableRegistration2D-v0").predict(texture((40, 50)))
    with pytest.raises(ValueError, match="data must be pairs of a fixed and a moving image without labels"):
        make_task("DeformableRegistration2D-v0", labelled=False)


def test_a_pair_starts_where_it_says(tmp_path: Path) -> None:
    image = texture((40, 50))[None]
    start = np.array([[1.0, 0, 7], [0, 1, -4]])
    still = Agent(
        "Registration2D-v0", lambda o, task, state: np.zeros((1, 3)), {"control": "continuous", **SMALL}
    )
    found: Any = still.predict(PairSample(image, image[:, :30], start=start))
    np.testing.assert_allclose(found.matrix, start, atol=1e-9)
    middles: Any = still.predict(image, image[:, :30])
    np.testing.assert_allclose(middles.matrix, [[1, 0, 0], [0, 1, -5]], atol=1e-9)


def test_the_map_of_a_classical_method_is_right_in_pixels_of_large_files() -> None:
    image = texture((420, 420))
    around = cv2.getRotationMatrix2D((209.5, 209.5), 4.0, 1.0) + np.array([[0, 0, 9.0], [0, 0, -6.0]])
    moving = cv2.warpAffine(image, around, (420, 420), borderMode=cv2.BORDER_REFLECT)
    found: Any = classical("Registration2D-v0", "ecc").predict(image, moving)
    corners = np.array([[60.0, 60, 1], [360, 60, 1], [200, 300, 1]])
    assert np.abs(corners @ found.matrix.T - corners @ around.T).max() < 0.5


def test_volumes_without_a_place_are_mapped_in_voxels(tmp_path: Path) -> None:
    volume = texture((12, 14, 16))[None]
    agent = scripted("Registration3D-v0", voxel_mm=1.0)
    sample = PairSample(volume, volume, spacing_mm=np.array([[2.0, 2, 3], [2, 2, 3]]))
    prediction = agent.predict_sample(sample)
    files = contents_of(prediction)
    assert prediction.result.matrix_mm is None  # type: ignore[attr-defined]
    assert str(files[".txt"]).startswith("# voxel\n")
    moved = agent.predict_sample(replace(sample, spacing_mm=np.array([[2.0, 2, 3], [1, 2, 3]])))
    assert moved.result.matrix[0, 0] > 1.5 * prediction.result.matrix[0, 0]  # type: ignore[attr-defined]


def test_what_lies_outside_is_black() -> None:
    image = np.full((1, 4, 5), 200, np.uint8)
    warped = warp(image, (4, 5), lambda at: at + np.array([2.5, 0]))
    np.testing.assert_array_equal(warped[0], [[200, 200, 200, 0, 0]] * 4)


def test_the_command_applies_a_classical_method(tmp_path: Path, capsys: Any) -> None:
    image = texture((60, 60))
    cv2.imwrite(str(tmp_path / "a.png"), image)
    cv2.imwrite(str(tmp_path / "b.png"), np.roll(image, 3, axis=1))
    pair = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    cli.main(["predict", "ECC", *pair, "--env", "Registration2D-v0", "--out", str(tmp_path / "out")])
    line = json.loads((tmp_path / "out" / "predictions.jsonl").read_text())
    np.testing.assert_allclose(line["matrix"], [[1, 0, 3], [0, 1, 0]], atol=0.3)
    assert line["written"] == ["a-b.tfm", "a-b.txt", "a-b-warped.png", "a-b.png"]
    assert "1 of 1 files" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["predict", "ECC", *pair[:1], "--env", "Registration2D-v0", "--out", str(tmp_path / "no")])
    assert "files must be pairs, fixed and moving in turn, got 1 files" in capsys.readouterr().err


@pytest.mark.parametrize(
    "env",
    ["Registration2D-v0", "Registration3D-v0", "DeformableRegistration2D-v0", "Registration2D3D-v0"],
)
def test_labelled_episodes_have_results_too(env: str) -> None:
    """As evaluations write them; JSON holds them."""
    made = make_task(env, split="val")
    state = made.sample(np.random.default_rng(0), 0)
    found = made.result(state).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_true_map_has_no_error_in_the_file() -> None:
    pair = load("photo-pairs", kind=PairSample, split="val")[0]
    made = make_task("Registration2D-v0", data=[pair])
    state = made.sample(np.random.default_rng(0), 0)
    found: Any = made.result(replace(state, pose=state.target))
    np.testing.assert_allclose(found.matrix, pair.transform, atol=1e-6)


def test_the_true_field_has_no_error_in_the_file() -> None:
    image = texture((48, 96))[None]
    matrix = np.array([[1.05, 0.04, 3.0], [-0.03, 0.97, -2.0]])
    made = make_task("DeformableRegistration2D-v0", data=[PairSample(image, image[:, :40], transform=matrix)])
    state = made.sample(np.random.default_rng(0), 0)
    found: Any = made.result(replace(state, field=state.target))
    y, x = np.indices((48, 96))
    wanted = np.stack([x, y, np.ones_like(x)], axis=-1) @ matrix.T - np.stack([x, y], axis=-1)
    np.testing.assert_allclose(np.moveaxis(found.field, 0, -1), wanted, atol=1e-4)
