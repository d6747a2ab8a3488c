"""What the library asks the host, without a sandbox: every answer is a value or words for a client."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from fanout.resolvers.answers import answer
from tests.filters import strategies


def test_a_filter_is_expanded() -> None:
    assert answer(["subscriptionFilter", {"a": {"eq": 1}, "b": {"eq": 2}}, ["b"], None]) == {
        "value": {"filterGroup": [{"filters": [{"fieldName": "a", "operator": "eq", "value": 1}]}]}
    }


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ([{"not": {}}, None, None], "The variables input contains a field name 'not'"),
        ([{"or": [{"a": {"eq": n}} for n in range(11)]}, None, None], "Filters combination exceed maximum limit 10"),
        ([7, None, None], "filter: expected an object of fields"),
        ([{}, "a", None], "filter: the ignored fields take a list"),
        ([{}, [1], None], "filter: the ignored fields take a list"),
        ([{}, None, [1]], "filter: the rules take an object"),
        ([{}, None, {"a": {"eq": 1, "ne": 2}}], "filter: the rule on 'a' takes exactly one operator"),
    ],
)
def test_what_is_wrong_with_a_filter_is_said(details: list[Any], message: str) -> None:
    refused = answer(["subscriptionFilter", *details])
    assert refused["error"].startswith(message)
    assert refused["type"] == "BadRequest"


@given(strategies.garbage, strategies.garbage, strategies.garbage)
@strategies.thorough
def test_any_details_have_an_answer(obj: object, ignored_fields: object, rules: object) -> None:
    assert answer(["subscriptionFilter", obj, ignored_fields, rules]).keys() in ({"value"}, {"error", "type"})


def test_an_unknown_kind_is_our_defect() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        answer(["weather"])
