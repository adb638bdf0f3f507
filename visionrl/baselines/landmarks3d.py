"""What a user would pick instead of an agent in volumes: where a structure usually is, and atlases registered to the scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from visionrl.baselines.simple_itk import coarse_to_fine, descend, package
from visionrl.core import baseline
from visionrl.datasets import VolumeSample
from visionrl.envs.localization.landmark3d import LandmarkLocalization3D, State
from visionrl.envs.localization.team3d import MultiLandmarkLocalization3D
from visionrl.envs.localization.team3d import State as TeamState

# Chosen on the validation split of the embedded chest CT.
MESH = 5  # cells of the B-spline grid along each axis
SAMPLES = 8000  # voxels that the metric looks at

Run = Callable[[LandmarkLocalization3D, State], State]
TeamRun = Callable[[MultiLandmarkLocalization3D, TeamState], TeamState]
Points = dict[str, np.ndarray]


@baseline("LandmarkLocalization3D-v0", "mean position")
def mean_position(train: LandmarkLocalization3D) -> Run:
    """Where a structure is on average in the training scans, in sides of the scan."""
    means = mean_points(train.samples, train.names)

    def find(sample: VolumeSample, name: str) -> np.ndarray:
        return means[name] * sample.volume.shape[:0:-1] - 0.5

    return finder(find)


@baseline("MultiLandmarkLocalization3D-v0", "mean position")
def mean_positions(train: MultiLandmarkLocalization3D) -> TeamRun:
    """Where the structures are on average in the training scans, in sides of the scan."""
    means = mean_points(train.samples, train.agents)

    def run(task: MultiLandmarkLocalization3D, state: TeamState) -> TeamState:
        sides = task.samples[int(state.image[0])].volume.shape[:0:-1]
        position = np.stack([means[name] * sides for name in task.agents]) / state.factor - 0.5
        inside = np.clip(position, 0, state.high)
        return replace(state, position=inside[None], finished=np.ones_like(state.finished))

    return run


@baseline("LandmarkLocalization3D-v0", "atlas, affine")
def atlas_affine(train: LandmarkLocalization3D) -> Run:
    """The landmarks of the three most typical training scans, each registered by an affine map; the median counts.

    The map maximises mutual information (Mattes et al., 2003).
    """
    return atlas_transfer(train, atlases=3, elastic=False)


@baseline("LandmarkLocalization3D-v0", "atlas, B-spline")
def atlas_bspline(train: LandmarkLocalization3D) -> Run:
    """Those of the most typical one, bent further by cubic B-splines (Rueckert et al., 1999); slower and better."""
    return atlas_transfer(train, atlases=1, elastic=True)


def atlas_transfer(train: LandmarkLocalization3D, atlases: int, elastic: bool) -> Run:
    """A fitted method; each scan is registered once, for all of its structures.

    A structure that none of the atlases has is looked for where it is on average.

    Args:
        train: has the training scans.
        atlases: how many of them vote, the most typical ones.
        elastic: B-splines after the affine map.

    Raises:
        ImportError: SimpleITK is missing.
    """
    itk = package()
    chosen = typical(train.samples, train.names, atlases)
    means = mean_points(train.samples, train.names)
    done: dict[int, tuple[Any, list[Points]]] = {}  # by identity, with the volume, so that it stays its own

    def find(sample: VolumeSample, name: str) -> np.ndarray:
        key = id(sample.volume)
        if key not in done:
            done[key] = sample.volume, [transfer(itk, atlas, sample, elastic) for atlas in chosen]
        votes = [points[name] for points in done[key][1] if name in points]
        return np.median(votes, axis=0) if votes else means[name] * sample.volume.shape[:0:-1] - 0.5

    return finder(find)


def finder(find: Callable[[VolumeSample, str], np.ndarray]) -> Run:
    """A method that says where a structure is, (x, y, z) in voxels of the sample, as one that solves an episode."""

    def run(task: LandmarkLocalization3D, state: State) -> State:
        found = find(task.samples[int(state.image[0])], task.names[int(state.goal[0])])
        position = (found + 0.5) / state.factor[0] - 0.5
        inside = np.clip(position, state.low[0], state.high[0])
        return replace(state, position=inside[None], finished=np.ones(1, bool))

    return run


def mean_points(samples: Sequence[VolumeSample], names: Sequence[str]) -> Points:
    """Name -> mean (x, y, z) in sides of the scan, for structures that a sample has."""
    places: dict[str, list[np.ndarray]] = {}
    for sample in samples:
        for name in set(names) & set(sample.points):
            place = (np.asarray(sample.points[name], float) + 0.5) / sample.volume.shape[:0:-1]
            places.setdefault(name, []).append(place)
    return {name: np.mean(found, axis=0) for name, found in places.items()}


def typical(samples: Sequence[VolumeSample], names: Sequence[str], count: int) -> list[VolumeSample]:
    """The samples whose structures lie nearest to where they lie on average."""
    means = mean_points(samples, names)
    gaps = []
    for sample in samples:
        shared = [name for name in names if name in sample.points]
        places = [(np.asarray(sample.points[n], float) + 0.5) / sample.volume.shape[:0:-1] for n in shared]
        apart = [np.linalg.norm(place - means[n]) for n, place in zip(shared, places, strict=True)]
        gaps.append(np.mean(apart) if apart else np.inf)
    return [samples[k] for k in np.argsort(gaps, kind="stable")[:count]]


def transfer(itk: Any, atlas: VolumeSample, sample: VolumeSample, elastic: bool) -> Points:
    """Name -> (x, y, z) in voxels of the sample, of all landmarks of an atlas."""
    fixed, moving = to_image(itk, atlas), to_image(itk, sample)
    whole = itk.CompositeTransform([affine(itk, fixed, moving)])
    if elastic:
        whole.AddTransform(bspline(itk, fixed, moving, whole))
    found = {}
    for name, at in atlas.points.items():
        place = whole.TransformPoint((np.asarray(at, float) * atlas.spacing_mm).tolist())
        found[name] = np.array(place) / sample.spacing_mm
    return found


def affine(itk: Any, fixed: Any, moving: Any) -> Any:
    """The affine map from places in ``fixed`` to places in ``moving``, begun where their moments agree."""
    moments = itk.CenteredTransformInitializerFilter.MOMENTS
    start = itk.CenteredTransformInitializer(fixed, moving, itk.AffineTransform(3), moments)
    method = coarse_to_fine(itk, fixed, (4, 2), SAMPLES)
    method.SetMetricAsMattesMutualInformation(32)
    descend(method, 1.0, 1e-2, 60)
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, moving)
    return start


def bspline(itk: Any, fixed: Any, moving: Any, first: Any) -> Any:
    """The bending of ``fixed`` that makes it fit best, by correlation, once ``first`` has followed."""
    bend = itk.BSplineTransformInitializer(fixed, [MESH] * 3)
    method = coarse_to_fine(itk, fixed, (2,), SAMPLES)
    method.SetMetricAsCorrelation()
    method.SetOptimizerAsLBFGSB(numberOfIterations=25, maximumNumberOfFunctionEvaluations=60)
    method.SetMovingInitialTransform(itk.CompositeTransform(first))
    method.SetInitialTransform(bend, inPlace=True)
    method.Execute(fixed, moving)
    return bend


def to_image(itk: Any, sample: VolumeSample) -> Any:
    """A sample as an image of SimpleITK, millimetres from its first voxel."""
    image = itk.GetImageFromArray(sample.volume[0].astype(np.float32))
    image.SetSpacing([float(s) for s in sample.spacing_mm])
    return image
