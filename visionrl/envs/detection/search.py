"""What the detection tasks share: a box that is changed until it fits an object, a trigger, and restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from visionrl import ops
from visionrl.banks.images import image_bank
from visionrl.core import Task, check_range
from visionrl.datasets import ImageSample, load
from visionrl.envs.detection import moves, paint, scores, starts
from visionrl.envs.detection.boxes import bounded, label_table, mirrored, near, sought_names, within
from visionrl.envs.detection.state import Rules, State
from visionrl.ops import Array, const, one_hot, xp_of
from visionrl.rendering import Canvas

IN_SIGHT = 0.3  # share of an object that a box must hold for the expert to go for it
ATTENDED = 200  # boxes of an episode that are kept for evaluation, the first


class Search(Task[State]):
    """A box in an image, and discrete moves of it or a continuous one; subclasses give the rules.

    Args:
        data: see ``Detection``, as all that is not named here.
        split: which samples.
        rules: the constants.
        category: class sought, or several.
        window: side of the window, pixels.
        context: side of what the window shows, in sides of the box.
        negatives: also ask for classes that are not in the image.
        attended: keep every box.
        augment: search parts of the images, and mirrored ones too, with some objects reported already.
        max_side: images with a longer side are shrunk to it.
        channels: 1 or 3.
        loading: see ``visionrl.datasets.load``.
    """

    primary_metric = ("ap_50", True)
    hidden = ("sought", "present", "found")
    evaluation: ClassVar[dict[str, Any]] = {"negatives": True, "attended": True}
    difficulty: float = 1.0

    def __init__(
        self,
        data: Any,
        split: str,
        rules: Rules,
        *,
        category: str | Sequence[str] | None,
        window: int,
        context: float,
        negatives: bool,
        attended: bool,
        augment: bool,
        max_side: int | None,
        channels: int | None,
        **loading: Any,
    ) -> None:
        if attended and (augment or rules.termination == "found"):
            what = "augment must be off" if augment else "termination must not be 'found'"
            raise ValueError(f"{what} in evaluation; --train-args holds in training alone")
        check_range("window", window, 8)
        check_range("context", context, 1.0)
        if max_side is not None:
            check_range("max_side", max_side, window)
        self.rules, self.window, self.context = rules, window, context
        self.starts = starts.begins(rules)
        self.most = 1 if rules.termination == "trigger" else rules.max_reports
        self.kept, self.augment = ATTENDED if attended else 0, augment
        samples = load(data, kind=ImageSample, default="objects", split=split, negatives=True, **loading)
        samples = (*samples, *map(mirrored, samples)) if augment else samples
        self.bank = image_bank(samples, window, max_side, channels)
        self.names = sought_names(self.bank.labels, category)
        self.labels = ops.DeviceTable(
            label_table(self.bank.labels, self.names, self.bank.boxes.array.shape[1])
        )
        held = (self.labels.array[:, None, :] == np.arange(len(self.names))[:, None]).any(-1)
        missing = np.argwhere(~held & negatives)
        self.pairs = np.concatenate([np.argwhere(held), missing])
        if not len(self.pairs):
            raise ValueError(f"data must have boxes of {', '.join(self.names)} in split {split!r}, got none")
        self.items = len(self.pairs)
        self.report = None if rules.continuous else len(rules.moves)
        count = len(rules.moves) + 1
        keys: dict[str, spaces.Space] = {
            "window": spaces.Box(0, 255, (self.bank.channels, window, window), np.uint8),
            "history": spaces.Box(-1, 1, (rules.history * 5,), np.float32)
            if rules.continuous
            else spaces.Box(0, 1, (rules.history * count,), np.float32),
            "category": spaces.Box(0, 1, (len(self.names),), np.float32),
        }
        self.observation_space = spaces.Dict({k: box for k, box in keys.items() if box.shape != (1,)})
        self.action_space = (
            spaces.Box(-1, 1, (5,), np.float32) if rules.continuous else spaces.Discrete(count)
        )

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"channels": self.bank.channels, "category": list(self.names)}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        image, category = self.pairs[item]
        size, boxes = self.bank.sizes.array[image], self.bank.boxes.array[image]
        sought = self.labels.array[image] == category
        view, marks = np.concatenate([np.zeros(2), size]), np.full((self.most, 4), np.nan)
        if self.augment:
            view = starts.part(rng, size, boxes[sought])
            sought = sought & (starts.shown(boxes, view) >= starts.SEEN)
            sought, known = starts.reported(rng, boxes, sought, self.most - 1)
            marks[: len(known)] = known
        first = starts.nearer(rng, view, boxes[sought], self.difficulty)
        return starts.first_state(
            self.rules,
            image=image,
            category=category,
            view=view,
            box=first,
            sought=sought,
            marks=marks,
            kept=self.kept,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.box)
        reported = moves.reports_now(self.rules, action)
        one = xp.astype(reported, xp.int64)
        hit, target = self.hit(state)
        hit = hit & reported
        slot = reported[:, None] & (
            const(tuple(range(self.most)), state.reports)[None, :] == state.reports[:, None]
        )
        since, since_report = state.since + 1, state.since_report + 1
        again = reported | (since >= self.rules.patience)
        anew = within(xp.take(const(self.starts, state.box), state.start, axis=0), state.view)
        confidence = xp.astype(action[:, 4], xp.float64) if self.rules.continuous else state.confidence
        here = xp.concat([state.box, confidence[:, None]], axis=-1)
        page = const(tuple(range(self.kept)), state.steps)[None, :] == state.steps[:, None]
        numbers = const(tuple(range(state.sought.shape[1])), target)
        return replace(
            state,
            box=xp.where(again[:, None], anew, moves.moved(self.rules, state, action)),
            sought=state.sought & ~(hit[:, None] & (numbers[None, :] == target[:, None])),
            found=state.found + xp.astype(hit, xp.float64),
            reports=state.reports + one,
            marks=xp.where(slot[..., None], state.box[:, None, :], state.marks),
            scores=xp.where(slot, confidence[:, None], state.scores),
            spent=xp.where(slot, xp.astype(since_report, xp.float64)[:, None], state.spent),
            since=xp.where(again, 0, since),
            since_report=xp.where(reported, 0, since_report),
            start=xp.where(again, (state.start + 1) % len(self.starts), state.start),
            actions=xp.concat(
                [state.actions[:, 1:], xp.astype(action[:, None], state.actions.dtype)], axis=1
            ),
            confidence=xp.zeros_like(state.confidence),
            attended=xp.where(page[..., None], here[:, None, :], state.attended),
            steps=state.steps + 1,
        )

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.box)
        rows = state.box.shape[0]
        past = (
            xp.astype(state.actions, xp.float32)
            if self.rules.continuous
            else one_hot(state.actions, len(self.rules.moves) + 1)
        )
        seen = {
            "window": self.look(state),
            "history": xp.reshape(past, (rows, -1)),
            "category": one_hot(state.category, len(self.names)),
        }
        return {key: seen[key] for key in self.observation_space}

    def reward(self, before: State, action: Array, after: State) -> Array:
        xp = xp_of(before.box)
        hit, target = self.hit(before)
        truth, none_left = self.object(before, target), ~xp.any(before.sought, axis=-1)
        score = ops.giou if self.rules.reward == "giou" else ops.iou
        was, becomes = score(before.box, truth), score(moves.moved(self.rules, before, action), truth)
        gained = becomes - was
        if self.rules.reward == "sign":
            gained = xp.where(gained > 0, xp.ones_like(gained), -xp.ones_like(gained))
        gained = xp.where(none_left, xp.zeros_like(gained), gained)
        ended = xp.where(
            hit, xp.full_like(gained, self.rules.trigger), xp.full_like(gained, -self.rules.false_report)
        )
        return xp.where(moves.reports_now(self.rules, action), ended, gained)

    def terminated(self, state: State) -> Array:
        over = state.reports >= self.most
        if self.rules.termination == "found":
            none_left = ~xp_of(state.box).any(state.sought, axis=-1)
            over = over | (none_left & ((state.present > 0) | (state.steps >= self.rules.patience)))
        return over

    def metrics(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.box)
        # reports that an augmented start came with took no steps, and do not count
        made = xp.sum(xp.astype(~xp.isnan(state.spent), xp.float64), axis=-1)
        missed, false = state.present - state.found, made - state.found
        return {
            "iou": self.detection_quality(state),
            "found": state.found + 0.0,
            "missed": missed,
            "false_reports": false,
            "is_success": (missed == 0) & (false == 0),
        }

    @property
    def dataset_metrics(self) -> tuple[scores.AveragePrecision]:
        return (scores.AveragePrecision(self.bank.boxes.array, self.labels.array),)

    def detection_quality(self, state: State) -> Array:
        """(B,) overlap with what is sought and not found yet."""
        xp = xp_of(state.box)
        best = ops.iou(state.box, self.object(state, self.hit(state)[1]))
        return xp.where(xp.any(state.sought, axis=-1), best, xp.zeros_like(best))

    def with_confidence(self, state: State, confidence: Array) -> State:
        return replace(state, confidence=confidence)

    def expert(self, state: State) -> Array:
        """Looks two moves ahead for the largest overlap, and reports as soon as it suffices.

        It zooms out where the box shows too little of what is sought to tell where that lies.
        """
        xp = xp_of(state.box)
        hit, target = self.hit(state)
        truth = self.object(state, target)
        seen = ops.area(bounded(truth, state.box)) > IN_SIGHT * ops.area(truth)
        seen = seen & xp.any(state.sought, axis=-1)
        truth = xp.where(seen[:, None], truth, state.view)
        if self.rules.continuous:
            return moves.aim(self.rules, state, truth, hit)
        truth = truth[:, None, :]
        once = moves.every_move(self.rules, state.box, state.view)  # (B, n, 4)
        twice = moves.every_move(self.rules, once, state.view[:, None, :])  # (B, n, n, 4)
        soon = near(once, truth)
        later = xp.max(near(twice, truth[:, :, None, :]), axis=-1)
        best = xp.argmax(xp.maximum(soon, later - 1e-3), axis=-1)
        return xp.where(hit, xp.full_like(best, len(self.rules.moves)), best)

    def good_actions(self, state: State) -> Array:
        xp = xp_of(state.box)
        hit, target = self.hit(state)
        truth = self.object(state, target)
        gains = (
            ops.iou(moves.every_move(self.rules, state.box, state.view), truth[:, None, :])
            > ops.iou(state.box, truth)[:, None]
        )
        gains = gains & xp.any(state.sought, axis=-1)[:, None]
        good = xp.concat([gains, hit[:, None]], axis=-1)
        best = one_hot(self.expert(state), len(self.rules.moves) + 1) > 0
        return xp.where(xp.any(good, axis=-1)[:, None], good, best)

    def action_mask(self, state: State) -> Array:
        """(B, n) bool: no report before ``trigger_after`` steps of a search, no move that changes nothing."""
        xp = xp_of(state.box)
        boxes = moves.every_move(self.rules, state.box, state.view)
        moving = xp.any(boxes != state.box[:, None, :], axis=-1)
        return xp.concat([moving, (state.since >= self.rules.trigger_after)[:, None]], axis=-1)

    # -- rules -----------------------------------------------------------------------------------------------------
    def hit(self, state: State) -> tuple[Array, Array]:
        """Whether the box fits an object that is sought, (B,) bool, and which it overlaps most, (B,) int64."""
        xp = xp_of(state.box)
        boxes = self.boxes(state)
        overlap = near(state.box[:, None, :], boxes)
        overlap = xp.where(state.sought, overlap, xp.full_like(overlap, -xp.inf))
        target = xp.argmax(overlap, axis=-1)
        return xp.max(overlap, axis=-1) >= self.rules.overlap, target

    def object(self, state: State, number: Array) -> Array:
        """A box of the image by its number, (B, 4); a point at 0 where the image has none such."""
        xp, boxes = xp_of(state.box), self.boxes(state)
        box = xp.take_along_axis(boxes, number[:, None, None], axis=1)[:, 0, :]
        return xp.where(xp.isnan(box), xp.zeros_like(box), box)

    def boxes(self, state: State) -> Array:
        """(B, N, 4), the objects of the image, cut off where the part that is searched ends."""
        xp = xp_of(state.box)
        boxes = xp.take(self.bank.boxes.on(state.box), state.image, axis=0)
        return bounded(boxes, state.view[:, None, :])

    def look(self, state: State) -> Array:
        """What the window shows, (B, C, w, w) uint8; what was reported is painted over."""
        seen = ops.box_around(ops.center(state.box), self.context * ops.size(state.box))
        pixels = ops.resize(self.bank.pyramid, state.image, seen, self.window)
        return paint.over(pixels, paint.covered(state.marks, seen, self.window, self.rules.mark))

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        image = int(state.image)
        canvas = Canvas(self.bank.image(image).transpose(2, 0, 1))
        for box, label in zip(self.bank.boxes.array[image], self.labels.array[image], strict=True):
            if label == state.category:
                canvas.box(box, "truth")
        for mark in state.marks[~np.isnan(state.marks[:, 0])]:
            canvas.box(mark, "look")
        canvas.box(state.box, "agent")
        canvas.text(self.names[int(state.category)])
        return canvas.pixels
