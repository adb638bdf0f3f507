"""A landmark comes out where it is in the file, whatever the file's axes, spacing, size and orientation."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from visionrl.agents.prediction.agent import Agent
from visionrl.agents.prediction.inputs import inputs_of
from visionrl.agents.prediction.predict import predict_files
from visionrl.agents.training.run_files import folder_of, read_config
from visionrl.core import make_task
from visionrl.core.results import Points
from visionrl.datasets import ImageSample, VolumeSample, load
from visionrl.datasets.readers.scan_points import read_points

ENDINGS = (".nii.gz", ".nrrd", ".mha")
SIGMA = 3.0  # of the blob, millimetres or pixels
ALL = {"target": ["spot"], "scales": [1], "step_sizes": [1], "margin": 0.49}  # episodes start in the middle
FORMATS = {".nii.gz": "nifti", ".nrrd": "nrrd", ".mha": "mha"}
turns = st.tuples(*[st.floats(-0.3, 0.3)] * 3)
# what PIL does to turn an image of each EXIF orientation upright, and its inverse
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def centroid(pixels: np.ndarray) -> np.ndarray:
    """(d,) the middle of what is bright, (x, y) or (x, y, z)."""
    weights = pixels.astype(float)
    return np.array([(grid * weights).sum() / weights.sum() for grid in np.indices(pixels.shape)])[::-1]


def to_the_spot(task: Any, state: Any) -> Any:
    """Move to the middle of what is bright in the window, twice: the second shows all of it."""
    for _ in range(2):
        window = task.windows(state)[0].max(axis=0)
        while window.ndim > task.axes:
            window = window[0]
        place = np.rint(state.position[0]) + centroid(window) - task.window // 2
        trail = state.trail.copy()
        trail[:, -1] = place  # volumes show its end
        state = replace(state, position=place[None], trail=trail)
    return state


def seeker(env: str, window: int, **more: Any) -> Agent:
    """A method that goes to the one bright spot."""
    return Agent(env, env_kwargs={**ALL, "window": window, **more}, method=to_the_spot, name="spot")


volumes = partial(seeker, "LandmarkLocalization3D-v0", 61)


def blob(shape: tuple[int, ...], affine: np.ndarray, place: np.ndarray) -> np.ndarray:
    """A bright spot at a place in millimetres, (I, J, K) uint8."""
    voxels = np.moveaxis(np.indices(shape), 0, -1)
    away = voxels @ affine[:3, :3].T + affine[:3, 3] - place
    return np.rint(255 * np.exp(-(away**2).sum(axis=-1) / (2 * SIGMA**2))).astype(np.uint8)


def grid(
    order: tuple[int, ...], signs: tuple[int, ...], spacing: tuple[float, ...], angles: Any
) -> np.ndarray:
    """(4, 4) from (i, j, k) to millimetres in LPS, a little oblique; the origin is moved."""
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [k for k in range(3) if k != axis]
        one = np.eye(3)
        one[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        turn = one @ turn
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.eye(3)[:, list(order)] * np.array(signs) * np.array(spacing)
    affine[:3, 3] = (-40.0, 25.5, 310.0)
    return affine


def write(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """A scan with its place in LPS."""
    if path.name.endswith(".nii.gz"):
        nib = pytest.importorskip("nibabel")
        nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, -1, 1, 1]) @ affine), path)
        return
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(voxels.transpose(2, 1, 0))
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    sitk.WriteImage(image, str(path))


def slicers(out: Path, name: str) -> dict[str, np.ndarray]:
    """The spot of each file of a prediction, millimetres in LPS, read as 3D Slicer documents its formats."""
    with (out / f"{name}.csv").open() as file:
        system, *rows = list(csv.reader(file))
    assert system == ["# LPS"] and rows[0] == ["name", "x", "y", "z"] and rows[1][0] == "spot"
    lines = (out / f"{name}.fcsv").read_text().splitlines()
    assert lines[1] == "# CoordinateSystem = LPS"
    columns = lines[2].removeprefix("# columns = ").split(",")
    cells = dict(zip(columns, lines[3].split(","), strict=True))
    (markups,) = json.loads((out / f"{name}.mrk.json").read_text())["markups"]
    (control,) = markups["controlPoints"]
    assert (markups["type"], markups["coordinateSystem"]) == ("Fiducial", "LPS")
    assert control["label"] == cells["label"] == "spot"
    found = {"csv": rows[1][1:], "fcsv": [cells[k] for k in "xyz"], "mrk.json": control["position"]}
    return {kind: np.array(at, float) for kind, at in found.items()}


@given(
    st.sampled_from([*permutations(range(3))]),
    st.tuples(*[st.sampled_from([-1, 1])] * 3),
    st.tuples(*[st.floats(0.8, 2.5)] * 3),
    turns,
    st.tuples(*[st.floats(0.35, 0.65)] * 3),
    st.sampled_from(ENDINGS),
    st.sampled_from([None, 1.4, 2.2]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_landmark_in_a_scan_is_where_it_is_in_the_patient(
    order: Any, signs: Any, spacing: Any, angles: Any, share: Any, ending: str, held: float | None
) -> None:
    affine, shape = grid(order, signs, spacing, angles), (29, 26, 24)
    place = (affine @ [*(np.array(share) * shape), 1.0])[:3]
    with TemporaryDirectory() as home:
        path, out = Path(home, f"a{ending}"), Path(home, "out")
        write(path, blob(shape, affine, place), affine)
        agent = volumes(spacing_mm=held)
        report = predict_files(agent, inputs_of([str(path)], VolumeSample), out, pictures=False)
        assert report.done == 1
        for found in slicers(out, "a").values():
            assert np.abs(found - place).max() < min(spacing) / 2
        line = json.loads((out / "predictions.jsonl").read_text())
        for kind in ("csv", "fcsv", "mrk.json"):
            read = read_points(out / f"a.{kind}")
            assert read.system == "LPS"
            np.testing.assert_allclose(read.points["spot"], line["points_mm"]["spot"], atol=1e-6)
            labels = path.with_name(f"a.{kind}")  # beside the scan it is a label of a data set
            labels.write_text((out / labels.name).read_text())
            (sample,) = load(f"{FORMATS[ending]}:{home}", kind=VolumeSample, split="all")
            np.testing.assert_allclose(sample.points["spot"], line["points"]["spot"], atol=1e-4)
            labels.unlink()


@pytest.mark.parametrize("ending", ENDINGS)
def test_voxels_of_the_result_are_those_of_the_volume_in_lps(ending: str, tmp_path: Path) -> None:
    affine = grid((1, 2, 0), (1, -1, -1), (1.0, 2.0, 1.5), (0.0, 0.0, 0.0))
    shape = (28, 20, 24)
    place = (affine @ [12.0, 9.0, 13.0, 1.0])[:3]
    write(tmp_path / f"a{ending}", blob(shape, affine, place), affine)
    agent = volumes()
    sample = agent.sample_of(tmp_path / f"a{ending}")
    found: Any = agent.predict_sample(sample).result
    np.testing.assert_allclose(found.points["spot"], centroid(sample.volume[0]), atol=0.05)
    np.testing.assert_allclose(sample.spacing_mm, (1.5, 1.0, 2.0), atol=1e-5)


def test_a_cropped_scan_gives_the_same_place(tmp_path: Path) -> None:
    affine = grid((0, 1, 2), (1, -1, 1), (1.0, 1.2, 1.5), (0.1, 0.0, -0.1))
    place = (affine @ [15.0, 14.0, 12.0, 1.0])[:3]
    whole = blob((30, 28, 26), affine, place)
    write(tmp_path / "a.nii.gz", whole, affine)
    moved = affine.copy()
    moved[:3, 3] = (affine @ [4.0, 3.0, 1.0, 1.0])[:3]
    write(tmp_path / "b.nii.gz", whole[4:27, 3:26, 1:24], moved)
    one, other = (volumes().predict(tmp_path / f"{name}.nii.gz") for name in "ab")
    np.testing.assert_allclose(one.points_mm["spot"], other.points_mm["spot"], atol=0.1)
    np.testing.assert_allclose(np.subtract(one.points["spot"], other.points["spot"]), (4, 2, 1), atol=0.2)


# -- images --------------------------------------------------------------------------------------------------------
def spotted(width: int, height: int, x: float, y: float, sigma: float) -> np.ndarray:
    """(H, W) uint8 with a bright spot."""
    across, down = np.arange(width) - x, np.arange(height)[:, None] - y
    return np.rint(255 * np.exp(-(across**2 + down**2) / (2 * sigma**2))).astype(np.uint8)


@given(
    st.integers(60, 900), st.integers(60, 900), st.floats(0.2, 0.8), st.floats(0.2, 0.8), st.integers(0, 2)
)
@settings(max_examples=25, deadline=None)
def test_a_landmark_in_a_shrunk_image_is_where_it_is_in_the_file(
    width: int, height: int, across: float, down: float, mode: int
) -> None:
    x, y = across * (width - 1), down * (height - 1)
    sigma = 0.05 * min(width, height) + 1
    grey = spotted(width, height, x, y, sigma)
    pixels = (grey, grey[..., None].repeat(3, axis=2), grey.astype(np.uint16) * 257)[mode]
    with TemporaryDirectory() as home:
        path, out = Path(home, "a.png"), Path(home, "out")
        Image.fromarray(pixels).save(path)
        agent = seeker("LandmarkLocalization-v0", 128, max_side=128)
        predict_files(agent, inputs_of([str(path)], ImageSample), out, pictures=False)
        with (out / "a.csv").open() as file:
            head, row = list(csv.reader(file))
    assert head == ["name", "x", "y"] and row[0] == "spot"
    clear = 4 * sigma < min(
        x, y, width - 1 - x, height - 1 - y
    )  # an edge cuts the spot, and moves its middle
    if clear:
        assert np.abs(np.array(row[1:], float) - (x, y)).max() < 0.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_a_landmark_in_a_turned_photograph_is_where_it_is_in_the_upright_one(
    orientation: int, ending: str, tmp_path: Path
) -> None:
    upright = Image.fromarray(spotted(160, 90, 100.0, 30.0, 5.0))
    stored = upright.transpose(STORED[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a{ending}", exif=exif, **({"quality": 95} if ending == ".jpg" else {}))
    found = seeker("LandmarkLocalization-v0", 161, max_side=161).predict(tmp_path / f"a{ending}")
    assert isinstance(found, Points)
    np.testing.assert_allclose(found.points["spot"], (100, 30), atol=0.5)


# -- spacing -------------------------------------------------------------------------------------------------------
RANGE = ((1.0, 1.0, 1.0), (1.2, 1.2, 1.5))


def cube(spacing: tuple[float, float, float], shape: tuple[int, int, int] = (24, 24, 24)) -> VolumeSample:
    """A spot of 3 mm in the middle of a volume, (x, y, z) spacing."""
    affine = np.diag([*spacing, 1.0])
    middle = affine[:3, :3] @ (np.array(shape[::-1]) - 1) / 2
    voxels = blob(shape[::-1], affine, middle).transpose(2, 1, 0)
    return VolumeSample(
        voxels[None], spacing, affine=affine, points={"spot": (11.0, 11.0, 11.0)}, name="cube"
    )


@pytest.mark.parametrize(
    ("spacing", "held"),
    [
        ((1.0, 1.1, 1.5), (1.0, 1.1, 1.5)),
        ((0.95, 1.1, 1.6), (0.95, 1.1, 1.6)),
        ((1.0, 1.0, 3.0), (1.0, 1.0, 1.5)),
        ((0.5, 0.5, 1.2), (1.0, 1.0, 1.2)),
    ],
)
def test_voxels_unlike_those_of_the_training_are_resampled(spacing: Any, held: Any) -> None:
    agent, sample = volumes(spacing_range_mm=RANGE), cube(spacing)
    task: Any = agent.task_on(sample)
    np.testing.assert_allclose(task.spacings_mm[0], held, rtol=0.05)
    found: Any = agent.predict_sample(sample).result
    np.testing.assert_allclose(found.points["spot"], [11.5] * 3, atol=0.1)


def test_voxels_far_coarser_than_those_of_the_training_are_refused() -> None:
    rule = r"cube must have a spacing <= \[12.0, 12.0, 15.0\] mm, ten times .* got \[1.0, 1.0, 30.0\]"
    with pytest.raises(ValueError, match=rule):
        volumes(spacing_range_mm=RANGE).predict(cube((1.0, 1.0, 30.0)))


@pytest.mark.parametrize(
    ("affine", "rule"),
    [
        (np.eye(3), r"affine must be \(4, 4\) finite numbers"),
        (np.full((4, 4), np.nan), r"affine must be \(4, 4\) finite numbers"),
        ("nowhere", "affine must be numbers"),
        (np.diag([1.0, 1, 2, 1]), r"affine must have steps as long as spacing_mm, \[1.0, 1.0, 1.0\], got"),
    ],
)
def test_an_affine_that_is_none_of_the_volume_is_refused(affine: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        volumes().predict(cube((1.0, 1.0, 1.0)).volume[0], spacing_mm=(1, 1, 1), affine=affine)


@pytest.mark.parametrize("env", ["LandmarkLocalization3D-v0", "MultiLandmarkLocalization3D-v0"])
def test_a_task_states_the_spacings_of_its_training(env: str) -> None:
    data = [replace(cube((1.0, 1.0, 1.0)), name="a"), replace(cube((1.2, 1.0, 1.5)), name="b")]
    kwargs: dict[str, Any] = {**ALL, "data": data, "window": 9, "split": "all"}
    task: Any = make_task(env, **kwargs)
    assert task.resolved_arguments["spacing_range_mm"] == [[1.0, 1.0, 1.0], [1.2, 1.0, 1.5]]
    assert make_task(env, **{**kwargs, **task.resolved_arguments}).spacing_range_mm == (
        (1.0, 1.0, 1.0),
        (1.2, 1.0, 1.5),
    )
    resampled: Any = make_task(env, **kwargs, spacing_mm=1.0)
    assert "spacing_range_mm" not in resampled.resolved_arguments


def test_the_agent_that_comes_along_knows_the_spacings_of_its_training() -> None:
    config = read_config(folder_of("landmarks3d-chest"))[0]
    task: Any = make_task(config.env, split="train")
    found = task.resolved_arguments["spacing_range_mm"]
    np.testing.assert_allclose(config.env_kwargs["spacing_range_mm"], found, atol=1e-3)
