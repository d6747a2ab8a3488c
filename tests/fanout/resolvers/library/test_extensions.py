"""What a resolver asks of subscriptions: it arrives in the envelope as it was given, and wrong shapes are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fanout.resolvers.answers import answer
from tests.fanout.resolvers.running import Expressions, call

FILTER = {"filterGroup": [{"filters": [{"fieldName": "severity", "operator": "le", "value": 3}]}]}

RUN = Expressions()


@pytest.mark.parametrize(
    ("function", "key"),
    [("setSubscriptionFilter", "filter"), ("setSubscriptionInvalidationFilter", "invalidationFilter")],
)
def test_a_filter_is_handed_over_as_it_is_at_that_moment(function: str, key: str) -> None:
    code = f"const f = ctx.args.filter; extensions.{function}(f); f.filterGroup = []; return null;"
    envelope = call(f"function request(ctx) {{ {code} }}", {"filter": FILTER})
    assert envelope["extensions"] == {key: FILTER}


# The resolvers of the guide's pages "Defining enhanced subscriptions filters" and "Unsubscribing WebSocket connections
# using filters", in other words.
NULL_PAYLOAD = "const request = () => ({ payload: null });\n"
TICKETS = {"severity": {"ge": 7}, "priority": {"in": ["high", "medium"]}}
SECURITY = {"category": {"eq": "security"}, "group": {"in": ["admin", "operators"]}}
COUNTRY = {"location.address.country": {"eq": "USA"}}


def run_guide(filter: str, arguments: dict[str, Any], more: str = "") -> Any:
    code = f"{NULL_PAYLOAD}function response(ctx) {{ const filter = {filter};\n{more}"
    code += "extensions.setSubscriptionFilter(util.transform.toSubscriptionFilter(filter)); return null; }"
    envelope = call(code, arguments, "unit", answer)
    assert envelope["value"] is None
    return envelope["extensions"]


def groups(*alternatives: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "filterGroup": [
            {
                "filters": [
                    {"fieldName": name, "operator": operator, "value": value}
                    for name, condition in alternative.items()
                    for operator, value in condition.items()
                ]
            }
            for alternative in alternatives
        ]
    }


def test_the_guides_special_tickets() -> None:
    written = json.dumps({"or": [TICKETS, SECURITY, COUNTRY]})
    assert run_guide(written, {}) == {"filter": groups(TICKETS, SECURITY, COUNTRY)}


def test_the_guides_tickets_of_a_group() -> None:
    code = '{ group: { eq: ctx.args.group }, status: { eq: "pending" } }'
    assert run_guide(code, {"group": "aws"}) == {
        "filter": groups({"group": {"eq": "aws"}, "status": {"eq": "pending"}})
    }
    assert "failure" in call(
        f"{NULL_PAYLOAD}const response = (ctx) => util.transform.toSubscriptionFilter({code});", {}, "unit", answer
    )


@pytest.mark.parametrize(
    ("given", "filter"),
    [
        ({"filter": '{"severity":{"le":2}}'}, groups({"severity": {"le": 2}})),
        ({"filter": None}, None),
        ({}, None),
    ],
)
def test_the_guides_filter_of_the_client(given: dict[str, Any], filter: Any) -> None:
    assert run_guide("ctx.args.filter", given) == {"filter": filter}


def test_the_guides_invalidation_filter() -> None:
    more = """const gone = { groupId: { eq: ctx.args.groupId }, userId: { eq: ctx.args.userId } };
        extensions.setSubscriptionInvalidationFilter(util.transform.toSubscriptionFilter(gone));\n"""
    group, user = {"groupId": {"eq": "group-1"}}, {"userId": {"eq": "user-1"}}
    assert run_guide("{ groupId: { eq: ctx.args.groupId } }", {"groupId": "group-1", "userId": "user-1"}, more) == {
        "filter": groups(group),
        "invalidationFilter": groups({**group, **user}),
    }


def test_the_last_filter_holds() -> None:
    code = "extensions.setSubscriptionFilter({ a: 1 }), extensions.setSubscriptionFilter(null)"
    assert RUN.envelope(code)["extensions"] == {"filter": None}
    code = "extensions.setSubscriptionFilter({ a: 1 }), extensions.setSubscriptionFilter(args[0])"
    assert RUN.envelope(code, FILTER)["extensions"] == {"filter": FILTER}


def test_the_guides_invalidation() -> None:
    wish = {"subscriptionField": "onUserDelete", "payload": {"group": "Developer", "type": "Full-Time"}}
    envelope = RUN.envelope("extensions.invalidateSubscriptions(args[0])", wish)
    assert envelope["value"] == "undefined"
    assert envelope["extensions"] == {"invalidations": [wish]}


def test_at_most_five_distinct_invalidations() -> None:
    code = """function request(ctx) {
        for (const id of ctx.args.ids) extensions.invalidateSubscriptions({ subscriptionField: "f", payload: { id } });
    }"""
    wishes = call(code, {"ids": [1, 2, 3, 4, 5, 1, 2]})["extensions"]["invalidations"]
    assert [wish["payload"]["id"] for wish in wishes] == [1, 2, 3, 4, 5]
    refused = call(code, {"ids": [1, 2, 3, 4, 5, 6]})
    assert refused["error"]["message"] == "A request can invalidate subscriptions at most 5 times."


@pytest.mark.parametrize("function", ["setSubscriptionFilter", "setSubscriptionInvalidationFilter"])
@pytest.mark.parametrize(
    ("value", "kind"),
    [("undefined", "undefined"), ("[]", "a list"), ("'x'", "a string"), ("() => 1", "a function")],
)
def test_a_filter_that_is_no_object_is_refused(function: str, value: str, kind: str) -> None:
    message = RUN.error(f"extensions.{function}({value})")
    assert message == f"TypeError: extensions.{function} takes an object, not {kind}"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("setSubscriptionFilter({ value: NaN })", "setSubscriptionFilter: 'value' takes what JSON can say, not NaN"),
        (
            "invalidateSubscriptions({ subscriptionField: 'f', payload: { a: () => 1 } })",
            "invalidateSubscriptions: 'a' takes what JSON can say, not a function",
        ),
    ],
)
def test_what_json_cannot_say_is_refused(code: str, message: str) -> None:
    assert RUN.error(f"extensions.{code}") == f"TypeError: extensions.{message}"


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (None, " takes an object, not null"),
        (["onUserDelete"], " takes an object, not a list"),
        ({}, ": subscriptionField takes the name of a field, not undefined"),
        ({"subscriptionField": 7, "payload": {}}, ": subscriptionField takes the name of a field, not a number"),
        ({"subscriptionField": "", "payload": {}}, ": subscriptionField takes the name of a field, not a string"),
        ({"subscriptionField": "f"}, ": payload takes an object, not undefined"),
        ({"subscriptionField": "f", "payload": "x"}, ": payload takes an object, not a string"),
    ],
)
def test_an_invalidation_of_another_shape_is_refused(wish: Any, message: str) -> None:
    text = RUN.error("extensions.invalidateSubscriptions(args[0])", wish)
    assert text == f"TypeError: extensions.invalidateSubscriptions{message}"


def test_evicting_does_nothing_and_gives_an_object() -> None:
    code = "extensions.evictFromApiCache('Query', 'allClasses', { 'context.arguments.semester': 1 })"
    envelope = RUN.envelope(code)
    assert (envelope["value"], envelope["extensions"]) == ({}, {})
