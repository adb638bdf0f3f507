"""A policy is rewarded for what it does better than itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, PPO

from visionrl.agents.networks.extractor import VisionExtractor
from visionrl.agents.sb3.vec_env import make_vec_env
from visionrl.datasets.embedded.scenes import Scenes
from visionrl.ops import to_numpy
from visionrl.reward_models.self_critical import SelfCritical

SCENES = list(Scenes("val", 6))
SMALL = {
    "features_extractor_class": VisionExtractor,
    "net_arch": [8],
    "features_extractor_kwargs": {"features_dim": 8},
}


def environment(rows: int = 3, **kwargs: Any) -> Any:
    """A captioning environment over six scenes."""
    given = {"data": SCENES, "side": 32, "max_words": 6, **kwargs}
    with pytest.warns(UserWarning, match="captions have more than"):
        return make_vec_env("visionrl/CaptionGeneration-v0", rows, seed=3, **given)


class Expert:
    """A policy that knows the truth of the environment's own states."""

    def __init__(self, task: Any) -> None:
        self.task, self.asked = task, 0

    def predict(
        self, obs: Any, deterministic: bool = True, episode_start: Any = None, action_masks: Any = None
    ) -> tuple[np.ndarray, None]:
        """The next word of the first scene that looks like the observation."""
        self.asked += len(obs["words"])
        same = (obs["image"][:, None] == self.task.bank.pixels.array[None]).all(axis=(2, 3, 4))
        state = self.task.sample(np.random.default_rng(0), 0)
        rows = len(obs["words"])
        held = type(state)(
            taken=obs["words"].astype(np.int64),
            step=obs["count"].argmax(1) * (obs["count"].sum(1) > 0),
            image=same.argmax(1),
            finished=np.zeros(rows, bool),
            score=np.zeros(rows),
        )
        return self.task.expert(held), None


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("reward_at", ["step", "end"])
def test_a_policy_that_is_its_own_baseline_earns_nothing(reward_at: str, backend: str) -> None:
    venv = SelfCritical(environment(reward_at=reward_at, backend=backend))
    expert = venv.policy = Expert(venv.get_attr("task")[0])
    obs, total, ends = venv.reset(), np.zeros(3), 0
    for _ in range(20):
        seen = {key: to_numpy(value) for key, value in obs.items()}
        obs, reward, dones, infos = venv.step(expert.predict(seen)[0])
        total += reward
        for row in np.flatnonzero(dones):
            ends += 1
            assert total[row] == pytest.approx(0, abs=1e-6)
            assert infos[row]["baseline_return"] == pytest.approx(infos[row]["episode"]["r"], abs=1e-5)
            total[row] = 0
    assert ends >= 9


def test_the_baseline_starts_where_the_episode_does_and_all_is_paid_at_the_end() -> None:
    venv, plain = SelfCritical(environment()), environment()
    venv.policy = Expert(venv.get_attr("task")[0])
    obs = venv.reset(), plain.reset()
    coin, earned, shaped, early = np.random.default_rng(0), np.zeros(3), np.zeros(3), 0.0
    for _ in range(30):
        actions = coin.integers(2, 30, 3)
        (_, own, dones, _), (_, less, _, infos) = plain.step(actions), venv.step(actions)
        earned, shaped = earned + own, shaped + less
        assert not less[~dones].any()
        early += np.abs(own[~dones]).sum()
        for row in np.flatnonzero(dones):
            assert infos[row]["baseline_return"] > 0.1
            assert shaped[row] == pytest.approx(earned[row] - infos[row]["baseline_return"], abs=1e-5)
            earned[row] = shaped[row] = 0
    assert obs[0].keys() == obs[1].keys()
    assert early > 0  # the task itself pays word by word


@pytest.mark.parametrize("baseline", ["greedy", "mean"])
@pytest.mark.parametrize("algorithm", [PPO, A2C, MaskablePPO, RecurrentPPO])
def test_algorithms_need_no_change(algorithm: Any, baseline: Any) -> None:
    venv = SelfCritical(environment(), baseline=baseline, samples=2)
    policy = "MultiInputLstmPolicy" if algorithm is RecurrentPPO else "MultiInputPolicy"
    more = {"lstm_hidden_size": 8} if algorithm is RecurrentPPO else {}
    sizes = {} if algorithm is A2C else {"batch_size": 6, "n_epochs": 1}
    model = algorithm(policy, venv, n_steps=8, seed=0, policy_kwargs={**SMALL, **more}, **sizes)
    venv.policy = model
    model.learn(48)
    assert (venv.memory is not None) == (algorithm is RecurrentPPO)
    assert len(model.ep_info_buffer) > 3


def test_equal_seeds_give_equal_baselines() -> None:
    found = []
    for _ in range(2):
        venv = SelfCritical(environment())
        venv.policy = PPO("MultiInputPolicy", venv, seed=0, policy_kwargs=SMALL)
        venv.reset()
        rewards = [venv.step(np.full(3, 5 + number % 7))[1] for number in range(14)]
        found.append(np.array(rewards))
    np.testing.assert_array_equal(found[0], found[1])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="policy must be set before the environment is reset, got None"):
        SelfCritical(environment()).reset()
    with pytest.raises(ValueError, match="baseline must be one of 'greedy', 'mean', got 'best'"):
        SelfCritical(environment(), baseline="best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="samples must be >= 1, got 0"):
        SelfCritical(environment(), baseline="mean", samples=0)
