"""Classical landmark localization: mean position, template matching, atlas registration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from visionrl.baselines.simple_itk import coarse_to_fine, descend, package
from visionrl.core import baseline
from visionrl.core.registry import Run
from visionrl.datasets import VolumeSample
from visionrl.envs.localization.landmark import LandmarkLocalization
from visionrl.envs.localization.landmark3d import LandmarkLocalization3D
from visionrl.envs.localization.landmark_walk import State
from visionrl.envs.localization.team import MultiLandmarkLocalization3D

# Chosen on the validation split of the embedded chest X-rays, from sides of 15 to 81 pixels and 1 to 10 votes.
COARSEST = (
    80  # longer side of the image in the first stage, pixels; every stage doubles it, up to the image's own
)
REACH = 5  # how far from the place of the stage before a stage searches, pixels
TEMPLATES = 128  # most per structure; more training images are thinned evenly
FOLDS = 5  # one of so many training images chooses the number of stages
# Chosen on the validation split of the embedded chest CT.
MESH = 5  # cells of the B-spline grid along each axis
SAMPLES = 8000  # voxels that the metric samples


Points = dict[str, np.ndarray]


@dataclass(frozen=True)
class Matching:
    """Constants of a method.

    Attributes:
        first: side of the templates in the first stage, pixels.
        then: the same in later stages.
        mean: one template per structure, the mean of the training patches, instead of all of them.
        votes: how many of the templates that fit best say where it is; the mean counts.
    """

    first: int
    then: int
    mean: bool
    votes: int


POSITION_ALONE = Matching(first=1, then=1, mean=True, votes=1)


@dataclass(frozen=True)
class Model:
    """A model of one structure.

    Attributes:
        mean: (2,) where it is, in sides of the image.
        spread: (2,) standard deviation of that.
        templates: for each stage (n, s, s) float32.
    """

    mean: np.ndarray
    spread: np.ndarray
    templates: list[np.ndarray]


@baseline("LandmarkLocalization-v0", "mean position")
def mean_position_in_images(train: LandmarkLocalization) -> Run:
    """Mean position of a structure in the training images, in sides of the image."""
    return matcher(train, None)


@baseline("LandmarkLocalization-v0", "prior + mean template")
def prior_and_mean_template(train: LandmarkLocalization) -> Run:
    """Mean position in the training images, then correlation with the mean of their patches, coarse to fine."""
    return matcher(train, Matching(first=45, then=61, mean=True, votes=1))


@baseline("LandmarkLocalization-v0", "prior + nearest patches")
def prior_and_nearest_patches(train: LandmarkLocalization) -> Run:
    """Mean position, then every training image's own patch, of which the best three vote; slower and much better."""
    return matcher(train, Matching(first=35, then=41, mean=False, votes=3))


def matcher(train: LandmarkLocalization, how: Matching | None) -> Run:
    """A fitted method; without constants, the mean position alone.

    Correlation is ``cv2.TM_CCOEFF_NORMED`` (Lewis, 1995, "Fast normalized cross-correlation"), on grey images. How many
    stages follow the mean position, 0 among them, is chosen for each structure by a fifth of the training images, with
    the templates of the others: where images are not aligned well enough for templates, they would do harm.
    """
    sides = stages(float(np.median(train.bank.sizes.max(axis=1)))) if how else []
    numbers = range(len(train.samples))
    models = learn(train, numbers, sides, how or POSITION_ALONE)
    depths = dict.fromkeys(models, 0)
    if how and len(numbers) >= FOLDS:
        held_out = [number for number in numbers if number % FOLDS == 0]
        others = learn(train, [n for n in numbers if n % FOLDS], sides, how)
        depths |= {
            name: best_depth(train, held_out, name, model, sides, how.votes) for name, model in others.items()
        }

    def run(task: LandmarkLocalization, state: State) -> State:
        name = task.names[int(state.goal[0])]
        if name not in models:
            raise ValueError(f"target must be in the training split, got {name!r}")
        image, model = held(task, int(state.image[0])), models[name]
        place = model.mean
        for stage, side in enumerate(sides[: depths[name]]):
            place = search(to_side(image, side), place, model, stage, how.votes if how else 1)
        position = place * (state.high[0] + 1) - 0.5
        return replace(state, position=np.clip(position, 0, state.high[0])[None], finished=np.ones(1, bool))

    return run


def stages(longest: float) -> list[float]:
    """Longer side of the image in every stage: doubling, up to ``longest``."""
    count = max(int(np.ceil(np.log2(longest / COARSEST))), 0)
    return [*(COARSEST * 2.0**k for k in range(count)), longest]


