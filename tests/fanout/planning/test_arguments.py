"""What a subscription's arguments mean as a filter."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import build_schema

from fanout.planning.arguments import build_limits, read_enhanced_filter, read_plain_filter, takes_enhanced_filter
from fanout.settings import load_settings
from filters import MATCH_ALL, Filter, FilterError, FilterLimits, compile_filter

SCHEMA = build_schema(
    """
    scalar AWSJSON
    input F { a: Int }
    type Query { a: Int }
    type Subscription {
      plain(id: ID, n: Int, tags: [String], f: F): Int
      object(id: ID, filter: F): Int
      strict(filter: F!): Int
      text(id: ID, filter: String): Int
      json(filter: AWSJSON): Int
      number(filter: Int): Int
      list(filter: [String]): Int
    }
    """
)
LIMITS = FilterLimits()


def field(name: str) -> Any:
    assert SCHEMA.subscription_type
    return SCHEMA.subscription_type.fields[name]


@pytest.mark.parametrize(
    ("name", "takes"),
    [("plain", False), ("object", True), ("strict", True), ("text", True), ("json", True), ("number", False)],
)
def test_which_argument_is_an_enhanced_filter(name: str, takes: bool) -> None:
    assert takes_enhanced_filter(field(name)) is takes


@pytest.mark.parametrize("arguments", [{}, {"filter": None}, {"filter": {}}, {"filter": {"and": []}}])
def test_a_filter_without_conditions_is_none(arguments: dict[str, Any]) -> None:
    assert read_enhanced_filter(field("object"), arguments, LIMITS) is None


@pytest.mark.parametrize("text", ["", "  ", "{}", "null", '{"and": []}'])
def test_a_text_without_conditions_is_none(text: str) -> None:
    assert read_enhanced_filter(field("text"), {"filter": text}, LIMITS) is None


@pytest.mark.parametrize(
    ("name", "given"),
    [("object", {"a": {"ge": 5}}), ("text", '{"a": {"ge": 5}}'), ("json", '{"a": {"ge": 5}}')],
)
def test_enhanced_filters_in_each_form(name: str, given: Any) -> None:
    filter_ = read_enhanced_filter(field(name), {"filter": given}, LIMITS)
    assert isinstance(filter_, Filter)
    matches = compile_filter(filter_)
    assert matches({"a": 5})
    assert not matches({"a": 4})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("{", "JSON"),
        ('{"or": []}', "at least one alternative"),
        ('{"a": {"between": [5, 1]}}', "lower value first"),
        ('{"a": {"nope": 5}}', "nope"),
        ('{"a": {"in": [1,2,3,4,5,6]}}', "maximum value limit 5"),
    ],
)
def test_filters_that_are_refused(given: str, text: str) -> None:
    with pytest.raises(FilterError, match=text):
        read_enhanced_filter(field("text"), {"filter": given}, LIMITS)


def test_plain_arguments_are_equalities() -> None:
    matches = compile_filter(read_plain_filter(field("plain"), {"id": "1", "n": None}, LIMITS))
    assert matches({"id": "1"})
    assert matches({"id": "1", "n": None})
    assert not matches({"id": "1", "n": 0})
    assert not matches({"id": 1})


def test_arguments_that_are_left_out_are_no_constraint() -> None:
    assert read_plain_filter(field("plain"), {}, LIMITS) == MATCH_ALL
    assert read_plain_filter(field("object"), {"filter": None}, LIMITS) == MATCH_ALL


def test_a_filter_argument_of_another_type_is_plain() -> None:
    assert compile_filter(read_plain_filter(field("number"), {"filter": 5}, LIMITS))({"filter": 5})


@pytest.mark.parametrize("arguments", [{"tags": ["a"]}, {"f": {"a": 1}}])
def test_lists_and_objects_are_no_plain_arguments(arguments: dict[str, Any]) -> None:
    with pytest.raises(FilterError):
        read_plain_filter(field("plain"), arguments, LIMITS)


def test_too_many_plain_arguments() -> None:
    with pytest.raises(FilterError, match="Filters exceed maximum attributes limit 1 for subscription"):
        read_plain_filter(field("plain"), {"id": "1", "n": 1}, FilterLimits(attributes=1))


def test_limits_come_from_settings() -> None:
    assert build_limits(load_settings({}, {})) == FilterLimits()
    names = ("attributes", "combinations", "in_values", "contains_any_values", "string_length", "path_depth")
    settings = load_settings({f"max_filter_{name}": number for number, name in enumerate(names, 50)}, {})
    assert build_limits(settings) == FilterLimits(50, 51, 52, 53, 54, 55)
