"""Active one-shot learning: name the classes of a stream of images, or pay to be told, and remember what was told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Interval
from gymnasium import spaces

from visionrl.banks.squares import square_bank
from visionrl.core import arguments, register
from visionrl.core.observables import Image, OneHot, Vector
from visionrl.core.results import StreamClasses
from visionrl.datasets import ImageSample, ImageSet
from visionrl.datasets.classes import image_class, load_by_class
from visionrl.envs.recognition.stream_picture import stream_picture
from visionrl.envs.select import Select, Selection
from visionrl.ops import Array, one_hot, xp_of

TOLD = (1, 2, 5, 10)  # showings of a class whose accuracy is told, as by Woodward & Finn


@dataclass(frozen=True)
class State(Selection):
    """A stream and what was said of it; B episodes of T images. ``taken`` are the actions, -1 beyond the last.

    Attributes:
        stream: (B, T) int64, indices into the bank, in the order of showing.
        slot: (B, T) int64, the slot of each one's class; -1 where it is unknown.
        label: (B,) int64, the slot of the image before, where its label was paid for; else -1.
    """

    stream: Array
    slot: Array
    label: Array


@register(
    "ActiveOneShot-v0",
    max_steps=200,
    tags=("recognition", "2d", "discrete", "selection"),
    presets={"woodward2017": {"ways": 3, "showings": 10, "side": 28, "channels": 1, "one_kind": False}},
)
@arguments
class ActiveOneShot(Select[State]):
    """The agent sees a stream of images of a few new classes; it names the class of each, or pays for its label.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C, side, side) uint8: the image now; ``label`` one-hot (ways,): the slot of the image before, where its label was paid for, else zeros; ``step`` (1,) in [0, 1]: the part of the stream that is over |
    | Action      | Discrete(ways + 1), see below |
    | Reward      | 1 for the right slot, -1 (``wrong_cost``) for a wrong one, -0.05 (``label_cost``) for a label |
    | Ends        | with the stream, after ways * showings images |

    | Action | Meaning |
    |--------|---------|
    | 0 to ways - 1 | say that the image is of the class in this slot |
    | ways | pay for the label, which the next observation shows |

    Which class has which slot is drawn anew in each episode, and the classes of a split are in no other; so nothing but
    the labels of the episode says what a slot means, and a policy must remember which image had which label. Nobody says
    whether an answer was right. Without a memory no rule does better than to pay for each label.

    A class of the embedded ``instances`` is one object, its images are views of it; those of one stream are of one kind,
    such as three coins, so that it takes identity. Names with a slash say the kind: "coin/3", or the alphabet of a
    character of Omniglot. ``info`` has ``points``, the return; ``accuracy`` of the answers, 0 where there are none; and
    ``requests``, the share of images whose label was paid for. Of the whole split there are the accuracy and the
    requests at the first, second, fifth and tenth showing of a class. An episode is a success if it has half of the
    points of the expert, which pays once for each class and knows the truth.

    Used on a folder of new images, the agent sees those in sub-folders first, whose names are the classes and are told
    when it asks for them, then the others by name.

    Source: Woodward & Finn (2017), "Active one-shot learning", on Omniglot, with streams of 30 images of 3 classes.
    """

    ways: Annotated[int, Interval(ge=2, le=10)] = 3
    """Number of classes in a stream, and of slots."""
    showings: Annotated[int, Interval(ge=2, le=20)] = 10
    """Number of images of each class in a stream, in random order."""
    wrong_cost: Annotated[float, Ge(0.0)] = 1.0
    """Cost of a wrong answer."""
    label_cost: Annotated[float, Ge(0.0)] = 0.05
    """Cost of a label."""
    one_kind: bool = True
    """Draw the classes of a stream from one kind, where it has enough."""
    side: Annotated[int, Ge(8)] = 28
    """Side of the square that images are squeezed to, pixels."""
    channels: Literal[1, 3] | None = None
    """1 shows all images grey, 3 in RGB; None is RGB if an image of the split is."""

    sample_type, unlabelled_type, embedded = ImageSample, ImageSet, "instances"
    primary_metric = ("points", True)
    hidden = ("slot",)

    def setup(self) -> None:
        self.load_classes() if self.labelled else self.load_set()
        self.bank = square_bank(self.samples, self.side, self.channels)
        self.action_space = spaces.Discrete(self.ways + 1)
        self.show(
            window=Image(self.bank.channels, self.side), label=OneHot(self.ways), step=Vector(1, low=0.0)
        )

    def load_classes(self) -> None:
        """Load the images of the split's classes, and sort them.

        Raises:
            ValueError: there are fewer classes than slots, or a class has fewer images than showings.
        """
        self.samples = load_by_class(self)
        members: dict[str, list[int]] = {}
        for number, sample in enumerate(self.samples):
            members.setdefault(image_class(sample, number), []).append(number)
        if len(members) < self.ways:
            raise ValueError(
                f"ways must be <= the number of classes of the split ({len(members)}), got {self.ways}"
            )
        fewest = min(members, key=lambda name: len(members[name]))
        if len(members[fewest]) < self.showings:
            raise ValueError(
                f"showings must be <= the number of images of each class, {fewest!r} has {len(members[fewest])}, "
                f"got {self.showings}"
            )
        self.names, self.items = tuple(members), len(members)
        self.members = [np.array(members[name]) for name in self.names]
        self.kinds = [name.rpartition("/")[0] for name in self.names]
        self.dataset_metrics = [ShowingMetrics(self.ways, [n for n in TOLD if n <= self.showings])]

    def load_set(self) -> None:
        """Take the images of one set, first those with a label, which is told when it is asked for.

        Raises:
            ValueError: there are several sets, or more classes than slots.
        """
        sets = self.load(kind=ImageSet, classes=None)
        if len(sets) != 1:
            raise ValueError(f"data must be one ImageSet where there are no labels, got {len(sets)}")
        images = [one if one.labels else replace(one, labels=folder_of(one.name)) for one in sets[0].images]
        labels = {label for one in images for label in one.labels}
        self.samples = tuple(sorted(images, key=lambda one: not one.labels))
        self.names = tuple(self.classes or sorted(labels))
        if len(self.names) > self.ways:
            listed = ", ".join(map(repr, self.names))
            raise ValueError(f"classes of the images must be {self.ways} at most (ways), got {listed}")
        self.items = 1

    @property
    def longest(self) -> int:
        """Images of a stream, T."""
        return self.ways * self.showings if self.labelled else len(self.samples)

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"channels": self.bank.channels}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        if self.labelled:
            classes = rng.permutation([item, *rng.permutation(self.others(item))[: self.ways - 1]])
            slot = rng.permutation(np.repeat(np.arange(self.ways), self.showings))
            stream = np.empty(self.longest, np.int64)
            for number, one in enumerate(classes):
                stream[slot == number] = rng.permutation(self.members[one])[: self.showings]
        else:
            stream = np.arange(self.longest)
            known = [sample.labels[0] if sample.labels else None for sample in self.samples]
            slot = np.array(
                [self.names.index(name) if name in self.names else -1 for name in known], np.int64
            )
        return State(
            taken=np.full(self.longest, -1),
            step=np.int64(0),
            stream=stream,
            slot=slot,
            label=np.int64(-1),
        )

    def others(self, item: int) -> list[int]:
        """The classes that a stream with a class may have: those of its kind, where they are enough, else all."""
        found = [number for number in range(self.items) if number != item]
        alike = [number for number in found if self.kinds[number] == self.kinds[item]]
        return alike if self.one_kind and len(alike) >= self.ways - 1 else found

    def source_of(self, item: int, start: State) -> int:
        return item

    def source_name(self, number: int) -> str:
        return self.names[number] if self.labelled else self.sample_names[number]

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.taken)
        more, action = xp.astype(~self.terminated(state), xp.int64), xp.astype(action, xp.int64)
        now = self.shown(state.slot, state.step)
        label = xp.where(action == self.ways, now, xp.full_like(now, -1))
        return replace(state, taken=self.take(state, action), step=state.step + more, label=label)

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.taken)
        return self.seen(
            window=self.bank.rows(self.shown(state.stream, state.step)),
            label=state.label,
            step=xp.astype(state.step, xp.float64) / self.longest,
        )

    def reward(self, before: State, action: Array, after: State) -> Array:
        return self.points(after) - self.points(before)

    def tally(self, state: State) -> tuple[Array, Array, Array]:
        """(B,) float64 each: right answers, wrong answers and requests so far."""
        xp = xp_of(state.taken)
        right, asked = state.taken == state.slot, state.taken == self.ways
        wrong = (state.taken >= 0) & ~right & ~asked
        right, wrong, asked = (xp.sum(xp.astype(one, xp.float64), axis=1) for one in (right, wrong, asked))
        return right, wrong, asked

    def points(self, state: State) -> Array:
        """(B,) float64, the sum of the rewards so far."""
        right, wrong, requests = self.tally(state)
        return right - self.wrong_cost * wrong - self.label_cost * requests

    def terminated(self, state: State) -> Array:
        return state.step >= self.longest

    def metrics(self, state: State) -> dict[str, Array]:
        xp, points = xp_of(state.taken), self.points(state)
        right, wrong, requests = self.tally(state)
        answers = right + wrong
        steps = xp.astype(xp.maximum(state.step, xp.ones_like(state.step)), xp.float64)
        best = self.ways * (self.showings - 1 - self.label_cost)
        return {
            "points": points,
            "is_success": points >= best / 2,
            "accuracy": right / xp.where(answers > 0, answers, xp.ones_like(answers)),
            "requests": requests / steps,
        }

    def expert(self, state: State) -> Array:
        """(B,) int64: ask for a class whose label was not paid for yet, else say the truth."""
        xp, now = xp_of(state.taken), self.shown(state.slot, state.step)
        known = xp.any((state.taken == self.ways) & (state.slot == now[:, None]), axis=1)
        return xp.where(known, now, xp.full_like(now, self.ways))

    def action_gains(self, state: State) -> Array:
        """(B, ways + 1) float64, what each action earns at once; a class is right only after its label was paid for."""
        xp, best = xp_of(state.taken), self.expert(state)
        right = one_hot(best, self.ways + 1)[:, : self.ways]
        named = xp.astype(right, xp.float64) * (1 + self.wrong_cost) - self.wrong_cost
        return xp.concat([named, xp.full_like(named[:, :1], -self.label_cost)], axis=1)

    def good_actions(self, state: State) -> Array:
        """(B, ways + 1) bool, the expert's action: what nobody told the agent it can say by chance alone."""
        return one_hot(self.expert(state), self.ways + 1) > 0

    # -- edge ------------------------------------------------------------------------------------------------------
    def result(self, state: State) -> StreamClasses:
        done = int(state.step)
        names = [*self.names, *(f"slot {number}" for number in range(len(self.names), self.ways))]
        said = [None if one == self.ways else names[one] for one in state.taken[:done].tolist()]
        files = [self.samples[number].name for number in state.stream[:done].tolist()]
        return StreamClasses(tuple(files), tuple(said))

    def draw(self, state: State) -> np.ndarray:
        images = [self.samples[number].image for number in state.stream.tolist()]
        return stream_picture(images, state.taken, state.slot, int(state.step), self.ways)


