"""``visionrl explain``: a picture of where a network looks, an agent's choice of action or a classifier's class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from annotated_types import Ge, Interval
from PIL import Image
from torch import Tensor, nn

from visionrl.agents.evaluation.policies import AgentPolicy
from visionrl.agents.networks.extractor import VisionExtractor
from visionrl.agents.networks.model_io import action_scores
from visionrl.agents.sb3.recall import RECALLED
from visionrl.agents.shipped import HOME, shipped_agents
from visionrl.agents.training.run_files import folder_of
from visionrl.backbones import (
    check_library_name,
    is_library_name,
    list_backbones,
    make_backbone,
    make_classifier,
)
from visionrl.backbones._weights import read_weights
from visionrl.cli.play import action_names
from visionrl.core import TaskVectorEnv, did_you_mean, entry_of
from visionrl.core.arguments import check_arguments
from visionrl.core.capabilities import name_of
from visionrl.datasets.readers.files import read_image as read_image_file
from visionrl.explain.panels import Subject, heat_panels, projected_panels, stage_of
from visionrl.layers.tiles import TileExtractor
from visionrl.models import shipped_models
from visionrl.models._files import DESCRIPTION
from visionrl.rendering import write_png

SHOWN_SIDE = 224  # shorter side at which backbones see an image; small pictures are enlarged to about this
GAP = 6  # pixels between the panels

Method = Literal["grad-cam", "deconv", "occlusion", "attention"]
NOT_OF_FILMS = ("image", "layer", "target", "weights", "pretrained", "size", "step")


@dataclass(frozen=True, kw_only=True)
class Explain:
    """Write a picture of where an agent, a classifier or a backbone looks: the image, the heat map, both.

    An agent is explained by the Q-value of the action that it chooses (of PPO and A2C: its log-probability), a
    classifier by the class that it chooses, a backbone without a classifier by its strongest feature.
    """

    subject: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SUBJECT")]
    """Folder of an agent's or a classifier's run; or the name of an agent that comes with the library, or of a
    backbone."""
    image: Path | None = None
    """The image. An agent sees it resized to its window; without one it sees the first state of an episode."""
    method: Method = "grad-cam"
    """Gradients at a layer; the strongest activation, projected back (chains such as VGG); a square that hides; or, of
    an agent that attends, a film of where it does in an episode."""
    layer: str | None = None
    """Stage of the backbone; default the last."""
    target: Annotated[int, Ge(0)] | None = None
    """Number of the action, class or feature, for deconv of the channel; default what the network chooses."""
    weights: Path | None = None
    """File of weights for the backbone."""
    pretrained: bool = False
    """Give the backbone its published weights."""
    size: Annotated[int, Interval(ge=8, le=4096)] | None = None
    """Shorter side, pixels, at which a backbone (default 224) or a classifier (as trained) sees the image."""
    item: Annotated[int, Ge(0)] = 0
    """Number of the item of the test split that an agent's episode starts from."""
    seed: Annotated[int, Interval(ge=0, le=2**63 - 1)] = 0
    """Seed of the agent's first state, and of weights that are not given."""
    step: Annotated[int, Ge(0)] = 0
    """Steps that an agent takes before the picture, so that there is something to remember."""
    out: Path | None = None
    """The file, a PNG, of attention a GIF; default explain-<method>.png in the run's folder,
    <agent>-explain-<method>.png or <backbone>-<method>.png."""

    def __post_init__(self) -> None:
        """Check the kinds and bounds of the options."""
        check_arguments(self)

    def run(self) -> None:
        """Write the picture, say what it explains."""
        path, words = explain(self)
        print(f"{words}\nwrote {path}")


def explain(options: Explain) -> tuple[Path, str]:
    """Write the picture.

    Returns:
        The file, and in words what it explains.

    Raises:
        ValueError: an option does not fit the subject.
        FileNotFoundError: there is no such image, or no such weights.
    """
    refuse_model(options.subject)
    suffix = ".gif" if options.method == "attention" else ".png"
    if options.out is not None and options.out.suffix.lower() != suffix:
        raise ValueError(f"out must end in {suffix}, got {options.out}")
    if options.method == "attention":
        return film(options)
    torch.manual_seed(options.seed)
    subject = find(options)
    layer = stage_of(subject.backbone, options.layer)
    if options.method == "deconv":
        panels, words = projected_panels(subject, layer, options.target)
    else:
        panels, words = heat_panels(subject, layer, options.method, options.target)
    path = options.out or Path(f"{subject.home}{options.method}.png")
    write_panels(path, panels)
    return path, words + subject.remark


