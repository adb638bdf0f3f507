"""Words of a command line as an instance of a command; whatever is wrong with them is one sentence."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import MISSING, Field, fields, is_dataclass
from io import StringIO
from typing import Any, get_type_hints

import tyro

from visionrl.core import did_you_mean
from visionrl.core.arguments import hints_of, rule_of

RULE = re.compile(r"^[\s│╰]*[-─]{5,}[\s│╯]*$", re.MULTILINE)  # between the parts of what tyro prints
FRAME = " \n│╭╮╰╯"


def parse(command: type, name: str, args: Sequence[str]) -> Any:
    """An instance of a command from its words; ``--help`` prints and ends as tyro does.

    Raises:
        ValueError: a word is wrong; one sentence, where tyro draws a box.
    """
    printed = StringIO()
    try:
        with redirect_stderr(printed):
            found: Any = tyro.cli(command, prog=f"visionrl {name}", args=list(args))
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ValueError(explain_refusal(printed.getvalue(), command, name, args)) from None
    sys.stderr.write(printed.getvalue())
    return found


def explain_refusal(text: str, command: type, name: str, args: Sequence[str]) -> str:
    """One sentence for what tyro printed about the words of a command."""
    parts = RULE.split("\n".join(text.splitlines()[1:]))  # without the title
    words = [" ".join(line.strip(FRAME) for line in part.splitlines()).strip() for part in parts]
    said = next(filter(None, words), text)
    options = options_of(command)
    if found := re.match(r"Error parsing (\S+): (.*)", said):
        return value_error(found[1], found[2], options, args)
    if found := re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)", said):
        words = sorted(word for word in re.findall(r"'([^']*)'", found[3]) if word != "None")
        rule = f"{field_of(found[2])} must be one of {', '.join(words)}, got {found[1]!r}"
        return rule + did_you_mean(found[1], words)
    if found := re.match(r"Missing value for argument '(.*)'", said):
        where = f"have a value after {found[1]}" if found[1].startswith("-") else "be given"
        return f"{field_of(found[1])} must {where}, got none"
    if said.startswith("Missing from"):
        return missing(command, said)
    if found := re.match(r"Unrecognized options: (.*)", said):
        first = found[1].split(", ")[0]
        if not first.startswith("-"):
            return f"visionrl {name} takes no more words here, got {first!r}"
        known = [f"--{option.replace('_', '-')}" for option in options]
        return f"visionrl {name} has no option {first}" + did_you_mean(first, known)
    return said


def options_of(command: type) -> Mapping[str, tuple[Field, Any]]:
    """Name -> field and annotation of a command's options, those of a nested configuration among them."""
    found: dict[str, tuple[Field, Any]] = {}
    for field in fields(command):
        hint = get_type_hints(command)[field.name]
        if isinstance(hint, type) and is_dataclass(hint):
            found |= options_of(hint)
        else:
            found[field.name] = field, hints_of(command)[field.name]
    return found


def value_error(what: str, message: str, options: Mapping[str, Any], args: Sequence[str]) -> str:
    """The sentence for a value that is not of its option's kind, or that the command refuses itself."""
    name = field_of(what)
    if name not in options:
        return message
    return f"{name} must be {rule_of(options[name][1])}, got {value_of(what, args) or message!r}"


def value_of(option: str, args: Sequence[str]) -> str | None:
    """The words after an option, the last time that it is given."""
    found = None
    for place, word in enumerate(args):
        flag, sign, value = word.partition("=")
        if flag.replace("_", "-") == option:
            rest = list(args[place + 1 :])
            ends = [j for j, other in enumerate(rest) if other.startswith("--")]
            found = value if sign else " ".join(rest[: ends[0] if ends else None])
    return found


def missing(command: type, said: str) -> str:
    """The sentence for a required field that is not given."""
    needed = [name for name, (field, _) in options_of(command).items() if required(field)]
    for name in needed:
        shown = name.replace("_", "-")
        if re.search(rf"(--{shown}|\b{shown.upper()})\b", said):
            about = said.partition(shown.upper() if f"--{shown}" not in said else f"--{shown}")[2]
            text = re.sub(r"^\s*[A-Z{}|]*\s+|\s*\(required\).*", "", about)
            return f"{name} must be given: {text}"
    return said


def required(field: Field) -> bool:
    """Tell if a field has no default."""
    return field.default is MISSING and field.default_factory is MISSING


def field_of(option: str) -> str:
    """The field of an option: "--num-envs" is num_envs."""
    return option.split("/")[0].lstrip("-").replace("-", "_")
