"""What a user would pick instead of an agent: where a structure usually is, then template matching around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from visionrl.core import baseline
from visionrl.envs.localization.landmark import LandmarkLocalization, State

# Chosen on the validation split of the embedded chest X-rays, from sides of 15 to 81 pixels and 1 to 10 votes.
COARSEST = (
    80  # longer side of the image in the first stage, pixels; every stage doubles it, up to the image's own
)
REACH = 5  # how far from the place of the stage before a stage searches, pixels
TEMPLATES = 128  # most per structure; more training images are thinned evenly


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


@dataclass(frozen=True)
class Model:
    """What is known of one structure.

    Attributes:
        mean: (2,) where it is, in sides of the image.
        spread: (2,) standard deviation of that.
        templates: for each stage (n, s, s) float32.
    """

    mean: np.ndarray
    spread: np.ndarray
    templates: list[np.ndarray]


Run = Callable[[LandmarkLocalization, State], State]


@baseline("LandmarkLocalization-v0", "prior + mean template")
def prior_and_mean_template(train: LandmarkLocalization) -> Run:
    """Mean position in the training images, then correlation with the mean of their patches, coarse to fine."""
    return matcher(train, Matching(first=45, then=61, mean=True, votes=1))


@baseline("LandmarkLocalization-v0", "prior + nearest patches")
def prior_and_nearest_patches(train: LandmarkLocalization) -> Run:
    """The same with every training image's own patch, of which the best three vote; slower and much better."""
    return matcher(train, Matching(first=35, then=41, mean=False, votes=3))


def matcher(train: LandmarkLocalization, how: Matching) -> Run:
    """A fitted method.

    Correlation is ``cv2.TM_CCOEFF_NORMED`` (Lewis, 1995, "Fast normalized cross-correlation"), on grey images.
    """
    sides = stages(float(np.median(train.bank.sizes.max(axis=1))))
    models = learn(train, sides, how)

    def run(task: LandmarkLocalization, state: State) -> State:
        name = task.names[int(state.goal[0])]
        if name not in models:
            raise ValueError(f"target must be in the training split, got {name!r}")
        image, model = held(task, int(state.image[0])), models[name]
        place = model.mean
        for stage, side in enumerate(sides):
            place = search(to_side(image, side), place, model, stage, how.votes)
        position = place * (state.limit[0] + 1) - 0.5
        return replace(state, position=np.clip(position, 0, state.limit[0])[None], finished=np.ones(1, bool))

    return run


def stages(longest: float) -> list[float]:
    """Longer side of the image in every stage: doubling, up to ``longest``."""
    count = max(int(np.ceil(np.log2(longest / COARSEST))), 0)
    return [*(COARSEST * 2.0**k for k in range(count)), longest]


def learn(train: LandmarkLocalization, sides: list[float], how: Matching) -> dict[str, Model]:
    """Positions and patches of every structure in the training images."""
    places: dict[str, list[np.ndarray]] = {name: [] for name in train.names}
    cuts: dict[str, list[list[np.ndarray]]] = {name: [[] for _ in sides] for name in train.names}
    for number, sample in enumerate(train.samples):
        image = held(train, number)
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
