"""Canonical form: it keeps the meaning, and equal filters have equal keys."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.errors import FilterError
from filters.model import MATCH_ALL, Condition, Filter, intersect_filters, parse_path, unite_filters
from filters.operators import Operator
from filters.parse import parse_filter
from tests.filters import oracle, strategies


def on_wire(filter: Filter) -> dict[str, Any]:
    def operand(value: object) -> object:
        return list(value) if isinstance(value, tuple) else value

    return {
        "filterGroup": [
            {
                "filters": [
                    {"fieldName": ".".join(c.path), "operator": c.operator.value, "value": operand(c.value)}
                    for c in group
                ]
            }
            for group in filter.groups
        ]
    }


def condition(field_name: str, operator: Operator, value: Any) -> Condition:
    return Condition(parse_path(field_name), operator, value)


A_IS_1 = condition("a", Operator.EQ, 1)
B_IS_X = condition("b", Operator.EQ, "x")


@given(strategies.filter_groups, strategies.events)
@strategies.thorough
def test_canonical_form_keeps_the_meaning(filter_group: dict[str, Any], event: object) -> None:
    canonical = on_wire(parse_filter(filter_group, strategies.NO_LIMITS))
    assert oracle.matches(canonical, event) is oracle.matches(filter_group, event)


@given(strategies.filter_groups)
@strategies.thorough
def test_canonical_form_is_idempotent(filter_group: dict[str, Any]) -> None:
    filter = parse_filter(filter_group, strategies.NO_LIMITS)
    again = Filter(filter.groups)
    assert again.key == filter.key
    assert repr(again.groups) == repr(filter.groups)
    assert parse_filter(on_wire(filter), strategies.NO_LIMITS) == filter


@given(strategies.filter_groups, st.randoms(use_true_random=False))
@strategies.thorough
def test_order_repetition_and_notation_of_numbers_make_no_difference(filter_group: dict[str, Any], random: Any) -> None:
    def rewrite(value: Any) -> Any:
        if isinstance(value, list):
            return [rewrite(element) for element in value]
        if isinstance(value, int) and not isinstance(value, bool) and int(float(value)) == value:
            return float(value)
        return value

    groups = [list(group["filters"]) for group in filter_group["filterGroup"]] * 2
    random.shuffle(groups)
    for group in groups:
        random.shuffle(group)
    rewritten = {"filterGroup": [{"filters": [{**c, "value": rewrite(c["value"])} for c in group]} for group in groups]}
    filter = parse_filter(filter_group, strategies.NO_LIMITS)
    assert parse_filter(rewritten, strategies.NO_LIMITS) == filter


@given(strategies.filter_groups, strategies.filter_groups)
@strategies.thorough
def test_keys_are_equal_only_for_equal_groups(left: dict[str, Any], right: dict[str, Any]) -> None:
    one, other = (parse_filter(each, strategies.NO_LIMITS) for each in (left, right))
    # repr tells 1 from True, which == does not.
    assert (one.key == other.key) is (repr(one.groups) == repr(other.groups))
    assert (one == other) is (one.key == other.key)
    if one == other:
        assert hash(one) == hash(other)


def test_key_is_readable() -> None:
    filter = Filter([[B_IS_X, A_IS_1], [condition("c.d", Operator.IN, ("z", 2.0))]])
    assert filter.key == '"a" eq 1 & "b" eq "x" | "c.d" in ["z",2]'
    assert repr(filter) == f"<Filter {filter.key}>"


def test_field_names_cannot_imitate_another_filter() -> None:
    imitation = Filter([[condition('a" eq 1 & "b', Operator.EQ, "x")]])
    assert imitation != Filter([[A_IS_1, B_IS_X]])


@pytest.mark.parametrize("groups", [[()], [(A_IS_1,), ()], [(), ()]])
def test_a_group_without_conditions_makes_match_all(groups: list[tuple[Condition, ...]]) -> None:
    assert Filter(groups) == MATCH_ALL
    assert Filter(groups).groups == ((),)


def test_a_filter_without_groups_is_refused() -> None:
    with pytest.raises(FilterError):
        Filter([])


def test_paths() -> None:
    filter = Filter([[A_IS_1, condition("b.c", Operator.NE, 1)], [A_IS_1]])
    assert filter.paths == {("a",), ("b", "c")}
    assert MATCH_ALL.paths == frozenset()


def test_a_filter_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MATCH_ALL.key = "x"  # type: ignore[misc]


def test_filters_differ_from_other_things() -> None:
    assert MATCH_ALL.key != MATCH_ALL


@given(strategies.filter_groups, strategies.filter_groups, strategies.events)
@strategies.thorough
def test_an_intersection_matches_what_both_match(left: dict[str, Any], right: dict[str, Any], event: object) -> None:
    one, other = (parse_filter(each, strategies.NO_LIMITS) for each in (left, right))
    both = on_wire(intersect_filters(one, other))
    assert oracle.matches(both, event) is (oracle.matches(left, event) and oracle.matches(right, event))
    assert intersect_filters(other, one) == intersect_filters(one, other)


@given(strategies.filter_groups, strategies.filter_groups, strategies.events)
@strategies.thorough
def test_a_union_holds_where_either_does(left: dict[str, Any], right: dict[str, Any], event: Any) -> None:
    one, other = (parse_filter(each, strategies.NO_LIMITS) for each in (left, right))
    either = on_wire(unite_filters(one, other))
    assert oracle.matches(either, event) is (oracle.matches(left, event) or oracle.matches(right, event))
    assert unite_filters(other, one) == unite_filters(one, other)


def test_match_all_is_neutral_in_an_intersection() -> None:
    filter = Filter([[A_IS_1], [B_IS_X]])
    assert intersect_filters(filter, MATCH_ALL) == filter == intersect_filters(MATCH_ALL, filter)


@pytest.mark.parametrize("field_name", ["", ".", "a.", ".a", "a..b", "\ud800"])
def test_bad_field_names_are_refused(field_name: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_path(field_name)
    assert caught.value.message.encode()


def test_equal_paths_are_one_object() -> None:
    assert parse_path("a.b") is parse_path("a." + "b"[:])
