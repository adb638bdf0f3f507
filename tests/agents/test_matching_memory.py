"""A memory of labelled images: what it compares, what it leaves out, and that a policy trains with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from visionrl.agents.policies.matching import MatchingMemory
from visionrl.agents.policies.sequence import SequenceExtractor
from visionrl.agents.sb3.recall import recalled_space
from visionrl.agents.sb3.vec_env import make_vec_env
from visionrl.agents.training.config import TrainConfig
from visionrl.agents.training.train import train

ID = "visionrl/ActiveOneShot-v0"
HEART: dict[str, Any] = {"window": 24, "target": "heart", "max_episode_steps": 5}


def told(*slots: int | None, ways: int = 3) -> torch.Tensor:
    """Labels (1, T, ways) as observations show them: each belongs to the image before."""
    rows = [torch.zeros(ways) if slot is None else torch.eye(ways)[slot] for slot in slots]
    return torch.stack(rows)[None]


def test_a_slot_has_the_cosine_to_its_images_and_one_without_has_none() -> None:
    memory = MatchingMemory(3)
    a, b = torch.tensor([1.0, -1, 0, 0]), torch.tensor([0.0, 0, 1, -1])
    features = torch.stack([a, b, a, a])[None]
    found = memory(features, torch.ones(1, 4, dtype=torch.bool), told(None, 2, 0, None))[0].detach().numpy()
    means, nearest, votes, known = found[:3], found[3:6], found[6:9], found[9:12]
    likely, filled = found[12:15], found[15]
    np.testing.assert_allclose(means, [0, 0, 1], atol=1e-6)  # image 0 is of slot 2, image 1 of slot 0
    np.testing.assert_allclose(nearest, [0, 0, 1], atol=1e-6)
    assert votes[2] > 0.99 and votes.sum() == pytest.approx(1) and known.tolist() == [1, 0, 1] and filled == 1
    assert likely[2] > 0.99 and likely[1] == 0
    assert memory.weights[0].argmax() == 0


def test_nothing_told_is_nothing_attended_to() -> None:
    found = MatchingMemory(2)(torch.randn(2, 5, 8), torch.ones(2, 5, dtype=torch.bool), torch.zeros(2, 5, 2))
    assert torch.equal(found[:, :10], torch.zeros(2, 10))


def test_slots_are_exchangeable() -> None:
    memory, features, labels = MatchingMemory(3), torch.randn(1, 6, 8), told(None, 0, 1, None, 2, 1)
    real = torch.ones(1, 6, dtype=torch.bool)
    order = [2, 0, 1]
    first, other = memory(features, real, labels), memory(features, real, labels[..., order])
    for block in range(5):
        part = slice(3 * block, 3 * block + 3)
        torch.testing.assert_close(other[:, part], first[:, part][:, order])


def test_what_was_before_the_episode_does_not_count() -> None:
    single = spaces.Dict(
        {"image": spaces.Box(0, 255, (1, 24, 24), np.uint8), "label": spaces.Box(0, 1, (3,), np.float32)}
    )
    space = recalled_space(single, 4)
    net = SequenceExtractor(space, "matching", recall=4, features_dim=16).eval()
    seen = {"image": torch.randint(0, 256, (1, 4, 1, 24, 24)), "label": told(None, None, None, 1)}
    seen["recalled"] = torch.tensor([[0, 0, 1, 1.0]])
    found = net(seen)
    seen["image"] = seen["image"].clone()
    seen["image"][0, :2] = 0
    torch.testing.assert_close(net(seen), found)
    assert found.shape == (1, net.features_dim) == (1, 16)
    found.sum().backward()
    assert net.vision.head.weight.grad is not None


def test_a_task_that_tells_no_labels_is_refused() -> None:
    env = make_vec_env("visionrl/LandmarkLocalization-v0", 1, recall=2, **HEART)
    with pytest.raises(ValueError, match="memory must not be matching where no 'label' is shown"):
        SequenceExtractor(env.observation_space, "matching")  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_policy_with_a_matching_memory_is_cloned_and_trained(tmp_path: Path) -> None:
    config = TrainConfig(
        env=ID,
        algo="ppo",
        memory="matching",
        recall=6,
        backbone="mlp",
        features_dim=8,
        clone_steps=64,
        timesteps=64,
        num_envs=4,
        eval_episodes=2,
        test_episodes=2,
        out=str(tmp_path),
        env_args=("ways=2", "showings=3"),
        algo_args=("n_steps=16", "batch_size=32"),
    )
    folder = train(config)
    assert Path(folder or config.folder).is_dir() and (config.folder / "config.json").is_file()
