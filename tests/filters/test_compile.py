"""A compiled predicate says what the oracle says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from filters.compile import compile_conditions, compile_filter
from filters.model import MATCH_ALL, Condition
from filters.operators import Operator
from filters.parse import parse_filter
from tests.filters import oracle, strategies


@given(strategies.filter_groups, strategies.events)
@strategies.thorough
def test_a_predicate_is_the_oracles_judgement(filter_group: dict[str, Any], event: object) -> None:
    predicate = compile_filter(parse_filter(filter_group, strategies.NO_LIMITS))
    assert predicate(event) is oracle.matches(filter_group, event)


@pytest.mark.parametrize("event", [None, {}, [], "x", {"a": 1}])
def test_match_all(event: object) -> None:
    assert compile_filter(MATCH_ALL)(event) is True
    assert compile_conditions([])(event) is True


def test_top_level_and_nested_conditions_in_one_group() -> None:
    predicate = compile_conditions(
        [
            Condition(("a",), Operator.EQ, 1),
            Condition(("b", "c"), Operator.GT, 2),
            Condition(("d",), Operator.NE, None),
        ]
    )
    assert predicate({"a": 1, "b": {"c": 3}, "d": ""})
    assert not predicate({"a": 1, "b": {"c": 2}, "d": ""})
    assert not predicate({"a": 1, "b": 3, "d": ""})
    assert not predicate([])


def test_operators_with_many_values() -> None:
    values = list(range(20))
    group = [{"fieldName": "a", "operator": "containsAny", "value": values}]
    predicate = compile_filter(parse_filter({"filterGroup": [{"filters": group}]}))
    assert predicate({"a": [[], "x", 7.0]})
    assert not predicate({"a": [True, {}, "1", 20]})
