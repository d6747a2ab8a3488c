"""Values of nested resolvers in events; `test_field_calls` and `test_executor` have events of whole documents."""

from __future__ import annotations

import gc
from typing import Any

from fanout.execution.mutation_events import NestedValues, box_values
from fanout.schema.sdl import parse_schema
from fanout.schema.selection import AbstractSelection, ObjectSelection, SelectedField

GRAPHQL = parse_schema("type Query { a: A n: N } interface N { b: A } type A implements N { b: A c: Int }").graphql
A: Any = GRAPHQL.get_type("A")
N: Any = GRAPHQL.get_type("N")


def select(*fields: str | tuple[str, ObjectSelection | AbstractSelection]) -> ObjectSelection:
    named = [(field, None) if isinstance(field, str) else field for field in fields]
    return ObjectSelection(A, tuple(SelectedField(name, name, A, nested) for name, nested in named), "")


def test_what_was_made_takes_the_place_of_what_the_object_has() -> None:
    nested = NestedValues()
    inner = {"c": 2}
    value = {"b": "raw", "c": 1, "other": 3}
    nested.reserve(value, "b")[0] = [inner, None, [{"c": 4}]]
    nested.reserve(inner, "c")[0] = 5
    merged = nested.merge(select(("b", select("c")), "c"), value)
    assert merged == {"b": [{"c": 5}, None, [{"c": 4}]], "c": 1}
    assert value == {"b": "raw", "c": 1, "other": 3}
    assert inner == {"c": 2}


def test_without_any_the_value_is_itself() -> None:
    value = {"b": 1}
    assert NestedValues().merge(select("b"), value) is value
    nested = NestedValues()
    nested.reserve({"b": 1}, "b")
    assert nested.merge(None, value) is value


def test_the_first_place_in_the_document_counts_and_one_that_was_never_filled_is_null() -> None:
    nested = NestedValues()
    value: dict[str, Any] = {}
    first, second = nested.reserve(value, "b"), nested.reserve(value, "b")
    second[0] = 2
    assert nested.merge(select("b"), value) == {"b": None}
    first[0] = 1
    assert nested.merge(select("b"), value) == {"b": 1}


def test_of_an_abstract_type_the_value_s_own_counts() -> None:
    nested = NestedValues()
    values: list[Any] = [{"__typename": "A", "c": 1}, {"__typename": "B"}, {"__typename": []}, {}, "text"]
    nested.reserve(values[0], "c")[0] = 2
    merged = nested.merge(AbstractSelection(N, {"A": select("c", "__typename")}, ""), values)
    assert merged == [{"__typename": "A", "c": 2}, *values[1:]]


def test_what_is_no_object_is_boxed() -> None:
    plain: list[Any] = [None, {"a": 1}, [{"a": 1}, None], []]
    for value in (None, {"a": 1}, plain[:2]):
        assert box_values(value) is value
    boxed = box_values(["x", None, [1, {}]])
    assert (boxed[0].value, boxed[1], boxed[2][0].value, boxed[2][1]) == ("x", None, 1, {})
    assert boxed[0] == {}


def test_objects_are_told_apart_although_they_are_gone() -> None:
    """An id of an object that is no more may be that of another."""
    nested = NestedValues()
    for number in range(100):
        nested.reserve({"n": number}, "c")[0] = number
        gc.collect(0)
    assert nested.merge(select("c"), {"c": "own"}) == {"c": "own"}
    assert nested.reserve("no object", "c") == [None]
