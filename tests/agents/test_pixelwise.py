"""The policy of pixels and its PPO: shapes, advantages, learning, and a run from training to a restored file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gymnasium import spaces
from PIL import Image
from torch.distributions import Categorical

from visionrl.agents.imitation.cloning import clone
from visionrl.agents.policies.pixel_ppo import PixelPPO, spread
from visionrl.agents.policies.pixelwise import PixelPolicy, choose, log_prob_of
from visionrl.agents.sb3.vec_env import make_vec_env
from visionrl.agents.training.config import TrainConfig, resolve
from visionrl.agents.training.models import check_actions
from visionrl.agents.training.run_files import space_from_json, space_to_json
from visionrl.agents.training.saving import load_model
from visionrl.agents.training.train import train
from visionrl.cli.main import main

ID = "visionrl/Restoration-v0"
SIDE = 16


def make_env(count=4, **more):
    return make_vec_env(ID, count, preset="furuta2019", split="train", seed=0, patch_side=SIDE, **more)


def make_model(count=4, **more):
    given = {"n_steps": 5, "batch_size": 10, "n_epochs": 2, "seed": 0, "device": "cpu", **more}
    return PixelPPO(PixelPolicy, make_env(count), policy_kwargs={"width": 8}, **given)


def test_probabilities_are_those_of_one_categorical_a_pixel():
    logits = torch.randn(2, 5, 4, 3)
    actions = choose(logits, deterministic=False)
    found, entropy = log_prob_of(logits, actions)
    right = Categorical(logits=logits.permute(0, 2, 3, 1))
    torch.testing.assert_close(found, right.log_prob(actions))
    torch.testing.assert_close(entropy, right.entropy())


def test_actions_are_drawn_as_often_as_their_probabilities_say():
    torch.manual_seed(0)
    logits = torch.tensor([0.0, 1.0, -1.0])[None, :, None, None].expand(1, 3, 200, 200)
    shares = torch.bincount(choose(logits, deterministic=False).ravel(), minlength=3) / 40_000
    torch.testing.assert_close(shares, logits[0, :, 0, 0].softmax(0), atol=0.01, rtol=0)


def test_the_network_knows_no_places():
    """A window that is moved gives maps that are moved, but for the borders."""
    torch.manual_seed(0)
    space = spaces.Dict({"window": spaces.Box(0, 255, (1, 80, 80), np.uint8)})
    policy = PixelPolicy(space, spaces.MultiDiscrete(np.full((80, 80), 4)), lambda _: 1e-3)
    image = np.random.default_rng(0).integers(0, 256, (1, 1, 80, 80), dtype=np.uint8)
    one, two = (
        policy.maps(policy.obs_to_tensor({"window": x})[0])[0] for x in (image, np.roll(image, 3, axis=3))
    )
    torch.testing.assert_close(one[..., 25:-25, 25:-25], two[..., 25:-25, 28:-22], atol=1e-4, rtol=1e-4)
    assert one.std() > 0


def test_the_first_policy_is_nearly_uniform():
    model = make_model()
    obs = model.policy.obs_to_tensor(model.get_env().reset())[0]
    with torch.no_grad():
        likely = model.policy.maps(obs)[0].softmax(dim=1)
    assert likely.mean(dim=(0, 2, 3)).max() < 0.3


def test_advantages_are_the_pixels_own():
    model = make_model(gamma=0.9, gae_lambda=1.0, influence=0.0)
    model.learn(20)
    kept = model.rollout_buffer
    discounted = sum(0.9**t * kept.rewards[t] for t in range(5))  # all episodes have five steps
    returns, advantages, values = (  # the learning has put the steps of a row one after another
        getattr(kept, name).reshape(4, 5, SIDE, SIDE)[:, 0] for name in ("returns", "advantages", "values")
    )
    np.testing.assert_allclose(returns, discounted, atol=1e-4)
    np.testing.assert_allclose(advantages, discounted - values, atol=1e-4)
    assert kept.rewards[0].std(axis=(1, 2)).min() > 0.1


def test_the_value_of_the_next_step_is_spread_over_neighbours():
    maps = np.zeros((1, 9, 9), np.float32)
    maps[0, 4, 4] = 1
    found = spread(maps, 1.0)
    assert found[0, 4, 4] == found.max() < 0.5 and found[0, 4, 5] > 0 and abs(found.sum() - 1) < 1e-5
    assert spread(maps, 0.0) is maps


def test_a_time_limit_adds_the_mean_value_of_the_last_state():
    kept = []
    for gamma in (0.0, 0.5):
        env, given = make_env(max_episode_steps=2), {"n_steps": 4, "batch_size": 4, "device": "cpu"}
        model = PixelPPO(PixelPolicy, env, gamma=gamma, seed=0, policy_kwargs={"width": 8}, **given)
        model.policy.critic_head[2].weight.data.zero_()
        model.policy.critic_head[2].bias.data.fill_(6.0)  # the value of every pixel
        model.learn(16)
        kept.append(model.rollout_buffer)
    np.testing.assert_array_equal(kept[1].episode_starts[:, 0], [1, 0, 1, 0])
    added = kept[1].rewards - kept[0].rewards
    np.testing.assert_allclose(added, np.ones_like(added) * [[[[0]]], [[[3]]], [[[0]]], [[[3]]]], atol=1e-4)


@pytest.mark.slow
def test_a_rewarded_tool_is_learnt():
    """Tool 6 of 9 earns 1 in the left half, tool 2 in the right half: PPO finds both in fifteen rollouts."""
    model = make_model(learning_rate=3e-3, gamma=0.0, ent_coef=0.0, n_epochs=6)
    task = model.get_env().get_attr("task")[0]
    wanted = np.where(np.arange(SIDE) < SIDE // 2, 6, 2)
    task.reward_map = lambda before, action, after: (action == wanted).astype(float)
    task.observe_plain = task.observe
    marks = np.where(np.arange(SIDE) < SIDE // 2, 40, 200).astype(np.uint8)

    def observe(state):
        seen = task.observe_plain(state)
        seen["window"][:] = marks
        return seen

    task.observe = observe
    model.learn(20 * 15)
    seen = {key: np.array(part) for key, part in model._last_obs.items()}
    assert (model.predict(seen, deterministic=True)[0] == wanted).mean() > 0.9


def test_a_warm_start_learns_what_tools_gain():
    model = make_model(count=8)
    env = model.get_env()
    losses = []
    clone(model, 400, rate=3e-3, on_step=lambda done, loss: losses.append(loss))
    obs = env.reset()
    gains = env.get_attr("task")[0].gain_maps(env.unwrapped.venv.state)
    chosen = model.predict(obs, deterministic=True)[0]
    own = np.take_along_axis(gains, chosen[:, None], axis=1).mean()
    assert own > gains.mean() + 0.1
    assert len(losses) == 50 and np.isfinite(losses).all()


@pytest.mark.parametrize("algo", ["ppo", "dqn", "a2c", "maskableppo", "recurrentppo", "trpo"])
def test_other_policies_refuse_the_actions_of_pixels(algo):
    space = spaces.MultiDiscrete(np.full((SIDE, SIDE), 9))
    with pytest.raises(
        ValueError, match="algo must be pixelppo for actions in MultiDiscrete of 16 x 16"
    ) as error:
        check_actions(algo, space)
    assert "\n" not in str(error.value) and len(str(error.value)) < 150


@pytest.mark.parametrize(
    "space", [spaces.Discrete(3), spaces.MultiDiscrete([3, 3]), spaces.Box(-1, 1, (2,), np.float32)]
)
def test_the_policy_of_pixels_refuses_other_actions(space):
    with pytest.raises(ValueError, match=r"algo must be one of .*, got 'pixelppo'"):
        check_actions("pixelppo", space)
    with pytest.raises(ValueError, match="action_space must be a map of actions of pixels"):
        PixelPolicy(make_env(1).observation_space, space, lambda _: 1e-3)


def test_sb3s_own_ppo_is_refused_on_the_command_line(capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", "--env", ID, "--preset", "furuta2019", "--algo", "ppo", "--timesteps", "10"])
    assert end.value.code == 2 and "algo must be pixelppo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"backbone": "nature"}, "backbone must be left out for pixelppo"),
        ({"memory": "lstm"}, "memory must be left out for pixelppo"),
        ({"rerender": True}, "rerender must be left out for pixelppo"),
        ({"clone_kl": 0.1}, "clone_kl must be 0 for pixelppo"),
        ({"algo_args": ("influence=-1",)}, "influence"),
        ({"algo_args": ("width=0",)}, "width"),
        ({"algo_args": ("net_arch=[8]",)}, "net_arch"),
    ],
)
def test_options_of_other_networks_are_refused(option, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(TrainConfig(env=ID, preset="furuta2019", out=str(tmp_path), **option))


def test_the_preset_of_pixels_has_its_own_algorithm():
    assert resolve(TrainConfig(env=ID, preset="furuta2019")).algo == "pixelppo"
    assert resolve(TrainConfig(env=ID)).algo == resolve(TrainConfig(env=ID, preset="mild")).algo == "dqn"


def test_a_space_of_pixels_is_stored_in_few_words():
    space = spaces.MultiDiscrete(np.full((70, 50), 9))
    plain = json.loads(json.dumps(space_to_json(space)))
    assert space_from_json(plain) == space and len(json.dumps(plain)) < 60
    with pytest.raises(ValueError, match="shape must have at most"):
        space_from_json({"kind": "pixels", "shape": [100_000, 100_000], "n": 9})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run, stopped half way and resumed."""
    out = tmp_path_factory.mktemp("runs")
    config = {
        "env": ID,
        "preset": "furuta2019",
        "env_args": (f"patch_side={SIDE}",),
        "algo_args": ("width=8", "batch_size=10"),
        "num_envs": 4,
        "clone_steps": 40,
        "eval_episodes": 4,
        "test_episodes": 4,
        "out": str(out),
        "name": "run",
    }
    train(TrainConfig(**config, timesteps=20))
    return train(TrainConfig(**config, timesteps=40, resume=True))


@pytest.mark.slow
def test_a_resumed_run_is_that_of_one_piece(run, tmp_path):
    config = json.loads((run / "config.json").read_text())["config"]
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
    whole = train(TrainConfig(**{**plain, "out": str(tmp_path), "resume": False}))
    ours, theirs = (load_model(one)[0].policy.state_dict() for one in (run, whole))
    for key, value in ours.items():
        torch.testing.assert_close(value, theirs[key])


@pytest.mark.slow
def test_a_run_restores_a_file(run, tmp_path):
    noisy = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    Image.fromarray(noisy).save(tmp_path / "a.png")
    main(["predict", str(run), str(tmp_path / "a.png"), "--out", str(tmp_path / "out")])
    found = {path.name: path for path in (tmp_path / "out").iterdir()}
    assert np.asarray(Image.open(found["a-restored.png"])).shape == (20, 30)
    assert np.asarray(Image.open(found["a-operators.png"])).shape[1] >= 30 * 5
    with Image.open(found["a-steps.gif"]) as film:
        assert film.n_frames >= 2
    tile = json.loads(found["predictions.jsonl"].read_text())["tiles"][0]
    assert len(tile["operators"]) == 5 and abs(sum(tile["operators"][0].values()) - 1) < 1e-3
