"""Arguments are fields: one declaration gives signature, check, message and documentation."""

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest
from annotated_types import Ge, Gt, Interval, MinLen, MultipleOf

from visionrl.core import arguments, describe_arguments
from visionrl.core.arguments import check_arguments, check_fields, checked


@arguments
class Base:
    count: ClassVar[int] = 3

    data: Any = None
    """What it is about."""
    window: Annotated[int, Ge(8)] = 64
    """Side of the window, pixels."""

    def __post_init__(self) -> None:
        check_arguments(self)


@arguments
class Leaf(Base):
    window: Annotated[int, Ge(8)] = 32
    rate: Annotated[float, Interval(ge=0.05, le=0.95)] = 0.5
    """A share."""
    cost: Annotated[float, Gt(0.0)] | None = None
    """What it costs."""
    scales: Annotated[Sequence[Annotated[int, Ge(1)]], MinLen(1)] = (2, 1)
    """Pixels per pixel."""
    pair: tuple[float, float] = (0.0, 1.0)
    """Two numbers."""
    mode: Literal["a", "b"] = "a"
    """One of two."""
    flag: bool = False
    """Yes or no."""
    call: Callable[[int], int] | None = None
    """A function."""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"window": 4}, "window must be a whole number >= 8, got 4"),
        ({"window": True}, "window must be a whole number >= 8, got True"),
        ({"window": 9.0}, "window must be a whole number >= 8, got 9.0"),
        ({"rate": 2.0}, "rate must be a number in [0.05, 0.95], got 2.0"),
        ({"rate": float("nan")}, "rate must be a number in [0.05, 0.95], got nan"),
        ({"rate": float("inf")}, "rate must be a number in [0.05, 0.95], got inf"),
        ({"rate": "x"}, "rate must be a number in [0.05, 0.95], got 'x'"),
        ({"cost": 0}, "cost must be a number > 0.0 or None, got 0"),
        ({"scales": 5}, "scales must be 1 or more values, each a whole number >= 1, got 5"),
        ({"scales": []}, "scales must be 1 or more values, each a whole number >= 1, got []"),
        ({"scales": "21"}, "scales must be 1 or more values, each a whole number >= 1, got '21'"),
        ({"pair": (1.0,)}, "pair must be 2 values, each a number, got (1.0,)"),
        ({"mode": "c"}, "mode must be one of 'a', 'b', got 'c'"),
        ({"flag": "x"}, "flag must be True or False, got 'x'"),
        ({"flag": 1}, "flag must be True or False, got 1"),
        ({"call": 3}, "call must be a callable or None, got 3"),
    ],
)
def test_a_wrong_value_is_refused_with_name_rule_and_value(given, message):
    with pytest.raises(ValueError) as error:
        Leaf(**given)
    assert str(error.value) == message


def test_an_unknown_keyword_is_a_type_error():
    with pytest.raises(TypeError, match="nope"):
        Leaf(nope=1)
    with pytest.raises(TypeError):
        Leaf(64)


def test_values_become_those_of_python():
    leaf = Leaf(
        window=np.int64(9),
        rate=np.float32(0.5),
        scales=[3, np.int32(1)],
        pair=np.array([1, 2]),
        flag=np.True_,
    )
    assert (leaf.window, type(leaf.window)) == (9, int)
    assert (leaf.scales, leaf.pair, leaf.flag) == ((3, 1), (1.0, 2.0), True)
    assert type(leaf.rate) is float and type(leaf.flag) is bool


def test_the_signature_is_that_of_the_fields():
    found = inspect.signature(Leaf).parameters
    assert list(found) == ["data", "window", "rate", "cost", "scales", "pair", "mode", "flag", "call"]
    assert all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in found.values())


def test_texts_are_inherited_and_overridden_defaults_shown():
    rows = {one.name: one for one in describe_arguments(Leaf)}
    assert rows["window"].text == "Side of the window, pixels." and rows["window"].default == 32
    assert rows["data"].owner == "Base" and rows["rate"].owner == "Leaf"
    assert rows["rate"].rule == "a number in [0.05, 0.95]"
    assert "count" not in rows


def test_a_field_without_the_decorator_is_refused():
    class Forgotten(Leaf):
        window: Annotated[int, Ge(8)] = 16

    with pytest.raises(TypeError, match="Forgotten must be decorated by @arguments, it declares 'window'"):
        check_fields(Forgotten)


def test_numpy_scalars_are_taken_and_unknown_bounds_refused():
    assert checked("mode", Literal["a"], np.str_("a")) == "a"
    assert checked("channels", Literal[1, 3] | None, np.int64(3)) == 3
    with pytest.raises(ValueError, match="mode must be one of 'a', got"):
        checked("mode", Literal["a"], np.array(["a"]))
    with pytest.raises(TypeError, match="bounds must be Ge"):
        checked("x", Annotated[int, MultipleOf(2)], 4)
