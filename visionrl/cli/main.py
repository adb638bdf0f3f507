"""The dispatcher of the command line: finds a command, runs it, turns errors of users into one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from visionrl.core import UnknownArgumentError, did_you_mean

# name -> summary; each is a class in a module of that name (TrainModel, train_model), imported when it is used
COMMANDS = {
    "list": "The tasks there are, or the models, or the trained agents that come with the library.",
    "show": "A task's rules, arguments, spaces, papers' presets and classical baselines.",
    "play": "Play a task by keyboard; without a display or pygame, write a film of the expert instead.",
    "train": "Train an agent, compare it with the baselines on the test split, save it.",
    "evaluate": "Compare a trained agent with random, classical methods and the expert.",
    "predict": "Apply a trained agent, or a classical method, to new files without labels; write what it finds.",
    "pretrain": "Let a backbone learn from images without labels, by a pretext.",
    "train-model": "Train a model, such as a captioner or a few-shot network, on your data, test it, save it.",
    "caption": "Say what images show; with --out write the sentences, and where the model looked at each word.",
    "ask": "Answer a question about an image; with --out draw where the model looked.",
    "classify": "Tell images apart by a few examples of each class; with --out write the classes and probabilities.",
    "export": "Write a trained agent as ONNX, to be used without this library.",
    "explain": "Write a picture of where an agent, a classifier or a backbone looks.",
    "completion": "Complete a command line in bash: names of tasks, presets, options, arguments.",
}


def command_of(name: str) -> type:
    """The class of a command.

    Raises:
        ValueError: there is no such command.
    """
    if name not in COMMANDS:
        rule = f"command must be one of {', '.join(COMMANDS)}, got {name!r}"
        raise ValueError(rule + did_you_mean(name, COMMANDS))
    module = import_module(f"visionrl.cli.{name.replace('-', '_')}")
    return getattr(module, name.title().replace("-", ""))


def usage() -> str:
    """The commands, as text."""
    lines = [f"  {name:12}{summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: visionrl [--debug] COMMAND ...",
            "",
            *lines,
            "",
            "visionrl COMMAND --help tells the options of a command; --version tells the version;",
            "--debug shows where an error comes from.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Raises:
        SystemExit: 2 for wrong arguments or data, memory that runs out, and files that cannot be read or written, after
            one line on stderr; 130 for Ctrl-C.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    args = [arg for arg in args if arg != "--debug"]
    if args and args[0] == "completion" and "COMP_LINE" in os.environ:
        args = args[:1]  # bash adds the command, the word and the one before it
    if not args or args[0] in ("-h", "--help"):
        print(usage())
    elif args[0] == "--version":
        from visionrl import __version__

        print(f"visionrl {__version__}")
    else:
        guarded(args, debug)


def guarded(args: Sequence[str], debug: bool) -> None:
    """Run a command; errors of users become one line on stderr and exit code 2."""
    try:
        from visionrl.cli.parsing import parse

        command = command_of(args[0])
        parse(command, args[0], args[1:]).run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:  # whoever reads has read enough
        sys.stdout = None
        raise SystemExit(0) from None
    except (ValueError, OSError, UnknownArgumentError, MemoryError, RuntimeError) as error:
        if debug or (isinstance(error, RuntimeError) and not lacks_memory(error)):
            raise
        from rich.console import Console

        console = Console(stderr=True, soft_wrap=True)
        console.print(f"error: {one_line(error)}", style="red", markup=False, highlight=False)
        raise SystemExit(2) from None


def lacks_memory(error: BaseException) -> bool:
    """Tell if memory ran out, the computer's or the GPU's; torch says so in words."""
    said = str(error)
    return isinstance(error, MemoryError) or "can't allocate memory" in said or "out of memory" in said


def one_line(error: BaseException) -> str:
    """An error in one line, and what to do where memory ran out."""
    words = str(error).replace("\n", " ").strip() or type(error).__name__
    help_ = "; a smaller --num-envs, buffer_size, image or network needs less" if lacks_memory(error) else ""
    return words + help_