def refuse_model(subject: str) -> None:
    """Refuse a model; captioners and question answerers have commands of their own that draw where they look.

    Raises:
        ValueError: it is one; names these commands.
    """
    folder = Path(subject)
    own = (folder / DESCRIPTION).is_file() and not (folder / "policy.pt").is_file()
    if own or subject in {one.name for one in shipped_models()}:
        raise ValueError(
            f"subject must be an agent, a classifier or a backbone, {subject} is a model; where captioners and "
            "question answerers look is drawn by visionrl caption and visionrl ask, with --out"
        )


def film(options: Explain) -> tuple[Path, str]:
    """Write the film of where an agent attends.

    Raises:
        ValueError: the subject is no agent's run, or the agent attends to nothing.
    """
    from visionrl.agents.evaluation.attention import attention_film
    from visionrl.agents.training.saving import load_model

    folder = folder_of(options.subject)
    if not (folder / "config.json").is_file() or (folder / "classifier.pt").is_file():
        raise ValueError(
            f"subject must be an agent, the folder of its run or a name, for attention, got {options.subject!r}"
        )
    for name in NOT_OF_FILMS:
        if (value := getattr(options, name)) != getattr(Explain, name):
            raise ValueError(f"{name} must be left out for attention, the film of an episode, got {value}")
    model, config = load_model(folder, "cpu")
    path = options.out or Path(f"{home_of(folder)}attention.gif")
    given: dict[str, Any] = {"item": options.item, "seed": options.seed, "env_kwargs": config.env_kwargs}
    path, notes = attention_film(config.env, model, path, **given)
    return path, f"attention in {len(notes)} steps of item {options.item}"


def find(options: Explain) -> Subject:
    """The network that the options name, and what it is shown.

    Raises:
        ValueError: there is neither a run nor a backbone of that name.
    """
    folder = folder_of(options.subject)
    if folder.is_dir():
        if options.weights or options.pretrained:
            raise ValueError("weights and pretrained are for a backbone, a run has its own")
        return (_classifier if (folder / "classifier.pt").is_file() else _agent)(folder, options)
    if is_library_name(options.subject):
        check_library_name(options.subject, "subject")
    elif options.subject not in list_backbones():
        names = ", ".join(list_backbones())
        rule = (
            f"subject must be the folder of a run, an agent's name or one of {names}, got {options.subject!r}"
        )
        agents = [agent.name for agent in shipped_agents()]
        raise ValueError(rule + did_you_mean(options.subject, [*list_backbones(), *agents]))
    return _backbone(options)


def home_of(folder: Path) -> str:
    """Beginning of a run's default files: in its folder, or here where the agent comes with the library."""
    return f"{folder.name}-explain-" if folder.parent == HOME else f"{folder}/explain-"


def _backbone(options: Explain) -> Subject:
    """A backbone by name: with its published classifier, or by its features where it has none."""
    state = read_weights(options.weights)
    channels = next((x.shape[1] for x in (state or {}).values() if x.ndim == 4), 3)
    given: dict[str, Any] = {"pretrained": options.pretrained, "weights": state}
    images = read_image(_image(options), channels, short=options.size or SHOWN_SIDE)
    remark = "" if options.pretrained or state else "; the weights are random, so is the picture"
    rest = (f"{options.subject.replace(':', '-')}-", remark)
    classifier = make_classifier(options.subject, in_channels=channels, **given).eval()
    if isinstance(classifier.head, nn.Sequential) and (state is None or _has_head(state, classifier.head)):
        return Subject(classifier.backbone, images, classifier, _same, "class", *rest)
    net = make_backbone(options.subject, channels, **given).eval()
    return Subject(net, images, net, _same, "feature", *rest)


def _has_head(state: dict[str, Tensor], head: nn.Module) -> bool:
    """Tell whether the last matrix of a head came from a state dict."""
    last = [value for value in head.parameters() if value.ndim > 1][-1]
    return any(value.shape == last.shape and torch.equal(value, last) for value in state.values())


def _classifier(folder: Path, options: Explain) -> Subject:
    """The classifier of a run."""
    from visionrl.supervised.classifier import load_classifier, read_run

    reader, names = load_classifier(folder)
    net: Any = reader.classifier.backbone
    images = read_image(_image(options), net.in_channels, short=options.size or read_run(folder)[1]["side"])
    known = dict(enumerate(names))
    return Subject(net, images, reader, reader.front, "class", home_of(folder), names=known)


def _trunk(net: Any, method: str) -> Any:
    """The network behind the image; of tiles seen one by one the one that sees a tile.

    Raises:
        ValueError: the method needs the map of a whole image.
    """
    if not isinstance(net, TileExtractor):
        return net
    if method != "occlusion":
        raise ValueError(f"method must be occlusion for an agent that sees tiles one by one, got {method!r}")
    return net.encoder


