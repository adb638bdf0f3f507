from __future__ import annotations

import csv
import inspect
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO

import visionrl
from visionrl.agents import TrainConfig, load_model, make_vec_env, train
from visionrl.agents.policies.candidates import POLICIES, offers_candidates
from visionrl.agents.training.callback import RunCallback
from visionrl.agents.training.config import describe_task, load_recipe, resolve
from visionrl.agents.training.models import ALGORITHMS, FITS, build_model, fit_buffer
from visionrl.agents.training.pairs import parse_args
from visionrl.agents.training.run_files import space_from_json, space_to_json
from visionrl.core import TASKS
from visionrl.core.capabilities import pixels_of

LANDMARK = "visionrl/LandmarkLocalization-v0"
ARGS = {
    "dqn": (
        "learning_starts=64",
        "batch_size=16",
        "buffer_size=320",
        "target_update_interval=100",
        "train_freq=2",
    ),
    "ppo": ("n_steps=16", "batch_size=32", "n_epochs=2"),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, write_spots: Any) -> str:
    """A user's own data: 12 small pictures with a bright spot, and where it is."""
    return f"csv:{write_spots(tmp_path_factory.mktemp('photos'), count=12, side=64)}"


def tiny(out: Path, data: str, algo: str = "dqn", **changes: Any) -> TrainConfig:
    """A run of a second; its replay buffer is full, and begins anew, before the end."""
    sizes: dict[str, Any] = {"timesteps": 640, "num_envs": 4, "eval_every": 250, "checkpoint_every": 160}
    sizes |= {"eval_episodes": 3, "test_episodes": 3, "env_args": ("max_episode_steps=40",), "device": "cpu"}
    sizes |= {"algo_args": ARGS[algo], "split_ratios": (0.5, 0.25, 0.25)}
    return TrainConfig(env=LANDMARK, algo=algo, data=data, out=str(out), **(sizes | changes))


def weights(run: Path) -> list[torch.Tensor]:
    """All that the run's last checkpoint holds of networks and optimizers, and the best policy."""
    last = max((run / "checkpoint").iterdir())
    tensors = torch.load(last / "tensors.pt", weights_only=True)
    found = [*tensors["policy"].values(), *torch.load(run / "policy.pt", weights_only=True).values()]
    found += tensors["variables"].values()
    for optimizer in (value for key, value in tensors.items() if key.endswith("optimizer")):
        for state in optimizer["state"].values():
            found += [value for value in state.values() if isinstance(value, torch.Tensor)]
    return found


def read_curve(run: Path) -> list[dict[str, str]]:
    with (run / "curve.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module", params=["dqn", "ppo"])
def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, photos: str
) -> TrainConfig:
    """The config of a finished run, trained in one go."""
    config = tiny(tmp_path_factory.mktemp("whole"), photos, request.param)
    train(config)
    return config


def test_the_runs_folder(whole: TrainConfig) -> None:
    run = whole.folder
    assert run.name == f"LandmarkLocalization-v0-cpu-{whole.algo}-small-s0"
    found = {path.name for path in run.iterdir()}
    assert found == {
        *(
            "agent.zip",
            "policy.pt",
            "config.json",
            "splits.json",
            "metrics.json",
            "curve.csv",
            "curve.png",
            "episode.gif",
            "ends.png",
        ),
        *("tensorboard", "checkpoint"),
    }
    assert len(list((run / "tensorboard").iterdir())) == 1 and len(list((run / "checkpoint").iterdir())) == 1
    described = json.loads((run / "config.json").read_text())
    assert described["versions"]["torch"] == version("torch") and described["command"]
    metrics = json.loads((run / "metrics.json").read_text())
    names = [row["name"] for row in metrics["test"]["rows"]]
    assert names[0] == "random" and names[-2:] == [whole.algo.upper(), "expert"] and len(names) > 3
    assert metrics["test"]["split"] == "test" and metrics["timesteps"] >= 640


def test_the_best_agent_by_validation_is_kept(whole: TrainConfig) -> None:
    rows = read_curve(whole.folder)
    assert [int(row["timesteps"]) for row in rows] == [256, {"dqn": 504, "ppo": 512}[whole.algo], 640]
    best = json.loads((whole.folder / "metrics.json").read_text())["validation"]
    assert best["distance_px"] == min(float(row["distance_px"]) for row in rows)


