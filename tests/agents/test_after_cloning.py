"""Learning after cloning: the warm-up, the divergence from the clone, and what takes the clone's place."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from visionrl.agents import TrainConfig, train
from visionrl.agents.evaluation.episodes import evaluate_policy, prepare
from visionrl.agents.evaluation.paired import Score, paired_difference
from visionrl.agents.evaluation.policies import RandomPolicy, expert_policy
from visionrl.agents.imitation.cloning import clone
from visionrl.agents.networks.model_io import copy_policy
from visionrl.agents.training.after_cloning import AfterCloning, divergence
from visionrl.agents.training.callback import RunCallback
from visionrl.agents.training.config import resolve
from visionrl.agents.training.models import build_model, make_training_env

GLIMPSE = "visionrl/GlimpseClassification-v0"
ON = ("n_steps=8", "batch_size=32", "n_epochs=4", "learning_rate=0.01")
OFF = ("learning_starts=32", "batch_size=16", "buffer_size=256", "train_freq=2", "learning_rate=0.01")
SIZES = {
    "ppo": ON,
    "maskableppo": ON,
    "a2c": ("n_steps=8", "learning_rate=0.01"),
    "dqn": OFF,
    "qrdqn": OFF,
    "sac": (*OFF[:-1], "learning_rate=0.001"),
    "recurrentppo": ON,
}


def config_of(algo: str = "ppo", **changes: Any) -> TrainConfig:
    """A run of seconds, in which the policy would move far."""
    env = ("retina=8", "scales=[4]", "mosaic_side=8", "glimpses=3")
    env = (*env, "control=continuous") if algo == "sac" else env
    sizes: dict[str, Any] = {"timesteps": 256, "clone_steps": 64, "num_envs": 4, "eval_episodes": 4}
    sizes |= {"eval_every": 128, "test_episodes": 4, "algo_args": SIZES[algo], "env_args": env}
    return TrainConfig(env=GLIMPSE, algo=algo, device="cpu", recipe="none", **(sizes | changes))


def learnt(config: TrainConfig) -> tuple[dict[str, torch.Tensor], Any, Any]:
    """Parameters before learning, the model after it, and observations."""
    config = resolve(config)
    env = make_training_env(config)
    model = build_model(config, env)
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    sizes = config.clone_kl or 0.0, config.clone_kl_end or 0.0, config.value_warmup or 0
    model.learn(config.timesteps or 0, callback=AfterCloning(lambda: before, *sizes))
    seen = model.policy.obs_to_tensor(env.reset())[0]
    return before, model, seen


def distance(config: TrainConfig) -> float:
    """Divergence from the policy before learning."""
    before, model, seen = learnt(config)
    reference = build_model(resolve(config), model.get_env()).policy
    reference.load_state_dict(before)
    with torch.no_grad():
        return float(divergence(model.policy, reference, seen))


def moved(before: dict[str, torch.Tensor], model: Any) -> set[str]:
    """Names of the parameters that have changed."""
    return {key for key, value in model.policy.state_dict().items() if not torch.equal(value, before[key])}


@pytest.mark.parametrize("algo", ["ppo", "a2c", "maskableppo"])
def test_the_critic_alone_learns_during_the_warm_up(algo: str) -> None:
    before, model, _ = learnt(config_of(algo, value_warmup=256))
    changed = moved(before, model)
    assert changed and all("value_net" in name for name in changed)
    before, model, _ = learnt(config_of(algo, value_warmup=128))
    assert any("action_net" in name for name in moved(before, model))


def test_the_actor_of_sac_stays_during_the_warm_up() -> None:
    before, model, _ = learnt(config_of("sac", value_warmup=256))
    changed = moved(before, model)
    assert changed and not any(name.startswith("actor.") for name in changed)


def test_a_replay_buffer_is_filled_by_the_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One action of a policy that always takes the same, where chance would take several."""
    for warmup, kinds in ((128, 1), (0, 2)):
        given = (*OFF, "exploration_final_eps=0.0", "exploration_initial_eps=0.0")
        config = resolve(config_of("dqn", value_warmup=warmup, timesteps=32, algo_args=given))
        model = build_model(config, make_training_env(config))
        monkeypatch.setattr(model.q_net, "_predict", lambda seen, deterministic=True: torch.full((4,), 7))
        model.learn(32)
        actions = np.unique(model.replay_buffer.actions[: model.replay_buffer.pos])
        assert min(len(actions), 2) == kinds and (warmup == 0 or actions[0] == 7)
        assert model.learning_starts == (warmup or 32)


