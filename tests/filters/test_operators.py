"""The table of meanings, line by line; what the operators accept; canonical operands."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.errors import FilterError
from filters.operators import (
    Operator,
    kind_of,
    normalise_operand,
    parse_operator,
    read_path,
    scalar_text,
    select_test,
)
from tests.filters import oracle, strategies

EVENT = {
    "text": "hello world",
    "one": 1,
    "float_one": 1.0,
    "half": 0.5,
    "yes": True,
    "no": False,
    "nothing": None,
    "tags": ["red", "2", 3, 4.0, True, None, ["in"], {"a": 1}],
    "empty": [],
    "object": {"inner": "deep"},
}

# field, operator, operand, whether it holds
TABLE: list[tuple[str, str, Any, bool]] = [
    ("text", "eq", "hello world", True),
    ("text", "eq", "Hello world", False),
    ("one", "eq", 1, True),
    ("one", "eq", 1.0, True),
    ("float_one", "eq", 1, True),
    ("one", "eq", "1", False),
    ("one", "eq", True, False),
    ("yes", "eq", True, True),
    ("yes", "eq", 1, False),
    ("no", "eq", False, True),
    ("no", "eq", 0, False),
    ("no", "eq", None, False),
    ("nothing", "eq", None, True),
    ("missing", "eq", None, True),
    ("missing", "eq", False, False),
    ("empty", "eq", None, False),
    ("object", "eq", None, False),
    ("object.inner", "eq", "deep", True),
    ("object.inner.deeper", "eq", None, True),
    ("tags.0", "eq", None, True),
    ("text", "ne", "other", True),
    ("text", "ne", "hello world", False),
    ("missing", "ne", "x", True),
    ("one", "ne", True, True),
    ("one", "ne", 1.0, False),
    ("yes", "ne", True, False),
    ("nothing", "ne", None, False),
    ("missing", "ne", None, False),
    ("tags", "ne", "red", True),
    ("one", "lt", 1, False),
    ("one", "lt", 1.5, True),
    ("one", "le", 1, True),
    ("one", "lte", 1, True),
    ("one", "ge", 1, True),
    ("one", "gte", 1, True),
    ("half", "gt", 0, True),
    ("one", "gt", 1, False),
    ("yes", "ge", 0, False),
    ("text", "lt", "i", True),
    ("text", "gt", "Z", True),
    ("text", "lt", 5, False),
    ("one", "lt", "2", False),
    ("missing", "lt", 5, False),
    ("nothing", "le", "", False),
    ("one", "between", [1, 5], True),
    ("one", "between", [0, 1], True),
    ("one", "between", [1.5, 3], False),
    ("text", "between", ["hello world", "hello world"], True),
    ("text", "between", ["hello world", "z"], True),
    ("text", "between", ["a", "hello world"], True),
    ("text", "between", ["i", "z"], False),
    ("text", "between", [0, 9], False),
    ("yes", "between", [0, 2], False),
    ("missing", "between", ["", "z"], False),
    ("text", "beginsWith", "hello", True),
    ("text", "beginsWith", "", True),
    ("text", "beginsWith", "world", False),
    ("one", "beginsWith", "1", False),
    ("nothing", "beginsWith", "", False),
    ("text", "contains", "lo wo", True),
    ("text", "contains", "LO", False),
    ("tags", "contains", "red", True),
    ("tags", "contains", "re", False),
    ("tags", "contains", 3.0, True),
    ("tags", "contains", 4, True),
    ("tags", "contains", 2, False),
    ("tags", "contains", 1, False),
    ("text", "contains", 1, False),
    ("one", "contains", 1, False),
    ("one", "contains", "1", False),
    ("object", "contains", "inner", False),
    ("missing", "contains", "", False),
    ("text", "notContains", "lo wo", False),
    ("tags", "notContains", "red", False),
    ("tags", "notContains", 1, True),
    ("missing", "notContains", "x", True),
    ("one", "notContains", 1, True),
    ("text", "in", ["hello world", 5], True),
    ("one", "in", ["1", 2], False),
    ("one", "in", [1.0, 2], True),
    ("yes", "in", [1, 2], False),
    ("missing", "in", ["null", ""], False),
    ("tags", "in", ["red", "2"], False),
    ("text", "notIn", ["hello world", 5], False),
    ("missing", "notIn", ["a", "b"], True),
    ("yes", "notIn", [1, 0], True),
    ("tags", "notIn", ["red", "2"], True),
    ("tags", "containsAny", ["blue", "red"], True),
    ("tags", "containsAny", [4, 9], True),
    ("tags", "containsAny", [1, 2], False),
    ("tags", "containsAny", ["red"], True),
    ("empty", "containsAny", ["red"], False),
    ("text", "containsAny", ["hello world", "h"], False),
    ("missing", "containsAny", ["x"], False),
]


def evaluate(event: object, field_name: str, operator_name: str, operand: object) -> bool:
    operator, value = normalise_operand(parse_operator(operator_name, field_name), operand, field_name)
    test, prepared = select_test(operator, value)
    return test(read_path(event, tuple(field_name.split("."))), prepared)


@pytest.mark.parametrize(("field_name", "operator", "operand", "expected"), TABLE)
def test_meaning(field_name: str, operator: str, operand: object, expected: bool) -> None:
    assert evaluate(EVENT, field_name, operator, operand) is expected
    assert oracle.holds(EVENT, field_name, operator, operand) is expected


def test_the_table_has_every_operator_both_ways() -> None:
    for operator in Operator:
        assert {expected for _, name, _, expected in TABLE if name == operator.value} == {True, False}


@given(strategies.events, strategies.conditions())
@strategies.thorough
def test_evaluation_is_that_of_the_oracle(event: object, condition: dict[str, Any]) -> None:
    arguments = (event, condition["fieldName"], condition["operator"], condition["value"])
    assert evaluate(*arguments) is oracle.holds(*arguments)


@pytest.mark.parametrize("event", [None, 1, "text", [{"a": 1}], True])
def test_every_path_is_absent_in_an_event_that_is_no_object(event: object) -> None:
    assert read_path(event, ("a",)) is None
    assert read_path(event, ("a", "b")) is None


@pytest.mark.parametrize(
    ("operator", "operand"),
    [
        ("eq", ["a"]),
        ("eq", {"a": 1}),
        ("lt", None),
        ("lt", True),
        ("contains", None),
        ("contains", False),
        ("beginsWith", 1),
        ("in", "a"),
        ("in", []),
        ("in", [None]),
        ("in", [True]),
        ("in", [["a"]]),
        ("notIn", None),
        ("between", [1]),
        ("between", [1, 2, 3]),
        ("between", [1, "2"]),
        ("between", 1),
        ("between", [5, 1]),
        ("between", ["b", "a"]),
        ("containsAny", []),
        ("containsAny", "a"),
        ("eq", float("nan")),
        ("gt", float("inf")),
        ("eq", 10**400),
        ("eq", "\ud800"),
        ("in", ["a", "\udc00"]),
        ("eq", b"a"),
    ],
)
def test_operands_that_are_refused(operator: str, operand: object) -> None:
    with pytest.raises(FilterError, match=r"^filter on 'size': "):
        normalise_operand(parse_operator(operator, "size"), operand, "size")


def test_an_empty_range_is_named_with_its_values() -> None:
    for pair, named in (
        ([5, 1.0], "5 and 1"),
        (["b", "a"], '"b" and "a"'),
        (["y" * 99, "x"], '"' + "y" * 59 + '... and "x"'),
    ):
        with pytest.raises(FilterError) as caught:
            normalise_operand(Operator.BETWEEN, pair, "order.size")
        assert caught.value.message == (
            f"filter on 'order.size': operator `between` takes the lower value first: no value is between {named}"
        )


@pytest.mark.parametrize("name", ["EQ", "equals", "", "attributeExists", None, 1, ["eq"]])
def test_unknown_operators_are_refused(name: object) -> None:
    with pytest.raises(FilterError, match="operator must be one of eq, ne, "):
        parse_operator(name, "size")


@pytest.mark.parametrize(
    ("operator", "operand", "expected"),
    [
        ("eq", 1.0, (Operator.EQ, 1)),
        ("eq", -0.0, (Operator.EQ, 0)),
        ("lte", 2.5, (Operator.LE, 2.5)),
        ("in", ["a"], (Operator.EQ, "a")),
        ("in", ["a", "a"], (Operator.EQ, "a")),
        ("in", [1, 1.0], (Operator.EQ, 1)),
        ("in", ["b", 10, "a", 9.0, "b"], (Operator.IN, ("a", "b", 10, 9))),
        ("notIn", ["a"], (Operator.NE, "a")),
        ("between", [1.0, 5.0], (Operator.BETWEEN, (1, 5))),
        ("between", [5, 5.0], (Operator.EQ, 5)),
        ("containsAny", ["a"], (Operator.CONTAINS_ANY, ("a",))),
        ("containsAny", ["b", "a", "b"], (Operator.CONTAINS_ANY, ("a", "b"))),
    ],
)
def test_canonical_operands(operator: str, operand: object, expected: object) -> None:
    result = normalise_operand(parse_operator(operator, "f"), operand, "f")
    assert repr(result) == repr(expected)


@given(st.one_of(strategies.scalars, st.floats(allow_nan=False), st.integers(), st.text()), strategies.scalars)
@strategies.thorough
def test_scalar_texts_are_equal_when_kind_and_value_are(left: Any, right: Any) -> None:
    assert (scalar_text(left) == scalar_text(right)) is oracle.equal(left, right)


def test_kinds() -> None:
    values: list[object] = ["a", 1, 1.5, True, None, [], {}, b""]
    assert [kind_of(value) for value in values] == ["string", "number", "number", "boolean", "null", None, None, None]
