"""Pretexts: what they are given, what they must find out, and what they refuse."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from visionrl.datasets import ImageSample
from visionrl.models import load_model, model_class, save_model
from visionrl.models.pretext._contrast import nt_xent, queue_loss
from visionrl.models.pretext._lab import to_lab, to_rgb
from visionrl.models.pretext._views import crops, view
from visionrl.models.pretext.context import PLACES
from visionrl.models.pretext.jigsaw import distant_orders, joined
from visionrl.models.pretext.rotation import turn_labels, turns
from visionrl.supervised.pretrain import pretexts

NAMES = (
    "colorization",
    "context",
    "exemplar",
    "inpainting",
    "jigsaw",
    "mae",
    "moco",
    "rotation",
    "simclr",
)


def pictures(count: int = 12, side: int = 32, seed: int = 0) -> torch.Tensor:
    """(N, 3, S, S) uint8: blue sky over earth that is darker, with a yellow disc; different ones."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    found = []
    for _ in range(count):
        place, size = rng.uniform(side / 4, 3 * side / 4, 2), rng.uniform(side / 8, side / 4)
        horizon = rng.uniform(side / 3, 2 * side / 3)
        image = np.where(y < horizon, np.array([90, 150, 230])[:, None, None], [[[110]], [[70]], [[30]]])
        disc = (x - place[0]) ** 2 + (y - place[1]) ** 2 < size**2
        image = np.where(disc, np.array([230, 210, 40])[:, None, None], image)
        found.append((image + rng.normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8))
    return torch.from_numpy(np.stack(found))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(name: str, images: torch.Tensor | None = None, **options: Any) -> Any:
    torch.manual_seed(0)
    return model_class(name).for_images(pictures() if images is None else images, options)  # type: ignore[attr-defined]


def test_there_are_nine_pretexts() -> None:
    assert sorted(pretexts()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_pretext_is_learned_and_its_backbone_learns(name: str) -> None:
    net = made(name)
    rows, chance = net.split(pictures()), generator()
    before = {key: x.clone() for key, x in net.backbone.state_dict().items()}
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(24):
        loss, figures = net.objective(rows, chance)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(np.isfinite(value) for value in figures.values())
    # MoCo's queue of random keys fills with real ones, which are harder to tell apart
    assert name == "moco" or np.mean(losses[-4:]) < np.mean(losses[:4]) - 1e-3
    assert all((net.backbone.state_dict()[key] != value).any() for key, value in before.items())


@pytest.mark.parametrize("name", NAMES)
def test_equal_generators_give_equal_losses_and_pictures(name: str) -> None:
    net = made(name).eval()
    rows = {"images": pictures(5)}
    first, second = (net.objective(rows, generator(3))[0] for _ in range(2))
    assert first == second
    picture = net.picture(pictures(4), generator(1))
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    assert (picture == net.picture(pictures(4), generator(1))).all()
    found = net.evaluate((), net.split(pictures(6)))
    assert {"loss", net.score_name} <= set(found)
    assert found == net.evaluate((), net.split(pictures(6)))


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_pretext_is_the_pretext(name: str, tmp_path: Any) -> None:
    net = made(name).eval()
    save_model(net, tmp_path / "m")
    other: Any = load_model(tmp_path / "m")
    assert other.name == name
    assert (other.picture(pictures(3), generator()) == net.picture(pictures(3), generator())).all()


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"colorization"}))
@pytest.mark.parametrize("channels", [1, 2])
def test_images_of_other_channels_and_sides_are_taken(name: str, channels: int) -> None:
    images = pictures(5, 43)[:, :channels]
    net = made(name, images)
    assert net.side == 43 and not net.colour
    assert net.objective(net.split(images), generator())[0].isfinite()
    assert net.eval().picture(images, generator()).shape[2] == 3


def test_samples_of_different_sizes_are_fitted() -> None:
    samples = [ImageSample(np.zeros((1, 20, 30), np.uint8)), ImageSample(np.full((3, 50, 40), 9, np.uint8))]
    net: Any = model_class("rotation").for_samples(samples, {"side": 24})
    assert (net.channels, net.side) == (3, 24)
    assert net.encode(samples)["images"].shape == (2, 3, 24, 24)
    assert net.loss(net.encode(samples)).isfinite()