@pytest.mark.parametrize("algo", ["ppo", "a2c", "maskableppo", "dqn", "qrdqn", "sac"])
def test_a_heavy_divergence_holds_the_policy_at_its_clone(algo: str) -> None:
    free, held = (distance(config_of(algo, clone_kl=kl)) for kl in (0.0, 100.0))
    assert free > 0 and held < free / 2


def test_the_weight_of_the_divergence_falls_to_the_share_that_is_left() -> None:
    """At the end of a run half of its weight is left: the gradient is half of that at the beginning."""
    config = resolve(
        config_of("ppo", timesteps=32, algo_args=("n_steps=8", "batch_size=32", "learning_rate=1e-12"))
    )
    model = build_model(config, make_training_env(config))
    start = {key: value + 0.1 for key, value in model.policy.state_dict().items()}
    callback = AfterCloning(lambda: start, 1.0, 0.5, 0)
    model.learn(32, callback=callback)
    sizes = []
    for left in (1.0, 0.0):
        model._current_progress_remaining = left
        model.policy.zero_grad()
        np.random.seed(0)  # noqa: NPY002 (draw_observations draws from it, as SB3 does)
        callback.change_gradients()
        sizes.append(float(model.policy.action_net.weight.grad.norm()))
    assert sizes[0] > 0 and sizes[1] == pytest.approx(sizes[0] / 2, rel=1e-4)


def test_the_divergence_is_zero_from_itself_and_not_from_others() -> None:
    for algo in ("ppo", "dqn", "sac"):
        config = resolve(config_of(algo))
        env = make_training_env(config)
        first, second = (
            build_model(TrainConfig(**{**config.to_dict(), "seed": k}), env).policy for k in (0, 1)
        )
        seen = first.obs_to_tensor(env.reset())[0]
        with torch.no_grad():
            assert float(divergence(first, first, seen)) == pytest.approx(0, abs=1e-6)
            assert float(divergence(first, second, seen)) > 1e-6


def test_a_gain_has_the_sign_of_what_is_better() -> None:
    for env_id, kwargs in (
        (GLIMPSE, {"memory": False}),
        ("visionrl/LandmarkLocalization-v0", {"preset": "cpu", "max_episode_steps": 30}),
        ("visionrl/Detection-v0", {"data": "coins", "window": 24, "max_episode_steps": 40}),
    ):
        plan = prepare(env_id, "test", 6, 0, 6, kwargs)
        metric = plan.task.primary_metric[0]
        low, high = (Score.of(evaluate_policy(plan, one), metric) for one in (RandomPolicy(0), expert_policy))
        up, down = paired_difference(plan, low, high), paired_difference(plan, high, low)
        assert up.value > 0 and down.value == pytest.approx(-up.value)
        assert paired_difference(plan, high, high).value == 0
        again = Score.from_tensors(high.to_tensors())
        assert paired_difference(plan, high, again).value == 0


def test_a_clone_stays_without_a_gain(tmp_path: Path) -> None:
    """With a rate of nearly nothing the agent is its clone."""
    still = config_of(algo_args=("n_steps=8", "batch_size=32", "learning_rate=1e-12"), out=str(tmp_path))
    run = train(still)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["validation"]["timesteps"] == 0 and metrics["validation"]["gain"] == 0
    assert "clone" not in {row["name"] for row in metrics["test"]["rows"]}


def test_an_agent_of_sure_gain_takes_the_clones_place_and_is_compared_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from visionrl.agents.training import callback as module

    def surely(plan: Any, before: Score, after: Score) -> Any:
        found = paired_difference(plan, before, after)
        return type(found)(found.value, found.low + 10, found.high + 10)

    monkeypatch.setattr(module, "paired_difference", surely)
    monkeypatch.setattr(module.RunCallback, "_better", lambda self, new, old: True)
    run = train(config_of(out=str(tmp_path)))
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["validation"]["timesteps"] == 256
    assert {"clone", "PPO"} <= {row["name"] for row in metrics["test"]["rows"]}
    assert any(note.startswith("PPO over clone: ") for note in metrics["test"]["notes"])


