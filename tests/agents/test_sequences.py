"""Cloning of policies that carry a state along."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO

from visionrl.agents import VisionExtractor, clone, make_vec_env
from visionrl.agents.imitation.sequences import (
    LENGTH,
    SequenceMemory,
    carried_actions,
    carried_outputs,
    zero_states,
)
from visionrl.agents.imitation.targets import expert_actions, imitation_targets
from visionrl.agents.policies.recurrent import RecurrentPolicy

LANDMARK, GLIMPSE = "visionrl/LandmarkLocalization-v0", "visionrl/GlimpseClassification-v0"
EASY: dict[str, Any] = {"window": 12, "target": "heart", "step_sizes": (4,), "scales": (4,)}


def agent(env: Any, **own: Any) -> Any:
    """A small RecurrentPPO."""
    sees = {"features_extractor_class": VisionExtractor, "features_extractor_kwargs": {"features_dim": 32}}
    policy: dict[str, Any] = {**sees, "cell": "gru", "lstm_hidden_size": 16, "net_arch": [16], **own}
    return RecurrentPPO(
        RecurrentPolicy, env, n_steps=8, batch_size=8, policy_kwargs=policy, gamma=0.5, seed=0, device="cpu"
    )


@pytest.mark.parametrize("critic", ["own", "shared", "none"])
def test_a_sequence_is_read_as_it_was_met(critic: str) -> None:
    env = make_vec_env(LANDMARK, 3, seed=0, max_episode_steps=7, **EASY)
    model = agent(env, shared_lstm=critic == "shared", enable_critic_lstm=critic == "own")
    memory, policy = SequenceMemory(env, 6 * LENGTH * 3), model.policy
    obs: Any = env.reset()
    starts, states = np.ones(3, bool), zero_states(policy, 3)
    met = []
    for _ in range(2 * LENGTH + 5):
        wanted = expert_actions(env)
        memory.add(obs, imitation_targets(model, wanted), starts, states)
        begins = torch.as_tensor(starts, dtype=torch.float32)
        with torch.no_grad():
            values = policy.forward(policy.obs_to_tensor(obs)[0], states, begins)[1]
        acts, states = carried_actions(policy, obs, states, starts)
        met.append((wanted, values[:, 0].numpy()))
        obs, _, starts, _ = env.step(wanted)
        assert acts.shape == (3,)
    assert memory.count == 2
    seen, targets, begun, before = memory.draw(np.random.default_rng(0), 40)
    assert targets.shape == (40 * LENGTH, 2) and before.pi[0].shape == (1, 40, 16)
    flags = torch.as_tensor(begun, dtype=torch.float32)
    distribution, value = carried_outputs(policy, policy.obs_to_tensor(seen)[0], before, flags)
    found = {x.tobytes() for x in value.detach().numpy().reshape(40, LENGTH).round(4)}
    actions = np.array([wanted for wanted, _ in met])
    valued = np.array([values for _, values in met]).round(4)
    runs = [(k * LENGTH, row) for k in range(2) for row in range(3)]
    assert found == {valued[k : k + LENGTH, row].tobytes() for k, row in runs}
    asked = {x.tobytes() for x in targets[:, 0].reshape(40, LENGTH).astype(actions.dtype)}
    assert asked == {np.ascontiguousarray(actions[k : k + LENGTH, row]).tobytes() for k, row in runs}
    assert distribution.log_prob(torch.as_tensor(targets[:, 0])).shape == (40 * LENGTH,)


def test_the_oldest_sequences_make_room_and_a_running_one_is_not_drawn() -> None:
    env = make_vec_env(LANDMARK, 2, seed=0, **EASY)
    memory, policy = SequenceMemory(env, 3 * LENGTH * 2), agent(env).policy
    obs: Any = env.reset()
    for step in range(4 * LENGTH + 3):
        memory.add(obs, np.full((2, 1), step, np.float32), np.zeros(2, bool), zero_states(policy, 2))
    drawn = memory.draw(np.random.default_rng(0), 50)[1].reshape(50, LENGTH)
    assert set(drawn[:, 0]) == {2 * LENGTH, 3 * LENGTH}
    assert (np.diff(drawn, axis=1) == 1).all()


def test_states_are_rendered_when_they_are_drawn() -> None:
    found = []
    for rerender in (False, True):
        model = agent(make_vec_env(LANDMARK, 4, seed=0, **EASY))
        clone(model, 160, rerender=rerender)
        found.append(model.policy.state_dict())
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_policy_with_a_state_comes_to_act_like_the_expert(cell: str) -> None:
    model = agent(make_vec_env(LANDMARK, 8, seed=0, **EASY), cell=cell)
    losses: list[float] = []
    clone(model, 2400, rate=2e-3, on_step=lambda done, loss: losses.append(loss))
    assert np.mean(losses[-20:]) < 0.8 * np.nanmean(losses[:40])
    env = model.get_env()
    obs: Any = env.reset()
    state, starts, right = None, np.ones(8, bool), []
    for _ in range(30):
        task, now = env.unwrapped.venv.task, env.unwrapped.venv.state
        acts, state = model.predict(obs, state=state, episode_start=starts, deterministic=True)
        wanted = expert_actions(env)
        own, best = (task.reward(now, action, task.step(now, action)) for action in (acts, wanted))
        right.append(own >= best)
        obs, _, starts, _ = env.step(wanted)
    assert np.mean(right) > 0.55


def test_actions_in_a_box_stay_in_it() -> None:
    env = make_vec_env(GLIMPSE, 2, seed=0, control="continuous", retina=8)
    model = agent(env, log_std_init=2.0)
    model.policy.action_net.weight.data *= 1e4
    acts, _ = carried_actions(model.policy, env.reset(), zero_states(model.policy, 2), np.ones(2, bool))
    assert all(env.action_space.contains(act) for act in acts)
    clone(model, 64)
