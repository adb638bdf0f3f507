"""Fast-forward through videos: an agent sees a few frames of a clip and jumps over the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Interval

from visionrl.banks.events import event_bank
from visionrl.banks.pieces import CHANGES, change_sizes
from visionrl.core import arguments, register
from visionrl.core.observables import Vector, push
from visionrl.core.results import Summary
from visionrl.envs.video.clip import ClipState, ClipTask
from visionrl.envs.video.controls import JumpControl, SkipControl, SpeedControl, entry
from visionrl.metrics.summary import coverage
from visionrl.ops import Array, xp_of

LAST = 4  # jumps that are shown
MISSED = 0.8  # beta of Lan et al. (2018): weight of unimportant frames that are jumped over
GOAL_COVERED, GOAL_SEEN = 0.8, 0.15


@dataclass(frozen=True)
class State(ClipState):
    """Frames seen so far; ``time`` is the frame now, the clip's length where it is over. B episodes of T frames.

    Attributes:
        seen: (B, T) bool.
        past: (B, 4) int64, the frames seen before this one, oldest first; the first frame where there are fewer.
        jumps: (B, 4) int64, the last jumps in frames, newest last; 0 before the first.
        speed: (B,) int64, number of the control's speed.
    """

    seen: Array
    past: Array
    jumps: Array
    speed: Array


@register(
    "FastForward-v0",
    max_steps=None,
    tags=("video", "discrete"),
    presets={
        "lan2018": {"reward_type": "skips", "longest": 25},
        "ramos2020": {"reward_type": "skips", "control": "speed"},
    },
    expert_success_rate={"ramos2020": 0.5},  # it cannot slow down and speed up again at once
)
@arguments
class FastForward(ClipTask[State]):
    """The agent sees one frame of a video at a time and says how far to jump: it must not miss what is important.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``motion`` (12,): how much each of the last four frames that were seen differs from the one before, oldest first; ``jumps`` (5,): the last four jumps, and the acceleration; ``left`` (1,): share of the video that is left; with ``appearance``, ``features`` (D,): of the frame now, and ``difference`` (D,): from the frame seen before |
    | Action      | control "skip": Discrete(longest), "speed": Discrete(3); see below |
    | Reward      | coverage: 1 / (2 * tolerance + 1) for each important frame that is covered now, less ``frame_cost``; skips: nearness to important frames, less what the jump missed, plus what it rightly skipped (Lan et al., 2018) |
    | Ends        | when a jump leads beyond the last frame |

    | Action | Meaning |
    |--------|---------|
    | control "skip": k | go k + 1 frames on |
    | control "speed": 0, 1, 2 | slower, as fast, faster, by the acceleration (Ramos et al., 2020), then jump |

    Important are the frames in ``segments``, else the best 15 % by people's scores; one is covered if a frame at most
    ``tolerance`` away was seen. There is no way back. ``info`` has ``coverage``, 1 by rule where no frame is important;
    ``processed``, the share of the frames that were seen; and ``above_uniform``, the coverage above that of as many
    frames at equal distances. An episode is a success with a coverage of 0.8 at 15 % of the frames or less.

    Source: Lan, Panda, Zhu & Roy-Chowdhury (2018), "FFNet: video fast-forwarding via reinforcement learning", with 25
    jumps; Ramos et al. (2020), "Straight to the point: fast-forwarding videos via reinforcement learning using textual
    data", here without the text.
    """

    control: Literal["skip", "speed"] = "skip"
    """Say the jump, or change the speed."""
    longest: Annotated[int, Interval(ge=2, le=100)] = 25
    """Frames of the longest jump, for control "skip"; with "speed" it is 20."""
    tolerance: Annotated[int, Interval(ge=0, le=8)] = 1
    """Frames from a seen one up to which an important one is covered."""
    reward_type: Literal["coverage", "skips"] = "coverage"
    """What is rewarded: important frames that are covered, or each jump by what it misses and where it lands."""
    appearance: bool = True
    """Show the features of the frame itself, and not only how much it differs from those before."""
    frame_cost: Annotated[float, Ge(0.0)] = 0.25
    """Cost of seeing a frame, for ``reward_type`` "coverage"."""

    embedded = "event-films"
    primary_metric = ("above_uniform", True)

    def setup(self) -> None:
        self.load_clips("segments", "scores")
        self.controller: JumpControl = SkipControl(self.longest) if self.control == "skip" else SpeedControl()
        cost = self.frame_cost * (2 * self.tolerance + 1)
        tables = (
            tuple(map(tuple, table.array.tolist()))
            for table in (self.controller.jumps, self.controller.next_speeds)
        )
        self.events = event_bank(self.samples, self.tolerance, *tables, cost, self.labelled)
        self.action_space = self.controller.space
        width = self.bank.width
        self.show(
            features=Vector(width, -10, 10) if self.appearance else None,
            difference=Vector(width, -10, 10) if self.appearance else None,
            motion=Vector(CHANGES * LAST, 0, 10),
            jumps=Vector(LAST + 1, 0),
            left=Vector(1, 0),
        )

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        return State(
            clip=np.int64(item),
            time=np.int64(0),
            seen=np.arange(self.bank.longest) == 0,
            past=np.zeros(LAST, np.int64),
            jumps=np.zeros(LAST, np.int64),
            speed=np.int64(0),
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp, over = xp_of(state.time), self.terminated(state)
        jump = entry(self.controller.jumps, state.speed, action)
        length = self.bank.lengths.rows(state.clip)
        time = xp.where(over, state.time, xp.minimum(state.time + jump, length))
        places = xp.arange(self.bank.longest, device=state.time.device)[None, :]
        landed = (places == time[:, None]) & (time < length)[:, None]
        return replace(
            state,
            time=time,
            seen=state.seen | landed,
            past=xp.where(over[:, None], state.past, push(state.past, state.time)),
            jumps=push(state.jumps, jump),
            speed=entry(self.controller.next_speeds, state.speed, action),
        )

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.time)
        before = self.bank.rows(state.clip, state.past)
        now = push(before, self.bank.rows(state.clip, state.time))
        change = now - before
        motion = xp.reshape(change_sizes(change), (-1, CHANGES * LAST))
        jumps = xp.astype(state.jumps, xp.float64) / self.controller.longest
        length = xp.astype(self.bank.lengths.rows(state.clip), xp.float64)
        return self.seen(
            features=xp.clip(5 * now[:, -1, :], -10, 10),
            difference=xp.clip(5 * change[:, -1, :], -10, 10),
            motion=xp.clip(5 * motion, 0, 10),
            jumps=xp.concat([jumps, self.controller.acceleration.rows(state.speed)[:, None]], axis=1),
            left=1 - xp.astype(state.time, xp.float64) / length,
        )

    def newly_covered(self, before: State, after: State) -> Array:
        """(B,) float64, important frames covered by where a jump landed and not by the frame before."""
        xp, reach = xp_of(before.time), self.tolerance
        length = self.bank.lengths.rows(after.clip)
        low = xp.maximum(after.time - reach, before.time + reach + 1)
        high = xp.minimum(after.time + reach + 1, length)
        found = self.events.count_before(after.clip, high) - self.events.count_before(after.clip, low)
        moved = (after.time > before.time) & (after.time < length) & (high > low)
        return xp.astype(xp.where(moved, found, xp.zeros_like(found)), xp.float64)

    def reward(self, before: State, action: Array, after: State) -> Array:
        xp, events = xp_of(before.time), self.events
        length = self.bank.lengths.rows(after.clip)
        moved, landed = after.time > before.time, (after.time > before.time) & (after.time < length)
        if self.reward_type == "coverage":
            gain = self.newly_covered(before, after) / (2 * self.tolerance + 1)
            return gain - self.frame_cost * xp.astype(landed, xp.float64)
        first = before.time + 1
        missed = events.count_before(after.clip, after.time) - events.count_before(after.clip, first)
        rest = after.time - first - missed
        skipped = (
            MISSED * xp.astype(rest, xp.float64) - xp.astype(missed, xp.float64)
        ) / self.controller.longest
        near = events.at(events.hit, after.clip, xp.clip(after.time, None, self.bank.longest - 1))
        return xp.where(moved, skipped, xp.zeros_like(skipped)) + xp.where(landed, near, xp.zeros_like(near))

    def terminated(self, state: State) -> Array:
        return state.time >= self.bank.lengths.rows(state.clip)

    def metrics(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.time)
        covered = coverage(state.seen, self.events.important.rows(state.clip), self.tolerance)
        length = xp.astype(self.bank.lengths.rows(state.clip), xp.float64)
        processed = xp.sum(xp.astype(state.seen, xp.float64), axis=1) / length
        uniform = xp.minimum(processed * (2 * self.tolerance + 1), xp.ones_like(processed))
        return {
            "coverage": covered,
            "processed": processed,
            "above_uniform": covered - uniform,
            "is_success": (covered >= GOAL_COVERED) & (processed <= GOAL_SEEN),
        }

    def expert(self, state: State) -> Array:
        """(B,) int64, the action that gains most coverage in the end, by dynamic programming over the clip."""
        last = xp_of(state.time).clip(state.time, None, self.bank.longest - 1)
        speeds = len(self.controller.jumps.array)
        return self.events.at(self.events.best, state.clip, last * speeds + state.speed)

    # -- edge ------------------------------------------------------------------------------------------------------
    def result(self, state: State) -> Summary:
        clip = int(state.clip)
        frames = np.flatnonzero(state.seen)
        return Summary(
            frames, len(self.samples[clip]), np.zeros((0, 2), int), np.zeros(0), self.samples[clip].fps
        )

    def draw(self, state: State) -> np.ndarray:
        clip, length = int(state.clip), len(self.samples[int(state.clip)])
        now, seen = min(int(state.time), length - 1), np.flatnonzero(state.seen)
        curves = {"truth": self.events.important.array[clip, :length] * 0.9} if self.labelled else {}
        words = f"frame {now} of {length}, {len(seen)} seen"
        return self.draw_timeline(clip, now, seen[-8:], curves, state.seen[:length], now / length, words)
