"""Base of detection by a sequence of decisions: a box is changed until it fits an object, reported, and restarted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, MinLen

from visionrl import ops
from visionrl.banks.images import image_bank
from visionrl.core import Task, arguments
from visionrl.core.observables import Image, OneHot
from visionrl.core.results import Boxes
from visionrl.datasets import ImageSample
from visionrl.envs.detection import starts
from visionrl.envs.detection.controls import BoxControl, DiscreteControl
from visionrl.envs.detection.state import AveragePrecision, State
from visionrl.ops import Array, const, one_hot, xp_of
from visionrl.rendering import Canvas

REPORT_REWARD = 3.0  # of a correct report (Caicedo & Lazebnik, 2015)
MIN_INSIDE = 0.3  # share of an object that a box must hold for the expert to go for it
VISITED = 200  # boxes of an episode that are kept for evaluation, the first


@arguments
class BoxSearch(Task[State]):
    """A box in an image that a control moves; tasks say which control, and where a search begins.

    Attributes:
        history_length: past actions in the observation.
        context: side of what the window shows, in sides of the box.
        restart_boxes: where searches begin in turn, (x0, y0, x1, y1) in sides of the image.
        cross: a reported box is painted over with a cross, not all of it.
        patience: steps without a report after which a search restarts.
        difficulty: how far from an object episodes start, in [0, 1], for a curriculum.
    """

    category: str | Annotated[Sequence[str], MinLen(1)] | None = None
    """Class sought, or several; None is all in the data, one of an image's own per episode."""
    window: Annotated[int, Ge(8)] = 64
    """Side of the window, pixels; 224 in the papers."""
    max_side: Annotated[int, Ge(8)] | None = 512
    """Images with a longer side are shrunk to this, pixels; None never."""
    channels: Literal[1, 3] | None = None
    """1 shows all images grey, 3 in RGB; None is RGB if an image of the split is."""
    reward_type: Literal["sign", "delta", "giou"] = "sign"
    """Reward of a move: +1 where the IoU grows, else -1; the change of the IoU; or that of the generalised IoU."""
    false_positive_cost: Annotated[float, Ge(0.0)] = REPORT_REWARD
    """Cost of a wrong report, where a correct one earns 3. An agent reports what it is not sure of only where this is
    less."""
    max_reports: Annotated[int, Ge(1)] = 20
    """Reports that end the episode; 1 is a trigger that ends it."""
    mode: Literal["search", "training", "evaluation"] = "search"
    """"evaluation" also asks for classes that are not in the image, and keeps every box for ``ap_50_visited`` and
    recall. "training" searches random parts of the images, and mirrored ones too (twice the memory), with some objects
    reported already, and ends when no object is left, or after as many steps as restart a search where there was
    none."""

    iou_threshold: float = field(init=False)
    trigger_after: int = field(init=False, default=0)
    difficulty: float = field(init=False, default=1.0)

    history_length: ClassVar[int]
    context: ClassVar[float]
    restart_boxes: ClassVar[tuple[tuple[float, float, float, float], ...]]
    cross: ClassVar[bool]
    patience: ClassVar[int]
    sample_type, embedded = ImageSample, "objects"
    primary_metric = ("ap_50", True)
    evaluation: ClassVar[dict[str, Any]] = {"mode": "evaluation"}

    def make_control(self) -> BoxControl:
        """The control by which the agent changes its box."""
        raise NotImplementedError(f"{type(self).__name__} must define make_control()")

    def setup(self) -> None:
        if self.max_side is not None and self.max_side < self.window:
            raise ValueError(f"max_side must be >= window, {self.window}, got {self.max_side}")
        self.visited = VISITED if self.mode == "evaluation" else 0
        samples = self.load(negatives=True)
        if not self.labelled:
            samples = tuple(map(starts.unlabelled, samples))
        elif self.mode == "training":
            samples = (*samples, *map(starts.mirrored, samples))
        self.bank = image_bank(samples, self.window, self.max_side, self.channels)
        self.names = starts.sought_classes(self.bank.labels, self.category, self.labelled)
        table = starts.label_table(self.bank.labels, self.names, self.bank.boxes.array.shape[1])
        self.labels = ops.DeviceTable(table)
        asks_all = self.mode == "evaluation" or not self.labelled
        held = (table[:, None, :] == np.arange(len(self.names))[:, None]).any(-1)
        self.pairs = np.concatenate([np.argwhere(held), np.argwhere(~held & asks_all)])
        if not len(self.pairs):
            raise ValueError(
                f"data must have boxes of {', '.join(self.names)} in split {self.split!r}, got none"
            )
        self.items = len(self.pairs)
        self.dataset_metrics = (AveragePrecision(self.bank.boxes.array, table),)
        self.controller = self.make_control()
        self.action_space, self.report = self.controller.space, self.controller.report
        self.show(
            window=Image(self.bank.channels, self.window),
            history=self.controller.history,
            category=OneHot(len(self.names), unless_one=True),
        )

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"channels": self.bank.channels, "category": list(self.names)}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        image, category = self.pairs[item]
        size, boxes = self.bank.sizes.array[image], self.bank.boxes.array[image]
        sought = self.labels.array[image] == category
        region, reported = np.concatenate([np.zeros(2), size]), np.full((self.max_reports, 4), np.nan)
        if self.labelled and self.mode == "training":
            region = starts.random_crop(rng, size, boxes[sought])
            sought = sought & (starts.visible_share(boxes, region) >= starts.MIN_VISIBLE)
            sought, known = starts.mark_some_found(rng, boxes, sought, self.max_reports - 1)
            reported[: len(known)] = known
        return State(
            image=np.int64(image),
            category=np.int64(category),
            search_region=region,
            box=starts.curriculum_start(rng, region, boxes[sought], self.difficulty),
            sought=sought,
            present=np.float64(sought.sum() if self.labelled else np.nan),
            found=np.float64(0 if self.labelled else np.nan),
            reports=np.int64((~np.isnan(reported[:, 0])).sum()),
            reported_boxes=reported,
            scores=np.full(self.max_reports, np.nan),
            steps_to_report=np.full(self.max_reports, np.nan),
            steps_since_restart=np.int64(0),
            steps_since_report=np.int64(0),
            next_restart=np.int64(1 % len(self.restart_boxes)),
            actions=self.controller.blank.copy(),
            confidence=np.float64(0),
            visited_boxes=np.full((self.visited, 5), np.nan),
            steps=np.int64(0),
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp, reports = xp_of(state.box), self.controller.reports(action)
        hit, target = self.match(state)
        hit = hit & reports
        slot = reports[:, None] & is_number(state.reports, self.max_reports)
        since_restart, since_report = state.steps_since_restart + 1, state.steps_since_report + 1
        again = reports | (since_restart >= self.patience)
        place = xp.take(const(self.restart_boxes, state.box), state.next_restart, axis=0)
        box = self.controller.motion(state.box, state.search_region, action)
        confidence = self.controller.confidence(action, state.confidence)
        here = xp.concat([state.box, confidence[:, None]], axis=-1)
        now = is_number(state.steps, self.visited)[..., None]
        return replace(
            state,
            box=xp.where(again[:, None], ops.from_relative(place, state.search_region), box),
            sought=state.sought & ~(hit[:, None] & is_number(target, state.sought.shape[1])),
            found=state.found + xp.astype(hit, xp.float64),
            reports=state.reports + xp.astype(reports, xp.int64),
            reported_boxes=xp.where(slot[..., None], state.box[:, None, :], state.reported_boxes),
            scores=xp.where(slot, confidence[:, None], state.scores),
            steps_to_report=xp.where(
                slot, xp.astype(since_report, xp.float64)[:, None], state.steps_to_report
            ),
            steps_since_restart=xp.where(again, 0, since_restart),
            steps_since_report=xp.where(reports, 0, since_report),
            next_restart=xp.where(
                again, (state.next_restart + 1) % len(self.restart_boxes), state.next_restart
            ),
            actions=self.controller.push(state.actions, action),
            confidence=xp.zeros_like(state.confidence),
            visited_boxes=xp.where(now, here[:, None, :], state.visited_boxes),
            steps=state.steps + 1,
        )

    def observe(self, state: State) -> dict[str, Array]:
        return self.seen(window=self.look(state), history=state.actions, category=state.category)

    def reward(self, before: State, action: Array, after: State) -> Array:
        xp = xp_of(before.box)
        hit, target = self.match(before)
        truth, none_left = self.object(before, target), ~xp.any(before.sought, axis=-1)
        score = ops.giou if self.reward_type == "giou" else ops.iou
        box = self.controller.motion(before.box, before.search_region, action)
        gained = score(box, truth) - score(before.box, truth)
        if self.reward_type == "sign":
            gained = xp.where(gained > 0, xp.ones_like(gained), -xp.ones_like(gained))
        gained = xp.where(none_left, xp.zeros_like(gained), gained)
        reported = xp.where(hit, REPORT_REWARD, xp.full_like(gained, -self.false_positive_cost))
        return xp.where(self.controller.reports(action), reported, gained)

    def terminated(self, state: State) -> Array:
        over = state.reports >= self.max_reports
        if self.labelled and self.mode == "training":
            none_left = ~xp_of(state.box).any(state.sought, axis=-1)
            over = over | (none_left & ((state.present > 0) | (state.steps >= self.patience)))
        return over

    def metrics(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.box)
        # reports that an augmented start came with took no steps, and do not count
        made = xp.sum(xp.astype(~xp.isnan(state.steps_to_report), xp.float64), axis=-1)
        missed, wrong = state.present - state.found, made - state.found
        return {
            "iou": self.detection_quality(state),
            "found": state.found + 0.0,
            "missed": missed,
            "false_positives": wrong,
            "is_success": (missed == 0) & (wrong == 0),
        }

    def detection_quality(self, state: State) -> Array:
        """(B,) IoU with the object that is sought, is not found yet and overlaps most; 0 where there is none."""
        xp = xp_of(state.box)
        best = ops.iou(state.box, self.object(state, self.match(state)[1]))
        return xp.where(xp.any(state.sought, axis=-1), best, xp.zeros_like(best))

    def class_of(self, state: State) -> Array:
        return state.category + 0

    def with_confidence(self, state: State, confidence: Array) -> State:
        return replace(state, confidence=confidence)

    def expert(self, state: State) -> Array:
        """The control's best action toward an object, and a report as soon as its IoU suffices.

        It zooms out where the box shows too little of what is sought to tell where that lies.
        """
        xp = xp_of(state.box)
        fits, target = self.match(state)
        truth = self.object(state, target)
        inside = ops.area(ops.clip_boxes(truth, state.box)) > MIN_INSIDE * ops.area(truth)
        inside = inside & xp.any(state.sought, axis=-1)
        goal = xp.where(inside[:, None], truth, state.search_region)
        return self.controller.toward(state.box, state.search_region, goal, fits)

    def good_actions(self, state: State) -> Array:
        xp, control = xp_of(state.box), discrete(self.controller)
        fits, target = self.match(state)
        truth = self.object(state, target)
        gains = (
            ops.iou(control.motions(state.box, state.search_region), truth[:, None, :])
            > ops.iou(state.box, truth)[:, None]
        )
        gains = gains & xp.any(state.sought, axis=-1)[:, None]
        good = xp.concat([gains, fits[:, None]], axis=-1)
        best = one_hot(self.expert(state), control.report + 1) > 0
        return xp.where(xp.any(good, axis=-1)[:, None], good, best)

    def action_mask(self, state: State) -> Array:
        """(B, n) bool: no move that changes nothing, no report before ``trigger_after`` steps of a search.

        Where no move changes anything, a report is allowed.
        """
        xp = xp_of(state.box)
        boxes = discrete(self.controller).motions(state.box, state.search_region)
        moves = xp.any(boxes != state.box[:, None, :], axis=-1)
        may_report = (state.steps_since_restart >= self.trigger_after) | ~xp.any(moves, axis=-1)
        return xp.concat([moves, may_report[:, None]], axis=-1)

    # -- rules -----------------------------------------------------------------------------------------------------
    def match(self, state: State) -> tuple[Array, Array]:
        """Matches the box with the sought objects: success, (B,) bool, and the one it overlaps most, (B,) int64."""
        xp = xp_of(state.box)
        overlap = ops.iou_or_distance(state.box[:, None, :], self.objects(state))
        overlap = xp.where(state.sought, overlap, xp.full_like(overlap, -xp.inf))
        return xp.max(overlap, axis=-1) >= self.iou_threshold, xp.argmax(overlap, axis=-1)

    def object(self, state: State, number: Array) -> Array:
        """A box of the image by its number, (B, 4); a point at 0 where the image has none such."""
        xp, boxes = xp_of(state.box), self.objects(state)
        box = xp.take_along_axis(boxes, number[:, None, None], axis=1)[:, 0, :]
        return xp.where(xp.isnan(box), xp.zeros_like(box), box)

    def objects(self, state: State) -> Array:
        """(B, N, 4), the objects of the image, cut off where the part that is searched ends."""
        boxes = xp_of(state.box).take(self.bank.boxes.on(state.box), state.image, axis=0)
        return ops.clip_boxes(boxes, state.search_region[:, None, :])

    def look(self, state: State) -> Array:
        """The window, (B, C, w, w) uint8; what was reported is painted black (inhibition of return)."""
        region = ops.box_around(ops.center(state.box), self.context * ops.size(state.box))
        pixels = ops.resize(self.bank.pyramid, state.image, region, self.window)
        mask = ops.box_mask(state.reported_boxes, region, self.window, self.cross)
        return xp_of(pixels).where(mask[:, None, :, :], xp_of(pixels).zeros_like(pixels), pixels)

    # -- edge ------------------------------------------------------------------------------------------------------
    def result(self, state: State) -> Boxes:
        there = ~np.isnan(state.reported_boxes[:, 0])
        boxes = state.reported_boxes[there] * self.bank.factors[int(state.image)]
        label = self.names[int(state.category)]
        return Boxes(boxes, (label,) * len(boxes), np.asarray(state.scores[there], float))

    def draw(self, state: State) -> np.ndarray:
        image = int(state.image)
        canvas = Canvas(self.bank.image(image).transpose(2, 0, 1))
        for box, label in zip(self.bank.boxes.array[image], self.labels.array[image], strict=True):
            if label == state.category:
                canvas.box(box, "truth")
        for reported in state.reported_boxes[~np.isnan(state.reported_boxes[:, 0])]:
            canvas.box(reported, "look")
        canvas.box(state.box, "agent")
        canvas.text(self.names[int(state.category)])
        return canvas.pixels


def is_number(number: Array, count: int) -> Array:
    """One-hot encoding of numbers: (B,) int64 -> (B, count) bool."""
    return const(tuple(range(count)), number)[None, :] == number[:, None]


def discrete(control: BoxControl) -> DiscreteControl:
    """The control, if its actions are numbered.

    Raises:
        ValueError: they are not.
    """
    if not isinstance(control, DiscreteControl):
        raise ValueError(f"control must be discrete for masks and good actions, got {type(control).__name__}")
    return control
