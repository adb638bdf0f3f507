"""Arguments as fields: a keyword-only dataclass whose fields state type, bounds, default and meaning, once.

    @arguments
    class Detection(BoxSearch):
        window: Annotated[int, Ge(8)] = 64
        \"\"\"Side of the window, pixels.\"\"\"

One declaration gives the signature, the check with a message that names the argument, the rule and the value
(``check_arguments``), and the rows of a page or of the command line (``describe_arguments``). Bounds are those of
``annotated-types``. The check is written here rather than taken from pydantic: strict pydantic refuses NumPy integers,
keeps lists where tuples are declared, drops unknown keywords and loses docstrings of inherited fields, so that each
field would need an adapter, and it adds 0.03 s per class to ``import visionrl``.
"""

from __future__ import annotations

import ast
import functools
import inspect
import math
import textwrap
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
)
from typing import get_type_hints as resolve_hints

import annotated_types as at
import numpy as np

ClassT = TypeVar("ClassT", bound=type)

_NOUNS = {bool: "True or False", int: "a whole number", float: "a number", str: "a string"}


@dataclass(frozen=True)
class Argument:
    """One argument of a class that ``arguments`` decorates.

    Attributes:
        name: of the field.
        default: its default; ``dataclasses.MISSING`` where it must be given.
        rule: what values are allowed, in words: "a whole number >= 8".
        text: the docstring below the field, on one line.
        owner: the class that declares it.
    """

    name: str
    default: Any
    rule: str
    text: str
    owner: str


@dataclass_transform(kw_only_default=True, eq_default=False)
def arguments(cls: ClassT) -> ClassT:
    """Make the annotated fields of a class its keyword-only constructor arguments."""
    return dataclass(kw_only=True, eq=False, repr=False)(cls)  # type: ignore[return-value]


def check_arguments(obj: Any) -> None:
    """Hold every field of ``obj`` against its annotation, and store lists as tuples and NumPy numbers as Python's.

    ``obj`` may be a frozen dataclass; then ``__post_init__`` is the place to call this.

    Raises:
        ValueError: names the argument, the rule and the value.
    """
    cls: Any = type(obj)
    for name, hint in hints_of(cls).items():
        object.__setattr__(obj, name, checked(name, hint, getattr(obj, name)))


@functools.cache
def check_fields(cls: type) -> None:
    """Refuse a class that annotates fields of its own but is not decorated by ``arguments``.

    Raises:
        TypeError: names the class and the field, which would have no effect.
    """
    for base in cls.__mro__:
        own = [
            name
            for name, hint in vars(base).get("__annotations__", {}).items()
            if "ClassVar" not in str(hint)
        ]
        inherits = any("__dataclass_fields__" in vars(other) for other in base.__mro__[1:])
        if own and inherits and "__dataclass_fields__" not in vars(base):
            raise TypeError(f"{base.__name__} must be decorated by @arguments, it declares {own[0]!r}")


