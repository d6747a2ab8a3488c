"""AppSync's scalars: the guide's sample values are accepted, what is not of their form is refused, in and out."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import orjson
import pytest
from graphql import GraphQLError, build_schema, graphql_sync
from hypothesis import given
from hypothesis import strategies as st

from fanout.schema.scalars import AWS_SCALARS, install_scalars

# The first entries of each are the samples of the guide's page.
GOOD: dict[str, list[Any]] = {
    "AWSDate": ["1970-01-01Z", "1970-01-01-07:00", "1970-01-01+05:30", "2026-11-20", "2024-02-29", "0000-02-29"],
    "AWSTime": ["12:00:34.", "12:00:34.123-07:00", "12:00:34Z", "12:00", "23:59:59.123456789+05:30:15"],
    "AWSDateTime": [
        "1930-01-01T16:00:00-07:00",
        "1930-01-01T16:00:00.1+05:30",
        "2026-11-20T10:00Z",
        "2026-11-20T10:00:00.123Z",
        "2024-02-29T00:00:00.123456789+01:00:30",
    ],
    "AWSTimestamp": [0, -1, 1714176000, 2**63 - 1],
    "AWSEmail": ["username@example.com", "a.b+c@localhost", '"john doe"@example.org', "x@[127.0.0.1]", "ü@bücher.de"],
    "AWSJSON": ['{"upvotes": 10}', "[1,2]", '"AWSJSON example string"', "null", "12", "true"],
    "AWSURL": ["https://www.amazon.com/", "ftp://h/a", "mailto:nobody@example.com", "file:///a", "https://h:1/?u=//x"],
    "AWSPhone": ["+1 206-555-0100", "+4915112345678", "650 253 0000", "650-253-0000"],
    "AWSIPAddress": ["127.0.0.1/8", "123.12.34.56", "1a2b:3c4b::1234:4567", "::1/64"],
}
BAD: dict[str, list[Any]] = {
    "AWSDate": ["2026-1-1", "2026-02-29", "2026-13-01", "2026-04-31", "1970-01-01+25:00", "1970-01-01 ", "١٩٧٠-01-01"],
    "AWSTime": ["24:00", "12", "12:60", "12:00:34.1234567890", "12:00:60", "T12:00", "12:00 Z"],
    "AWSDateTime": ["2026-11-20T10:00:00", "2026-11-20 10:00Z", "2026-02-30T00:00Z", "2026-11-20", "2026-11-20T10Z"],
    "AWSTimestamp": ["0", 1.5, True, 2**63, float("inf")],
    "AWSEmail": ["example.com", "@x.org", "a@", "a b@x.org", "a@b@c", "a@-b.org", "a@b..c", "x@" + "a." * 200 + "b"],
    "AWSJSON": ["", "{a:1}", "hello", "NaN", '{"a":1'],
    "AWSURL": ["www.amazon.com", "//host/a", "https://", "https://h/a//b", "https://h/a b", "http://h:x/", "http://[/"],
    "AWSPhone": ["123", "+0123456789", "abc", "650.253.0000", "+1 650 253 0000 ext 5", "+", "-650-253-0000", "1" * 30],
    "AWSIPAddress": ["256.0.0.1", "1.2.3.4/33", "1.2.3.4/255.0.0.0", "[::1]", "fe80::1%eth0", "1.2.3", "::1/129", "1"],
}


def pairs(table: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(name, value) for name, values in table.items() for value in values]


@pytest.mark.parametrize(("name", "value"), pairs(GOOD))
def test_values_of_the_form_pass_unchanged_in_both_directions(name: str, value: Any) -> None:
    assert AWS_SCALARS[name].parse(value) == value
    assert AWS_SCALARS[name].serialize(value) == value


@pytest.mark.parametrize(("name", "value"), pairs(BAD))
def test_other_values_are_refused_in_both_directions(name: str, value: Any) -> None:
    for coerce in (AWS_SCALARS[name].parse, AWS_SCALARS[name].serialize):
        with pytest.raises(GraphQLError, match=f"^{name} cannot represent value: "):
            coerce(value)


@pytest.mark.parametrize("name", sorted(set(AWS_SCALARS) - {"AWSTimestamp", "AWSJSON"}))
@pytest.mark.parametrize("value", [5, True, 1.5, [], {}, b"x"])
def test_text_scalars_take_text_only(name: str, value: Any) -> None:
    with pytest.raises(GraphQLError):
        AWS_SCALARS[name].parse(value)
    with pytest.raises(GraphQLError):
        AWS_SCALARS[name].serialize(value)


def test_every_scalar_has_its_cases() -> None:
    assert set(GOOD) == set(BAD) == set(AWS_SCALARS)


@given(st.dates(), st.datetimes())
def test_dates_agree_with_the_calendar(day: date, moment: datetime) -> None:
    assert AWS_SCALARS["AWSDate"].parse(day.isoformat())
    assert AWS_SCALARS["AWSDateTime"].parse(moment.isoformat() + "Z")


@given(st.integers(1, 9999), st.integers(1, 12), st.integers(29, 31))
def test_days_that_do_not_exist_are_refused(year: int, month: int, day: int) -> None:
    try:
        date(year, month, day)
        exists = True
    except ValueError:
        exists = False
    try:
        AWS_SCALARS["AWSDate"].parse(f"{year:04}-{month:02}-{day:02}")
        accepted = True
    except GraphQLError:
        accepted = False
    assert accepted == exists


@given(st.sampled_from(sorted(AWS_SCALARS)), st.text() | st.integers() | st.floats() | st.none() | st.booleans())
def test_any_value_is_accepted_or_refused_with_a_graphql_error(name: str, value: Any) -> None:
    for coerce in (AWS_SCALARS[name].parse, AWS_SCALARS[name].serialize):
        try:
            coerce(value)
        except GraphQLError:
            pass


def test_timestamps_may_be_whole_floats() -> None:
    assert repr(AWS_SCALARS["AWSTimestamp"].serialize(5.0)) == "5"


def test_json_is_text_on_the_way_out_whatever_the_event_holds() -> None:
    serialize = AWS_SCALARS["AWSJSON"].serialize
    assert serialize('{"a": 1}') == '{"a": 1}'
    for value in ({"a": [1, None]}, [1], 5, 1.5, True):
        assert orjson.loads(serialize(value)) == value
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    with pytest.raises(GraphQLError):
        serialize(deep)


def test_installed_scalars_are_used_for_literals_variables_and_results() -> None:
    schema = build_schema("scalar AWSDate scalar Own type Query { next(day: AWSDate!): AWSDate own(value: Own): Own }")
    install_scalars(schema)
    root = {"next": lambda _info, day: day, "own": lambda _info, value: value}
    result = graphql_sync(schema, '{ next(day: "2026-01-01") own(value: {a: 1}) }', root)
    assert result.data == {"next": "2026-01-01", "own": {"a": 1}}
    assert graphql_sync(schema, '{ next(day: "x") }', root).errors
    assert graphql_sync(schema, "{ next(day: 5) }", root).errors
    query = "query ($day: AWSDate!) { next(day: $day) }"
    assert graphql_sync(schema, query, root, variable_values={"day": "2026-01-32"}).errors
    broken = graphql_sync(schema, '{ next(day: "2026-01-01") }', {"next": lambda _info, day: "tomorrow"})
    assert broken.data == {"next": None}
    assert broken.errors
