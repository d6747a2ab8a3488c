"""The index finds what a look at every filter finds, whatever was added and removed before."""

from __future__ import annotations

import sys
from functools import reduce
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from filters.index import FilterIndex
from filters.model import MATCH_ALL, Filter, intersect_filters
from filters.operators import Operand, Operator, select_test
from filters.parse import build_equality_filter, parse_filter
from tests.filters import oracle, strategies


def room_index(count: int) -> FilterIndex[str]:
    index: FilterIndex[str] = FilterIndex()
    for number in range(count):
        index.add(f"key-{number}", build_equality_filter({"room": f"r{number}", "kind": "message"}))
    return index


def count_tests(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The fields that the tests of any filter added from now on are asked about."""
    calls: list[object] = []

    def select_counting(operator: Operator, operand: Operand) -> Any:
        test, prepared = select_test(operator, operand)

        def counting(field: Any, value: Any) -> bool:
            calls.append(field)
            return test(field, value)

        return counting, prepared

    monkeypatch.setattr("filters.compile.select_test", select_counting)
    return calls


def condition(field_name: str, operator: str, value: Any) -> dict[str, Any]:
    return {"fieldName": field_name, "operator": operator, "value": value}


def any_of(*groups: list[dict[str, Any]]) -> Filter:
    return parse_filter({"filterGroup": [{"filters": group} for group in groups]}, strategies.NO_LIMITS)


def test_a_group_is_tested_once_per_distinct_filter_and_event(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_tests(monkeypatch)
    index: FilterIndex[int] = FilterIndex()
    filter = any_of([condition("tags", "containsAny", ["x", "y", "z"]), condition("score", "ne", 1)])
    for number in range(50):
        index.add(number, filter)
    assert len(index.match({"tags": ["x", "y"], "score": 2})) == 50
    assert index.match({"tags": ["x", "y"], "score": 1}) == []
    assert calls == [2, 1]
    assert index.match({"tags": ["other"], "score": 2}) == []
    assert calls == [2, 1], "an event that no access finds is not tested"


@pytest.mark.parametrize(
    ("operator", "operand", "field"),
    [
        ("eq", "x", "x"),
        ("eq", None, None),
        ("in", ["x", "y"], "x"),
        ("contains", "x", ["x"]),
        ("contains", "x", "-x-"),
        ("containsAny", ["x", "y"], ["y"]),
        ("beginsWith", "x", "xy"),
        ("between", [1, 3], 3),
        ("ge", 1, 1),
        ("lt", "x", "b"),
    ],
)
def test_what_the_lookup_has_established_is_not_tested_again(
    monkeypatch: pytest.MonkeyPatch, operator: str, operand: Any, field: Any
) -> None:
    calls = count_tests(monkeypatch)
    index: FilterIndex[str] = FilterIndex()
    index.add("key", any_of([condition("field", operator, operand)]))
    assert index.match({"field": field}) == ["key"]
    assert index.match({"field": 0}) == []
    assert calls == []


def test_only_excluding_operators_are_scanned() -> None:
    index: FilterIndex[str] = FilterIndex()
    for operator in Operator:
        operand: Any = {"in": ["a", "b"], "notIn": ["a", "b"], "between": ["a", "b"], "containsAny": ["a"]}.get(
            operator.value, "a"
        )
        index.add(operator.value, any_of([condition("field", operator.value, operand)]))
    assert "3 scanned" in repr(index)


def test_the_work_of_a_match_does_not_grow_with_filters_that_do_not_fit() -> None:
    def lines_run(count: int) -> int:
        index, event = room_index(count), {"room": "r1", "kind": "message"}
        ran = 0

        def trace(frame: Any, what: str, argument: object) -> Any:
            nonlocal ran
            ran += what == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            assert index.match(event) == ["key-1"]
        finally:
            sys.settrace(before)
        return ran

    assert lines_run(10) == lines_run(2000)


def test_an_access_that_many_filters_share_is_avoided() -> None:
    index = room_index(100)
    assert "1 at kind values, 99 at room values" in repr(index)


def test_paths_are_looked_at_only_while_a_filter_uses_them() -> None:
    index: FilterIndex[str] = FilterIndex()
    index.add("one", build_equality_filter({"room": "x"}))
    index.add("two", build_equality_filter({"room": "x"}))
    index.add("three", build_equality_filter({"author": "x"}))
    assert "1 at room values" in repr(index)
    index.remove("one")
    assert "1 at room values" in repr(index)
    index.remove("two")
    assert "room" not in repr(index)
    assert index.match({"room": "x", "author": "x"}) == ["three"]


def test_true_and_one_on_the_same_path_of_one_filter() -> None:
    index: FilterIndex[str] = FilterIndex()
    groups = [[{"fieldName": "a", "operator": "eq", "value": value}] for value in (1, True)]
    index.add("key", parse_filter({"filterGroup": [{"filters": group} for group in groups]}))
    assert index.match({"a": True}) == index.match({"a": 1.0}) == ["key"]
    assert index.match({"a": False}) == []


def test_true_and_one_on_the_same_path_of_one_group() -> None:
    one, true = (build_equality_filter({"a": value}) for value in (1, True))
    index: FilterIndex[str] = FilterIndex()
    index.add("impossible", intersect_filters(one, true))
    assert index.match({"a": 1}) == index.match({"a": True}) == []


def test_groups_of_one_filter_that_share_their_access() -> None:
    groups = [
        [{"fieldName": "room", "operator": "eq", "value": "x"}, {"fieldName": name, "operator": "gt", "value": 1}]
        for name in ("score", "votes")
    ]
    index: FilterIndex[str] = FilterIndex()
    index.add("key", parse_filter({"filterGroup": [{"filters": group} for group in groups]}))
    assert index.match({"room": "x", "score": 2, "votes": 2}) == ["key"]
    assert index.match({"room": "x", "score": 1, "votes": 2}) == ["key"]
    assert index.match({"room": "x", "score": 1, "votes": 1}) == []
    index.remove("key")
    assert index.match({"room": "x", "score": 2, "votes": 2}) == []


def test_the_result_may_be_used_while_the_index_changes() -> None:
    index = room_index(3)
    index.add("all", MATCH_ALL)
    for key in index.match({"room": "r1", "kind": "message"}):
        index.remove(key)
    assert len(index) == 2
    assert index.match({"room": "r1", "kind": "message"}) == []


def test_match_all_matches_anything() -> None:
    index: FilterIndex[str] = FilterIndex()
    index.add("key", MATCH_ALL)
    events: list[object] = [{}, None, [], "x", {"a": 1}]
    assert [index.match(event) for event in events] == [["key"]] * 5


Demand = tuple[dict[str, Any], ...]
"""Filters on the wire that all have to hold: what `intersect_filters` makes one filter of."""

demands: st.SearchStrategy[Demand] = st.one_of(
    st.tuples(strategies.filter_groups), st.tuples(strategies.filter_groups, strategies.filter_groups)
)


def build(demand: Demand) -> Filter:
    return reduce(intersect_filters, [parse_filter(each, strategies.NO_LIMITS) for each in demand])


def is_met(demand: Demand, event: object) -> bool:
    return all(oracle.matches(each, event) for each in demand)


class IndexAgainstDict(RuleBasedStateMachine):
    """Any sequence of additions, removals and matches, beside a plain dict of all filters."""

    def __init__(self) -> None:
        super().__init__()
        self.index: FilterIndex[int] = FilterIndex()
        self.demands: dict[int, Demand] = {}

    @rule(key=st.integers(0, 12), demand=demands)
    def add(self, key: int, demand: Demand) -> None:
        if key in self.demands:
            with pytest.raises(ValueError, match="already"):
                self.index.add(key, build(demand))
        else:
            self.index.add(key, build(demand))
            self.demands[key] = demand

    @rule(key=st.integers(0, 12), other=st.integers(0, 12))
    def add_the_same_filter(self, key: int, other: int) -> None:
        if other in self.demands:
            self.add(key, self.demands[other])

    @rule(key=st.integers(0, 12))
    def remove(self, key: int) -> None:
        if key in self.demands:
            self.index.remove(key)
            del self.demands[key]
        else:
            with pytest.raises(KeyError):
                self.index.remove(key)

    @rule(event=strategies.events)
    def match(self, event: object) -> None:
        assert sorted(self.index.match(event)) == sorted(
            key for key, demand in self.demands.items() if is_met(demand, event)
        )

    @invariant()
    def knows_its_keys(self) -> None:
        assert len(self.index) == len(self.demands)
        assert all((key in self.index) is (key in self.demands) for key in range(13))

    def teardown(self) -> None:
        for key in self.demands:
            self.index.remove(key)
        assert repr(self.index) == "<FilterIndex: 0 keys, 0 filters, 0 scanned, spots {}>"


@pytest.fixture
def everything_is_crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few filters are as many thousand: spots become nodes, chunks are split and runs of chunks are several."""
    monkeypatch.setattr("filters.accesses.node.CROWD", 2)
    monkeypatch.setattr("filters.accesses.bounds._LARGEST_CHUNK", 2)
    monkeypatch.setattr("filters.accesses.intervals._LARGEST_CHUNK", 2)
    monkeypatch.setattr("filters.accesses.intervals._RUN", 2)


def run_any_sequence_of_operations() -> None:
    run_state_machine_as_test(
        IndexAgainstDict, settings=settings(strategies.thorough, max_examples=100, stateful_step_count=40)
    )


def test_any_sequence_of_operations() -> None:
    run_any_sequence_of_operations()


@pytest.mark.usefixtures("everything_is_crowded")
def test_any_sequence_of_operations_in_a_crowd() -> None:
    run_any_sequence_of_operations()


def check_against_the_oracle(wanted: list[Demand], events: list[object]) -> None:
    index: FilterIndex[int] = FilterIndex()
    for number, demand in enumerate(wanted):
        index.add(number, build(demand))
    for event in events:
        assert sorted(index.match(event)) == [number for number, demand in enumerate(wanted) if is_met(demand, event)]


@given(st.lists(demands, max_size=6), st.lists(strategies.events, min_size=1, max_size=4))
@strategies.thorough
def test_matches_are_those_of_the_oracle(wanted: list[Demand], events: list[object]) -> None:
    check_against_the_oracle(wanted, events)


@pytest.mark.usefixtures("everything_is_crowded")
@given(st.lists(demands, min_size=6, max_size=25), st.lists(strategies.events, min_size=1, max_size=4))
@settings(strategies.brief, max_examples=40, suppress_health_check=list(HealthCheck))
def test_matches_in_a_crowd_are_those_of_the_oracle(wanted: list[Demand], events: list[object]) -> None:
    check_against_the_oracle(wanted, events)
