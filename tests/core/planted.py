"""Copies of landmark localization and of the engine, each with one bug planted; the checks must find all of them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np

import visionrl  # noqa: F401  (registers the tasks)
from visionrl import ops
from visionrl.core import TASKS
from visionrl.ops import xp_of

ID = "visionrl/LandmarkLocalization-v0"
Landmark: Any = TASKS[ID].task
COUNTER = itertools.count()


class ConstantOnTheCpu(Landmark):
    def step(self, state, action):
        after = super().step(state, action)
        return replace(after, position=after.position + xp_of(after.position).zeros((1, 2)))


class MetricOnTheCpu(Landmark):
    def metrics(self, state):
        found = super().metrics(state)
        distance = found["distance_px"]
        return {**found, "twice_px": xp_of(distance).asarray(ops.to_numpy(distance) * 2)}


class WritesIntoTheState(Landmark):
    def step(self, state, action):
        state.position[...] += 1
        return super().step(state, action)


class WritesIntoTensors(Landmark):
    def step(self, state, action):
        if ops.is_torch(action):
            state.actions[:, 0] = 3
        return super().step(state, action)


class RewardCentred(Landmark):
    def reward(self, before, action, after):
        reward = super().reward(before, action, after)
        return reward - xp_of(reward).mean(reward)


class ReusedBuffer(Landmark):
    def observe(self, state):
        seen = super().observe(state)
        if not isinstance(seen["position"], np.ndarray):
            return seen
        held = self.__dict__.setdefault("_held", {}).setdefault(len(seen["position"]), seen["position"])
        held[...] = seen["position"]
        return {**seen, "position": held}


class TwoSourcesOfChance(Landmark):
    def sample(self, rng, item):
        state = super().sample(rng, item)
        return replace(state, position=state.position + np.random.randint(3))  # noqa: NPY002


class TeleportingExpert(Landmark):
    def step(self, state, action):
        xp = xp_of(action)
        after = super().step(state, xp.where(action < 4, action, xp.zeros_like(action)))
        jump = (action == 4)[:, None]
        return replace(after, position=xp.where(jump, xp.round(state.landmark), after.position))

    def expert(self, state):
        best = super().expert(state)
        far = ops.norm(state.position - state.landmark) > 3
        return xp_of(best).where(far, 4, best)


class OneActionReversed(Landmark):
    def expert(self, state):
        best = super().expert(state)
        return xp_of(best).where(best == 2, 0, best)


class UpIsDown(Landmark):
    def expert(self, state):
        best = super().expert(state)
        return xp_of(best).where(best % 2 == 0, 2 - best, best)


class RewardFlipped(Landmark):
    def reward(self, before, action, after):
        return -super().reward(before, action, after)


class ItemIgnored(Landmark):
    def sample(self, rng, item):
        return super().sample(rng, 0)


class FloatPicture(Landmark):
    def draw(self, state):
        return super().draw(state) / 255.0


class KeepsACounter(Landmark):
    def sample(self, rng, item):
        self.begun = getattr(self, "begun", 0) + 1
        state = super().sample(rng, item)
        return replace(state, position=state.position + (self.begun > 1000))


class CountsElsewhere(Landmark):
    def sample(self, rng, item):
        state = super().sample(rng, item)
        return replace(state, position=state.position + next(COUNTER) % 5)


class HashInSample(Landmark):
    def sample(self, rng, item):
        state = super().sample(rng, item)
        return replace(state, position=state.position + hash(str(item)) % 3)


class SplitIgnored(Landmark):
    def __init__(self, *, split="train", window=40):
        super().__init__(split="train", window=window)


class TruthInTheObservation(Landmark):
    def observe(self, state):
        seen, xp = super().observe(state), xp_of(state.position)
        told = state.landmark / (1 + xp.max(state.landmark, axis=-1)[:, None])
        return {**seen, "position": xp.astype(told, xp.float32)}


class TruthMixedIn(Landmark):
    def observe(self, state):
        seen, xp = super().observe(state), xp_of(state.position)
        hint = xp.astype(0.001 * xp.sign(state.landmark - state.position), xp.float32)
        return {**seen, "position": xp.clip(seen["position"] + hint, -1.0, 1.0)}


class EveryEndASuccess(Landmark):
    def metrics(self, state):
        found = super().metrics(state)
        return {**found, "is_success": found["is_success"] | self.terminated(state)}


class EndsLate(Landmark):
    def terminated(self, state):
        return state.finished & (state.actions[:, -1] != 2)


class NanInACorner(Landmark):
    def reward(self, before, action, after):
        reward, xp = super().reward(before, action, after), xp_of(after.position)
        corner = xp.all(after.position < 9, axis=-1)
        return xp.where(corner, xp.nan, reward)


class EveryActionIsGood(Landmark):
    def good_actions(self, state):
        xp = xp_of(state.position)
        return (
            ops.one_hot(state.stage, 4) > -1
            if xp is np
            else xp.ones_like(state.actions[:, :4], dtype=xp.bool)
        )


class SingleRewardsOnTorch(Landmark):
    def reward(self, before, action, after):
        reward = super().reward(before, action, after)
        return reward.float() if ops.is_torch(reward) else reward


class RoundTripInABranch(Landmark):
    def observe(self, state):
        seen = super().observe(state)
        position = seen["position"]
        if ops.is_torch(position) and position.device.type == "cpu" and bool((state.stage > 0).any()):
            seen["position"] = ops.like(ops.to_numpy(position).copy(), position)
        return seen


class RoundTrip(Landmark):
    def observe(self, state):
        seen = super().observe(state)
        position = seen["position"]
        if ops.is_torch(position) and position.device.type == "cpu":
            seen["position"] = ops.like(ops.to_numpy(position).copy(), position)
        return seen


class NumpyOnly(Landmark):
    def terminated(self, state):
        return state.finished.copy()


class FloatsSneakIn(Landmark):
    def observe(self, state):
        seen = super().observe(state)
        return {**seen, "position": xp_of(state.position).astype(seen["position"], state.position.dtype)}


class ShowsItsState(Landmark):
    def metrics(self, state):
        return {**super().metrics(state), "factor": state.factor}


class IgnoresTheSeed(Landmark):
    def sample(self, rng, item):
        return super().sample(np.random.default_rng(0), 0)


class Blind(Landmark):
    def observe(self, state):
        return {key: value * 0 for key, value in super().observe(state).items()}


class Undocumented(Landmark):
    """Says nothing."""
