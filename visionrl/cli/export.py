"""``visionrl export``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import tyro

from visionrl.cli.common import check_out
from visionrl.core.arguments import check_arguments
from visionrl.core.capabilities import name_of

TRIED = 100  # random observations on which the file is compared with the agent


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a trained agent as ONNX, to be used without this library.

    The file holds the policy with its network for images. Inputs are the observation's keys, windows as uint8, with a
    first axis of any length; the output is the action. An agent with memory takes its last observations, or what it
    remembers, zeros at an episode's start, and gives that for the next step.
    """

    agent: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="AGENT")]
    """Folder of a run, or name of an agent that comes with the library."""
    onnx: Path
    """The file to be written."""
    overwrite: bool = False
    """Replace the file if it is there."""

    def __post_init__(self) -> None:
        """Check the kinds and bounds of the options."""
        check_arguments(self)

    def run(self) -> None:
        """Write the file; say what it takes and gives, and, with ONNX Runtime, whether it acts as the agent does.

        Raises:
            FileExistsError: the file is there, and ``overwrite`` is off.
            ValueError: see ``export_onnx``.
        """
        from visionrl.agents.prediction.agent import load_agent
        from visionrl.agents.prediction.export import agreement, blank_states, export_onnx, observations_of

        check_out(self.onnx.parent)
        if self.onnx.is_dir() or (self.onnx.exists() and not self.overwrite):
            raise FileExistsError(
                f"onnx must be a new file, {self.onnx} is there; --overwrite replaces a file"
            )
        agent = load_agent(self.agent, "cpu")
        export_onnx(agent.model, self.onnx, {"env": agent.entry.id, "agent": agent.name})
        print(f"wrote {self.onnx}, {self.onnx.stat().st_size / 1e6:.1f} MB, of {agent.entry.id}")
        for key, seen in observations_of(agent.model, 1, 0).items():
            print(f"  {key}: (rows, {', '.join(map(str, seen.shape[1:]))}) {seen.dtype}")
        states = blank_states(agent.model, 1)
        for key, state in states.items():
            print(
                f"  {key}: ({len(state)}, rows, {state.shape[2]}) {state.dtype}, zeros at an episode's start"
            )
        print(f"  -> action: {name_of(agent.model.action_space)}")
        for key in states:
            print(f"  -> next_{key}, the next step's {key}")
        if find_spec("onnxruntime"):
            same = round(TRIED * agreement(agent.model, self.onnx, TRIED))
            print(f"ONNX Runtime acts as the agent does on {same} of {TRIED} random observations")