def best_depth(
    train: LandmarkLocalization,
    held_out: Sequence[int],
    name: str,
    model: Model,
    sides: list[float],
    votes: int,
) -> int:
    """The number of stages after which a structure is nearest on average in images that were not learnt from."""
    errors = []
    for number in held_out:
        sample = train.samples[number]
        if name not in sample.points:
            continue
        size = np.array(sample.image.shape[:0:-1])
        truth, image, place = np.asarray(sample.points[name], float) + 0.5, held(train, number), model.mean
        errors.append([np.linalg.norm(place * size - truth)])
        for stage, side in enumerate(sides):
            place = search(to_side(image, side), place, model, stage, votes)
            errors[-1].append(np.linalg.norm(place * size - truth))
    return int(np.mean(errors, axis=0).argmin()) if errors else len(sides)


def learn(
    train: LandmarkLocalization, numbers: Sequence[int], sides: list[float], how: Matching
) -> dict[str, Model]:
    """Positions and patches of every structure in some training images that have it."""
    places: dict[str, list[np.ndarray]] = {name: [] for name in train.names}
    cuts: dict[str, list[list[np.ndarray]]] = {name: [[] for _ in sides] for name in train.names}
    for number in numbers:
        sample, image = train.samples[number], held(train, number)
        pyramid = [to_side(image, side) for side in sides]
        for name in set(train.names) & set(sample.points):
            place = (np.asarray(sample.points[name], float) + 0.5) / sample.image.shape[:0:-1]
            places[name].append(place)
            for stage, small in enumerate(pyramid):
                cuts[name][stage].append(standard(cut(small, place, how.then if stage else how.first)))
    return {
        name: Model(
            np.mean(found, axis=0),
            np.std(found, axis=0),
            [merge(patches, how.mean) for patches in cuts[name]],
        )
        for name, found in places.items()
        if found
    }


def search(image: np.ndarray, place: np.ndarray, model: Model, stage: int, votes: int) -> np.ndarray:
    """The best place around another one, both (x, y) in sides of the image."""
    shape, templates = np.array(image.shape[::-1]), model.templates[stage]
    radius = REACH if stage else int(np.ceil(3 * max(*(model.spread * shape), 1)))
    area = cut(image, place, 2 * radius + templates.shape[-1])
    scores = np.stack(
        [cv2.matchTemplate(area, template, cv2.TM_CCOEFF_NORMED).ravel() for template in templates]
    )
    best = np.argsort(scores.max(axis=1))[-votes:]
    row, column = np.unravel_index(scores[best].argmax(axis=1), (2 * radius + 1, 2 * radius + 1))
    return place + np.array([column.mean() - radius, row.mean() - radius]) / shape


def held(task: LandmarkLocalization, number: int) -> np.ndarray:
    """An image at the size at which the task holds it, grey: (H, W) float32."""
    image = task.samples[number].image.mean(axis=0, dtype=np.float32)
    size = task.bank.sizes[number].astype(int).tolist()
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def to_side(image: np.ndarray, side: float) -> np.ndarray:
    """An image with another longer side."""
    factor = side / max(image.shape)
    size = [max(round(n * factor), 1) for n in image.shape[::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)


def cut(image: np.ndarray, place: np.ndarray, size: int) -> np.ndarray:
    """(size, size) around (x, y) in sides of the image; beyond the border its last pixels repeat."""
    x, y = (place * image.shape[::-1] - 0.5).tolist()
    return cv2.getRectSubPix(image, (size, size), (x, y))


def standard(patch: np.ndarray) -> np.ndarray:
    """Zero mean and unit variance; a flat patch becomes 0."""
    centred = patch - patch.mean()
    return centred / max(float(centred.std()), 1e-6)


def merge(patches: list[np.ndarray], mean: bool) -> np.ndarray:
    """The templates of training patches: (n, s, s) float32."""
    chosen = np.unique(np.linspace(0, len(patches) - 1, TEMPLATES).astype(int))
    return np.mean(patches, axis=0, keepdims=True) if mean else np.stack([patches[k] for k in chosen])


@baseline("LandmarkLocalization3D-v0", "mean position")
def mean_position(train: LandmarkLocalization3D) -> Run:
    """Mean position of a structure in the training scans, in sides of the scan."""
    means = mean_points(train.samples, train.names)

    def find(sample: VolumeSample, name: str) -> np.ndarray:
        return means[name] * sample.volume.shape[:0:-1] - 0.5

    return finder(find)


@baseline("MultiLandmarkLocalization3D-v0", "mean position")
def mean_positions(train: MultiLandmarkLocalization3D) -> Run:
    """Mean positions of the structures in the training scans, in sides of the scan."""
    means = mean_points(train.samples, train.agents)

    def run(task: MultiLandmarkLocalization3D, state: State) -> State:
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
    """Transfers the landmarks of the most typical scan by affine and cubic B-spline registration; slower and better.

    Source: Rueckert et al. (1999).
    """
    return atlas_transfer(train, atlases=1, elastic=True)


def atlas_transfer(train: LandmarkLocalization3D, atlases: int, elastic: bool) -> Run:
    """A fitted method; each scan is registered once, for all of its structures.

    A structure that none of the atlases has is placed at its mean position.

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
    """B-spline transform of ``fixed`` of highest correlation, applied before ``first``."""
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
