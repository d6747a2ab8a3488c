"""Events and filters for property tests: few fields and values, so that most things meet, and all that collide."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from filters import FilterLimits

# No deadline: the machine that runs the tests may be busy with something else.
thorough = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
brief = settings(thorough, max_examples=100)

NO_LIMITS = FilterLimits(None, None, None, None, None, None)

FIELD_NAMES = ["a", "b", "c", "a.b", "a.b.c", "b.a", "c.ä"]

strings = st.sampled_from(
    ["", "1", "a", "ab", "abc", "b", "true", "null", "ä", "\U0001f600", "x" * 100, "x" * 99 + "y"]
)
numbers = st.sampled_from([0, 1, 2, -1, 0.0, 1.0, 0.5, 1.5, -0.0, 2**53, 2**53 + 1, float(2**53), 1e300, 5e-324])
scalars = st.one_of(st.none(), st.booleans(), strings, numbers)
ordered = st.one_of(strings, numbers)

values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(scalars, st.lists(scalars, max_size=3)),
    lambda inner: st.dictionaries(st.sampled_from("abcä"), inner, max_size=3),
    max_leaves=6,
)
events = st.one_of(st.dictionaries(st.sampled_from("abc"), values, max_size=3), values)
garbage = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters()),
        st.binary(max_size=2),
        st.sampled_from(
            ["filterGroup", "filters", "fieldName", "operator", "value", "eq", "in", "and", "or", "a", "a.b"]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def operands_of(operator: str) -> st.SearchStrategy[Any]:
    match operator:
        case "eq" | "ne":
            return scalars
        case "in" | "notIn":
            return st.lists(ordered, min_size=1, max_size=4)
        case "containsAny":
            return st.lists(ordered, min_size=1, max_size=12)
        case "between":
            return st.one_of(*(st.lists(kind, min_size=2, max_size=2).map(sorted) for kind in (strings, numbers)))
        case "beginsWith":
            return strings
    return ordered


OPERATOR_NAMES = (
    *("eq", "ne", "lt", "le", "lte", "gt", "ge", "gte", "contains", "notContains"),
    *("beginsWith", "in", "notIn", "between", "containsAny"),
)


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    """One condition as it is on the wire."""
    # eq comes up more often than the others: indexing turns on it.
    operator = draw(st.one_of(st.just("eq"), st.sampled_from(OPERATOR_NAMES)))
    return {"fieldName": draw(st.sampled_from(FIELD_NAMES)), "operator": operator, "value": draw(operands_of(operator))}


groups = st.lists(conditions(), min_size=1, max_size=3, unique_by=lambda condition: condition["fieldName"])
filter_groups = st.lists(groups.map(lambda group: {"filters": group}), min_size=1, max_size=3).map(
    lambda entries: {"filterGroup": entries}
)


@st.composite
def operator_objects(draw: st.DrawFn) -> dict[str, Any]:
    """`{operator: operand, ...}` of the nested form."""
    operators = draw(st.lists(st.sampled_from(OPERATOR_NAMES), max_size=2, unique=True))
    return {operator: draw(operands_of(operator)) for operator in operators}


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {},
        optional={
            "a": operator_objects(),
            "b": st.one_of(st.none(), operator_objects()),
            "and": st.lists(inner, max_size=2),
            "or": st.lists(inner, min_size=1, max_size=2),
        },
    )


nested_filters = st.recursive(
    st.dictionaries(st.sampled_from(FIELD_NAMES), operator_objects(), max_size=2), _nested, max_leaves=6
)