def folder_of(name: str) -> tuple[str, ...]:
    """The class that the folder in an image's name states: ("cat",) of "cat/1"; none without a folder."""
    return tuple(name.split("/")[:-1][:1])


@dataclass(frozen=True)
class ShowingMetrics:
    """Accuracy of the answers, and the share of requests, at the n-th showing of a class, over a split.

    Args:
        ways: number of slots.
        told: the showings n, from 1.
    """

    ways: int
    told: list[int]

    def record(self, ends: State) -> dict[str, np.ndarray]:
        """Counts (N, len(told)) of right answers, of answers and of requests at each showing."""
        taken, slot = np.asarray(ends.taken), np.asarray(ends.slot)
        same = slot[:, :, None] == np.arange(self.ways)
        showing = np.take_along_axis(np.cumsum(same, axis=1), np.clip(slot, 0, None)[:, :, None], axis=2)[
            ..., 0
        ]
        at = (showing[:, :, None] == np.array(self.told)) & (slot >= 0)[:, :, None]
        answered = (taken >= 0) & (taken < self.ways)
        kinds = {"right": taken == slot, "answered": answered, "asked": taken == self.ways}
        return {f"{name}_at": (at & kind[:, :, None]).sum(axis=1) for name, kind in kinds.items()}

    def compute(self, records: Mapping[str, np.ndarray]) -> dict[str, float]:
        """``accuracy_n`` of the answers at showing n, NaN without answers, and ``requests_n``, in [0, 1]."""
        right, answered, asked = (
            records[f"{name}_at"].sum(axis=0) for name in ("right", "answered", "asked")
        )
        found = {}
        for k, n in enumerate(self.told):
            found[f"accuracy_{n}"] = float(right[k] / answered[k]) if answered[k] else float("nan")
            found[f"requests_{n}"] = float(asked[k] / max(answered[k] + asked[k], 1))
        return found
