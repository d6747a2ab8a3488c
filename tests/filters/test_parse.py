"""The filterGroup form and plain arguments: what is read, what is refused, and with which text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.errors import FilterError
from filters.model import APPSYNC_LIMITS, MATCH_ALL, Condition, Filter, FilterLimits
from filters.operators import Operator
from filters.parse import build_equality_filter, parse_filter
from tests.filters import oracle, strategies


def entry(field_name: object = "a", operator: object = "eq", value: object = 1) -> dict[str, object]:
    return {"fieldName": field_name, "operator": operator, "value": value}


def filter_group(*groups: list[dict[str, object]]) -> dict[str, object]:
    return {"filterGroup": [{"filters": group} for group in groups]}


def refusal(obj: object, limits: FilterLimits = APPSYNC_LIMITS) -> FilterError:
    with pytest.raises(FilterError) as caught:
        parse_filter(obj, limits)
    return caught.value


def test_a_filter_of_two_groups() -> None:
    parsed = parse_filter(filter_group([entry("a", "ge", 1), entry("b.c", "in", ["x", "y"])], [entry("d", "eq", None)]))
    assert parsed == Filter(
        [
            [Condition(("a",), Operator.GE, 1), Condition(("b", "c"), Operator.IN, ("x", "y"))],
            [Condition(("d",), Operator.EQ, None)],
        ]
    )


@pytest.mark.parametrize(
    "obj",
    [
        None,
        [],
        "filterGroup",
        {},
        {"filterGroup": None},
        {"filterGroup": []},
        {"filterGroup": {}},
        {"filterGroup": [[]]},
        {"filterGroup": [{"filters": []}]},
        {"filterGroup": [{"filters": None}]},
        {"filterGroup": [{"filters": [entry()], "also": 1}]},
        {"filterGroup": [{"filters": [entry()]}], "also": 1},
        {"filterGroup": [{"filters": [{"fieldName": "a", "operator": "eq"}]}]},
        {"filterGroup": [{"filters": [{**entry(), "also": 1}]}]},
        {"filterGroup": [{"filters": ["a"]}]},
        filter_group([entry(1)]),
        filter_group([entry("")]),
        filter_group([entry("a..b")]),
        filter_group([entry(operator="like")]),
        filter_group([entry(operator="in", value="x")]),
        filter_group([entry(operator="lt", value=None)]),
    ],
)
def test_other_shapes_are_refused(obj: object) -> None:
    assert refusal(obj).message.startswith("filter")


def test_at_most_five_fields_per_group() -> None:
    five = [entry(name) for name in "abcde"]
    assert len(parse_filter(filter_group(five)).groups[0]) == 5
    error = refusal(filter_group([*five, entry("f")]))
    assert error.message == "Filters exceed maximum attributes limit 5 for subscription"
    assert parse_filter(filter_group([*five, entry("f")]), FilterLimits(attributes=6))


def test_a_field_only_once_per_group() -> None:
    error = refusal(filter_group([entry("a", "ge", 1), entry("a", "le", 5)]))
    assert error.message == "subscription filter uses same fieldName multiple time"
    assert parse_filter(filter_group([entry("a", "ge", 1)], [entry("a", "le", 5)]))


def test_at_most_ten_combinations() -> None:
    text = "Filters combination exceed maximum limit 10 for subscription."
    ten = [[entry(value=number)] for number in range(10)]
    assert len(parse_filter(filter_group(*ten)).groups) == 10
    assert refusal(filter_group(*ten, [entry(value=10)])).message == text
    assert parse_filter(filter_group(*ten, [entry(value=10)]), FilterLimits(combinations=11))


def test_an_in_counts_once_per_value_towards_the_combinations() -> None:
    def choice(name: str, count: int) -> dict[str, object]:
        return entry(name, "in", list(range(count)))

    assert parse_filter(filter_group([choice("a", 2), choice("b", 5)]))
    assert parse_filter(filter_group([choice("a", 5)], [choice("a", 4), entry("b")], [entry("c")]))
    assert "combination" in refusal(filter_group([choice("a", 3), choice("b", 4)])).message
    assert "combination" in refusal(filter_group([choice("a", 5)], [choice("a", 5)], [entry("c")])).message
    assert parse_filter(filter_group([entry("a", "notIn", [1, 2, 3]), entry("b", "notIn", [1, 2, 3, 4])]))


@pytest.mark.parametrize("operator", ["in", "notIn"])
def test_at_most_five_values_of_in(operator: str) -> None:
    assert parse_filter(filter_group([entry("a", operator, [1, 2, 3, 4, 5])]))
    error = refusal(filter_group([entry("a", operator, [1, 2, 3, 4, 5, 6])]))
    assert error.message == f"subscription exceeds maximum value limit 5 for operator `{operator}`."
    assert error.error_code == 400
    assert parse_filter(filter_group([entry("a", operator, [1, 2, 3, 4, 5, 6])]), FilterLimits(in_values=6))


def test_at_most_twenty_values_of_contains_any() -> None:
    assert parse_filter(filter_group([entry("a", "containsAny", list(range(20)))]))
    error = refusal(filter_group([entry("a", "containsAny", list(range(21)))]))
    assert error.message == "subscription exceeds maximum value limit 20 for operator `containsAny`."


def test_at_most_256_characters_per_string() -> None:
    long = "x" * 257
    assert parse_filter(filter_group([entry(value=long[:256])]))
    for obj in (entry(value=long), entry(operator="in", value=["a", long]), entry(long)):
        assert "exceeds the limit of 256 characters" in refusal(filter_group([obj])).message
    assert parse_filter(filter_group([entry(value=long)]), FilterLimits(string_length=257))


def test_at_most_five_nested_names() -> None:
    assert parse_filter(filter_group([entry("a.b.c.d.e")]))
    assert "nested deeper than the limit of 5 levels" in refusal(filter_group([entry("a.b.c.d.e.f")])).message
    assert parse_filter(filter_group([entry("a.b.c.d.e.f")]), FilterLimits(path_depth=6))


@given(strategies.garbage)
@strategies.thorough
def test_garbage_is_a_filter_or_a_filter_error(obj: object) -> None:
    assert_filter_or_error(obj)


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        # What `toSubscriptionFilter` takes, given as it is; and a value that a resolver left undefined.
        ({"roomId": {"eq": "a"}}, """filter: expected an object {"filterGroup": [...]}, not one of 'roomId'"""),
        (
            filter_group([{"fieldName": "roomId", "operator": "eq"}]),
            "filter: expected an object of fieldName, operator and value, not one of 'fieldName', 'operator'",
        ),
    ],
)
def test_an_object_of_another_shape_is_named(obj: object, text: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(obj)
    assert caught.value.message == text


@given(st.builds(entry, strategies.garbage, strategies.garbage, strategies.garbage))
@strategies.brief
def test_garbage_in_a_condition_is_a_filter_or_a_filter_error(condition: dict[str, object]) -> None:
    assert_filter_or_error(filter_group([condition]))


@given(strategies.garbage, st.sampled_from(strategies.OPERATOR_NAMES))
@strategies.thorough
def test_garbage_as_operand_is_a_filter_or_a_filter_error(operand: object, operator: str) -> None:
    assert_filter_or_error(filter_group([entry("a", operator, operand)]))


def assert_filter_or_error(obj: object) -> None:
    try:
        text = parse_filter(obj).key
    except FilterError as error:
        text = error.message
    assert text.encode()


ARGUMENTS = st.dictionaries(st.sampled_from("abc"), strategies.scalars, max_size=3)


@given(ARGUMENTS, strategies.events)
@strategies.thorough
def test_plain_arguments_are_equalities(arguments: dict[str, Any], event: object) -> None:
    filter = build_equality_filter(arguments)
    wanted = filter_group([entry(name, "eq", value) for name, value in arguments.items()])
    assert filter == (parse_filter(wanted) if arguments else MATCH_ALL)
    assert oracle.matches(wanted, event) is all(
        oracle.equal(oracle.field_of(event, name), value) for name, value in arguments.items()
    )


def test_without_plain_arguments_everything_matches() -> None:
    assert build_equality_filter({}) is MATCH_ALL


@pytest.mark.parametrize("value", [["a"], ("a",), {"eq": 1}, float("nan"), "\ud800"])
def test_plain_arguments_are_scalars(value: Any) -> None:
    with pytest.raises(FilterError, match="filter on 'room'"):
        build_equality_filter({"room": value})


def test_at_most_five_plain_arguments() -> None:
    arguments = dict.fromkeys("abcdef", 1)
    with pytest.raises(FilterError) as caught:
        build_equality_filter(arguments)
    assert caught.value.message == "Filters exceed maximum attributes limit 5 for subscription"
    assert build_equality_filter(arguments, FilterLimits(attributes=6))