def checked(name: str, hint: Any, value: Any) -> Any:
    """The value as its annotation wants it.

    Raises:
        ValueError: names the argument, the rule and the value.
    """
    try:
        return _convert(hint, value)
    except _Refused:
        raise ValueError(f"{name} must be {rule_of(hint)}, got {value!r}") from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: "; did you mean 'dqn'?", or nothing where no known word is near.

    Case, and what stands before a slash, do not count.
    """
    plain = {name.lower().rsplit("/", 1)[-1]: name for name in known}
    near = get_close_matches(word.lower().rsplit("/", 1)[-1], plain, 1) if word else []
    if not near:
        return ""
    found = plain[near[0]]
    return f"; did you mean {found if found.startswith('-') else repr(found)}?"


def describe_arguments(cls: type) -> list[Argument]:
    """The arguments of a class: those of its bases first, each with the nearest docstring along the MRO."""
    texts: dict[str, str] = {}
    owners: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for name, text in _docstrings(base).items():
            texts[name] = text or texts.get(name, "")
            owners[name] = base.__name__
    hints = hints_of(cls)
    return [
        Argument(f.name, f.default, rule_of(hints[f.name]), texts.get(f.name, ""), owners.get(f.name, ""))
        for f in fields(cls)
        if f.init
    ]


@functools.cache
def hints_of(cls: type) -> dict[str, Any]:
    """Field -> its annotation, with bounds."""
    known = {f.name for f in fields(cls) if f.init}
    return {name: hint for name, hint in resolve_hints(cls, include_extras=True).items() if name in known}


def rule_of(hint: Any) -> str:
    """The values that an annotation allows, in words: "a whole number in [1, 8] or None"."""
    if get_origin(hint) is Annotated:
        base, *extras = get_args(hint)
        least = [bound.min_length for bound in extras if isinstance(bound, at.MinLen)]
        if least and rule_of(base).startswith("values"):
            return f"{least[0]} or more {rule_of(base)}"
        return " ".join([rule_of(base), *_bounds(extras, float if base is float else None)])
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    if origin in (Union, types.UnionType):
        *most, last = (rule_of(part) for part in inner)
        many = len(most) > 1
        return f"{('; ' if many else ', ').join(most)}{'; or' if many else ' or'} {last}"
    if origin is tuple and inner[-1:] != (...,):
        rules = list(dict.fromkeys(map(rule_of, inner)))
        return (
            f"{len(inner)} values, {', then '.join(map(rule_of, inner)) if rules[1:] else f'each {rules[0]}'}"
        )
    if _is_sequence(origin):
        return f"values, each {rule_of(inner[0])}"
    if hint is None or hint is type(None):
        return "None"
    if origin is Callable or hint is Callable:
        return "a callable"
    return _NOUNS.get(hint) or ("anything" if hint is Any else f"a {getattr(hint, '__name__', hint)}")


class _Refused(Exception):
    """A value does not fit an annotation."""


def _convert(hint: Any, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, TypeVar) or origin is ClassVar:
        return value
    if origin is Annotated:
        value = _convert(inner[0], value)
        _check_bounds(inner[1:], value)
        return value
    if origin is Literal:
        _require(any(type(value) is type(one) and value == one for one in inner))
        return value
    if origin in (Union, types.UnionType):
        return _first_of(inner, value)
    if origin is tuple and inner[-1:] != (...,):
        _require(_is_listed(value) and len(value) == len(inner))
        return tuple(_convert(part, one) for part, one in zip(inner, value, strict=True))
    if _is_sequence(origin):
        _require(_is_listed(value))
        return tuple(_convert(inner[0], one) for one in value)
    return _plain(origin or hint, value)


def _plain(kind: Any, value: Any) -> Any:
    """A value of a plain type: bool, int, float, None, or an instance of a class."""
    if kind in (None, type(None)):
        _require(value is None)
    elif kind is Callable or getattr(kind, "__name__", "") == "Callable":
        _require(callable(value))
    elif kind is bool:
        _require(isinstance(value, bool | np.bool_))
        return bool(value)
    elif kind is int:
        _require(isinstance(value, int | np.integer) and not isinstance(value, bool))
        return int(value)
    elif kind is float:
        real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        _require(real and math.isfinite(value))
        return float(value)
    else:
        _require(isinstance(value, kind))
    return value


def _first_of(options: Sequence[Any], value: Any) -> Any:
    for hint in options:
        try:
            return _convert(hint, value)
        except _Refused:
            continue
    raise _Refused


def _require(condition: bool) -> None:
    if not condition:
        raise _Refused


def _is_sequence(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Sequence)


def _is_listed(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)


def _flat(extras: Sequence[Any]) -> list[Any]:
    """Bounds one by one: an ``Interval`` is two."""
    return [one for extra in extras for one in (extra if isinstance(extra, at.GroupedMetadata) else [extra])]


def _check_bounds(extras: Sequence[Any], value: Any) -> None:
    for bound in _flat(extras):
        if isinstance(bound, at.Ge):
            _require(value is None or value >= bound.ge)
        elif isinstance(bound, at.Gt):
            _require(value is None or value > bound.gt)
        elif isinstance(bound, at.Le):
            _require(value is None or value <= bound.le)
        elif isinstance(bound, at.Lt):
            _require(value is None or value < bound.lt)
        elif isinstance(bound, at.MinLen):
            _require(value is None or len(value) >= bound.min_length)
        elif isinstance(bound, at.MaxLen):
            _require(value is None or len(value) <= bound.max_length)
        elif isinstance(bound, at.BaseMetadata):
            raise TypeError(f"bounds must be Ge, Gt, Le, Lt, Interval, MinLen or MaxLen, got {bound!r}")


def _bounds(extras: Sequence[Any], kind: type[float] | None) -> list[str]:
    """The bounds in words: ">= 8", "in [0, 1]", "one or more"; a string among them stands as it is."""
    shown: Callable[[Any], Any] = kind or (
        lambda number: number
    )  # typing takes [0, 1] and [0.0, 1.0] for one annotation
    low: tuple[str, Any] | None = None
    high: tuple[str, Any] | None = None
    words: list[str] = []
    for bound in _flat(extras):
        if isinstance(bound, at.Ge):
            low = "[", shown(bound.ge)
        elif isinstance(bound, at.Gt):
            low = "(", shown(bound.gt)
        elif isinstance(bound, at.Le):
            high = "]", shown(bound.le)
        elif isinstance(bound, at.Lt):
            high = ")", shown(bound.lt)
        elif isinstance(bound, at.MinLen):
            words.append(f"of {bound.min_length} or more")
        elif isinstance(bound, str):
            words.append(bound)
    if low and high:
        words.append(f"in {low[0]}{low[1]}, {high[1]}{high[0]}")
    elif low:
        words.append(f"{'>' if low[0] == '(' else '>='} {low[1]}")
    elif high:
        words.append(f"{'<' if high[0] == ')' else '<='} {high[1]}")
    return words


@functools.cache
def _docstrings(cls: type) -> Mapping[str, str]:
    """Field -> the string below it, for the fields that a class declares itself."""
    own = [name for name in vars(cls).get("__annotations__", {})]
    if not own:
        return {}
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body  # type: ignore[attr-defined]
    except (OSError, TypeError, SyntaxError):
        return dict.fromkeys(own, "")
    found = dict.fromkeys(own, "")
    for node, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            said = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            text = below.value.value if said else ""
            found[node.target.id] = " ".join(str(text).split())
    return found