def _agent(folder: Path, options: Explain) -> Subject:
    """The agent of a run before the image, or in the first or a later state of an episode of the test split."""
    from visionrl.agents.training.saving import load_model

    model, config = load_model(folder, "cpu")
    if config.cache:
        raise ValueError("explain needs an agent that sees images, this one learnt on cached features")
    extractor = next((m for m in model.policy.modules() if isinstance(m, VisionExtractor)), None)
    if extractor is None:
        raise ValueError(
            f"explain needs an agent that sees through a backbone, that of {config.env} by {config.algo} has none"
        )
    key, keys = next(iter(extractor.stacks.items()))
    if key in extractor.volumes:
        raise ValueError(f"the agent must look at images to be explained, {key!r} is a volume")
    net = _trunk(extractor.backbones[key], options.method)
    env = TaskVectorEnv(1, entry_of(config.env).id, **{**config.env_kwargs, "split": "test"})
    seen, memory = observe_after_steps(AgentPolicy(model), env, options)
    obs = {name: torch.as_tensor(value) for name, value in seen.items()}
    windows = RECALLED in obs
    now = {name: value[:, -1] if windows else value for name, value in obs.items()}
    if options.image is not None:
        now[key] = read_image(options.image, now[key].shape[1], size=tuple(now[key].shape[2:]))

    def scores(images: Tensor) -> Tensor:
        rows = {name: value.expand(len(images), *value.shape[1:]) for name, value in obs.items()}
        shown = torch.cat([rows[key][:, :-1], images[:, None]], 1) if windows else images
        found = action_scores(model.policy, {**rows, key: shown}, memory)
        if found is None:
            raise ValueError(
                f"the agent must choose among a few actions, it has {name_of(model.action_space)}"
            )
        return found

    def fed(images: Tensor) -> Tensor:
        stack = torch.cat([images, *(now[k] for k in keys if k != key)], 1).float() / 255
        return extractor.transformers[key](stack) if extractor.transformers else stack

    names = action_names(entry_of(config.env).task)
    return Subject(net, now[key], scores, fed, "action", home_of(folder), names=names)


def observe_after_steps(policy: AgentPolicy, env: Any, options: Explain) -> tuple[dict[str, Any], Any]:
    """The observation after the options' steps, a window where the agent reads one, and its recurrent state.

    Raises:
        ValueError: the episode ends before.
    """
    seen, _ = env.reset(seed=[options.seed], options={"item": [options.item]})
    for step in range(options.step):
        seen, _, terminated, truncated, _ = env.step(policy(seen, env.task, env.state))
        if terminated[0] or truncated[0]:
            raise ValueError(f"step must be <= {step}, after which the episode ends, got {options.step}")
    if policy.recall is not None:
        seen = (policy.recall.add if options.step else policy.recall.begin)(seen)
    return seen, policy.memory


def read_image(path: Path, channels: int, *, short: int = 0, size: tuple[int, ...] = ()) -> Tensor:
    """(1, C, h, w) uint8: an image file, its colours repeated if C is 3, 6, 9, ..., else its grey.

    Args:
        path: the file.
        channels: C.
        short: the shorter side after resizing, or
        size: (h, w).
    """
    found = read_image_file(path)
    picture = Image.fromarray(found[0] if len(found) == 1 else found.transpose(1, 2, 0))
    picture = picture.convert("L" if channels % 3 else "RGB")
    factor = short / min(picture.size)
    height, width = size or (round(picture.height * factor), round(picture.width * factor))
    pixels = np.array(picture.resize((width, height), Image.Resampling.BILINEAR)).reshape(height, width, -1)
    return torch.as_tensor(pixels).permute(2, 0, 1).repeat(channels // pixels.shape[2], 1, 1)[None]


def write_panels(path: Path, panels: list[Tensor]) -> None:
    """Write pictures (1, 3, H, W) uint8 of one size side by side as a PNG, small ones enlarged, in full or not."""
    height = panels[0].shape[2]
    factor = max(round(SHOWN_SIDE / height), 1)
    grids = [panel[0].permute(1, 2, 0).numpy().repeat(factor, 0).repeat(factor, 1) for panel in panels]
    gap = np.full((height * factor, GAP, 3), 255, np.uint8)
    picture = np.concatenate([grids[0], *(part for grid in grids[1:] for part in (gap, grid))], axis=1)
    write_png(path, picture)


def _same(images: Tensor) -> Tensor:
    return images


def _image(options: Explain) -> Path:
    if options.image is None:
        raise ValueError("image must be given to explain a backbone or a classifier, got None")
    return options.image
