"""Summaries of videos: an agent goes through the pieces of a clip, and keeps or skips each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Interval
from gymnasium import spaces

from visionrl.banks.pieces import CHANGES, LAGS, diverse_set, piece_bank
from visionrl.core import arguments, register
from visionrl.core.observables import Vector
from visionrl.core.results import Summary
from visionrl.envs.video.clip import ClipState, ClipTask
from visionrl.metrics.summary import KeyshotF, keyshots
from visionrl.ops import Array, DeviceTable, const, xp_of

GOOD = 0.6  # share of people's agreement with one another from which on a summary is a success
CONTEXT = 5


@dataclass(frozen=True)
class State(ClipState):
    """Pieces kept so far; ``time`` is the piece now. B episodes of at most P pieces.

    Attributes:
        kept: (B, P) bool.
        scores: (B, P) float64, how the policy scored each piece; 0 or 1 where it has no scores, 0 before.
        nearest: (B, P) float64, largest cosine of each piece with one that is kept; -1: none is.
        unlike: (B,) float64, sum of 1 - cosine over the pairs that are kept; pairs far apart count 1.
        confidence: (B,) float64, the policy's score of the piece now; NaN where it has none.
    """

    kept: Array
    scores: Array
    nearest: Array
    unlike: Array
    confidence: Array


@register(
    "VideoSummarization-v0",
    max_steps=None,
    tags=("video", "discrete", "selection"),
    presets={"zhou2018": {"reward_type": "diversity", "budget": 0.5, "excess_cost": 1.0, "far": 20}},
    expert_success_rate={"zhou2018": 0.0},  # what is diverse is not what people find important
)
@arguments
class VideoSummarization(ClipTask[State]):
    """The agent goes through a video piece by piece, and keeps each for a summary or skips it.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``motion`` (3 * (2 + lookahead),): how much the picture changes within the piece before, this one and those that come; ``ahead`` (1 + lookahead,): how like this one those are; ``repeats`` (5,): the likest piece among those 1, 2, 4, 8 and 16 or more pieces back; ``context`` (5,): mean and largest likeness to what is kept, time left, share kept, budget left; with ``appearance``, ``features`` (D,): the mean of the piece's frames |
    | Action      | Discrete(2), see below |
    | Reward      | importance: what people think of the piece above the price of the budget, 1 in all for the best summary; diversity: the gain of (diversity + representativeness) / 2, less a cost beyond the budget |
    | Ends        | with the video |

    | Action | Meaning |
    |--------|---------|
    | 0 | skip the piece |
    | 1 | keep it |

    Both rewards telescope. The importance of a piece is the mean of what people said, each from 0 to 1; its price is the
    importance from which on the pieces fill the budget, so the best summary keeps those above. Diversity and
    representativeness need no people. To be told apart by rank, pieces are scored by the policy's value of keeping
    them, and the summary is the best set of pieces within the budget (knapsack), whatever was kept on the way.

    ``info`` has ``tau`` and ``rho``, the rank correlation of the scores with those of each person, mean over people;
    ``kept``, the share of the video; ``human``, the tau of one person with another; ``importance``, the reward's part
    that people's scores give. Of the whole split there are ``f_mean`` and ``f_max``, the keyshot F over people, which
    hardly tells people from chance (Otani et al., 2019). An episode is a success if tau is 0.6 of ``human``.

    Clips without a frame rate are taken to have 25 frames a second. Source: Zhou, Qiao & Xiang (2018), "Deep
    reinforcement learning for unsupervised video summarization with diversity-representativeness reward".
    """

    seconds: Annotated[float, Ge(0.0)] = 2.0
    """Length of the pieces; 0 makes each frame one."""
    budget: Annotated[float, Interval(gt=0.0, lt=1.0)] = 0.15
    """Share of the video that a summary may have."""
    reward_type: Literal["importance", "diversity"] = "importance"
    """What is rewarded: what people find important, or a summary that is diverse and representative."""
    lookahead: Annotated[int, Interval(ge=0, le=16)] = 4
    """Number of the next pieces whose motion and likeness are shown."""
    appearance: bool = False
    """Show the features of the piece itself; agents then remember places, which does not carry over to other videos."""
    far: Annotated[int, Ge(1)] = 20
    """Pieces from which on two count as wholly unlike, whatever they show."""
    excess_cost: Annotated[float, Ge(0.0)] = 20.0
    """Cost of the squared share that is kept beyond the budget, for ``reward_type`` "diversity"."""

    embedded = "event-films"
    primary_metric = ("tau", True)
    report = 1

    def setup(self) -> None:
        self.load_clips("scores")
        self.pieces = piece_bank(self.samples, self.seconds, self.budget, self.labelled)
        self.goal = DeviceTable(self.good_pieces())
        self.action_space = spaces.Discrete(2)
        self.show(
            features=Vector(self.bank.width) if self.appearance else None,
            motion=Vector(CHANGES * (2 + self.lookahead), -10, 10),
            ahead=Vector(1 + self.lookahead),
            repeats=Vector(len(LAGS)),
            context=Vector(CONTEXT),
        )
        sizes = [self.pieces.sizes(clip) for clip in range(self.items)]
        self.dataset_metrics = [KeyshotF(self.pieces.users, sizes, self.budget)]

    def good_pieces(self) -> np.ndarray:
        """(V, P) bool, the pieces of a good summary by what is rewarded; the expert's."""
        bank = self.pieces
        if self.reward_type == "importance":
            return bank.worth.array > bank.level.array[:, None]
        goal = np.zeros((len(self.samples), bank.most), bool)
        for clip, count in enumerate(bank.counts.array.tolist() if self.labelled else ()):
            alike = bank.alike.array[clip * bank.most :][:count, :count].astype(float)
            goal[clip, :count] = diverse_set(alike, self.far, self.budget, self.excess_cost)
        return goal

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        most = self.pieces.most
        return State(
            clip=np.int64(item),
            time=np.int64(0),
            kept=np.zeros(most, bool),
            scores=np.zeros(most),
            nearest=np.full(most, -1.0),
            unlike=np.float64(0),
            confidence=np.float64(np.nan),
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.kept)
        keep = (action == 1) & ~self.terminated(state)
        known = xp.where(xp.isnan(state.confidence), xp.astype(keep, xp.float64), state.confidence)
        here = self.here(state) & ~self.terminated(state)[:, None]
        return replace(
            self.with_kept(state, keep),
            time=state.time + xp.astype(~self.terminated(state), xp.int64),
            scores=xp.where(here, known[:, None], state.scores),
            confidence=xp.full_like(state.confidence, xp.nan),
        )

    def here(self, state: State) -> Array:
        """(B, P) bool, the piece now."""
        places = xp_of(state.time).arange(self.pieces.most, device=state.time.device)
        return places[None, :] == state.time[:, None]

    def alike(self, state: State) -> Array:
        """(B, P) float64, cosine of the piece now with all of the clip."""
        xp = xp_of(state.time)
        return xp.astype(self.pieces.alike.rows(self.pieces.row(state.clip, state.time)), xp.float64)

    def with_kept(self, state: State, keep: Array) -> State:
        """The state once the piece now is kept, where ``keep``, (B,) bool; the time stays."""
        xp, alike = xp_of(state.kept), self.alike(state)
        places = xp.arange(self.pieces.most, device=state.time.device)[None, :]
        apart = xp.where(xp.abs(places - state.time[:, None]) > self.far, xp.ones_like(alike), 1 - alike)
        added = xp.sum(xp.where(state.kept, apart, xp.zeros_like(apart)), axis=1)
        return replace(
            state,
            kept=state.kept | (self.here(state) & keep[:, None]),
            nearest=xp.where(keep[:, None], xp.maximum(state.nearest, alike), state.nearest),
            unlike=state.unlike + xp.where(keep, added, xp.zeros_like(added)),
        )

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.kept)
        around = const(tuple(range(-1, 1 + self.lookahead)), state.time)
        near = self.pieces.row(state.clip, state.time[:, None] + around[None, :])
        motion = xp.reshape(self.pieces.change.rows(xp.reshape(near, (-1,))), (near.shape[0], -1))
        alike, kept = self.alike(state), self.kept_share(state)
        count = xp.sum(xp.astype(state.kept, xp.float64), axis=1)
        both = xp.sum(xp.where(state.kept, alike, xp.zeros_like(alike)), axis=1)
        mean = both / xp.where(count > 0, count, xp.ones_like(count))
        most = xp.max(xp.where(self.here(state), state.nearest, xp.full_like(alike, -1.0)), axis=1)
        left = 1 - xp.astype(state.time, xp.float64) / self.count(state)
        context = [mean, most, left, kept, xp.clip(self.budget - kept, -1.0, 1.0)]
        row = self.pieces.row(state.clip, state.time)
        ahead = xp.take_along_axis(alike, near[:, 1:] - state.clip[:, None] * self.pieces.most, axis=1)
        return self.seen(
            features=xp.clip(self.pieces.features.rows(row), -1, 1),
            motion=xp.clip(motion * 10, -10, 10),
            ahead=xp.clip(ahead, -1, 1),
            repeats=xp.clip(self.pieces.repeats.rows(row), -1, 1),
            context=xp.clip(xp.stack(context, axis=1), -1, 1),
        )

    def count(self, state: State) -> Array:
        """(B,) float64, number of pieces of the clip."""
        return xp_of(state.clip).astype(self.pieces.counts.rows(state.clip), xp_of(state.clip).float64)

    def kept_share(self, state: State) -> Array:
        """(B,) float64, share of the pieces that are kept."""
        xp = xp_of(state.kept)
        return xp.sum(xp.astype(state.kept, xp.float64), axis=1) / self.count(state)

    def potential(self, state: State) -> Array:
        """(B,) float64, how good what is kept is; rewards are its gains."""
        return self.importance(state) if self.reward_type == "importance" else self.diversity(state)

    def importance(self, state: State) -> Array:
        """(B,) float64, importance above the price of what is kept, 1 for the best summary."""
        xp, clip = xp_of(state.kept), state.clip
        over = self.pieces.worth.rows(clip) - self.pieces.level.rows(clip)[:, None]
        total = xp.sum(xp.where(state.kept, over, xp.zeros_like(over)), axis=1)
        return total / self.pieces.best.rows(clip)

    def diversity(self, state: State) -> Array:
        """(B,) float64, (diversity + representativeness) / 2 less the cost beyond the budget; 0 for nothing kept."""
        xp = xp_of(state.kept)
        count, share = xp.sum(xp.astype(state.kept, xp.float64), axis=1), self.kept_share(state)
        pairs = count * (count - 1) / 2
        apart = state.unlike / xp.where(pairs > 0, pairs, xp.ones_like(pairs))
        far = xp.where(self.pieces.valid(state.clip), 2 - 2 * state.nearest, xp.zeros_like(state.nearest))
        close = xp.exp(-xp.sum(far, axis=1) / self.count(state))
        excess = xp.maximum(share - self.budget, xp.zeros_like(share))
        value = (apart + close) / 2 - self.excess_cost * excess * excess
        return xp.where(count > 0, value, xp.zeros_like(value))

    def reward(self, before: State, action: Array, after: State) -> Array:
        return self.potential(after) - self.potential(before)

    def terminated(self, state: State) -> Array:
        return state.time >= self.pieces.counts.rows(state.clip)

    def metrics(self, state: State) -> dict[str, Array]:
        tau, rho = self.pieces.correlations(state.clip, state.scores)
        human = self.pieces.human.rows(state.clip)
        found = {"tau": tau, "rho": rho, "kept": self.kept_share(state), "human": human}
        return {**found, "importance": self.importance(state), "is_success": tau >= GOOD * human}

    def action_gains(self, state: State) -> Array:
        """(B, 2) float64, what skipping and keeping the piece now earn."""
        xp = xp_of(state.kept)
        kept = self.potential(self.with_kept(state, ~self.terminated(state)))
        gain = kept - self.potential(state)
        return xp.stack([xp.zeros_like(gain), gain], axis=1)

    def expert(self, state: State) -> Array:
        """(B,) int64: keep the pieces of a good summary; with importance these are the pieces above the price."""
        xp = xp_of(state.kept)
        return xp.astype(xp.any(self.here(state) & self.goal.rows(state.clip), axis=1), xp.int64)

    def detection_quality(self, state: State) -> Array:
        """(B,) in [0, 1], the importance of the piece now."""
        xp = xp_of(state.kept)
        worth = self.pieces.worth.rows(state.clip)
        return xp.sum(xp.where(self.here(state), worth, xp.zeros_like(worth)), axis=1)

    def with_confidence(self, state: State, confidence: Array) -> State:
        return replace(state, confidence=confidence)

    # -- edge ------------------------------------------------------------------------------------------------------
    def chosen(self, state: State) -> np.ndarray:
        """(n,) bool, the pieces of the summary of one episode."""
        sizes = self.pieces.sizes(int(state.clip))
        return keyshots(state.scores[: len(sizes)], sizes, self.budget, np.random.default_rng(0))

    def result(self, state: State) -> Summary:
        clip, chosen = int(state.clip), self.chosen(state)
        starts = self.pieces.starts[clip]
        frames = np.flatnonzero(np.repeat(chosen, np.diff(starts)))
        edges = np.stack([starts[:-1], starts[1:]], axis=1)
        return Summary(
            frames, int(starts[-1]), edges, state.scores[: len(chosen)].copy(), self.samples[clip].fps
        )

    def draw(self, state: State) -> np.ndarray:
        clip = int(state.clip)
        middles = self.pieces.starts[clip][:-1] + self.pieces.sizes(clip) // 2
        count = len(middles)
        now, kept, scores = min(int(state.time), count - 1), state.kept[:count], state.scores[:count]
        curves = {"agent": (scores - scores.min()) / max(float(np.ptp(scores)), 1e-9)}
        if self.labelled:
            worth = self.pieces.worth.array[clip, :count]
            curves["truth"] = (worth - worth.min()) / max(float(np.ptp(worth)), 1e-9)
        words = f"piece {now + 1} of {count}, {int(kept.sum())} kept"
        share = int(state.time) / count
        return self.draw_timeline(clip, int(middles[now]), middles[kept], curves, kept, share, words)
