"""What a resolver asks of subscriptions: it arrives in the envelope as it was given, and wrong shapes are refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fanout.resolvers.running import Expressions, call

FILTER = {"filterGroup": [{"filters": [{"fieldName": "severity", "operator": "le", "value": 3}]}]}

expressions = Expressions()


@pytest.mark.parametrize(
    ("function", "key"),
    [("setSubscriptionFilter", "filter"), ("setSubscriptionInvalidationFilter", "invalidationFilter")],
)
def test_a_filter_is_handed_over_as_it_is_at_that_moment(function: str, key: str) -> None:
    code = f"const f = ctx.args.filter; extensions.{function}(f); f.filterGroup = []; return null;"
    envelope = call(f"function request(ctx) {{ {code} }}", {"filter": FILTER})
    assert envelope["extensions"] == {key: FILTER}


def test_the_last_filter_holds() -> None:
    code = "extensions.setSubscriptionFilter({ a: 1 }), extensions.setSubscriptionFilter(args[0])"
    assert expressions.envelope(code, FILTER)["extensions"] == {"filter": FILTER}


def test_the_guides_invalidation() -> None:
    wish = {"subscriptionField": "onUserDelete", "payload": {"group": "Developer", "type": "Full-Time"}}
    envelope = expressions.envelope("extensions.invalidateSubscriptions(args[0])", wish)
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
    [("null", "null"), ("undefined", "undefined"), ("[]", "a list"), ("'x'", "a string"), ("() => 1", "a function")],
)
def test_a_filter_that_is_no_object_is_refused(function: str, value: str, kind: str) -> None:
    message = expressions.error(f"extensions.{function}({value})")
    assert message == f"TypeError: extensions.{function} takes an object, not {kind}"


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
    text = expressions.error("extensions.invalidateSubscriptions(args[0])", wish)
    assert text == f"TypeError: extensions.invalidateSubscriptions{message}"


def test_evicting_does_nothing_and_gives_an_object() -> None:
    code = "extensions.evictFromApiCache('Query', 'allClasses', { 'context.arguments.semester': 1 })"
    envelope = expressions.envelope(code)
    assert (envelope["value"], envelope["extensions"]) == ({}, {})
