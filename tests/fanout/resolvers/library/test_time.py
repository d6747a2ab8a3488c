"""util.time: the examples of AppSync's developer guide, and ISO texts against Python's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.resolvers.answers import answer
from tests.fanout.resolvers.running import Expressions

RUN = Expressions(answer, now=1517943695.758)
SUMMER = Expressions(answer, now=datetime(2018, 7, 11, 22, 14, 45, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("nowISO8601()", "2018-02-06T19:01:35.758Z"),
        ("nowEpochSeconds()", 1517943695),
        ("nowEpochMilliSeconds()", 1517943695758),
        ('nowFormatted("yyyy-MM-dd HH:mm:ssZ")', "2018-02-06 19:01:35+0000"),
        ('nowFormatted("yyyy-MM-dd HH:mm:ssZ", "+08:00")', "2018-02-07 03:01:35+0800"),
        ('nowFormatted("yyyy-MM-dd HH:mm:ssZ", "Australia/Perth")', "2018-02-07 03:01:35+0800"),
        ("epochMilliSecondsToSeconds(1517943695758)", 1517943695),
        ("epochMilliSecondsToISO8601(1517943695758)", "2018-02-06T19:01:35.758Z"),
        ('epochMilliSecondsToFormatted(1517943695758, "yyyy-MM-dd HH:mm:ssZ")', "2018-02-06 19:01:35+0000"),
        ('epochMilliSecondsToFormatted(1517943695758, "yyyy-MM-dd HH:mm:ssZ", "+08:00")', "2018-02-07 03:01:35+0800"),
        ('parseISO8601ToEpochMilliSeconds("2018-02-01T17:21:05.180+08:00")', 1517476865180),
        ('parseFormattedToEpochMilliSeconds("2018-02-02 01:19:22+0800", "yyyy-MM-dd HH:mm:ssZ")', 1517505562000),
        ('parseFormattedToEpochMilliSeconds("2018-02-02 01:19:22", "yyyy-MM-dd HH:mm:ss", "+08:00")', 1517505562000),
    ],
)
def test_the_examples_of_the_guide(expression: str, value: Any) -> None:
    assert RUN.run(f"util.time.{expression}") == value


def test_formats_of_the_scalars() -> None:
    assert SUMMER.run('util.time.nowFormatted("yyyy-MM-dd[XXX]", "-07:00:30")') == "2018-07-11-07:00"
    text = SUMMER.run('util.time.nowFormatted("yyyy-MM-dd\'T\'HH:mm:ss[XXXXX]", "-07:00:30")')
    assert text == "2018-07-11T15:14:15-07:00:30"


def test_whole_seconds_have_milliseconds_too() -> None:
    assert RUN.run("util.time.epochMilliSecondsToISO8601(0)") == "1970-01-01T00:00:00.000Z"
    assert RUN.run("util.time.epochMilliSecondsToISO8601(-1)") == "1969-12-31T23:59:59.999Z"
    assert RUN.run("util.time.epochMilliSecondsToSeconds(-1)") == -1


@settings(max_examples=200, deadline=None)
@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),
    st.integers(-18 * 60, 18 * 60),
    st.sampled_from(["auto", "seconds", "minutes", "milliseconds", "microseconds"]),
)
def test_iso_texts_are_read_as_python_reads_them(moment: datetime, minutes: int, precision: str) -> None:
    text = moment.replace(tzinfo=timezone(timedelta(minutes=minutes))).isoformat(timespec=precision)
    expected = (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert RUN.run("util.time.parseISO8601ToEpochMilliSeconds(args[0])", text) == expected
    iso = RUN.run("util.time.epochMilliSecondsToISO8601(args[0])", expected)
    assert RUN.run("util.time.parseISO8601ToEpochMilliSeconds(args[0])", iso) == expected


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2018-02-01", 1517443200000),
        ("2018-02-01T00:00", 1517443200000),
        ("2018-02-01t00:00z", 1517443200000),
        ("2018-02-01T01:00+01", 1517443200000),
        ("2018-02-01T01:00+0100", 1517443200000),
        ("2018-01-31T16:59:30-07:00:30", 1517443200000),
        ("1970-01-01T00:00:00.123456789Z", 123),
        ("1970-01-01T00:00:00,1Z", 100),
        ("+1970-01-01T00:00:00Z", 0),
        ("2018-02-01T24:00Z", 1517529600000),
        ("2018-02-29", None),
        ("2018-13-01", None),
        ("2018-02-01T25:00Z", None),
        ("2018-02-01T00:60Z", None),
        ("2018-02-01T00:00+19:00", None),
        ("2018-2-1", None),
        ("20180201", None),
        ("2018-02-01 00:00", None),
        ("", None),
    ],
)
def test_what_is_an_iso_text(text: str, ms: int | None) -> None:
    if ms is None:
        error = RUN.error("util.time.parseISO8601ToEpochMilliSeconds(args[0])", text)
        assert f'"{text}" is no ISO 8601 time' in error
    else:
        assert RUN.run("util.time.parseISO8601ToEpochMilliSeconds(args[0])", text) == ms


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("epochMilliSecondsToISO8601('1')", "util.time takes milliseconds since 1970 as a number, not a string"),
        ("epochMilliSecondsToISO8601(8.65e15)", "8650000000000000 milliseconds are out of range"),
        ("epochMilliSecondsToISO8601(NaN)", "NaN milliseconds are out of range"),
        ("nowFormatted(7)", "util.time takes a pattern as a string, not a number"),
        ("nowFormatted('HH', 7)", "util.time takes a time zone, not a number"),
        ("parseISO8601ToEpochMilliSeconds(null)", "util.time takes a time as a string, not null"),
        ("parseFormattedToEpochMilliSeconds(7, 'HH')", "util.time takes a time as a string, not a number"),
    ],
)
def test_what_cannot_be_a_time_is_refused_by_name(expression: str, error: str) -> None:
    assert error in RUN.error(f"util.time.{expression}")