def test_load_agent_acts_like_the_zip(whole: TrainConfig) -> None:
    model, config = load_model(whole.folder, device="cpu")
    asked = resolve(whole)
    assert config == replace(asked, algo_args=config.algo_args, env_args=config.env_args)
    assert config.algo_kwargs == asked.algo_kwargs
    assert config.env_kwargs == {**asked.env_kwargs, "channels": 3, "target": ["spot"]}
    zipped = {"dqn": DQN, "ppo": PPO}[whole.algo].load(whole.folder / "agent.zip", device="cpu")
    env = make_vec_env(LANDMARK, 6, seed=3, split="val", **config.env_kwargs)
    obs = env.reset()
    for _ in range(10):
        actions = model.predict(obs, deterministic=True)[0]
        np.testing.assert_array_equal(actions, zipped.predict(obs, deterministic=True)[0])
        obs = env.step(actions)[0]


@pytest.mark.slow
def test_the_same_config_gives_the_same_agent(whole: TrainConfig, tmp_path: Path) -> None:
    saved = json.loads((whole.folder / "config.json").read_text())["config"]
    again = train(TrainConfig.from_dict({**saved, "out": str(tmp_path)}))
    assert all(map(torch.equal, weights(again), weights(whole.folder)))


KILLED = """
import json, os, signal, sys
from visionrl.agents import TrainConfig, train
from visionrl.agents.training.callback import RunCallback

def step(self, ordinary=RunCallback._on_step):
    if self.model.num_timesteps == 300:
        os.kill(os.getpid(), signal.SIGKILL)
    return ordinary(self)

RunCallback._on_step = step
train(TrainConfig.from_dict(json.loads(sys.argv[1])))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_exactly(whole: TrainConfig, tmp_path: Path) -> None:
    config = replace(whole, out=str(tmp_path))
    env = {**os.environ, "PYTHONPATH": str(Path(visionrl.__file__).parents[1])}
    command = [sys.executable, "-c", KILLED, json.dumps(config.to_dict())]
    assert subprocess.run(command, env=env, capture_output=True).returncode == -signal.SIGKILL
    assert not (config.folder / "agent.zip").exists()
    first = int(max((config.folder / "checkpoint").iterdir()).name)
    assert 0 < first < 300
    run = train(replace(config, resume=True))
    assert all(map(torch.equal, weights(run), weights(whole.folder)))
    assert (run / "curve.csv").read_text() == (whole.folder / "curve.csv").read_text()


def test_a_stopped_run_goes_on_exactly(
    whole: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    config = replace(whole, out=str(tmp_path))
    number, code = {"dqn": (signal.SIGINT, 130), "ppo": (signal.SIGTERM, 143)}[whole.algo]
    ordinary, handler = RunCallback._on_step, signal.getsignal(number)

    def step(self: RunCallback) -> bool:
        if self.model.num_timesteps == 404:
            signal.raise_signal(number)
        return ordinary(self)

    with monkeypatch.context() as patch:
        patch.setattr(RunCallback, "_on_step", step)
        with pytest.raises(SystemExit) as stopped:
            train(config)
    assert stopped.value.code == code and signal.getsignal(number) is handler
    assert "--resume" in capsys.readouterr().out
    assert int(max((config.folder / "checkpoint").iterdir()).name) >= 404
    assert all(map(torch.equal, weights(train(replace(config, resume=True))), weights(whole.folder)))


@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_run_stopped_within_an_evaluation_heeds_it_and_goes_on_exactly(
    whole: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    config, calls = replace(whole, out=str(tmp_path)), list[int]()
    wanted = int(read_curve(whole.folder)[which]["timesteps"])

    def go_on(self: RunCallback, ordinary: Any = RunCallback.go_on) -> None:
        ordinary(self)
        calls.append(self.model.num_timesteps)
        if calls.count(wanted) == 2:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RunCallback, "go_on", go_on)
        with pytest.raises(SystemExit) as stopped:
            train(config)
    assert stopped.value.code == 143
    assert calls[-2:] == [wanted] * 2 and calls.count(wanted) == 2, (
        "no step of an evaluation after the signal"
    )
    run = train(replace(config, resume=True))
    assert all(map(torch.equal, weights(run), weights(whole.folder)))
    assert (run / "curve.csv").read_text() == (whole.folder / "curve.csv").read_text()


def test_a_run_is_never_overwritten(whole: TrainConfig) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*")}
    with pytest.raises(ValueError, match="--resume"):
        train(whole)
    train(replace(whole, resume=True))  # finished: nothing to do
    assert {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("change", "field"),
    [({"num_envs": 8}, "num_envs"), ({"seed": 1}, "seed"), ({"env_args": ("window=40",)}, "env_args")],
)
def test_another_config_is_not_resumed(whole: TrainConfig, change: dict, field: str) -> None:
    config = replace(whole, name=whole.folder.name, resume=True, timesteps=700, **change)
    with pytest.raises(ValueError, match=f"^{field} must be as in the run"):
        train(config)


@pytest.mark.slow
def test_more_timesteps_continue_a_finished_run(tmp_path: Path, photos: str) -> None:
    config = tiny(tmp_path, photos, timesteps=128, eval_every=None, eval_episodes=2, test_episodes=2)
    train(config)
    run = train(replace(config, timesteps=256, resume=True))
    assert json.loads((run / "metrics.json").read_text())["timesteps"] == 256
    steps = [int(row["timesteps"]) for row in read_curve(run)]
    assert steps[0] < 128 < steps[-1] == 256 and sorted(set(steps)) == steps
    with pytest.raises(ValueError, match="timesteps must be >= 256"):
        train(replace(config, timesteps=200, seed=0, resume=True, name=run.name))


def test_nothing_to_resume(tmp_path: Path, photos: str) -> None:
    with pytest.raises(ValueError, match="resume needs a run"):
        train(tiny(tmp_path, photos, resume=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation"
)  # of tensors, in the buffers of Stable-Baselines3
def test_the_engines_arguments_are_not_the_tasks(tmp_path: Path, photos: str) -> None:
    args = ("max_episode_steps=40", "backend=torch")
    run = train(tiny(tmp_path, photos, timesteps=64, eval_every=64, env_args=args))
    assert (run / "metrics.json").is_file() and load_model(run, "cpu")[1].env_kwargs["backend"] == "torch"


def test_bad_data_leave_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        train(tiny(tmp_path, f"pts:{tmp_path}/nowhere"))
    assert not list(tmp_path.iterdir())


def test_parse_args() -> None:
    pairs = (
        "window=45",
        "shown_scales=stage",
        "step_sizes=[9,3]",
        "clip=null",
        "margin=0.1",
        'target="heart"',
    )
    parsed = parse_args(pairs)
    values = {
        "window": 45,
        "shown_scales": "stage",
        "step_sizes": [9, 3],
        "clip": None,
        "margin": 0.1,
        "target": "heart",
    }
    assert parsed == values
    for bad in ("window", "=3", "two words=3"):
        with pytest.raises(ValueError, match="name=value"):
            parse_args([bad])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"algo": "reinforce"}, "algo must be one of"),
        ({"env": "visionrl/Nothing-v0"}, "env must be one of"),
        ({"num_envs": 0}, r"num_envs must be a whole number in \[1, 65536\] or None, got 0"),
        ({"threads": True}, r"threads must be a whole number in \[1, 1024\], got True"),
        ({"preset": "caicedo2015"}, "preset must be one of none, alansary2019, .* for visionrl/LandmarkLoc"),
        ({"fusion": "sum"}, "fusion must be one of 'concat', 'film' or None, got 'sum'"),
        ({"env_args": ("window",)}, "name=value"),
    ],
)
def test_bad_configs(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**wrong)
    with pytest.raises(ValueError, match="got colour"):
        TrainConfig.from_dict({"colour": 3})


def test_recipes_may_learn_otherwise_after_cloning() -> None:
    def chosen(**given: Any) -> tuple[Any, ...]:
        run = resolve(TrainConfig(env="visionrl/Detection-v0", **given))
        return run.clone_steps, run.clone_rate, run.timesteps, run.algo_kwargs["learning_rate"]

    assert chosen() == (180_000, 1e-3, 20_000, "linear 1e-4")
    assert chosen(timesteps=500) == (500, 1e-3, 500, "linear 1e-4")
    by_reward_alone = (0, None, 40_000, "linear 1e-3")
    assert chosen(clone_steps=0) == chosen(preset="caicedo2015") == by_reward_alone


def test_what_is_given_wins_over_the_recipe() -> None:
    table = load_recipe(LANDMARK)
    plain = resolve(TrainConfig(env=LANDMARK))
    assert plain.num_envs == table["dqn"]["num_envs"] and plain.env_kwargs == {"preset": "cpu"}
    assert plain.algo_kwargs["gamma"] == table["dqn"]["gamma"] and "num_envs" not in plain.algo_kwargs
    given = resolve(TrainConfig(env=LANDMARK, num_envs=3, env_args=("window=40",), algo_args=("gamma=0.5",)))
    assert given.num_envs == 3 and given.env_kwargs["window"] == 40 and given.algo_kwargs["gamma"] == 0.5
    assert resolve(TrainConfig(env=LANDMARK, preset="alansary2019")).env_kwargs == {"preset": "alansary2019"}
    moves = "visionrl/Registration2D-v0"
    for steps, cloned in ((None, 24_000), (500, 500), (0, 24_000)):
        run = resolve(TrainConfig(env=moves, timesteps=steps))
        assert (run.algo, run.backbone, run.clone_steps) == ("ppo", "correlation", cloned)
    assert resolve(TrainConfig(env=moves, clone_steps=700, timesteps=500)).clone_steps == 700
    assert resolve(TrainConfig(env=moves, preset="liao2017")).clone_steps == 0
    bends = resolve(TrainConfig(env="visionrl/DeformableRegistration2D-v0", clone_steps=0))
    assert bends.clone_steps == 0 and bends.timesteps == 100_000
    own = load_recipe(moves)["ppo"]["preset"]
    assert resolve(TrainConfig(env=moves, algo="ppo")).preset == own
    assert resolve(TrainConfig(env=moves, algo="dqn")).preset is None
    assert "preset" not in resolve(TrainConfig(env=moves, algo="ppo", preset="liao2017")).algo_kwargs
    assert resolve(plain) == plain and TrainConfig.from_dict(json.loads(json.dumps(plain.to_dict()))) == plain


@pytest.mark.parametrize("env_id", sorted(TASKS))
def test_a_recipe_plays_what_gym_make_gives(env_id: str) -> None:
    """Whatever it changes of a task is a preset of that task, also for each algorithm."""
    for algo in (None, *load_recipe(env_id).keys() & ALGORITHMS.keys()):
        config = resolve(TrainConfig(env=env_id, algo=algo))
        assert config.env_kwargs == ({"preset": config.preset} if config.preset else {})
        assert describe_task(config).startswith(f"{env_id}, {'preset' if config.preset else 'no preset'}")
        plain = resolve(TrainConfig(env=env_id, algo=algo, preset="none"))
        assert plain.env_kwargs == {} and describe_task(plain).startswith(f"{env_id}, no preset")
        assert plain.train_args == config.train_args
        # a preset's own table is on top of the algorithm's
        own = load_recipe(env_id).get("presets", {}).get(config.preset, {})
        assert config.clone_steps == own.get("clone_steps", plain.clone_steps)


def test_the_game_is_described() -> None:
    run = resolve(TrainConfig(env="Detection-v0", env_args=("step_size=0.1",), train_args=("window=40",)))
    game = "visionrl/Detection-v0, preset cpu: window=48; with step_size=0.1; in training also mode="
    assert describe_task(run).startswith(game) and describe_task(run).endswith("window=40")
    assert describe_task(resolve(TrainConfig(recipe="none"))) == f"{LANDMARK}, no preset"


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(
        """
        algo = "ppo"
        preset = "liao2017"
        fusion = "film"
        clone_steps = 7
        train_preset = "training"
        [ppo]
        gamma = 0.3
        [ppo.cloned]
        num_envs = 3
        [presets.bauer2021]
        clone_action_values = false
        """
    )
    run = resolve(TrainConfig(env="Registration2D-v0", recipe=str(file)))
    assert (run.algo, run.preset, run.fusion, run.clone_steps, run.num_envs) == (
        "ppo",
        "liao2017",
        "film",
        7,
        3,
    )
    assert run.algo_kwargs == {"gamma": 0.3} and run.train_args == ("augment=true",) and run.recipe == "none"
    assert run.clone_action_values and resolve(run) == run
    paper = resolve(TrainConfig(env="Registration2D-v0", recipe=str(file), preset="bauer2021"))
    assert paper.clone_action_values is False and paper.clone_steps == 0 and not paper.train_args
    plain = resolve(TrainConfig(env="Registration2D-v0", recipe="none"))
    assert (plain.algo, plain.preset, plain.algo_args) == ("dqn", None, ())
    for text, words in (("[env]\nwindow = 3", "'env'; arguments of a task are a preset's"), ("=", "TOML")):
        file.write_text(text)
        with pytest.raises(ValueError, match=words):
            resolve(TrainConfig(recipe=str(file)))
    with pytest.raises(FileNotFoundError):
        resolve(TrainConfig(recipe=str(tmp_path / "nowhere.toml")))


def test_what_costs_too_much_is_not_tried_in_cloning() -> None:
    dear = [("Tracking-v0", "follow"), ("Tracking-v0", "redetect"), ("Registration2D3D-v0", None)]
    for env, preset in [*dear, ("DeformableRegistration3D-v0", None)]:
        assert resolve(TrainConfig(env=env, preset=preset)).clone_action_values is False
        assert resolve(TrainConfig(env=env, preset=preset, clone_action_values=True)).clone_action_values
    assert resolve(TrainConfig(env="Tracking-v0")).clone_action_values
    assert resolve(TrainConfig(env="Registration2D3D-v0", preset="none")).clone_action_values


@pytest.mark.slow
@pytest.mark.parametrize("env_id", sorted(TASKS))
def test_every_recipe_builds(env_id: str) -> None:
    """With every algorithm that its actions fit, and with the file's own choice."""
    envs: dict[str, Any] = {}
    built = []
    for algo in (None, *ALGORITHMS):
        config = resolve(TrainConfig(env=env_id, algo=algo, device="cpu"))  # type: ignore[arg-type]
        key = f"{config.num_envs} {config.preset}"
        env = envs.get(key) or make_vec_env(env_id, config.num_envs or 1, **config.env_kwargs)
        envs[key] = env
        pixels = pixels_of(env.action_space) is not None
        if pixels != (config.algo == "pixelppo"):
            continue  # refused, see test_pixelwise
        if not pixels and algo is not None and not isinstance(env.action_space, FITS[algo]):
            continue
        if offers_candidates(env.observation_space, env.action_space) and config.algo not in POLICIES:
            continue  # refused, see test_candidates
        sized = fit_buffer(config, env, given=False)
        own = load_recipe(env_id).get(config.algo, {})
        assert sized == config or "buffer_size" not in own  # the files stay below 1 GB
        built.append(type(build_model(sized, env)))
    assert built[0] in built[1:] and len(built) > (1 if pixels else 2)


