"""Policies that read: what a captioner says is what a policy with its weights does."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO

from visionrl.agents import make_vec_env
from visionrl.agents.policies.words import WordsExtractor, sentences, start_policy
from visionrl.datasets import CaptionSample, QuestionSample
from visionrl.models import model_class
from visionrl.models.language.decoding import allowed

OPTIONS = {"side": 32, "width": 16}
IMAGE = spaces.Box(0, 255, (3, 32, 32), np.uint8)


def captioner(name: str = "show_attend_and_tell", **options: Any) -> Any:
    torch.manual_seed(0)
    blank = np.zeros((3, 32, 32), np.uint8)
    return model_class(name).for_samples(
        [CaptionSample(blank, ("two red bags left of a coin",))], {**OPTIONS, **options}
    )


def space_of(size: int, length: int, **more: spaces.Space) -> spaces.Dict:
    words = spaces.Box(0, size - 1, (length,), np.int16)
    return spaces.Dict({"image": IMAGE, "words": words, "count": spaces.Box(0, 1, (length,)), **more})


@pytest.mark.parametrize(
    "name", ["show_and_tell", "show_attend_and_tell", "caption_transformer", "prefix_captioner"]
)
def test_the_vector_is_that_of_the_captioner_after_the_words_so_far(name: str) -> None:
    net = captioner(name).eval()
    extractor = WordsExtractor(space_of(len(net.vocabulary), 7), model=net).eval()
    words = torch.zeros(4, 7)
    for row in range(4):
        words[row, : 2 * row] = torch.randint(4, len(net.vocabulary), (2 * row,)).float()
    image = torch.rand(4, 3, 32, 32)
    found = extractor({"image": image, "words": words, "count": torch.zeros(4, 7)})
    assert found.shape == (4, extractor.features_dim)
    for row in range(4):
        state = net.begin(image[row : row + 1])
        for word in (1, *words[row, : 2 * row].long().tolist()):
            logits, state, _ = net.next(torch.tensor([word]), state)
        torch.testing.assert_close(net.out(found[row : row + 1]), logits, atol=1e-5, rtol=1e-4)


def test_a_policy_with_a_captioners_weights_says_its_words() -> None:
    rng = np.random.default_rng(0)
    samples = [
        CaptionSample(rng.integers(0, 255, (3, 96, 96), np.uint8), ("a red bag", "a bag is red"), name=str(k))
        for k in range(4)
    ]
    torch.manual_seed(1)
    net: Any = model_class("show_attend_and_tell").for_samples(samples, {"width": 16, "length": 16}).eval()
    given = {"data": samples, "vocabulary": net.vocabulary.words[4:], "max_words": 16}
    venv = make_vec_env("visionrl/CaptionGeneration-v0", 2, seed=0, **given)
    kwargs = {
        "features_extractor_class": WordsExtractor,
        "features_extractor_kwargs": {"model": net},
        "net_arch": [],
    }
    agent = MaskablePPO("MultiInputPolicy", venv, policy_kwargs=kwargs, n_steps=8, batch_size=8, n_epochs=1)
    start_policy(agent.policy, net)
    obs: Any = venv.reset()
    logits, _, _ = net.next(torch.ones(2).long(), net.begin(torch.as_tensor(obs["image"])))
    wanted = allowed(logits, torch.ones(2).long(), True, False).argmax(1)
    action, _ = agent.predict(obs, deterministic=True, action_masks=np.stack(venv.env_method("action_masks")))
    assert action.tolist() == wanted.tolist()
    before = {key: value.clone() for key, value in agent.policy.state_dict().items() if "running_mean" in key}
    agent.learn(16)
    after = agent.policy.state_dict()
    assert before and all(torch.equal(after[key], value) for key, value in before.items())


def test_an_untrained_reader_of_questions_learns_with_ppo() -> None:
    blank = np.zeros((3, 32, 32), np.uint8)
    data = [QuestionSample(blank, "is it red", (answer,), name=answer) for answer in ("yes", "no")]
    venv = make_vec_env("visionrl/VisualQuestionAnswering-v0", 2, seed=0, looks=0, side=32, data=data)
    options = {"model": "vqa_cnn_rnn", "width": 16}
    kwargs = {
        "features_extractor_class": WordsExtractor,
        "features_extractor_kwargs": options,
        "net_arch": [],
    }
    agent = PPO("MultiInputPolicy", venv, policy_kwargs=kwargs, n_steps=8, batch_size=8, n_epochs=1)
    before = agent.policy.features_extractor.model.embed.weight.clone()
    agent.learn(16)
    assert not torch.equal(before, agent.policy.features_extractor.model.embed.weight)


def test_other_images_and_numbers_are_joined() -> None:
    space = spaces.Dict(
        {
            "question": spaces.Box(0, 9, (5,), np.int16),
            "seen": spaces.Box(0, 255, (4, 32, 32), np.uint8),
            "window": spaces.Box(0, 255, (6, 24, 24), np.uint8),
            "position": spaces.Box(-1, 1, (2,), np.float32),
        }
    )
    extractor = WordsExtractor(space, "vqa_stacked_attention", width=16)
    seen = {"question": torch.ones(2, 5) * 5, "seen": torch.rand(2, 4, 32, 32)}
    seen |= {"window": torch.rand(2, 6, 24, 24), "position": torch.rand(2, 2)}
    assert extractor(seen).shape == (2, 34) and extractor.features_dim == 34
    other = extractor({**seen, "window": torch.rand(2, 6, 24, 24)})
    assert not torch.equal(other[:, 16:32], extractor(seen)[:, 16:32])


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        (spaces.Dict({"image": IMAGE}), {}, "observation_space must hold words or a question"),
        (space_of(9, 5), {"image": "window"}, "image must name an image of the observation, got 'window'"),
        (
            space_of(9, 5),
            {"model": "vqa_film"},
            "model must be a captioner where words are seen, got vqa_film",
        ),
        (space_of(9, 5), {"model": captioner()}, "model must know 9 words"),
        (space_of(11, 20), {"model": captioner()}, "20 words at a time"),
        (space_of(11, 5), {"model": captioner(), "width": 9}, "options must be left out for a trained model"),
    ],
)
def test_what_does_not_fit_is_refused(space: spaces.Dict, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WordsExtractor(space, **options)


def test_the_last_layer_must_be_the_captioners() -> None:
    net = captioner()
    policy: Any = type(
        "Policy", (), {"action_net": torch.nn.Linear(3, 4), "value_net": torch.nn.Linear(3, 1)}
    )
    with pytest.raises(ValueError, match=r"policy must end in a layer of .*net_arch=\[\]"):
        start_policy(policy, net)


@pytest.mark.parametrize(
    "name", ["show_and_tell", "show_attend_and_tell", "caption_transformer", "prefix_captioner"]
)
def test_a_batch_of_moments_of_few_sentences_is_read_as_each_alone(name: str) -> None:
    net = captioner(name)
    length = net.length
    extractor = WordsExtractor(space_of(len(net.vocabulary), length), net).eval()
    image = torch.tensor([0, 0, 0, 1, 1, 0, 1, 0])
    images, full = torch.rand(2, 3, 32, 32)[image], [5, 6, 7, 8, 9, *[4, 5] * length][:length]
    said = [[], [5], [5, 6, 7], [5, 6], [], [4], [5, 6], full]
    rows = torch.tensor([one + [0] * (length - len(one)) for one in said])
    with torch.no_grad():
        together = extractor.said(rows, images)
        alone = torch.cat([extractor.said(rows[k : k + 1], images[k : k + 1]) for k in range(8)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    found, which = sentences(image, rows)
    assert found[:, 0].tolist() == [0, 0, 1] and which.tolist() == [0, 1, 1, 2, 2, 0, 2, 1]
    assert found[1, 1:].tolist() == full


def test_a_copy_with_other_weights_reads_in_its_own_way() -> None:
    net = captioner()
    extractor = WordsExtractor(space_of(len(net.vocabulary), net.length), net).eval()
    words, images = torch.randint(4, 9, (3, net.length)), torch.rand(3, 3, 32, 32)
    others = {key: value + 0.1 for key, value in extractor.state_dict().items() if value.is_floating_point()}
    with torch.no_grad():
        extractor.load_state_dict(extractor.state_dict())
        before = extractor.said(words, images)
        other = deepcopy(extractor)
        other.load_state_dict(others, strict=False)
        after = other.said(words, images)
        other.held.clear()
        torch.testing.assert_close(after, other.said(words, images))
    assert not torch.allclose(before, after)


def test_an_exported_graph_reads_any_number_of_rows() -> None:
    net = captioner()
    extractor = WordsExtractor(space_of(len(net.vocabulary), net.length), net).eval()
    example = torch.randint(4, 9, (3, net.length)), torch.rand(3, 3, 32, 32)
    rows = torch.export.Dim("rows", min=1)

    class Reads(torch.nn.Module):
        """The part of the policy that reads."""

        def __init__(self) -> None:
            super().__init__()
            self.extractor = extractor

        def forward(self, words: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
            """(B, width)."""
            return self.extractor.said(words, images)

    program = torch.export.export(Reads(), example, dynamic_shapes=({0: rows}, {0: rows}))
    words, images = torch.randint(4, 9, (5, net.length)), torch.rand(5, 3, 32, 32)
    words[0], words[1, 2:] = 0, 0
    with torch.no_grad():
        torch.testing.assert_close(program.module()(words, images), extractor.said(words, images))


def test_a_frozen_trunk_sees_each_image_once_and_does_not_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    net = captioner().eval()
    extractor = WordsExtractor(space_of(len(net.vocabulary), 7), model=net, frozen=True)
    plain = WordsExtractor(space_of(len(net.vocabulary), 7), model=net)
    seen: list[int] = []
    look = extractor.model.image.trunk_map
    monkeypatch.setattr(
        extractor.model.image, "trunk_map", lambda images: seen.append(len(images)) or look(images)
    )
    image = torch.rand(2, 3, 32, 32)[[0, 1, 1, 0]]
    words = torch.zeros(4, 7)
    words[2:, 0] = 4
    observation = {"image": image, "words": words, "count": torch.zeros(4, 7)}
    for mode in (True, False):
        found = extractor.train(mode)(observation)
        torch.testing.assert_close(found, plain.train(mode)(observation), atol=2e-3, rtol=2e-3)
    found.sum().backward()
    extractor({**observation, "image": torch.rand(4, 3, 32, 32)})
    assert seen == [2, 4]
    learnt = {name for name, x in extractor.model.named_parameters() if x.grad is not None}
    assert "image.look.weight" in learnt and not any("trunk" in name for name in learnt)
