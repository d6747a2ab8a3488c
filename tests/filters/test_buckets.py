"""Bucket keys: an event that matches a filter is always in one of its buckets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.buckets import CATCH_ALL, BucketKey, access_candidates, bucket_keys, event_bucket_keys
from filters.model import MATCH_ALL, Condition, Filter
from filters.operators import Operator
from filters.parse import build_equality_filter, parse_filter
from tests.filters import oracle, strategies


def eq(name: str, value: Any) -> Condition:
    return Condition((name,), Operator.EQ, value)


@given(strategies.filter_groups, strategies.events, st.lists(st.sampled_from(strategies.FIELD_NAMES)))
@strategies.thorough
def test_a_matching_event_is_in_a_bucket_of_the_filter(
    filter_group: dict[str, Any], event: object, more_paths: list[str]
) -> None:
    keys = bucket_keys(parse_filter(filter_group, strategies.NO_LIMITS))
    paths = [*more_paths, *{key.path for key in keys if key != CATCH_ALL}]
    if oracle.matches(filter_group, event):
        assert keys & {CATCH_ALL, *event_bucket_keys(event, paths)}


@given(strategies.scalars, strategies.scalars)
@strategies.thorough
def test_whole_tokens_are_equal_when_kind_and_value_are(left: Any, right: Any) -> None:
    """Whether a filter's buckets and an event's meet; long strings are cut, and may meet others of their length."""
    found = bucket_keys(build_equality_filter({"a": left})) & set(event_bucket_keys({"a": right}, ["a"]))
    if isinstance(left, str) and len(left) > 96:
        assert found or not oracle.equal(left, right)
    else:
        assert bool(found) is oracle.equal(left, right)


def test_tokens_are_short_and_tell_most_long_strings_apart() -> None:
    texts = ["x" * 100_000, "x" * 100_001, "y" + "x" * 99_999, "x" * 99_999 + "y", "l100000:" + "x" * 80]
    tokens = {event_bucket_keys({"a": text}, ["a"])[0].token for text in texts}
    assert len(tokens) == len(texts)
    assert max(map(len, tokens)) < 110


def test_keys_of_each_kind() -> None:
    event = {"s": "x", "n": 1.0, "f": 1.5, "t": True, "z": None, "l": [1], "o": {"s": "deep"}}
    paths = ["s", "n", "f", "t", "z", "missing", "l", "o", "o.s", "s.s"]
    assert event_bucket_keys(event, paths) == [
        ("s", "sx"),
        ("n", "n1"),
        ("f", "n1.5"),
        ("t", "true"),
        ("z", "null"),
        ("missing", "null"),
        ("o.s", "sdeep"),
        ("s.s", "null"),
    ]
    assert event_bucket_keys([], ["s"]) == [BucketKey("s", "null")]


def test_a_group_is_in_the_buckets_of_one_condition() -> None:
    either = Condition(("b",), Operator.IN, ("x", 2))
    assert bucket_keys(Filter([[either, Condition(("a",), Operator.GT, 1)]])) == {("b", "sx"), ("b", "n2")}
    assert bucket_keys(Filter([[eq("a", 1), eq("c", True)], [either]])) == {("a", "n1"), ("b", "sx"), ("b", "n2")}


@pytest.mark.parametrize("operator", [operator for operator in Operator if operator not in (Operator.EQ, Operator.IN)])
def test_groups_without_equality_are_in_the_catch_all_bucket(operator: Operator) -> None:
    value = ("x", "y") if operator in (Operator.NOT_IN, Operator.BETWEEN, Operator.CONTAINS_ANY) else "x"
    group = [Condition(("a",), operator, value)]
    assert bucket_keys(Filter([group])) == {CATCH_ALL}
    assert bucket_keys(Filter([[eq("b", 1)], group])) == {CATCH_ALL}
    assert bucket_keys(Filter([[eq("b", 1), *group]])) == {("b", "n1")}
    assert bucket_keys(MATCH_ALL) == {CATCH_ALL}


def test_the_probably_most_selective_condition_comes_first() -> None:
    flag, null = eq("aId", True), eq("b", None)
    short, long, number = eq("c", "x"), eq("d", "xyz"), eq("e", 1)
    choice, id_choice = Condition(("f",), Operator.IN, ("a", "b")), Condition(("room", "id"), Operator.IN, (1, 2))
    room = eq("roomId", 1)
    best_first = [room, id_choice, long, short, number, choice, flag, null]
    assert access_candidates((flag, null, short, long, number, choice, id_choice, room)) == best_first
    assert access_candidates((eq("paid", "x"), eq("id", "x")))[0].path == ("id",)
    assert access_candidates((Condition(("a",), Operator.NE, 1),)) == []
