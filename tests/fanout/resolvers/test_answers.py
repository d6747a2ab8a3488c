"""What the library asks the host, without a sandbox: every answer is a value or words for a client."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given

from fanout.resolvers.answers import answer
from tests.filters import strategies


@pytest.mark.parametrize("name", ["Europe/Berlin", "Africa/Freetown", "America/Boa_Vista", "Asia/Gaza", "UTC"])
@pytest.mark.parametrize("span", [-5, -3, -2, 1, 3, 8])
def test_a_zone_has_all_its_changes_within_a_span(name: str, span: int) -> None:
    value = answer(["zone", name, span])["value"]
    changes = value["transitions"]
    assert changes == sorted(changes)
    zone = ZoneInfo(name)
    begin = span * 16 * 31_556_952
    # Every half day, and each change itself.
    moments = [at + around for at, *_ in changes for around in (-1, 0)]
    for seconds in [*moments, *range(begin, begin + 16 * 31_556_952, 43_200)]:
        held = [change[1:] for change in changes if change[0] <= seconds]
        moment = datetime.fromtimestamp(seconds, zone)
        expected = [int((moment.utcoffset() or timedelta()).total_seconds()), moment.tzname()]
        assert (held[-1] if held else value["first"]) == expected, moment


@pytest.mark.parametrize("span", [-122, 500])
def test_spans_reach_to_the_ends_of_what_python_knows(span: int) -> None:
    assert answer(["zone", "Asia/Tokyo", span])["value"]["transitions"] == []


@pytest.mark.parametrize("name", ["Mars/Base", "", "../../etc/passwd", "/etc/passwd", "Europe", "a\0b", "x" * 9999])
def test_what_is_no_zone_is_told_in_few_words(name: str) -> None:
    found = answer(["zone", name, 3])
    assert found["type"] == "BadRequest"
    assert "is no time zone" in found["error"]
    assert len(found["error"]) < 300


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
        (['{"a": {"eq": "\\ud800"}}', None, None], "filter: a string or number is beyond what JSON has"),
        (['{"a": {"eq": 1e400}}', None, None], "filter: a string or number is beyond what JSON has"),
        ([f'{{"a": {{"eq": {"1" * 99}}}}}', None, None], "filter: a string or number is beyond what JSON has"),
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
    for details in ([obj, ignored_fields, rules], [repr(obj), None, None], [{"a": {"eq": obj}}, None, None]):
        answered = answer(["subscriptionFilter", *details])
        assert answered.keys() in ({"value"}, {"error", "type"})
        orjson.dumps(answered)


def test_an_unknown_kind_is_our_defect() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        answer(["weather"])
