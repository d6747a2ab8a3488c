"""Days and zones: against Python's datetime and zoneinfo."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.resolvers.answers import answer
from tests.fanout.resolvers.running import Expressions

RUN = Expressions(answer)
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Africa/Monrovia",
    "Europe/Dublin",
    "Antarctica/Troll",
    "Australia/Perth",
]
INSTANTS = st.integers(
    int(datetime(1900, 1, 2, tzinfo=UTC).timestamp()), int(datetime(2099, 12, 30, tzinfo=UTC).timestamp())
)
FORMAT = "util.time.epochMilliSecondsToFormatted(args[0], args[1], args[2])"
PARSE = "util.time.parseFormattedToEpochMilliSeconds(args[0], args[1], args[2])"


@settings(max_examples=200, deadline=None)
@given(INSTANTS, st.sampled_from(ZONES))
def test_every_instant_has_the_offset_and_name_that_python_gives_it(seconds: int, zone: str) -> None:
    moment = datetime.fromtimestamp(seconds, ZoneInfo(zone))
    offset = int((moment.utcoffset() or timedelta()).total_seconds())
    text, number, name, zone_id = RUN.run(FORMAT, seconds * 1000, "uuuu-MM-dd HH:mm:ss|xxxxx|z|VV", zone).split("|")
    hours, minutes, *rest = (int(part) for part in number[1:].split(":"))
    assert text == moment.replace(tzinfo=None).isoformat(" ")
    assert (hours * 3600 + minutes * 60 + sum(rest)) * (-1 if number[0] == "-" else 1) == offset
    assert (name, zone_id) == (moment.tzname(), zone)


@settings(max_examples=200, deadline=None)
@given(st.datetimes(datetime(1901, 1, 1), datetime(2099, 1, 1)), st.sampled_from(ZONES))
def test_every_local_time_is_the_instant_that_python_makes_of_it(local: datetime, zone: str) -> None:
    local = local.replace(microsecond=0)
    expected = int(local.replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1000
    assert RUN.run(PARSE, local.isoformat(" "), "yyyy-MM-dd HH:mm:ss", zone) == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns"])
@pytest.mark.parametrize("year", [2001, 2024, 2099])
def test_around_every_change_of_clocks_local_times_are_those_of_python(zone: str, year: int) -> None:
    start, end = (int(datetime(y, 1, 1, tzinfo=UTC).timestamp()) for y in (year, year + 1))
    spans = {at // (16 * 31_556_952) for at in (start, end)}
    changes = [change for span in spans for change in answer(["zone", zone, span])["value"]["transitions"]]
    changes = [change for change in changes if start <= change[0] < end]
    assert len(changes) == 2
    for at, offset, _ in changes:
        for minutes in range(-150, 151, 15):
            local = datetime(1970, 1, 1) + timedelta(seconds=at + offset, minutes=minutes)
            expected = int(local.replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1000
            assert RUN.run(PARSE, local.isoformat(" "), "yyyy-MM-dd HH:mm:ss", zone) == expected, local


@settings(max_examples=100, deadline=None)
@given(st.dates())
def test_days_are_those_of_python(day: date) -> None:
    ms = (day - date(1970, 1, 1)).days * 86_400_000
    expected = f"{day.isoformat()} {day.timetuple().tm_yday} {day:%a}"
    assert RUN.run(FORMAT, ms, "uuuu-MM-dd D E", "UTC") == expected


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("UTC", "UTC Z +00:00"),
        ("GMT", "GMT Z +00:00"),
        ("Z", "Z Z +00:00"),
        ("+08:00", "+08:00 +08:00 +08:00"),
        ("+8", "+08:00 +08:00 +08:00"),
        ("-0730", "-07:30 -07:30 -07:30"),
        ("-07:00:30", "-07:00:30 -07:00 -07:00"),
        ("-070030", "-07:00:30 -07:00 -07:00"),
        ("UTC+2", "UTC+02:00 +02:00 +02:00"),
        ("GMT-03:30", "GMT-03:30 -03:30 -03:30"),
        ("+00:00", "Z Z +00:00"),
        ("+18:00", "+18:00 +18:00 +18:00"),
    ],
)
def test_offsets_are_zones_that_nobody_is_asked_about(zone: str, text: str) -> None:
    def refuse(question: list[Any]) -> dict[str, Any]:
        raise AssertionError(question)

    assert Expressions(refuse).run("util.time.nowFormatted('VV XXX xxx', args[0])", zone) == text


@pytest.mark.parametrize(
    "zone", ["Mars/Base", "", "+19:00", "+08:60", "../../etc/passwd", "/etc/passwd", "Europe", "a\0b"]
)
def test_unknown_zones_are_the_clients_to_read(zone: str) -> None:
    error = RUN.envelope("util.time.nowFormatted('HH', args[0])", zone)["error"]
    assert (error["type"], "is no time zone" in error["message"]) == ("BadRequest", True)


def test_a_zone_is_asked_for_once_and_only_so_many_are_kept() -> None:
    asked = []

    def note(question: list[Any]) -> dict[str, Any]:
        asked.append(question[1:])
        return {"value": {"first": [3600, "X"], "transitions": [[1_600_000_000, 7200, "Y"]]}}

    run = Expressions(note)
    expression = "args[0].map((zone) => util.time.nowFormatted('z', zone))"
    assert run.run(expression, ["A/a", "A/b", "A/a"]) == ["Y", "Y", "Y"]
    assert run.run(expression, ["A/b"]) == ["Y"]
    assert asked == [["A/a", 3], ["A/b", 3]]
    for number in range(80):
        run.run(expression, [f"B/{number}"])
    run.run(expression, ["A/a"])
    assert asked.count(["A/a", 3]) == 2


def test_other_years_are_another_question_and_the_ends_of_time_are_not_asked_about() -> None:
    asked = []

    def note(question: list[Any]) -> dict[str, Any]:
        asked.append(question[2])
        return {"value": {"first": [3600, "X"], "transitions": []}}

    years = [-10_000, 1, 1899, 1970, 2024, 9999, 20_000]
    texts = [f"{year:+06}-06-01T00:00Z" if not 0 <= year <= 9999 else f"{year:04}-06-01T00:00Z" for year in years]
    expression = (
        "args[0].map((text) => util.time.epochMilliSecondsToFormatted("
        "util.time.parseISO8601ToEpochMilliSeconds(text), 'uuuu-HH', 'A/a'))"
    )
    found = Expressions(note).run(expression, texts)
    assert found == ["-10000-01", "0001-01", "1899-01", "1970-01", "2024-01", "9999-01", "+20000-01"]
    assert asked == [-122, -5, 0, 3, 500]


def test_ids_stay_when_a_call_is_made_again_with_answers() -> None:
    seen = []

    def note(question: list[Any]) -> dict[str, Any]:
        seen.append(question[1])
        return {"value": {"first": [0, "X"], "transitions": []}}

    expression = "((id) => [id, util.time.nowFormatted('VV', 'Zone/' + id)])(util.autoId())"
    first, zone = Expressions(note).run(expression)
    assert seen == [f"Zone/{first}"]
    assert zone == seen[0]
