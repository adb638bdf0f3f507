"""Policies that remember: windows of observations, layers over them, and runs with them."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import QRDQN, TQC, TRPO, MaskablePPO, RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentMultiInputActorCriticPolicy
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3

from visionrl.agents import TrainConfig, load_model, train
from visionrl.agents.evaluation.episodes import last_states
from visionrl.agents.evaluation.policies import AgentPolicy
from visionrl.agents.networks.extractor import VisionExtractor
from visionrl.agents.networks.frozen_features import CachedFeatures
from visionrl.agents.policies.recurrent import RecurrentPolicy, StatedGRU
from visionrl.agents.policies.sequence import SequenceExtractor
from visionrl.agents.sb3.recall import recalled_space
from visionrl.agents.sb3.vec_env import make_vec_env
from visionrl.agents.training.callback import RunCallback
from visionrl.agents.training.config import resolve
from visionrl.datasets import ImageSample

LANDMARK, GLIMPSE = "visionrl/LandmarkLocalization-v0", "visionrl/GlimpseClassification-v0"
HEART: dict[str, Any] = {"window": 24, "target": "heart", "max_episode_steps": 5}
KINDS = ("rnn", "lstm", "gru", "attention")
SMALL = {"features_extractor_class": SequenceExtractor, "net_arch": [8]}
ROLLOUT = {"n_steps": 8}
REPLAY = {"learning_starts": 8, "batch_size": 8, "buffer_size": 32}


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_windows_hold_the_last_observations_of_the_running_episode(backend: str) -> None:
    both: list[Any] = [make_vec_env(LANDMARK, 3, seed=0, backend=backend, recall=n, **HEART) for n in (1, 3)]
    plain, env = both
    expected, rng = [[np.asarray(x)] for x in plain.reset()["window"]], np.random.default_rng(0)
    got, ends = env.reset(), 0
    for step in range(14):
        if step:
            actions = rng.integers(4, size=3)
            now, _, dones, infos = plain.step(actions)
            got, _, _, others = env.step(actions)
            for row in range(3):
                if dones[row]:
                    ends += 1
                    last = others[row]["terminal_observation"]
                    final = np.asarray(infos[row]["terminal_observation"]["window"])
                    wanted = [*expected[row], final][-3:]
                    np.testing.assert_array_equal(np.asarray(last["window"])[-len(wanted) :], wanted)
                    assert np.asarray(last["recalled"]).sum() == len(wanted)
                    expected[row] = []
                expected[row].append(np.asarray(now["window"][row]))
        for row in range(3):
            wanted, seen = expected[row][-3:], np.asarray(got["window"][row])
            np.testing.assert_array_equal(seen[3 - len(wanted) :], wanted)
            assert not seen[: 3 - len(wanted)].any()
            real = [0] * (3 - len(wanted)) + [1] * len(wanted)
            np.testing.assert_array_equal(np.asarray(got["recalled"][row]), real)
    assert ends >= 6
    assert all(tuple(got[key].shape[1:]) == box.shape for key, box in env.observation_space.items())


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_before_the_episode_does_not_count_and_what_was_in_it_does(kind: Any) -> None:
    single = spaces.Dict(
        {
            "image": spaces.Box(0, 255, (3, 24, 24), np.uint8),
            "volume": spaces.Box(0, 255, (1, 16, 16, 16), np.uint8),
            "numbers": spaces.Box(-1, 1, (2,), np.float32),
        }
    )
    space = recalled_space(single, 4)
    torch.manual_seed(0)
    net = SequenceExtractor(space, kind, recall=4, features_dim=16, gated=kind == "attention").eval()
    space.seed(0)
    seen = {key: torch.as_tensor(np.stack([space[key].sample() for _ in range(3)])).float() for key in space}
    seen["recalled"] = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 1.0]])
    found = net(seen)
    changed = {key: value.clone() for key, value in seen.items()}
    for key in single:
        changed[key][0, :2] = 7
        changed[key][1, 0] = 0
    other = net(changed)
    assert found.shape == (3, 16)
    torch.testing.assert_close(found[[0, 2]], other[[0, 2]])
    assert not torch.allclose(found[1], other[1])
    found.sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "kind", "args"),
    [
        (DQN, "gru", REPLAY),
        (QRDQN, "attention", REPLAY),
        (PPO, "lstm", {**ROLLOUT, "batch_size": 8, "n_epochs": 1}),
        (A2C, "rnn", {}),
        (TRPO, "attention", {**ROLLOUT, "batch_size": 8, "cg_max_steps": 2}),
        (TRPO, "lstm", {**ROLLOUT, "batch_size": 8, "cg_max_steps": 2}),
        (MaskablePPO, "gru", {**ROLLOUT, "batch_size": 8, "n_epochs": 1}),
        (SAC, "attention", REPLAY),
        (TD3, "lstm", REPLAY),
        (TQC, "rnn", REPLAY),
    ],
)
def test_every_algorithm_learns_through_it(algorithm: Any, kind: str, args: dict[str, Any]) -> None:
    if algorithm in (SAC, TD3, TQC):
        env = make_vec_env(GLIMPSE, 2, seed=0, recall=2, control="continuous")
    else:
        env = make_vec_env(LANDMARK, 2, seed=0, recall=2, **HEART)
    policy = {**SMALL, "features_extractor_kwargs": {"kind": kind, "features_dim": 8}}
    model = algorithm("MultiInputPolicy", env, policy_kwargs=policy, seed=0, device="cpu", **args)
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    model.learn(24)
    moved = [
        key for key, x in model.policy.state_dict().items() if ".memory." in key and (x != before[key]).any()
    ]
    assert moved


def test_an_evaluated_agent_is_shown_the_windows_of_training() -> None:
    env: Any = make_vec_env(LANDMARK, 2, seed=0, recall=3, **HEART)
    policy = {**SMALL, "features_extractor_kwargs": {"kind": "gru", "features_dim": 8}}
    model = DQN("MultiInputPolicy", env, policy_kwargs=policy, seed=0, device="cpu", buffer_size=8)
    asked: list[Any] = []
    ordinary = model.predict

    def predict(observation: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(observation["recalled"])
        assert env.observation_space["window"].shape == observation["window"].shape[1:]
        return ordinary(observation, *args, **kwargs)

    model.predict = predict  # type: ignore[method-assign]
    agent = AgentPolicy(model)
    for _ in range(2):
        last_states(LANDMARK, agent, "val", 2, HEART)
    assert [float(x[0].sum()) for x in asked] == [1, 2, 3, 3, 3] * 2


def test_reports_are_rated_by_what_a_recurrent_policy_remembers() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 50), dtype=np.uint8)
    sample = ImageSample(pixels, boxes=np.array([[5.0, 5, 25, 30]]), labels=("cat",), name="0")
    env: Any = make_vec_env("visionrl/Detection-v0", 2, seed=0, data=[sample], split="all", window=36)
    sees = {"features_extractor_class": VisionExtractor, "features_extractor_kwargs": {"features_dim": 8}}
    model: Any = RecurrentPPO(
        RecurrentPolicy, env, policy_kwargs={**sees, "net_arch": [8]}, device="cpu", seed=0
    )
    agent, obs, state = AgentPolicy(model), env.reset(), None
    for step in range(3):
        actions = agent(obs, env.venv.task, env.venv.state)
        seen, begins = model.policy.obs_to_tensor(obs)[0], torch.full((2,), float(step == 0))
        before = model.policy.lstm_hidden_state_shape
        known = tuple(map(torch.as_tensor, state or [np.zeros((before[0], 2, before[2]), np.float32)] * 2))
        with torch.no_grad():
            wanted = model.policy.get_distribution(seen, known, begins)[0].distribution.logits[:, -1]
        assert agent.confidence is not None
        np.testing.assert_allclose(agent.confidence, wanted.numpy(), atol=1e-6)
        state = model.predict(obs, state=state, episode_start=np.full(2, step == 0), deterministic=True)[1]
        obs = env.step(actions)[0]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("critic", ["own", "shared", "none"])
def test_a_recurrent_policy_is_saved_with_its_cell(cell: str, critic: str, tmp_path: Path) -> None:
    env = make_vec_env(LANDMARK, 2, seed=0, **HEART)
    sees = {"features_extractor_class": VisionExtractor, "features_extractor_kwargs": {"features_dim": 8}}
    own = {"cell": cell, "lstm_hidden_size": 6, "n_lstm_layers": 2, "shared_lstm": critic == "shared"}
    policy: dict[str, Any] = {**sees, **own, "enable_critic_lstm": critic == "own", "net_arch": [8]}
    model = RecurrentPPO(
        RecurrentPolicy, env, n_steps=8, batch_size=8, n_epochs=1, policy_kwargs=policy, device="cpu", seed=0
    )
    layer: Any = model.policy.lstm_actor
    assert {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell] in type(layer).__mro__
    before = layer.weight_hh_l0.clone()
    model.learn(32)
    assert (layer.weight_hh_l0 != before).any()
    model.save(tmp_path / "agent.zip")
    model.policy.save(str(tmp_path / "policy.pt"))
    loaded = RecurrentPPO.load(tmp_path / "agent.zip", device="cpu")
    alone: Any = RecurrentPolicy.load(str(tmp_path / "policy.pt"), device="cpu")
    obs: Any = env.reset()
    memory: Any = (None, None, None)
    begins = np.ones(2, bool)
    for _ in range(3):
        found = [
            one.predict(obs, state=state, episode_start=begins, deterministic=True)
            for one, state in zip((model, loaded, alone), memory, strict=True)
        ]
        memory, begins = [state for _, state in found], np.zeros(2, bool)
        for actions, state in found[1:]:
            np.testing.assert_array_equal(actions, found[0][0])
            np.testing.assert_array_equal(state, found[0][1])
        obs = env.step(found[0][0])[0]
    assert np.abs(memory[0][0]).max() > 0


@pytest.mark.parametrize("layer", [torch.nn.LSTM, StatedGRU])
@pytest.mark.parametrize("later", [False, True])
def test_sequences_are_read_as_contrib_reads_them(layer: Any, later: bool) -> None:
    torch.manual_seed(0)
    net, features = layer(4, 6, num_layers=2), torch.randn(3 * 5, 4)
    states = (torch.randn(2, 3, 6), torch.randn(2, 3, 6))
    starts = torch.zeros(3, 5)
    starts[1, 0] = 1
    starts[2, 3] = float(later)
    args = (features, states, starts.flatten(), net)
    (found, after), (wanted, then) = (
        one._process_sequence(*args) for one in (RecurrentPolicy, RecurrentMultiInputActorCriticPolicy)
    )
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(after[0], then[0])
    if later:
        return
    calls: list[int] = []
    net.register_forward_pre_hook(lambda _, given: calls.append(len(given[0])))
    RecurrentPolicy._process_sequence(*args)
    assert calls == [5]


def test_there_is_no_other_cell() -> None:
    with pytest.raises(ValueError, match="cell must be one of"):
        RecurrentPPO(RecurrentPolicy, make_vec_env(LANDMARK, 2, **HEART), policy_kwargs={"cell": "mamba"})


def tiny(algo: str, out: Path, **changes: Any) -> TrainConfig:
    """A run of a second or two."""
    sizes = {"timesteps": 96, "num_envs": 4, "eval_every": 48, "eval_episodes": 2, "test_episodes": 2}
    task = {"env": LANDMARK, "env_args": ("window=24", "max_episode_steps=12", "target=heart")}
    plain = {"device": "cpu", "checkpoint_every": 32, "recipe": "none", "out": str(out), "features_dim": 16}
    args: dict[str, tuple[str, ...]] = {
        "recurrentppo": ("n_steps=8", "batch_size=16", "lstm_hidden_size=8"),
        "dqn": ("learning_starts=32", "batch_size=8", "buffer_size=64", "train_freq=2"),
        "ppo": ("n_steps=8", "batch_size=16"),
    }
    given: dict[str, Any] = sizes | task | plain | {"algo_args": args[algo]} | changes
    return TrainConfig(algo=algo, **given)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algo", "tools"),
    [
        ("dqn", {"memory": "gru", "recall": 3, "clone_steps": 32, "demo_steps": 16}),
        ("dqn", {"memory": "lstm", "recall": 3, "clone_steps": 32, "rerender": True}),
        ("dqn", {"memory": "rnn", "recall": 3, "cache": True, "frozen": True}),
        ("ppo", {"memory": "attention", "clone_steps": 32}),
        ("ppo", {"memory": "gru", "clone_steps": 32, "cache": True, "frozen": True}),
        ("recurrentppo", {"memory": "gru", "cache": True, "frozen": True}),
        ("recurrentppo", {"memory": "gru", "clone_steps": 32}),
    ],
)
def test_a_stopped_run_with_memory_goes_on_exactly_and_its_agent_loads(
    algo: str, tools: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tiny(algo, tmp_path, name="whole", **tools))
    ordinary = RunCallback._on_step

    def press(self: RunCallback) -> bool:
        if self.model.num_timesteps == 52:
            signal.raise_signal(signal.SIGINT)
        return ordinary(self)

    monkeypatch.setattr(RunCallback, "_on_step", press)
    with pytest.raises(SystemExit):
        train(tiny(algo, tmp_path, name="cut", **tools))
    monkeypatch.undo()
    cut = train(tiny(algo, tmp_path, name="cut", resume=True, **tools))
    one, other = (torch.load(run / "policy.pt", weights_only=True) for run in (whole, cut))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    model, config = load_model(whole, "cpu")
    if algo == "recurrentppo":
        assert isinstance(model.policy.lstm_actor, torch.nn.GRU)
    else:
        assert model.observation_space["recalled"].shape == (tools.get("recall", 4),)
    assert config.memory == tools["memory"]


def test_the_name_of_a_run_says_its_memory(tmp_path: Path) -> None:
    assert tiny("ppo", tmp_path, memory="gru").folder.name == "LandmarkLocalization-v0-ppo-small-gru4-s0"
    assert resolve(tiny("ppo", tmp_path, memory="gru", recall=8)).recall == 8


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"recall": 4}, "recall must be left out without memory, got 4"),
        ({"memory": "gru", "recall": 1}, r"recall must be a whole number"),
        ({"memory": "gru", "scorer_steps": 9}, "memory must be none with scorer_steps"),
        ({"memory": "gru", "communication": "mean"}, "memory must be none with communication"),
        ({"memory": "gru", "algo": "trpo"}, "memory must be attention for trpo unless device is cpu"),
        ({"memory": "matching", "algo": "recurrentppo"}, "memory must be lstm, gru or rnn for recurrentppo"),
        ({"memory": "attention", "algo": "recurrentppo"}, "memory must be lstm, gru or rnn for recurrentppo"),
        ({"memory": "gru", "recall": 4, "algo": "recurrentppo"}, "recall must be left out for recurrentppo"),
        ({"memory": "mamba"}, "memory must be one of"),
    ],
)
def test_a_memory_that_does_not_fit_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**wrong)


def test_parts_that_read_single_observations_refuse_windows() -> None:
    env = make_vec_env(LANDMARK, 2, recall=2, **HEART)
    plain = make_vec_env(LANDMARK, 2, **HEART)
    with pytest.raises(ValueError, match="give recall to CachedFeatures"):
        CachedFeatures(env, "small")
    with pytest.raises(ValueError, match="give the environment recall"):
        SequenceExtractor(plain.observation_space)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="recall must be 2, that of the environment, got 3"):
        SequenceExtractor(env.observation_space, recall=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="features_dim must be a multiple of 4 for attention, got 6"):
        SequenceExtractor(env.observation_space, "attention", features_dim=6)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="recall must be >= 2, got 0"):
        make_vec_env(LANDMARK, 2, recall=0, **HEART)


def test_the_memory_of_a_task_is_its_own_argument(tmp_path: Path) -> None:
    task: dict[str, Any] = {"env": GLIMPSE, "env_args": ("memory=false", "scales=[1]"), "recipe": "none"}
    config = resolve(TrainConfig(**task, memory="gru", algo="ppo"))
    assert config.env_kwargs["memory"] is False and config.memory == "gru"
    with pytest.raises(ValueError, match="env_args must not have memory, an option of its own: --memory"):
        TrainConfig(env=LANDMARK, env_args=("memory=false",))