def test_the_replay_buffer_stays_below_a_gigabyte() -> None:
    config = resolve(TrainConfig(env=LANDMARK, env_args=("window=128",)))
    env = make_vec_env(LANDMARK, 1, window=128)
    size = fit_buffer(config, env, given=False).algo_kwargs["buffer_size"]
    assert 2 * 3 * 128 * 128 * size < 1e9 < 2 * 3 * 128 * 128 * size * 1.05
    assert fit_buffer(config, env, given=True) == config


def test_an_argument_that_the_algorithm_does_not_have_is_refused() -> None:
    env = make_vec_env(LANDMARK, 1)
    for algo, name in (("dqn", "n_steps2"), ("ppo", "buffer_size")):
        config = resolve(TrainConfig(algo=algo, num_envs=1, algo_args=(f"{name}=3",), recipe="none"))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"algo_args must be arguments of .*, got '{name}'"):
            build_model(config, env)
    config = resolve(TrainConfig(algo="ppo", algo_args=("fusion=film",), recipe="none"))
    with pytest.raises(ValueError, match="algo_args must not have fusion, an option of its own: --fusion"):
        build_model(config, env)


def test_spaces_as_json() -> None:
    box = gym.spaces.Box(np.array([0.0, -1], np.float32), np.array([1, np.inf], np.float32))
    space = gym.spaces.Dict({"box": box, "image": gym.spaces.Box(0, 255, (3, 4, 5), np.uint8)})
    for one in (space, gym.spaces.Discrete(4), gym.spaces.MultiDiscrete([3, 2])):
        assert space_from_json(json.loads(json.dumps(space_to_json(one)))) == one
    with pytest.raises(ValueError, match="space must be"):
        space_to_json(gym.spaces.Text(3))


def test_functions_are_found_when_asked_for() -> None:
    """Also after the modules of the same names are imported; torch is not loaded before."""
    import visionrl.agents.evaluation.record
    import visionrl.agents.imitation.guided
    import visionrl.agents.training.train as module

    del module
    functions = ("train", "evaluate", "compare", "record", "guided")
    assert all(inspect.isfunction(getattr(visionrl.agents, name)) for name in functions)
    assert set(dir(visionrl.agents)) == set(visionrl.agents.__all__)
    code = "import sys, visionrl.agents; assert not {'torch', 'stable_baselines3'} & set(sys.modules)"
    root = str(Path(visionrl.__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": root})
