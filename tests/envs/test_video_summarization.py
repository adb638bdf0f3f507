"""VideoSummarization-v0: rewards, correlations, and clips of the user."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from visionrl.core import batch, make_task
from visionrl.core.testing import start
from visionrl.datasets import ClipSample

ID = "visionrl/VideoSummarization-v0"


def clip(count: int = 40, name: str = "a", **more: Any) -> ClipSample:
    """Return a clip of noise at 2 frames a second; people like its end."""
    rng = np.random.default_rng(count)
    frames = rng.integers(0, 256, (count, 3, 8, 8)).astype(np.uint8)
    scores = np.arange(count) + rng.normal(0, 5, (3, count))
    return ClipSample(**{"frames": frames, "scores": scores, "fps": 2.0, "name": name, **more})


def ends(task: Any, policy: Any, rows: int = 1) -> tuple[Any, np.ndarray]:
    """Return last states and sums of rewards."""
    state, total = start(task, rows=rows), np.zeros(rows)
    while not task.terminated(state).all():
        action = policy(state)
        after = task.step(state, action)
        total += task.reward(state, action, after)
        state = after
    return state, total


@pytest.mark.parametrize("reward_type", ["importance", "diversity"])
def test_rewards_telescope(reward_type: str) -> None:
    task = make_task(ID, data=[clip(), clip(30, "b")], reward_type=reward_type, budget=0.3)
    rng = np.random.default_rng(0)
    state, total = ends(task, lambda state: rng.integers(0, 2, 4), rows=4)
    assert np.allclose(total, task.potential(state))


def test_the_expert_earns_one_and_keeps_the_budget() -> None:
    task = make_task(ID, data=[clip(80)], budget=0.2)
    state, total = ends(task, task.expert)
    assert total[0] == pytest.approx(1) and task.metrics(state)["kept"][0] == pytest.approx(0.2)


def test_correlations_are_the_means_over_people_with_ties() -> None:
    steps = np.arange(30) // 12  # people who give a few values alone
    task = make_task(
        ID, data=[clip(), clip(30, "b", scores=np.stack([steps, -(steps % 2), steps % 2 + 2 * steps]))]
    )
    state = batch.stack([task.sample(np.random.default_rng(0), item) for item in range(2)])
    scores = np.random.default_rng(1).integers(0, 4, state.scores.shape).astype(float)
    found = task.metrics(replace(state, scores=scores))
    for row, count in enumerate(task.pieces.counts.array):
        users = task.pieces.users[row]
        own = scores[row, :count]
        assert found["tau"][row] == pytest.approx(np.mean([kendalltau(own, user)[0] for user in users]))
        assert found["rho"][row] == pytest.approx(np.mean([spearmanr(own, user)[0] for user in users]))
        others = [kendalltau(users[a], users[b])[0] for a in range(3) for b in range(a)]
        assert found["human"][row] == pytest.approx(np.mean(others))


def test_constant_scores_have_a_tau_of_zero() -> None:
    task = make_task(ID, data=[clip()])
    state, _ = ends(task, lambda state: np.zeros(1, int))
    assert task.metrics(state)["tau"][0] == 0 and np.isfinite(task.metrics(state)["rho"][0])


def test_the_score_of_the_policy_ranks_a_piece() -> None:
    task = make_task(ID, data=[clip()])
    state = task.with_confidence(start(task), np.array([0.7]))
    after = task.step(state, np.array([0]))
    assert after.scores[0, 0] == 0.7 and np.isnan(after.confidence[0])
    assert task.step(after, np.array([1])).scores[0, 1] == 1.0


def test_diversity_is_that_of_all_pairs() -> None:
    task = make_task(ID, preset="zhou2018", data=[clip(60)], far=4)
    state, _ = ends(task, lambda state: np.random.default_rng(int(state.time[0])).integers(0, 2, 1))
    rows, kept = task.pieces.features.array.astype(float), np.flatnonzero(state.kept[0])
    pairs = [(a, b) for a in kept for b in kept if a < b]
    apart = np.mean([1.0 if b - a > 4 else 1 - rows[a] @ rows[b] for a, b in pairs])
    near = np.array([min(((row - rows[k]) ** 2).sum() for k in kept) for row in rows])
    excess = max(len(kept) / len(rows) - 0.5, 0)
    wanted = (apart + np.exp(-near.mean())) / 2 - excess**2
    assert task.potential(state)[0] == pytest.approx(wanted, abs=1e-5)


def test_a_clip_of_one_frame_and_one_of_features_alone_are_clips() -> None:
    one = make_task(ID, data=[ClipSample(clip().frames[:1], scores=[[1.0]])])
    state, _ = ends(one, one.expert)
    assert one.metrics(state)["tau"][0] == 0 and one.draw(batch.take(state, 0)).ndim == 3
    bare = make_task(
        ID, data=[clip(frames=None, features=np.random.default_rng(0).random((40, 7)))], appearance=True
    )
    assert bare.observation_space["features"].shape == (7,)
    assert bare.draw(batch.take(start(bare), 0)).ndim == 3


def test_clips_without_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="samples must have scores, 'a' has none"):
        make_task(ID, data=[clip(scores=None)])


def test_a_clip_without_labels_gives_a_summary_within_the_budget() -> None:
    task = make_task(ID, data=[clip(80, scores=None)], labelled=False)
    state = start(task)
    while not task.terminated(state).all():
        state = task.step(task.with_confidence(state, state.time / 10.0), np.array([0]))
    found = task.result(batch.take(state, 0))
    assert len(found.frames) == 12 and found.frames.min() == 68, "the last pieces have the best scores"
    rows = found.to_json()["pieces"]
    assert rows[1] == {"start": 4, "end": 8, "seconds": 2.0, "score": 0.1, "kept": False}
