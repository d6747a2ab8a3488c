"""Patterns of DateTimeFormatter: each letter by Java's documentation, and what is written is read back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.resolvers.answers import answer
from tests.fanout.resolvers.running import Expressions

RUN = Expressions(answer)
FORMAT = "util.time.epochMilliSecondsToFormatted(args[0], args[1], args[2])"
PARSE = "util.time.parseFormattedToEpochMilliSeconds(args[0], args[1], args[2])"
MOMENT = 1_709_510_705_009  # 2024-03-04T00:05:05.009Z, a Monday.


def to_ms(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()) * 1000


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("G GG GGG GGGG GGGGG", "AD AD AD Anno Domini A"),
        ("u uu uuu uuuu uuuuu", "2024 24 2024 2024 02024"),
        ("y yy yyy yyyy yyyyy", "2024 24 2024 2024 02024"),
        ("Y YYYY w ww", "2024 2024 10 10"),
        ("M MM MMM MMMM MMMMM", "3 03 Mar March M"),
        ("L LL LLL LLLL LLLLL", "3 03 Mar March M"),
        ("Q QQ QQQ QQQQ QQQQQ", "1 01 Q1 1st quarter 1"),
        ("q qq qqq qqqq qqqqq", "1 01 Q1 1st quarter 1"),
        ("d dd D DD DDD", "4 04 64 64 064"),
        ("E EE EEE EEEE EEEEE", "Mon Mon Mon Monday M"),
        ("e ee eee eeee c ccc", "2 02 Mon Monday 2 Mon"),
        ("a h hh K KK H HH k kk", "AM 12 12 0 00 0 00 24 24"),
        ("m mm s ss", "5 05 5 05"),
        ("S SS SSS SSSSSSSSS", "0 00 009 009000000"),
        ("A n N", "305009 9000000 305009000000"),
        ("AAAAAAAAA", "000305009"),
        ("VV z X x Z", "UTC UTC Z +00 +0000"),
        ("'it''s' '' 'o''clock' 'T'", "it's ' o'clock T"),
        ("yyyy[-MM['T'HH]]", "2024-03T00"),
        ("yyyy[-MM", "2024-03"),
        ("", ""),
        ('/.,:;!?-_()"', '/.,:;!?-_()"'),
    ],
)
def test_every_letter_is_written_as_in_java(pattern: str, text: str) -> None:
    assert RUN.run(FORMAT, MOMENT, pattern, "UTC") == text


@pytest.mark.parametrize(
    ("zone", "pattern", "text"),
    [
        ("+08:00", "X XX XXX XXXX XXXXX", "+08 +0800 +08:00 +0800 +08:00"),
        ("-03:30", "X XX XXX x xx xxx", "-0330 -0330 -03:30 -0330 -0330 -03:30"),
        ("-07:00:30", "X XX XXX XXXX XXXXX", "-07 -0700 -07:00 -070030 -07:00:30"),
        ("Z", "X XX XXX XXXX XXXXX", "Z Z Z Z Z"),
        ("Z", "x xx xxx xxxx xxxxx", "+00 +0000 +00:00 +0000 +00:00"),
        ("+08:00", "Z ZZ ZZZ ZZZZ ZZZZZ", "+0800 +0800 +0800 GMT+08:00 +08:00"),
        ("Z", "Z ZZ ZZZ ZZZZ ZZZZZ", "+0000 +0000 +0000 GMT Z"),
        ("+08:00", "O OOOO", "GMT+8 GMT+08:00"),
        ("-10:30", "O OOOO", "GMT-10:30 GMT-10:30"),
        ("Z", "O OOOO", "GMT GMT"),
        ("Australia/Perth", "VV z", "Australia/Perth AWST"),
    ],
)
def test_offsets_and_zones_are_written_as_in_java(zone: str, pattern: str, text: str) -> None:
    assert RUN.run(FORMAT, MOMENT, pattern, zone) == text


@pytest.mark.parametrize(
    ("ms", "pattern", "text"),
    [
        (to_ms(2024, 12, 31), "YYYY 'W'w", "2025 W1"),  # The trap of YYYY: the last days of December.
        (to_ms(2023, 1, 1), "YYYY w", "2023 1"),
        (to_ms(2022, 12, 31), "YYYY w", "2022 53"),
        (to_ms(2021, 1, 2), "YYYY w", "2021 1"),
        (to_ms(2021, 1, 3), "YYYY w e", "2021 2 1"),
        (to_ms(2024, 6, 30, 12), "h a K k", "12 PM 0 12"),
        (to_ms(2024, 6, 30, 23, 59, 59), "h a K k", "11 PM 11 23"),
        (-62_167_219_200_000, "uuuu yyyy G", "0000 0001 BC"),
        (-62_198_755_200_000, "uuuu yyyy G", "-0001 0002 BC"),
        (253_402_300_800_000, "uuuu-MM yyyyy u", "+10000-01 10000 10000"),
    ],
)
def test_the_ends_of_years_eras_and_days(ms: int, pattern: str, text: str) -> None:
    assert RUN.run(FORMAT, ms, pattern, "UTC") == text


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("yyyy-MM-ddTHH", "the letter T, which is not supported (text goes into single quotes; letters: G u y"),
        ("yyyy p", "the letter p, which is not supported"),
        ("W", "the letter W, which is not supported"),
        ("ddd", "too many letters d at character 1"),
        ("HH:mmm", "too many letters m at character 4"),
        ("SSSSSSSSSS", "too many letters S"),
        ("V", "other than two letters V"),
        ("OO", "other than one or four letters O"),
        ("zzzz", "the full name of a time zone (zzzz)"),
        ("aa", "too many letters a"),
        ("yyyy'T", "a quote that does not end at character 5"),
        ("yyyy]", "a closing bracket without an opening one at character 5"),
        ("{yyyy}", "the reserved character { at character 1"),
    ],
)
def test_a_pattern_that_cannot_be_is_refused_by_name(pattern: str, what: str) -> None:
    error = RUN.error(FORMAT, MOMENT, pattern, "UTC")
    assert what in error
    assert f'of the pattern "{pattern}"' in error


@pytest.mark.parametrize(
    ("text", "pattern", "ms"),
    [
        ("20240304000505", "yyyyMMddHHmmss", to_ms(2024, 3, 4, 0, 5, 5)),
        ("20240304000505009", "yyyyMMddHHmmssSSS", MOMENT),
        ("4/3/24", "d/M/yy", to_ms(2024, 3, 4)),
        ("2024064", "yyyyDDD", to_ms(2024, 3, 4)),
        ("1202", "Hmm", None),
        ("2024-3-4 1202", "y-M-d Hmm", to_ms(2024, 3, 4, 12, 2)),
        ("March 4, 2024 at 12:05 AM", "MMMM d, yyyy 'at' hh:mm a", to_ms(2024, 3, 4, 0, 5)),
        ("Mon, 04 Mar 2024 13:05:00 +0100", "EEE, dd MMM yyyy HH:mm:ss Z", to_ms(2024, 3, 4, 12, 5)),
        ("2024-03-04", "yyyy-MM-dd['T'HH:mm[:ss]]", to_ms(2024, 3, 4)),
        ("2024-03-04T10:11", "yyyy-MM-dd['T'HH:mm[:ss]]", to_ms(2024, 3, 4, 10, 11)),
        ("2024-03-04T10:11:12", "yyyy-MM-dd['T'HH:mm[:ss]]", to_ms(2024, 3, 4, 10, 11, 12)),
        ("2024-02-31", "yyyy-MM-dd", to_ms(2024, 2, 29)),  # As java.time resolves it unless told to be strict.
        ("2024-02-32", "yyyy-MM-dd", None),
        ("2024-13-01", "yyyy-MM-dd", None),
        ("2024-03-04 24:00", "yyyy-MM-dd HH:mm", to_ms(2024, 3, 5)),
        ("2024-03-04 24:01", "yyyy-MM-dd HH:mm", None),
        ("2024-03-04 00:60", "yyyy-MM-dd HH:mm", None),
        ("2024-03-04 24", "yyyy-MM-dd kk", to_ms(2024, 3, 4)),
        ("2024-03-04 11 PM", "yyyy-MM-dd KK a", to_ms(2024, 3, 4, 23)),
        ("2024-03-04 11", "yyyy-MM-dd hh", None),
        ("2024-03-04 13 PM", "yyyy-MM-dd hh a", None),
        ("Tue 2024-03-04", "E yyyy-MM-dd", None),
        ("2024-03", "yyyy-MM", None),
        ("12:00", "HH:mm", None),
        ("24-03-04", "yyyy-MM-dd", None),
        ("12024-03-04", "yyyy-MM-dd", None),
        ("+12024-03-04", "yyyy-MM-dd", to_ms(2024, 3, 4) + 10_000 * 31_556_952_000),
        ("0001-12-31 BC", "yyyy-MM-dd G", -62_135_596_800_000 - 86_400_000),
        ("2024-03-04x", "yyyy-MM-dd", None),
        ("2024-03-04 305009", "yyyy-MM-dd A", MOMENT),
        ("2024-03-04T00:05+08", "yyyy-MM-dd'T'HH:mmX", to_ms(2024, 3, 3, 16, 5)),
        ("2024-03-04T00:05Z", "yyyy-MM-dd'T'HH:mmX", to_ms(2024, 3, 4, 0, 5)),
        ("2024-03-04T00:05-07:00:30", "yyyy-MM-dd'T'HH:mmXXXXX", to_ms(2024, 3, 4, 7, 5, 30)),
        ("2024-03-04T00:05+19:00", "yyyy-MM-dd'T'HH:mmXXX", None),
        ("2024-03-04 08:05 GMT+8", "yyyy-MM-dd HH:mm O", to_ms(2024, 3, 4, 0, 5)),
        ("2024-07-04 12:00 Europe/Berlin", "yyyy-MM-dd HH:mm VV", to_ms(2024, 7, 4, 10)),
        ("2024-07-04 12:00 UTC", "yyyy-MM-dd HH:mm z", to_ms(2024, 7, 4, 12)),
    ],
)
def test_texts_are_read_as_in_java(text: str, pattern: str, ms: int | None) -> None:
    if ms is None:
        assert f'"{text}" is no time of the pattern "{pattern}"' in RUN.error(PARSE, text, pattern, "UTC")
    else:
        assert RUN.run(PARSE, text, pattern, "UTC") == ms


@pytest.mark.parametrize(("pattern", "text"), [("YYYY", "2024"), ("ww", "10"), ("MMMMM", "M")])
def test_what_can_only_be_written_says_so(pattern: str, text: str) -> None:
    assert "cannot be read, only written" in RUN.error(PARSE, text, pattern, "UTC")


DATES = ["yyyy-MM-dd", "yyyyMMdd", "d MMM uuuu", "EEEE, MMMM d, y", "yyyy-DDD", "M/d/yyyy", "QQQ yyyy MM dd", "uuuuDDD"]
TIMES = ["HH:mm:ss.SSS", "hh:mm:ss.SSS a", "HHmmssSSS", "A", "K:m:s.SSSSSS a", "kk'h'mm'm'ss.SSSSSSSSS"]
OFFSETS = ["X", "XX", "XXX", "x", "xxx", "Z", "ZZZZ", "ZZZZZ", "O", "VV"]


@settings(max_examples=300, deadline=None)
@given(
    st.integers(to_ms(1, 1, 2), to_ms(9999, 12, 30)),
    st.sampled_from(DATES),
    st.sampled_from(TIMES),
    st.sampled_from(OFFSETS),
    st.integers(-18 * 60, 18 * 60),
)
def test_what_is_written_is_read_back(ms: int, date: str, time: str, offset: str, minutes: int) -> None:
    sign = "-" if minutes < 0 else "+"
    zone = f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    pattern = f"{date}' '{time} {offset}"
    text = RUN.run(FORMAT, ms, pattern, zone)
    assert RUN.run(PARSE, text, pattern, "UTC") == ms


STRFTIME = {
    "yyyy": lambda moment: f"{moment.year:04}",
    "yy": lambda moment: f"{moment.year % 100:02}",
    "MM": lambda moment: f"{moment:%m}",
    "MMM": lambda moment: f"{moment:%b}",
    "MMMM": lambda moment: f"{moment:%B}",
    "dd": lambda moment: f"{moment:%d}",
    "d": lambda moment: f"{moment.day}",
    "DDD": lambda moment: f"{moment:%j}",
    "EEE": lambda moment: f"{moment:%a}",
    "EEEE": lambda moment: f"{moment:%A}",
    "HH": lambda moment: f"{moment:%H}",
    "hh": lambda moment: f"{moment:%I}",
    "a": lambda moment: f"{moment:%p}",
    "mm": lambda moment: f"{moment:%M}",
    "ss": lambda moment: f"{moment:%S}",
    "SSSSSS": lambda moment: f"{moment:%f}",
    "Z": lambda moment: f"{moment:%z}"[:5],
    "e": lambda moment: f"{int(moment.strftime('%w')) + 1}",
    "'T'": lambda moment: "T",
}


@settings(max_examples=200, deadline=None)
@given(
    st.integers(to_ms(1901, 1, 1), to_ms(2099, 12, 30)),
    st.lists(st.sampled_from(sorted(STRFTIME)), min_size=1, max_size=6),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kathmandu"]),
)
def test_what_is_written_is_what_python_writes(ms: int, letters: list[str], zone: str) -> None:
    moment = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).astimezone(ZoneInfo(zone))
    expected = "/".join(STRFTIME[letter](moment) for letter in letters)
    assert RUN.run(FORMAT, ms, "/".join(letters), zone) == expected