def test_the_four_turns_have_their_numbers() -> None:
    images = torch.arange(18.0).view(2, 1, 3, 3)
    turned = turns(images)
    assert turn_labels(turned).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert (turned[3] == images[1].rot90(1, (1, 2))).all()
    assert (turned[6].rot90(1, (1, 2)) == images[0]).all()


def test_orders_of_a_puzzle_differ_and_lie_far_apart() -> None:
    orders = distant_orders(9)
    assert orders.shape == (64, 9) and (np.sort(orders, 1) == np.arange(9)).all()
    distances = [(a != b).sum() for a, b in itertools.combinations(orders, 2)]
    drawn = np.stack([np.random.default_rng(i).permutation(9) for i in range(64)])
    by_chance = [(a != b).sum() for a, b in itertools.combinations(drawn, 2)]
    assert min(distances) > 0 and np.mean(distances) > np.mean(by_chance) + 0.1
    assert len(distant_orders(4)) == 24


def test_a_puzzle_that_is_laid_by_its_order_is_the_image() -> None:
    cells = torch.arange(9).view(3, 3).repeat_interleave(12, 0).repeat_interleave(12, 1)
    images = (cells * 20).byte().expand(3, 3, 36, 36).contiguous()
    net = made("jigsaw", images)
    tiles, labels = net.puzzle(images, generator())
    assert tiles.shape == (3, 9, 3, 9, 9)
    for puzzle, label in zip(tiles, labels, strict=True):
        laid = joined(puzzle[net.orders[label].argsort()])
        assert (laid[0, 4::9, 4::9] * 255 / 20).round().flatten().tolist() == list(range(9))


def test_the_second_patch_lies_where_its_number_says() -> None:
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    images = torch.stack([y, x, y * 0]).byte().expand(40, 3, 64, 64).contiguous()
    pairs, labels = made("context", images).pairs(images, generator())
    assert pairs.shape == (40, 2, 3, 16, 16)
    corner = (pairs[:, :, :2, 0, 0] * 255).round()
    steps = (corner[:, 1] - corner[:, 0]) / 24
    for step, label in zip(steps, labels, strict=True):
        assert (step - torch.tensor(PLACES[label])).abs().max() < 2.01 / 24
    assert len(labels.unique()) == 8


def test_the_backbone_never_sees_the_hole_or_the_masked_patches() -> None:
    images = pictures(4).float() / 255
    changed = images.clone()
    changed[:, :, 8:24, 8:24] = 0.1
    net = made("inpainting").eval()
    torch.testing.assert_close(net(images)[1], net(changed)[1])
    mae = made("mae").eval()
    predicted, masked = mae(images, generator())
    assert masked.sum(1).tolist() == [12] * 4
    patches = mae.targets(images).clone()
    patches[masked] = 0.3
    other = F.fold(patches.mT, (32, 32), 8, stride=8)
    torch.testing.assert_close(mae(other, generator())[0], predicted, atol=1e-5, rtol=1e-4)


def test_lab_is_that_of_scikit_image() -> None:
    from skimage.color import rgb2lab

    images = torch.rand(2, 3, 8, 8, generator=generator())
    wanted = rgb2lab(images.permute(0, 2, 3, 1).double().numpy())
    np.testing.assert_allclose(to_lab(images).permute(0, 2, 3, 1).numpy(), wanted, atol=0.02)
    torch.testing.assert_close(to_rgb(to_lab(images)), images, atol=1e-4, rtol=1e-3)


def test_rare_colours_weigh_more() -> None:
    net = made("colorization", bins=[0, 1, 2], counts=[10, 100, 1000])
    assert net.rarity[0] > net.rarity[1] > net.rarity[2]
    share = torch.tensor([10, 100, 1000]) / 1110
    assert float((net.rarity * share).sum()) == pytest.approx(1)
    coloured = made("colorization").eval().colored(pictures(3))
    torch.testing.assert_close(
        to_lab(coloured)[:, 0].mean(), to_lab(pictures(3) / 255)[:, 0].mean(), atol=3, rtol=0
    )


def test_views_stay_in_the_unit_interval_and_the_whole_image_is_itself() -> None:
    images = pictures(6).float() / 255
    seen = view(images, generator(), colour=True)
    assert seen.shape == images.shape and seen.min() >= 0 and seen.max() <= 1
    assert (seen != images).float().mean() > 0.9
    square = crops(images, generator(), least=1.0, flip=False)
    assert (square - images).abs().mean() < 0.1  # of another aspect, so a little narrower or lower


