"""The nested form: the guide's rules by example, and its meaning by an oracle."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from filters.errors import FilterError
from filters.model import FilterLimits
from filters.parse import parse_filter
from filters.transform import to_subscription_filter
from tests.filters import oracle, strategies


def expand(*arguments: Any, **keywords: Any) -> list[list[tuple[str, str, Any]]]:
    """The expansion, shortened: per alternative its (field, operator, value)."""
    result = to_subscription_filter(*arguments, **keywords)
    assert list(result) == ["filterGroup"]
    assert all(list(group) == ["filters"] for group in result["filterGroup"])
    return [
        [(entry["fieldName"], entry["operator"], entry["value"]) for entry in group["filters"]]
        for group in result["filterGroup"]
    ]


# The guide's example in other words: two operators on a field, an `and`, an `or`.
PRICED = {
    "discount": {"lte": 50, "gte": 20},
    "and": [{"name": {"ne": "sample"}}, {"stock": {"gt": 100}}],
    "or": [{"seller": {"eq": "us"}}, {"hidden": {"eq": False}}],
}


def test_the_guides_example() -> None:
    rest = [("name", "ne", "sample"), ("stock", "gt", 100)]
    assert expand(PRICED) == [
        [("discount", "lte", 50), *rest, ("seller", "eq", "us")],
        [("discount", "lte", 50), *rest, ("hidden", "eq", False)],
        [("discount", "gte", 20), *rest, ("seller", "eq", "us")],
        [("discount", "gte", 20), *rest, ("hidden", "eq", False)],
    ]


def test_the_guides_example_with_ignored_fields() -> None:
    assert expand(PRICED, ["discount", "seller"]) == [
        [("name", "ne", "sample"), ("stock", "gt", 100), ("hidden", "eq", False)]
    ]


def test_the_guides_example_with_rules() -> None:
    base = [("name", "ne", "sample"), ("stock", "gt", 100), ("hidden", "eq", False)]
    rules = {"votes": {"gte": 250}, "seller": {"eq": "me"}}
    assert expand(PRICED, ["discount", "seller"], rules) == [
        [*base, ("votes", "gte", 250)],
        [*base, ("seller", "eq", "me")],
    ]


def test_several_operators_on_a_field_are_alternatives() -> None:
    obj = {"a": {"ge": 1, "eq": 0}, "or": [{"b": {"eq": "x"}}, {"c": {"eq": "y"}}]}
    assert expand(obj) == [
        [("a", "ge", 1), ("b", "eq", "x")],
        [("a", "ge", 1), ("c", "eq", "y")],
        [("a", "eq", 0), ("b", "eq", "x")],
        [("a", "eq", 0), ("c", "eq", "y")],
    ]


def test_and_and_or_inside_one_another() -> None:
    obj = {"and": [{"a": {"eq": 1}}, {"or": [{"b": {"eq": 2}}, {"and": [{"c": {"eq": 3}}, {"d.e": {"eq": 4}}]}]}]}
    assert expand(obj) == [[("a", "eq", 1), ("b", "eq", 2)], [("a", "eq", 1), ("c", "eq", 3), ("d.e", "eq", 4)]]


def test_json_text_instead_of_an_object() -> None:
    assert expand(json.dumps(PRICED)) == expand(PRICED)


def test_the_result_is_what_parse_filter_reads() -> None:
    assert len(parse_filter(to_subscription_filter(PRICED)).groups) == 4


@pytest.mark.parametrize(
    "obj", [{}, None, "{}", "null", {"a": {}}, {"a": None}, {"and": []}, {"or": [{}, {"and": [{}]}]}, {"and": None}]
)
def test_nothing_asked(obj: object) -> None:
    assert expand(obj) == []
    assert expand(obj, (), {"a": {"eq": 1}, "b": {"eq": 2}}) == [[("a", "eq", 1)], [("b", "eq", 2)]]


def test_ignoring_all_fields_leaves_the_rules() -> None:
    assert expand({"a": {"eq": 1}}, ["a"]) == []
    assert expand({"a": {"eq": "anyone"}}, ["a"], {"a": {"eq": "me"}}) == [[("a", "eq", "me")]]


def test_not_is_refused_in_the_words_that_clients_know() -> None:
    for obj in ({"not": {"a": {"eq": 1}}}, {"and": [{"or": [{"not": None}]}]}):
        with pytest.raises(FilterError, match="The variables input contains a field name 'not'"):
            to_subscription_filter(obj)


@pytest.mark.parametrize(
    "obj",
    [
        [],
        1,
        True,
        "",
        "{",
        "[]",
        '{"a": NaN}',
        '{"a": {"eq": -Infinity}}',
        "1" * 5000,
        "[" * 100_000,
        {"a": 1},
        {"a": "x"},
        {"a": ["x"]},
        {"and": {"a": {"eq": 1}}},
        {"or": "x"},
        {"and": [1]},
        {1: {"eq": 1}},
    ],
)
def test_other_shapes_are_refused(obj: object) -> None:
    with pytest.raises(FilterError, match=r"^filter: "):
        to_subscription_filter(obj)


@pytest.mark.parametrize("obj", [{"or": []}, {"a": {"eq": 1}, "or": []}, {"and": [{"or": []}]}, '{"or": []}'])
def test_an_empty_or_is_refused(obj: object) -> None:
    with pytest.raises(FilterError, match=r"^filter: `or` takes at least one alternative"):
        to_subscription_filter(obj)
    with pytest.raises(FilterError, match=r"^filter: `or` takes at least one alternative"):
        to_subscription_filter(obj, (), {"a": {"eq": 1}})


@pytest.mark.parametrize("rules", [{"a": {}}, {"a": {"eq": 1, "ne": 2}}, {"a": 1}, {"and": [{}]}, {"or": {"eq": 1}}])
def test_bad_rules_are_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(FilterError, match=r"^filter: "):
        to_subscription_filter({}, (), rules)


def test_at_most_ten_combinations() -> None:
    text = r"^Filters combination exceed maximum limit 10 for subscription\.$"
    eleven = {"or": [{"a": {"eq": number}} for number in range(11)]}
    with pytest.raises(FilterError, match=text):
        to_subscription_filter(eleven)
    assert len(expand(eleven, limits=FilterLimits(combinations=11))) == 11
    with pytest.raises(FilterError, match=text):
        to_subscription_filter({"a": {"eq": 1, "ne": 2}}, (), {name: {"eq": 1} for name in "bcdefg"})


def test_an_expansion_without_end_is_refused_at_once() -> None:
    choice = {"or": [{"a": {"eq": 1}}, {"b": {"eq": 2}}]}
    with pytest.raises(FilterError, match="combination"):
        to_subscription_filter({"and": [choice] * 1000})


def test_deep_nesting_is_refused() -> None:
    obj: dict[str, Any] = {"a": {"eq": 1}}
    for _ in range(60):
        obj = {"and": [obj]}
    assert expand(obj) == [[("a", "eq", 1)]]
    for _ in range(10_000):
        obj = {"or": [obj]}
    with pytest.raises(FilterError, match="nested deeper than 64 levels"):
        to_subscription_filter(obj)


@given(
    strategies.nested_filters,
    strategies.events,
    st.sets(st.sampled_from(strategies.FIELD_NAMES), max_size=2),
    st.dictionaries(st.sampled_from("abc"), strategies.conditions(), max_size=2),
)
@strategies.thorough
def test_the_expansion_means_the_same(
    obj: dict[str, Any], event: object, ignored_fields: set[str], conditions: dict[str, dict[str, Any]]
) -> None:
    rules = {name: {condition["operator"]: condition["value"]} for name, condition in conditions.items()}
    try:
        expanded = to_subscription_filter(obj, ignored_fields, rules, FilterLimits(combinations=200))
    except FilterError as error:
        assume("combination" not in error.message)
        raise
    wanted = oracle.satisfies(obj, event, ignored_fields)
    if rules:
        one_rule_holds = oracle.satisfies({"or": [{name: rule} for name, rule in rules.items()]}, event)
        wanted = one_rule_holds if wanted is None else wanted and one_rule_holds
    if wanted is None:
        assert expanded == {"filterGroup": []}
    else:
        assert oracle.matches(expanded, event) is wanted


@given(st.one_of(strategies.garbage, st.text(), strategies.garbage.map(repr)), strategies.garbage)
@strategies.thorough
def test_garbage_gives_a_filter_group_or_a_filter_error(obj: object, inner: object) -> None:
    for candidate in (obj, {"and": [obj, {"a": inner}]}, {"a": {"eq": inner}, "or": obj}):
        try:
            text = parse_filter(to_subscription_filter(candidate)).key
        except FilterError as error:
            text = error.message
        assert text.encode()
