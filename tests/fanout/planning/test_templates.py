"""Filter templates: checked when they are made, filled in for each subscriber, never weakened by one."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import build_schema

from fanout.errors import BadRequest, ConfigurationError, Unauthorized
from fanout.model import Identity
from fanout.planning.templates import FilterTemplate
from filters import Filter, FilterError, FilterLimits, compile_filter, parse_filter, to_subscription_filter

SCHEMA = build_schema(
    """
    scalar AWSJSON
    input Inner { room: ID rooms: [ID!] }
    type Query { a: Int }
    type Subscription { on(room: ID, least: Int, rooms: [ID!], range: [Int!], json: AWSJSON, in: Inner): Int }
    """
)
ANYBODY = Identity("API_KEY")
ADA = Identity("OIDC", claims={"sub": "ada", "groups": ["a", "b"], "deep": {"team": 7}, "none": None})


def template(configured: dict[str, Any], limits: FilterLimits | None = None, setting: str = "filter") -> FilterTemplate:
    assert SCHEMA.subscription_type
    return FilterTemplate("on", SCHEMA.subscription_type.fields["on"], configured, limits or FilterLimits(), setting)


def expand(text: Any) -> Filter:
    return parse_filter(to_subscription_filter(text))


@pytest.mark.parametrize(
    ("configured", "arguments", "filled"),
    [
        ({"room": {"eq": "$args.room"}}, {"room": "r"}, {"room": {"eq": "r"}}),
        ({"room": {"in": "$args.rooms"}}, {"rooms": ["a", "b"]}, {"room": {"in": ["a", "b"]}}),
        ({"room": {"in": ["$args.room", "lobby"]}}, {"room": "r"}, {"room": {"in": ["r", "lobby"]}}),
        ({"n": {"between": "$args.range"}}, {"range": [1, 5]}, {"n": {"between": [1, 5]}}),
        ({"n": {"between": [0, "$args.least"]}}, {"least": 5}, {"n": {"between": [0, 5]}}),
        ({"n": {"between": [10, "$args.least"]}}, {"least": 50}, {"n": {"between": [10, 50]}}),
        (
            {"filterGroup": [{"filters": [{"fieldName": "n", "operator": "between", "value": ["$args.least", 0]}]}]},
            {"least": -5},
            {"n": {"between": [-5, 0]}},
        ),
        ({"room": {"eq": "$args.in.room"}}, {"in": {"room": "r"}}, {"room": {"eq": "r"}}),
        ({"owner": {"eq": "$identity.sub"}}, {}, {"owner": {"eq": "ada"}}),
        ({"team": {"eq": "$identity.deep.team"}}, {}, {"team": {"eq": 7}}),
        ({"group": {"in": "$identity.groups"}}, {}, {"group": {"in": ["a", "b"]}}),
        (
            {"or": [{"room": {"eq": "$args.room"}}, {"owner": {"eq": "$identity.sub"}}], "kind": {"ne": "x"}},
            {"room": "r"},
            {"or": [{"room": {"eq": "r"}}, {"owner": {"eq": "ada"}}], "kind": {"ne": "x"}},
        ),
        ({"kind": {"eq": "x"}}, {}, {"kind": {"eq": "x"}}),
        (
            {"filterGroup": [{"filters": [{"fieldName": "a.b", "operator": "ge", "value": "$args.least"}]}]},
            {"least": 3},
            {"a.b": {"ge": 3}},
        ),
        (
            {"filterGroup": [{"filters": [{"fieldName": "a", "operator": "in", "value": "$identity.groups"}]}]},
            {},
            {"a": {"in": ["a", "b"]}},
        ),
    ],
)
def test_filling_in(configured: dict[str, Any], arguments: dict[str, Any], filled: dict[str, Any]) -> None:
    assert template(configured).fill(arguments, ADA) == expand(filled)


def test_two_subscribers_have_two_filters() -> None:
    made = template({"room": {"eq": "$args.room"}})
    first, second = made.fill({"room": "1"}, ANYBODY), made.fill({"room": "2"}, ANYBODY)
    assert compile_filter(first)({"room": "1"})
    assert not compile_filter(second)({"room": "1"})


def test_a_template_without_placeholders_is_one_filter() -> None:
    made = template({"kind": {"eq": "x"}})
    assert made.fill({}, ANYBODY) is made.fill({"room": "1"}, ADA)


@pytest.mark.parametrize(
    ("configured", "uses"),
    [
        ({"a": {"eq": "$identity.sub"}}, True),
        ({"a": {"eq": "$args.room"}}, False),
        ({"a": {"in": ["$args.room", "$identity.sub"]}}, True),
        ({"a": {"eq": "identity.sub"}}, False),
    ],
)
def test_whether_identity_matters(configured: dict[str, Any], uses: bool) -> None:
    assert template(configured).uses_identity is uses


@pytest.mark.parametrize(
    ("configured", "arguments"),
    [
        ({"room": {"eq": "$args.room"}}, {}),
        ({"room": {"eq": "$args.in.room"}}, {"in": {}}),
        ({"room": {"eq": "$args.in.room"}}, {"in": None}),
        ({"or": [{"room": {"eq": "$args.room"}}, {"a": {"eq": 1}}]}, {}),
    ],
)
def test_an_argument_cannot_be_left_out(configured: dict[str, Any], arguments: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="of subscription field 'on' is required by its filter"):
        template(configured).fill(arguments, ADA)


def test_an_argument_that_is_left_out_is_told_with_the_setting_that_needs_it() -> None:
    made = template({"room": {"eq": "$args.room"}}, setting="invalidation_filter")
    with pytest.raises(BadRequest, match=r"Argument 'room' of .* is required by its invalidation_filter\."):
        made.fill({}, ADA)


@pytest.mark.parametrize("claim", ["nope", "none", "sub.x", "deep.nope"])
def test_an_identity_without_the_claim_is_not_authorized(claim: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        template({"owner": {"ne": f"$identity.{claim}"}}).fill({}, ADA)
    assert caught.value.message == "Not Authorized to access on on type Subscription"
    assert caught.value.error_type == "Unauthorized"


@pytest.mark.parametrize(
    ("configured", "text"),
    [
        ({"room": {"eq": "$args.nope"}}, "$args.nope: the subscription field has no such argument"),
        ({"room": {"eq": "$args.in.nope"}}, "$args.in.nope: the subscription field has no such argument"),
        ({"room": {"eq": "$args.json.x"}}, "$args.json.x: the subscription field has no such argument"),
        ({"room": {"eq": "$arg.room"}}, "'$arg.room': a value that starts with $"),
        ({"room": {"eq": "$args"}}, "'$args': a value that starts with $"),
        ({"room": {"eq": "$args."}}, "'$args.': a value that starts with $"),
        ({"room": {"equals": "x"}}, "equals"),
        ({"room": "x"}, "takes an object of operators"),
        ({"room": "$args.room"}, "takes an object of operators"),
        ({"room": "$args.in"}, "takes an object of operators"),
        ({"room": {"$args.room": 1}}, "'$args.room' cannot stand as a name"),
        ({"$args.room": {"eq": 1}}, "'$args.room' cannot stand as a name"),
        (
            {"filterGroup": [{"filters": [{"fieldName": "$args.room", "operator": "eq", "value": 1}]}]},
            "'$args.room' cannot stand as fieldName",
        ),
        (
            {"filterGroup": [{"filters": [{"fieldName": "a", "operator": "$args.room", "value": 1}]}]},
            "'$args.room' cannot stand as operator",
        ),
        ({"filterGroup": "$args.rooms"}, "filter: expected an object"),
        ({"and": "$args.rooms"}, "expected an object"),
        ({"n": {"beginsWith": "$args.least"}}, "beginsWith"),
        ({"n": {"between": "$args.room"}}, "between"),
        ({"n": {"between": [5, 1]}}, "lower value first"),
        ({"n": {"between": ["a", "$args.least"]}}, "two numbers or two strings"),
        ({"or": []}, "at least one alternative"),
        ({"room": {"eq": "$args.rooms"}}, "eq"),
        ({}, "it has no condition"),
        ({"filterGroup": []}, "filterGroup"),
        ({"a": {"in": [1, 2, 3, 4, 5, 6]}}, "maximum value limit"),
        ({"not": {"a": {"eq": 1}}}, "not"),
    ],
)
def test_bad_templates_are_the_operators_mistake(configured: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        template(configured)
    assert str(caught.value).startswith("subscriptions.on.filter: ")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_range_that_the_client_fills_in_has_to_be_one() -> None:
    made = template({"n": {"between": [10, "$args.least"]}})
    with pytest.raises(FilterError, match="no value is between 10 and 5"):
        made.fill({"least": 5}, ANYBODY)


def test_limits_hold_for_what_the_client_fills_in() -> None:
    made = template({"room": {"in": "$args.rooms"}})
    with pytest.raises(FilterError, match="maximum value limit 5"):
        made.fill({"rooms": list("abcdef")}, ANYBODY)
    with pytest.raises(BadRequest, match="is required by its filter"):
        made.fill({"rooms": None}, ANYBODY)
    assert template({"room": {"in": "$args.rooms"}}, FilterLimits(in_values=6)).fill({"rooms": list("abcdef")}, ANYBODY)


def test_values_that_the_operator_does_not_take() -> None:
    with pytest.raises(FilterError):
        template({"room": {"eq": "$args.in.rooms"}} | {"room": {"eq": "$args.json"}}).fill({"json": {"a": 1}}, ANYBODY)
