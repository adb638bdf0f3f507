"""Callbacks of Stable-Baselines3 in a run of one's own, and its evaluation with masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.callbacks import MaskableEvalCallback
from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate_masked
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3.common.callbacks import (
    BaseCallback,
    EvalCallback,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from visionrl.agents import TrainConfig, load_model, make_vec_env, train
from visionrl.agents.training.run_files import read_json
from visionrl.datasets import ImageSample

LANDMARK, DETECTION = "visionrl/LandmarkLocalization-v0", "visionrl/Detection-v0"
HEART: dict[str, Any] = {"window": 24, "target": "heart", "max_episode_steps": 8}


def tiny(out: Path, **changes: Any) -> TrainConfig:
    """A run of a second or two."""
    sizes = {"timesteps": 96, "num_envs": 4, "eval_every": 96, "eval_episodes": 2, "test_episodes": 2}
    task = {"env": LANDMARK, "env_args": ("window=24", "max_episode_steps=8", "target=heart"), "algo": "ppo"}
    args = {"algo_args": ("n_steps=8", "batch_size=16", "n_epochs=1"), "features_dim": 16}
    given: dict[str, Any] = (
        sizes | task | args | {"device": "cpu", "recipe": "none", "out": str(out)} | changes
    )
    return TrainConfig(**given)


class Noting(BaseCallback):
    """Counts what it is told, and logs a number."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def _on_training_start(self) -> None:
        self.told.append("start")

    def _on_step(self) -> bool:
        self.logger.record("mine/steps", self.num_timesteps)
        return True

    def _on_rollout_end(self) -> None:
        self.told.append("rollout")

    def _on_training_end(self) -> None:
        self.told.append("end")


def scalars(run: Path) -> dict[str, list[float]]:
    """Numbers by name in a run's TensorBoard files."""
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return {tag: [one.value for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.slow
def test_callbacks_take_part_in_the_learning_and_not_in_the_cloning(tmp_path: Path) -> None:
    noting = Noting()
    watch = EvalCallback(
        make_vec_env(LANDMARK, 2, seed=1, split="val", **HEART),
        n_eval_episodes=4,
        eval_freq=12,
        best_model_save_path=str(tmp_path / "best"),
        verbose=0,
    )
    run = train(tiny(tmp_path, clone_steps=32), callbacks=[noting, watch])
    assert noting.told == ["start", *["rollout"] * 3, "end"]
    assert (
        watch.n_calls == 24 and len(watch.evaluations_timesteps) == 0 and np.isfinite(watch.best_mean_reward)
    )
    assert (tmp_path / "best" / "best_model.zip").is_file()
    logged = scalars(run)
    assert logged["mine/steps"][-1] == 96 and len(logged["eval/mean_reward"]) >= 2
    assert "val/distance_px" in logged


@pytest.mark.slow
def test_one_that_stops_the_learning_ends_the_run_and_resume_goes_on(tmp_path: Path) -> None:
    run = train(tiny(tmp_path), callbacks=[StopTrainingOnMaxEpisodes(max_episodes=1)])
    stopped = read_json(run / "metrics.json")["timesteps"]
    assert 0 < stopped < 96
    train(tiny(tmp_path, resume=True))
    assert read_json(run / "metrics.json")["timesteps"] == 96


def test_what_is_no_callback_is_refused(tmp_path: Path) -> None:
    wrong: Any = [lambda *_: True]
    with pytest.raises(
        ValueError, match="callbacks must be of Stable-Baselines3's BaseCallback, got function"
    ):
        train(tiny(tmp_path), callbacks=wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_weights_and_biases_follow_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    integration = pytest.importorskip("wandb.integration.sb3")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with wandb.init(mode="offline", dir=str(tmp_path), project="x"):
        run = train(tiny(tmp_path), callbacks=[integration.WandbCallback()])
    assert (run / "metrics.json").is_file() and list(tmp_path.glob("wandb/offline-run-*"))


@pytest.mark.slow
def test_evaluation_of_stable_baselines_takes_the_environment(tmp_path: Path) -> None:
    run = train(tiny(tmp_path, timesteps=32))
    model, _ = load_model(run, "cpu")
    env = make_vec_env(LANDMARK, 3, seed=0, **HEART)
    found: Any = evaluate_policy(model, env, n_eval_episodes=6, return_episode_rewards=True)
    rewards, lengths = found
    assert len(rewards) == len(lengths) == 6 and max(lengths) <= 8


@pytest.fixture(scope="module")
def tiny_detection() -> dict[str, Any]:
    """Arguments of a small detection task that allows no report in a search's first three steps."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 50), dtype=np.uint8)
    sample = ImageSample(pixels, boxes=np.array([[5.0, 5, 25, 30]]), labels=("cat",), name="0")
    return {"data": [sample], "window": 36, "trigger_after": 3, "max_episode_steps": 12, "split": "all"}


@pytest.mark.parametrize("kind", ["rows", "dummy"])
def test_masked_evaluation_never_takes_a_forbidden_action(kind: str, tiny_detection: dict[str, Any]) -> None:
    rows: Any = make_vec_env(DETECTION, 2, seed=0, **tiny_detection)
    dummy: Any = DummyVecEnv([lambda: Monitor(gym.make(DETECTION, **tiny_detection)) for _ in range(2)])
    env = rows if kind == "rows" else dummy
    policy = {"net_arch": [16]}
    model = MaskablePPO(
        "MultiInputPolicy", env, n_steps=8, batch_size=16, n_epochs=1, policy_kwargs=policy, device="cpu"
    )
    taken: list[bool] = []
    ordinary = env.step

    def step(actions: np.ndarray) -> Any:
        masks = get_action_masks(env)
        assert masks.shape == (2, 9)
        taken.extend(masks[np.arange(2), actions])
        return ordinary(actions)

    env.step = step
    watch = MaskableEvalCallback(env, n_eval_episodes=2, eval_freq=8, verbose=0, warn=False)
    model.learn(32, callback=watch)
    assert np.isfinite(watch.last_mean_reward)
    mean, spread = evaluate_masked(model, env, n_eval_episodes=4, deterministic=False)
    assert np.isfinite([mean, spread]).all() and len(taken) > 60 and all(taken)
