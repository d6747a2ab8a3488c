"""What the library asks the host, without a sandbox: every answer is a value or words for a client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given

from fanout.resolvers.answers import answer
from tests.filters import strategies


@pytest.mark.parametrize("name", ["Europe/Berlin", "Africa/Freetown", "America/Boa_Vista", "Asia/Gaza", "UTC"])
def test_a_zone_has_all_its_changes(name: str) -> None:
    value = answer(["zone", name])["value"]
    changes = value["transitions"]
    assert changes == sorted(changes)
    zone = ZoneInfo(name)
    # Noon and midnight of every day of the years with the most changes, beside each change itself.
    moments = [at + around for at, *_ in changes for around in (-1, 0)]
    for year in (1900, 1935, 1940, 1945, 2000, 2024, 2099):
        start = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
        moments += range(start, start + 365 * 86_400, 43_200)
    for seconds in moments:
        held = [change[1:] for change in changes if change[0] <= seconds]
        moment = datetime.fromtimestamp(seconds, zone)
        expected = [int((moment.utcoffset() or timedelta()).total_seconds()), moment.tzname()]
        assert (held[-1] if held else value["first"]) == expected, moment


@pytest.mark.parametrize("name", ["Mars/Base", "", "../../etc/passwd", "/etc/passwd", "Europe", "a\0b", "x" * 9999])
def test_what_is_no_zone_is_told_in_few_words(name: str) -> None:
    found = answer(["zone", name])
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