def test_the_queue_moves_on_in_training_only_and_the_copy_follows_slowly() -> None:
    net = made("moco", queue=16)
    rows, before, slow = net.split(pictures(6)), net.queue.clone(), net.slow[0].stages.conv1[0].weight.clone()
    net.eval().objective(rows, generator())
    assert (net.queue == before).all() and int(net.place) == 0
    net.train()
    for steps in range(1, 4):
        net.objective(rows, generator())
        assert int(net.place) == 6 * steps % 16
    assert (net.queue != before).any(1).all()
    torch.testing.assert_close(net.queue.norm(dim=1), torch.ones(16))
    with torch.no_grad():
        net.backbone.stages.conv1[0].weight += 1
    net.follow()
    torch.testing.assert_close(net.slow[0].stages.conv1[0].weight, slow + 0.01, atol=1e-5, rtol=0)


def test_nt_xent_is_the_sum_of_its_definition() -> None:
    first, second = torch.randn(2, 3, 5, generator=generator())
    z, total = F.normalize(torch.cat([first, second]), dim=1), 0.0
    for i in range(6):
        others = [torch.exp(z[i] @ z[k] / 0.3) for k in range(6) if k != i]
        total -= float(torch.log(torch.exp(z[i] @ z[(i + 3) % 6] / 0.3) / sum(others)))
    assert float(nt_xent(first, second, 0.3)) == pytest.approx(total / 6, abs=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_both_contrastive_losses_are_those_of_lightly() -> None:
    loss = pytest.importorskip("lightly.loss").NTXentLoss
    first, second = torch.randn(2, 8, 16, generator=generator())
    for heat in (0.1, 0.5):
        assert float(nt_xent(first, second, heat)) == pytest.approx(
            float(loss(heat)(first, second)), abs=1e-6
        )
    theirs = loss(0.2, memory_bank_size=(32, 16))
    theirs(first, second)  # makes the bank, and then fills 8 of its 32 places
    bank = theirs.memory_bank.bank.clone()
    wanted = float(theirs(first, second.clone().requires_grad_(False)))
    assert float(queue_loss(first, second, bank, 0.2)) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "images", "options", "message"),
    [
        (
            "colorization",
            pictures()[:, :1],
            {},
            "colorization must have images of 3 channels, red, green and",
        ),
        (
            "colorization",
            pictures()[:, :1].repeat(1, 3, 1, 1),
            {},
            "images must have colours for colorization",
        ),
        ("colorization", pictures(), {"colour": False}, "colorization must have images of 3 channels"),
        ("colorization", pictures(), {"counts": [1, 2]}, "counts must be as many as bins"),
        ("jigsaw", pictures(3, 20), {}, "side must be >= 24 for jigsaw, got 20"),
        ("jigsaw", pictures(), {"grid": 1}, "grid must be"),
        ("rotation", pictures(3, 8), {}, "side must be"),
        ("exemplar", pictures(1), {}, "exemplar must have 2 images or more to tell apart, got 1"),
        (
            "mae",
            pictures(),
            {"backbone": "small"},
            "backbone must be a transformer such as vit_tiny8 for mae",
        ),
        ("mae", pictures(), {"masked": 1.0}, "masked must be"),
        ("simclr", pictures(), {"temperature": 0.0}, "temperature must be"),
        ("moco", pictures(), {"momentum": 1.0}, "momentum must be"),
        ("simclr", pictures(), {"temprature": 0.1}, "did you mean 'temperature'"),
        ("rotation", pictures(), {"backbone": "smal"}, "name must be one of"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(name: str, images: Any, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(name, images, **options)


def test_one_image_is_no_batch_for_contrast() -> None:
    net = made("simclr")
    with pytest.raises(ValueError, match="a batch must have 2 images or more for NT-Xent, got 1"):
        net.objective({"images": pictures(1)}, generator())
    with pytest.raises(ValueError, match="images must be 2 or more to be evaluated, got 1"):
        net.evaluate((), {"images": pictures(1)})


def test_the_head_of_another_pretext_is_refused(tmp_path: Any) -> None:
    for name in ("rotation", "context"):
        save_model(made(name), tmp_path / name)
    (tmp_path / "context" / "model.pt").replace(tmp_path / "rotation" / "model.pt")
    with pytest.raises(
        ValueError, match=r"model.pt must hold the parameters .*: head.weight of shape \(4, 1024\)"
    ):
        load_model(tmp_path / "rotation")
