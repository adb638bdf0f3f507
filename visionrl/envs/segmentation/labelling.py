"""Active labelling: which regions of a set of images a person should label next, so that a segmenter learns most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge

from visionrl.banks.patches import shared
from visionrl.banks.regions import PixelSample, RegionBank, describe
from visionrl.core import arguments, register
from visionrl.core.observables import Vector
from visionrl.core.results import Regions
from visionrl.datasets import ImageSample, ImageSet
from visionrl.datasets.embedded.slices import GROUPS
from visionrl.datasets.load import choose
from visionrl.datasets.readers.masks import UNLABELLED
from visionrl.envs.segmentation.labelling_picture import painted, tiled, with_regions
from visionrl.envs.segmentation.region_features import CONTEXT, NUMBERS, candidate_features, context
from visionrl.envs.select import PoolSelection, SelectFromPool
from visionrl.ops import Array, ridge, xp_of

ORDERS = 36  # different episodes of a split
REWARD = 100.0  # points of mean IoU
MOST, COLUMNS = 12, 4  # images that are drawn of a pool without labels


@dataclass(frozen=True)
class State(PoolSelection):
    """A linear segmenter and what it has learnt from; B episodes, F features, K classes.

    Attributes:
        gram: (B, F, F) float64, products of the features of the labelled pixels, and the penalty.
        moment: (B, F, K) float64, features of the labelled pixels by class.
        count: (B, K) float64, labelled pixels by class.
        weights: (B, F, K) float64, the segmenter.
        inverse: (B, F, F) float64, of ``gram``.
        miou: (B,) float64, the segmenter's mean IoU; 0 where there are no labels.
        area: (B,) float64, the sum of the mean IoU after each step.
    """

    gram: Array
    moment: Array
    count: Array
    weights: Array
    inverse: Array
    miou: Array
    area: Array


@register(
    "ActiveLabelling-v0",
    max_steps=64,
    tags=("segmentation", "2d", "discrete", "selection"),
    presets={"casanova2020": {"region": 18, "budget": 24, "budget_spread": 0}},
)
@arguments
class ActiveLabelling(SelectFromPool[State]):
    """The agent chooses which regions of a pool of images are labelled, so that a segmenter learns the most from few.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``candidates`` (N, 28): how sure the segmenter is of each region, which classes it sees there, how unlike the labelled regions it is, what it looks like; ``context`` (3,): budget spent, classes labelled, how even the labels are |
    | Action      | Discrete(N): a candidate, see below |
    | Reward      | 100 times the gain of the mean IoU on images that are not in the pool |
    | Ends        | when the budget is spent |

    | Action | Meaning |
    |--------|---------|
    | 0 to N - 1 | label this candidate; the next step offers N others |

    The segmenter is a ridge regression on 18 features of each pixel, solved anew in closed form after each region.
    Nothing in the observation depends on the number of classes or on the images that score, so an agent can be used on
    other images and classes. Candidates are drawn at random at the start of an episode.

    The images of the training split are the pool: episodes of splits "train" and "val" label every second of them,
    those of "test" the others. The first two are scored on the images of the validation split, the last on those of
    the test split. Where ``data`` is a sequence, every second image is the pool, the others score.

    ``info`` has ``miou``, the mean IoU of the classes that the scored images show; ``area``, its mean over the steps
    so far, the area under the budget curve; ``labelled``, the regions taken; ``miou_of_all``, the segmenter's when
    every region is labelled. An episode is a success if it does better than that, which unbalanced classes allow.

    Source: Casanova et al. (2020), "Reinforced active learning for image segmentation", with deep networks in the
    place of the regression; they offer 20 candidates in training too.
    """

    region: Annotated[int, Ge(4)] = 15
    """Least side of a region, pixels."""
    groups: str | Mapping | None = None
    """Classes: names with the beginnings of the names of the structures that belong to each, the rest being one more;
    or a grouping of the embedded slices, "organs" or "skeleton". None is "organs" for these, else each label is a class."""
    scored_pixels: Annotated[int, Ge(100)] = 3000
    """Number of pixels on which the segmenter is scored, drawn once."""
    penalty: Annotated[float, Ge(1e-3)] = 1.0
    """Ridge penalty of the segmenter."""
    max_side: Annotated[int, Ge(8)] | None = 256
    """Images with a longer side than this are shrunk to it, pixels; None never."""

    sample_type, unlabelled_type, embedded = ImageSample, ImageSet, "chest-ct-slices"
    primary_metric = ("miou", True)
    evaluation: ClassVar[Mapping[str, Any]] = {"budget_spread": 0, "scored_pixels": 20_000}

    def setup(self) -> None:
        self.items = ORDERS if self.labelled else 1
        self.load_pool(*(self.divided() if self.labelled else (self.images_given(), ())))
        self.choose_one(len(self.pool))
        self.show(candidates=Vector((self.candidates, NUMBERS), -10, 10), context=Vector(CONTEXT))

    def load_pool(self, pool: tuple[ImageSample, ...], scored: tuple[ImageSample, ...]) -> None:
        """Describe the regions of the images of the pool, and the pixels that score."""
        self.samples, self.examples = pool, scored
        self.names, self.table = classes_of((*pool, *scored), self.groups or self.own_groups())
        if self.labelled and len(self.names) < 2:
            raise ValueError(f"data must have two classes or more, got {', '.join(self.names)}")
        self.coloured = any(len(sample.image) == 3 for sample in (*pool, *scored))
        about, held = (self.table, len(self.names)), (self.max_side, self.coloured)
        pixels = [sample.image for sample in pool], [sample.image for sample in scored]
        self.bank = shared(RegionBank, pixels[0], pool, *about, self.region, *held)
        known = self.bank.known.array
        self.pool = np.flatnonzero(known if self.labelled else ~known)[:: -1 if self.split == "val" else 1]
        if not len(self.pool):
            raise ValueError(
                f"images must be without masks, some at least, to be labelled, all {len(pool)} have one"
            )
        if self.labelled:
            self.scored = shared(PixelSample, pixels[1], scored, *about, *held, self.scored_pixels)
            self.miou_of_all = float(self.scored.mean_iou(self.first_fit(self.pool)[2][None])[0])
            self.miou_of_none = float(self.scored.mean_iou(self.first_fit([])[2][None])[0])

    def first_fit(self, regions: Sequence[int] | np.ndarray) -> tuple[np.ndarray, ...]:
        """Products, moments, weights, inverse and counts of a segmenter that has learnt from some regions."""
        gram, moment, count = (
            some.array[regions].sum(axis=0) for some in (self.bank.gram, self.bank.moment, self.bank.count)
        )
        gram = gram + self.penalty * np.eye(len(gram))
        weights, inverse = ridge.solve_ridge(gram[None], moment[None])
        return gram, moment, weights[0], inverse[0], count

    def own_groups(self) -> str | None:
        """The grouping that None stands for."""
        return "organs" if self.data in (None, self.embedded) else None

    def images_given(self) -> tuple[ImageSample, ...]:
        """The images of a task without labels: of which some may have masks, which the segmenter learns from."""
        if isinstance(self.data, str | None):
            return self.load()
        if len(self.data) == 1 and isinstance(self.data[0], ImageSet):
            return tuple(self.load(kind=ImageSet)[0].images)
        return self.load()

    def divided(self) -> tuple[tuple[ImageSample, ...], tuple[ImageSample, ...]]:
        """The images of the pool, and those that score; the last that are loaded are those of the split."""
        if not isinstance(self.data, str | None):
            pool = scored = self.load()
        elif self.split == "train":
            scored, pool = self.load(split="val"), self.load()
        else:
            pool, scored = self.load(split="train"), self.load()
        for name, some in (("training", pool), (self.split, scored)):
            if bare := [sample.name for sample in some if sample.mask is None]:
                raise ValueError(f"samples must have masks, {bare[0]!r} of the {name} split has none")
        if len(pool) < 2:
            raise ValueError(f"data must have two images or more to be labelled, got {len(pool)}")
        if not isinstance(self.data, str | None):
            return tuple(pool[::2]), tuple(pool[1::2])
        first = {"train": 0, "val": 0, "test": 1}.get(self.split)
        chosen = range(len(pool)) if first is None else range(first, len(pool), 2)
        return choose(pool, chosen), scored

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        gram, moment, weights, inverse, count = self.first_fit(
            [] if self.labelled else np.flatnonzero(self.bank.known.array)
        )
        return State(
            offers=self.pool[self.draw_offers(rng, len(self.pool))],
            taken=np.full(self.longest, -1),
            step=np.int64(0),
            budget=np.int64(self.budget_of(item)),
            gram=gram,
            moment=moment,
            count=count,
            weights=weights,
            inverse=inverse,
            miou=np.float64(self.miou_of_none if self.labelled else 0),
            area=np.float64(0),
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.gram)
        item, fresh = self.picked(state, action)
        gram, moment, count = self.labelled_sums(state, item)
        new = xp.astype(fresh, state.gram.dtype)
        gram = state.gram + gram * new[:, None, None]
        moment = state.moment + moment * new[:, None, None]
        weights, inverse = ridge.solve_ridge(gram, moment)
        miou = self.scored.mean_iou(weights) if self.labelled else state.miou
        return replace(
            state,
            taken=self.take(state, item),
            step=state.step + 1,
            gram=gram,
            moment=moment,
            count=state.count + count * new[:, None],
            weights=weights,
            inverse=inverse,
            miou=miou,
            area=state.area + miou,
        )

    def labelled_sums(self, state: State, item: Array) -> tuple[Array, Array, Array]:
        """The sums that a region (B,) adds to the segmenter: products, features by class, pixels by class.

        Where nobody knows the labels they are taken to be what the segmenter predicts, which leaves it as it is and
        makes the region a known one.
        """
        gram = self.bank.gram.rows(item)
        if self.labelled:
            return gram, self.bank.moment.rows(item), self.bank.count.rows(item)
        moment = gram @ state.weights
        return gram, moment, xp_of(moment).maximum(moment[:, 0, :], 0 * moment[:, 0, :])

    def observe(self, state: State) -> dict[str, Array]:
        learnt = state.weights, state.inverse, state.count, state.taken
        return self.seen(
            candidates=candidate_features(self.bank, *learnt, self.offered(state)),
            context=context(state.count, state.step, state.budget),
        )

    def reward(self, before: State, action: Array, after: State) -> Array:
        return REWARD * (after.miou - before.miou)

    def gains(self, state: State) -> Array:
        xp, offered = xp_of(state.gram), self.offered(state)
        found = []
        for number in range(self.candidates):
            gram, moment, _ = self.labelled_sums(state, offered[:, number])
            weights, _ = ridge.solve_ridge(state.gram + gram, state.moment + moment)
            found.append(REWARD * (self.scored.mean_iou(weights) - state.miou))
        return xp.stack(found, axis=1)

    def metrics(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.miou)
        steps = xp.astype(state.step, state.area.dtype)
        return {
            "miou": state.miou + 0,
            "is_success": state.miou > self.miou_of_all,
            "area": state.area / xp.where(steps > 0, steps, xp.ones_like(steps)),
            "labelled": state.step + 0,
            "miou_of_all": xp.full_like(state.miou, self.miou_of_all),
        }

    # -- edge ------------------------------------------------------------------------------------------------------
    def result(self, state: State) -> Regions:
        taken = list(dict.fromkeys(state.taken[: int(state.step)].tolist()))
        shares = ridge.class_probabilities(state.weights.T @ self.bank.pixels.array[taken], axis=1)
        images = tuple(self.samples[k].name for k in self.bank.image.array[taken])
        return Regions(images, self.bank.boxes[taken], ridge.entropy(shares, axis=1).mean(axis=1))

    def source_name(self, number: int) -> str:
        return f"order {number}"

    def draw(self, state: State) -> np.ndarray:
        taken = state.taken[: int(state.step)]
        if not self.labelled:
            numbers = list(dict.fromkeys(self.bank.image.array[taken].tolist())) or [0]
            pool = [self.panel(state, number) for number in numbers[:MOST]]
            return tiled(pool, min(len(pool), COLUMNS), pool[0].shape[:2])
        steps, shown = len(taken), self.examples[0]
        last = int(taken[-1]) if steps else int(state.offers[0, 0])
        before = self.weights_without(state, last) if steps else state.weights
        made = [
            (self.predicted(shown, before), f"{max(steps - 1, 0)} regions"),
            (self.predicted(shown, state.weights), f"{steps}: mIoU {float(state.miou):.2f}"),
            (describe(shown, self.table, self.max_side, self.coloured)[1], "truth"),
        ]
        panels = [painted(shown.image, classes, words) for classes, words in made]
        where = self.panel(state, int(self.bank.image.array[last]))
        return tiled([where, *panels], 2, panels[0].shape[:2])

    def panel(self, state: State, number: int) -> np.ndarray:
        """An image of the pool with its regions that one episode took."""
        taken = state.taken[: int(state.step)]
        orders = np.flatnonzero(self.bank.image.array[taken] == number)
        words = f"{len(taken)} regions" if self.labelled else self.samples[number].name
        boxes = self.bank.boxes[taken[orders]]
        return with_regions(self.samples[number].image, boxes, (orders + 1).tolist(), words)

    def weights_without(self, state: State, last: int) -> np.ndarray:
        """The segmenter of one episode before its last region."""
        if (state.taken[: int(state.step) - 1] == last).any():
            return state.weights
        gram, moment = state.gram - self.bank.gram.array[last], state.moment - self.bank.moment.array[last]
        return ridge.solve_ridge(gram[None], moment[None])[0][0]

    def predicted(self, sample: ImageSample, weights: np.ndarray) -> np.ndarray:
        """(H, W) classes that a segmenter gives an image, as held."""
        features, _ = describe(sample, self.table, self.max_side, self.coloured)
        return (features @ weights).argmax(axis=-1)


def classes_of(
    samples: tuple[ImageSample, ...], groups: str | Mapping | None
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The names of the classes, and the class of each label of the masks; -1 of pixels that are not labelled yet.

    Args:
        samples: all images.
        groups: see ``ActiveLabelling``; None makes each label a class.

    Raises:
        ValueError: there is no such grouping, or a class has no structure.
    """
    if isinstance(groups, str) and groups not in GROUPS:
        raise ValueError(f"groups must be one of {', '.join(GROUPS)} or a mapping, got {groups!r}")
    groups = GROUPS[groups] if isinstance(groups, str) else groups
    labels = sorted({int(k) for s in samples if s.mask is not None for k in np.unique(s.mask)})
    called = {k: name for sample in samples for k, name in sample.names.items()}
    table = np.zeros(max(labels, default=0) + 1, int)
    bare = [k for k in labels if called.get(k) == UNLABELLED]
    table[bare] = -1
    labels = [k for k in labels if k not in bare]
    if not labels:
        return ("one", "another"), tuple(table.tolist())  # nobody knows yet: all pixels are as unsure
    if groups is None:
        table[labels] = np.arange(len(labels))
        return tuple(called.get(k, "background" if k == 0 else str(k)) for k in labels), tuple(table.tolist())
    for number, (name, starts) in enumerate(groups.items(), start=1):
        own = [k for k in labels if called.get(k, str(k)).startswith(tuple(starts))]
        if not own:
            raise ValueError(f"groups must name structures of the masks, {name!r} has none")
        table[own] = number
    return ("rest", *groups), tuple(table.tolist())
