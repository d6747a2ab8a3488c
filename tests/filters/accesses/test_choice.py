"""Which accesses are offered, in which order, and what they establish."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.accesses.choice import Store, list_accesses
from filters.model import Condition, Filter
from filters.operators import Operator
from filters.parse import parse_filter
from tests.filters import strategies


def group_of(*conditions: tuple[str, str, Any]) -> tuple[Condition, ...]:
    [group] = Filter(
        [[Condition(tuple(path.split(".")), Operator(name), value) for path, name, value in conditions]]
    ).groups
    return group


def offered(*conditions: tuple[str, str, Any]) -> list[tuple[str, list[tuple[Store, Any]]]]:
    return [
        (".".join(access.path), [tuple(spot) for spot in access.spots])
        for access in list_accesses(group_of(*conditions))
    ]


@pytest.mark.parametrize(
    ("operator", "value", "spots"),
    [
        ("eq", "x", [(Store.VALUES, "x")]),
        ("in", ("x", 2), [(Store.VALUES, "x"), (Store.VALUES, 2)]),
        ("eq", None, [(Store.ABSENCES, ("f",))]),
        ("contains", "x", [(Store.ELEMENTS, "x"), (Store.NEEDLES, "x")]),
        ("contains", 2, [(Store.ELEMENTS, 2)]),
        ("containsAny", ("x", 2), [(Store.ELEMENTS, "x"), (Store.ELEMENTS, 2)]),
        ("beginsWith", "x", [(Store.PREFIXES, "x")]),
        ("between", (1, 2), [(Store.NUMBER_INTERVALS, (1, 2))]),
        ("between", ("a", "b"), [(Store.STRING_INTERVALS, ("a", "b"))]),
        ("lt", 1, [(Store.NUMBERS_LT, 1)]),
        ("le", "x", [(Store.STRINGS_LE, "x")]),
        ("gt", 1.5, [(Store.NUMBERS_GT, 1.5)]),
        ("ge", "x", [(Store.STRINGS_GE, "x")]),
    ],
)
def test_where_a_condition_hangs(operator: str, value: Any, spots: list[tuple[Store, Any]]) -> None:
    [(path, found)] = offered(("f", operator, value))
    assert path == "f"
    assert sorted(found, key=str) == sorted(spots, key=str)


@pytest.mark.parametrize(("operator", "value"), [("ne", "x"), ("notIn", ("x", "y")), ("notContains", "x")])
def test_what_excludes_is_no_access(operator: str, value: Any) -> None:
    assert offered(("f", operator, value)) == []


def test_the_order_is_by_rank_and_then_by_guess() -> None:
    conditions = [
        ("a", "ge", 1),
        ("b", "between", (1, 2)),
        ("c", "eq", None),
        ("d", "beginsWith", "x"),
        ("e", "eq", True),
        ("f", "in", ("x", "y")),
        ("g", "eq", "x"),
        ("userId", "eq", 7),
        ("h", "ne", 1),
    ]
    assert [path for path, _ in offered(*conditions)] == ["userId", "g", "f", "e", "d", "b", "c", "a"]


def test_a_lower_and_an_upper_bound_are_an_interval() -> None:
    assert offered(("f", "ge", 1), ("f", "lt", 5)) == [("f", [(Store.NUMBER_INTERVALS, (1, 5))])]
    [access] = list_accesses(group_of(("f", "ge", 1), ("f", "lt", 5)))
    assert [condition.operator for condition in access.conditions] == [Operator.GE], (
        "5 itself is found, and must not be"
    )
    assert offered(("f", "gt", 1), ("f", "le", "x"))[0][1][0][0] in (Store.NUMBERS_GT, Store.STRINGS_LE)
    assert len(offered(("f", "gt", 1), ("f", "ge", 2))) == 1


@given(st.lists(strategies.conditions(), min_size=1, max_size=6))
@strategies.thorough
def test_the_accesses_of_a_group_share_no_spot(wire: list[dict[str, Any]]) -> None:
    conditions = [
        condition
        for each in wire
        for [condition] in parse_filter({"filterGroup": [{"filters": [each]}]}, strategies.NO_LIMITS).groups
    ]
    [group] = Filter([conditions]).groups
    accesses = list_accesses(group)
    assert accesses == list_accesses(group)
    paths = [access.path for access in accesses]
    assert len(set(paths)) == len(paths)
    assert all(access.spots for access in accesses)
