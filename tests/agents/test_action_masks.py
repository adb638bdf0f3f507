"""Action masks, from the task's rules to ``MaskablePPO``."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from visionrl.agents.imitation.cloning import clone
from visionrl.agents.imitation.targets import expert_actions, imitation_loss, imitation_targets, mixed_actions
from visionrl.agents.sb3.vec_env import make_vec_env
from visionrl.core import TaskVectorEnv
from visionrl.datasets import ImageSample

DETECTION = "visionrl/Detection-v0"
REPORT, BIGGER = 8, 4


@pytest.fixture(scope="module")
def tiny() -> dict:
    """Arguments of a small detection task that allows no report in a search's first three steps."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 50), dtype=np.uint8)
    sample = ImageSample(pixels, boxes=np.array([[5.0, 5, 25, 30]]), labels=("cat",), name="0")
    return {"data": [sample], "window": 36, "trigger_after": 3, "max_episode_steps": 20, "split": "all"}


def test_masks_of_one_episode(tiny):
    env = gym.make(DETECTION, **tiny)
    env.reset(seed=0)
    mask = get_action_masks(env)
    assert mask.shape == (9,)
    assert mask.dtype == bool
    assert not mask[[BIGGER, REPORT]].any()  # the box is the whole image
    for _ in range(3):
        env.step(5)
    assert get_action_masks(env)[REPORT]


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_rows_of_the_vector_environment_have_the_masks_of_single_ones(tiny, backend):
    rng, venv = np.random.default_rng(0), make_vec_env(DETECTION, 3, seed=0, backend=backend, **tiny)
    venv.reset()
    singles = DummyVecEnv([lambda: gym.make(DETECTION, **tiny) for _ in range(3)])
    singles.seed(0)
    singles.reset()
    assert is_masking_supported(venv)
    assert is_masking_supported(singles)
    for _ in range(19):
        masks = get_action_masks(venv)
        assert masks.shape == (3, 9)
        np.testing.assert_array_equal(masks, get_action_masks(singles))
        actions = rng.integers(9, size=3)
        venv.step(actions)
        singles.step(actions)


def test_a_task_without_masks_allows_all_and_a_continuous_one_refuses(tiny):
    env = TaskVectorEnv(2, "visionrl/LandmarkLocalization-v0")
    env.reset(seed=0)
    assert env.action_masks().shape == (2, 4)
    assert env.action_masks().all()
    single = gym.make(DETECTION, **{**tiny, "control": "continuous"})
    single.reset(seed=0)
    with pytest.raises(ValueError, match="action_space must be Discrete or MultiDiscrete"):
        single.unwrapped.action_masks()


class NeverMasked(BaseCallback):
    """Compares every action of a rollout with the masks under which it was chosen."""

    chosen = 0

    def _on_rollout_end(self) -> None:
        buffer = self.locals["rollout_buffer"]
        rows = buffer.actions.reshape(-1).astype(int)
        allowed = buffer.action_masks.reshape(len(rows), -1)
        assert not allowed.all()
        assert (allowed[np.arange(len(rows)), rows] == 1).all()
        self.chosen += len(rows)

    def _on_step(self) -> bool:
        return True


def test_maskable_ppo_trains_and_never_chooses_a_masked_action(tiny):
    env = make_vec_env(DETECTION, 2, seed=0, **tiny)
    policy = {"net_arch": [16]}
    model = MaskablePPO(
        "MultiInputPolicy", env, n_steps=50, batch_size=50, n_epochs=1, seed=0, policy_kwargs=policy
    )
    check = NeverMasked()
    model.learn(200, callback=check)
    assert check.chosen == 200
    obs = env.reset()
    for _ in range(10):
        masks = get_action_masks(env)
        actions, _ = model.predict(obs, action_masks=masks)
        assert masks[np.arange(2), actions].all()
        obs = env.step(actions)[0]


def test_chance_in_cloning_heeds_the_masks_of_a_policy_that_does(tiny):
    env = make_vec_env(DETECTION, 4, seed=0, **tiny)
    env.reset()
    model = MaskablePPO("MultiInputPolicy", env, n_steps=8, batch_size=8, device="cpu")
    masks, rng = get_action_masks(model.get_env()), np.random.default_rng(0)
    wanted = np.zeros(4, np.int64)
    drawn = [mixed_actions(model, None, wanted, (0.0, 1.0), rng) for _ in range(50)]
    assert not masks[:, -1].any() and np.unique(drawn).size > 3
    assert all(masks[np.arange(4), actions].all() for actions in drawn)


def test_cloning_leaves_forbidden_actions_out_of_the_softmax(tiny):
    env = make_vec_env(DETECTION, 4, seed=0, **tiny)
    obs = env.reset()
    model = MaskablePPO("MultiInputPolicy", env, n_steps=8, batch_size=8, device="cpu", seed=0)
    masks, wanted = get_action_masks(env), expert_actions(env)
    targets = imitation_targets(model, wanted)
    np.testing.assert_array_equal(targets[:, -9:], masks)
    assert targets.shape == (4, 1 + 1 + 9) and masks[np.arange(4), wanted].all() and not masks.all()
    model.policy.action_net.bias.data = torch.arange(9.0)
    seen = model.policy.obs_to_tensor(obs)[0]
    model.vf_coef = 0
    loss = imitation_loss(model, seen, torch.as_tensor(targets))
    logits = model.policy.get_distribution(seen).distribution.logits
    among = torch.where(torch.as_tensor(masks), logits, -torch.inf).log_softmax(1)
    torch.testing.assert_close(loss, -among[torch.arange(4), torch.as_tensor(wanted)].mean())
    loss.backward()
    slope = model.policy.action_net.bias.grad
    forbidden = ~masks.any(0)
    assert forbidden.any() and slope[forbidden].abs().max() < 1e-6 < slope[masks.any(0)].abs().min()


def test_a_clone_that_heeds_masks_learns(tiny):
    env = make_vec_env(DETECTION, 4, seed=0, **tiny)
    model = MaskablePPO("MultiInputPolicy", env, n_steps=8, batch_size=8, device="cpu", seed=0)
    losses: list[float] = []
    clone(model, 400, rate=1e-3, on_step=lambda done, loss: losses.append(loss))
    assert np.isfinite(losses[-1]) and np.mean(losses[-20:]) < 0.6 * np.nanmean(losses[:20])
