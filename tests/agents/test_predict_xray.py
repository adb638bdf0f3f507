"""Registration of a CT with pictures of X-rays: poses, matrices, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import pytest

from visionrl.agents.prediction.agent import Agent, classical
from visionrl.cli import main as cli
from visionrl.core import make_task
from visionrl.datasets import VolumeSample, XraySample, validate
from visionrl.ops.transforms import move_pose

ID = "Registration2D3D-v0"
TRUTH = np.array([[9.0, -6.0, 7.0, 4.0, -3.0, 6.0]])
SMALL: dict[str, Any] = {"size": 48, "pixel_mm": 8.0, "views": (0.0, 90.0)}


def body() -> np.ndarray:
    """(40, 40, 40) uint8 (z, y, x), voxels of 5 mm: a ball, a rod and a plate."""
    z, y, x = np.indices((40, 40, 40)) - 19.5
    volume = np.full((40, 40, 40), 40.0)
    volume[(x - 8) ** 2 + (y - 8) ** 2 + (z - 8) ** 2 < 16] = 255
    volume[(np.abs(x + 6) < 2) & (np.abs(y + 8) < 2)] = 200
    volume[(np.abs(z + 9) < 2) & (np.abs(x) < 9) & (np.abs(y) < 5)] = 220
    return volume.astype(np.uint8)


def xrays(side: int = 48, volume: np.ndarray | None = None) -> np.ndarray:
    """(2, side, side) uint8, the body, or another volume (1, 40, 40, 40), in its true pose."""
    held = body()[None] if volume is None else volume
    made: Any = make_task(ID, data=[VolumeSample(held, (5.0, 5.0, 5.0))], **SMALL)
    shown = made.bank.renders(np.array([0]), move_pose(np.eye(3, 4)[None], TRUTH))[0]
    return np.stack([cv2.resize(film, (side, side), interpolation=cv2.INTER_LINEAR) for film in shown])


def scripted(**kwargs: Any) -> Agent:
    """An agent that makes the true motion at its first step, and then keeps still."""

    def act(observations: Any, task: Any, state: Any) -> np.ndarray:
        first = np.isnan(state.trail[:, -1, 0, 0])
        return np.where(first[:, None], TRUTH / task.max_step, 0.0)

    return Agent(ID, act, {"control": "continuous", **SMALL, **kwargs})


def write_files(folder: Path) -> list[str]:
    """Two X-rays, and the CT in a file whose axes are not those of the library."""
    paths = []
    for number, film in enumerate(xrays(96)):
        paths.append(str(folder / f"x{number}.png"))
        cv2.imwrite(paths[-1], film)
    # i of the file grows to the front, which is -y here; j to the left, which is x; k to the head
    voxels = body().transpose(1, 2, 0)[::-1]
    affine = np.eye(4)
    affine[:3, :3] = [[0, -5, 0], [5, 0, 0], [0, 0, 5]]
    affine[:3, 3] = (40, -30, 7)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(voxels), affine), folder / "ct.nii.gz")
    return [*paths, str(folder / "ct.nii.gz")]


def test_a_pose_is_found_from_pictures_and_written(tmp_path: Path, capsys: Any) -> None:
    words = write_files(tmp_path)
    agent = scripted()
    found: Any = agent.predict(words[:2], words[2])
    np.testing.assert_allclose(found.numbers, TRUTH[0], atol=1e-6)
    # the ball's middle, of voxel (27.5, 27.5, 27.5) in (x, y, z), in millimetres in LPS
    volume = agent.sample_of(words[:2], words[2])
    ball = (volume.affine @ (27.5, 27.5, 27.5, 1))[:3]
    place = (found.matrix_mm @ (*ball, 1))[:3]
    geometry = agent.task_on(volume).bank.geometry  # type: ignore[attr-defined]
    for view, film in enumerate(xrays()):
        x, y = geometry.project(view, place[None])[0]
        around = film[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3]
        assert around.mean() > film.mean() + 30, "the ball is where the pose says"
    # a reader scales the greys of a file
    assert np.corrcoef(volume.volume.ravel(), body().ravel())[0, 1] > 0.99
    assert np.abs(found.radiographs.astype(int) - xrays(volume=volume.volume)).max() <= 1


def test_the_command_takes_an_x_ray_and_then_its_scan(tmp_path: Path, capsys: Any) -> None:
    words = write_files(tmp_path)
    out = tmp_path / "out"
    cli.main(["predict", "Gauss-Newton", words[0], words[2], "--env", ID, "--out", str(out)])
    line = json.loads((out / "predictions.jsonl").read_text())
    assert line["in_lps"] and len(line["shift_mm"]) == len(line["turn_degrees"]) == 3
    assert line["written"] == ["x0-ct.txt", "x0-ct-render.png", "x0-ct.png"]
    np.testing.assert_allclose(np.loadtxt(out / "x0-ct.txt"), line["matrix_mm"])
    assert cv2.imread(str(out / "x0-ct-render.png"), cv2.IMREAD_UNCHANGED).shape == (64, 64)  # type: ignore[union-attr]


def test_a_classical_method_finds_the_pose() -> None:
    agent = classical(ID, "Gauss-Newton")
    agent.env_kwargs = SMALL
    found: Any = agent.predict(list(xrays()), VolumeSample(body()[None], (5.0, 5.0, 5.0)))
    assert np.abs(found.numbers - TRUTH[0]).max() < 1.5 and not found.in_lps


def test_fiducials_change_nothing() -> None:
    points = {"a": (10, 10, 5), "b": (30, 5, 20), "c": (5, 30, 30), "ball": (27.5, 27.5, 27.5)}
    plain = XraySample(body()[None], (5.0, 5.0, 5.0), xrays=xrays())
    known = XraySample(body()[None], (5.0, 5.0, 5.0), points, xrays=xrays())
    first, second = (scripted().predict_sample(some) for some in (plain, known))
    assert first.result.to_json() == second.result.to_json()
    assert first.pictures()[0].shape == second.pictures()[0].shape


@pytest.mark.parametrize(
    ("sample", "rule"),
    [
        ({"xrays": None}, r"xrays must be \(V, S, S\) uint8, square, got object of shape \(\)"),
        ({"xrays": np.zeros((1, 4, 5), np.uint8)}, r"square, got uint8 of shape \(1, 4, 5\)"),
        ({"xrays": np.zeros((1, 4, 4))}, "got float64 of shape"),
    ],
)
def test_rules_of_samples(sample: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        validate(XraySample(body()[None], (5.0, 5.0, 5.0), **sample), 0)


def test_refusals(tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(ValueError, match=r"xrays must be one a view \(2\), sample '0' has 1"):
        scripted().predict(xrays()[0], body(), spacing_mm=(5.0, 5.0, 5.0))
    with pytest.raises(ValueError, match="X-rays must be square and of one size"):
        scripted().predict([xrays()[0], xrays()[1, :40]], body(), spacing_mm=(5.0, 5.0, 5.0))
    with pytest.raises(ValueError, match=r"X-rays must be \(S, S\) or \(C, S, S\).*got shape \(2, 48, 48\)"):
        scripted().predict(xrays(), body(), spacing_mm=(5.0, 5.0, 5.0))
    with pytest.raises(ValueError, match="spacing_mm"):
        scripted().predict(list(xrays()), body())
    with pytest.raises(ValueError, match="moving must be given for visionrl/Registration2D3D-v0"):
        scripted().predict(body())
    with pytest.raises(ValueError, match="must be of type XraySample, got VolumeSample"):
        make_task(ID, data=[VolumeSample(body()[None], (5.0, 5.0, 5.0))], labelled=False)
    words = write_files(tmp_path)
    for wrong in ([words[0]], [words[2], words[0]], [words[2]]):
        with pytest.raises(SystemExit):
            cli.main(["predict", "identity", *wrong, "--env", ID, "--out", str(tmp_path / "no")])
        assert "files must be X-rays and then their CT, in turn" in capsys.readouterr().err