@pytest.mark.parametrize(
    ("changes", "kl"),
    [
        ({"algo": "ppo", "clone_steps": 64}, 0.1),
        ({"algo": "dqn", "clone_steps": 64, "clone_kl": 0.0}, 0.0),
        ({"algo": "dqn", "clone_steps": 0}, 0.0),
        ({"algo": "trpo", "clone_steps": 64}, 0.0),
        ({"algo": "recurrentppo", "clone_steps": 64}, 0.0),
    ],
)
def test_a_run_that_clones_stays_near_its_clone_by_default(changes: dict[str, Any], kl: float) -> None:
    found = resolve(TrainConfig(env=GLIMPSE, recipe="none", **changes))
    assert (found.clone_kl, found.clone_kl_end, found.value_warmup) == (kl, 1.0, 0)
    assert resolve(found) == found


def test_a_recipe_may_say_how_near_to_the_clone(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("[dqn]\nclone_steps = 64\n[dqn.cloned]\nclone_kl = 0.25\nvalue_warmup = 32\n")
    found = resolve(TrainConfig(env=GLIMPSE, recipe=str(path), algo="dqn"))
    assert (found.clone_kl, found.value_warmup) == (0.25, 32)
    without = resolve(TrainConfig(env=GLIMPSE, recipe=str(path), algo="dqn", clone_steps=0))
    assert (without.clone_kl, without.value_warmup) == (0.0, 0)


@pytest.mark.parametrize("algo", ["ppo", "dqn"])
def test_a_stopped_run_with_a_clone_goes_on_exactly(
    algo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = {"clone_kl": 0.5, "value_warmup": 64, "checkpoint_every": 32}
    whole, parted = (config_of(algo, out=str(tmp_path / name), **tools) for name in ("whole", "parted"))
    train(whole)
    ordinary = RunCallback._on_step

    def step(self: RunCallback) -> bool:
        if self.model.num_timesteps == 160:
            signal.raise_signal(signal.SIGINT)
        return ordinary(self)

    with monkeypatch.context() as patch:
        patch.setattr(RunCallback, "_on_step", step)
        with pytest.raises(SystemExit):
            train(parted)
    train(replace(parted, resume=True))
    found = [max((one.folder / "checkpoint").iterdir()) / "tensors.pt" for one in (whole, parted)]
    before, after = (torch.load(path, weights_only=True) for path in found)
    for one, other in (
        (before["policy"], after["policy"]),
        (before["extra"]["clone"], after["extra"]["clone"]),
    ):
        assert all(torch.equal(one[key], other[key]) for key in one)
    curves = [(one.folder / "curve.csv").read_text() for one in (whole, parted)]
    assert curves[0] == curves[1] and "gain_low" in curves[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clone_kl": -1.0}, "clone_kl must be"),
        ({"clone_kl": 1.0, "clone_steps": 0}, "clone_kl must be 0 without clone_steps"),
        ({"value_warmup": 8, "clone_steps": 0}, "value_warmup must be 0 without clone_steps"),
        ({"algo": "trpo", "clone_kl": 1.0, "algo_args": ()}, "clone_kl must be 0 for trpo"),
        ({"algo": "recurrentppo", "value_warmup": 8}, "value_warmup must be 0 for recurrentppo"),
    ],
)
def test_tools_that_do_not_fit_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(env=GLIMPSE, **wrong)


@pytest.mark.parametrize("algo", ["ppo", "maskableppo", "dqn", "sac", "recurrentppo"])
def test_a_clone_is_copied_although_its_loss_left_a_graph(algo: str) -> None:
    config = resolve(config_of(algo))
    model = build_model(config, make_training_env(config))
    clone(model, 32)
    copied = copy_policy(model.policy)
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    for own in copied.parameters():
        own.data.add_(1.0)
    assert all(torch.equal(before[key], value) for key, value in model.policy.state_dict().items())
    assert set(copied.state_dict()) == set(before)


def test_a_policy_is_copied_although_its_last_loss_left_a_graph() -> None:
    config = resolve(config_of(timesteps=64, clone_kl=0.1))
    env = make_training_env(config)
    model = build_model(config, env)
    seen = model.policy.obs_to_tensor(env.reset())[0]
    model.policy.evaluate_actions(seen, torch.zeros(4, dtype=torch.long))
    assert model.policy.action_dist.distribution.logits.requires_grad
    clone = {key: value.clone() for key, value in model.policy.state_dict().items()}
    watch = AfterCloning(lambda: clone, 0.1, 0.1, 0)
    watch.init_callback(model)
    watch.on_training_start({}, {})
    with torch.no_grad():
        assert float(divergence(model.policy, watch.reference, seen, None)) == pytest.approx(0, abs=1e-6)
